//! Compares a config with the schema that it should satisfy. Problems name places and fields, never values: they may be secret.

use serde_json::Value;
use tracing::debug;

use crate::suggest;

/// As many violations are reported at once.
const AT_MOST: usize = 5;

/// The violations of a schema, at most five. A schema that cannot be compiled has none.
pub fn violations(schema: &Value, config: &Value) -> Vec<String> {
    let validator = match jsonschema::validator_for(schema) {
        Ok(it) => it,
        Err(error) => {
            debug!("the config is not validated: its schema is not valid: {error}");
            return Vec::new();
        }
    };
    let describe = |it: jsonschema::ValidationError| match it.instance_path().to_string() {
        path if path.is_empty() => it.masked().to_string(),
        path => format!("{path}: {}", it.masked()),
    };
    validator.iter_errors(config).take(AT_MOST).map(describe).collect()
}

/// The top-level fields of a config that its schema does not declare, each with the most similar declared name.
pub fn unknown_fields(schema: &Value, config: &Value) -> Vec<(String, Option<String>)> {
    let declared = |it: &Value| it["properties"].as_object().map(|it| it.keys().cloned().collect::<Vec<_>>());
    let branches = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|it| schema[it].as_array()).flatten();
    let Some(mut names) = declared(schema) else { return Vec::new() };
    names.extend(branches.filter_map(declared).flatten());
    if schema.get("patternProperties").is_some() || schema["additionalProperties"].is_object() {
        return Vec::new();
    }
    let unknown = config.as_object().into_iter().flat_map(|it| it.keys()).filter(|it| !names.contains(it));
    let similar = |name: &str| suggest::similar(name, names.iter().map(String::as_str)).map(str::to_owned);
    unknown.map(|it| (it.clone(), similar(it))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn violations_name_places_and_no_values() {
        let schema = json!({"type": "object", "required": ["token"], "properties": {"count": {"type": "integer"}}});
        assert_eq!(
            violations(&schema, &json!({"count": "s3cret"})),
            [r#""token" is a required property"#, r#"/count: value is not of type "integer""#]
        );
        assert_eq!(violations(&json!({"type": "no such type"}), &json!({})), [""; 0]);
    }

    #[test]
    fn unknown_fields_have_suggestions() {
        let schema = json!({"properties": {"count": {}, "seed": {}}, "oneOf": [{"properties": {"mode": {}}}]});
        let config = json!({"cuont": 1, "seed": 2, "mode": "a", "zzz": 3});
        assert_eq!(
            unknown_fields(&schema, &config),
            [("cuont".to_owned(), Some("count".to_owned())), ("zzz".to_owned(), None)]
        );
        assert!(unknown_fields(&json!({"properties": {}, "patternProperties": {".*": {}}}), &config).is_empty());
        assert!(unknown_fields(&json!({}), &config).is_empty());
    }
}
