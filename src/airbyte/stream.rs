//! A stream of a CATALOG. Only its name is required: an optional member of an unexpected type is read as what it
//! plainly means, or ignored.

use anyhow::{Result, bail};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::json::members;
use crate::upstream::{Mode, Stream, StreamId};

pub(super) const INCREMENTAL: &str = "incremental";
pub(super) const FULL_REFRESH: &str = "full_refresh";

pub(super) fn sync_mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Incremental => INCREMENTAL,
        Mode::FullRefresh => FULL_REFRESH,
    }
}

/// Whether records have the fields of sources that read a database's log (CDC). Such a source keeps one GLOBAL state.
pub(super) fn reads_log(schema: &Value) -> bool {
    let members = schema.get("properties").and_then(Value::as_object);
    members.is_some_and(|it| it.keys().any(|name| name.starts_with("_ab_cdc_")))
}

pub struct AirbyteStream {
    name: String,
    namespace: Option<String>,
    json_schema: Value,
    /// At least one.
    pub modes: Vec<String>,
    pub source_defined_cursor: Option<bool>,
    pub default_cursor: Vec<String>,
    /// Paths of its components.
    pub primary_key: Vec<Vec<String>>,
    pub is_file_based: bool,
    /// The members whose type is not the protocol's.
    pub malformed: Vec<&'static str>,
}

impl AirbyteStream {
    pub fn parse(declared: &RawValue) -> Result<Self> {
        let Some(mut members) = members::values(declared) else { bail!("it is not an object") };
        let Some(Value::String(name)) = members.remove("name") else { bail!("it has no name") };
        let mut members = Optional { members, malformed: Vec::new() };
        let mut modes = members.read("supported_sync_modes", names);
        if modes.is_empty() {
            modes.push(FULL_REFRESH.to_owned());
        }
        Ok(Self {
            name,
            namespace: members.read("namespace", text),
            json_schema: members.read("json_schema", object),
            modes,
            source_defined_cursor: members.read("source_defined_cursor", flag),
            default_cursor: members.read("default_cursor_field", path),
            primary_key: members.read("source_defined_primary_key", paths),
            is_file_based: members.read("is_file_based", flag) == Some(true),
            malformed: members.malformed,
        })
    }

    pub fn id(&self) -> StreamId {
        StreamId { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    pub fn into_stream(self, declared: Box<RawValue>) -> Stream {
        // If the user has to choose a cursor first, a full refresh works without further settings.
        let has_cursor = self.source_defined_cursor == Some(true) || !self.default_cursor.is_empty();
        let is_incremental = self.modes.iter().any(|it| it == INCREMENTAL) && (has_cursor || self.modes.len() == 1);
        let mode = if is_incremental { Mode::Incremental } else { Mode::FullRefresh };

        let mut resource = Map::new();
        resource.insert("stream".into(), self.name.clone().into());
        if let Some(namespace) = &self.namespace {
            resource.insert("namespace".into(), namespace.clone().into());
        }
        resource.insert("syncMode".into(), sync_mode(mode).into());
        if is_incremental && self.source_defined_cursor != Some(true) && !self.default_cursor.is_empty() {
            resource.insert("cursorField".into(), json!(self.default_cursor));
        }
        Stream {
            id: StreamId { namespace: self.namespace, name: self.name },
            schema: self.json_schema,
            key: self.primary_key,
            resource: resource.into(),
            mode,
            partial: false,
            modes: self.modes,
            cursor: (!self.default_cursor.is_empty()).then(|| self.default_cursor.join(".")),
            declared,
        }
    }
}

/// The optional members of a stream; null is an absent one.
struct Optional {
    members: Map<String, Value>,
    malformed: Vec<&'static str>,
}

impl Optional {
    /// Reads a member. `read` tells what it means, and whether it has the protocol's type.
    fn read<T: Default>(&mut self, name: &'static str, read: fn(Value) -> (T, bool)) -> T {
        let (value, is_well_formed) = match self.members.remove(name) {
            None | Some(Value::Null) => return T::default(),
            Some(value) => read(value),
        };
        if !is_well_formed {
            self.malformed.push(name);
        }
        value
    }
}

fn text(value: Value) -> (Option<String>, bool) {
    match value {
        Value::String(text) => (Some(text), true),
        _ => (None, false),
    }
}

fn object(value: Value) -> (Value, bool) {
    if value.is_object() { (value, true) } else { (Value::Null, false) }
}

fn flag(value: Value) -> (Option<bool>, bool) {
    match value {
        Value::Bool(it) => (Some(it), true),
        other => (other.as_str().and_then(|it| it.to_ascii_lowercase().parse().ok()), false),
    }
}

/// A list of names; also a single name.
fn names(value: Value) -> (Vec<String>, bool) {
    match &value {
        Value::Array(items) => {
            let names: Vec<String> = items.iter().filter_map(name).collect();
            let is_well_formed = names.len() == items.len();
            (names, is_well_formed)
        }
        other => (name(other).into_iter().collect(), false),
    }
}

/// A path; also a single name. Without one of its names it would be wrong.
fn path(value: Value) -> (Vec<String>, bool) {
    let is_array = value.is_array();
    let (names, is_well_formed) = names(value);
    (if is_array && !is_well_formed { Vec::new() } else { names }, is_well_formed)
}

/// A list of paths; also a list of names, or a single name. A key without one of its components would be wrong, so there
/// is none if a component can't be read; one without a name is kept, for the key's check to report.
fn paths(value: Value) -> (Vec<Vec<String>>, bool) {
    let step = |it: &Value| it.as_str().map(str::to_owned);
    let path = |it: &Value| it.as_array()?.iter().map(step).collect::<Option<Vec<_>>>();
    let items = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
    let is_well_formed = value.is_array() && items.iter().all(|it| path(it).is_some());
    let paths = items.iter().map(|it| path(it).or_else(|| Some(vec![name(it)?]))).collect::<Option<Vec<_>>>();
    // A list of empty paths is how some connectors write that there is no key.
    (paths.filter(|all| all.iter().any(|it| !it.is_empty())).unwrap_or_default(), is_well_formed)
}

fn name(value: &Value) -> Option<String> {
    value.as_str().filter(|it| !it.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> AirbyteStream {
        AirbyteStream::parse(&RawValue::from_string(text.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn optional_members_of_any_type_are_read_or_ignored() {
        let key = |text: &str| {
            let stream = parse(&format!(r#"{{"name":"a","source_defined_primary_key":{text}}}"#));
            (stream.primary_key, !stream.malformed.is_empty())
        };
        let id = || vec![vec!["id".to_owned()]];
        assert_eq!(key(r#"[["id"]]"#), (id(), false));
        assert_eq!(key(r#"["id"]"#), (id(), true));
        assert_eq!(key(r#""id""#), (id(), true));
        assert_eq!(key(r#"[["id"], 5]"#), (vec![], true));
        assert_eq!(key(r#"{"id": 1}"#), (vec![], true));
        assert_eq!(key("null"), (vec![], false));
        assert_eq!(key("[[]]"), (vec![], false));
        assert_eq!(key(r#"[["id"], []]"#), (vec![vec!["id".to_owned()], vec![]], false));
        assert_eq!(key(r#"[["id"], [""]]"#), (vec![vec!["id".to_owned()], vec![String::new()]], false));
        assert_eq!(key(r#"["id", ""]"#), (vec![], true));
        let stream = parse(
            r#"{"name":"a","namespace":5,"supported_sync_modes":"incremental","default_cursor_field":"at",
                "source_defined_cursor":"True","json_schema":"x","is_file_based":null}"#,
        );
        assert_eq!((stream.modes, stream.default_cursor), (vec!["incremental".to_owned()], vec!["at".to_owned()]));
        assert_eq!((stream.source_defined_cursor, stream.namespace), (Some(true), None));
        assert_eq!(
            stream.malformed,
            ["supported_sync_modes", "namespace", "json_schema", "source_defined_cursor", "default_cursor_field"]
        );
    }
}
