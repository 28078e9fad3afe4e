//! `$CONNECTOR_MOUNT/task-update.json`, by which a connector updates its own task (F27), and the conversation with the
//! control plane. The file is rewritten while the connector runs, so it is read before each request.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{pause, post};
use crate::flow::secret::Secret;
use crate::http::Answer;
use crate::process::shutdown::Shutdown;
use crate::secrets;

/// How long the control plane may ask for repetitions of one request.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much of the control plane's reason is shown.
const LONGEST_REASON: usize = 300;

#[derive(Deserialize)]
pub struct TaskUpdate {
    token: String,
    control_plane_url: String,
    config_encryption_url: String,
}

impl TaskUpdate {
    /// None if the runtime has no such file: an older one, or a preview.
    pub fn read() -> Result<Option<Self>> {
        let Some(mount) = std::env::var_os("CONNECTOR_MOUNT").filter(|it| !it.is_empty()) else { return Ok(None) };
        let text = match std::fs::read(Path::new(&mount).join("task-update.json")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => bail!("can't read task-update.json: {error}"),
        };
        let update: Self =
            serde_json::from_slice(&text).map_err(|_| anyhow!("task-update.json is not what it should be"))?;
        secrets::redact_text(&update.token);
        Ok(Some(update))
    }

    /// The URL of a route of the encryption service.
    pub fn url(&self, path: &str) -> String {
        joined(&self.config_encryption_url, path)
    }

    /// The same where the file must be there.
    fn read_again() -> Result<Self> {
        Self::read()?.ok_or_else(|| anyhow!("task-update.json has gone"))
    }
}

/// Stores an encrypted secret.
pub async fn set_secret(name: &str, document: &RawValue, shutdown: &Shutdown) -> Result<()> {
    #[derive(Serialize)]
    struct Body<'a> {
        name: &'a str,
        document: &'a RawValue,
        token: &'a str,
    }
    let stored =
        update("/task/set-secret", |token| serde_json::to_vec(&Body { name, document, token }), shutdown).await?;
    if stored.get("secretId").is_none_or(Value::is_null) {
        bail!("the control plane did not store the secret");
    }
    Ok(())
}

/// Replaces the task's config and `secrets`.
pub async fn update_config(config: &RawValue, secrets: &[Secret], message: &str, shutdown: &Shutdown) -> Result<()> {
    #[derive(Serialize)]
    struct Body<'a> {
        config: &'a RawValue,
        secrets: BTreeMap<&'a str, &'a str>,
        message: &'a str,
        token: &'a str,
    }
    let secrets: BTreeMap<&str, &str> = secrets.iter().map(|it| (it.name.as_str(), it.pointer.as_str())).collect();
    let body = |token: &str| serde_json::to_vec(&Body { config, secrets: secrets.clone(), message, token });
    update("/task/update-config", body, shutdown).await.map(drop)
}

/// Posts to the control plane until it has done what was asked: an answer with `retryMillis` has done nothing.
async fn update(path: &str, body: impl Fn(&str) -> serde_json::Result<Vec<u8>>, shutdown: &Shutdown) -> Result<Value> {
    let mut waited = Duration::ZERO;
    loop {
        let TaskUpdate { token, control_plane_url, .. } = TaskUpdate::read_again()?;
        let body = body(&token).context("can't write the request")?;
        let Answer { status, body } = post(joined(&control_plane_url, path), body, shutdown).await?;
        if !(200..300).contains(&status) {
            bail!("the control plane answers {status}{}", reason(&body));
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !answer.is_object() {
            bail!("the control plane's answer can't be read");
        }
        let wait = Duration::from_millis(retry_millis(&answer));
        if wait.is_zero() {
            return Ok(answer);
        }
        waited = waited.saturating_add(wait);
        if waited > PATIENCE {
            bail!("the control plane asks to try again, for longer than {} s", PATIENCE.as_secs());
        }
        pause(wait, shutdown).await?;
    }
}

fn joined(base: &str, path: &str) -> String {
    format!("{}{path}", base.trim_end_matches('/'))
}

/// Why the control plane refuses, in its own words. It knows no secret but the token, which is redacted.
fn reason(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.trim().lines().next().unwrap_or_default();
    if line.is_empty() { String::new() } else { format!(" ({})", secrets::shorten(line, LONGEST_REASON)) }
}

/// A number, or its text.
fn retry_millis(answer: &Value) -> u64 {
    let value = answer.get("retryMillis").unwrap_or(&Value::Null);
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}
