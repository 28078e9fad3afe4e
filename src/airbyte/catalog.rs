//! Catalogs: the discovered one, and the configured one that says what to read.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::stream::{AirbyteStream, FULL_REFRESH, INCREMENTAL, sync_mode};
use crate::json::members;
use crate::upstream::{Mode, Resource, Selected, Stream, StreamId};

#[derive(Deserialize)]
struct Catalog {
    streams: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceConfig {
    stream: String,
    namespace: Option<String>,
    /// Every stream has this mode, unless it is incremental only.
    #[serde(default = "full_refresh_mode")]
    sync_mode: String,
    cursor_field: Option<Vec<String>>,
}

fn full_refresh_mode() -> String {
    FULL_REFRESH.to_owned()
}

/// The discovered streams. One that can't be used is left out with a warning, as the others can be captured all the
/// same.
pub fn streams(catalog: &RawValue) -> Result<Vec<Stream>> {
    let catalog: Catalog = serde_json::from_str(catalog.get()).context("the connector's CATALOG can't be read")?;
    let mut streams: Vec<Stream> = Vec::new();
    let mut found = HashSet::new();
    for (index, declared) in catalog.streams.into_iter().enumerate() {
        let entry = match AirbyteStream::parse(&declared) {
            Ok(it) => it,
            Err(error) => {
                warn!("stream {index} of the connector's CATALOG is left out: {error:#}");
                continue;
            }
        };
        let id = entry.id();
        if !found.insert(id.clone()) {
            warn!("stream {id}: the connector's CATALOG names it twice; the first entry counts");
            continue;
        }
        for name in &entry.malformed {
            warn!(
                "stream {id}: its `{name}` in the connector's CATALOG is not as the protocol says: it is read as far as possible"
            );
        }
        if entry.is_file_based {
            warn!("stream {id} transfers files: their descriptions are captured, the files themselves are not");
        }
        // It is not sent to the connector either, and one that is nested too deeply must not get into Flow's state.
        let declared = match entry.malformed.contains(&"json_schema") {
            true => members::without(&declared, "json_schema"),
            false => declared,
        };
        streams.push(entry.into_stream(declared));
    }
    Ok(streams)
}

pub fn stream(declared: Box<RawValue>) -> Result<Stream> {
    let stream = AirbyteStream::parse(&declared).context("a stream of the connector's CATALOG can't be read")?;
    Ok(stream.into_stream(declared))
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
    // The path contains an empty namespace, but not an absent one.
    let path = id.namespace.iter().chain([&id.name]).cloned().collect();
    Ok(Resource { id, path, mode, method: None, config })
}

/// The resource config that reads a stream in this mode.
pub fn in_mode(stream: &Stream, mode: &str) -> Option<Value> {
    let mut resource = stream.resource.as_object()?.clone();
    let mode = stream.modes.iter().find(|it| *it == mode)?;
    resource.insert("syncMode".into(), mode.as_str().into());
    if mode == FULL_REFRESH {
        resource.shift_remove("cursorField");
    }
    Some(resource.into())
}

/// Makes discovery recommend an incremental sync by this cursor field.
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
    let declared = &selected.stream.declared;
    let stream = AirbyteStream::parse(declared).with_context(|| format!("stream {id}"))?;
    // Connectors reject null where a field is optional, and old ones print just that (A9).
    let mut members = members::values(declared).unwrap_or_default();
    members.retain(|name, value| !value.is_null() && !stream.malformed.contains(&name.as_str()));
    members.entry("json_schema").or_insert_with(|| json!({}));
    members.insert("supported_sync_modes".into(), json!(stream.modes));
    if !stream.default_cursor.is_empty() {
        members.insert("default_cursor_field".into(), json!(stream.default_cursor));
    }
    if !stream.primary_key.is_empty() {
        members.insert("source_defined_primary_key".into(), json!(stream.primary_key));
    }
    if let Some(it) = stream.source_defined_cursor {
        members.insert("source_defined_cursor".into(), it.into());
    }
    let primary_key = members.get("source_defined_primary_key").cloned();

    let mode = sync_mode(selected.resource.mode);
    if !stream.modes.iter().any(|it| it == mode) {
        bail!("stream {id} can't sync as {mode}: it supports {}", stream.modes.join(", "));
    }
    let chosen = selected.resource.config["cursorField"].as_array().filter(|path| !path.is_empty());
    let default = (!stream.default_cursor.is_empty()).then(|| json!(stream.default_cursor));
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
    if let Some(key) = primary_key {
        configured.insert("primary_key".into(), key);
    }
    Ok(configured.into())
}
