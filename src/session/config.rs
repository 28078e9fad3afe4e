//! The config that a command was given, as Flow would pass it to a connector: decrypted, and with the defaults of its schema.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::Session;
use crate::error::Stopped;
use crate::json::merge::merge;
use crate::json::pointer;
use crate::process::shutdown::Shutdown;
use crate::process::thread;
use crate::schema;
use crate::secrets::{self, Schemas, sops};
use crate::settings::config::{ConfigArg, Given};

/// A config in plain text.
pub struct Plain {
    pub config: Box<RawValue>,
    /// The values that were encrypted.
    pub encrypted: Vec<String>,
}

/// Decrypts a config that is a sops document; any other stays as it is. What was encrypted is redacted from now on. `schema`
/// is asked for the config's schema if the document has an overlay.
pub async fn decrypt<'a>(
    given: Given,
    schema: impl Future<Output = Result<Option<&'a Value>>>,
    shutdown: &Shutdown,
) -> Result<Plain> {
    let Given { name, text, format, config } = given;
    let document: Value = serde_json::from_str(config.get()).with_context(|| format!("can't read {name}"))?;
    if !sops::is_document(&document) {
        return Ok(Plain { config, encrypted: Vec::new() });
    }
    let failed = || format!("can't decrypt {name}");
    let decrypted = sops::decrypt(&text, &document, format, shutdown).await.with_context(failed)?;
    secrets::redact_texts(decrypted.secrets.clone());
    let mut config = decrypted.config;
    if let Some(overlay) = decrypted.overlay {
        let schemas = Schemas::new(schema.await?);
        check_overlay(&overlay, &mut Vec::new(), &schemas).with_context(failed)?;
        merge(&mut config, overlay);
    }
    Ok(Plain { config: to_raw_value(&config).with_context(failed)?, encrypted: decrypted.secrets })
}

/// Adds the defaults of the schema, which is as Flow has it. The text of a config that lacks none stays as it is.
pub fn with_defaults(config: Box<RawValue>, schema: &Value) -> Result<Box<RawValue>> {
    let mut complete: Value = serde_json::from_str(config.get()).context("can't read the config")?;
    let before = complete.clone();
    schema::fill_defaults(schema, &mut complete);
    if complete == before { Ok(config) } else { to_raw_value(&complete).context("can't write the config") }
}

impl Session {
    /// Loads the config that `--config` names or that lies beside shim.yaml. The connector may be started for its schema.
    /// From now on the config's secrets are redacted. `None` without a config.
    pub async fn load_config(&self, arg: &ConfigArg) -> Result<Option<Box<RawValue>>> {
        let Some(config) = self.load_incomplete_config(arg).await? else { return Ok(None) };
        let config = with_defaults(config, &self.describe().await?.config_schema)?;
        self.redact(&config);
        Ok(Some(config))
    }

    /// The config of a user who enters nothing: the defaults of the schema.
    pub async fn default_config(&self) -> Result<Box<RawValue>> {
        let empty = RawValue::from_string("{}".to_owned()).context("can't make a config")?;
        with_defaults(empty, &self.describe().await?.config_schema)
    }

    /// Loads a config that need not be complete.
    pub async fn load_incomplete_config(&self, arg: &ConfigArg) -> Result<Option<Box<RawValue>>> {
        let shutdown = &self.launcher.shutdown;
        let Some(given) = read(arg, self.settings.folder.as_deref(), shutdown).await? else { return Ok(None) };
        let schema = async {
            self.describe().await?;
            Ok(self.known_schema())
        };
        let config = decrypt(given, schema, shutdown).await?.config;
        self.redact(&config);
        Ok(Some(config))
    }
}

/// Reads a config; stdin may take its time.
pub async fn read(arg: &ConfigArg, folder: Option<&Path>, shutdown: &Shutdown) -> Result<Option<Given>> {
    let (arg, folder) = (arg.clone(), folder.map(Path::to_owned));
    let reading = thread::spawn("config", move || arg.read(folder.as_deref()))?;
    tokio::select! {
        given = reading => given.unwrap_or_else(|| Err(anyhow!("bug in flow-shim: reading the config panicked"))),
        reason = shutdown.requested() => Err(Stopped(reason).into()),
    }
}

/// A sops document's overlay is not covered by its checksum: it may change only what is marked as not sensitive.
fn check_overlay(overlay: &Value, path: &mut Vec<String>, schemas: &Schemas) -> Result<()> {
    if schemas.mark_nonsensitive() {
        return Ok(());
    }
    match overlay {
        Value::Object(members) if !members.is_empty() => members.iter().try_for_each(|(name, member)| {
            path.push(name.clone());
            check_overlay(member, path, &schemas.member(name))?;
            path.pop();
            Ok(())
        }),
        _ => {
            let at = pointer::from_path(path.iter().map(String::as_str));
            bail!("its overlay modifies the location {at:?}, which the config schema does not mark `nonsensitive`")
        }
    }
}
