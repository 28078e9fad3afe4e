//! The config schema: the output of `--about`, or its replacement in shim.yaml.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

/// The config schema of a tap that prints none.
pub fn permissive() -> Value {
    json!({"type": "object", "title": "Config of the tap", "additionalProperties": true})
}

static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(token|secret|password|passwd|passphrase|api_?key|private_?key|access_?key|secret_?key|pat|dsn)s?$",
    )
    .ok()
});

/// Adds Flow's `secret` annotation to the fields of a config schema that the tap marks as secret in any way, or whose
/// name is that of a secret or of a list of secrets.
pub fn mark_secrets(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(mark_secrets),
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get_mut("properties") {
                for (name, property) in properties {
                    if is_secret(name, property) {
                        property["secret"] = true.into();
                    }
                }
            }
            members.values_mut().for_each(mark_secrets);
        }
        _ => {}
    }
}

fn is_secret(name: &str, property: &Value) -> bool {
    let Some(members) = property.as_object() else { return false };
    let says = |keyword: &str| members.get(keyword) == Some(&Value::Bool(true));
    // An explicit annotation counts before the name.
    if let Some(Value::Bool(said)) = members.get("secret").or(members.get("airbyte_secret")) {
        return *said;
    }
    says("writeOnly")
        || members.get("format").is_some_and(|it| it == "password")
        || SECRET_NAME.as_ref().is_some_and(|it| it.is_match(name))
            && (may_be(property, "string")
                || may_be(property, "array") && members.get("items").is_some_and(|it| may_be(it, "string")))
}

fn may_be(schema: &Value, name: &str) -> bool {
    let types = schema.get("type");
    types.is_none_or(|it| it == name || it.as_array().is_some_and(|it| it.contains(&name.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_marked_by_annotation_and_by_name() {
        let mut schema = json!({"type": "object", "properties": {
            "host": {"type": "string"},
            "auth_token": {"type": ["string", "null"]},
            "page_token": {"type": "string", "secret": false},
            "more_tokens": {"type": ["array", "null"], "items": {"type": "string"}},
            "tokens": {"type": "array", "items": {"type": "object", "properties": {"token": {"type": "string"}}}},
            "pin": {"type": "string", "writeOnly": true},
            "entry": {"type": "string", "format": "password"},
            "token": {"type": "object", "properties": {"client_secret": {"type": "string"}}},
            "headers": {"type": "array", "items": {"type": "object", "properties": {"api_key": {}}}},
        }});
        mark_secrets(&mut schema);
        let marked = |pointer: &str| schema.pointer(pointer).unwrap()["secret"] == true;
        for (pointer, want) in [
            ("/properties/host", false),
            ("/properties/auth_token", true),
            ("/properties/page_token", false),
            ("/properties/more_tokens", true),
            ("/properties/tokens", false),
            ("/properties/tokens/items/properties/token", true),
            ("/properties/pin", true),
            ("/properties/entry", true),
            ("/properties/token", false),
            ("/properties/token/properties/client_secret", true),
            ("/properties/headers/items/properties/api_key", true),
        ] {
            assert_eq!(marked(pointer), want, "{pointer}");
        }
    }
}
