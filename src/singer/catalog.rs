//! Catalogs: what a tap discovers. What is made of it for a sync is in [`super::selection`].

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::resource::Method;
use super::state::stream_id;
use crate::upstream::{Mode, Stream};

/// A stream as a catalog has it. Nothing in it is as certain as the specification says.
#[derive(Deserialize)]
pub struct Entry {
    tap_stream_id: Option<String>,
    stream: Option<String>,
    #[serde(default)]
    pub schema: Value,
    #[serde(default)]
    key_properties: Value,
    #[serde(default)]
    replication_method: Value,
    #[serde(default)]
    replication_key: Value,
    #[serde(default)]
    metadata: Value,
}

impl Entry {
    pub fn parse(declared: &RawValue) -> Result<Self> {
        let entry: Self =
            serde_json::from_str(declared.get()).context("a stream of the tap's catalog can't be read")?;
        if entry.tap_stream_id.is_none() && entry.stream.is_none() {
            bail!("a stream of the tap's catalog has neither tap_stream_id nor stream");
        }
        Ok(entry)
    }

    /// Who it is (S5).
    pub fn id(&self) -> &str {
        self.tap_stream_id.as_deref().or(self.stream.as_deref()).unwrap_or_default()
    }

    /// What its messages may call it.
    pub fn name(&self) -> &str {
        self.stream.as_deref().unwrap_or(self.id())
    }

    /// The metadata of the stream itself.
    fn about(&self, name: &str) -> Option<&Value> {
        let items = self.metadata.as_array()?;
        let own = items.iter().find(|it| it["breadcrumb"].as_array().is_none_or(Vec::is_empty))?;
        own["metadata"].get(name).filter(|it| !it.is_null())
    }

    /// S9.
    pub fn key(&self) -> Vec<String> {
        let own = texts(&self.key_properties);
        let told = ["table-key-properties", "view-key-properties"].into_iter();
        [own]
            .into_iter()
            .chain(told.map(|it| self.about(it).map(texts).unwrap_or_default()))
            .find(|it| !it.is_empty())
            .unwrap_or_default()
    }

    /// The method that the tap uses whatever it is told (S8).
    pub fn forced_method(&self) -> Option<Method> {
        self.about("forced-replication-method").and_then(method_of)
    }

    fn own_method(&self) -> Option<Method> {
        self.about("replication-method").and_then(method_of).or_else(|| method_of(&self.replication_method))
    }

    pub fn valid_keys(&self) -> Vec<String> {
        self.about("valid-replication-keys").map(texts).unwrap_or_default()
    }

    /// The replication key to use where nobody chooses one.
    pub fn default_key(&self) -> Option<String> {
        let own = self.about("replication-key").unwrap_or(&self.replication_key);
        texts(own).into_iter().next().or_else(|| self.valid_keys().into_iter().next())
    }

    pub fn is_view(&self) -> bool {
        self.about("is-view") == Some(&Value::Bool(true))
    }

    pub fn properties(&self) -> Option<&Map<String, Value>> {
        self.schema["properties"].as_object()
    }

    /// Whether the tap would do without a replication key that nobody knows of: what it forces, it knows how to do.
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

    /// For people: the methods that may be chosen.
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
}

fn method_of(value: &Value) -> Option<Method> {
    value.as_str().and_then(Method::named)
}

/// A list of names, or one name.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

pub fn streams(catalog: &RawValue) -> Result<Vec<Stream>> {
    #[derive(Deserialize)]
    struct Catalog {
        streams: Vec<Box<RawValue>>,
    }
    let catalog: Catalog = serde_json::from_str(catalog.get()).context("the tap's catalog can't be read")?;
    catalog.streams.into_iter().map(stream).collect()
}

pub fn stream(declared: Box<RawValue>) -> Result<Stream> {
    let entry = Entry::parse(&declared)?;
    let (method, cursor) = (entry.default_method(), entry.default_key());
    let mut resource = json!({"stream": entry.id(), "replicationMethod": method.name()});
    if let (Method::Incremental, Some(key)) = (method, &cursor) {
        resource["replicationKey"] = key.as_str().into();
    }
    Ok(Stream {
        id: stream_id(entry.id()),
        key: paths(entry.key()),
        resource,
        mode: method.mode(),
        modes: entry.methods(),
        cursor: cursor.filter(|_| method == Method::Incremental),
        schema: entry.schema,
        declared,
    })
}

/// What [`Stream::resource`] would be, were the stream to be read by full refresh.
pub fn full_refresh(stream: &Stream) -> Option<Value> {
    let full = Method::FullTable.name();
    stream.modes.iter().find(|it| *it == full)?;
    let mut resource = stream.resource.as_object()?.clone();
    resource.insert("replicationMethod".into(), full.into());
    resource.shift_remove("replicationKey");
    Some(resource.into())
}

/// Makes [`Stream::resource`] name this replication key, and read the stream by it.
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

/// What a catalog says of a stream that is not to be read (S6): what was discovered, but for its fields. Taps look at more
/// of such a stream than whether it is selected.
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

impl Method {
    pub fn mode(self) -> Mode {
        match self {
            Self::FullTable => Mode::FullRefresh,
            Self::Incremental | Self::LogBased => Mode::Incremental,
        }
    }
}
