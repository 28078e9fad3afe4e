//! A rotated config is sent to Flow encrypted or not at all (A18, F7).

use std::io::Write;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::{Run, flow_shim, scripted};

const SPEC: &str = r#"{"type":"SPEC","spec":{"connectionSpecification":{"type":"object","required":["refresh_token"],"properties":{"client_id":{"type":"string"},"client_secret":{"type":"string","airbyte_secret":true},"refresh_token":{"type":"string","airbyte_secret":true}}},"advanced_auth":{"auth_flow_type":"oauth2.0","oauth_config_specification":{"oauth_connector_input_specification":{"consent_url":"https://www.example.com/authorize?{{client_id_param}}","access_token_url":"https://www.example.com/token"},"complete_oauth_output_specification":{"properties":{"refresh_token":{"path_in_connector_config":["refresh_token"]}}},"complete_oauth_server_output_specification":{"properties":{"client_id":{"path_in_connector_config":["client_id"]},"client_secret":{"path_in_connector_config":["client_secret"]}}}}}}}"#;
const CONTROL: &str = r#"{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","emitted_at":1,"connectorConfig":{"config":{"client_id":"c1ient","client_secret":"s3cret-of-it","refresh_token":"r0tated-token"}}}}"#;
const SUCCEEDED: &str = r#"{"type":"CONNECTION_STATUS","connectionStatus":{"status":"SUCCEEDED"}}"#;

fn config() -> Value {
    json!({"credentials": {"client_id": "c1ient", "client_secret": "s3cret-of-it", "refresh_token": "0ld-token"}})
}

type Answer = fn(&Value) -> (u16, String);

/// An encryption service with a fixed answer; returns its address and the requests that it receives.
fn service(answer: Answer) -> (String, Arc<Mutex<Vec<Value>>>) {
    let server = tiny_http::Server::http("127.0.0.1:0").expect("a server");
    let url = format!("http://{}/v1/encrypt?key=s3cret-query", server.server_addr());
    let received = Arc::new(Mutex::new(Vec::new()));
    let keep = received.clone();
    thread::spawn(move || {
        for mut request in server.incoming_requests() {
            let sent: Value = serde_json::from_reader(request.as_reader()).expect("JSON");
            let (status, text) = answer(&sent);
            keep.lock().unwrap().push(sent);
            let _ = request.respond(tiny_http::Response::from_string(text).with_status_code(status));
        }
    });
    (url, received)
}

fn encrypted() -> Value {
    json!({"credentials": {"client_id": "c1ient", "refresh_token_sops": "ENC[x]"}, "sops": {"version": "3"}})
}

/// Serves these requests. The connector rotates its token at each check and each read.
fn serve(folder: &TempDir, requests: &[Value], url: Option<&str>) -> Run {
    let read = r#"{"type":"RECORD","record":{"stream":"users","data":{"id":1},"emitted_at":1}}"#;
    let case =
        format!("It rotates.\n\n== spec\n{SPEC}\n== check\n{CONTROL}\n{SUCCEEDED}\n== read\n{CONTROL}\n{read}\n");
    let [separator, player, path] = scripted(folder.path(), &case);
    let received = folder.path().join("received").to_string_lossy().into_owned();
    let mut command = flow_shim(["serve", &separator, &player, "--received", &received, &path]);
    command.env_remove("ENCRYPTION_URL").envs(url.map(|it| ("ENCRYPTION_URL", it)));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for request in requests {
        writeln!(stdin, "{request}").unwrap();
    }
    drop(stdin);
    let run = Run::from(child.wait_with_output().unwrap());
    for secret in ["0ld-token", "r0tated-token", "s3cret-of-it", "s3cret-query"] {
        assert!(!run.stderr.contains(secret), "{}", run.stderr);
    }
    run
}

fn validate() -> Value {
    json!({"validate": {"config": config(), "bindings": []}})
}

fn open() -> Value {
    json!({"open": {"capture": {"config": config(), "bindings": [{
        "resourceConfig": {"stream": "users", "syncMode": "incremental"},
        "resourcePath": ["users"], "stateKey": "users.v1", "collection": {"key": ["/id"]},
    }]}, "version": "1", "state": {}}})
}

fn logged(run: &Run, level: &str) -> Vec<Value> {
    let lines = run.stderr.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
    lines.filter(|it| it["level"] == level).collect()
}

fn updates(run: &Run) -> Vec<Value> {
    logged(run, "info").into_iter().filter(|it| it["fields"]["eventType"] == "configUpdate").collect()
}

#[test]
fn a_new_config_is_published_encrypted() {
    for request in [validate(), open()] {
        let folder = tempfile::tempdir().unwrap();
        let (url, received) = service(|_| (200, encrypted().to_string()));
        let run = serve(&folder, &[request], Some(&url)).ok();
        let updates = updates(&run);
        assert_eq!(updates.len(), 1, "{}", run.stderr);
        assert_eq!(updates[0]["fields"]["config"], encrypted());
        assert_eq!(updates[0]["message"], "the connector has changed its config (credentials.refresh_token)");
        let sent = received.lock().unwrap().remove(0);
        // Flow's version of the config, with Flow's schema.
        let mut want = config();
        want["credentials"]["refresh_token"] = "r0tated-token".into();
        assert_eq!(sent["config"], want);
        assert_eq!(sent["schema"]["properties"]["credentials"]["properties"]["refresh_token"]["airbyte_secret"], true);
    }
}

#[test]
fn later_requests_use_the_new_config() {
    let folder = tempfile::tempdir().unwrap();
    serve(&folder, &[validate(), json!({"discover": {"config": config()}})], None).ok();
    let given = std::fs::read_to_string(folder.path().join("received/discover/config")).unwrap();
    let given: Value = serde_json::from_str(&given).unwrap();
    assert_eq!(given["refresh_token"], "r0tated-token");
}

#[test]
fn without_a_service_the_changed_fields_are_logged() {
    for request in [validate(), open()] {
        let run = serve(&tempfile::tempdir().unwrap(), &[request], None).ok();
        let errors = logged(&run, "error");
        assert_eq!(errors.len(), 1, "{}", run.stderr);
        let want = "the connector has changed its config (credentials.refresh_token); it can't be published without ENCRYPTION_URL: update the capture's config before the old one expires";
        assert_eq!(errors[0]["message"], want);
        assert!(updates(&run).is_empty());
    }
}

#[test]
fn unencrypted_configs_are_not_published() {
    let answers: [Answer; 4] = [
        // The unencrypted config.
        |sent| (200, sent["config"].to_string()),
        // Marked as encrypted, but unencrypted.
        |sent| (200, json!({"sops": {}, "credentials": sent["config"]["credentials"]}).to_string()),
        |sent| (500, sent.to_string()),
        |_| (200, "r0tated-token".to_owned()),
    ];
    for answer in answers {
        let (url, _) = service(answer);
        let run = serve(&tempfile::tempdir().unwrap(), &[validate()], Some(&url)).ok();
        assert!(updates(&run).is_empty(), "{}", run.stderr);
        let errors = logged(&run, "error");
        assert!(errors[0]["message"].as_str().unwrap().contains("can't be published"), "{}", run.stderr);
    }
    let run = serve(&tempfile::tempdir().unwrap(), &[validate()], Some("http://127.0.0.1:9/nobody")).ok();
    assert!(logged(&run, "error")[0]["message"].as_str().unwrap().contains("can't reach http://127.0.0.1:9/nobody"));
}
