//! A connector's schema, rewritten for Flow: a schema that was rewritten is not changed again.
#![no_main]

use flow_shim::schema::{self, key, write_declared, write_permissive};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(declared) = serde_json::from_slice::<Value>(data) else { return };
    let once = schema::config(&declared).schema;
    assert_eq!(schema::config(&once).schema, once);
    if let Ok(key) = key(&declared, &[vec!["id".to_owned()]]) {
        write_declared(&declared, &key);
        write_permissive(&key);
    }
});
