//! Secrets that the page gets only placeholders for, and secrets in responses.
//!
//! A config that flow-shim brings itself (the demo's, the result of a sign-in) reaches the page with placeholders. Every config
//! that comes back gets the secrets again, so that the page can use what it never sees.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use serde_json::value::to_raw_value;

use crate::secrets;
use crate::secrets::redactor::Redactor;

#[derive(Default)]
pub struct Vault(Mutex<HashMap<String, String>>);

impl Vault {
    /// The config with placeholders for its secrets: those that the schema marks, and those whose names look secret.
    pub fn conceal(&self, mut config: Value, schema: Option<&Value>) -> Value {
        let found = secrets::find(&config, schema);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        replace(&mut config, &mut |text| {
            if !found.iter().any(|it| it == text) {
                return None;
            }
            if let Some((placeholder, _)) = kept.iter().find(|(_, it)| *it == text) {
                return Some(placeholder.clone());
            }
            let placeholder = format!("{{flow-shim keeps this secret: {}}}", kept.len() + 1);
            kept.insert(placeholder.clone(), text.to_owned());
            Some(placeholder)
        });
        config
    }

    /// Puts the secrets back in place of their placeholders.
    pub fn reveal(&self, config: &mut Value) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.is_empty() {
            replace(config, &mut |text| kept.get(text).cloned());
        }
    }
}

/// Replaces texts in a value.
fn replace(value: &mut Value, with: &mut impl FnMut(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(it) = with(text) {
                *text = it;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| replace(it, with)),
        Value::Object(members) => members.values_mut().for_each(|it| replace(it, with)),
        _ => {}
    }
}

/// Masks the secrets of one request's config in its response. From now on the log is without them as well.
pub struct Mask(Redactor);

impl Mask {
    pub fn new(config: &Value, schema: Option<&Value>) -> Self {
        if let Ok(raw) = to_raw_value(config) {
            secrets::redact_config(&raw, schema);
        }
        Self(Redactor::default().with(secrets::find(config, schema)).unwrap_or_default())
    }

    pub fn text(&self, text: &str) -> String {
        self.0.text(text).into_owned()
    }

    pub fn value(&self, value: &mut Value) {
        self.0.value(value, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_comes_back_in_place_of_its_placeholder() {
        let vault = Vault::default();
        let config =
            json!({"url": "https://x", "auth": {"token": "s3cret-1", "client_id": "id"}, "tokens": ["s3cret-1"]});
        let mut shown = vault.conceal(config.clone(), None);
        assert!(!shown.to_string().contains("s3cret") && shown["url"] == "https://x", "{shown}");
        assert_eq!(shown["auth"]["token"], shown["tokens"][0]);
        vault.reveal(&mut shown);
        assert_eq!(shown, config);
    }
}
