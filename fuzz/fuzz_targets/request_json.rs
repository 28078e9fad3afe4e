//! Requests of the JSON codec: read to the first that can't be.
#![no_main]

use flow_shim::flow::codec::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The fourth byte makes it JSON.
    let input = [b"    ", data].concat();
    let Ok(mut reader) = Reader::new(input.as_slice()) else { return };
    while let Ok(Some(_)) = reader.request() {}
});
