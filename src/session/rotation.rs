//! A config that the connector rotated: usually, a refresh token that can be used once was used. The new one must get
//! into the capture's spec, or the capture fails when it starts again (A18). Flow takes it from a log event, and only in
//! encrypted form (F7). An encryption service at the URL in `ENCRYPTION_URL` encrypts it.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use crate::http;
use crate::process::shutdown::Shutdown;
use crate::secrets;

/// The variable with the URL of the encryption service.
pub const ENCRYPTION_URL: &str = "ENCRYPTION_URL";

/// Has the encryption service encrypt a config. `schema` marks what is secret.
pub async fn encrypt(config: &Value, schema: &Value, url: &str, shutdown: &Shutdown) -> Result<Value> {
    let body = serde_json::to_vec(&json!({"config": config, "schema": schema})).context("can't write the config")?;
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let answer = http::post_async(url.to_owned(), headers, body, shutdown).await?;
    if !(200..300).contains(&answer.status) {
        bail!("the encryption service answers {}", answer.status);
    }
    let no_config = || anyhow!("the encryption service returned an unencrypted or invalid config");
    let encrypted: Value = serde_json::from_slice(&answer.body).map_err(|_| no_config())?;
    let is_sops = encrypted.get("sops").is_some_and(Value::is_object);
    if !is_sops || shows_secrets(&encrypted, config) { Err(no_config()) } else { Ok(encrypted) }
}

/// The names of the members that differ, by their paths, without any value.
pub fn changed_names(now: &Value, before: &Value) -> Vec<String> {
    let mut names = Vec::new();
    changed(now, before, "", &mut names);
    names
}

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

/// A schema that marks every field of a config as secret.
pub fn all_secret(config: &Value) -> Value {
    match config {
        Value::Object(members) => {
            let properties: Map<String, Value> =
                members.iter().map(|(name, value)| (name.clone(), all_secret(value))).collect();
            json!({"type": "object", "properties": properties})
        }
        _ => json!({"secret": true}),
    }
}

/// Whether a secret of the config is visible in what should be its encrypted form.
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
    fn changed_fields_are_listed_by_name() {
        let before = json!({"a": 1, "credentials": {"refresh_token": "old", "expires": 1, "gone": true}, "same": [1]});
        let now = json!({"a": 1, "credentials": {"refresh_token": "new", "expires": 1, "more": "m"}, "same": [1]});
        assert_eq!(changed_names(&now, &before), ["credentials.refresh_token", "credentials.more", "credentials.gone"]);
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
