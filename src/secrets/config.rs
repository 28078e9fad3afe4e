//! Finds the secrets in a config: values that its schema marks, values whose names look secret, and secrets inside other
//! texts: JSON, URLs, connection strings, headers.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::names::{is_public_name, is_secret_name};
use super::schemas::Schemas;

/// Inside a secret, a shorter text is more often a unit or a region than a secret.
const SHORTEST_PART: usize = 4;

/// `name=value` in connection strings and URLs.
static PAIR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"([A-Za-z][\w.-]*)\s*[=:]\s*(?:(?i:bearer|basic|token)\s+)?(?:'([^']+)'|"([^"]+)"|([^;&,\s'"][^;&\s]*))"#,
    )
    .ok()
});

/// The password in a URL.
static URL_PASSWORD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[A-Za-z][\w+.-]*://[^/?#\s:@]*:([^/?#\s]+)@").ok());

/// The texts in a config that are secret. Without a schema, names alone decide.
pub fn find(config: &Value, schema: Option<&Value>) -> Vec<String> {
    let mut finder = Finder { found: Vec::new() };
    finder.value(config, Secret { own: false, all: false }, &Schemas::new(schema));
    finder.found
}

struct Finder {
    found: Vec<String>,
}

/// What is known of a value before looking at it.
#[derive(Clone, Copy)]
struct Secret {
    /// The value itself is secret.
    own: bool,
    /// Everything in it is, down to the leaves.
    all: bool,
}

impl Finder {
    fn value(&mut self, value: &Value, secret: Secret, schemas: &Schemas) {
        match value {
            Value::String(text) => self.text(text, secret),
            Value::Number(number) if secret.own => self.found.push(number.to_string()),
            Value::Array(items) => {
                let schemas = schemas.item();
                let marked = schemas.mark_secret();
                let secret = Secret { own: secret.own || marked, all: secret.all || marked };
                items.iter().for_each(|item| self.value(item, secret, &schemas));
            }
            Value::Object(members) => self.members(members, secret, schemas),
            _ => {}
        }
    }

    fn members(&mut self, members: &Map<String, Value>, secret: Secret, schemas: &Schemas) {
        let is_secret_pair = ["name", "key", "header", "header_name"]
            .iter()
            .any(|name| members.get(*name).and_then(Value::as_str).is_some_and(is_secret_name));
        for (name, member) in members {
            let schemas = schemas.member(name);
            let marked = schemas.mark_secret();
            // A name speaks for its own value only: `credentials` holds an `auth_type` as well.
            let named = is_secret_name(name) && !member.is_object();
            let part = secret.all && !is_public_name(name) && !is_short(member);
            let paired = is_secret_pair && name == "value";
            let secret = Secret { own: marked || named || part || paired, all: marked || secret.all };
            self.value(member, secret, &schemas);
        }
    }

    fn text(&mut self, text: &str, secret: Secret) {
        if secret.own && !text.trim().is_empty() {
            self.found.push(text.to_owned());
            // What follows the scheme of an Authorization header.
            if let Some((scheme, rest)) = text.trim().split_once(' ')
                && ["basic", "bearer", "token"].contains(&scheme.to_ascii_lowercase().as_str())
                && rest.len() >= SHORTEST_PART
            {
                self.found.push(rest.trim().to_owned());
            }
        }
        if text.trim_start().starts_with(['{', '['])
            && let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text)
        {
            return self.value(&inner, Secret { own: secret.own, all: secret.own }, &Schemas::new(None));
        }
        if let Some(password) = URL_PASSWORD.as_ref().and_then(|it| it.captures(text)).and_then(|it| it.get(1)) {
            self.found.push(password.as_str().to_owned());
        }
        for pair in PAIR.iter().flat_map(|it| it.captures_iter(text)) {
            let value = [2, 3, 4].into_iter().find_map(|it| pair.get(it)).map_or("", |it| it.as_str());
            if is_secret_name(&pair[1]) && value.len() >= SHORTEST_PART {
                self.found.push(value.to_owned());
            }
        }
    }
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim().len() < SHORTEST_PART,
        Value::Number(number) => number.to_string().len() < SHORTEST_PART,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_found_by_name_at_any_depth() {
        let config = json!({
            "api_key": "k-12345", "host": "db.example", "password": "abc", "count": 7, "pin": 1234,
            "credentials": {"auth_type": "oauth2.0", "client_id": "id-1", "client_secret": "s-12345"},
            "tokens": ["t-12345"], "token_expiry_date": "2026-01-01T00:00:00Z",
            "headers": [{"name": "Accept", "value": "text/csv"}, {"name": "X-Api-Key", "value": "h-12345"}],
        });
        assert_eq!(find(&config, None), ["k-12345", "abc", "1234", "s-12345", "t-12345", "h-12345"]);
    }

    #[test]
    fn secrets_are_found_by_the_schemas_marks() {
        let schema = json!({
            "$defs": {"id": {"type": "string", "writeOnly": true}},
            "properties": {
                "tenant": {"airbyte_secret": true}, "account": {"$ref": "#/$defs/id"}, "code": {"format": "password"},
                "list": {"items": {"secret": true}},
                "login": {"oneOf": [{"properties": {"kind": {"const": "a"}}}, {"properties": {"who": {"secret": true}}}]},
                "whole": {"airbyte_secret": true, "type": "object"},
            },
            "additionalProperties": {"secret": true},
        });
        let config = json!({
            "tenant": "tenant-1", "account": "account-1", "code": 12345, "list": ["item-1"],
            "login": {"kind": "a", "who": "who-1"}, "whole": {"type": "x_account", "inner": {"leaf": "leaf-1"}},
            "other": "other-1",
        });
        let found = find(&config, Some(&schema));
        assert_eq!(found, ["tenant-1", "account-1", "12345", "item-1", "who-1", "leaf-1", "other-1"]);
    }

    #[test]
    fn secrets_are_found_inside_other_texts() {
        let account = json!({
            "type": "service_account", "private_key": "-----BEGIN", "token_uri": "https://t", "project_id": "project-1",
        })
        .to_string();
        let schema = json!({"properties": {"marked": {"airbyte_secret": true}}});
        assert_eq!(
            find(&json!({"marked": account.clone()}), Some(&schema)),
            [account.as_str(), "-----BEGIN", "project-1"]
        );
        assert_eq!(find(&json!({"text": account}), None), ["-----BEGIN"]);
        let found = |text: &str| find(&json!({"text": text}), None);
        assert_eq!(found("postgres://me:p4ss@host/db?sslmode=on"), ["p4ss"]);
        assert_eq!(found("https://host/a?page=1&access_token=t-12345&x=y"), ["t-12345"]);
        assert_eq!(found("Server=tcp:h;User=me;Password='p w d 1';Encrypt=yes"), ["p w d 1"]);
        assert_eq!(found("Authorization: Bearer b-12345"), ["b-12345"]);
        assert_eq!(find(&json!({"auth": "Bearer b-12345"}), None), ["Bearer b-12345", "b-12345"]);
        assert!(found("https://host/path:1/a@b?page=token").is_empty());
    }
}
