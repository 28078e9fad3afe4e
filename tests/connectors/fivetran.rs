//! A connector of Fivetran's Connector SDK, run by the ready shim.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::command::run;
use crate::runtime::{Binding, Codec, Document, Runtime, Then, When, repository};
use crate::sources::{PATIENCE, environment};

/// The shim's program on the connector in `fixtures/sdk-connector`.
fn connector() -> Vec<String> {
    let python = environment("fivetran-connector-sdk").join("bin/python");
    let files = ["shims/fivetran-connector-sdk/source", "fixtures/sdk-connector"].map(|it| repository().join(it));
    [python].into_iter().chain(files).map(|it| it.display().to_string()).collect()
}

fn runtime(config: Value, codec: Codec) -> Runtime {
    let arguments = ["--protocol", "fivetran", "--"].map(str::to_owned).into_iter().chain(connector());
    Runtime::shim(arguments).config(config).patience(PATIENCE).codec(codec)
}

/// The rows of a collection after all documents were merged by key; deleted ones are absent.
fn rows(binding: &Binding, documents: &[(usize, Document)], index: usize) -> BTreeMap<String, Value> {
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    for (_, document) in documents.iter().filter(|(it, _)| *it == index) {
        let mut document: Value = serde_json::from_str(&document.text).unwrap();
        let key: Vec<String> = binding.key.iter().map(|it| document.pointer(it).unwrap().to_string()).collect();
        let meta = document.as_object_mut().unwrap().shift_remove("_meta").unwrap();
        if meta["op"] == "d" {
            rows.remove(&key.join(","));
            continue;
        }
        let row = rows.entry(key.join(",")).or_insert_with(|| json!({}));
        row.as_object_mut().unwrap().extend(document.as_object().unwrap().clone());
    }
    rows
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn a_connector_that_is_killed_loses_nothing() {
    for codec in [Codec::Json, Codec::Proto] {
        let runtime = runtime(json!({"count": "200", "pad": "100000"}), codec);
        runtime.spec();
        let discovered = runtime.discover();
        let bindings: Vec<Binding> =
            discovered["bindings"].as_array().unwrap().iter().map(Binding::of_discovered).collect();
        assert_eq!(bindings.iter().map(Binding::name).collect::<Vec<_>>(), ["types", "changes", "keyless"]);
        runtime.validate(&bindings);
        let mut state = runtime.apply(&bindings, json!({}));
        let mut documents = Vec::new();
        for session in 0..3 {
            let mut opening = runtime.open(&bindings, &state);
            if session == 0 {
                opening = opening.when(When::Documents(100), Then::Signal(Signal::KILL));
            }
            let found = opening.run();
            assert_eq!(found.end.broken, [""; 0]);
            assert_eq!(found.end.exit.code(), if session == 0 { None } else { Some(0) });
            documents.extend(found.documents.into_iter().map(|it| (it.binding, it)));
            state = found.state;
        }
        let of = |index: usize| rows(&bindings[index], &documents, index);
        let (types, changes, keyless) = (of(0), of(1), of(2));
        assert_eq!((types.len(), changes.len(), keyless.len()), (200, 160, 200));
        let mut row = types["7"].clone();
        assert_eq!(row["a_string"].take().as_str().unwrap().len(), 100_003);
        let expected = json!({
            "id": 7, "a_decimal": "7.12345", "a_boolean": false, "a_short": 7, "an_int": -7, "a_long": 9_223_372_036_854_775_800_u64,
            "a_float": 0.875, "a_double": 7.0 / 3.0, "a_date": "1969-12-31", "a_naive": "2024-01-01T12:34:56.123456",
            "a_utc": "2024-01-01T10:34:56.789Z", "a_binary": "AP8=", "an_xml": "<a/>", "a_string": null, "a_json": {"a": [7, null]},
            "undeclared": 7,
        });
        assert_eq!(row, expected);
        assert_eq!(changes["9"], json!({"id": 9, "name": "changed", "left": 1}));
        assert_eq!(state["sharedStateV1"][0]["state"], r#"{"n": 200}"#);
    }
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn it_is_proved() {
    let config = json!({"count": "200", "pad": "100000"}).to_string();
    let options = ["prove", "--protocol", "fivetran", "--config", &config, "--kills", "2", "--json", "--"];
    let run = run(options.map(str::to_owned).into_iter().chain(connector())).ok();
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["verdict"], "nothingLost", "{report:#}");
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn an_exception_is_one_sentence() {
    let runtime = runtime(json!({"count": "5", "flaw": "error"}), Codec::Json);
    let bindings = [Binding::of_resource(json!({"stream": "keyless"})).key(["/_fivetran_id"])];
    let session = runtime.open(&bindings, &json!({})).run();
    assert_eq!(session.end.exit.code(), Some(1));
    assert!(session.end.last_message().ends_with("boom"), "{}", session.end.last_message());
    assert_eq!(session.documents.len(), 0);
}
