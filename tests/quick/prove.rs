//! `flow-shim prove`: connectors that keep their promises, and connectors that break one each.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::command::{Run, flow_shim, run, scripted, timeless};

const COUNTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/counting-source");
const SECRET: &str = "k3y-of-the-tests";

/// The arguments of a proof of a source that counts to 40, with this flaw.
fn counting(flaw: &str, more: &[&str]) -> Vec<String> {
    let config = json!({"count": 40, "every": 3, "flaw": flaw, "api_key": SECRET}).to_string();
    let arguments = ["prove", "--config", &config].into_iter().chain(more.iter().copied()).chain(["--", COUNTING]);
    arguments.map(str::to_owned).collect()
}

/// The report for programs and the exit code.
fn report(flaw: &str, more: &[&str]) -> (Value, Run) {
    let run = run(counting(flaw, &[&["--json"], more].concat()));
    assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET), "{}", run.stderr);
    let report = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stderr));
    (report, run)
}

/// Whether a connector keeps a promise, or null.
fn kept<'a>(report: &'a Value, name: &str) -> &'a Value {
    let promises = report["promises"].as_array().unwrap();
    &promises.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}"))["kept"]
}

/// The names of the promises that are not kept.
fn broken(report: &Value) -> Vec<&str> {
    let promises = report["promises"].as_array().unwrap();
    promises.iter().filter(|it| it["kept"] == false).map(|it| it["name"].as_str().unwrap()).collect()
}

#[test]
fn a_good_connector_for_a_person() {
    let run = run(counting("", &["--kills", "1"])).ok();
    let text = run.stdout.replace(COUNTING, "counting-source");
    insta::assert_snapshot!(format!("{text}────────\n{}", timeless(&run.stderr)));
}

#[test]
fn a_good_connector_for_programs() {
    let (mut report, run) = report("", &["--kills", "1"]);
    assert_eq!(run.code, Some(0));
    report["command"] = json!(["counting-source"]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
}

/// It is long enough for a kill to find the connector: 20 MB fit into no buffer.
#[test]
fn a_fivetran_connector_loses_nothing() {
    let config = json!({"count": 2000, "every": 300, "pad": 10_000}).to_string();
    let arguments = ["prove", "--protocol", "fivetran", "--config", &config, "--kills", "2", "--json", "--", COUNTING];
    let run = run(arguments).ok();
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&report["verdict"], broken(&report)), (&json!("nothingLost"), Vec::new()), "{report:#}");
    assert!(report["kills"].as_array().unwrap().iter().all(|it| it["tookEffect"] == true), "{report:#}");
}

/// With one kill, the page views have begun and nothing of them is committed.
#[test]
fn the_demo_loses_nothing() {
    for kills in ["1", "4"] {
        let run = run(["prove", "--shim", "shims/demo", "--kills", kills, "--json"]).ok();
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!((&report["verdict"], broken(&report)), (&json!("nothingLost"), Vec::new()));
        let streams = report["streams"].as_array().unwrap();
        let found: Vec<_> = streams.iter().map(|it| [&it["name"], &it["verdict"]]).collect();
        let expected = ["customers", "page_views", "orders"].map(|it| [json!(it), json!("nothingLost")]);
        assert_eq!(json!(found), json!(expected));
    }
}

#[test]
fn a_tap_is_proven_like_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let case = r#"A tap that ignores its state.

== read
{"type":"SCHEMA","stream":"users","schema":{"type":"object","properties":{"id":{"type":"integer"}}},"key_properties":["id"]}
%repeat 9 {"type":"RECORD","stream":"users","record":{"id":$n}}
{"type":"STATE","value":{"bookmarks":{"users":{"replication_key_value":9}}}}
"#;
    let arguments = ["prove", "--json", "--protocol", "singer", "--config", "{}", "--select", "users", "--kills", "1"];
    let run = run(arguments.map(str::to_owned).iter().chain(&scripted(folder.path(), case))).ok();
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&report["protocol"], &report["verdict"]), (&json!("singer"), &json!("nothingLost")));
    assert_eq!(broken(&report), ["resumesFromItsState"]);
}

#[test]
fn a_state_before_its_records_loses_them() {
    let (report, run) = report("early_state", &["--kills", "1"]);
    assert_eq!((run.code, run.last_line()), (Some(1), "HH:MM:SS ERROR 3 documents were lost".to_owned()));
    // Killed after 20 documents: 18 are committed, with a state that says 21.
    assert_eq!(report["verdict"], "lost");
    assert_eq!((&report["kills"][0]["committed"], &report["kills"][0]["lost"]), (&json!(18), &json!(3)));
    assert_eq!(broken(&report), ["stateAfterRecords"]);
    assert_eq!(report["promises"][0]["streams"], json!(["numbers"]));
}

#[test]
fn a_connector_that_ignores_its_state_repeats() {
    let (report, run) = report("ignores_state", &["--kills", "1"]);
    assert_eq!((run.code, &report["verdict"]), (Some(0), &json!("nothingLost")));
    assert_eq!(broken(&report), ["resumesFromItsState"]);
    assert_eq!(report["streams"][0]["repeated"], 18);
    assert_eq!(report["madeUpFor"][1], "18 documents repeated after a kill: merged by key");
}

#[test]
fn what_differs_from_run_to_run_is_not_lost() {
    for (flaw, promise) in [("random_order", "sameOrder"), ("changing_values", "sameValues")] {
        let (report, run) = report(flaw, &["--kills", "1"]);
        assert_eq!((run.code, &report["verdict"]), (Some(0), &json!("nothingLost")), "{flaw}");
        assert_eq!(broken(&report), [promise], "{flaw}");
    }
}

#[test]
fn secrets_in_log_lines_are_noticed() {
    let (report, run) = report("prints_secret", &["--kills", "1"]);
    assert_eq!(run.code, Some(0));
    assert_eq!(broken(&report), ["noSecretsInLogs"]);
    assert!(report["madeUpFor"].to_string().contains("secrets in the connector's log lines"), "{report}");
}

#[test]
fn records_that_differ_from_their_schema_are_noticed() {
    let (report, run) = report("wrong_type", &["--kills", "1"]);
    assert_eq!(run.code, Some(0));
    assert_eq!(broken(&report), ["matchesItsSchema"]);
    assert_eq!(report["streams"][0]["differsFromSchema"], "type at /pad");
}

/// The kills take effect because the connector is always running.
#[test]
fn a_connector_that_never_ends_is_proven_until_the_timeout() {
    let (report, run) = report("never_ends", &["--kills", "2", "--timeout", "6s"]);
    assert_eq!((run.code, &report["verdict"]), (Some(0), &json!("nothingLost")));
    assert_eq!(broken(&report), ["endsByItself"]);
    assert_eq!(report["runs"]["endedBy"], "timeout");
    let kill = |index: usize| (&report["kills"][index]["killed"], &report["kills"][index]["tookEffect"]);
    assert_eq!([kill(0), kill(1)], [(&json!("flow-shim"), &json!(true)), (&json!("connector"), &json!(true))]);
}

#[test]
fn a_large_source_is_proven_up_to_the_limit() {
    let (good, run) = report("", &["--kills", "1", "--limit", "20"]);
    assert_eq!((run.code, &good["verdict"]), (Some(0), &json!("nothingLost")));
    assert_eq!((&good["runs"]["endedBy"], &good["streams"][0]["documents"]), (&json!("limit"), &json!(21)));
    assert_eq!(kept(&good, "endsByItself"), &Value::Null);
    let (early, run) = report("early_state", &["--kills", "1", "--limit", "20"]);
    assert_eq!((run.code, &early["streams"][0]["lost"]), (Some(1), &json!(3)));
}

#[test]
fn a_capture_that_fails_is_reported_with_its_reason() {
    for (flaw, documents, reason) in [("null_key", 6, "its key /n is null"), ("fails", 40, "exit code 1: it fails")] {
        let (report, run) = report(flaw, &[]);
        assert_eq!((run.code, &report["verdict"]), (Some(1), &json!("failed")), "{flaw}");
        assert!(run.last_line().contains(reason), "{}", run.last_line());
        assert!(report["failure"].as_str().unwrap().contains(reason), "{report}");
        assert_eq!(report["streams"][0]["documents"], documents);
        assert_eq!(report["runs"]["undisturbed"], 1);
    }
}

#[test]
fn ctrl_c_prints_what_is_known() {
    let mut child = flow_shim(counting("never_ends", &["--timeout", "6s"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|it| it.contains("undisturbed run 1 of 2: 40 documents")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let last = lines.last().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(last.ends_with("stopped by SIGINT"), "{last}");
    assert!(
        text.contains("1 undisturbed, 0 killed and resumed; ended by the --timeout; stopped: not complete"),
        "{text}"
    );
    assert!(text.contains("numbers         40  not proven"), "{text}");
}

#[test]
fn without_a_config_the_error_says_so() {
    let run = run(["prove", "--", "flow-shim", "demo-source"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.last_line().ends_with("(no config was given: use --config FILE)"), "{}", run.last_line());
}
