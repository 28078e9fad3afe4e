//! The config schema: the output of `--about`, or its replacement in shim.yaml.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

/// The config schema of a tap that prints none.
pub fn permissive() -> Value {
    json!({"type": "object", "title": "Config of the tap", "additionalProperties": true})
}

static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(token|secret|password|passwd|passphrase|api_?key|private_?key|access_?key|secret_?key|pat|dsn)$")
        .ok()
});

/// Adds Flow's `secret` annotation to the fields of a config schema that the tap marks as secret in any way, or whose
/// name is that of a secret.
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
    let types = members.get("type");
    let is_text =
        types.is_none_or(|it| it == "string" || it.as_array().is_some_and(|it| it.contains(&"string".into())));
    says("writeOnly")
        || members.get("format").is_some_and(|it| it == "password")
        || is_text && SECRET_NAME.as_ref().is_some_and(|it| it.is_match(name))
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
