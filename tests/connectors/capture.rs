//! A capture of a real source that is compared, session by session, with what the source prints without the shim.

use std::collections::{BTreeMap, HashMap};

use regex::Regex;
use serde_json::{Value, json};

use crate::runtime::{Binding, Document, Session};
use crate::sources::{Printed, Source, Witness};

/// A capture of all streams of a source; each session is compared with the source's own output.
pub struct Capture<'a> {
    source: &'a Source,
    /// The streams as the source discovers them.
    streams: Vec<Value>,
    pub bindings: Vec<Binding>,
    state: Value,
    /// The last state message of each stream.
    states: serde_json::Map<String, Value>,
    /// By binding: the last row id, and the highest row id of the previous full refresh.
    row_ids: HashMap<usize, (u64, u64)>,
}

impl<'a> Capture<'a> {
    /// Spec, Discover, Validate, Apply.
    pub fn begin(source: &'a Source) -> Self {
        let runtime = source.runtime();
        let spec = runtime.spec();
        assert_eq!(spec["resourcePathPointers"], json!(["/namespace", "/stream"]));
        assert_eq!(spec["configSchema"]["type"], "object");
        let discovered = runtime.discover();
        let bindings: Vec<Binding> =
            discovered["bindings"].as_array().expect("bindings").iter().map(Binding::of_discovered).collect();
        let paths: Vec<Value> = bindings.iter().map(|it| json!({"resourcePath": it.resource_path()})).collect();
        assert_eq!(runtime.validate(&bindings)["bindings"], json!(paths));
        runtime.apply(&bindings, serde_json::json!({}));
        let streams = source.streams();
        Self { source, streams, bindings, state: json!({}), states: serde_json::Map::new(), row_ids: HashMap::new() }
    }

    pub fn names(&self) -> Vec<String> {
        self.bindings.iter().map(Binding::name).collect()
    }

    pub fn session(&mut self) -> Session {
        let (runtime, witness) = self.source.witnessed();
        let session = runtime.open(&self.bindings, &self.state).run().expect_clean();
        self.check_given(&witness);
        let printed = witness.printed();
        self.check_documents(&session, &printed);
        self.check_direct_read(&witness, &printed);
        self.states.extend(printed.states);
        self.state = session.state.clone();
        session
    }

    /// Checks the source's input: the catalog that it discovers itself, and the states that it printed last.
    fn check_given(&self, witness: &Witness) {
        let streams = self.streams.iter().zip(&self.bindings).map(|(stream, binding)| {
            let mut configured = json!({"stream": without_nulls(stream), "sync_mode": binding.resource["syncMode"], "destination_sync_mode": "append"});
            for (name, of_stream) in [("cursor_field", "default_cursor_field"), ("primary_key", "source_defined_primary_key")] {
                if stream[of_stream].is_array() {
                    configured[name] = stream[of_stream].clone();
                }
            }
            configured
        });
        assert_eq!(witness.catalog(), json!({"streams": streams.collect::<Vec<_>>()}));
        let given: BTreeMap<String, Value> =
            witness.state().as_array().expect("a list").iter().map(stream_state).collect();
        let left = self.states.iter().filter(|(name, _)| self.is_incremental(name));
        assert_eq!(given, left.map(|(_, state)| stream_state(state)).collect());
    }

    fn is_incremental(&self, stream: &str) -> bool {
        self.bindings.iter().any(|it| it.name() == stream && it.resource["syncMode"] == "incremental")
    }

    /// Checks that each document contains its record's bytes after the added `_meta`, and that there are no other documents except
    /// tombstones.
    fn check_documents(&mut self, session: &Session, printed: &Printed) {
        for (index, binding) in self.bindings.iter().enumerate() {
            let (mut row_id, high) = self.row_ids.get(&index).copied().unwrap_or_default();
            let full_refresh = binding.resource["syncMode"] == "full_refresh";
            let keyed_by_row = binding.key == ["/_meta/row_id"];
            if full_refresh {
                row_id = 0;
            }
            let mut documents = session.documents_of(index);
            for record in printed.records.iter().filter(|it| it.stream == binding.name()) {
                row_id += 1;
                let op = if keyed_by_row && row_id > high { "c" } else { "u" };
                let data = self.with_offsets(&record.stream, record.data.get());
                let wanted = format!(r#"{{"_meta":{{"row_id":{row_id},"op":"{op}"}},{}"#, &data[1..]);
                assert_eq!(documents.next(), Some(wanted.as_str()));
            }
            if full_refresh && keyed_by_row {
                for row_id in row_id + 1..=high {
                    let tombstone = format!(r#"{{"_meta":{{"row_id":{row_id},"op":"d"}}}}"#);
                    assert_eq!(documents.next(), Some(tombstone.as_str()));
                }
            }
            assert_eq!(documents.next(), None, "{}: more documents than records", binding.name());
            self.row_ids.insert(index, (row_id, row_id));
        }
    }

    /// A record as it is captured: declared date-times without an offset are UTC.
    fn with_offsets(&self, stream: &str, record: &str) -> String {
        let stream = self.streams.iter().find(|it| it["name"] == stream).expect("a stream that was discovered");
        let properties = stream["json_schema"]["properties"].as_object().into_iter().flatten();
        properties.filter(|(_, it)| it["format"] == "date-time").fold(record.to_owned(), |record, (name, _)| {
            let naive = format!(r#"("{}":\s*"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?)""#, regex::escape(name));
            Regex::new(&naive).expect("a pattern").replace(&record, r#"${1}Z""#).into_owned()
        })
    }

    /// Checks that the source prints the same without the shim.
    fn check_direct_read(&self, witness: &Witness, printed: &Printed) {
        let direct = self.source.read(&witness.catalog(), &witness.state());
        let [direct, through] = [&direct, printed].map(|it| {
            let mut records: Vec<_> = it.records.iter().map(|it| self.source.stable(it)).collect();
            // Newer CDKs read streams, and the slices of a stream, concurrently.
            records.sort_by_cached_key(|(stream, record)| (stream.clone(), record.to_string()));
            records
        });
        assert!(direct == through, "the source prints something else when the shim runs it");
        if self.source.volatile.is_empty() {
            let [direct, through] =
                [&direct, &through].map(|it| it.iter().map(|(_, it)| it.to_string()).collect::<Vec<_>>());
            assert_eq!(direct, through);
        }
    }
}

fn without_nulls(stream: &Value) -> Value {
    let members = stream.as_object().expect("a stream").iter();
    members.filter(|(_, it)| !it.is_null()).map(|(name, it)| (name.clone(), it.clone())).collect()
}

/// The stream and the state of a state message.
fn stream_state(message: &Value) -> (String, Value) {
    assert_eq!(message["type"], "STREAM");
    let name = message["stream"]["stream_descriptor"]["name"].as_str().expect("a stream");
    (name.to_owned(), message["stream"]["stream_state"].clone())
}

/// The contents of a materialization: the last document of each key, without fields that differ between reads.
pub type Table = BTreeMap<(usize, String), Value>;

pub fn reduce(source: &Source, bindings: &[Binding], documents: &[Document], table: &mut Table) {
    for document in documents {
        let binding = &bindings[document.binding];
        let mut row: Value = serde_json::from_str(&document.text).expect("documents are JSON");
        let key: Vec<String> = binding.key.iter().map(|it| row.pointer(it).expect("a key").to_string()).collect();
        let name = binding.name();
        let members = row.as_object_mut().expect("documents are objects");
        members.shift_remove("_meta");
        for name in source.volatile.iter().filter(|(stream, _)| *stream == name).flat_map(|(_, names)| *names) {
            members.shift_remove(*name);
        }
        table.insert((document.binding, key.join(" ")), row);
    }
}
