//! Resource configs of this and earlier wrappers: Flow checks those of existing bindings against our schema at each session
//! (F18, F29), so the schema accepts what Validate accepts, and refuses nothing else.

use std::fs;

use serde_json::{Value, json};

use crate::runtime::{Binding, Runtime, repository};

fn shim(protocol: &str, case: &str) -> Runtime {
    let file = |path: &str| repository().join("fixtures").join(path).to_string_lossy().into_owned();
    let any = format!("conversations/{case}.case");
    Runtime::shim(["--protocol", protocol, "--", &file("scripted-source"), &file(&any)])
        .config(json!({"api_key": "k3y-of-the-tests"}))
}

fn check(protocol: &str, case: &str) {
    let text = fs::read_to_string(repository().join("fixtures/resource-configs.json")).expect("the fixture");
    let configs: Value = serde_json::from_str(&text).expect("JSON");
    let configs = |kind: &str| configs[protocol][kind].as_array().expect("a list").clone();
    let shim = shim(protocol, case);
    let schema = shim.spec()["resourceConfigSchema"].clone();
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    for config in configs("accepted") {
        let refused: Vec<String> = schema.iter_errors(&config).map(|it| it.to_string()).collect();
        assert_eq!(refused, [""; 0], "{config}");
        let name = config["tap_stream_id"].as_str().or(config["stream"].as_str()).expect("a name").to_owned();
        let namespace = config["namespace"].as_str().map(str::to_owned);
        let path: Vec<String> = namespace.into_iter().chain([name]).collect();
        let validated = shim.validate(&[Binding::of_resource(config.clone())]);
        assert_eq!(validated["bindings"], json!([{"resourcePath": path}]), "{config}");
    }
    for config in configs("refused") {
        assert!(!schema.is_valid(&config), "the schema accepts {config}");
        let answer = shim.ask_validate(&[Binding::of_resource(config.clone())]);
        assert!(!answer.end.exit.success() && answer.responses.is_empty(), "Validate accepts {config}");
    }
}

#[test]
fn airbytes_schema_and_validate_agree() {
    check("airbyte", "apply_does_nothing");
}

#[test]
fn singers_schema_and_validate_agree() {
    check("singer", "singer_apply_converts_capture_shims_state");
}

#[test]
fn fivetrans_schema_and_validate_agree() {
    check("fivetran", "fivetran_rows_become_documents");
}
