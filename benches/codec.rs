//! Measures what the two codecs cost: `cargo bench --bench codec`. A source prints documents of one size, flow-shim captures them, and a
//! reader like that of Flow's runtime decodes its output. Prints the CPU time per document of flow-shim and of the reader, each
//! without that of the source. Figures are medians of `RUNS`; quote ratios, measured on a quiet machine.

use std::fs::{self, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use flow_shim::strict::proto;
use prost::Message;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const SIZES: [usize; 5] = [150, 650, 5_000, 1_000_000, 16_000_000];
const RUNS: usize = 5;
/// The source prints as many bytes per run, so that clock ticks of 10 ms are a small part.
const TOTAL: usize = 512 * 1024 * 1024;
/// It prints a file of about this size several times.
const FILE: usize = 64 * 1024 * 1024;

const CATALOG: &str = r#"{"type":"CATALOG","catalog":{"streams":[{"name":"users","json_schema":{"type":"object","properties":{"id":{"type":"integer"}}},"supported_sync_modes":["incremental"],"source_defined_cursor":true,"source_defined_primary_key":[["id"]]}]}}"#;

#[derive(Clone, Copy)]
enum Codec {
    Json,
    Proto,
}

/// CPU time in seconds.
struct Cost {
    shim: f64,
    reader: f64,
}

fn main() {
    println!(
        "{:>9} {:>6} {:>12} {:>12} {:>12} {:>9} {:>8}",
        "bytes", "codec", "shim us", "reader us", "sum us", "shim", "sum"
    );
    for size in SIZES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let documents = write_source(folder.path(), size);
        let mut runs = [Vec::new(), Vec::new()];
        for _ in 0..RUNS {
            // In turn, so that a busy moment of the machine affects both.
            for (codec, runs) in [Codec::Json, Codec::Proto].into_iter().zip(&mut runs) {
                runs.push(run(folder.path(), codec, documents));
            }
        }
        let [json, proto] = runs.map(|it| {
            let per_document = |of: fn(&Cost) -> f64| median(it.iter().map(of)) * 1e6 / documents as f64;
            (per_document(|it| it.shim), per_document(|it| it.reader), per_document(|it| it.shim + it.reader))
        });
        for (name, (shim, reader, sum)) in [("json", json), ("proto", proto)] {
            let of = |part: f64, whole: f64| format!("{:.0}%", part / whole * 100.0);
            let (shim_of, sum_of) = (of(shim, json.0), of(sum, json.2));
            println!("{size:>9} {name:>6} {shim:>12.2} {reader:>12.2} {sum:>12.2} {shim_of:>9} {sum_of:>8}");
        }
    }
}

/// Writes an Airbyte source that prints documents of that size, and returns their number.
fn write_source(folder: &Path, size: usize) -> usize {
    let in_file = FILE.div_ceil(size).max(1);
    let times = TOTAL.div_ceil(in_file * size);
    let lines = folder.join("lines");
    let mut out = BufWriter::new(fs::File::create(&lines).expect("a file"));
    for id in 0..in_file {
        let data = document(id, size);
        writeln!(out, r#"{{"type":"RECORD","record":{{"stream":"users","data":{data},"emitted_at":1}}}}"#)
            .expect("a file");
    }
    out.flush().expect("a file");
    let lines = vec![lines.to_string_lossy().into_owned(); times].join(" ");
    let script = format!("#!/bin/sh\ncase $1 in discover) echo '{CATALOG}';; *) exec cat {lines};; esac\n");
    let source = folder.join("source");
    fs::write(&source, script)
        .and_then(|()| fs::set_permissions(&source, Permissions::from_mode(0o700)))
        .expect("a file");
    in_file * times
}

/// A record with up to 17 members of text.
fn document(id: usize, size: usize) -> String {
    let mut text = format!(r#"{{"id":{id}"#);
    let members = (size / 30).clamp(1, 17);
    let each = (size.saturating_sub(text.len() + 1) / members).saturating_sub(r#","member_10":"""#.len());
    for member in 10..10 + members {
        let words: String = "lantern meadow ".chars().cycle().take(each).collect();
        text.push_str(&format!(r#","member_{member}":"{words}""#));
    }
    text + "}"
}

fn run(folder: &Path, codec: Codec, documents: usize) -> Cost {
    let mut shim = Command::new(env!("CARGO_BIN_EXE_flow-shim"))
        .args(["serve", "--"])
        .arg(folder.join("source"))
        .current_dir(folder)
        .env("LOG_LEVEL", "error")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("flow-shim");
    let request = match codec {
        Codec::Json => format!("{}\n", open()).into_bytes(),
        Codec::Proto => proto::frame(&open()).expect("a frame"),
    };
    shim.stdin.take().expect("it is piped").write_all(&request).expect("flow-shim reads");
    let stdout = shim.stdout.take().expect("it is piped");
    let before = cpu_time("/proc/thread-self/stat");
    assert_eq!(read(&stdout, codec), documents);
    let reader = cpu_time("/proc/thread-self/stat") - before;
    // Its times can be read until it is waited for.
    let pid = i32::try_from(shim.id()).ok().and_then(Pid::from_raw).expect("a process id");
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("it is a child");
    let cost = Cost { shim: cpu_time(&format!("/proc/{}/stat", shim.id())), reader };
    assert!(shim.wait().expect("it is a child").success());
    cost
}

fn open() -> Value {
    json!({"open": {
        "capture": {"name": "acmeCo/capture", "connectorType": "IMAGE", "config": {}, "intervalSeconds": 1, "bindings": [{
            "resourceConfig": {"stream": "users", "syncMode": "incremental"},
            "resourcePath": ["users"],
            "collection": {"name": "acmeCo/users", "key": ["/id"], "writeSchema": {"type": "object"}},
            "stateKey": "users.v0",
        }]},
        "range": {"keyEnd": u32::MAX, "rClockEnd": u32::MAX},
        "state": {},
    }})
}

/// Decodes responses as Flow's init does, and counts the documents: after each read, all complete messages in the buffer, from its start.
fn read(stdout: impl std::os::fd::AsFd, codec: Codec) -> usize {
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut documents = 0;
    loop {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(1);
        }
        if rustix::io::read(&stdout, rustix::buffer::spare_capacity(&mut buffer)).expect("a pipe") == 0 {
            assert!(buffer.is_empty(), "the output ends in a partial message");
            return documents;
        }
        let mut rest = buffer.as_slice();
        while let Some(end) = codec.end(rest) {
            documents += usize::from(codec.decode(&rest[..end]).is_some_and(|it| !it.is_empty()));
            rest = &rest[end..];
        }
        let consumed = buffer.len() - rest.len();
        buffer.drain(..consumed);
    }
}

impl Codec {
    /// The end of the first message, if it is complete.
    fn end(self, buffer: &[u8]) -> Option<usize> {
        match self {
            Self::Json => buffer.iter().position(|it| *it == b'\n').map(|it| it + 1),
            Self::Proto => {
                let end = 4 + u32::from_le_bytes(buffer.get(..4)?.try_into().ok()?) as usize;
                (end <= buffer.len()).then_some(end)
            }
        }
    }

    /// The document, if the message has one.
    fn decode(self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Json => {
                let response: JsonResponse = serde_json::from_slice(message).expect("JSON");
                Some(String::from(Box::<str>::from(response.captured?.doc)).into_bytes())
            }
            Self::Proto => Some(Response::decode(&message[4..]).expect("protobuf").captured?.doc),
        }
    }
}

#[derive(Deserialize)]
struct JsonResponse {
    captured: Option<JsonCaptured>,
}

#[derive(Deserialize)]
struct JsonCaptured {
    doc: Box<RawValue>,
}

#[derive(prost::Message)]
struct Response {
    #[prost(message, optional, tag = "6")]
    captured: Option<Captured>,
}

#[derive(prost::Message)]
struct Captured {
    #[prost(uint32, tag = "1")]
    binding: u32,
    #[prost(bytes = "vec", tag = "2")]
    doc: Vec<u8>,
}

/// User and system time in a `stat` file of /proc, in seconds.
fn cpu_time(stat: &str) -> f64 {
    let text = fs::read_to_string(stat).expect("a file of /proc");
    // The name before may contain spaces.
    let (_, fields) = text.rsplit_once(')').expect("a name in parentheses");
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).map(|it| it.parse::<f64>().expect("ticks")).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

fn median(all: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<_> = all.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
