//! Validates documents as Flow does before it commits them: the key always, the rest if the collection's schema is the
//! declared one. Messages name types and places, never values.

use anyhow::{Context, Result, bail};
use std::ops::Range;

use serde_json::Value;

use crate::json::pointer;
use crate::json::scan::{Fault, Key, Kind, Scanner};

/// The requirements that a collection has for its documents.
#[derive(Default)]
pub struct Validator {
    components: Vec<Component>,
    /// The indexes of `components`, in which the search for keys starts.
    all: Vec<usize>,
    schema: Option<jsonschema::Validator>,
}

/// One component of the key.
struct Component {
    pointer: String,
    path: Vec<String>,
    /// The types that the collection's schema allows; empty if it restricts none.
    types: Vec<String>,
}

/// Where a document's key components are, by their index.
pub type Found = Vec<Option<Range<usize>>>;

impl Validator {
    /// `key` and `schema` are the collection's. An inferred schema requires nothing but the key.
    pub fn new(key: &[String], schema: &Value) -> Result<Self> {
        let component = |it: &String| {
            let path = pointer::steps(it);
            let declared = path.iter().fold(schema, |schema, step| &schema["properties"][step]);
            let types = match &declared["type"] {
                Value::String(one) => vec![one.clone()],
                many => many.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
            };
            Component { pointer: it.clone(), path, types }
        };
        // The shim itself adds the row id.
        let components: Vec<Component> =
            key.iter().map(component).filter(|it| it.path.first().is_some_and(|it| it != "_meta")).collect();
        let is_inferred = schema["x-infer-schema"] == true;
        Ok(Self {
            all: (0..components.len()).collect(),
            components,
            schema: match is_inferred {
                true => None,
                // The error quotes the schema, which is not secret.
                false => Some(jsonschema::draft202012::new(schema).context("can't compile the schema")?),
            },
        })
    }

    /// Prepares `found` for the next document.
    #[inline]
    pub fn begin(&self, found: &mut Found) {
        found.clear();
        found.resize(self.components.len(), None);
    }

    /// Scans the value of a top-level member and notes the key components in it.
    #[inline]
    pub fn member(&self, scanner: &mut Scanner, name: &Key, found: &mut Found) -> Result<(), Fault> {
        self.locate(scanner, name, 0, &self.all, found)
    }

    #[inline]
    fn locate(
        &self,
        scanner: &mut Scanner,
        name: &Key,
        depth: usize,
        candidates: &[usize],
        found: &mut Found,
    ) -> Result<(), Fault> {
        let is_here = |index: &usize| name.is(&self.components[*index].path[depth]);
        let Some(&first) = candidates.iter().find(|it| is_here(it)) else { return scanner.value().map(drop) };
        if self.components[first].path.len() == depth + 1 {
            found[first] = Some(scanner.value()?);
            return Ok(());
        }
        if scanner.kind() != Some(Kind::Object) {
            return scanner.value().map(drop);
        }
        let within: Vec<usize> = candidates.iter().copied().filter(|it| is_here(it)).collect();
        scanner.object(|scanner, name| self.locate(scanner, &name, depth + 1, &within, found))
    }

    /// Checks a document, whose key components are `found` within `text`.
    #[inline]
    pub fn check(&self, stream: &str, text: &[u8], found: &Found, document: &[u8]) -> Result<()> {
        for (component, range) in self.components.iter().zip(found) {
            let value = range.as_ref().map(|it| &text[it.clone()]);
            if !value.is_some_and(|it| component.allows(it)) {
                return component.refuse(stream, value);
            }
        }
        match &self.schema {
            Some(schema) => check_schema(schema, stream, document),
            None => Ok(()),
        }
    }
}

impl Component {
    #[inline]
    fn allows(&self, value: &[u8]) -> bool {
        let has = |name: &str| self.types.is_empty() || self.types.iter().any(|it| it == name);
        match value.first() {
            Some(b'"') => has("string"),
            Some(b't' | b'f') => has("boolean"),
            Some(b'-' | b'0'..=b'9') => has("number") || (has("integer") && is_integer(value)),
            _ => false,
        }
    }

    #[cold]
    fn refuse(&self, stream: &str, value: Option<&[u8]>) -> Result<()> {
        let key = &self.pointer;
        let problem = match value {
            None => format!("a document lacks its key {key}"),
            Some(value) => {
                let types = if self.types.is_empty() { "a scalar".to_owned() } else { self.types.join(" or ") };
                format!("the key {key} of a document is {}, but must be {types}", type_name(value))
            }
        };
        bail!(
            "stream {stream}: {problem}: Flow rejects it (set another key at streams.{stream}.key in shim.yaml; `[]` is the row id)"
        );
    }
}

/// Whether a JSON number is an integer as JSON Schema defines it: 1.0 and 1e2 are.
fn is_integer(number: &[u8]) -> bool {
    if number.iter().all(|it| it.is_ascii_digit() || *it == b'-') {
        return true;
    }
    let number: Option<f64> = std::str::from_utf8(number).ok().and_then(|it| it.parse().ok());
    number.is_some_and(|it| it.fract() == 0.0)
}

fn type_name(value: &[u8]) -> &'static str {
    match value.first() {
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        _ if is_integer(value) => "an integer",
        _ => "a fractional number",
    }
}

fn check_schema(schema: &jsonschema::Validator, stream: &str, document: &[u8]) -> Result<()> {
    let document: Value = serde_json::from_slice(document).context("bug in flow-shim: invalid document")?;
    let Err(error) = schema.validate(&document) else { return Ok(()) };
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { "/" } else { &place };
    let found = document.pointer(error.instance_path().as_str()).unwrap_or(&Value::Null).to_string();
    bail!(
        "stream {stream}: a document violates the declared schema at {place}, which is {}: Flow rejects it (correct the schema at streams.{stream}.schema in shim.yaml, or set `schema: inferred`): {}",
        type_name(found.as_bytes()),
        error.masked_with("the value")
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::hints::Hints;
    use serde_json::json;

    fn check(validator: &Validator, document: &str) -> Result<(), String> {
        let mut found = Found::new();
        validator.begin(&mut found);
        let mut hints = Hints::default();
        let mut scanner = Scanner::new(document.as_bytes(), &mut hints);
        scanner.object(|it, name| validator.member(it, &name, &mut found)).unwrap();
        let checked = validator.check("users", document.as_bytes(), &found, document.as_bytes());
        checked.map_err(|it| crate::error::sentence(&it))
    }

    #[test]
    fn keys_must_be_present_and_of_their_type() {
        let schema = json!({"type": "object", "x-infer-schema": true, "properties": {
            "id": {"type": "integer"}, "at": {"type": "object", "properties": {"x": {"type": ["string", "number"]}}}}});
        let key = ["/id", "/at/x", "/_meta/row_id"].map(str::to_owned);
        let validator = Validator::new(&key, &schema).unwrap();
        for valid in
            [r#"{"at":{"y":1,"x":"a"},"id":7}"#, r#"{"id":-1.0,"at":{"x":1.5}}"#, r#"{"\u0069d":1e2,"at":{"x":0}}"#]
        {
            check(&validator, valid).unwrap();
        }
        let refused = [
            r#"{"at":{"x":"s3cret"}}"#,
            r#"{"id":null,"at":{"x":"s3cret"}}"#,
            r#"{"id":"s3cret","at":{"x":"s3cret"}}"#,
            r#"{"id":1.5,"at":{"x":"s3cret"}}"#,
            r#"{"id":1,"at":"s3cret"}"#,
            r#"{"id":1,"at":{"x":["s3cret"]}}"#,
        ];
        let refused: Vec<String> = refused.iter().map(|it| check(&validator, it).unwrap_err()).collect();
        assert!(!refused.concat().contains("s3cret"));
        insta::assert_snapshot!(refused.join("\n"));
    }

    #[test]
    fn a_declared_schema_holds_for_the_whole_document() {
        let schema =
            json!({"type": "object", "properties": {"id": {"type": "integer"}, "tags": {"items": {"type": "string"}}}});
        let validator = Validator::new(&["/id".to_owned()], &schema).unwrap();
        check(&validator, r#"{"id":1,"tags":["a"]}"#).unwrap();
        let refused = check(&validator, r#"{"id":1,"tags":["a",{"b":"s3cret"}]}"#).unwrap_err();
        assert!(!refused.contains("s3cret"));
        insta::assert_snapshot!(refused, @r#"stream users: a document violates the declared schema at /tags/1, which is an object: Flow rejects it (correct the schema at streams.users.schema in shim.yaml, or set `schema: inferred`): the value is not of type "string""#);
    }
}
