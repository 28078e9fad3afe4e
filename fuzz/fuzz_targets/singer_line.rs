//! A line of a Singer tap: what is a record for a JSON parser is one here too or an error, and the payload is JSON.
#![no_main]

use flow_shim::json::repair::repair;
use flow_shim::singer::message::{Earlier, Message, message};
use flow_shim::upstream::Broken;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|line: &[u8]| {
    let mut earlier = Earlier::default();
    let _ = message(line, &mut earlier);
    let repaired;
    let decoded = match message(line, &mut earlier) {
        Err(Broken::Repairable) => {
            repaired = repair(line).0;
            message(&repaired, &mut earlier)
        }
        other => other,
    };
    if let Ok(Message::Record { data, .. }) = &decoded {
        let payload: Value = serde_json::from_slice(data.bytes).expect("a payload is JSON");
        assert!(payload.is_object());
    }
    let Ok(parsed) = serde_json::from_slice::<Value>(line) else { return };
    let is = |kind: &str| parsed["type"].as_str().is_some_and(|it| it.eq_ignore_ascii_case(kind));
    if is("RECORD") && parsed["stream"].is_string() && parsed["record"].is_object() {
        assert!(matches!(decoded, Ok(Message::Record { .. }) | Err(Broken::Lost { .. })), "a record was dropped");
    }
    if is("STATE") && parsed.get("value").is_some() {
        assert!(matches!(decoded, Ok(Message::State(_)) | Err(Broken::Lost { .. })), "a state was dropped");
    }
});
