//! States: damaged ones fail the capture and stay as they are, and those of any shape and size come back.

use std::fs;
use std::time::Duration;

use flow_shim::strict::Binding;
use serde_json::{Value, json};

use super::fault::few;
use super::report::Tried;
use super::script::{MODES, Mode, Script, of_lines, protocols};
use super::session::{Desk, Setup};
use super::tries::of_session;

/// Cells of the first stream that no version has written.
fn cells() -> Vec<(&'static str, Value)> {
    vec![
        ("a state that is a text", json!({"rowId": 7, "state": "corrupt"})),
        ("an empty list", json!({"rowId": 7, "state": []})),
        ("a list of two", json!({"rowId": 7, "state": [{"pos": 7}, {"pos": 8}]})),
        ("no rowId", json!({"state": [{"pos": 7}]})),
        ("rowId null", json!({"rowId": null, "state": [{"pos": 7}]})),
        ("a negative rowId", json!({"rowId": -1, "state": [{"pos": 7}]})),
        ("a bare object", json!({"rowId": 7, "state": {"pos": 7}})),
        ("a cell that is a number", json!(7)),
        ("a cell that is a list", json!([{"pos": 7}])),
    ]
}

/// Of sources only: a tap's bookmarks may have any shape.
fn sources() -> Vec<(&'static str, Value)> {
    let cell = json!({"alpha.v0": {"rowId": 7, "state": [{"pos": 7}]}});
    let shared = |it: Value| json!({"bindingStateV1": cell, "sharedStateV1": it});
    vec![
        (
            "a state of CaptureShim without its stream",
            json!({"bindingStateV1": {"alpha.v0": {"rowId": 7, "state": {"type": "STREAM"}}}}),
        ),
        ("a shared state that is an object", shared(json!({"type": "GLOBAL", "shared_state": {"lsn": 9}}))),
        ("a shared state that is a text", shared(json!("x"))),
        ("a shared state that is an empty list", shared(json!([]))),
        ("a shared state of an unknown type", shared(json!([{"type": "GLOBULE", "shared_state": {"lsn": 9}}]))),
        ("states that are a list", json!({"bindingStateV1": []})),
        ("states that are a text", json!({"bindingStateV1": "x"})),
    ]
}

/// Of Fivetran connectors only.
fn servers() -> Vec<(&'static str, Value)> {
    let shared = |it: Value| json!({"bindingStateV1": {"alpha.v0": {"rowId": 7}}, "sharedStateV1": it});
    vec![
        ("a shared state that is a text", shared(json!(["x"]))),
        ("a shared state without its text", shared(json!([{"tables": "0011223344556677"}]))),
        ("a shared state that is not a text", shared(json!([{"state": {"n": 1}, "tables": "0011223344556677"}]))),
        (
            "a hash of tables that is a number",
            json!({
                "bindingStateV1": {"alpha.v0": {"rowId": 7, "state": [{"tables": 7}]}},
                "sharedStateV1": [{"state": "{}", "tables": "0011223344556677"}],
            }),
        ),
    ]
}

/// What wrappers before this one kept at the top of Flow's state, or in cells, and what became of it.
fn legacy() -> Vec<(&'static Mode, (&'static str, Value))> {
    let (source, tap) = (&MODES[0], &MODES[1]);
    vec![
        (source, ("a state of airbyte-to-flow that is a text", json!({"alpha": "2024-01-01"}))),
        (source, ("a state of airbyte-to-flow that is a number", json!({"alpha": 7, "beta": {"pos": 7}}))),
        (source, ("a state of airbyte-to-flow that is a list", json!({"alpha": [{"pos": 7}]}))),
        (
            source,
            ("a state of airbyte-to-flow that is true, beside cells", json!({"alpha": true, "bindingStateV1": {}})),
        ),
        (source, ("states of airbyte-to-flow that are a list", json!([{"alpha": {"pos": 7}}]))),
        (source, ("states of airbyte-to-flow that are a text", json!("alpha"))),
        (
            source,
            (
                "a row id of CaptureShim that is a text",
                json!({"bindingStateV1": {"alpha.v0": {"rowId": "7",
                "state": {"type": "STREAM", "stream": {"stream_descriptor": {"name": "alpha"}, "stream_state": {"pos": 7}}}}}}),
            ),
        ),
        (
            source,
            (
                "a state of CaptureShim of an unknown type",
                json!({"bindingStateV1": {"alpha.v0": {"rowId": 7,
                "state": {"type": "GLOBULE", "globule": {}}}}}),
            ),
        ),
        (
            source,
            (
                "a state of CaptureShim whose stream is a text",
                json!({"bindingStateV1": {"alpha.v0": {"rowId": 7,
                "state": {"type": "STREAM", "stream": "alpha"}}}}),
            ),
        ),
        (tap, ("a cell of flow_sdk that is a text", json!({"bindingStateV1": {"alpha.v0": "2024-01-01"}}))),
        (
            tap,
            (
                "a cell of flow_sdk whose row counter is negative",
                json!({"bindingStateV1": {"alpha.v0": {"replication_key": "id", "estuary.dev/rowCounter": -1}}}),
            ),
        ),
        (tap, ("states of flow_sdk that are a list", json!({"bindingStateV1": [{"replication_key": "id"}]}))),
    ]
}

pub fn damaged(most: usize) -> Vec<Tried> {
    let in_a_cell = |(name, cell)| (name, json!({"bindingStateV1": {"alpha.v0": cell}}));
    let of_all = protocols().iter().flat_map(|mode| cells().into_iter().map(in_a_cell).map(move |it| (mode, it)));
    let tap = json!({"bindingStateV1": {"alpha.v0": {"replication_key": "id", "estuary.dev/rowCounter": "x"}}});
    let all = of_all.chain(sources().into_iter().map(|it| (&MODES[0], it)));
    let all = all.chain([(&MODES[1], ("a row counter of flow_sdk that is a text", tap))]);
    let all = all.chain(legacy()).chain(servers().into_iter().map(|it| (&MODES[2], it)));
    let each = all.take(few(most)).map(|(mode, (name, state))| {
        let desk = Desk::new();
        let case = desk.case(mode, &[mode.wire.row("alpha", json!({"id": 8})).to_string()]);
        let seen = Setup { state: &state, ..Setup::new(mode, &desk, &case) }.run();
        let mut tried = of_session(format!("{}: {name}", mode.name), &seen);
        if seen.exit.code() != Some(1) || !seen.last.contains("backfill") {
            tried.wrong.push(format!("{}: {name}: {}: {}", mode.name, seen.exit, seen.last));
        }
        if seen.state["bindingStateV1"]["alpha.v0"] != state["bindingStateV1"]["alpha.v0"] || !seen.documents.is_empty()
        {
            tried.wrong.push(format!("{}: {name}: it was overwritten", mode.name));
        }
        tried.wrong.extend(seen.wrong);
        tried
    });
    each.collect()
}

/// The message of a state of the first stream.
fn message(mode: &Mode, state: &Value) -> Value {
    let mut message = mode.wire.state(0, &[1, 0], mode.states);
    for place in ["/value/bookmarks/alpha", "/state/stream/stream_state"] {
        if let Some(it) = message.pointer_mut(place) {
            *it = state.clone();
        }
    }
    message
}

/// What a connector is given after it has sent a state.
fn returned(mode: &'static Mode, name: &str, lines: &[String], place: &str) -> (Tried, Value) {
    let desk = Desk::new();
    let case = desk.case(mode, lines);
    let seen = Setup::new(mode, &desk, &case).run();
    let mut tried = of_session(format!("{}: {name}", mode.name), &seen);
    let second = Setup { act: 2, state: &seen.state, ..Setup::new(mode, &desk, &case) }.run();
    for it in [&seen, &second] {
        if !it.exit.success() {
            tried.wrong.push(format!("{}: {name}: {}: {}", mode.name, it.exit, it.last));
        }
        tried.wrong.extend(it.wrong.iter().cloned());
    }
    let text = fs::read_to_string(desk.path("received-2/read/state")).unwrap_or_default();
    let given: Value = serde_json::from_str(&text).unwrap_or_default();
    let given = given.pointer(place).cloned().unwrap_or(json!("nothing was given"));
    (tried, given)
}

fn place_of(mode: &Mode) -> &'static str {
    if mode.wire.arguments().is_empty() { "/0/stream/stream_state" } else { "/bookmarks/alpha" }
}

pub fn shapes(most: usize) -> Vec<Tried> {
    let shapes = [
        json!({"pos": {"a": [null, {"b": null}]}}),
        json!([1, [2], {}]),
        json!("text"),
        json!(12.50),
        json!(true),
        json!({}),
    ];
    let all = of_lines().iter().flat_map(|mode| shapes.iter().map(move |it| (mode, it)));
    let each = all.take(few(most)).map(|(mode, shape)| {
        let stranger = mode.wire.row("gamma", json!({"id": 1})).to_string();
        let lines = [
            stranger,
            message(mode, &json!({"an": "earlier one", "that": "is longer"})).to_string(),
            message(mode, shape).to_string(),
        ];
        let (mut tried, given) = returned(mode, &shape.to_string(), &lines, place_of(mode));
        if given != *shape {
            tried.wrong.push(format!("{}: the state {shape} came back as {given}", mode.name));
        }
        tried
    });
    each.collect()
}

pub fn large(_: usize) -> Vec<Tried> {
    const SIZE: usize = 50_000_000;
    let each = of_lines().iter().map(|mode| {
        let line = message(mode, &json!({"pad": "$x(50000000)"})).to_string();
        let (mut tried, given) = returned(mode, "50 MB", &[format!("%line {line}")], place_of(mode));
        let length = given["pad"].as_str().map_or(0, str::len);
        if length != SIZE {
            tried.wrong.push(format!("{}: {length} bytes of the state came back", mode.name));
        }
        tried
    });
    each.chain([too_large()]).collect()
}

/// Flow's transport takes no message above 64 MiB: a failure says so.
fn too_large() -> Tried {
    let mode = &MODES[0];
    let desk = Desk::new();
    let line = message(mode, &json!({"pad": "$x(70000000)"})).to_string();
    let case = desk.case(mode, &[mode.wire.row("alpha", json!({"id": 1})).to_string(), format!("%line {line}")]);
    let seen = Setup::new(mode, &desk, &case).run();
    let mut tried = of_session("70 MB".to_owned(), &seen);
    if seen.exit.code() != Some(1) || seen.last.is_empty() || !seen.documents.is_empty() {
        tried.wrong.push(format!("a state of 70 MB: {}, {} documents: {}", seen.exit, seen.documents.len(), seen.last));
    }
    tried.wrong.extend(seen.wrong);
    tried
}

pub fn many_streams(_: usize) -> Vec<Tried> {
    const COUNT: usize = 10_000;
    let names: Vec<String> = (0..COUNT).map(|it| format!("stream_{it}")).collect();
    let each = protocols().iter().map(|mode| {
        let desk = Desk::new();
        let mut discovered = mode.wire.discovered(mode);
        for place in ["/catalog/streams", "/streams", "/without_schema/tables"] {
            if let Some(Value::Array(all)) = discovered.pointer_mut(place) {
                let one = all[0].clone();
                *all = names.iter().map(|name| named(&one, name)).collect();
            }
        }
        let lines: Vec<String> = names.iter().map(|name| mode.wire.row(name, json!({"id": 1})).to_string()).collect();
        let prologue = Script::short(mode).prologue("Many streams.");
        let prologue = prologue.split("== discover").next().unwrap_or_default();
        let case = desk.path("many.case");
        let text = format!("{prologue}== discover\n{discovered}\n\n=== open\n== read\n{}\n", lines.join("\n"));
        fs::write(&case, text).expect("a file");
        let bindings = names.iter().map(|name| Binding::of_resource(mode.wire.resource(name, mode)).key(["/id"]));
        let patience = Duration::from_secs(600);
        let seen = Setup { patience, ..Setup::new(mode, &desk, &case) }.run_with(&bindings.collect::<Vec<_>>());
        let mut tried = of_session(mode.name.to_owned(), &seen);
        if !seen.exit.success() || seen.documents.len() != COUNT {
            tried.lost += (COUNT - seen.documents.len()) as u64;
            tried.wrong.push(format!(
                "{}: {}, {} documents: {}",
                mode.name,
                seen.exit,
                seen.documents.len(),
                seen.last
            ));
        }
        tried.wrong.extend(seen.wrong);
        tried
    });
    each.collect()
}

/// A discovered stream with another name.
fn named(stream: &Value, name: &str) -> Value {
    let mut stream = stream.clone();
    for member in ["name", "stream", "tap_stream_id"] {
        if stream.get(member).is_some() {
            stream[member] = name.into();
        }
    }
    stream
}
