//! `flow-shim preview` on the command line.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::command::{Run, documents, flow_shim, run, scripted, timeless};

const COUNTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/counting-source");

fn demo(count: u64) -> Vec<String> {
    let config = json!({"shop": "corner", "api_key": "demo-s3cret", "count": count}).to_string();
    ["preview", "--shim", "shims/demo", "--config", &config].map(str::to_owned).to_vec()
}

fn with<S: Into<String>>(mut arguments: Vec<String>, more: impl IntoIterator<Item = S>) -> Vec<String> {
    arguments.extend(more.into_iter().map(Into::into));
    arguments
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn numbers(run: &Run) -> Vec<u64> {
    run.documents().iter().map(|(_, it)| it["n"].as_u64().unwrap()).collect()
}

#[test]
fn the_demo_needs_nothing_but_the_binary() {
    let run = run(["preview", "--shim", "shims/demo"]).ok();
    assert_eq!(run.documents().len(), 300);
    insta::assert_snapshot!(timeless(&run.stderr));
}

#[test]
fn a_truncating_full_refresh_has_no_tombstones() {
    let folder = tempfile::tempdir().unwrap();
    let (shim, state) = (text(&folder.path().join("shim.yaml")), text(&folder.path().join("state")));
    let config = json!({"shop": "corner", "api_key": "demo-s3cret", "count": 20}).to_string();
    let page_views = |policy: &str| {
        fs::write(&shim, format!("command: [flow-shim, demo-source]\nfullRefresh: {policy}\n")).unwrap();
        let options = ["preview", "--shim", &shim, "--config", &config, "--state", &state];
        run(options).ok().count("page_views")
    };
    // The demo has 20 page views, then 12, then 4.
    assert_eq!([page_views("tombstones"), page_views("tombstones"), page_views("truncate")], [20, 12 + 8, 4]);
}

#[test]
fn documents_are_the_sources_bytes_after_our_meta() {
    let captured = run(demo(30)).ok();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: Value| {
        let path = folder.path().join(name);
        fs::write(&path, content.to_string()).unwrap();
        text(&path)
    };
    let modes = [("customers", "incremental"), ("page_views", "full_refresh"), ("orders", "incremental")];
    let streams = modes.map(|(name, mode)| json!({"stream": {"name": name}, "sync_mode": mode}));
    let config = write("config", json!({"shop": "corner", "api_key": "demo-s3cret", "count": 30}));
    let catalog = write("catalog", json!({"streams": streams}));
    let source = run(["demo-source", "read", "--config", &config, "--catalog", &catalog]).ok();
    let data = |line: &str| {
        let (_, rest) = line.split_once(r#""data":"#)?;
        let (data, _) = rest.rsplit_once(r#","emitted_at""#)?;
        Some(data.to_owned())
    };
    let wanted: Vec<String> =
        source.stdout.lines().filter(|it| it.contains(r#""type":"RECORD""#)).filter_map(data).collect();
    let got: Vec<String> = captured
        .stdout
        .lines()
        .map(|line| {
            let (_, document) = line.split_once(r#",{"_meta":{"#).unwrap();
            let (_, rest) = document.split_once("},").unwrap();
            format!("{{{}", rest.strip_suffix(']').unwrap())
        })
        .collect();
    assert_eq!(got.len(), 90);
    assert_eq!(got, wanted);
}

#[test]
fn a_second_run_resumes_from_the_state_file() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let arguments = with(demo(20), ["--state", &text(&state)]);
    let first = run(&arguments).ok();
    assert_eq!((first.count("customers"), first.count("orders")), (20, 20));
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o600);
    let second = run(&arguments).ok();
    assert_eq!((second.count("customers"), second.count("orders")), (8, 8));
    let rows = |run: &Run| -> Vec<u64> {
        let customers = run.documents().into_iter().filter(|(name, _)| name == "customers");
        customers.map(|(_, it)| it["_meta"]["row_id"].as_u64().unwrap()).collect()
    };
    assert_eq!(rows(&first), (1..=20).collect::<Vec<_>>());
    assert_eq!(rows(&second), (21..=28).collect::<Vec<_>>());
    // Fewer page views than before: tombstones for the rest.
    let deleted =
        second.documents().iter().filter(|(name, it)| name == "page_views" && it["_meta"]["op"] == "d").count();
    assert_eq!(deleted, 8);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the state is left");
}

#[test]
fn limited_runs_lose_nothing() {
    for every in [3, 7] {
        let folder = tempfile::tempdir().unwrap();
        let state = text(&folder.path().join("state.json"));
        let config = json!({"count": 20, "every": every}).to_string();
        let mut seen = BTreeSet::new();
        for round in 0.. {
            assert!(round < 20, "no end with a state every {every}: {seen:?}");
            let run = run(["preview", "--config", &config, "--state", &state, "--limit", "7", "--", COUNTING]).ok();
            let found = numbers(&run);
            if found.is_empty() {
                break;
            }
            let first = found[0];
            assert_eq!(found, (first..first + 7).take_while(|it| *it <= 20).collect::<Vec<_>>());
            assert!(first == 1 || seen.contains(&(first - 1)), "a gap before {first}");
            seen.extend(found);
        }
        assert_eq!(seen, (1..=20).collect());
    }
}

#[test]
fn a_limit_within_a_transaction_leaves_the_state_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(&folder.path().join("state.json"));
    let limited = || {
        run([
            "preview",
            "--config",
            r#"{"count": 40, "every": 10}"#,
            "--state",
            &state,
            "--limit",
            "13",
            "--",
            COUNTING,
        ])
        .ok()
    };
    assert_eq!(numbers(&limited()), (1..=13).collect::<Vec<_>>());
    let again = limited();
    assert_eq!(numbers(&again), (11..=23).collect::<Vec<_>>());
    let said = "3 documents had no checkpoint yet: the next run with this state repeats them";
    assert!(again.stderr.contains(said), "{}", again.stderr);
}

#[test]
fn a_limit_does_not_wait_for_a_checkpoint_that_does_not_come() {
    let folder = tempfile::tempdir().unwrap();
    let case = "A connector that waits.\n\n== read\n%repeat 5 {\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"id\":$n},\"emitted_at\":1}}\n%wait\n";
    let run =
        run(with(vec!["preview".to_owned(), "--limit".to_owned(), "5".to_owned()], scripted(folder.path(), case))).ok();
    assert_eq!(run.documents().len(), 5);
}

#[test]
fn selected_streams_alone_are_captured() {
    let run = run(with(demo(10), ["--select", "cust*", "--select", "orders"])).ok();
    assert_eq!((run.count("customers"), run.count("page_views"), run.count("orders")), (10, 0, 10));
    assert!(run.stderr.contains("capturing 2 of 3 streams: customers, orders"), "{}", run.stderr);
}

#[test]
fn a_full_refresh_starts_over_and_leaves_other_streams_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let arguments = with(demo(20), ["--state", &text(&path)]);
    let cell = |name: &str| {
        let state: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        state["bindingStateV1"][format!("{name}.v0")].clone()
    };
    run(&arguments).ok();
    let orders = cell("orders");
    let refreshed = run(with(arguments.clone(), ["--full-refresh", "--select", "customers"])).ok();
    assert_eq!(refreshed.count("customers"), 20);
    assert_eq!(refreshed.documents()[0].1["_meta"]["row_id"], 1);
    assert_eq!(cell("customers")["highRowId"], 20);
    assert_eq!(cell("orders"), orders);
    // As the help says, incremental streams start over, too.
    let after = run(&arguments).ok();
    assert_eq!((after.count("customers"), after.count("orders")), (20, 8));
}

#[test]
fn streams_without_a_full_refresh_start_over_in_their_own_mode() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(&folder.path().join("state.json"));
    let arguments = ["preview", "--config", r#"{"count": 9, "every": 3}"#, "--state", &state];
    run(arguments.iter().chain(&["--", COUNTING])).ok();
    let again = run(arguments.iter().chain(&["--full-refresh", "--", COUNTING])).ok();
    assert_eq!(numbers(&again), (1..=9).collect::<Vec<_>>());
    assert!(again.stderr.contains("stream numbers has no full refresh mode"), "{}", again.stderr);
    assert!(numbers(&run(arguments.iter().chain(&["--", COUNTING])).ok()).is_empty());
}

/// Starts a run whose stdout is read line by line.
fn start(arguments: &[String]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = flow_shim(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn an_interrupted_run_keeps_its_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = text(&folder.path().join("state.json"));
    let config = |rate: Value| json!({"shop": "corner", "api_key": "demo-1", "count": 3000, "rate": rate}).to_string();
    let arguments = |rate| {
        let config = config(rate);
        let arguments =
            ["preview", "--shim", "shims/demo", "--config", &config, "--state", &path, "--select", "customers"];
        arguments.map(str::to_owned).to_vec()
    };
    let (mut child, mut stdout) = start(&arguments(json!(4000)));
    let mut printed = String::new();
    for _ in 0..10 {
        stdout.read_line(&mut printed).unwrap();
    }
    interrupt(&child);
    stdout.read_to_string(&mut printed).unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{stderr}");
    assert!(stderr.contains("total"), "{stderr}");
    assert_eq!(timeless(stderr.lines().last().unwrap()), "HH:MM:SS INFO  stopped by SIGINT");

    let rest = run(arguments(Value::Null)).ok();
    let rows = documents(&(printed + &rest.stdout));
    let rows: Vec<u64> = rows.iter().map(|(_, it)| it["_meta"]["row_id"].as_u64().unwrap()).collect();
    assert_eq!(rows, (1..=3000).collect::<Vec<_>>());
}

#[test]
fn a_second_interrupt_does_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let case = "A deaf connector.\n\n== read\n%on TERM ignore\n%stderr INFO deaf now\n%wait\n";
    let (mut child, _stdout) = start(&with(vec!["preview".to_owned()], scripted(folder.path(), case)));
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut wait_for = |text: &str| stderr.by_ref().map(Result::unwrap).find(|it| it.contains(text)).unwrap();
    wait_for("deaf now");
    interrupt(&child);
    wait_for("a second Ctrl-C exits immediately");
    let start = std::time::Instant::now();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn a_closed_reader_is_not_an_error() {
    let (mut child, mut stdout) = start(&demo(100_000));
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!stderr.contains("ERROR"), "{stderr}");
}

#[test]
fn documents_committed_before_a_failure_are_printed_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = text(&folder.path().join("state.json"));
    let case = r#"It breaks in the middle.

== read
%repeat 2 {"type":"RECORD","record":{"stream":"users","data":{"id":$n},"emitted_at":1}}
{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"users"},"stream_state":{"at":2}}}}
%repeat 3 {"type":"RECORD","record":{"stream":"users","data":{"id":$n},"emitted_at":1}}
%stderr ERROR the disk is full
%exit 1
"#;
    let run = run(with(
        ["preview", "--state", &path, "--select", "users"].map(str::to_owned).to_vec(),
        scripted(folder.path(), case),
    ));
    assert_eq!(run.code, Some(1));
    assert_eq!(run.documents().len(), 2);
    let state: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(state["bindingStateV1"]["users.v0"], json!({"rowId": 2, "state": [{"at": 2}]}));
    insta::assert_snapshot!(timeless(&run.stderr));
}

#[test]
fn a_large_transaction_waits_on_disk() {
    // 30 MB without a state in between: the demo sends one per thousand records, the case none.
    let folder = tempfile::tempdir().unwrap();
    let case = "Much in one transaction.\n\n== read\n%repeat 300 {\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"id\":$n,\"x\":\"$x(100000)\"},\"emitted_at\":1}}\n";
    let run =
        run(with(["preview", "--select", "users"].map(str::to_owned).to_vec(), scripted(folder.path(), case))).ok();
    let ids: Vec<u64> = run.documents().iter().map(|(_, it)| it["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=300).collect::<Vec<_>>());
    assert_eq!(run.stdout.len() / 1_000_000, 30);
}

#[test]
fn programs_get_json_logs_and_the_table_as_one_of_them() {
    let output = flow_shim(demo(10)).env("LOG_FORMAT", "json").output().unwrap();
    let run = Run::from(output).ok();
    let logs: Vec<Value> = run.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = logs.last().unwrap();
    assert_eq!(last["message"], "captured 30 documents from 3 streams");
    assert_eq!(last["fields"]["documents"], 30);
    assert_eq!(last["fields"]["streams"][0]["stream"], "customers");
    assert_eq!(last["fields"]["streams"][0]["checkpoints"], 1);
}

#[test]
fn wrong_input_is_reported_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).unwrap();
        text(&folder.path().join(name))
    };
    let cut = file("cut.json", "{\n  \"api_key\": \"demo-s3cret\",\n}");
    let list = file("list.json", "[\"demo-s3cret\"]");
    let wrong_key = json!({"shop": "corner", "api_key": "wrong-s3cret"}).to_string();
    let cases: [&[&str]; 10] = [
        &["--shim", "shims/demo", "--config", "nowhere.json"],
        &["--shim", "shims/demo", "--config", &cut],
        &["--shim", "shims/demo", "--config", &list],
        &["--shim", "shims/demo", "--config", "{\"api_key\": \"demo-s3cret\""],
        &["--shim", "shims/demo", "--config", &wrong_key],
        &["--shim", "shims/demo", "--state", &cut],
        &["--shim", "shims/demo", "--state", "nowhere/state.json"],
        &["--shim", "shims/demo", "--select", "custmers", "--select", "orders"],
        &["--", "flow-shim", "demo-source"],
        &["--", "no-such-source"],
    ];
    let mut said = Vec::new();
    for case in cases {
        let run = run(["preview"].iter().chain(case));
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
        assert!(run.stdout.is_empty());
        said.push(run.last_line());
    }
    insta::assert_snapshot!(said.join("\n").replace(&text(folder.path()), "FOLDER"));
}

#[test]
fn wrong_arguments_are_distinguished_from_failures() {
    for (case, said) in [(["--limit", "0"], "0 is not in 1.."), (["--select", "a[b"], "unclosed character class")] {
        let run = run(["preview"].iter().chain(&case));
        assert_eq!(run.code, Some(2));
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
}

const CHECKPOINT: &str = r#"{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"users"},"stream_state":{"at":2}}}}"#;

/// A case of one stream `users` that sends these documents, with a checkpoint after the first.
fn sending(documents: [&str; 2]) -> String {
    let record = |it| format!(r#"{{"type":"RECORD","record":{{"stream":"users","data":{it},"emitted_at":1}}}}"#);
    let [first, second] = documents.map(record);
    format!("Documents.\n\n== read\n{first}\n{CHECKPOINT}\n{second}\n{CHECKPOINT}\n")
}

#[test]
fn documents_that_flow_rejects_are_errors() {
    let mut errors = Vec::new();
    for wrong in [r#"{"name":"s3cret"}"#, r#"{"id":null}"#, r#"{"id":"s3cret"}"#, r#"{"id":1.5}"#] {
        let folder = tempfile::tempdir().unwrap();
        let select = ["preview", "--select", "users"].map(str::to_owned).to_vec();
        let run = run(with(select, scripted(folder.path(), &sending([r#"{"id":1}"#, wrong]))));
        assert_eq!(run.code, Some(1), "{wrong}: {}", run.stderr);
        assert_eq!(run.documents().len(), 1, "documents before the last checkpoint are printed");
        assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
        errors.push(run.last_line());
    }
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_declared_schema_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let shim = folder.path().join("shim.yaml");
    fs::write(&shim, "schema: declared\n").unwrap();
    let mut arguments = with(
        ["preview", "--select", "users", "--shim", &text(&shim)].map(str::to_owned).to_vec(),
        scripted(folder.path(), &sending([r#"{"id":1,"name":"a"}"#, r#"{"id":2,"name":["s3cret"]}"#])),
    );
    let run = run(arguments.clone());
    arguments.insert(1, "--no-validate".to_owned());
    assert_eq!(crate::command::run(arguments).ok().documents().len(), 2);
    assert_eq!((run.code, run.documents().len()), (Some(1), 1), "{}", run.stderr);
    assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
    insta::assert_snapshot!(run.last_line());
}

#[test]
fn a_file_that_is_not_a_state_is_refused_and_left_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.json");
    let singer = r#"{"bookmarks":{"users":{"updated_at":"2024-01-01"}}}"#;
    let by_name = r#"{"token":{"value":"s3cret"}}"#;
    let config = json!({"shop": "corner", "api_key": "demo-s3cret"}).to_string();
    let mut errors = Vec::new();
    for content in [config.as_str(), by_name, singer, "[1]"] {
        fs::write(&file, content).unwrap();
        let run = run(with(demo(2), ["--state", &text(&file)]));
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(run.stdout.is_empty() && !run.stderr.contains("s3cret"), "{}", run.stderr);
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
        errors.push(run.last_line());
    }
    fs::write(&file, config).unwrap();
    let both = ["preview", "--shim", "shims/demo", "--config", &text(&file), "--state", &text(&file)];
    errors.push(run(both).last_line());
    insta::assert_snapshot!(errors.join("\n").replace(&text(folder.path()), "FOLDER"));
}

#[test]
fn a_list_of_airbyte_states_is_converted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    let state = |name: &str| json!({"type": "STREAM", "stream": {"stream_descriptor": {"name": name}, "stream_state": {"sync": 1, "position": 20}}});
    fs::write(&file, json!([state("customers"), {"type": "STATE", "state": state("orders")}]).to_string()).unwrap();
    let resumed = run(with(demo(20), ["--state", &text(&file)])).ok();
    assert_eq!((resumed.count("customers"), resumed.count("orders")), (8, 8));
    assert!(resumed.stderr.contains("is converted") || resumed.stderr.contains("are converted"), "{}", resumed.stderr);
    let written: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert!(written["bindingStateV1"]["customers.v0"].is_object(), "{written}");
}

#[test]
fn a_singer_state_is_converted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    fs::write(&file, r#"{"bookmarks":{"users":{"at":1},"other":{"at":2}},"version":3}"#).unwrap();
    let case = "A tap.\n\n== read\n{\"type\":\"RECORD\",\"stream\":\"users\",\"record\":{\"id\":1}}\n{\"type\":\"STATE\",\"value\":{\"bookmarks\":{\"users\":{\"at\":5},\"other\":{\"at\":2}},\"version\":3}}\n";
    let mut connector = scripted(folder.path(), case).to_vec();
    let received = folder.path().join("received");
    connector.splice(2..2, ["--received".to_owned(), text(&received)]);
    let arguments =
        ["preview", "--protocol", "singer", "--select", "users", "--state", &text(&file)].map(str::to_owned);
    run(with(arguments.to_vec(), connector)).ok();
    let given: Value = serde_json::from_str(&fs::read_to_string(received.join("read/state")).unwrap()).unwrap();
    assert_eq!(given, json!({"bookmarks": {"other": {"at": 2}, "users": {"at": 1}}, "version": 3}));
    let written: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(written["bindingStateV1"]["users.v0"]["state"], json!([{"at": 5}]));
}

#[test]
fn two_previews_cannot_share_a_state_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = text(&folder.path().join("state.json"));
    let case = format!("A connector that waits.\n\n== read\n{CHECKPOINT}\n%wait\n");
    let arguments = with(
        ["preview", "--select", "users", "--state", &path].map(str::to_owned).to_vec(),
        scripted(folder.path(), &case),
    );
    let (mut first, _stdout) = start(&arguments);
    let mut stderr = BufReader::new(first.stderr.take().unwrap()).lines();
    stderr.by_ref().map(Result::unwrap).find(|it| it.contains("capturing")).unwrap();
    let second = run(&arguments);
    assert_eq!(second.code, Some(1));
    assert!(second.last_line().contains("another preview is using the state file"), "{}", second.stderr);
    interrupt(&first);
    first.wait().unwrap();
}

#[test]
fn a_closed_stdout_is_an_error_that_leaves_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let closed = std::process::Command::new("sh")
        .args(["-c", r#"exec "$@" >&-"#, "sh", env!("CARGO_BIN_EXE_flow-shim")])
        .args(with(demo(2), ["--state", &text(&state)]))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let stderr = String::from_utf8(closed.stderr).unwrap();
    assert_eq!(closed.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("stdout is closed"), "{stderr}");
    assert!(!state.exists());
}

#[test]
fn a_timeout_ends_a_capture_without_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let case = format!("A connector that waits.\n\n== read\n{CHECKPOINT}\n%wait\n");
    let arguments = ["preview", "--select", "users", "--timeout", "1s"].map(str::to_owned).to_vec();
    let run = run(with(arguments, scripted(folder.path(), &case))).ok();
    assert!(run.stderr.contains("the --timeout of 1s is over"), "{}", run.stderr);
}

#[test]
fn a_limit_per_stream_keeps_the_state_before_the_first_omitted_document() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(&folder.path().join("state.json"));
    let limited = run(with(demo(20), ["--state", &state, "--limit-per-stream", "5"])).ok();
    for stream in ["customers", "page_views", "orders"] {
        assert_eq!(limited.count(stream), 5, "{stream}");
    }
    // Nothing is lost: the next run brings all documents.
    let next = run(with(demo(20), ["--state", &state])).ok();
    assert_eq!((next.count("customers"), next.count("orders")), (20, 20));
}

#[test]
fn excluded_streams_are_not_captured() {
    let run = run(with(demo(3), ["--exclude", "page*"])).ok();
    assert_eq!((run.count("customers"), run.count("page_views"), run.count("orders")), (3, 0, 3));
}

#[test]
fn quiet_previews_print_documents_only() {
    let run = run(with(demo(2), ["--quiet"])).ok();
    assert_eq!((run.documents().len(), run.stderr.as_str()), (6, ""));
    let verbose = crate::command::run(with(demo(2), ["-v"])).ok();
    assert!(verbose.stderr.contains("total") && verbose.stderr.contains("INFO"), "{}", verbose.stderr);
}

#[test]
fn sessions_resume_one_another_without_a_state_file() {
    let run = run(with(demo(20), ["--sessions", "3"])).ok();
    assert_eq!((run.count("customers"), run.count("orders")), (20 + 8 + 8, 20 + 8 + 8));
    assert!(run.stderr.contains("session 3 of 3"), "{}", run.stderr);
    let limited = crate::command::run(with(demo(20), ["--sessions", "3", "--limit", "1"]));
    assert_eq!(limited.code, Some(2), "{}", limited.stderr);
}

#[test]
fn state_updates_are_printed_after_the_documents_that_they_cover() {
    let run = run(with(demo(5), ["--output-state", "--select", "customers"])).ok();
    let names: Vec<String> = run.documents().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[0], "connectorState");
    assert_eq!(names[1..7], ["customers", "customers", "customers", "customers", "customers", "connectorState"]);
    let state = run.documents()[6].1.clone();
    assert_eq!(state["bindingStateV1"]["customers.v0"]["rowId"], 5);
}

#[test]
fn streams_are_read_in_the_mode_that_is_asked_for() {
    let modes = ["--sessions", "2", "--mode", "cust*=full_refresh", "--mode", "orders=incremental"];
    let captured = run(with(demo(5), modes)).ok();
    // A full refresh reads everything again.
    assert_eq!((captured.count("customers"), captured.count("orders")), (5 + 5, 5 + 8));
    let said = |arguments: &[&str]| run(with(demo(5), arguments.iter().copied())).last_line();
    let said = [said(&["--mode", "orders=daily"]), said(&["--mode", "x=incremental"])];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn kept_files_are_private_and_their_command_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let run = run(with(demo(2), ["--keep-files", &text(&kept), "-v"])).ok();
    assert!(run.stderr.contains("DEBUG running /proc/self/exe demo-source read --config"), "{}", run.stderr);
    assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&kept), mode(&kept.join("4")), mode(&kept.join("4/config.json"))), (0o700, 0o700, 0o600));
    let command = fs::read_to_string(kept.join("4/command")).unwrap();
    let command = command.replace("/proc/self/exe", env!("CARGO_BIN_EXE_flow-shim"));
    let again = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap().matches("\"RECORD\"").count(), 6);
    let twice = crate::command::run(with(demo(2), ["--keep-files", &text(&kept)]));
    assert!(twice.last_line().contains("it is not empty"), "{}", twice.stderr);
}
