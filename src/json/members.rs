//! An object as a list of members with the unchanged text of each value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// The members of an object in order, with unparsed values.
#[derive(Default)]
pub struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The members of `raw`; none if it is not an object.
    pub fn of(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    /// The value of a member. Of duplicates the last one counts, as for most parsers.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(it, _)| it == name).map(|(_, value)| *value)
    }

    /// Replaces the value of a member, or appends a member.
    pub fn set(&mut self, name: &str, value: &'a RawValue) {
        match self.0.iter_mut().rev().find(|(it, _)| it == name) {
            Some(member) => member.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub fn to_raw(&self) -> Box<RawValue> {
        // Names are text and values are JSON, so this does not fail.
        to_raw_value(self).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

/// The members of an object as values; none if it is not an object. A member that is nested too deeply to be one is `false`, which
/// no list, object or text may be.
pub fn values(raw: &RawValue) -> Option<Map<String, Value>> {
    let value = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or(Value::Bool(false));
    Some(Members::of(raw)?.0.into_iter().map(|(name, raw)| (name, value(raw))).collect())
}

/// An object without a member.
pub fn without(raw: &RawValue, name: &str) -> Box<RawValue> {
    let mut members = Members::of(raw).unwrap_or_default();
    members.0.retain(|(it, _)| it != name);
    members.to_raw()
}

/// Whether a value is null or an empty text, list or object.
pub fn is_blank(raw: &RawValue) -> bool {
    let mut text = raw.get().chars().filter(|it| !it.is_whitespace());
    let start: String = text.by_ref().take(4).collect();
    matches!(start.as_str(), "null" | "\"\"" | "[]" | "{}") && text.next().is_none()
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
