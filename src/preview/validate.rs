//! Validates documents against a declared schema as Flow does before it commits them. (The capture itself checks keys.) Messages
//! name types and places, never values.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The schema of a collection, if documents can violate it.
pub struct Validator(Option<jsonschema::Validator>);

impl Validator {
    /// `schema` is the collection's. An inferred schema requires nothing but the key.
    pub fn new(schema: &Value) -> Result<Self> {
        let is_inferred = schema["x-infer-schema"] == true;
        Ok(Self(match is_inferred {
            true => None,
            // The error quotes the schema, which is not secret.
            false => Some(jsonschema::draft202012::new(schema).context("can't compile the schema")?),
        }))
    }

    #[inline]
    pub fn check(&self, stream: &str, document: &[u8]) -> Result<()> {
        match &self.0 {
            Some(schema) => check_schema(schema, stream, document),
            None => Ok(()),
        }
    }
}

fn check_schema(schema: &jsonschema::Validator, stream: &str, document: &[u8]) -> Result<()> {
    let document: Value = serde_json::from_slice(document).context("bug in flow-shim: invalid document")?;
    let Err(error) = schema.validate(&document) else { return Ok(()) };
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { "/" } else { &place };
    let found = document.pointer(error.instance_path().as_str()).unwrap_or(&Value::Null);
    bail!(
        "stream {stream}: a document violates the declared schema at {place}, which is {}: Flow rejects it (correct the schema at streams.{stream}.schema in shim.yaml, or set `schema: inferred`): {}",
        type_name(found),
        error.masked_with("the value")
    );
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_declared_schema_holds_for_the_whole_document() {
        let schema =
            json!({"type": "object", "properties": {"id": {"type": "integer"}, "tags": {"items": {"type": "string"}}}});
        let validator = Validator::new(&schema).unwrap();
        validator.check("users", br#"{"id":1,"tags":["a"]}"#).unwrap();
        let refused = validator.check("users", br#"{"id":1,"tags":["a",{"b":"s3cret"}]}"#).unwrap_err();
        let refused = crate::error::sentence(&refused);
        assert!(!refused.contains("s3cret"));
        insta::assert_snapshot!(refused, @r#"stream users: a document violates the declared schema at /tags/1, which is an object: Flow rejects it (correct the schema at streams.users.schema in shim.yaml, or set `schema: inferred`): the value is not of type "string""#);
    }
}
