//! A request of the protobuf codec, after its length.
#![no_main]

use flow_shim::flow::codec::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let length = u32::try_from(data.len()).expect("inputs are short");
    let input = [&length.to_le_bytes()[..], data].concat();
    let Ok(mut reader) = Reader::new(input.as_slice()) else { return };
    while let Ok(Some(_)) = reader.request() {}
});
