//! A record with dates: what was JSON stays JSON, and what was brought to RFC 3339 is not changed again.
#![no_main]

use flow_shim::dates::{Dates, Typed};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|document: &[u8]| {
    let Ok(parsed) = serde_json::from_slice::<Value>(document) else { return };
    if !parsed.is_object() || document.first() != Some(&b'{') {
        return;
    }
    let at = json!({"type": ["null", "string"], "format": "date-time"});
    let schema = json!({"properties": {"at": at, "on": {"type": "string", "format": "date"}, "b": {"properties": {"at": at}},
        "list": {"type": "array", "items": {"oneOf": [at, {"type": "object", "properties": {"at": at}}]}}}});
    let mut dates = Dates::of(&schema, Typed::All, &[]).expect("the schema has dates");
    let Some(once) = dates.normalize(document, &mut []).map(<[u8]>::to_vec) else { return };
    assert!(serde_json::from_slice::<Value>(&once).is_ok_and(|it| it.is_object()));
    assert!(dates.normalize(&once, &mut []).is_none());
});
