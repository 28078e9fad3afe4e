//! Flow's encryption service. An answer that shows a secret is not used.

use anyhow::{Context, Result, anyhow, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::change::Change;
use super::{marks, post};
use crate::http::Answer;
use crate::process::shutdown::Shutdown;

/// What a name keeps in a query.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Encrypts the new config. Its text must stay as it is, because a checksum covers the order of its members.
pub async fn config(change: &Change, marks: &Value, url: &str, shutdown: &Shutdown) -> Result<Box<RawValue>> {
    let body = json!({"config": sorted(&change.now), "schema": marks});
    let answer = encrypted(url.to_owned(), &body, shutdown).await?;
    let no_config = || anyhow!("the encryption service returned an unencrypted or invalid config");
    let raw: Box<RawValue> = serde_json::from_slice(&answer).map_err(|_| no_config())?;
    let encrypted: Value = serde_json::from_str(raw.get()).map_err(|_| no_config())?;
    let is_sops = encrypted.get("sops").is_some_and(Value::is_object);
    let has_secrets = change.rotated().all(|it| marks::has_encrypted(&encrypted, &it.path));
    if !is_sops || !has_secrets || marks::shows_any(&encrypted, &change.now, marks) {
        return Err(no_config());
    }
    Ok(raw)
}

/// Encrypts the value of a secret. Its document has the name, and the control plane checks its form.
pub async fn secret(name: &str, value: &Value, url: &str, shutdown: &Shutdown) -> Result<Box<RawValue>> {
    let url = format!("{url}?name={}", utf8_percent_encode(name, NAME));
    let answer = encrypted(url, &sorted(value), shutdown).await?;
    let no_secret = || anyhow!("the encryption service returned an unencrypted or invalid secret");
    let raw: Box<RawValue> = serde_json::from_slice(&answer).map_err(|_| no_secret())?;
    let document: Value = serde_json::from_str(raw.get()).map_err(|_| no_secret())?;
    let is_encrypted = document.get("value").is_none_or(marks::is_all_encrypted);
    if !document.is_object() || !is_encrypted || marks::shows_text_of(&document, value) {
        return Err(no_secret());
    }
    Ok(raw)
}

/// An error has nothing of the answer: it may quote what was sent.
async fn encrypted(url: String, body: &Value, shutdown: &Shutdown) -> Result<Vec<u8>> {
    let body = serde_json::to_vec(body).context("can't write the config")?;
    let Answer { status, body } = post(url, body, shutdown).await?;
    if !(200..300).contains(&status) {
        bail!("the encryption service answers {status}");
    }
    Ok(body)
}

/// The value with the members of its objects in order: Flow sorts them, and the order is part of the checksum.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|(name, it)| (name.clone(), sorted(it))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
