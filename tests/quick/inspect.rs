//! `flow-shim inspect` and the help texts, as a person reads them.

use serde_json::Value;

use crate::command::{run, scripted};

#[test]
fn the_demo_for_a_person() {
    let run = run(["inspect", "--shim", "shims/demo"]).ok();
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn the_demo_for_programs() {
    let run = run(["inspect", "--shim", "shims/demo", "--json"]).ok();
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    insta::assert_json_snapshot!(report);
}

#[test]
fn without_a_config_the_rest_is_shown() {
    let run = run(["inspect", "--", "flow-shim", "demo-source"]).ok();
    assert!(run.stdout.contains("unknown: use --config FILE"), "{}", run.stdout);
    assert!(run.stdout.contains("required, secret"), "{}", run.stdout);
}

#[test]
fn a_failed_discovery_shows_the_rest_and_fails() {
    let run = run(["inspect", "--config", "{\"api_key\": \"s3cret\"}", "--", "flow-shim", "demo-source"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("discovery failed with this config"), "{}", run.stdout);
    let said = "HH:MM:SS ERROR can't discover the streams: Config validation error: 'shop' is a required property";
    assert_eq!(run.last_line(), said);
}

#[test]
fn nested_fields_branches_and_unusable_keys_are_readable() {
    let folder = tempfile::tempdir().unwrap();
    let spec = serde_json::json!({"type": "SPEC", "spec": {
    "documentationUrl": "https://docs.example/shop",
    "advanced_auth": {"auth_flow_type": "oauth2.0"},
    "connectionSpecification": {
        "type": "object",
        "required": ["credentials", "start_date"],
        "definitions": {"region": {"type": "string", "enum": ["eu", "us"], "default": "eu"}},
        "properties": {
            "start_date": {"type": "string", "format": "date", "order": 0, "pattern": "^(?!x)",
                "description": "From here on, e.g. 2024-01-31. See <a href='x'>the docs</a>."},
            "region": {"$ref": "#/definitions/region"},
            "accounts": {"type": "array", "items": {"type": "object", "required": ["id"], "properties": {
                "id": {"type": "integer"}}}},
            "credentials": {"type": "object", "order": 1, "oneOf": [
                {"title": "OAuth", "required": ["refresh_token"], "properties": {
                    "auth_type": {"type": "string", "const": "oauth"},
                    "refresh_token": {"type": "string", "airbyte_secret": true, "default": "s3cret"}}},
                {"title": "Key", "properties": {
                    "auth_type": {"type": "string", "const": "key"},
                    "key": {"type": ["string", "null"], "airbyte_secret": true}}}]}
        }}}});
    let catalog = serde_json::json!({"type": "CATALOG", "catalog": {"streams": [
        {"name": "users", "namespace": "public", "supported_sync_modes": ["full_refresh", "incremental"],
            "default_cursor_field": ["changed", "at"], "source_defined_primary_key": [["tenant"], ["id"]],
            "json_schema": {"type": "object", "properties": {
                "tenant": {"type": "string"}, "id": {"type": "integer", "format": "int64"}}}},
        {"name": "tags", "supported_sync_modes": ["full_refresh"], "source_defined_primary_key": [["tag"]],
            "json_schema": {"type": "object", "properties": {"tag": {"type": "object"}}}}
    ]}});
    let case = format!("A source with a bit of everything.\n\n== spec\n{spec}\n== discover\n{catalog}\n");
    let arguments = scripted(folder.path(), &case);
    let run = run(["inspect", "--config", "{}"].map(str::to_owned).iter().chain(&arguments)).ok();
    assert!(!run.stdout.contains("s3cret"));
    let command = run.stdout.lines().nth(1).unwrap().to_owned();
    insta::assert_snapshot!(run.stdout.replace(&command, "Command        ..."));
}

#[test]
fn names_and_texts_do_not_control_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let spec = serde_json::json!({"type": "SPEC", "spec": {"connectionSpecification": {"type": "object", "properties": {
        "fi\u{1b}[31meld": {"type": "string", "description": "a\u{1b}]0;title\u{7}b"}}}}});
    let name = "st\u{1b}[2Jream\nname";
    let catalog = serde_json::json!({"type": "CATALOG", "catalog": {"streams": [
        {"name": name, "supported_sync_modes": ["full_refresh"], "json_schema": {"type": "object"}}]}});
    let record = serde_json::json!({"type": "RECORD", "record": {"stream": name, "data": {}, "emitted_at": 1}});
    let case = format!("Escapes.\n\n== spec\n{spec}\n== discover\n{catalog}\n== read\n{record}\n");
    let arguments = scripted(folder.path(), &case);
    for command in ["inspect", "preview"] {
        let run = run([command, "--config", "{}"].map(str::to_owned).iter().chain(&arguments)).ok();
        let shown = if command == "inspect" { &run.stdout } else { &run.stderr };
        assert!(!shown.contains(['\u{1b}', '\u{7}']) && shown.contains("stream name"), "{shown:?}");
    }
}

#[test]
fn help_reads_well() {
    let help: Vec<String> = ["", "serve", "preview", "inspect", "prove", "init"]
        .into_iter()
        .map(|command| {
            let arguments = [command, "--help"].into_iter().filter(|it| !it.is_empty());
            run(arguments).ok().stdout
        })
        .collect();
    insta::assert_snapshot!(help.join("\n────────\n\n"));
}

#[test]
fn programs_get_flows_discovered_response() {
    let report: serde_json::Value =
        serde_json::from_str(&run(["inspect", "--shim", "shims/demo", "--json"]).ok().stdout).unwrap();
    let bindings = report["discovered"]["bindings"].as_array().unwrap();
    assert_eq!(bindings.len(), 3);
    assert_eq!(bindings[0]["recommendedName"], "customers");
    assert_eq!(bindings[0]["documentSchema"]["x-infer-schema"], true);
}
