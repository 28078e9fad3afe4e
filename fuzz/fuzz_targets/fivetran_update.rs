//! A message of a Fivetran connector's sync: each record that prost reads becomes a row with its values, or fails the sync, and rows are
//! JSON.
#![no_main]

#[path = "../../src/fivetran/tests/messages.rs"]
mod messages;

use std::sync::Arc;

use flow_shim::fivetran::Fivetran;
use flow_shim::fivetran::feed::{Ending, Received, UpdateFeed};
use flow_shim::json::watch::Watchlist;
use flow_shim::process::activity::Activity;
use flow_shim::upstream::{Discovery, Event, Feed, Protocol, Selected, SyncRequest};
use libfuzzer_sys::fuzz_target;
use messages::{Inner, Operation, Record, UpdateResponse};
use prost::Message;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, mpsc};

const TABLE: &str = r#"{"table":"t","columns":[{"name":"id","type":"LONG","key":true},{"name":"a","type":"STRING"}]}"#;

fuzz_target!(|message: &[u8]| {
    let raw = |it: &str| RawValue::from_string(it.to_owned()).expect("JSON");
    let fivetran = Fivetran::default();
    let stream = fivetran.stream(raw(TABLE)).expect("a table");
    let resource = fivetran.resource(&raw(r#"{"stream":"t"}"#)).expect("a resource config");
    let sync = SyncRequest {
        config: RawValue::NULL,
        streams: vec![Selected { stream: &stream, resource: &resource, state: None, fresh: true }],
        others: &[],
        shared_state: None,
        spec: None,
        activity: Activity::default(),
    };
    let (sender, receiver) = mpsc::channel(2);
    // The second time with the columns of the first.
    let messages = vec![message.to_vec().into(), message.to_vec().into()];
    let memory = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a permit");
    for it in [Received::Messages(messages, memory), Received::Ended(Ending::Complete)] {
        sender.try_send(it).ok().expect("a channel of two");
    }
    let mut watched = Watchlist::default();
    let id = watched.add("id");
    let mut feed = UpdateFeed::new(receiver, &sync).expect("a feed");
    feed.watch(&watched);

    let (mut rows, mut has_failed) = (Vec::new(), false);
    loop {
        match feed.next(&mut || Ok(())) {
            Ok(Some(Event::Record(record))) => {
                let row: Map<String, Value> = serde_json::from_slice(record.data.bytes).expect("a row is a JSON object");
                assert!(!record.data.bytes.contains(&b'\n'));
                let found = record.found.at_top(id).map(|it| &record.data.bytes[it]);
                let found = found.map(|it| serde_json::from_slice::<Value>(it).expect("a watched member is a value"));
                assert_eq!(row.get("id"), found.as_ref());
                rows.push(row);
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) => {
                has_failed = true;
                break;
            }
        }
    }
    let Ok(response) = UpdateResponse::decode(message) else { return };
    // A message that says something twice is read differently, but no connector sends one.
    if has_failed || response.encoded_len() != message.len() {
        return;
    }
    let records = match response.operation {
        Some(Operation::Record(record)) => vec![record],
        Some(Operation::Records(it)) => it.records,
        Some(Operation::Checkpoint(_)) | None => Vec::new(),
    };
    let sent: Vec<&Record> = records.iter().filter(|it| it.kind != 3 && it.table_name == "t" && is_without_schema(it)).collect();
    assert_eq!(rows.len(), 2 * sent.len(), "a record was dropped");
    for (row, record) in rows.iter().zip(sent.iter().chain(&sent)) {
        for (column, value) in &record.data {
            let value = match &value.inner {
                None | Some(Inner::Null(_)) => Value::Null,
                Some(Inner::Bool(it)) => json!(it),
                Some(Inner::Short(it) | Inner::Int(it)) => json!(it),
                Some(Inner::Long(it)) => json!(it),
                Some(Inner::Text(it) | Inner::Xml(it) | Inner::Decimal(it)) => json!(it),
                Some(_) => continue,
            };
            assert_eq!(row.get(column), Some(&value), "column {column:?}");
        }
    }
});

fn is_without_schema(record: &Record) -> bool {
    record.schema_name.as_deref().unwrap_or_default().is_empty()
}
