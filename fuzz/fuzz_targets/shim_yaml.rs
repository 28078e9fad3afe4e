//! A shim.yaml: settings or an error.
#![no_main]

use flow_shim::settings::file::ShimFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = ShimFile::parse(text);
});
