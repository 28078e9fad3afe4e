//! `flow-shim init`: the generated directory works unchanged and contains no values of the given config.

use std::fs;

use serde_json::json;

use crate::command::{Desk, scripted};

#[test]
fn the_demo_is_written_once_and_works_at_once() {
    let desk = Desk::new();
    desk.write("config.json", r#"{"shop": "corner-coffee", "api_key": "demo-s3cret", "count": 12}"#);
    // Belongs to another connector and is not touched.
    desk.write("shim.yaml", "documentationUrl: https://elsewhere.example\nspec: {patch: {required: []}}\n");
    let arguments =
        ["init", "--airbyte", "source-demo", "--config", "config.json", "shims/demo", "--", "flow-shim", "demo-source"];
    let run = desk.run(arguments).ok();
    let all = desk.all("shims/demo");
    assert!(!all.contains("s3cret"), "{all}");
    insta::assert_snapshot!(run.stdout + "\n" + &all);

    let flow = desk.yaml("shims/demo/flow.yaml");
    let capture = &flow["captures"]["acmeCo/source-demo/capture"];
    assert_eq!(capture["endpoint"]["local"]["config"], json!({"shop": "TODO", "api_key": "TODO"}));
    assert_eq!(capture["bindings"].as_array().map(Vec::len), Some(3));
    for binding in capture["bindings"].as_array().expect("bindings") {
        let collection = &flow["collections"][binding["target"].as_str().expect("a target")];
        assert!(
            collection["key"].is_array()
                && collection["writeSchema"].is_object()
                && collection["readSchema"].is_object(),
            "{binding}"
        );
    }

    let shown = desk.run(["inspect", "--shim", "shims/demo"]).ok();
    assert!(shown.stdout.contains("required, secret"), "{}", shown.stdout);
    let preview = desk.run(["preview", "--shim", "shims/demo", "--config", "config.json"]).ok();
    assert_eq!(preview.count("customers"), 12);

    let again = desk.run(arguments);
    assert_eq!(again.code, Some(1));
    let said = "HH:MM:SS ERROR shims/demo/shim.yaml already exists: nothing was written";
    assert_eq!(again.last_line(), said);
    assert_eq!(desk.all("shims/demo"), all);
}

#[test]
fn nothing_is_written_if_a_file_exists_or_the_connector_fails() {
    let desk = Desk::new();
    fs::create_dir(desk.path("a")).expect("a folder");
    desk.write("a/README.md", "mine");
    let run = desk.run(["init", "--airbyte", "source-demo", "a", "--", "flow-shim", "demo-source"]);
    assert!(run.last_line().contains("a/README.md already exists"), "{}", run.stderr);
    assert_eq!(fs::read_dir(desk.path("a")).expect("a folder").count(), 1);

    let wrong = ["init", "--airbyte", "source-demo", "--config", "{}", "b", "--", "flow-shim", "demo-source"];
    let run = desk.run(wrong);
    assert_eq!(run.code, Some(1));
    assert!(run.last_line().contains("can't discover the streams: "), "{}", run.stderr);
    let run = desk.run(["init", "--airbyte", "source-demo", "b", "--", "false"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let run = desk.run(["init", "--singer", "tap-that-nobody-has", "b"]);
    assert!(run.last_line().contains("tap-that-nobody-has/bin/pip install tap-that-nobody-has"), "{}", run.stderr);
    assert!(!desk.path("b").exists());
}

#[test]
fn commented_oauth_settings_work_when_uncommented() {
    let desk = Desk::new();
    let pointer = |name: &str| json!({"type": "string", "path_in_connector_config": ["credentials", name]});
    let spec = json!({"type": "SPEC", "spec": {
        "documentationUrl": "https://docs.example/shop",
        "advanced_auth": {"auth_flow_type": "oauth2.0", "oauth_config_specification": {
            "complete_oauth_output_specification": {"type": "object", "properties": {"refresh_token": pointer("refresh_token")}},
            "complete_oauth_server_output_specification": {"type": "object", "properties": {
                "client_id": pointer("client_id"), "client_secret": pointer("client_secret")}}}},
        "connectionSpecification": {"type": "object", "required": ["credentials"], "properties": {
            "credentials": {"type": "object", "required": ["client_id", "client_secret", "refresh_token"], "properties": {
                "client_id": {"type": "string", "airbyte_secret": true},
                "client_secret": {"type": "string", "airbyte_secret": true},
                "refresh_token": {"type": "string", "airbyte_secret": true}}}}}}});
    let case = format!("A source that declares OAuth without URLs.\n\n== spec\n{spec}\n");
    let source = scripted(desk.folder(), &case);
    let arguments = ["init", "--airbyte", "source-shop", "shop"].map(str::to_owned);
    desk.run(arguments.iter().chain(&source)).ok();
    insta::assert_snapshot!(
        desk.read("shop/shim.yaml").lines().filter(|it| !it.starts_with("command")).collect::<Vec<_>>().join("\n")
    );
    let before = desk.run(["inspect", "--shim", "shop"]).ok().stdout;
    assert!(before.contains("no sign-in: "), "{before}");
    desk.uncomment("shop/shim.yaml", "oauth2:");
    let after = desk.run(["inspect", "--shim", "shop"]).ok().stdout;
    assert!(after.contains("sign-in with "), "{after}\n{}", desk.read("shop/shim.yaml"));
}

#[test]
fn a_tap_without_a_description_gets_the_start_of_one() {
    let desk = Desk::new();
    let source = scripted(desk.folder(), "A tap.\n\n== discover\n{\"streams\": []}\n");
    let config = r#"{"api_key": "s3cret-of-the-api", "start_date": "2024-01-01"}"#;
    let arguments = ["init", "--singer", "tap-shop", "--config", config, "shop"].map(str::to_owned);
    desk.run(arguments.iter().chain(&source)).ok();
    assert!(!desk.all("shop").contains("s3cret"));
    assert!(!desk.run(["inspect", "--shim", "shop"]).ok().stdout.contains("Start date"));
    desk.uncomment("shop/shim.yaml", "configSchema:");
    let shown = desk.run(["inspect", "--shim", "shop"]).ok().stdout;
    assert!(shown.contains("Start date") && shown.contains("required, secret"), "{shown}");
}

#[test]
fn airbyte_to_flow_files_become_a_shim_yaml() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("source-x/streams")).expect("folders");
    desk.write("source-x/spec.patch.json", r#"{"required": ["api_key"], "properties": {"start": null}}"#);
    desk.write("source-x/streams/users.pk.json", r#"["id"]"#);
    desk.write("source-x/selected_streams.json", r#"["users"]"#);
    desk.write("source-x/run_interval_minutes.json", "90\n");
    let said = desk.run(["init", "--from-atf", "source-x"]).ok().stdout;
    desk.write("source-x/Dockerfile", "ENV AIRBYTE_TO_FLOW_STATE_FORMAT=per_stream\n");
    fs::rename(desk.path("source-x/shim.yaml"), desk.path("bare.yaml")).expect("a file");
    desk.run(["init", "--from-atf", "source-x"]).ok();
    assert_eq!(desk.read("bare.yaml"), desk.read("source-x/shim.yaml") + "stateFormat: bare\n");

    let texts = [said, desk.read("bare.yaml"), desk.run(["init", "--from-atf", "."]).last_line().to_owned()];
    desk.write("source-x/omitted_streams.json", "[\"a\",\n 7]");
    fs::remove_file(desk.path("source-x/shim.yaml")).expect("a file");
    let broken = desk.run(["init", "--from-atf", "source-x"]);
    insta::assert_snapshot!(texts.join("\n") + "\n" + &broken.last_line());
}

#[test]
fn the_current_directory_can_be_written_to() {
    let desk = Desk::new();
    let run = desk.run(["init", "--airbyte", "source-demo", ".", "--", "flow-shim", "demo-source"]).ok();
    assert!(run.stdout.contains("-f ./Dockerfile ."), "{}", run.stdout);
    assert!(desk.path("shim.yaml").exists() && desk.path("flow.yaml").exists());
    let missing = desk.run(["init", "--from-atf", "nosuchdir"]);
    assert_eq!(missing.last_line(), "HH:MM:SS ERROR there is no directory nosuchdir");
    assert!(!desk.path("nosuchdir").exists());
}
