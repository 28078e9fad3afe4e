//! Secrets that the page gets only placeholders for, and secrets in responses.
//!
//! A config that flow-shim brings itself (that of `--config`, the demo's, the result of a sign-in) reaches the page with
//! placeholders. Every config that comes back gets the secrets again, so that the page can use what it never sees.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::secrets;
use crate::secrets::redactor::Redactor;

/// The secrets by placeholder.
#[derive(Default)]
pub struct Vault(Mutex<HashMap<String, Value>>);

impl Vault {
    /// The config with placeholders for its secrets.
    pub fn conceal(&self, mut config: Value, secrets: &[String]) -> Value {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        replace(&mut config, &mut |leaf| {
            let is_secret = match leaf {
                Value::String(text) => secrets.contains(text),
                Value::Number(number) => secrets.contains(&number.to_string()),
                _ => false,
            };
            if !is_secret {
                return None;
            }
            if let Some((placeholder, _)) = kept.iter().find(|(_, it)| *it == leaf) {
                return Some(placeholder.clone().into());
            }
            let placeholder = format!("{{flow-shim keeps this secret: {}}}", kept.len() + 1);
            kept.insert(placeholder.clone(), leaf.clone());
            Some(placeholder.into())
        });
        config
    }

    /// Puts the secrets back in place of their placeholders. Returns the texts of those that came back.
    pub fn reveal(&self, config: &mut Value) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut revealed = Vec::new();
        if !kept.is_empty() {
            replace(config, &mut |leaf| {
                let secret = kept.get(leaf.as_str()?)?;
                revealed.push(secret.as_str().map_or_else(|| secret.to_string(), str::to_owned));
                Some(secret.clone())
            });
        }
        revealed
    }
}

/// Replaces leaves of a value.
fn replace(value: &mut Value, with: &mut impl FnMut(&Value) -> Option<Value>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|it| replace(it, with)),
        Value::Object(members) => members.values_mut().for_each(|it| replace(it, with)),
        leaf => {
            if let Some(it) = with(leaf) {
                *leaf = it;
            }
        }
    }
}

/// The names of members that clients rely on, whatever the secrets are.
const PROTOCOL: [&str; 65] = [
    // Of responses.
    "manifest",
    "success",
    "message",
    "catalog",
    "streams",
    "logs",
    "level",
    "internal_message",
    "stacktrace",
    "slices",
    "pages",
    "records",
    "request",
    "response",
    "url",
    "headers",
    "http_method",
    "body",
    "status",
    "slice_descriptor",
    "state",
    "auxiliary_requests",
    "test_read_limit_reached",
    "inferred_schema",
    "inferred_datetime_formats",
    "latest_config_update",
    "title",
    "type",
    "description",
    // Of states and streams.
    "stream",
    "stream_descriptor",
    "stream_state",
    "name",
    "namespace",
    "global_",
    "shared_state",
    "stream_states",
    "data",
    "sourceStats",
    "recordCount",
    "json_schema",
    "supported_sync_modes",
    "source_defined_cursor",
    "default_cursor_field",
    "source_defined_primary_key",
    "is_resumable",
    "is_file_based",
    // Of `flow`.
    "flow",
    "error",
    "collection",
    "mode",
    "cursor",
    "key",
    "documents",
    "schema",
    "declared_schema",
    "write_schema",
    "rewrites",
    "warnings",
    "kind",
    "record",
    "properties",
    "items",
    "_meta",
    "op",
];

/// Masks the secrets of one request's config in its response. From now on the log is without them as well.
pub struct Mask(Redactor);

impl Mask {
    pub fn new(secrets: Vec<String>) -> Self {
        secrets::redact_texts(secrets.clone());
        Self(Redactor::default().with(secrets).unwrap_or_default())
    }

    pub fn text(&self, text: &str) -> String {
        self.0.text(text).into_owned()
    }

    pub fn value(&self, value: &mut Value) {
        self.0.value(value, |name| !PROTOCOL.contains(&name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_comes_back_in_place_of_its_placeholder() {
        let vault = Vault::default();
        let config = json!({"url": "https://x", "auth": {"token": "s3cret-1", "pin": 123_456}, "tokens": ["s3cret-1"]});
        let mut shown = vault.conceal(config.clone(), &secrets::find(&config, None));
        let text = shown.to_string();
        assert!(!text.contains("s3cret") && !text.contains("123456") && shown["url"] == "https://x", "{shown}");
        assert_eq!(shown["auth"]["token"], shown["tokens"][0]);
        assert_eq!(vault.reveal(&mut shown), ["s3cret-1", "123456", "s3cret-1"]);
        assert_eq!(shown, config);
    }
}
