//! What a connector's log lines cost its documents: the documents' rate of a source that writes a line to stderr for each
//! document, compared with that of a silent one.
//!
//!     cargo bench --bench logs -- [--binary flow-shim] [--documents 1000000] [--runs 5] [--level INFO]
//!
//! The source is this program: it writes documents and lines in turn, so a reader that does not keep up with either holds
//! up both. The reader is like Flow's: documents and log lines go through one small channel, one at a time. The rate is
//! from the first document to the last. Quote the ratio, measured on a quiet machine.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio, exit};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How many messages Flow's channel holds.
const CHANNEL: usize = 32;
/// How many documents, and then lines, the source writes at once.
const BLOCK: usize = 50;
/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(300);

enum Message {
    Document,
    Log,
    Other,
}

struct Run {
    documents_per_second: f64,
    /// Log lines that reached the reader.
    logs: usize,
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [kind, documents, level, ..] = arguments.as_slice()
        && kind == "source"
    {
        return source(documents.parse().expect("a number"), level).expect("a reader");
    }
    let option = |name: &str, default: &str| {
        let at = arguments.iter().position(|it| it == name);
        at.and_then(|it| arguments.get(it + 1)).map_or(default.to_owned(), Clone::clone)
    };
    let binary = option("--binary", option_env!("CARGO_BIN_EXE_flow-shim").unwrap_or("flow-shim"));
    let documents: usize = option("--documents", "1000000").parse().expect("a number of documents");
    let runs: usize = option("--runs", "5").parse().expect("a number of runs");
    let level = option("--level", "INFO");
    let mut ratios = Vec::new();
    for number in 1..=runs {
        let [silent, noisy] = ["none", &level].map(|it| run(&binary, documents, it));
        let ratio = noisy.documents_per_second / silent.documents_per_second;
        println!(
            "run {number}: silent {:.0} documents/s; with {documents} lines {:.0} documents/s, {} lines arrived: {:.1} %",
            silent.documents_per_second,
            noisy.documents_per_second,
            noisy.logs,
            ratio * 100.0
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median: {:.1} %", ratios[ratios.len() / 2] * 100.0);
}

/// One capture of so many documents.
fn run(binary: &str, documents: usize, level: &str) -> Run {
    let itself = env::current_exe().expect("this program's path");
    let mut shim = Command::new(binary)
        .args(["serve", "--"])
        .arg(itself)
        .args(["source", &documents.to_string(), level])
        .env("LOG_LEVEL", "info")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("can't start {binary}: {error}"));
    shim.stdin.take().expect("a pipe").write_all(OPEN.as_bytes()).expect("a reader");
    let (sender, receiver) = sync_channel(CHANNEL);
    let stdout = send_lines(shim.stdout.take().expect("a pipe"), sender.clone(), |it| {
        if it.starts_with(b"{\"captured\"") { Message::Document } else { Message::Other }
    });
    let stderr = send_lines(shim.stderr.take().expect("a pipe"), sender, |_| Message::Log);
    let start = Instant::now();
    let (mut seen, mut logs, mut first, mut last) = (0, 0, None, start);
    while let Ok((message, _)) = receiver.recv_timeout(LIMIT.saturating_sub(start.elapsed())) {
        match message {
            Message::Document => {
                seen += 1;
                if seen == 1 {
                    first = Some(Instant::now());
                }
                if seen == documents {
                    last = Instant::now();
                }
            }
            Message::Log => logs += 1,
            Message::Other => {}
        }
    }
    if seen != documents {
        let _ = shim.kill();
        eprintln!("{seen} of {documents} documents arrived");
        exit(1);
    }
    let (stdout, stderr, exit_code) = (stdout.join(), stderr.join(), shim.wait());
    assert!(stdout.is_ok() && stderr.is_ok() && exit_code.is_ok_and(|it| it.success()), "the capture failed");
    let seconds = last.duration_since(first.unwrap_or(start)).as_secs_f64();
    Run { documents_per_second: documents as f64 / seconds, logs }
}

fn send_lines(
    input: impl Read + Send + 'static,
    sender: SyncSender<(Message, Vec<u8>)>,
    kind: fn(&[u8]) -> Message,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut input = BufReader::with_capacity(64 * 1024, input);
        loop {
            let mut line = Vec::new();
            if !input.read_until(b'\n', &mut line).is_ok_and(|it| it > 0) || sender.send((kind(&line), line)).is_err() {
                return;
            }
        }
    })
}

/// An incremental stream whose catalog is in the state: the connector is only asked to read.
const OPEN: &str = concat!(
    r#"{"open":{"version":"1","range":{"keyEnd":4294967295},"capture":{"name":"acmeCo/bench","config":{},"bindings":["#,
    r#"{"resourceConfig":{"stream":"users","syncMode":"incremental"},"resourcePath":["users"],"stateKey":"users.v0","collection":{"name":"acmeCo/users","key":["/id"]}}]},"#,
    r#""state":{"catalogV1":[{"version":"1","streams":[{"name":"users","json_schema":{"type":"object","properties":{"id":{"type":"integer"}}},"supported_sync_modes":["incremental"],"source_defined_cursor":true}]}]}}}"#,
    "\n"
);

/// The connector: writes documents, and a line of stderr for each unless the level is `none`.
fn source(documents: usize, level: &str) -> io::Result<()> {
    let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr().lock());
    let text = "barley lantern harbour ".repeat(24);
    let (mut records, mut lines) = (Vec::new(), Vec::new());
    for id in 0..documents {
        writeln!(
            records,
            r#"{{"type":"RECORD","record":{{"stream":"users","data":{{"id":{id},"text":"{text}"}},"emitted_at":1795254898752}}}}"#
        )?;
        if level != "none" {
            writeln!(lines, "{level} airbyte: Read record {id} of stream users, page {} of 20000", id / BLOCK)?;
        }
        if id % 10_000 == 9_999 {
            writeln!(
                records,
                r#"{{"type":"STATE","state":{{"type":"STREAM","stream":{{"stream_descriptor":{{"name":"users"}},"stream_state":{{"id":{id}}}}}}}}}"#
            )?;
        }
        if id % BLOCK == BLOCK - 1 || id + 1 == documents {
            stdout.write_all(&records)?;
            stderr.write_all(&lines)?;
            records.clear();
            lines.clear();
        }
    }
    stdout.flush()
}
