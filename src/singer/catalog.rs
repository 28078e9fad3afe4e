//! Catalogs as taps discover them. [`super::selection`] writes the catalog of a sync.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::method::Method;
use super::state::stream_id;
use crate::error;
use crate::upstream::{Mode, Stream};

/// A catalog entry. Only its name is required; every other member may have any type.
pub struct Entry {
    id: String,
    name: String,
    pub schema: Value,
    members: Map<String, Value>,
}

impl Entry {
    pub fn parse(declared: &RawValue) -> Result<Self> {
        let mut members: Map<String, Value> =
            serde_json::from_str(declared.get()).map_err(|it| error::without_input(&it)).context("it can't be read")?;
        let text =
            |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned).filter(|it| !it.is_empty());
        let (id, name) = match (text("tap_stream_id"), text("stream")) {
            (Some(id), name) => (id.clone(), name.unwrap_or(id)),
            (None, Some(name)) => (name.clone(), name),
            (None, None) => bail!("it has neither tap_stream_id nor stream"),
        };
        Ok(Self { id, name, schema: members.remove("schema").unwrap_or_default(), members })
    }

    /// The stream's identity (S5).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The stream's name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn member(&self, name: &str) -> &Value {
        self.members.get(name).unwrap_or(&Value::Null)
    }

    /// The members that can't be read as the specification says.
    fn malformed(&self) -> Vec<&'static str> {
        let is_name = |it: &Value| it.is_string();
        let is_fine = |name: &str, it: &Value| match name {
            "key_properties" => it.as_array().is_some_and(|it| it.iter().all(is_name)),
            "metadata" => it.as_array().is_some_and(|it| it.iter().all(Value::is_object)),
            _ => is_name(it),
        };
        let mut names = vec!["key_properties", "metadata", "replication_method", "replication_key"];
        names.retain(|name| !self.member(name).is_null() && !is_fine(name, self.member(name)));
        if !self.schema.is_null() && !self.schema.is_object() {
            names.push("schema");
        }
        names
    }

    /// The metadata of the stream itself.
    fn about(&self, name: &str) -> Option<&Value> {
        let items = self.member("metadata").as_array()?;
        let own = items.iter().find(|it| it["breadcrumb"].as_array().is_none_or(Vec::is_empty))?;
        own["metadata"].get(name).filter(|it| !it.is_null())
    }

    /// S9.
    pub fn key(&self) -> Vec<String> {
        let own = names(self.member("key_properties"));
        let told = ["table-key-properties", "view-key-properties"].into_iter();
        [own]
            .into_iter()
            .chain(told.map(|it| self.about(it).map(names).unwrap_or_default()))
            .find(|it| !it.is_empty())
            .unwrap_or_default()
    }

    /// The method that the tap uses regardless of the catalog (S8).
    pub fn forced_method(&self) -> Option<Method> {
        self.about("forced-replication-method").and_then(method_of)
    }

    fn own_method(&self) -> Option<Method> {
        self.about("replication-method").and_then(method_of).or_else(|| method_of(self.member("replication_method")))
    }

    pub fn valid_keys(&self) -> Vec<String> {
        self.about("valid-replication-keys").map(names).unwrap_or_default()
    }

    /// The replication key if the user chooses none.
    pub fn default_key(&self) -> Option<String> {
        let own = self.about("replication-key").unwrap_or(self.member("replication_key"));
        names(own).into_iter().next().or_else(|| self.valid_keys().into_iter().next())
    }

    pub fn is_view(&self) -> bool {
        self.about("is-view") == Some(&Value::Bool(true))
    }

    pub fn properties(&self) -> Option<&Map<String, Value>> {
        self.schema["properties"].as_object()
    }

    /// Whether the tap knows its replication key although the catalog does not name it: it forces the method.
    pub fn knows_its_key(&self) -> bool {
        self.forced_method() == Some(Method::Incremental)
    }

    fn default_method(&self) -> Method {
        let key = self.default_key();
        match self.forced_method().or_else(|| self.own_method()) {
            Some(Method::Incremental) if key.is_none() && !self.knows_its_key() => Method::FullTable,
            Some(method) => method,
            None if key.is_some() => Method::Incremental,
            None => Method::FullTable,
        }
    }

    /// The methods that may be chosen, for display.
    fn methods(&self) -> Vec<String> {
        if let Some(forced) = self.forced_method() {
            return vec![forced.name().to_owned()];
        }
        let mut methods = vec![Method::FullTable, Method::Incremental];
        if self.own_method() == Some(Method::LogBased) {
            methods.push(Method::LogBased);
        }
        methods.into_iter().map(|it| it.name().to_owned()).collect()
    }
    fn into_stream(self, declared: Box<RawValue>) -> Stream {
        let (method, cursor) = (self.default_method(), self.default_key());
        let mut resource = json!({"stream": self.id(), "replicationMethod": method.name()});
        if let (Method::Incremental, Some(key)) = (method, &cursor) {
            resource["replicationKey"] = key.as_str().into();
        }
        Stream {
            id: stream_id(self.id()),
            key: paths(self.key()),
            resource,
            mode: method.mode(),
            partial: false,
            modes: self.methods(),
            cursor: cursor.filter(|_| method == Method::Incremental),
            schema: self.schema,
            declared,
        }
    }
}

fn method_of(value: &Value) -> Option<Method> {
    value.as_str().and_then(Method::named)
}

/// A list of names, a list of paths of one name each, or one name.
pub fn names(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        Value::Array(items) => {
            let name = |it: &Value| match it {
                Value::Array(path) if path.len() == 1 => path[0].as_str().map(str::to_owned),
                other => other.as_str().map(str::to_owned),
            };
            // A key without one of its components would be wrong.
            items.iter().map(name).collect::<Option<_>>().unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// The discovered streams. One that can't be used is left out with a warning, as the others can be captured all the
/// same.
pub fn streams(catalog: &RawValue) -> Result<Vec<Stream>> {
    #[derive(Deserialize)]
    struct Catalog {
        streams: Vec<Box<RawValue>>,
    }
    let catalog: Catalog = serde_json::from_str(catalog.get()).context("the tap's catalog can't be read")?;
    let mut streams: Vec<Stream> = Vec::new();
    let mut found = HashSet::new();
    for (index, declared) in catalog.streams.into_iter().enumerate() {
        let entry = match Entry::parse(&declared) {
            Ok(it) => it,
            Err(error) => {
                warn!("stream {index} of the tap's catalog is left out: {error:#}");
                continue;
            }
        };
        let id = stream_id(entry.id());
        if !found.insert(id.clone()) {
            warn!("stream {id}: the tap's catalog has several entries with this tap_stream_id; the first one counts");
            continue;
        }
        for name in entry.malformed() {
            warn!(
                "stream {id}: its `{name}` in the tap's catalog is not as the specification says: it is read as far as possible"
            );
        }
        streams.push(entry.into_stream(declared));
    }
    Ok(streams)
}

pub fn stream(declared: Box<RawValue>) -> Result<Stream> {
    let entry = Entry::parse(&declared).context("a stream of the tap's catalog can't be read")?;
    Ok(entry.into_stream(declared))
}

/// The resource config that reads a stream in this mode.
pub fn in_mode(stream: &Stream, mode: &str) -> Option<Value> {
    let mode = stream.modes.iter().find(|it| *it == mode)?;
    let mut resource = stream.resource.as_object()?.clone();
    resource.insert("replicationMethod".into(), mode.as_str().into());
    if mode != Method::Incremental.name() {
        resource.shift_remove("replicationKey");
    }
    Some(resource.into())
}

/// Makes discovery recommend an incremental sync by this replication key.
pub fn choose_cursor(stream: &mut Stream, path: &[String]) {
    let (Some(resource), [key]) = (stream.resource.as_object_mut(), path) else { return };
    let incremental = Method::Incremental.name();
    if stream.modes.iter().any(|it| it == incremental) {
        resource.insert("replicationMethod".into(), incremental.into());
        resource.insert("replicationKey".into(), key.as_str().into());
        stream.mode = Mode::Incremental;
        stream.cursor = Some(key.clone());
    }
}

/// Names of top-level properties as paths (S3).
pub fn paths(names: Vec<String>) -> Vec<Vec<String>> {
    names.into_iter().map(|it| vec![it]).collect()
}

/// The catalog entry of a stream that is not selected (S6): the discovered one without its fields. Taps read more of
/// such a stream than whether it is selected.
pub fn unselected_entry(stream: &Stream) -> Option<Box<RawValue>> {
    let mut unselected_entry: Value = serde_json::from_str(stream.declared.get()).ok()?;
    let mut own = match unselected_entry["metadata"].take() {
        Value::Array(items) => items.into_iter().find(|it| it["breadcrumb"].as_array().is_some_and(Vec::is_empty)),
        _ => None,
    }
    .unwrap_or_else(|| json!({"breadcrumb": [], "metadata": {}}));
    if own["metadata"].is_object() {
        own["metadata"]["selected"] = false.into();
    }
    unselected_entry["metadata"] = json!([own]);
    unselected_entry["schema"] = json!({"type": "object", "properties": {}});
    to_raw_value(&unselected_entry).ok()
}
