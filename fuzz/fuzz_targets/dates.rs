//! A record with dates: what was JSON stays JSON, and what was brought to RFC 3339 is not changed again.
#![no_main]

use flow_shim::dates::{Dates, Typed};
use flow_shim::json::hints::Hints;
use flow_shim::json::watch::Watchlist;
use flow_shim::upstream::line::{DeletionMark, bare_payload};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const NO_DELETIONS: DeletionMark = DeletionMark { member: "", is_set: |_| false };

fuzz_target!(|document: &[u8]| {
    let Ok(parsed) = serde_json::from_slice::<Value>(document) else { return };
    if !parsed.is_object() || document.first() != Some(&b'{') {
        return;
    }
    let at = json!({"type": ["null", "string"], "format": "date-time"});
    let schema = json!({"properties": {"at": at, "on": {"type": "string", "format": "date"}, "b": {"properties": {"at": at}},
        "list": {"type": "array", "items": {"oneOf": [at, {"type": "object", "properties": {"at": at}}]}}}});
    let (mut watched, mut hints) = (Watchlist::default(), Hints::default());
    let mut dates = Dates::of(&schema, Typed::All, &[], &mut watched).expect("the schema has dates");
    hints.watch(watched);
    let mut normalize = |document: &[u8]| {
        bare_payload(document, &mut hints, &NO_DELETIONS).ok()?;
        dates.normalize(document, &hints.found).map(<[u8]>::to_vec)
    };
    let Some(once) = normalize(document) else { return };
    assert!(serde_json::from_slice::<Value>(&once).is_ok_and(|it| it.is_object()));
    assert!(normalize(&once).is_none());
});
