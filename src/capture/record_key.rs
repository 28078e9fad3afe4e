//! Checks that a record has the key of its collection: Flow takes no document without it.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::lexical::leading_digits;
use crate::json::pointer;
use crate::json::watch::{Found, NameId, Watchlist};

/// The key of a collection, as far as it comes from the records.
#[derive(Default)]
pub struct RecordKey {
    components: Vec<Component>,
}

struct Component {
    pointer: String,
    /// Its top-level member.
    member: NameId,
    /// The names that lead to it from there.
    nested: Vec<String>,
    types: Types,
}

/// What a component may be.
#[derive(Clone, Copy)]
struct Types {
    string: bool,
    integer: bool,
    boolean: bool,
}

impl Types {
    const ANY: Self = Self { string: true, integer: true, boolean: true };

    /// Those that the collection's schema allows at a pointer.
    fn of(schema: &Value, steps: &[String]) -> Self {
        let at = steps.iter().try_fold(schema, |it, step| it.get("properties")?.get(step));
        let names: Vec<&str> = match at.and_then(|it| it.get("type")) {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => return Self::ANY,
        };
        let has = |name: &str| names.contains(&name);
        Self { string: has("string"), integer: has("integer") || has("number"), boolean: has("boolean") }
    }

    /// Whether the value of this length that a text begins with is of such a type.
    #[inline(always)]
    fn fit(self, text: &[u8], length: usize) -> bool {
        match text.first().filter(|_| length > 0) {
            Some(b'"') => self.string,
            Some(b't' | b'f') => self.boolean,
            Some(b'-' | b'0'..=b'9') => self.integer && is_integer(text, length),
            _ => false,
        }
    }
}

#[inline(always)]
fn is_integer(text: &[u8], length: usize) -> bool {
    let sign = usize::from(text.first() == Some(&b'-'));
    sign + leading_digits(&text[sign..]) == length || has_no_fraction(&text[..length])
}

/// 1.0 and 1e3 are integers to Flow.
#[cold]
fn has_no_fraction(number: &[u8]) -> bool {
    let parsed = std::str::from_utf8(number).ok().and_then(|it| it.parse::<f64>().ok());
    parsed.is_some_and(|it| it.fract() == 0.0)
}

impl RecordKey {
    /// `key` are JSON pointers, and `schema` is what the collection's documents have to match. The names of the top-level
    /// members that the key is in are added to `watched`.
    pub fn new(key: &[String], watched: &mut Watchlist, schema: Option<&RawValue>) -> Self {
        let schema: Value = schema.and_then(|it| serde_json::from_str(it.get()).ok()).unwrap_or_default();
        let component = |pointer: &String| {
            let steps = pointer::steps(pointer);
            let member = watched.add(steps.first().filter(|it| *it != "_meta")?);
            let types = Types::of(&schema, &steps);
            Some(Component { pointer: pointer.clone(), member, nested: steps[1..].to_vec(), types })
        };
        Self { components: key.iter().filter_map(component).collect() }
    }

    /// Whether the record has the key.
    #[inline(always)]
    pub fn is_in(&self, payload: &[u8], found: &Found) -> bool {
        // A loop, as `all` would be a call.
        for component in &self.components {
            if !component.is_in(payload, found) {
                return false;
            }
        }
        true
    }

    /// What is wrong with the key of a record that does not have it.
    #[cold]
    pub fn problem(&self, payload: &[u8], found: &Found) -> String {
        let Some(wrong) = self.components.iter().find(|it| !it.is_in(payload, found)) else { return String::new() };
        let record: Value = serde_json::from_slice(payload).unwrap_or_default();
        let what = match pointer::member(&record, &wrong.pointer) {
            None => match wrong.nested.is_empty() {
                true => match similar(&record, &wrong.pointer) {
                    Some(name) => format!("is absent (there is a {name:?}: names are case-sensitive)"),
                    None => "is absent".to_owned(),
                },
                false => "is absent, or what it is in is not an object".to_owned(),
            },
            Some(Value::Null) => "is null".to_owned(),
            Some(Value::Object(_)) => "is an object".to_owned(),
            Some(Value::Array(_)) => "is an array".to_owned(),
            Some(Value::Bool(_)) => "is a boolean, which the collection's schema does not allow".to_owned(),
            Some(Value::String(_)) => "is a string, which the collection's schema does not allow".to_owned(),
            Some(it @ Value::Number(_)) if !is_integer(it.to_string().as_bytes(), it.to_string().len()) => {
                "is a fractional number".to_owned()
            }
            Some(Value::Number(_)) => "is a number, which the collection's schema does not allow".to_owned(),
        };
        format!("its key {} {what}", wrong.pointer)
    }
}

impl Component {
    #[inline(always)]
    fn is_in(&self, payload: &[u8], found: &Found) -> bool {
        let Some(at) = found.at_top(self.member) else { return false };
        let Some(text) = payload.get(at.start..).filter(|it| it.len() >= at.len()) else { return false };
        if self.nested.is_empty() { self.types.fit(text, at.len()) } else { self.is_nested_in(&text[..at.len()]) }
    }

    #[cold]
    fn is_nested_in(&self, value: &[u8]) -> bool {
        let fit = |value: &[u8]| self.types.fit(value, value.len());
        let Some((first, rest)) = self.nested.split_first() else { return fit(value) };
        #[derive(serde::Deserialize)]
        struct Members<'a>(#[serde(borrow)] std::collections::HashMap<std::borrow::Cow<'a, str>, &'a RawValue>);
        let step = |value: &[u8], name: &str| -> Option<Box<RawValue>> {
            let Members(members) = serde_json::from_slice(value).ok()?;
            Some((*members.get(name)?).to_owned())
        };
        let found = rest.iter().try_fold(step(value, first), |it, name| Some(step(it?.get().as_bytes(), name)));
        found.flatten().is_some_and(|it| fit(it.get().as_bytes()))
    }
}

/// A top-level name that differs from the pointer's only in case.
fn similar(record: &Value, pointer: &str) -> Option<String> {
    let name = pointer::steps(pointer).into_iter().next()?.to_lowercase();
    record.as_object()?.keys().find(|it| it.to_lowercase() == name).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::line::DeletionMark;

    const DELETION: DeletionMark = DeletionMark { member: "_deleted_at", is_set: |value| value != b"null" };
    use crate::json::hints::Hints;
    use crate::upstream::line::bare_payload;

    fn problem(key: &[&str], schema: &str, record: &str) -> String {
        let key: Vec<String> = key.iter().map(|it| (*it).to_owned()).collect();
        let mut watched = Watchlist::default();
        let schema = RawValue::from_string(schema.to_owned()).unwrap();
        let checked = RecordKey::new(&key, &mut watched, Some(&schema));
        let mut hints = Hints::default();
        hints.watch(watched);
        let payload = bare_payload(record.as_bytes(), &mut hints, &DELETION).unwrap();
        match checked.is_in(payload.bytes, &hints.found) {
            true => String::new(),
            false => checked.problem(payload.bytes, &hints.found),
        }
    }

    #[test]
    fn key_problems_are_described() {
        let schema = r#"{"properties":{"id":{"type":"integer"},"s":{"type":["string","null"]},"user":{"properties":{"login":{"type":"string"}}}}}"#;
        for (key, record, want) in [
            (&["/id"][..], r#"{"id":1}"#, ""),
            (&["/id"], r#"{"a":{"id":null},"id":-12}"#, ""),
            (&["/id"], r#"{"id":1.0}"#, ""),
            (&["/id"], r#"{"id":null,"id":1}"#, ""),
            (&["/id"], r#"{"\u0069d":1}"#, ""),
            (&["/id"], r#"{"id":1,"id":null}"#, "its key /id is null"),
            (&["/id"], r#"{"id":1.5}"#, "its key /id is a fractional number"),
            (&["/id"], r#"{"id":"A"}"#, "its key /id is a string, which the collection's schema does not allow"),
            (&["/id"], r#"{"id":[1]}"#, "its key /id is an array"),
            (&["/id"], r#"{"a":{"id":1}}"#, "its key /id is absent"),
            (&["/id"], r#"{"ID":1}"#, "its key /id is absent (there is a \"ID\": names are case-sensitive)"),
            (&["/s"], r#"{"s":1}"#, "its key /s is a number, which the collection's schema does not allow"),
            (&["/x"], r#"{"x":true}"#, ""),
            (&["/id", "/s"], r#"{"s":"","id":0}"#, ""),
            (&["/id", "/s"], r#"{"id":0,"s":null}"#, "its key /s is null"),
            (&["/user/login"], r#"{"user":{"login":"a"}}"#, ""),
            (&["/user/login"], r#"{"user":{"login":null}}"#, "its key /user/login is null"),
            (&["/user/login"], r#"{"user":null}"#, "its key /user/login is absent, or what it is in is not an object"),
            (&["/_meta/row_id"], "{}", ""),
            (&["/a~1b"], r#"{"a/b":1}"#, ""),
        ] {
            assert_eq!(problem(key, schema, record), want, "{record}");
        }
    }
}
