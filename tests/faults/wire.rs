//! How the steps of a script are written in a connector's protocol. A further protocol implements [`Wire`]; nothing else in the
//! harness knows one.

use serde_json::{Value, json};

use super::script::{Mode, STREAMS, States};

pub trait Wire: Sync {
    /// Arguments of flow-shim that choose the protocol.
    fn arguments(&self) -> &'static [&'static str];

    /// Whether its messages are lines of the connector's stdout: what a connector has written arrives, however it ends.
    fn has_lines(&self) -> bool {
        true
    }

    /// The message that answers discovery.
    fn discovered(&self, mode: &Mode) -> Value;

    /// A binding's resource config.
    fn resource(&self, stream: &str, mode: &Mode) -> Value;

    /// The source begins to read a stream.
    fn started(&self, stream: &str, mode: &Mode) -> Vec<Value>;

    fn row(&self, stream: &str, row: Value) -> Value;

    /// The state of a stream or, in protocols that have one for all, of all of them. Position 0 is none.
    fn state(&self, stream: usize, positions: &[u64], states: States) -> Value;

    /// The source has read a stream completely.
    fn complete(&self, stream: &str, mode: &Mode) -> Vec<Value>;

    /// A message that carries nothing.
    fn log(&self, text: &str) -> Value;
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"id": {"type": "integer"}, "pad": {"type": "string"}}})
}

pub struct Airbyte;

impl Airbyte {
    fn status(stream: &str, status: &str) -> Value {
        let status = json!({"stream_descriptor": {"name": stream}, "status": status});
        json!({"type": "TRACE", "trace": {"type": "STREAM_STATUS", "emitted_at": 1, "stream_status": status}})
    }
}

impl Wire for Airbyte {
    fn arguments(&self) -> &'static [&'static str] {
        &[]
    }

    fn discovered(&self, _mode: &Mode) -> Value {
        let stream = |name: &&str| {
            json!({
                "name": name, "json_schema": schema(), "supported_sync_modes": ["full_refresh", "incremental"],
                "source_defined_cursor": true, "default_cursor_field": ["id"], "source_defined_primary_key": [["id"]],
                "is_resumable": true,
            })
        };
        json!({"type": "CATALOG", "catalog": {"streams": STREAMS.iter().map(stream).collect::<Vec<_>>()}})
    }

    fn resource(&self, stream: &str, mode: &Mode) -> Value {
        json!({"stream": stream, "syncMode": mode.method})
    }

    fn started(&self, stream: &str, mode: &Mode) -> Vec<Value> {
        if mode.statuses { vec![Self::status(stream, "STARTED")] } else { Vec::new() }
    }

    fn row(&self, stream: &str, row: Value) -> Value {
        json!({"type": "RECORD", "record": {"stream": stream, "data": row, "emitted_at": 1}})
    }

    fn state(&self, stream: usize, positions: &[u64], states: States) -> Value {
        let of = |stream: usize| json!({"stream_descriptor": {"name": STREAMS[stream]}, "stream_state": {"pos": positions[stream]}});
        let known = (0..STREAMS.len()).filter(|it| positions[*it] > 0);
        let state = match states {
            States::Global => json!({"type": "GLOBAL", "global": {
                "shared_state": {"lsn": positions.iter().sum::<u64>()}, "stream_states": known.map(of).collect::<Vec<_>>(),
            }}),
            States::Legacy => json!({"type": "LEGACY", "data": known
                .map(|it| (STREAMS[it].to_owned(), json!({"pos": positions[it]})))
                .collect::<serde_json::Map<_, _>>()}),
            _ => json!({"type": "STREAM", "stream": of(stream)}),
        };
        json!({"type": "STATE", "state": state})
    }

    fn complete(&self, stream: &str, mode: &Mode) -> Vec<Value> {
        if mode.statuses { vec![Self::status(stream, "COMPLETE")] } else { Vec::new() }
    }

    fn log(&self, text: &str) -> Value {
        json!({"type": "LOG", "log": {"level": "INFO", "message": text}})
    }
}

pub struct Singer;

impl Singer {
    fn activate(stream: &str, mode: &Mode) -> Vec<Value> {
        let version = json!({"type": "ACTIVATE_VERSION", "stream": stream, "version": 1});
        if mode.statuses { vec![version] } else { Vec::new() }
    }
}

impl Wire for Singer {
    fn arguments(&self) -> &'static [&'static str] {
        &["--protocol", "singer"]
    }

    fn discovered(&self, _mode: &Mode) -> Value {
        let stream = |name: &&str| {
            json!({
                "tap_stream_id": name, "stream": name, "key_properties": ["id"], "replication_key": "id", "schema": schema(),
                "metadata": [{"breadcrumb": [], "metadata": {"valid-replication-keys": ["id"]}}],
            })
        };
        json!({"streams": STREAMS.iter().map(stream).collect::<Vec<_>>()})
    }

    fn resource(&self, stream: &str, mode: &Mode) -> Value {
        json!({"stream": stream, "replicationMethod": mode.method})
    }

    fn started(&self, stream: &str, mode: &Mode) -> Vec<Value> {
        let schema = json!({"type": "SCHEMA", "stream": stream, "schema": schema(), "key_properties": ["id"]});
        [vec![schema], Self::activate(stream, mode)].concat()
    }

    fn row(&self, stream: &str, row: Value) -> Value {
        json!({"type": "RECORD", "stream": stream, "record": row})
    }

    fn state(&self, _stream: usize, positions: &[u64], _states: States) -> Value {
        let known = (0..STREAMS.len()).filter(|it| positions[*it] > 0);
        let bookmarks = known.map(|it| (STREAMS[it].to_owned(), json!({"pos": positions[it]})));
        json!({"type": "STATE", "value": {"bookmarks": bookmarks.collect::<serde_json::Map<_, _>>()}})
    }

    fn complete(&self, stream: &str, mode: &Mode) -> Vec<Value> {
        Self::activate(stream, mode)
    }

    /// Nobody knows this type.
    fn log(&self, text: &str) -> Value {
        json!({"type": "HEARTBEAT", "text": text})
    }
}

pub struct Fivetran;

impl Wire for Fivetran {
    fn arguments(&self) -> &'static [&'static str] {
        &["--protocol", "fivetran"]
    }

    fn has_lines(&self) -> bool {
        false
    }

    fn discovered(&self, mode: &Mode) -> Value {
        let is_keyed = mode.key == Some("/id");
        let columns =
            json!([{"name": "id", "type": "LONG", "primary_key": is_keyed}, {"name": "pad", "type": "STRING"}]);
        json!({"without_schema": {"tables": STREAMS.map(|name| json!({"name": name, "columns": columns}))}})
    }

    fn resource(&self, stream: &str, _mode: &Mode) -> Value {
        json!({"stream": stream})
    }

    fn started(&self, stream: &str, mode: &Mode) -> Vec<Value> {
        let truncate = json!({"record": {"table_name": stream, "type": "TRUNCATE"}});
        if mode.refresh { vec![truncate] } else { Vec::new() }
    }

    fn row(&self, stream: &str, row: Value) -> Value {
        json!({"record": {"table_name": stream, "data": row}})
    }

    fn state(&self, _stream: usize, positions: &[u64], _states: States) -> Value {
        let known = (0..STREAMS.len()).filter(|it| positions[*it] > 0);
        let state = known.map(|it| (STREAMS[it].to_owned(), json!({"pos": positions[it]})));
        json!({"checkpoint": {"state_json": Value::Object(state.collect()).to_string()}})
    }

    fn complete(&self, _stream: &str, _mode: &Mode) -> Vec<Value> {
        Vec::new()
    }

    fn log(&self, text: &str) -> Value {
        json!({"warning": {"message": text}})
    }
}
