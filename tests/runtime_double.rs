//! The runtime double is as strict as it claims to be: a connector that breaks a rule is caught, one that does not is not.

mod runtime;

use regex::Regex;
use rustix::process::Signal;
use serde_json::{Value, json};

use runtime::{Binding, Runtime, Session, Then, When, merge_patch};

/// A connector that reads the request and then says this, on stdout and on stderr.
fn says(stdout: &str, stderr: &str, then: &str) -> Runtime {
    Runtime::new([
        "sh",
        "-c",
        r#"read request; printf '%s' "$1"; printf '%s' "$2" >&2; eval "$3""#,
        "sh",
        stdout,
        stderr,
        then,
    ])
}

fn open(runtime: &Runtime) -> Session {
    runtime.open(&[Binding::new("users", "incremental")], &json!({})).run()
}

const LOG: &str = r#"{"ts":"2026-01-01T00:00:00Z","level":"info","message":"well"}"#;

#[test]
fn a_capture_by_the_rules_is_clean() {
    let out = r#"{"opened":{}}
{"captured":{"doc":{"id":1.10}}}
{"sourcedSchema":{"documentSchema":{"type":"object"}}}
{"checkpoint":{"state":{"updated":{"a":{"b":1,"c":2}},"mergePatch":true}}}
{"captured":{"doc":{"text":"\ud83d\ude00 \\ud800"}}}
{"checkpoint":{"state":{"updated":{"a":{"b":null}},"mergePatch":true}}}
"#;
    let session = open(&says(out, &format!("{LOG}\n"), "")).expect_clean();
    assert_eq!(session.documents_of(0).collect::<Vec<_>>(), [r#"{"id":1.10}"#, r#"{"text":"\ud83d\ude00 \\ud800"}"#]);
    assert_eq!(session.state, json!({"a": {"c": 2}}));
    assert_eq!((session.checkpoints, session.sourced_schemas.len(), session.end.logs.len()), (2, 1, 1));
}

#[test]
fn each_broken_rule_is_found() {
    let opened = "{\"opened\":{}}\n";
    let cases = [
        ("F1: .*partial", format!("{opened}{{\"checkpoint\":{{}}}}"), ""),
        ("F2: .*unknown variant", format!("{opened}{{\"news\":{{}}}}\n"), ""),
        ("F2: .*unknown field", format!("{opened}{{\"checkpoint\":{{\"more\":1}}}}\n"), ""),
        ("F2: .*duplicate field", format!("{opened}{{\"captured\":{{\"doc\":{{}},\"doc\":{{}}}}}}\n"), ""),
        ("F2: ", format!("{opened}{{\"checkpoint\":{{}},\"opened\":{{}}}}\n"), ""),
        ("F2: ", format!("{opened}hello\n"), ""),
        ("Open: the first response", "{\"checkpoint\":{}}\n".to_owned(), ""),
        ("Open: it ended well and never said opened", String::new(), ""),
        ("F10", "{\"opened\":{\"explicitAcknowledgements\":true}}\n".to_owned(), ""),
        ("F8: a clean exit with 1", format!("{opened}{{\"captured\":{{\"doc\":{{}}}}}}\n"), ""),
        ("no binding 1", format!("{opened}{{\"captured\":{{\"binding\":1,\"doc\":{{}}}}}}\n"), ""),
        (
            "lone surrogate",
            format!("{opened}{{\"captured\":{{\"doc\":{{\"a\":\"\\ud800x\"}}}}}}\n{{\"checkpoint\":{{}}}}\n"),
            "",
        ),
        ("F6: .*not JSON", opened.to_owned(), "Traceback\n"),
        ("F6: .*no level", opened.to_owned(), "{\"ts\":\"\",\"level\":\"loud\",\"message\":\"\"}\n"),
        ("secrets", opened.to_owned(), "{\"ts\":\"\",\"level\":\"info\",\"message\":\"s3cret\"}\n"),
    ];
    for (rule, stdout, stderr) in cases {
        let broken = open(&says(&stdout, stderr, "").secret("s3cret")).end.broken;
        let rule = Regex::new(rule).expect("a pattern");
        assert!(broken.iter().any(|it| rule.is_match(it)), "{rule} is not among {broken:?} of {stdout}{stderr}");
    }
}

#[test]
fn what_is_left_behind_is_found() {
    let opened = "{\"opened\":{}}\n";
    let files = open(&says(opened, "", "touch $TMPDIR/config.json")).end.broken;
    assert!(matches!(files.as_slice(), [one] if one.contains("config.json")), "{files:?}");
    let orphans = open(&says(opened, "", "sleep 60 <&- >&- 2>&- &")).end.broken;
    assert!(matches!(orphans.as_slice(), [one] if one.contains("sleep 60")), "{orphans:?}");
}

#[test]
fn hooks_wait_for_what_they_are_told() {
    let stdout = "{\"opened\":{}}\n{\"captured\":{\"doc\":{}}}\n";
    let runtime = says(stdout, &format!("{LOG}\n"), "sleep 60 & wait");
    let bindings = [Binding::new("users", "incremental")];
    let opening = runtime.open(&bindings, &json!({}));
    let session = opening.when(When::Documents(1), Then::Signal(Signal::KILL)).run();
    assert_eq!(session.end.exit.code(), None);
    assert_eq!((session.documents.len(), session.uncommitted.len()), (0, 1));

    let never = runtime.open(&bindings, &json!({}));
    let never = never
        .when(When::Checkpoints(1), Then::CloseStdout)
        .when(When::Log(Regex::new("well").expect("a pattern")), Then::Signal(Signal::KILL))
        .run();
    assert!(never.end.broken.iter().any(|it| it.contains("never were 1 checkpoints")), "{:?}", never.end.broken);
}

#[test]
fn patches_merge_as_rfc_7396_says() {
    let cases = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":[null]}"#, r#"{"a":[null]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        (r#"["c"]"#, r#"{"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":"foo"}"#, "null", "null"),
    ];
    let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    for (target, patch, result) in cases {
        assert_eq!(merge_patch(value(target), value(patch)), value(result), "{target} patched by {patch}");
    }
}
