//! A line of an Airbyte source: what is a record for a JSON parser is one here too or an error, and the payload is JSON.
#![no_main]

use flow_shim::airbyte::message::{Earlier, event};
use flow_shim::json::repair::repair;
use flow_shim::json::watch::Watchlist;
use flow_shim::upstream::{Broken, Event};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|line: &[u8]| {
    let (mut earlier, mut watched) = (Earlier::default(), Watchlist::default());
    let id = watched.add("id");
    earlier.hints.watch(watched);
    // The second time with the names of the first.
    let _ = event(line, &mut earlier);
    let repaired;
    let decoded = match event(line, &mut earlier) {
        Err(Broken::Repairable) => {
            repaired = repair(line).0;
            event(&repaired, &mut earlier)
        }
        other => other,
    };
    if let Ok(Event::Record(record)) = &decoded {
        let payload: Value = serde_json::from_slice(record.data.bytes).expect("a payload is JSON");
        assert!(payload.is_object());
        let found = record.found.at_top(id).map(|it| &record.data.bytes[it]);
        let found = found.map(|it| serde_json::from_slice::<Value>(it).expect("a watched member is a value"));
        assert_eq!(payload.get("id"), found.as_ref());
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
