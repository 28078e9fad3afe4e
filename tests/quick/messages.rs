//! Messages that a person gets for settings and arguments that cannot work or change nothing.

use std::fs;

use serde_json::json;

use crate::command::{Desk, Run, flow_shim, run, scripted, timeless};

const DEMO: [&str; 2] = ["flow-shim", "demo-source"];
const CONFIG: &str = r#"{"shop": "corner", "api_key": "demo-1", "count": 2}"#;

/// The warnings of a run with this shim.yaml.
fn warnings(shim: &str) -> String {
    let desk = Desk::new();
    desk.write("shim.yaml", shim);
    let arguments = ["preview", "--config", CONFIG, "--"].into_iter().chain(DEMO);
    let run = desk.run(arguments).ok();
    let warnings = run.stderr.lines().filter(|it| it.contains(" WARN "));
    timeless(&warnings.collect::<Vec<_>>().join("\n"))
}

#[test]
fn settings_without_effect_are_reported() {
    insta::assert_snapshot!(warnings(
        "catalog: none\ndocumentationUrl: docs\nstreams:\n  custmers: {disable: true}\n  report_*: {key: []}\n  \
         orders: {normalize: {cut: [/placed_a]}, cursorField: positon, alias: x}\n  \
         page_views: {schema: {properties: {nothing: null, visitr: {type: string}, added: {type: string}}}}\n"
    ));
    let used = "streams:\n  '*': {disable: false}\n  orders: {normalize: {cut: [/placed_at]}, schema: {properties: {added: {}}}}\n";
    assert_eq!(warnings(used), "");
}

#[test]
fn a_shim_without_a_connector_is_named() {
    let desk = Desk::new();
    fs::create_dir(desk.path("shim")).unwrap();
    desk.write("shim/shim.yaml", "protocol: airbyte\n");
    let messages = [
        desk.run(["preview", "--shim", "shim"]),
        desk.run(["preview", "--shim", "nowhere"]),
        desk.run(["preview"]),
        desk.run(["init", "--airbyte", "source-x", "--singer", "tap-x", "dir"]),
        desk.run(["preveiw"]),
        desk.run(["preview", "--shim", "shim", "--limt", "1"]),
    ];
    let first_error = |run: &Run| timeless(run.stderr.split("\n\nUsage").next().unwrap_or_default().trim_end());
    insta::assert_snapshot!(messages.iter().map(first_error).collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_wrong_protocol_gets_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    // As argparse answers a command that it does not know.
    let tap = ["sh", "-c", "echo 'tap: error: the following arguments are required: --config' >&2; exit 2"];
    let inspected = run(["inspect", "--"].into_iter().chain(tap));
    let source = r#"case "$*" in *--help*) echo 'usage: source {spec,check,discover,read} ...';; *) echo 'source: error: invalid choice' >&2; exit 2;; esac"#;
    let arguments = ["inspect", "--protocol", "singer", "--config", "{}", "--", "sh", "-c", source, "sh"];
    let discovered = run(arguments);
    let messages = [inspected.last_line(), discovered.last_line()];
    insta::assert_snapshot!(messages.join("\n"));
    // A source that reports its own error is one.
    let case = format!(
        "It fails.\n\n== spec\n{}\n%exit 1\n",
        json!({"type": "LOG", "log": {"level": "ERROR", "message": "no disk"}})
    );
    let failed = run(["inspect".to_owned()].into_iter().chain(scripted(folder.path(), &case)));
    assert!(!failed.last_line().contains("--protocol"), "{}", failed.stderr);
}

#[test]
fn an_unknown_log_level_is_reported_in_the_commands_own_format() {
    let mut command = flow_shim(["inspect", "--shim", "shims/demo"]);
    let run = Run::from(command.env("LOG_LEVEL", "loud").output().unwrap()).ok();
    let first = timeless(run.stderr.lines().next().unwrap_or_default());
    assert_eq!(
        first,
        "HH:MM:SS WARN  LOG_LEVEL is \"loud\", not one of trace, debug, info, warn and error: info is used"
    );
}

#[test]
fn an_unknown_log_format_is_reported() {
    let mut command = flow_shim(["inspect", "--shim", "shims/demo"]);
    let run = Run::from(command.env("LOG_FORMAT", "text").output().unwrap()).ok();
    let first = timeless(run.stderr.lines().next().unwrap_or_default());
    assert_eq!(first, "HH:MM:SS WARN  LOG_FORMAT is \"text\", not json: it has no effect");
}

#[test]
fn mistakes_on_the_command_line_are_explained() {
    let desk = Desk::new();
    for folder in ["kept/1", "null", "word"] {
        fs::create_dir_all(desk.path(folder)).unwrap();
    }
    desk.write("file", "");
    desk.write("kept/1/config.json", "{}");
    desk.write("null/shim.yaml", "command: [flow-shim, demo-source]\nenv: {A: null}\n");
    desk.write("word/shim.yaml", "command: [flow-shim, demo-source]\nschema: loose\n");
    desk.write("lines.jsonl", "[\"customers\",{}]\n[\"connectorState\",{}]\n");
    let mut messages = Vec::new();
    let demo = ["--", "flow-shim", "demo-source"];
    for arguments in [
        &["preview", "--timeout", "0"][..],
        &["preview", "--timeout", "soon"],
        &["preview", "--keep-files", "kept"],
        &["preview", "--mode", "nothing=incremental"],
        &["preview", "--state", "lines.jsonl"],
        &["preview", "--shim", "null"],
        &["preview", "--shim", "word"],
        &["preview", "--singer"],
        &["preview", "null"],
        &["preview", "flow-shim", "demo-source"],
        &["init", "--airbyte", "source-demo", "file"],
    ] {
        let config = if arguments[0] == "preview" { &["--config", CONFIG][..] } else { &[] };
        let run = desk.run([arguments, config, &demo].concat());
        assert!(matches!(run.code, Some(1 | 2)) && run.stdout.is_empty(), "{arguments:?}: {}", run.stderr);
        let said = |it: &&str| it.contains("ERROR") || it.starts_with("error") || it.trim().starts_with("tip");
        messages.extend(run.stderr.lines().filter(said).map(timeless));
    }
    insta::assert_snapshot!(messages.join("\n"));
}

/// Runs the binary with a terminal as its stdin, stdout and stderr.
fn on_a_terminal(arguments: &[&str]) -> (Option<i32>, String) {
    let script = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut command = std::process::Command::new("python3");
    command.args(["-c", script, env!("CARGO_BIN_EXE_flow-shim")]).args(arguments).stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_person_who_gives_no_command_gets_the_help() {
    let (code, text) = on_a_terminal(&[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("Usage:") && text.contains("flow-shim preview --shim shims/demo"), "{text}");
}

#[test]
fn errors_of_a_connector_that_nobody_reads_any_more_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    // As a container engine does when its output is closed.
    let case = "A container.\n\n== read\n%on TERM resume\n%repeat 9 {\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{\"id\":$n},\"emitted_at\":1}}\n%wait\n%stderr ERROR write unix: broken pipe\n";
    let preview = |more: &[&str]| {
        let arguments = ["preview", "--select", "users", "--limit", "5"].iter().chain(more).map(|it| (*it).to_owned());
        run(arguments.chain(scripted(folder.path(), case))).ok().stderr
    };
    assert!(!preview(&[]).contains("broken pipe"));
    assert!(preview(&["-v"]).contains("DEBUG ERROR write unix: broken pipe"));
}
