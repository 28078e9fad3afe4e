//! A line of an Airbyte source: what is a record for a JSON parser is one here too or an error, and the payload is JSON.
#![no_main]

use flow_shim::airbyte::message::event;
use flow_shim::json::hints::Hints;
use flow_shim::json::repair::repair;
use flow_shim::upstream::{Broken, Event, Watch};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|line: &[u8]| {
    let (mut hints, mut watch) = (Hints::default(), Watch::new(&["id".to_owned()]));
    // The second time with the names of the first.
    let _ = event(line, &mut hints, &mut watch);
    let repaired;
    let decoded = match event(line, &mut hints, &mut watch) {
        Err(Broken::Repairable) => {
            repaired = repair(line).0;
            event(&repaired, &mut hints, &mut watch)
        }
        other => other,
    };
    if let Ok(Event::Record(record)) = &decoded {
        let payload: Value = serde_json::from_slice(record.data.bytes).expect("a payload is JSON");
        assert!(payload.is_object());
        let found = record.data.bytes.get(record.watched[0].clone()).expect("a watched member is in the payload");
        assert_eq!(payload.get("id").is_some(), !found.is_empty());
    }
    let Ok(message) = serde_json::from_slice::<Value>(line) else { return };
    let record = &message["record"];
    if message["type"] == "RECORD" && record["stream"].is_string() && record["data"].is_object() {
        assert!(matches!(decoded, Ok(Event::Record(_)) | Err(Broken::Lost { .. })), "a record was dropped");
    }
    if message["type"] == "STATE" && message["state"].is_object() {
        assert!(matches!(decoded, Ok(Event::State(_)) | Err(Broken::Lost { .. })), "a state was dropped");
    }
});
