//! Memory use depends on the largest record, not on the number of records.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::runtime::{Binding, Runtime};

const MEGABYTE: u64 = 1024 * 1024;

const CATALOG: &str = r#"{"type":"CATALOG","catalog":{"streams":[{"name":"users","json_schema":{"type":"object","properties":{"id":{"type":"integer"}}},"supported_sync_modes":["full_refresh","incremental"],"source_defined_cursor":true,"default_cursor_field":["id"],"source_defined_primary_key":[["id"]]}]}}"#;

/// Writes a record of about that many bytes.
fn record(out: &mut impl Write, id: usize, size: usize) {
    let pad = "x".repeat(size);
    writeln!(
        out,
        r#"{{"type":"RECORD","record":{{"stream":"users","data":{{"id":{id},"pad":"{pad}"}},"emitted_at":1}}}}"#
    )
    .expect("a file of the test's");
}

fn state(out: &mut impl Write, id: usize) {
    writeln!(
        out,
        r#"{{"type":"STATE","state":{{"type":"STREAM","stream":{{"stream_descriptor":{{"name":"users"}},"stream_state":{{"id":{id}}}}}}}}}"#
    )
    .expect("a file of the test's");
}

/// The shim's peak memory while it captures the output of `write`. The runtime double measures at each checkpoint, so one must follow
/// the peak while the shim still runs: more records than fit into the pipes, then a last state.
fn peak(write: impl FnOnce(&mut BufWriter<File>)) -> u64 {
    const TRAIL: usize = 20_000;
    let folder = TempDir::new().expect("a temporary folder");
    let lines = folder.path().join("lines");
    let mut out = BufWriter::new(File::create(&lines).expect("a file of the test's"));
    write(&mut out);
    state(&mut out, 1);
    (0..TRAIL).for_each(|id| record(&mut out, id, 600));
    state(&mut out, 2);
    out.flush().expect("a file of the test's");
    let runtime = Runtime::shim(["--", source(folder.path()).as_str()]);
    let session = runtime.open(&[Binding::new("users", "incremental").key(["/id"])], &json!({})).run().expect_clean();
    assert!(session.documents.len() > TRAIL);
    assert!(session.end.peak_memory > MEGABYTE, "memory was not measured: {}", session.end.peak_memory);
    session.end.peak_memory
}

/// A source that prints the lines in its folder.
fn source(folder: &Path) -> String {
    let script = folder.join("source");
    let text = format!(
        "#!/bin/sh\ncase $1 in discover) cat <<'EOF'\n{CATALOG}\nEOF\n;; *) exec cat {};; esac\n",
        folder.join("lines").display()
    );
    write_script(&script, &text);
    script.to_string_lossy().into_owned()
}

fn write_script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).expect("a file of the test's");
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("a file of the test's");
}

#[test]
fn memory_follows_the_largest_record_and_not_their_number() {
    let few = peak(|out| (0..1_000).for_each(|id| record(out, id, 100)));
    let many = peak(|out| (0..300_000).for_each(|id| record(out, id, 100)));
    assert!(many < few + 2 * MEGABYTE, "1,000 records take {few} bytes, 300,000 take {many}");
    assert!(many < 8 * MEGABYTE, "{many} bytes");

    const LARGE: usize = 15 * MEGABYTE as usize;
    let large = peak(|out| record(out, 0, LARGE));
    // One copy, plus some for a buffer that grows in steps.
    let extra = large.saturating_sub(few);
    assert!(
        extra < LARGE as u64 * 3 / 2,
        "a record of {LARGE} bytes takes {extra} above the {few} that small ones take"
    );
    assert!(extra > LARGE as u64 / 2, "it was measured: {extra}");
    eprintln!("peak: {few} bytes for 1,000 records, {many} for 300,000, {large} with one of 15 MB");
}

/// Some taps take `--help` for a sync.
#[test]
fn what_a_tap_prints_instead_of_its_help_is_not_kept() {
    const FLOOD: u64 = 100 * MEGABYTE;
    let folder = TempDir::new().expect("a temporary folder");
    let script = folder.path().join("tap");
    let text = format!(
        r#"#!/bin/sh
case "$*" in
*--discover*) echo '{{"streams":[{{"tap_stream_id":"users","stream":"users","schema":{{}},"metadata":[]}}]}}';;
--help*) yes | head -c {FLOOD};;
*)
    echo '{{"type":"SCHEMA","stream":"users","schema":{{}},"key_properties":[]}}'
    yes '{{"type":"RECORD","stream":"users","record":{{"id":1,"text":"more than fits into the pipes"}}}}' | head -n 100000
    echo '{{"type":"STATE","value":{{}}}}';;
esac
"#
    );
    write_script(&script, &text);
    let runtime = Runtime::shim(["--protocol", "singer", "--", &script.to_string_lossy()]);
    let users = Binding::of_resource(json!({"stream": "users", "replicationMethod": "FULL_TABLE"}));
    let session = runtime.open(&[users], &json!({})).run().expect_clean();
    assert_eq!(session.documents.len(), 100_000);
    let peak = session.end.peak_memory;
    assert!(peak > MEGABYTE && peak < FLOOD / 4, "{peak} bytes");
}
