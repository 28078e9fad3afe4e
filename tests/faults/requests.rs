//! Requests: malformed, unknown and unusual ones, many of them, and a large one.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::fault::few;
use super::report::Tried;
use super::script::{MODES, Script};
use super::session::Desk;
use crate::command::flow_shim;

/// The answers to these bytes on stdin.
fn ask(name: &str, stdin: &[u8]) -> (Tried, Output) {
    let desk = Desk::new();
    let script = Script::short(&MODES[0]);
    let case = desk.path("requests.case");
    let text =
        format!("{}\n=== open\n== read\n{}\n", script.prologue("Requests."), script.play(usize::MAX, &[]).join("\n"));
    fs::write(&case, text).expect("a file");
    let player = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/scripted-source");
    let mut command = flow_shim(["serve", "--", player, &case.to_string_lossy()]);
    command.env("TMPDIR", &desk.temporary).env("LOG_FORMAT", "json");
    let start = Instant::now();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("flow-shim starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let stdin = stdin.to_vec();
    // It may end before it has read everything.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().expect("flow-shim ends");
    let _ = writer.join();
    let last = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    let last: Value = serde_json::from_str(&last).unwrap_or_default();
    let exit = output.status.code().map_or_else(|| format!("SIG{:?}", output.status.signal()), |it| it.to_string());
    let tried = Tried {
        name: name.to_owned(),
        seconds: start.elapsed().as_secs_f64(),
        exit,
        last: last["message"].as_str().unwrap_or_default().to_owned(),
        files: desk.left(),
        ..Tried::default()
    };
    (tried, output)
}

/// The kinds of the answers.
fn kinds(output: &Output) -> Vec<String> {
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let parse = |line: &str| serde_json::from_str::<serde_json::Map<String, Value>>(line).unwrap_or_default();
    lines.lines().map(|it| parse(it).keys().next().cloned().unwrap_or_else(|| "?".to_owned())).collect()
}

fn binding() -> Value {
    json!({"resourceConfig": {"stream": "alpha", "syncMode": "incremental"}, "resourcePath": ["alpha"],
        "stateKey": "alpha.v0", "collection": {"name": "acmeCo/alpha", "key": ["/id"]}})
}

fn open(bindings: &[Value]) -> Value {
    json!({"open": {"capture": {"name": "acmeCo/x", "config": {"api_key": "k"}, "bindings": bindings}, "version": "1",
        "range": {"keyEnd": 4_294_967_295_u64}}})
}

pub fn malformed(most: usize) -> Vec<Tried> {
    let frame = |body: &[u8]| [&(body.len() as u32).to_le_bytes()[..], body].concat();
    let vanished = json!({"resourceConfig": {"stream": "gone", "syncMode": "incremental"}, "resourcePath": ["gone"],
        "stateKey": "gone.v0", "collection": {"name": "acmeCo/gone", "key": ["/id"]}});
    let line = |it: Value| format!("{it}\n").into_bytes();
    let all: Vec<(&str, Vec<u8>)> = vec![
        ("no JSON", b"hello there\n".to_vec()),
        ("half a request", b"{\"spec\":{\"conn".to_vec()),
        ("an unknown request", b"{\"unheard\":{}}\n".to_vec()),
        ("a list", b"[1,2,3]\n".to_vec()),
        ("an empty object", b"{}   \n".to_vec()),
        ("a NUL", b"{\"a\0\":{}}\n".to_vec()),
        ("invalid UTF-8", b"{\"validate\":{\"config\":\"\xff\"}}\n".to_vec()),
        ("a frame that is cut", vec![200, 0, 0, 0, 1, 2, 3]),
        ("a frame that is not a request", frame(&[0xff; 20])),
        ("a frame of 600 MB that never comes", (600_u32 << 20).to_le_bytes().to_vec()),
        ("an Open without a capture", b"{\"open\":{}}\n".to_vec()),
        ("an Open without a config", b"{\"open\":{\"capture\":{\"bindings\":[{}]}}}\n".to_vec()),
        ("two bindings of one stream", line(open(&[binding(), binding()]))),
        ("a binding whose stream is gone", line(open(&[vanished]))),
        ("a binding without a resource config", line(open(&[json!({"stateKey": "x"})]))),
    ];
    let each = all.iter().take(few(most)).map(|(name, stdin)| {
        let (mut tried, output) = ask(name, stdin);
        if output.status.code() != Some(1) || tried.last.is_empty() || tried.last.contains("has failed at") {
            tried.wrong.push(format!("{name}: {}: {}", output.status, tried.last));
        }
        if kinds(&output).iter().any(|it| it == "checkpoint") && *name != "a binding whose stream is gone" {
            tried.wrong.push(format!("{name}: something was committed"));
        }
        checked(tried)
    });
    each.collect()
}

pub fn unusual(most: usize) -> Vec<Tried> {
    let two = format!("{}\n{}\n", json!({"spec": {}}), json!({"apply": {}}));
    let linked = json!({"open": {"capture": {"name": "acmeCo/x", "config": {"api_key": "k"}, "bindings": [
        {"resourceConfig": {"stream": "alpha", "syncMode": "incremental"}, "resourcePath": ["alpha"], "stateKey": "alpha.v0", "collectionIndex": 1},
    ], "linkedCollections": [{"name": "acmeCo/other", "key": ["/x"]}, {"name": "acmeCo/alpha", "key": ["/id"]}],
        "secrets": {"acmeCo/key": "/api_key"}, "redactSalt": "AAAA"}, "sealedConfig": {"api_key_sops": "x"}, "version": "1",
        "range": {"keyEnd": 4_294_967_295_u64}}});
    let late_key = json!({"resourceConfig": {"stream": "alpha", "syncMode": "incremental"}, "resourcePath": ["alpha"],
        "stateKey": "alpha.v0", "collection": {"name": "acmeCo/alpha", "key": ["/_meta/row_id"]}});
    let line = |it: &Value| format!("{it}\n");
    let all: Vec<(&str, String, Vec<&str>)> = vec![
        ("unknown fields", line(&json!({"spec": {"new": {"a": [1]}, "config": {}}})), vec!["spec"]),
        ("two requests", two, vec!["spec", "applied"]),
        ("two requests on one line", "{\"spec\":{}}{\"apply\":{}}\n".to_owned(), vec!["spec", "applied"]),
        ("two kinds in one request", "{\"spec\":{},\"apply\":{}}\n".to_owned(), vec![]),
        ("no newline at the end", json!({"spec": {}}).to_string(), vec!["spec"]),
        ("blank lines between", format!("\n\n{}\n\n", json!({"apply": {}})), vec!["applied"]),
        ("an Open without bindings", line(&open(&[])), vec!["opened"]),
        ("linked collections and secrets", line(&linked), vec!["opened", "captured", "checkpoint"]),
        ("a binding that changed its key", line(&open(&[late_key])), vec!["opened", "captured", "checkpoint"]),
        ("Open twice", line(&open(&[binding()])).repeat(2), vec!["opened", "captured", "checkpoint"]),
        ("nothing", String::new(), vec![]),
    ];
    let each = all.iter().take(few(most)).map(|(name, stdin, wanted)| {
        let (mut tried, output) = ask(name, stdin.as_bytes());
        let kinds = kinds(&output);
        let lacks = wanted.iter().find(|it| !kinds.iter().any(|kind| kind == *it));
        // After Open nothing else is answered: whether a second one is an error is not said anywhere.
        let may_fail = *name == "Open twice" || *name == "two requests on one line";
        if !output.status.success() && !may_fail || output.status.code().is_none() {
            tried.wrong.push(format!("{name}: {}: {}", output.status, tried.last));
        }
        if let (Some(lacks), true) = (lacks, output.status.success()) {
            tried.wrong.push(format!("{name}: no {lacks} among {kinds:?}"));
        }
        checked(tried)
    });
    each.collect()
}

pub fn a_thousand(_: usize) -> Vec<Tried> {
    let requests = format!("{}\n{}\n", json!({"apply": {}}), json!({"apply": {"state": {}}})).repeat(500);
    let (mut tried, output) = ask("Apply", requests.as_bytes());
    let count = kinds(&output).iter().filter(|it| *it == "applied").count();
    if count != 1000 || !output.status.success() {
        tried.wrong.push(format!("{count} answers, {}: {}", output.status, tried.last));
    }
    vec![checked(tried)]
}

pub fn large_config(_: usize) -> Vec<Tried> {
    let config = json!({"api_key": "k", "pad": "x".repeat(100_000_000)});
    let request = json!({"validate": {"name": "acmeCo/x", "config": config, "bindings": [binding()]}});
    let (mut tried, output) = ask("Validate", format!("{request}\n").as_bytes());
    if kinds(&output) != ["validated"] {
        tried.wrong.push(format!("{}: {}", output.status, tried.last));
    }
    vec![checked(tried)]
}

fn checked(mut tried: Tried) -> Tried {
    if tried.files > 0 {
        tried.wrong.push(format!("{}: files are left", tried.name));
    }
    tried
}
