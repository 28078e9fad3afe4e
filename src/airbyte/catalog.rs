//! Catalogs: what a source discovers, and what it is configured to read.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tracing::warn;

use crate::upstream::{Mode, Resource, Selected, Stream, StreamId};

#[derive(Deserialize)]
struct Catalog {
    streams: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct AirbyteStream {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    json_schema: Value,
    #[serde(default)]
    supported_sync_modes: Option<Vec<String>>,
    #[serde(default)]
    source_defined_cursor: Option<bool>,
    #[serde(default)]
    default_cursor_field: Option<Vec<String>>,
    #[serde(default)]
    source_defined_primary_key: Option<Vec<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceConfig {
    stream: String,
    namespace: Option<String>,
    sync_mode: String,
    cursor_field: Option<Vec<String>>,
}

pub fn streams(catalog: &RawValue) -> Result<Vec<Stream>> {
    let catalog: Catalog = serde_json::from_str(catalog.get()).context("the connector's CATALOG can't be read")?;
    let mut streams: Vec<Stream> = Vec::new();
    for declared in catalog.streams {
        // One stream that can't be used is no reason to do without the others.
        match stream(declared) {
            Ok(it) if streams.iter().any(|other| other.id == it.id) => {
                warn!("the connector's CATALOG names stream {} twice: the first one counts", it.id);
            }
            Ok(it) => streams.push(it),
            Err(failure) => warn!("{failure:#}: it is left out"),
        }
    }
    Ok(streams)
}

pub fn stream(declared: Box<RawValue>) -> Result<Stream> {
    let stream: AirbyteStream =
        serde_json::from_str(declared.get()).context("a stream of the connector's CATALOG can't be read")?;
    let default_cursor = stream.default_cursor_field.clone().unwrap_or_default();
    let modes = stream.modes();
    // Where the user has to choose a cursor first, a full refresh is what works at once.
    let has_cursor = stream.source_defined_cursor == Some(true) || !default_cursor.is_empty();
    let incremental = modes.iter().any(|it| it == INCREMENTAL) && (has_cursor || modes.len() == 1);
    let mode = if incremental { Mode::Incremental } else { Mode::FullRefresh };

    let mut resource = Map::new();
    resource.insert("stream".into(), stream.name.clone().into());
    if let Some(namespace) = &stream.namespace {
        resource.insert("namespace".into(), namespace.clone().into());
    }
    resource.insert("syncMode".into(), sync_mode(mode).into());
    if incremental && stream.source_defined_cursor != Some(true) && !default_cursor.is_empty() {
        resource.insert("cursorField".into(), json!(default_cursor));
    }
    Ok(Stream {
        id: StreamId { namespace: stream.namespace, name: stream.name },
        schema: stream.json_schema,
        key: stream
            .source_defined_primary_key
            .unwrap_or_default()
            .into_iter()
            .filter(|path| !path.is_empty())
            .collect(),
        resource: resource.into(),
        mode,
        modes,
        cursor: (!default_cursor.is_empty()).then(|| default_cursor.join(".")),
        declared,
    })
}

pub fn resource(config: &RawValue) -> Result<Resource> {
    let parsed: ResourceConfig = serde_json::from_str(config.get())
        .context("a binding's resource config can't be read (it takes stream, namespace, syncMode and cursorField)")?;
    let id = StreamId { namespace: parsed.namespace, name: parsed.stream };
    let mode = match parsed.sync_mode.as_str() {
        INCREMENTAL => Mode::Incremental,
        FULL_REFRESH => Mode::FullRefresh,
        other => {
            bail!("stream {id}: syncMode is incremental or full_refresh, not {other:?}");
        }
    };
    let config = json!({"cursorField": parsed.cursor_field.unwrap_or_default()});
    // An absent namespace is no part of the path, an empty one is.
    let path = id.namespace.iter().chain([&id.name]).cloned().collect();
    Ok(Resource { id, path, mode, method: None, config })
}

/// What [`Stream::resource`] would be, were the stream to be read by full refresh.
pub fn full_refresh(stream: &Stream) -> Option<Value> {
    let mut resource = stream.resource.as_object()?.clone();
    stream.modes.iter().find(|it| *it == FULL_REFRESH)?;
    resource.insert("syncMode".into(), FULL_REFRESH.into());
    resource.shift_remove("cursorField");
    Some(resource.into())
}

/// Makes [`Stream::resource`] name this cursor field, and read the stream by it.
pub fn choose_cursor(stream: &mut Stream, path: &[String]) {
    let Some(resource) = stream.resource.as_object_mut() else { return };
    if stream.modes.iter().any(|it| it == INCREMENTAL) {
        resource.insert("syncMode".into(), INCREMENTAL.into());
        resource.insert("cursorField".into(), json!(path));
        stream.mode = Mode::Incremental;
        stream.cursor = Some(path.join("."));
    }
}

/// The configured catalog (A9, A10).
pub fn configured(streams: &[Selected]) -> Result<Box<RawValue>> {
    let configured: Result<Vec<Value>> = streams.iter().map(configured_stream).collect();
    to_raw_value(&json!({"streams": configured?})).context("can't write the configured catalog")
}

fn configured_stream(selected: &Selected) -> Result<Value> {
    let id = &selected.resource.id;
    let declared = selected.stream.declared.get();
    let stream: AirbyteStream = serde_json::from_str(declared).with_context(|| format!("stream {id}"))?;
    // Connectors reject null where a field is optional, and old ones print just that (A9).
    let mut members: Map<String, Value> = serde_json::from_str(declared).with_context(|| format!("stream {id}"))?;
    members.retain(|_, value| !value.is_null());
    members.entry("json_schema").or_insert_with(|| json!({}));
    let modes = stream.modes();
    members.insert("supported_sync_modes".into(), json!(modes));

    let mode = sync_mode(selected.resource.mode);
    if !modes.iter().any(|it| it == mode) {
        bail!("stream {id} can't sync as {mode}: it supports {}", modes.join(", "));
    }
    let chosen = selected.resource.config["cursorField"].as_array().filter(|path| !path.is_empty());
    let default = stream.default_cursor_field.filter(|path| !path.is_empty()).map(|path| json!(path));
    let cursor = match (stream.source_defined_cursor, chosen) {
        (Some(true), _) | (_, None) => default,
        (_, Some(chosen)) => Some(chosen.clone().into()),
    };
    if selected.resource.mode == Mode::Incremental && cursor.is_none() && stream.source_defined_cursor == Some(false) {
        bail!("stream {id} needs a cursorField in its resource config to sync as incremental");
    }
    let mut configured = Map::new();
    configured.insert("stream".into(), members.into());
    configured.insert("sync_mode".into(), mode.into());
    configured.insert("destination_sync_mode".into(), "append".into());
    if let Some(cursor) = cursor {
        configured.insert("cursor_field".into(), cursor);
    }
    if let Some(key) = stream.source_defined_primary_key {
        configured.insert("primary_key".into(), json!(key));
    }
    Ok(configured.into())
}

impl AirbyteStream {
    fn modes(&self) -> Vec<String> {
        match self.supported_sync_modes.as_deref() {
            None | Some([]) => vec![FULL_REFRESH.to_owned()],
            Some(modes) => modes.to_vec(),
        }
    }
}

const INCREMENTAL: &str = "incremental";
const FULL_REFRESH: &str = "full_refresh";

fn sync_mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Incremental => INCREMENTAL,
        Mode::FullRefresh => FULL_REFRESH,
    }
}
