//! `flow-shim builder` with a Python that plays a script instead of the CDK.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::builder::{Builder, Reply};
use crate::command::{flow_shim, path_without_sops};

const SECRET: &str = "s3cret-of-the-builder";

/// A manifest whose calls the scripted Python answers so.
fn manifest(script: &Value) -> Value {
    let properties = json!({"token": {"type": "string", "airbyte_secret": true}, "tenant": {"type": "string", "airbyte_secret": true}});
    json!({"version": "6.0.0", "type": "DeclarativeSource", "streams": [], "script": script,
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": properties}}})
}

fn body(script: &Value) -> Value {
    json!({"manifest": manifest(script), "config": {"token": SECRET}, "stream_name": "users"})
}

fn scripted() -> Builder {
    Builder::start(&["--python", "fixtures/scripted-python"], &[])
}

fn answer(script: &Value) -> Value {
    json!({"answer": script})
}

/// The answer of the CDK to a test read.
fn read(records: &Value, state: &Value) -> Value {
    let request = json!({"url": "http://x", "headers": {}, "http_method": "GET", "body": null});
    let page =
        json!({"records": records, "request": request, "response": {"status": 200, "body": "[]", "headers": {}}});
    let state = json!([{"type": "STREAM", "stream": {"stream_descriptor": {"name": "users", "namespace": null}, "stream_state": state}, "global_": null, "data": null, "sourceStats": {"recordCount": 9.0}}]);
    json!({
        "read": {
            "logs": [], "slices": [{"pages": [page], "slice_descriptor": "{}", "state": state, "auxiliary_requests": []}],
            "test_read_limit_reached": false, "auxiliary_requests": [], "inferred_schema": null,
            "inferred_datetime_formats": {}, "latest_config_update": null,
        },
        "stream": {
            "name": "users", "supported_sync_modes": ["full_refresh", "incremental"], "source_defined_cursor": true,
            "default_cursor_field": ["at"], "source_defined_primary_key": [["id"]], "namespace": null,
            "json_schema": {"type": "object", "properties": {
                "id": {"type": "integer"}, "at": {"type": "string", "format": "date-time"}, "kind": {"type": "string", "enum": ["a"]},
            }},
        },
    })
}

#[test]
fn both_of_airbytes_servers_are_spoken() {
    let builder = scripted();
    let detail = |reply: &Reply| (reply.status, reply.body["detail"].clone());
    for path in ["/health", "/health/"] {
        assert_eq!(builder.get(path).ok(), json!({"status": "ok"}));
    }
    for path in ["/capabilities", "/capabilities/"] {
        assert_eq!(builder.get(path).ok(), json!({"custom_code_execution": false}));
    }
    for path in ["/v1/health", "/api/v1/connector_builder/health"] {
        let wanted =
            json!({"available": true, "cdk_version": "7.0.0", "capabilities": {"custom_code_execution": false}});
        assert_eq!(builder.get(path).ok(), wanted);
    }
    assert_eq!(detail(&builder.get("/v1/manifest/nothing")), (404, json!("Not Found")));
    assert_eq!(detail(&builder.get("/v1/manifest/resolve")), (405, json!("Method Not Allowed")));
    let resolved = body(&answer(&json!({"manifest": {"a": 1.50}})));
    for path in ["/v1/manifest/resolve", "/v1/manifest/resolve/", "/api/v1/connector_builder/manifest/resolve"] {
        assert_eq!(builder.post(path, &resolved).ok().to_string(), r#"{"manifest":{"a":1.5}}"#);
    }
    let found = builder.post("/v1/manifest/check", &body(&answer(&json!({"success": true, "message": null}))));
    assert_eq!(found.ok(), json!({"success": true, "message": null}));
    let mut legacy = body(&answer(&read(&json!([]), &json!({}))));
    legacy["stream"] = "users".into();
    let found = builder.post("/api/v1/connector_builder/stream/read", &legacy);
    assert_eq!(found.body["flow"]["key"], json!(["/id"]), "{found:?}");
    let unknown = json!({"error": {"kind": "unknown_stream", "message": "users", "names": ["a", "b"]}});
    let why = "the manifest has no stream \"users\": there are a, b";
    assert_eq!(detail(&builder.post("/v1/manifest/test_read", &body(&unknown))), (404, json!(why)));
    legacy["manifest"]["script"] = unknown;
    let refused = builder.post("/api/v1/connector_builder/stream/read", &legacy);
    assert_eq!((refused.status, &refused.body["message"]), (404, &json!(why)));
    assert!(refused.body["exceptionClassName"].is_string() && refused.body["exceptionStack"].is_array(), "{refused:?}");
}

#[test]
fn an_invalid_request_is_described_without_its_content() {
    let builder = scripted();
    let path = "/v1/manifest/test_read";
    for wrong in [
        json!({"manifest": SECRET, "config": {"token": SECRET}}),
        json!({"manifest": {}, "config": SECRET, "stream_name": "a"}),
        json!({"manifest": {}, "config": {"token": SECRET}, "stream_name": "a", "record_limit": 5001}),
        json!([SECRET]),
    ] {
        let reply = builder.post(path, &wrong);
        let first = &reply.body["detail"][0];
        assert!(reply.status == 422 && first["type"].is_string() && first["loc"][0] == "body", "{reply:?}");
        assert!(!reply.body.to_string().contains(SECRET) && first.get("input").is_none(), "{reply:?}");
    }
    let not_json = builder.send("POST", path, &[("content-type", "application/json")], "{\"token\": s3cret");
    assert_eq!((not_json.status, &not_json.body["detail"][0]["type"]), (422, &json!("json_invalid")));
    let form = builder.send("POST", path, &[("content-type", "text/plain")], &body(&json!({})).to_string());
    assert_eq!(form.status, 422);
    // axum's own refusals have the same form.
    assert_eq!(builder.get("/page/%ff").body["detail"], "Bad Request");
    let long = "x".repeat(3_000_000);
    builder.post("/builder/outline", &json!({"text": format!("a: {long}")})).ok();
    for path in [path, "/builder/outline"] {
        let reply = builder.send("POST", path, &[], &"x".repeat((32 << 20) + 1));
        assert_eq!((reply.status, &reply.body["detail"]), (413, &json!("the body is longer than 32 MB")));
    }
    let mut legacy = body(&json!({}));
    legacy["stream"] = "users".into();
    legacy["record_limit"] = 9999.into();
    let refused = builder.post("/api/v1/connector_builder/stream/read", &legacy);
    assert_eq!(refused.status, 400);
    assert_eq!(refused.body["message"], "Requested record limit exceeds maximum of 5000.");
}

#[test]
fn no_other_web_page_reaches_the_server() {
    let builder = scripted();
    let own = builder.host().to_owned();
    let status = |headers: &[(&str, &str)]| builder.send("POST", "/v1/manifest/check", headers, "{}").status;
    // 422: it was let through.
    assert_eq!(status(&[("host", &own)]), 422);
    assert_eq!(status(&[("host", &own), ("origin", &format!("http://{own}"))]), 422);
    assert_eq!(status(&[("host", "evil.example")]), 403);
    assert_eq!(status(&[("host", &own), ("origin", "http://evil.example")]), 403);
    assert_eq!(status(&[("host", &own), ("origin", "null")]), 403);
    assert_eq!(status(&[("host", &own), ("sec-fetch-site", "same-site")]), 403);
    assert_eq!(status(&[("host", &own), ("host", "evil.example")]), 403);
    let twice = [("host", &*own), ("origin", &*format!("http://{own}")), ("origin", "http://evil.example")];
    assert_eq!(status(&twice), 403);
    let page = builder.send("GET", "/", &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], "");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!page.text.contains("//") || !page.text.contains("http"), "the page names another host");
}

#[test]
fn beyond_the_loopback_a_token_is_required() {
    let builder = Builder::start(&["--python", "fixtures/scripted-python", "--host", "0.0.0.0"], &[]);
    let token = builder.token().expect("a token is printed").to_owned();
    for path in ["/health", "/capabilities", "/", "/page/main.js"] {
        assert_eq!(builder.get(path).status, 200, "{path}");
    }
    for path in ["/builder/start", "/v1/manifest/check"] {
        let reply = builder.get(path);
        assert_eq!((reply.status, &reply.body["detail"]), (401, &json!("Bearer token required")), "{path}");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let start = |token: &str| {
        builder.send("GET", "/builder/start", &[("authorization", &format!("Bearer {token}"))], "").status
    };
    assert_eq!((start(&token), start("wrong")), (200, 401));
    let secret = [("AB_JWT_SIGNATURE_SECRET", "k3y")];
    let signed = Builder::start(&["--python", "fixtures/scripted-python"], &secret);
    // HS256 of {"sub":"me"} with that secret.
    let jwt = jwt("k3y", r#"{"sub":"me"}"#);
    let send = |token: &str| signed.send("GET", "/builder/start", &[("authorization", &format!("Bearer {token}"))], "");
    assert_eq!(send(&jwt).status, 200);
    assert_eq!(send(&jwt[..jwt.len() - 2]).body["detail"], "Invalid token");
}

fn jwt(secret: &str, claims: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use hmac::Mac as _;
    let signed = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256"}"#), BASE64.encode(claims));
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()))
}

#[test]
fn secrets_are_masked_in_every_answer() {
    let builder = scripted();
    let records = json!([{"id": 1, "note": format!("Bearer {SECRET}"), "config": "$config"}]);
    let path = "/v1/manifest/test_read";
    let reply = builder.post(path, &body(&answer(&read(&records, &json!({"at": SECRET})))));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.text.contains("***") && !reply.text.contains(SECRET), "{reply:?}");
    assert!(reply.body["flow"]["documents"][0]["note"].as_str().is_some_and(|it| it == "Bearer ***"), "{reply:?}");
    let failed = json!({"error": {"kind": "failed", "message": format!("no access with {SECRET}"), "stack": SECRET}});
    let reply = builder.post(path, &body(&failed));
    assert_eq!((reply.status, &reply.body["detail"]), (400, &json!("no access with ***")));
    // The manifest says elsewhere what is secret.
    let phrase = json!({"type": "string", "airbyte_secret": true});
    let schema = json!({"type": "object", "properties": {"phrase": {"$ref": "#/definitions/phrase"}}});
    let spec = json!({"type": "Spec", "connection_specification": "#/definitions/schema"});
    for spec in [json!({"$ref": "#/definitions/spec"}), json!("#/definitions/spec"), spec.clone()] {
        let mut request = body(&answer(&read(&records, &json!({}))));
        request["config"] = json!({"phrase": SECRET});
        request["manifest"]["definitions"] = json!({"phrase": phrase, "schema": schema, "spec":
            {"type": "Spec", "connection_specification": {"$ref": "#/definitions/schema"}}});
        request["manifest"]["spec"] = spec;
        let reply = builder.post(path, &request);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.text.contains("***") && !reply.text.contains(SECRET), "{reply:?}");
    }
    // Also a word of the protocol may be a password.
    for word in ["records", "success", "documents"] {
        let mut request = body(&answer(&read(&json!([{"id": 1, "note": "$config"}]), &json!({}))));
        request["config"] = json!({"token": word});
        let reply = builder.post(path, &request).ok();
        assert_eq!(reply["slices"][0]["pages"][0]["records"][0]["note"]["token"], "***");
        assert_eq!(reply["flow"]["documents"][0]["note"]["token"], "***");
    }
    assert!(!builder.stop().contains(SECRET));
}

#[test]
fn limits_are_passed_on_and_records_are_cut() {
    let builder = scripted();
    let records: Vec<Value> = (1..=10).map(|id| json!({"id": id})).collect();
    let mut request = body(&answer(&read(&json!(records), &json!({"at": 1}))));
    request["record_limit"] = 4.into();
    request["page_limit"] = 2.into();
    let reply = builder.post("/v1/manifest/test_read", &request).ok();
    assert_eq!(reply["slices"][0]["pages"][0]["records"].as_array().map(Vec::len), Some(4));
    assert_eq!(reply["flow"]["documents"].as_array().map(Vec::len), Some(4));
    assert_eq!(reply["test_read_limit_reached"], true);
    assert!(builder.log().contains(r#""records": 4, "pages": 2, "slices": 5, "streams": 100"#), "{}", builder.log());
}

#[test]
fn flow_shows_what_a_capture_would_write() {
    let builder = scripted();
    let records = json!([
        {"id": 1, "at": "2026-01-01 10:00:00", "kind": "a", "tags": [{"at": 1.50}]},
        {"id": null, "at": "2026-01-02T00:00:00Z"},
        {"id": 3, "at": "2026-01-03 10:00:00+01", "_meta": {"page": 1}},
    ]);
    let reply = builder.post("/v1/manifest/test_read", &body(&answer(&read(&records, &json!({"at": "2026-01-03"})))));
    assert_eq!(reply.status, 200, "{reply:?}");
    insta::assert_snapshot!(serde_json::to_string_pretty(&reply.body["flow"]).unwrap());
}

#[test]
fn a_failed_read_is_visible_to_a_program() {
    let builder = scripted();
    let mut found = read(&json!([]), &json!({}));
    found["read"]["logs"] = json!([
        {"level": "WARN", "message": "old"}, {"level": "ERROR", "message": "HTTP Status Code: 401.", "internal_message": null, "stacktrace": null},
    ]);
    let reply = builder.post("/v1/manifest/test_read", &body(&answer(&found))).ok();
    assert_eq!(reply["flow"]["error"], "HTTP Status Code: 401.");
    // A stream whose schema could not be read.
    found["stream"] = Value::Null;
    let reply = builder.post("/v1/manifest/test_read", &body(&answer(&found))).ok();
    assert_eq!(reply["flow"]["warnings"][0]["kind"], "no-view");
}

#[test]
fn an_engine_that_dies_is_reported_and_replaced() {
    let builder = scripted();
    let reply = builder.post("/v1/manifest/resolve", &body(&json!({"exit": 3})));
    assert_eq!(reply.status, 500);
    insta::assert_snapshot!(reply.body["detail"].as_str().unwrap(), @"the CDK gave no answer: the connector ended with exit code 3: the engine has a problem");
    builder.post("/v1/manifest/resolve", &body(&answer(&json!({})))).ok();
}

#[test]
fn a_client_that_hangs_up_ends_its_process_and_all_below_it() {
    let builder = scripted();
    let never = builder.folder().join("never");
    let request = body(&json!({"wait": never, "child": true})).to_string();
    let mut client = TcpStream::connect(builder.host()).unwrap();
    let head = format!(
        "POST /v1/manifest/resolve HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
        builder.host(),
        request.len()
    );
    client.write_all((head + &request).as_bytes()).unwrap();
    let asked = builder.wait_for_log("asked");
    let child = builder.wait_for_log("child");
    drop(client);
    for pid in [asked, child] {
        crate::builder::wait_until(|| !Path::new(&format!("/proc/{pid}")).exists());
    }
    builder.post("/v1/manifest/resolve", &body(&answer(&json!({})))).ok();
}

#[test]
fn a_process_of_many_threads_is_collected() {
    let builder = scripted();
    let request = body(&json!({"threads": 200, "answer": {}}));
    for _ in 0..10 {
        builder.post("/v1/manifest/resolve", &request).ok();
    }
    // The keeper of the next process is all that stays.
    crate::builder::wait_until(|| builder.children().len() <= 1);
}

#[test]
fn there_are_no_more_calls_at_once_than_cores() {
    let builder = scripted();
    let cores = std::thread::available_parallelism().unwrap().get();
    let go = builder.folder().join("go");
    let request = body(&json!({"wait": go, "answer": {}}));
    std::thread::scope(|scope| {
        for _ in 0..cores + 2 {
            scope.spawn(|| builder.post("/v1/manifest/resolve", &request).ok());
        }
        let asked = || builder.log().lines().filter(|it| it.starts_with("asked")).count();
        crate::builder::wait_until(|| asked() == cores);
        // Nothing else is allowed to begin while these wait; a request that needs no process is answered.
        builder.get("/health").ok();
        assert_eq!(asked(), cores);
        fs::write(&go, "").unwrap();
    });
}

#[test]
fn custom_code_runs_only_with_its_flag() {
    let mut request = body(&answer(&json!({"success": true, "message": null})));
    request["manifest"]["streams"] = json!([{"retriever": {"type": "CustomRetriever", "class_name": "os.system"}}]);
    let builder = scripted();
    let checked = builder.post("/v1/manifest/check", &request).ok();
    assert_eq!(checked["success"], false);
    let refused = builder.post("/v1/manifest/discover", &request);
    assert_eq!(refused.status, 400);
    assert_eq!(refused.body["detail"], checked["message"]);
    // Where a reference finds it, or a version of the CDK; a property of that name is only a property.
    let mut hidden = request.clone();
    hidden["manifest"]["spec"]["code"] = hidden["manifest"]["streams"].take();
    hidden["manifest"]["streams"] = json!("#/spec/code");
    assert_eq!(builder.post("/v1/manifest/discover", &hidden).status, 400);
    hidden["manifest"]["spec"]["code"] = json!({"properties": {"class_name": {"type": "string"}}});
    assert_eq!(builder.post("/v1/manifest/discover", &hidden).status, 200);
    let mut components = body(&json!({}));
    components["custom_components_code"] = "import os".into();
    assert_eq!(builder.post("/v1/manifest/test_read", &components).status, 400);
    let builder = Builder::start(&["--python", "fixtures/scripted-python", "--custom-code"], &[]);
    assert_eq!(builder.get("/capabilities").ok()["custom_code_execution"], true);
    assert_eq!(builder.post("/v1/manifest/check", &request).ok()["success"], true);
}

#[test]
fn a_signal_ends_everything_and_leaves_no_files() {
    let builder = scripted();
    builder.wait_for_log("started");
    let private = || fs::read_dir(builder.folder().join("tmp")).unwrap().count();
    crate::builder::wait_until(|| private() > 0);
    let folder = builder.folder().join("tmp");
    let kept = builder.end();
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    drop(kept);
}

#[test]
fn the_page_gets_problems_at_their_lines_and_saves_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.yaml");
    fs::write(&path, "version: 1\n").unwrap();
    let builder = Builder::start(&["--python", "fixtures/scripted-python", path.to_str().unwrap()], &[]);
    let start = builder.get("/builder/start").ok();
    assert_eq!(
        (&start["name"], &start["text"], &start["can_save"]),
        (&json!("manifest.yaml"), &json!("version: 1\n"), &json!(true))
    );
    let text = "type: DeclarativeSource\nversion: \"6\"\nstreams:\n  - type: DeclarativeStream\n    name: [a]\n    retriever: {}\n";
    let found = builder.post("/builder/outline", &json!({"text": text})).ok();
    assert_eq!(found["problems"], json!([{"line": 5, "message": "[\"a\"] is not of type \"string\""}]));
    let found = builder.post("/builder/outline", &json!({"text": "a: [1\nb: 2\n"})).ok();
    assert_eq!((&found["manifest"], &found["problems"][0]["line"]), (&Value::Null, &json!(2)));
    builder.post("/builder/save", &json!({"text": text})).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_python_without_the_cdk_is_refused_in_one_sentence() {
    let mut said = Vec::new();
    for python in ["no-such-python", "/bin/true"] {
        let run = crate::command::run(["builder", "--port", "0", "--python", python]);
        assert_eq!(run.code, Some(1));
        said.push(run.last_line());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = flow_shim(["builder", "--port", "0"]);
    command.env("XDG_DATA_HOME", folder.path());
    let run = crate::command::Run::from(command.output().unwrap());
    let last = run.last_line();
    assert!(
        last.contains("Airbyte's CDK is not installed: run `") && last.contains("--python venv/bin/python"),
        "{last}"
    );
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn the_demo_opens_a_manifest_for_its_own_api() {
    let builder = Builder::start(&["--python", "fixtures/scripted-python", "--demo"], &[]);
    let start = builder.get("/builder/start").ok();
    assert!(!start.to_string().contains("demo-key"), "{start}");
    let found = builder.post("/builder/outline", &json!({"text": start["text"]})).ok();
    let names: Vec<&str> = found["streams"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["customers", "orders", "page_views"]);
    let mut api = TcpStream::connect(start["config"]["url"].as_str().unwrap().trim_start_matches("http://")).unwrap();
    api.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = "GET /orders?page=1&per_page=2&since=2026-01-01%2000:01:00 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer demo-key\r\nconnection: close\r\n\r\n";
    api.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    api.read_to_string(&mut reply).unwrap();
    let body: Value = serde_json::from_str(reply.lines().last().unwrap()).unwrap();
    let at: Vec<&str> = body["data"].as_array().unwrap().iter().filter_map(|it| it["updated_at"].as_str()).collect();
    assert_eq!(at, ["2026-01-01 00:03:00", "2026-01-01 00:04:00"], "{body}");
    // The placeholder of the page's config becomes the key again.
    let mut request = body_with(&start["config"]);
    request["manifest"]["script"] = json!({"answer": {"key": "$config"}});
    let reply = builder.post("/v1/manifest/check", &request).ok();
    assert_eq!(reply, json!({"key": {"url": start["config"]["url"], "api_key": "***"}}));
}

const SOPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/sops");

/// A builder that has the age key of the fixtures, and no `sops`.
fn with_keys(arguments: &[&str]) -> Builder {
    let keys = format!("{SOPS}/keys.txt");
    let all = [&["--python", "fixtures/scripted-python"][..], arguments].concat();
    Builder::start(&all, &[("SOPS_AGE_KEY_FILE", &keys), ("PATH", &path_without_sops())])
}

fn sops_document(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(format!("{SOPS}/{name}")).unwrap()).unwrap()
}

/// A manifest whose spec has a default, and which keeps the config that it gets.
fn keeping(kept: &Path) -> Value {
    let mut manifest = manifest(&json!({"keep": kept, "answer": {"config": "$config"}}));
    manifest["spec"]["connection_specification"]["properties"] =
        json!({"api_key": {}, "shop": {"nonsensitive": true}, "port": {"nonsensitive": true}, "pages": {"default": 3}});
    manifest
}

fn kept(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_sops_document_is_decrypted_for_the_cdk_and_masked_for_everyone_else() {
    let builder = with_keys(&[]);
    let file = builder.folder().join("kept");
    let request = json!({"manifest": keeping(&file), "config": sops_document("suffix.json")});
    let reply = builder.post("/v1/manifest/check", &request);
    assert_eq!(reply.status, 200, "{reply:?}");
    let plain = kept(&file);
    assert_eq!((&plain["api_key"], &plain["port"], plain.get("sops")), (&json!("demo-s3cret"), &json!(443), None));
    // Neither the schema nor the name says that `a` is secret.
    assert_eq!((&plain["a"], &reply.body["config"]["a"]), (&json!("second-s3cret"), &json!("***")));
    assert!(reply.body["config"]["shop"] == "corner" && !reply.text.contains("s3cret"), "{reply:?}");
    let overlaid = json!({"manifest": keeping(&file), "config": sops_document("overlay.json")});
    builder.post("/v1/manifest/discover", &overlaid).ok();
    assert_eq!((&kept(&file)["port"], kept(&file).get("shop")), (&json!(1), None));

    fs::remove_file(&file).unwrap();
    let mut said = Vec::new();
    for document in ["edited.json", "reordered.json", "no-checksum.json", "moved.json", "gcp-kms.json"] {
        let request = json!({"manifest": keeping(&file), "config": sops_document(document)});
        let reply = builder.post("/v1/manifest/check", &request);
        said.push(format!("{} {}", reply.status, reply.body["detail"].as_str().unwrap_or_default()));
    }
    let unmarked = json!({"manifest": manifest(&json!({"keep": file})), "config": sops_document("overlay.json")});
    let page = json!({"text": keeping(&file).to_string(), "config": sops_document("edited.json")});
    for (path, body) in [("/v1/manifest/check", unmarked), ("/builder/files", page)] {
        let reply = builder.post(path, &body);
        said.push(format!("{} {}", reply.status, reply.body["detail"].as_str().unwrap_or_default()));
    }
    assert!(!file.exists());
    insta::assert_snapshot!(said.join("\n"));
    assert!(!builder.stop().contains("s3cret"));
}

#[test]
fn a_config_gets_the_defaults_of_the_manifests_spec() {
    let builder = scripted();
    let file = builder.folder().join("kept");
    let check = |config: Value| {
        builder.post("/v1/manifest/check", &json!({"manifest": keeping(&file), "config": config})).ok();
        kept(&file)
    };
    assert_eq!(check(json!({"shop": "a"})), json!({"shop": "a", "pages": 3}));
    assert_eq!(check(json!({"pages": 1})), json!({"pages": 1}));
}

#[test]
fn the_page_begins_with_the_config_of_the_command_line() {
    let config = format!("{SOPS}/suffix.yaml");
    let builder = with_keys(&["--config", &config]);
    let start = builder.get("/builder/start");
    assert!(!start.text.contains("s3cret") && start.body["config"]["shop"] == "corner", "{start:?}");
    // The encrypted number as well.
    let concealed = |it: &Value| it.as_str().is_some_and(|it| it.starts_with("{flow-shim keeps this secret"));
    assert!(concealed(&start.body["config"]["api_key"]) && concealed(&start.body["config"]["nested"]["number"]));
    let file = builder.folder().join("kept");
    let request = json!({"manifest": keeping(&file), "config": start.body["config"]});
    let reply = builder.post("/v1/manifest/check", &request);
    assert!(reply.status == 200 && !reply.text.contains("s3cret"), "{reply:?}");
    let plain = kept(&file);
    assert_eq!((&plain["api_key"], &plain["nested"]["number"]), (&json!("demo-s3cret-é"), &json!(42)));
    assert!(!builder.stop().contains("s3cret"));

    // In the directory of a shim, the config beside it.
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("manifest.yaml");
    fs::write(&manifest, keeping(&file).to_string()).unwrap();
    fs::write(folder.path().join("config.yaml"), "api_key: k3y-of-the-file\nshop: beside\n").unwrap();
    let config = || with_keys(&[manifest.to_str().unwrap()]).get("/builder/start").ok()["config"].clone();
    assert_eq!(config(), json!({}));
    fs::write(folder.path().join("shim.yaml"), "").unwrap();
    let config = config();
    assert!(concealed(&config["api_key"]) && config["shop"] == "beside" && config["pages"] == 3, "{config}");

    let mut command = flow_shim(["builder", "--port", "0", "--python", "fixtures/scripted-python", "--config"]);
    command.arg(format!("{SOPS}/suffix.yaml")).env("SOPS_AGE_KEY_FILE", format!("{SOPS}/other-keys.txt"));
    let run = crate::command::Run::from(command.env("PATH", path_without_sops()).output().unwrap());
    assert!(run.code == Some(1) && run.last_line().contains("none of its age keys"), "{}", run.stderr);
}

fn body_with(config: &Value) -> Value {
    json!({"manifest": manifest(&json!({})), "config": config})
}
