//! Converts a Singer state or a list of Airbyte states to Flow's state, so that a preview can resume from what another tool
//! has stored.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::bindings::Binding;
use crate::capture::{BINDINGS, CATALOG, SHARED};

/// The formats that a state file can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Our own, or one of a legacy wrapper that kept its state per binding.
    Flow,
    Singer,
    Airbyte,
    /// An object of states by stream, as airbyte-to-flow kept it, if its members are names of streams.
    ByStream,
}

/// The format of a file's content; `None` if it is not a state.
pub fn format(state: &Value) -> Option<Format> {
    match state {
        Value::Array(items) if items.iter().all(|it| airbyte_state(it).is_some()) => Some(Format::Airbyte),
        Value::Object(members) if members.is_empty() => Some(Format::Flow),
        Value::Object(members) if [BINDINGS, SHARED, CATALOG].iter().any(|it| members.contains_key(*it)) => {
            let valid = |name: &str, is_valid: fn(&Value) -> bool| members.get(name).is_none_or(is_valid);
            let is_state =
                valid(BINDINGS, Value::is_object) && valid(SHARED, Value::is_array) && valid(CATALOG, Value::is_array);
            is_state.then_some(Format::Flow)
        }
        Value::Object(_) if singer_state(state).is_some() => Some(Format::Singer),
        Value::Object(members) if members.values().all(Value::is_object) => Some(Format::ByStream),
        _ => None,
    }
}

/// The state of a `STATE` message, or the state itself.
fn airbyte_state(item: &Value) -> Option<&Value> {
    let state = if item["type"] == "STATE" { &item["state"] } else { item };
    let is_stream = state["stream"]["stream_descriptor"]["name"].is_string();
    (is_stream || state["global"].is_object() || (state["type"] == "LEGACY" && state["data"].is_object()))
        .then_some(state)
}

/// The value of a `STATE` message, or the value itself.
fn singer_state(state: &Value) -> Option<&Value> {
    let value = if state["type"] == "STATE" { &state["value"] } else { state };
    (value["bookmarks"].is_object() || value["currently_syncing"].is_string()).then_some(value)
}

/// Converts a state of this format for these bindings. Fails if it belongs to another protocol or to no stream.
pub fn convert(state: Value, format: Format, bindings: &[Binding], protocol: &str) -> Result<Value> {
    match (format, protocol) {
        (Format::Flow, _) => Ok(state),
        (Format::Singer, "singer") => Ok(from_singer(&state, bindings)),
        (Format::Airbyte, "airbyte") => Ok(from_airbyte(&state, bindings)),
        (Format::ByStream, "airbyte") => {
            // The capture itself takes this format over, see `Source::legacy_state`.
            let is_stream = |name: &String| bindings.iter().any(|it| it.stream.id.name == *name);
            match state.as_object().is_some_and(|it| it.keys().any(is_stream)) {
                true => Ok(state),
                false => bail!("it is not a state, as no member is the name of a stream: name a new file"),
            }
        }
        (Format::ByStream, _) => bail!("it is not a state: name a new file"),
        (Format::Singer, _) => bail!("it is a Singer state, but the connector's protocol is {protocol}"),
        (Format::Airbyte, _) => bail!("it is a list of Airbyte states, but the connector's protocol is {protocol}"),
    }
}

fn from_singer(state: &Value, bindings: &[Binding]) -> Value {
    let mut shared = singer_state(state).cloned().unwrap_or_default();
    let mut cells = Map::new();
    if let Some(bookmarks) = shared.get_mut("bookmarks").and_then(Value::as_object_mut) {
        for binding in bindings {
            if let Some(bookmark) = bookmarks.shift_remove(&binding.stream.id.name) {
                cells.insert(binding.state_key(), cell(bookmark));
            }
        }
    }
    json!({BINDINGS: cells, SHARED: [shared]})
}

fn from_airbyte(state: &Value, bindings: &[Binding]) -> Value {
    let mut cells = Map::new();
    let mut shared = None;
    let mut add = |it: &Value| {
        let (name, namespace) = (&it["stream_descriptor"]["name"], it["stream_descriptor"]["namespace"].as_str());
        let of_stream = |it: &&Binding| *name == *it.stream.id.name && namespace == it.stream.id.namespace.as_deref();
        if let Some(binding) = bindings.iter().find(of_stream)
            && !it["stream_state"].is_null()
        {
            cells.insert(binding.state_key(), cell(it["stream_state"].clone()));
        }
    };
    for item in state.as_array().into_iter().flatten().filter_map(airbyte_state) {
        if item["global"].is_object() {
            item["global"]["stream_states"].as_array().into_iter().flatten().for_each(&mut add);
            let mut global = json!({"type": "GLOBAL"});
            if !item["global"]["shared_state"].is_null() {
                global["shared_state"] = item["global"]["shared_state"].clone();
            }
            shared = Some(global);
        } else if item["stream"].is_object() {
            add(&item["stream"]);
        } else {
            shared = Some(json!({"type": "LEGACY", "data": item["data"]}));
        }
    }
    let mut converted = json!({BINDINGS: cells});
    if let Some(shared) = shared {
        converted[SHARED] = json!([shared]);
    }
    converted
}

/// The state of a binding that has sent no documents yet.
fn cell(state: Value) -> Value {
    json!({"rowId": 0, "state": [state]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_recognised_and_other_objects_refused() {
        let airbyte = json!({"type": "STREAM", "stream": {"stream_descriptor": {"name": "a"}, "stream_state": {}}});
        for (state, wanted) in [
            (json!({}), Some(Format::Flow)),
            (json!({"bindingStateV1": {}, "sharedStateV1": [1]}), Some(Format::Flow)),
            (json!({"bindingStateV1": "x"}), None),
            (json!({"bookmarks": {"a": {"at": 1}}}), Some(Format::Singer)),
            (json!({"type": "STATE", "value": {"bookmarks": {}}}), Some(Format::Singer)),
            (json!([airbyte, {"type": "STATE", "state": airbyte}]), Some(Format::Airbyte)),
            (json!([airbyte, {"a": 1}]), None),
            (json!({"a": {"cursor": 1}}), Some(Format::ByStream)),
            (json!({"api_key": "s3cret", "credentials": {"token": 1}}), None),
            (json!("a"), None),
        ] {
            assert_eq!(format(&state), wanted, "{state}");
        }
    }
}
