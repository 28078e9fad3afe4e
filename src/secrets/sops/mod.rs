//! sops documents: configs with encrypted values, decrypted as Flow decrypts them.
//!
//! The `sops` program does it if it is installed, whatever the keys are. Without it, documents for age keys are decrypted
//! here ([`native`]). What Flow does after that is done here in both cases: the suffix of encrypted names is removed.
//! Plaintext stays in memory.

mod identities;
mod native;
mod program;
mod rules;

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::error::Stopped;
use crate::process::program::search_path;
use crate::process::shutdown::Shutdown;

/// A key service may be far away.
const LIMIT: Duration = Duration::from_secs(60);

/// How a document is written: numbers and the checksum depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

pub struct Decrypted {
    pub config: Value,
    /// An RFC 7396 merge patch in plain text, which may touch only what the config's schema marks as not sensitive.
    pub overlay: Option<Value>,
    /// The values that were encrypted.
    pub secrets: Vec<String>,
}

/// Whether a config is a sops document.
pub fn is_document(config: &Value) -> bool {
    config.get("sops").is_some_and(|it| !it.is_null())
}

/// Decrypts a document. `text` is what was parsed as `document`. An error does not quote it.
pub async fn decrypt(text: &str, document: &Value, format: Format, shutdown: &Shutdown) -> Result<Decrypted> {
    let decrypting = async {
        match search_path("sops") {
            Some(program) => program::decrypt(&program, text, document, format).await,
            None => native::decrypt(document, format).await,
        }
    };
    let plain = tokio::select! {
        plain = timeout(LIMIT, decrypting) => plain.map_err(|_| anyhow!("there was no key within {}s", LIMIT.as_secs()))??,
        reason = shutdown.requested() => return Err(Stopped(reason).into()),
    };
    let mut encrypted = document.clone();
    let sops = encrypted.as_object_mut().and_then(|it| it.shift_remove("sops")).context("it has no `sops` member")?;
    let mut secrets = Vec::new();
    find_secrets(&encrypted, &plain, &mut secrets);
    let suffix = sops.get("encrypted_suffix").and_then(Value::as_str);
    let config = match suffix {
        Some(suffix) => without_suffix(plain, suffix),
        None => plain,
    };
    let overlay = sops.get("overlay").filter(|it| !it.is_null()).cloned();
    Ok(Decrypted { config, overlay, secrets })
}

/// Removes the suffix from every name that ends with it, once. Of two members that get the same name, the later value counts.
fn without_suffix(value: Value, suffix: &str) -> Value {
    match value {
        Value::Object(members) => {
            let mut renamed = Map::new();
            for (name, member) in members {
                let name = name.strip_suffix(suffix).map_or_else(|| name.clone(), str::to_owned);
                renamed.insert(name, without_suffix(member, suffix));
            }
            renamed.into()
        }
        Value::Array(items) => items.into_iter().map(|it| without_suffix(it, suffix)).collect(),
        leaf => leaf,
    }
}

/// The texts of the values that are encrypted in the document.
fn find_secrets(encrypted: &Value, plain: &Value, found: &mut Vec<String>) {
    match (encrypted, plain) {
        (Value::Object(members), plain) => {
            for (name, member) in members {
                find_secrets(member, &plain[name], found);
            }
        }
        (Value::Array(items), Value::Array(plain)) => {
            let items = items.iter().filter(|it| !is_comment(it));
            items.zip(plain).for_each(|(it, plain)| find_secrets(it, plain, found));
        }
        (Value::String(text), plain) if is_encrypted(text) => match plain {
            Value::String(plain) => found.push(plain.clone()),
            Value::Number(plain) => found.push(plain.to_string()),
            _ => {}
        },
        _ => {}
    }
}

fn is_encrypted(text: &str) -> bool {
    text.starts_with("ENC[") && text.ends_with(']')
}

/// A comment between the items of a YAML list is encrypted as an item.
fn is_comment(item: &Value) -> bool {
    item.as_str().is_some_and(|it| is_encrypted(it) && it.ends_with(",type:comment]"))
}

/// The message for a document that somebody has edited as text.
const CHANGED: &str =
    "it was changed without sops, as its checksum does not match: edit it with `sops FILE`, or encrypt it again";

/// The message for a document of which no key is at hand.
const NO_KEY: &str = "none of its age keys is in SOPS_AGE_KEY, SOPS_AGE_KEY_FILE or ~/.config/sops/age/keys.txt";
