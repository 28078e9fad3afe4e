//! The runtime double is as strict as it claims: it detects connectors that break a rule and accepts those that do not.

use flow_shim::strict::{merge_patch, proto};
use regex::Regex;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::runtime::{Binding, Codec, Runtime, Session, Then, When};

/// A connector that reads the request, then prints this on stdout and stderr.
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

/// A binding that accepts any document.
fn binding() -> Binding {
    Binding::new("users", "incremental").key([""; 0])
}

fn open(runtime: &Runtime) -> Session {
    runtime.open(&[binding()], &json!({})).run()
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

/// The broken rules in a capture whose collection requires an integer `/id` and a string `/name`.
fn captured(messages: &[Value]) -> Vec<String> {
    let mut binding = Binding::new("users", "incremental").key(["/id"]);
    binding.schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    let lines: String = messages.iter().map(|it| format!("{it}\n")).collect();
    let runtime = says(&format!("{{\"opened\":{{}}}}\n{lines}{{\"checkpoint\":{{}}}}\n"), "", "");
    runtime.open(&[binding], &json!({})).run().end.broken
}

fn expect_found(broken: &[String], rule: &str) {
    let found = Regex::new(rule).expect("a pattern");
    assert!(broken.iter().any(|it| found.is_match(it)), "{rule} is not among {broken:?}");
}

#[test]
fn documents_that_do_not_fit_their_collection_are_found() {
    let document = |doc: Value| captured(&[json!({"captured": {"doc": doc}})]);
    assert_eq!(document(json!({"id": 1, "name": "Ada", "_meta": {"op": "c"}})), [""; 0]);
    expect_found(&document(json!({"name": "Ada"})), "lacks its key /id");
    expect_found(&document(json!({"id": null})), "lacks its key /id");
    expect_found(&document(json!({"id": {}})), "lacks its key /id");
    expect_found(&document(json!({"id": 1, "name": 2})), "does not fit the schema .* at /name");
    expect_found(&document(json!({"id": 1, "_meta": {"op": "x"}})), "has the operation \"x\"");
    let twice = "{\"opened\":{}}\n{\"captured\":{\"doc\":{\"a\":{\"b\":1,\"b\":1.5}}}}\n{\"checkpoint\":{}}\n";
    expect_found(&open(&says(twice, "", "")).end.broken, "the member b is there twice");
}

#[test]
fn backfill_messages_that_do_not_stand_alone_are_found() {
    let (begin, complete) = (json!({"backfillBegin": {}}), json!({"backfillComplete": {"binding": 0}}));
    let (checkpoint, document) = (json!({"checkpoint": {}}), json!({"captured": {"doc": {"id": 1}}}));
    let sent = |messages: &[&Value]| captured(&messages.iter().map(|it| (*it).clone()).collect::<Vec<_>>());
    let alone = [&document, &checkpoint, &begin, &checkpoint, &document, &checkpoint, &complete];
    assert_eq!(sent(&alone), [""; 0]);
    expect_found(&sent(&[&document, &begin]), "Q14: .*Begin of binding 0 does not stand alone");
    expect_found(&sent(&[&begin, &document]), "Q14: a document or schema after the backfill Begin");
    expect_found(&sent(&[&begin, &complete]), "Q14: .*Complete of binding 0 does not stand alone");
    expect_found(&sent(&[&begin, &checkpoint, &document, &complete]), "Q14: .*Complete");
    expect_found(&sent(&[&complete]), "Complete of binding 0 completes what has not begun");
    expect_found(&sent(&[&json!({"backfillBegin": {"binding": 1}})]), "no binding 1");
    let lines = format!("{{\"opened\":{{}}}}\n{begin}\n{checkpoint}\n");
    let broken = says(&lines, "", "").open(&[binding()], &json!({})).shard(0, 2).run().end.broken;
    expect_found(&broken, "Q15");
}

#[test]
fn sourced_schemas_that_are_open_or_unknown_to_flow_are_found() {
    let sourced = |schema: Value| captured(&[json!({"sourcedSchema": {"documentSchema": schema}})]);
    let inner = json!({"type": "object", "properties": {"x": {}}});
    let closed = |more: Value| {
        let mut schema =
            json!({"type": "object", "additionalProperties": false, "properties": {"a": {"type": "string"}}});
        schema.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        sourced(schema)
    };
    assert_eq!(closed(json!({})), [""; 0]);
    expect_found(&sourced(inner.clone()), "F12: / declares properties and is not closed");
    for place in ["items", "oneOf", "properties"] {
        let within = match place {
            "items" => json!({"properties": {"a": {"type": "array", "items": inner}}}),
            "oneOf" => json!({"properties": {"a": {"oneOf": [inner, {"type": "string"}]}}}),
            _ => json!({"properties": {"a": inner}}),
        };
        expect_found(&closed(within), "F12: /properties/a.*is not closed");
    }
    expect_found(&closed(json!({"$defs": {"x": inner}, "properties": {"a": {"$ref": "#/$defs/x"}}})), "F12: .*ref");
    expect_found(&closed(json!({"required": ["b"]})), "F12: / requires b");
    expect_found(&closed(json!({"type": "string"})), "F12: / .*not the type object");
    expect_found(&closed(json!({"airbyte_type": "x"})), "airbyte_type is an unknown keyword");
    for (name, value) in [
        ("format", json!("timestamp")),
        ("type", json!(["string", "string"])),
        ("type", json!("text")),
        ("required", json!(true)),
        ("order", json!(1.5)),
        ("pattern", json!("^(?!x)")),
        ("items", json!([])),
        ("items", json!(1)),
        ("properties", json!([])),
    ] {
        expect_found(&closed(json!({"properties": {"a": {name: value}}})), &format!("schema: .*/a/{name} "));
    }
}

/// The broken rules in a valid answer with this value replaced.
fn answered(right: &Value, place: &str, value: Value) -> Vec<String> {
    let mut response = right.clone();
    *response.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = value;
    says(&format!("{response}\n"), "", "").ask_spec().end.broken
}

#[test]
fn a_spec_that_flow_refuses_is_found() {
    let text = json!({"type": "string", "secret": true});
    let right = json!({"spec": {
        "protocol": 3_032_023, "documentationUrl": "https://docs.example.com", "resourcePathPointers": ["/stream"],
        "configSchema": {"type": "object", "required": ["credentials"], "properties": {"credentials": {
            "discriminator": {"propertyName": "kind"}, "oneOf": [
                {"x-oauth2-provider": "acme", "properties": {"kind": {"const": "a", "default": "a"},
                    "client_id": text, "client_secret": text, "access_token": text}},
                {"properties": {"kind": {"const": "b", "default": "b"}}}]}}},
        "resourceConfigSchema": {"type": "object"},
        "oauth2": {"provider": "acme", "authUrlTemplate": "x", "accessTokenUrlTemplate": "y",
            "accessTokenResponseMap": {"access_token": "/access_token"}},
    }});
    assert_eq!(answered(&right, "/spec/protocol", json!(3_032_023)), [""; 0]);
    let login = "/spec/configSchema/properties/credentials/oneOf/0";
    for (place, value, rule) in [
        ("/spec/protocol", json!(1), "F3"),
        ("/spec/documentationUrl", json!("docs"), "spec: the documentation"),
        ("/spec/resourcePathPointers", json!([]), "F17"),
        ("/spec/resourceConfigSchema/type", json!("array"), "spec: resourceConfigSchema"),
        ("/spec/oauth2/provider", json!(""), "oauth2: provider is missing"),
        ("/spec/oauth2/accessTokenResponseMap", json!({}), "oauth2: accessTokenResponseMap"),
        ("/spec/oauth2", json!({"tokenUrl": "z"}), "oauth2: tokenUrl is an unknown field"),
        ("/spec/configSchema/required", json!([]), "oauth2: .*require credentials"),
        (&format!("{login}/x-oauth2-provider"), json!("other"), "oauth2: x-oauth2-provider is another"),
        (&format!("{login}/properties/access_token"), json!({}), "oauth2: credentials.access_token is not"),
        (&format!("{login}/properties/kind/default"), json!("c"), "oauth2: the discriminator"),
        (login, json!({}), "oauth2: 0 objects"),
    ] {
        expect_found(&answered(&right, place, value), rule);
    }
}

#[test]
fn a_discovery_that_flow_refuses_is_found() {
    let binding = |name: &str| {
        json!({"recommendedName": name, "resourceConfig": {"stream": name}, "key": ["/a/id"], "documentSchema": {
            "type": "object", "required": ["a"], "properties": {"a": {
                "type": "object", "required": ["id"], "properties": {"id": {"type": ["string", "number"]}}}}}})
    };
    let right = json!({"discovered": {"bindings": [binding("one two"), binding("three")]}});
    let first = "/discovered/bindings/0";
    assert_eq!(answered(&right, &format!("{first}/key"), json!(["/a/id"])), [""; 0]);
    let (schema, inner) = (format!("{first}/documentSchema"), format!("{first}/documentSchema/properties/a"));
    for (place, value, rule) in [
        (format!("{first}/recommendedName"), json!(" "), "F16: .* is blank"),
        (format!("{first}/recommendedName"), json!("!three"), "F16: .*the same"),
        (format!("{first}/resourceConfig"), json!({"stream": "three"}), "F17"),
        (format!("{first}/resourceConfig"), json!({}), "F17"),
        (format!("{schema}/type"), json!(["object"]), "F13"),
        (format!("{first}/documentSchema"), json!({"type": "object", "additionalProperties": false}), "F13.*forbids"),
        (format!("{first}/key"), json!([]), "F14: .*empty"),
        (format!("{first}/key"), json!(["/a/id", "/a/id"]), "F14: .*repeats"),
        (format!("{first}/key"), json!(["a"]), "F14: .*not a JSON pointer"),
        (format!("{first}/key"), json!(["/a"]), "F14: .*types"),
        (format!("{schema}/required"), json!([]), "F14: .*a required"),
        (format!("{inner}/type"), json!(["object", "null"]), "F14: .*may not be an object"),
        (format!("{inner}/properties"), json!({}), "F14: .*does not declare id"),
        (format!("{inner}/properties/id/type"), json!(["string", "null"]), "F14: .*types"),
        (format!("{inner}/properties/id/type"), json!("number"), "F14: .*types"),
    ] {
        expect_found(&answered(&right, &place, value), rule);
    }
}

#[test]
fn leftover_processes_and_files_are_found() {
    let opened = "{\"opened\":{}}\n";
    let files = open(&says(opened, "", "touch $TMPDIR/config.json")).end.broken;
    expect_found(&files, "files: left behind: .*/config.json");
    let exposed =
        open(&says(opened, "", "echo > $TMPDIR/a; chmod 644 $TMPDIR/a; sleep 1; echo >&2; rm $TMPDIR/a")).end.broken;
    expect_found(&exposed, "files: others can read .*/a");
    let orphans = open(&says(opened, "", "sleep 60 <&- >&- 2>&- &")).end.broken;
    assert!(matches!(orphans.as_slice(), [one] if one.contains("sleep 60")), "{orphans:?}");
}

#[test]
fn hooks_wait_for_their_condition() {
    let stdout = "{\"opened\":{}}\n{\"captured\":{\"doc\":{}}}\n";
    let runtime = says(stdout, &format!("{LOG}\n"), "sleep 60 & wait");
    let bindings = [binding()];
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

#[test]
fn the_codecs_are_translated_as_flow_does() {
    let examples: Value = serde_json::from_str(include_str!("../../fixtures/flow-messages.json")).expect("JSON");
    let each = |kind: &str| examples[kind].as_array().expect("a list").clone().into_iter();
    for request in each("requests") {
        assert_eq!(hex(&proto::frame(&request["json"]).expect("a frame")), request["frame"], "{}", request["name"]);
    }
    for response in each("responses") {
        let frame = bytes(response["frame"].as_str().expect("a text"));
        let line = proto::line(&frame[4..]).expect("a message");
        assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON"), response["json"], "{}", response["name"]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.replace(' ', "");
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// A connector that reads a request of protobuf, then prints these frames.
fn sends(frames: &str) -> Runtime {
    let script = r#"head -c 4 > /dev/null; printf '%b' "$1""#;
    let escaped: String = bytes(frames).iter().map(|it| format!("\\0{it:03o}")).collect();
    Runtime::new(["sh", "-c", script, "sh", &escaped]).codec(Codec::Proto)
}

#[test]
fn each_broken_rule_of_protobuf_is_found() {
    const OPENED: &str = "020000002a00";
    const CHECKPOINT: &str = "020000003a00";
    let captured = |message: &str| format!("{OPENED}{message}{CHECKPOINT}");
    let session = open(&sends(&captured("060000003204 12027b7d"))).expect_clean();
    assert_eq!(session.documents_of(0).collect::<Vec<_>>(), ["{}"]);
    for (rule, frames) in [
        ("F1: .*partial", format!("{OPENED}0200")),
        ("F1: .*partial", format!("{OPENED}040000003a00")),
        ("Q7", captured("00000000")),
        // Unknown, zero, repeated, a wrong wire type.
        ("Q4: a field is unknown", captured("02000000 5a00")),
        ("Q4: a field is unknown", captured("080000003206 0800 12027b7d")),
        ("Q4: a field is unknown", captured("080000003206 1200 12027b7d")),
        ("Q4: failed to decode", captured("02000000 3001")),
        ("Q11: .*not JSON", captured("060000003204 12027b7b")),
    ] {
        expect_found(&open(&sends(&frames)).end.broken, rule);
    }
}
