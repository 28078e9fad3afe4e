//! Ready-made shims around their connectors.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::command::{Run, flow_shim};
use crate::runtime::{Runtime, repository};
use crate::sources::{environment, tap};

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn a_manifest_beside_the_shim_is_a_source_of_its_own() {
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
    let url = format!("http://{}", server.server_addr());
    let serving = server.clone();
    let service = std::thread::spawn(move || {
        for request in serving.incoming_requests() {
            let rows = match request.url() {
                "/users" => json!([{"id": 1, "name": "Ada"}, {"id": 2, "name": "Grace"}]),
                "/todos" => json!([{"id": 3, "userId": 1, "title": "note G", "completed": true}]),
                other => panic!("{other}"),
            };
            request.respond(tiny_http::Response::from_string(rows.to_string())).unwrap();
        }
    });
    let python = environment("declarative-manifest").join("bin");
    let path = format!("{}:{}", python.display(), std::env::var("PATH").unwrap());
    let shim_run = |command: &str| {
        let arguments = [command, "--shim", "shims/declarative-manifest", "--config"].map(str::to_owned);
        let config = json!({"url": url}).to_string();
        Run::from(flow_shim(arguments.into_iter().chain([config])).env("PATH", &path).output().unwrap()).ok()
    };
    let inspected = shim_run("inspect").stdout;
    // The config schema is the manifest's, not that of Airbyte's manifest runner.
    assert!(inspected.contains("JSONPlaceholder") || inspected.contains("Address"), "{inspected}");
    assert!(!inspected.contains("__injected_declarative_manifest"), "{inspected}");
    let previewed = shim_run("preview");
    assert_eq!((previewed.count("users"), previewed.count("todos")), (2, 1));
    server.unblock();
    service.join().unwrap();
}

/// The shims' own files, with the taps of tests/setup in the PATH.
#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn the_shims_are_ready_to_use() {
    for (name, program, environment) in [
        ("postgres", "tap-postgres", "pipelinewise-tap-postgres"),
        ("mysql", "tap-mysql", "pipelinewise-tap-mysql"),
        ("tap-rest-api-msdk", "tap-rest-api-msdk", "tap-rest-api-msdk"),
    ] {
        let [program] = tap(environment, program).try_into().expect("a program");
        let path = Path::new(&program).parent().expect("a folder").display().to_string();
        let path = format!("{path}:{}", std::env::var("PATH").expect("a PATH"));
        let shim = repository().join("shims").join(name);
        let runtime = Runtime::shim(["--shim".to_owned(), shim.display().to_string()]).env("PATH", path);
        let schema = &runtime.spec()["configSchema"];
        let config: Value = fs::read_to_string(shim.join("config.json"))
            .map(|text| serde_json::from_str(&text).expect("an example config"))
            .expect("an example config");
        let validator = jsonschema::validator_for(schema).expect("a schema");
        assert!(validator.is_valid(&config), "{name}: the example is not what the schema wants");
        if name != "tap-rest-api-msdk" {
            assert_eq!(schema["properties"]["password"]["secret"], json!(true));
        }
    }
}
