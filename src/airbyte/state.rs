//! States: converts STATE messages to Flow's state, and that to the content of the `--state` file (A6, A7, A12).
//!
//! Flow keeps a state for each stream. The shared state holds the rest: `{"type": "GLOBAL", "shared_state"?: ...}` or
//! `{"type": "LEGACY", "data": ...}`.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::lenient::number;
use crate::error;
use crate::settings::StateFormat;
use crate::upstream::{Broken, LegacyCell, LegacyState, Selected, StateUpdate, Stream, StreamId, SyncRequest};

#[derive(Deserialize)]
pub struct StateMessage {
    #[serde(rename = "type")]
    kind: Option<String>,
    stream: Option<StreamState>,
    global: Option<GlobalState>,
    data: Option<Box<RawValue>>,
    #[serde(default, rename = "sourceStats")]
    source_stats: Value,
}

#[derive(Deserialize)]
struct GlobalState {
    shared_state: Option<Box<RawValue>>,
    stream_states: Option<Vec<StreamState>>,
}

#[derive(Serialize, Deserialize)]
struct StreamState {
    stream_descriptor: Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_state: Option<Box<RawValue>>,
}

#[derive(Serialize, Deserialize)]
pub struct Descriptor {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

impl From<Descriptor> for StreamId {
    fn from(it: Descriptor) -> Self {
        Self { namespace: it.namespace, name: it.name }
    }
}

impl From<&StreamId> for Descriptor {
    fn from(it: &StreamId) -> Self {
        Self { namespace: it.namespace.clone(), name: it.name.clone() }
    }
}

impl StateMessage {
    /// A stream's state is absent, which resets the stream, or a part of a global one.
    pub fn lacks_a_part(&self) -> bool {
        let lacks_state = |it: &StreamState| it.stream_state.is_none();
        self.stream.as_ref().is_some_and(lacks_state)
            || self.global.as_ref().is_some_and(|it| {
                let streams = it.stream_states.as_ref();
                it.shared_state.is_none() || streams.is_none_or(|it| it.iter().any(lacks_state))
            })
    }
}

/// What a STATE message changes.
pub fn update(message: StateMessage) -> Result<StateUpdate, Broken> {
    let record_count = message.source_stats.get("recordCount").and_then(number);
    let lost = |reason: &str| Err(Broken::lost(None, format!("a STATE message {reason}")));
    match (message.kind.as_deref(), message.stream, message.global, message.data) {
        (Some("STREAM") | None, Some(it), ..) => {
            let streams = vec![(it.stream_descriptor.into(), it.stream_state)];
            Ok(StateUpdate { streams, record_count, ..StateUpdate::default() })
        }
        (Some("GLOBAL") | None, _, Some(global), _) => {
            let streams =
                global.stream_states.into_iter().flatten().map(|it| (it.stream_descriptor.into(), it.stream_state));
            let shared = Some(shared("GLOBAL", "shared_state", global.shared_state.as_deref()));
            Ok(StateUpdate { streams: streams.collect(), shared, complete: true, indivisible: true, record_count })
        }
        (Some("LEGACY") | None, .., Some(data)) => {
            let shared = Some(shared("LEGACY", "data", Some(&data)));
            Ok(StateUpdate { shared, complete: true, indivisible: true, record_count, ..StateUpdate::default() })
        }
        (Some("STREAM" | "GLOBAL" | "LEGACY"), ..) => lost("lacks what its type announces"),
        (Some(other), ..) => lost(&format!("has the unknown type {other:?}")),
        (None, ..) => lost("holds no state"),
    }
}

/// Notes in the shared state, which is otherwise empty, that the connector sends STREAM states: such a connector also
/// reads a list, as both came with the same CDK.
pub fn note_format(update: &mut StateUpdate) {
    if update.shared.is_none() {
        update.shared = Some(raw(format!(r#"{{"type":"{STREAM}"}}"#)));
    }
}

const STREAM: &str = "STREAM";

/// Whether a shared state is that of a connector with a state for each stream. A GLOBAL or LEGACY one is one state for all.
pub fn is_divisible(shared: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Shared {
        #[serde(rename = "type")]
        kind: String,
    }
    serde_json::from_str::<Shared>(shared.get()).is_ok_and(|it| it.kind == STREAM)
}

/// A shared state, built as text so that the connector's own part stays byte for byte.
fn shared(kind: &str, name: &str, value: Option<&RawValue>) -> Box<RawValue> {
    let member = value.map(|it| format!(r#","{name}":{}"#, it.get())).unwrap_or_default();
    raw(format!(r#"{{"type":"{kind}"{member}}}"#))
}

fn raw(text: String) -> Box<RawValue> {
    // Built from JSON, so this never fails; null would reset the state.
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The content of the `--state` file: a list (A7), except for a LEGACY state and for [`StateFormat::Bare`].
pub fn input(sync: &SyncRequest, format: StateFormat) -> Result<Box<RawValue>> {
    #[derive(Deserialize)]
    struct SharedState {
        #[serde(rename = "type")]
        kind: String,
        shared_state: Option<Box<RawValue>>,
        data: Option<Box<RawValue>>,
    }
    #[derive(Serialize)]
    struct StreamMessage {
        r#type: &'static str,
        stream: StreamState,
    }
    #[derive(Serialize)]
    struct Global {
        #[serde(skip_serializing_if = "Option::is_none")]
        shared_state: Option<Box<RawValue>>,
        stream_states: Vec<StreamState>,
    }
    #[derive(Serialize)]
    struct GlobalMessage {
        r#type: &'static str,
        global: Global,
    }

    let shared: Option<SharedState> = match sync.shared_state {
        Some(raw) => Some(
            serde_json::from_str(raw.get())
                .map_err(|it| error::without_input(&it))
                .context("the shared state in Flow can't be read")?,
        ),
        None => None,
    };
    if let Some(SharedState { kind, .. }) = &shared
        && !["GLOBAL", "LEGACY", STREAM].contains(&kind.as_str())
    {
        bail!("sharedStateV1 in Flow's state has the unknown type {kind:?}: backfill the capture to start it over");
    }
    let mut streams = sync.streams.iter().filter_map(stream_state).peekable();
    let written = match shared {
        Some(SharedState { data: Some(data), .. }) => return legacy_input(data, sync),
        Some(SharedState { kind, shared_state, .. }) if kind == "GLOBAL" => {
            let global = Global { shared_state, stream_states: streams.collect() };
            to_raw_value(&[GlobalMessage { r#type: "GLOBAL", global }])
        }
        // All connectors take an empty list for a first sync.
        None if format == StateFormat::Bare && streams.peek().is_some() => {
            let states: BTreeMap<_, _> = streams.map(|it| (it.stream_descriptor.name, it.stream_state)).collect();
            to_raw_value(&states)
        }
        _ => {
            let messages: Vec<_> = streams.map(|stream| StreamMessage { r#type: STREAM, stream }).collect();
            to_raw_value(&messages)
        }
    };
    written.context("can't write the connector's state")
}

fn stream_state(selected: &Selected) -> Option<StreamState> {
    let stream_state = Some(selected.state?.to_owned());
    Some(StreamState { stream_descriptor: (&selected.resource.id).into(), stream_state })
}

/// The content for a LEGACY state. By convention its members are streams: those that start afresh are removed.
fn legacy_input(data: Box<RawValue>, sync: &SyncRequest) -> Result<Box<RawValue>> {
    let fresh: Vec<&str> = sync.streams.iter().filter(|it| it.fresh).map(|it| it.resource.id.name.as_str()).collect();
    if fresh.is_empty() {
        return Ok(data);
    }
    let Ok(mut members) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(data.get()) else {
        return Ok(data);
    };
    members.retain(|name, _| !fresh.contains(&name.as_str()));
    to_raw_value(&members).context("can't write the connector's state")
}

/// Whether an interrupted full refresh resumes from this state. With the CDK's completion markers it would read nothing
/// (A12), and a stream that is not resumable starts from the beginning.
pub fn resumes(stream: &Stream, state: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Resumable {
        is_resumable: Option<bool>,
    }
    let resumable = serde_json::from_str::<Resumable>(stream.declared.get());
    let marker = |name: &str| state.get().contains(name);
    !resumable.is_ok_and(|it| it.is_resumable == Some(false))
        && !marker("\"__ab_full_refresh_sync_complete\"")
        && !marker("\"__ab_no_cursor_state_message\"")
}

/// Reads a cell of flow_sdk's CaptureShim: `{"rowId": 451234, "state": <STATE message of type STREAM>}`.
pub fn legacy_cell(cell: &RawValue) -> Option<LegacyCell> {
    #[derive(Deserialize)]
    struct Cell {
        #[serde(default, rename = "rowId")]
        row_id: u64,
        state: StateMessage,
    }
    let cell: Cell = serde_json::from_str(cell.get()).ok()?;
    Some(LegacyCell { row_id: cell.row_id, state: cell.state.stream?.stream_state })
}

/// Reads the state of airbyte-to-flow: `{"<stream>": <stream_state>, ...}`, or a LEGACY state unchanged.
pub fn atf_state(state: &Map<String, Value>, streams: &[&StreamId]) -> Result<LegacyState> {
    let is_damaged = |id: &&&StreamId| state.get(&id.name).is_some_and(|it| !it.is_object() && !it.is_null());
    if let Some(id) = streams.iter().find(is_damaged) {
        bail!("the state that airbyte-to-flow kept for stream {id} is not an object");
    }
    let found: Vec<(StreamId, Box<RawValue>)> =
        streams.iter().filter_map(|id| Some(((*id).clone(), to_raw_value(state.get(&id.name)?).ok()?))).collect();
    if found.is_empty() && !state.is_empty() {
        let data = to_raw_value(state).ok();
        return Ok(LegacyState { streams: found, shared: Some(shared("LEGACY", "data", data.as_deref())) });
    }
    Ok(LegacyState { streams: found, shared: None })
}
