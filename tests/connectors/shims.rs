//! Ready-made shims around their connectors.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::command::{Run, flow_shim};
use crate::runtime::{Binding, Runtime, Session, repository};
use crate::sources::{PATIENCE, environment, tap};

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
        check_example(name, schema);
        if name != "tap-rest-api-msdk" {
            assert_eq!(schema["properties"]["password"]["secret"], json!(true));
        }
    }
}

/// Checks that a shim's config.json is what the config schema expects.
pub fn check_example(name: &str, schema: &Value) {
    let path = repository().join("shims").join(name).join("config.json");
    let config: Value = serde_json::from_str(&fs::read_to_string(path).expect("an example config")).expect("JSON");
    let validator = jsonschema::validator_for(schema).expect("a schema");
    let errors: Vec<String> =
        validator.iter_errors(&config).map(|it| format!("{it} at {}", it.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {}", errors.join("; "));
}

/// tap-github reads a server of its own, as it would a GitHub Enterprise Server.
#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn tap_github_reads_issues_incrementally() {
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a server"));
    let address = format!("http://{}", server.server_addr());
    let serving = server.clone();
    let service = std::thread::spawn(move || {
        for request in serving.incoming_requests() {
            let (path, query) = request.url().split_once('?').expect("a query");
            let answer = match path {
                "/graphql" => json!({"data": {
                    "repo0": {"nameWithOwner": "acmeCo/shop", "databaseId": 7}, "rateLimit": {"cost": 1},
                }}),
                "/repos/acmeCo/shop" => json!({
                    "id": 7, "name": "shop", "owner": {"login": "acmeCo"}, "updated_at": "2024-01-03T00:00:00Z",
                }),
                "/repos/acmeCo/shop/issues" => {
                    let mut issues = vec![issue(1), issue(2)];
                    if query.contains("since=2024-01-02") {
                        issues[0] = issue(3);
                    }
                    issues.into()
                }
                other => panic!("{other}"),
            };
            request.respond(tiny_http::Response::from_string(answer.to_string())).expect("a connection");
        }
    });
    let path = format!("{}:{}", environment("tap-github").join("bin").display(), std::env::var("PATH").unwrap());
    let shim = repository().join("shims/tap-github").display().to_string();
    let config =
        json!({"repositories": ["acmeCo/shop"], "start_date": "2024-01-01T00:00:00Z", "api_url_base": address});
    let runtime = Runtime::shim(["--shim".to_owned(), shim]).env("PATH", path).config(config).patience(PATIENCE);
    let properties = &runtime.spec()["configSchema"]["properties"];
    for secret in ["auth_token", "additional_auth_tokens", "auth_app_keys", "org_auth_app_keys"] {
        assert_eq!(properties[secret]["secret"], true, "{secret}");
    }
    let discovered = runtime.discover();
    let bindings: Vec<Binding> =
        discovered["bindings"].as_array().expect("bindings").iter().map(Binding::of_discovered).collect();
    let bindings: Vec<Binding> = bindings.into_iter().filter(|it| it.name() == "issues").collect();
    let first = runtime.open(&bindings, &json!({})).run().expect_clean();
    let second = runtime.open(&bindings, &first.state).run().expect_clean();
    let ids = |session: &Session| -> Vec<Value> {
        let documents = session.documents_of(0).map(|it| serde_json::from_str::<Value>(it).expect("JSON"));
        documents.map(|it| it["id"].clone()).collect()
    };
    assert_eq!((ids(&first), ids(&second)), (vec![json!(101), json!(102)], vec![json!(103), json!(102)]));
    server.unblock();
    service.join().expect("the service");
}

/// An issue that was changed on that day.
fn issue(day: u64) -> Value {
    json!({
        "id": 100 + day, "number": day, "title": "an issue", "body": null, "type": null,
        "created_at": "2024-01-01T00:00:00Z", "updated_at": format!("2024-01-0{day}T00:00:00Z"),
    })
}
