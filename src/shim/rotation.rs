//! A config that the connector has changed: mostly, a refresh token that can be used once was used. The new one must get
//! into the capture's spec, or the capture fails when it starts again (A18). Flow takes it from a log event, encrypted
//! and never otherwise (F7); an encryption service does that, at the URL in `ENCRYPTION_URL`.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tracing::{error, warn};

use super::endpoint::ConfigMapping;
use super::Shim;
use crate::http;
use crate::logging;
use crate::secrets;

/// Where the encryption service is.
const ENCRYPTION_URL: &str = "ENCRYPTION_URL";

impl Shim {
    /// Takes over a config that the connector rotated during check or discover: this process uses it from now on.
    pub(super) async fn apply_rotated(&self, config: &RawValue, way: &ConfigMapping) {
        if let Some(rotated) = self.launcher.rotated.take() {
            secrets::redact_config(&rotated, None);
            self.endpoint.keep_rotated(config, &rotated);
            self.publish(&rotated, config, way).await;
        }
    }

    /// Publishes a config that the connector rotated, or tells the user what to do. `before` is Flow's config. False if
    /// the encryption service failed.
    pub async fn publish(&self, rotated: &RawValue, before: &RawValue, way: &ConfigMapping) -> bool {
        let (now, before) = match (self.to_flow(rotated, before, way), serde_json::from_str::<Value>(before.get())) {
            (Ok(now), Ok(before)) => (now, before),
            _ => {
                warn!("the connector has sent a new config that can't be read");
                return true;
            }
        };
        let mut names = Vec::new();
        changed(&now, &before, "", &mut names);
        if names.is_empty() {
            return true;
        }
        let names = names.join(", ");
        let update = "update the capture's config before the old one expires";
        let Some(url) = std::env::var(ENCRYPTION_URL).ok().filter(|it| !it.is_empty()) else {
            let why = format!("it can't be published without {ENCRYPTION_URL}");
            error!("the connector has changed its config ({names}); {why}: {update}");
            return true;
        };
        match self.encrypt(&url, &now).await {
            Ok(encrypted) => {
                logging::config_update(&format!("the connector has changed its config ({names})"), encrypted);
                true
            }
            Err(failure) => {
                error!(
                    "the connector has changed its config ({names}), which can't be published ({failure:#}): {update}"
                );
                false
            }
        }
    }

    async fn encrypt(&self, url: &str, config: &Value) -> Result<Value> {
        // During shutdown the spec cannot be fetched, so every field is treated as secret.
        let schema = self.describe().await.map_or_else(|_| all_secret(config), |it| it.config_schema);
        let body =
            serde_json::to_vec(&json!({"config": config, "schema": schema})).context("can't write the config")?;
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let answer = http::post_async(url.to_owned(), headers, body, &self.launcher.shutdown).await?;
        if !(200..300).contains(&answer.status) {
            bail!("the encryption service answers {}", answer.status);
        }
        let no_config = || anyhow!("the encryption service returned an unencrypted or invalid config");
        let encrypted: Value = serde_json::from_slice(&answer.body).map_err(|_| no_config())?;
        let is_sops = encrypted.get("sops").is_some_and(Value::is_object);
        if !is_sops || shows_secrets(&encrypted, config) { Err(no_config()) } else { Ok(encrypted) }
    }
}

/// The names of the members that have changed, by their paths. No value.
fn changed(now: &Value, before: &Value, at: &str, names: &mut Vec<String>) {
    let (Some(now), Some(before)) = (now.as_object(), before.as_object()) else {
        if now != before {
            names.push(at.to_owned());
        }
        return;
    };
    let path = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    for (name, value) in now {
        changed(value, before.get(name).unwrap_or(&Value::Null), &path(name), names);
    }
    names.extend(before.keys().filter(|name| !now.contains_key(*name)).map(|name| path(name)));
}

/// A schema that calls all of a config secret.
fn all_secret(config: &Value) -> Value {
    match config {
        Value::Object(members) => {
            let properties: Map<String, Value> =
                members.iter().map(|(name, value)| (name.clone(), all_secret(value))).collect();
            json!({"type": "object", "properties": properties})
        }
        _ => json!({"secret": true}),
    }
}

/// Whether a text that is secret in the config is to be seen in what should be its encrypted form.
fn shows_secrets(encrypted: &Value, config: &Value) -> bool {
    fn any_of(value: &Value, secrets: &[String]) -> bool {
        match value {
            Value::String(text) => secrets.iter().any(|it| it == text),
            Value::Array(items) => items.iter().any(|it| any_of(it, secrets)),
            Value::Object(members) => members.values().any(|it| any_of(it, secrets)),
            _ => false,
        }
    }
    any_of(encrypted, &secrets::find(config, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_by_name() {
        let before = json!({"a": 1, "credentials": {"refresh_token": "old", "expires": 1, "gone": true}, "same": [1]});
        let now = json!({"a": 1, "credentials": {"refresh_token": "new", "expires": 1, "more": "m"}, "same": [1]});
        let mut names = Vec::new();
        changed(&now, &before, "", &mut names);
        assert_eq!(names, ["credentials.refresh_token", "credentials.more", "credentials.gone"]);
    }

    #[test]
    fn plaintext_is_noticed() {
        let config = json!({"credentials": {"refresh_token": "t-12345"}, "start": "2020"});
        assert!(shows_secrets(&json!({"credentials": {"refresh_token_sops": "t-12345"}, "sops": {}}), &config));
        assert!(!shows_secrets(
            &json!({"credentials": {"refresh_token_sops": "ENC[x]"}, "start": "2020", "sops": {}}),
            &config
        ));
    }
}
