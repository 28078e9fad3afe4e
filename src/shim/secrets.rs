//! Which values of a config are secrets, by their names: a connector's logs must not show them.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::logging;

/// A shorter text would mask half the log.
const SHORTEST: usize = 4;

static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)secret|token|passw|pwd|api_?key|private|access_?key|(^|_)key$|credential|authorization|cookie|signature|(^|_)(pat|sas|jwt|dsn)$|connection_string")
        .ok()
});

/// Masks what looks like a secret in all logs from now on.
pub fn redact(config: &RawValue) {
    if let Ok(config) = serde_json::from_str::<Value>(config.get()) {
        logging::redact(of(&config));
    }
}

/// Masks one text in all logs from now on.
pub fn redact_text(secret: &str) {
    if secret.len() >= SHORTEST {
        logging::redact([secret.to_owned()]);
    }
}

/// Whether a field of this name holds a secret, mostly.
pub fn is_named(name: &str) -> bool {
    SECRET_NAME.as_ref().is_some_and(|it| it.is_match(name))
}

/// The texts in a config that look like secrets.
pub fn of(config: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(config, false, &mut found);
    found
}

fn collect(value: &Value, secret: bool, found: &mut Vec<String>) {
    match value {
        Value::String(text) if secret && text.len() >= SHORTEST => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, secret, found)),
        Value::Object(members) => {
            for (name, member) in members {
                // A name speaks for its own value only: `credentials` holds an `auth_type` as well.
                let named = is_named(name);
                collect(member, named && !member.is_object(), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_by_name_at_any_depth() {
        let config = serde_json::json!({
            "api_key": "k-12345", "host": "db.example", "password": "abc", "count": 7,
            "credentials": {"auth_type": "oauth2.0", "client_id": "id-1", "client_secret": "s-12345"},
            "tokens": ["t-12345"],
        });
        let mut found = Vec::new();
        collect(&config, false, &mut found);
        assert_eq!(found, ["k-12345", "s-12345", "t-12345"]);
    }
}
