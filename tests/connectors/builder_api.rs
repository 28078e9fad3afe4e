//! `flow-shim builder` and the CDK's own manifest server, asked the same: what differs is intended (docs/builder.md).

use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use tiny_http::{Response, Server};

use crate::builder::{Builder, wait_until};
use crate::sources::environment;

const TOKEN: &str = "t0ken-of-the-customers";

/// The API that the manifest below reads: customers in pages of three, the orders of each, and kinds that are streams.
struct Api {
    server: Arc<Server>,
    url: String,
}

impl Api {
    fn start() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").expect("a server"));
        let url = format!("http://{}", server.server_addr());
        let serving = server.clone();
        thread::spawn(move || {
            for request in serving.incoming_requests() {
                let authorized = request
                    .headers()
                    .iter()
                    .any(|it| it.field.equiv("Authorization") && it.value.as_str() == format!("Bearer {TOKEN}"));
                let (status, body) = match authorized {
                    true => answer(request.url()),
                    false => (401, json!({"error": "no such token"})),
                };
                let _ = request.respond(Response::from_string(body.to_string()).with_status_code(status));
            }
        });
        Self { server, url }
    }

    fn config(&self) -> Value {
        json!({"base_url": self.url, "token": TOKEN})
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

fn answer(url: &str) -> (u16, Value) {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let page = query.split('&').find_map(|it| it.strip_prefix("page=")?.parse().ok()).unwrap_or(1);
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["customers"] => {
            let row = |id: usize| json!({"id": id, "name": format!("name-{id}"), "updated_at": format!("2024-01-0{id}T00:00:00Z"), "balance": id as f64 * 1.5});
            (200, json!({"data": (1..=8).skip((page - 1) * 3).take(3).map(row).collect::<Vec<_>>(), "page": page}))
        }
        ["customers", id, "orders"] => {
            let row = |n: u8| json!({"order": format!("o{id}-{n}"), "customer_id": id, "amount": n * 10});
            (200, json!({"data": [row(1), row(2)]}))
        }
        ["kinds"] => (200, json!([{"kind": "red"}, {"kind": "blue"}, {"kind": "green"}])),
        ["kind", kind] => (200, json!({"data": [{"id": 1, "kind": kind}]})),
        ["broken"] => (500, json!({"error": "boom"})),
        _ => (404, json!({"error": "not found"})),
    }
}

fn manifest() -> Value {
    serde_saphyr::from_str(include_str!("../../fixtures/manifests/customers.yaml")).expect("YAML")
}

/// The CDK's server.
struct ManifestServer(Child, String);

impl ManifestServer {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let program = environment("manifest-server").join("bin/manifest-server");
        let mut command = Command::new(program);
        command.args(["start", "--host", "127.0.0.1", "--port", &port.to_string()]);
        command.env_remove("AB_JWT_SIGNATURE_SECRET").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self(command.spawn().expect("the manifest server runs"), format!("http://127.0.0.1:{port}"));
        wait_until(|| send(&server.1, "GET", "/health/", None).is_some());
        server
    }
}

impl Drop for ManifestServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The status and the body; none if nobody listens.
fn send(server: &str, method: &str, path: &str, body: Option<&str>) -> Option<(u16, Value)> {
    let agent: ureq::Agent = ureq::Agent::config_builder().max_redirects(0).http_status_as_error(false).build().into();
    let url = format!("{server}{path}");
    let sent = match (method, body) {
        ("POST", Some(body)) => agent.post(url).header("content-type", "application/json").send(body),
        _ => agent.get(url).call(),
    };
    let mut response = sent.ok()?;
    let mut text = String::new();
    response.body_mut().as_reader().read_to_string(&mut text).ok()?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Some((response.status().as_u16(), body))
}

/// The requests of the recorded conversations, by name.
fn cases(config: &Value) -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let all = manifest();
    let mut plain = all.clone();
    plain.as_object_mut().expect("an object").shift_remove("dynamic_streams");
    let post = |name, path, members: &[(&str, Value)]| {
        let mut body = json!({"manifest": plain, "config": config});
        for (name, value) in members {
            body[*name] = value.clone();
        }
        (name, "POST", path, body)
    };
    let (check, discover) = ("/v1/manifest/check", "/v1/manifest/discover");
    let (resolve, full, read) = ("/v1/manifest/resolve", "/v1/manifest/full_resolve", "/v1/manifest/test_read");
    let stream = |name: &str| ("stream_name", json!(name));
    let mut wrong = config.clone();
    wrong["token"] = "a-wrong-t0ken".into();
    let mut normalized = plain.clone();
    normalized["__should_normalize"] = true.into();
    let invalid = json!({"version": "6.0.0", "type": "DeclarativeSource", "streams": [{"type": "DeclarativeStream"}], "check": {"type": "CheckStream", "stream_names": ["a"]}});
    let state = json!([{"type": "STREAM", "stream": {"stream_descriptor": {"name": "customers"}, "stream_state": {"updated_at": "2024-01-05T00:00:00Z"}}}]);
    let nothing = json!(null);
    vec![
        ("health", "GET", "/health/", nothing.clone()),
        ("health without slash", "GET", "/health", nothing.clone()),
        ("capabilities", "GET", "/capabilities/", nothing.clone()),
        ("resolve with a slash", "POST", "/v1/manifest/resolve/", json!({"manifest": plain})),
        ("unknown path", "GET", "/v1/manifest/nothing", nothing.clone()),
        ("wrong method", "GET", "/v1/manifest/resolve", nothing),
        post("check", check, &[]),
        post("check, bad token", check, &[("config", wrong.clone())]),
        post("check, config misses a field", check, &[("config", json!({"base_url": config["base_url"]}))]),
        post("check, invalid manifest", check, &[("manifest", invalid.clone())]),
        post("discover", discover, &[("manifest", all.clone())]),
        post("resolve", resolve, &[("manifest", all.clone())]),
        post("resolve, normalized", resolve, &[("manifest", normalized)]),
        post("full_resolve", full, &[("manifest", all.clone()), ("stream_limit", json!(2))]),
        post("test_read", read, &[stream("customers")]),
        post("test_read, record_limit 4", read, &[stream("customers"), ("record_limit", json!(4))]),
        post("test_read, page_limit 1", read, &[stream("customers"), ("page_limit", json!(1))]),
        post("test_read, substream", read, &[stream("orders"), ("slice_limit", json!(2))]),
        post("test_read, state", read, &[stream("customers"), ("state", state), ("page_limit", json!(1))]),
        post(
            "test_read, not a state",
            read,
            &[stream("customers"), ("state", json!([{"a": 1}])), ("page_limit", json!(1))],
        ),
        post("test_read, HTTP 500", read, &[stream("broken")]),
        post("test_read, bad token", read, &[stream("customers"), ("config", wrong)]),
        post("test_read, unknown stream", read, &[stream("nope")]),
        post("test_read, dynamic stream", read, &[stream("kind_red"), ("manifest", all)]),
        post("test_read, record_limit 0", read, &[stream("customers"), ("record_limit", json!(0))]),
        post("test_read, record_limit 5001", read, &[stream("customers"), ("record_limit", json!(5001))]),
        post("test_read, no stream_name", read, &[]),
        post("test_read, text for a manifest", read, &[stream("customers"), ("manifest", json!("version: 6.0.0"))]),
        post("test_read, null for a config", read, &[stream("customers"), ("config", Value::Null)]),
        post("test_read, invalid manifest", read, &[stream("a"), ("manifest", invalid)]),
        ("body is not JSON", "POST", "/v1/manifest/resolve", json!("{not json")),
    ]
}

/// What differs, place by place; items of an array share a place.
fn differences(theirs: &Value, ours: &Value, at: &str, found: &mut BTreeSet<String>) {
    let text = |value: &Value| {
        let text = value.to_string();
        text.char_indices().nth(160).map_or(text.clone(), |(end, _)| format!("{}…", &text[..end]))
    };
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for name in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
                let at = format!("{at}/{name}");
                match (theirs.get(name), ours.get(name)) {
                    (Some(theirs), Some(ours)) => differences(theirs, ours, &at, found),
                    (Some(theirs), None) => drop(found.insert(format!("{at}: only theirs: {}", text(theirs)))),
                    // What flow-shim adds.
                    (None, Some(_)) if name == "flow" => drop(found.insert(format!("{at}: only ours"))),
                    (None, Some(ours)) => drop(found.insert(format!("{at}: only ours: {}", text(ours)))),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            theirs.iter().zip(ours).for_each(|(theirs, ours)| differences(theirs, ours, &format!("{at}/*"), found));
        }
        // Of other programs, or of the moment: an internal message quotes headers.
        _ if ["/stacktrace", "/Date", "/internal_message"].iter().any(|it| at.ends_with(it)) => {}
        _ if theirs != ours => drop(found.insert(format!("{at}: {} | {}", text(theirs), text(ours)))),
        _ => {}
    }
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn the_builder_answers_as_the_manifest_server_apart_from_what_is_intended() {
    let api = Api::start();
    let theirs = ManifestServer::start();
    let python = environment("manifest-server").join("bin/python");
    let ours = Builder::start(&["--python", python.to_str().expect("a path")], &[]);
    let ours_url = ours.url().trim_end_matches('/').to_owned();
    let mut report = Vec::new();
    for (name, method, path, body) in cases(&api.config()) {
        let body = match &body {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            body => Some(body.to_string()),
        };
        let [theirs, ours] = [&theirs.1, &ours_url]
            .map(|server| send(server, method, path, body.as_deref()).unwrap_or_else(|| panic!("{name}: no response")));
        let mut found = BTreeSet::new();
        if theirs.0 != ours.0 {
            found.insert(format!("status: {} | {}", theirs.0, ours.0));
        }
        differences(&theirs.1, &ours.1, "", &mut found);
        let found: Vec<String> = found.iter().map(|it| format!("\n  {it}")).collect();
        report.push(format!("{name}{}", if found.is_empty() { "\n  the same".to_owned() } else { found.concat() }));
        assert!(!ours.1.to_string().contains(TOKEN), "{name}");
    }
    let report = report.join("\n").replace(&api.url, "URL").replace(TOKEN, "TOKEN");
    insta::assert_snapshot!(report);
}
