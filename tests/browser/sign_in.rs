//! A sign-in from the page, at the strict authorization server of the tests.

use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;
use tiny_http::Response;

use crate::authorization::{CLIENT_ID, CLIENT_SECRET, Rules, Server, Style};
use crate::builder::Builder;
use crate::driver::Browser;
use crate::sources::environment;

/// What the authorization server gives out.
const TOKEN: &str = "acce55-token";

/// An API that only the token opens. Returns its URL.
fn api() -> (Arc<tiny_http::Server>, String) {
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a server"));
    let url = format!("http://{}", server.server_addr());
    let serving = server.clone();
    thread::spawn(move || {
        for request in serving.incoming_requests() {
            let is_open = request
                .headers()
                .iter()
                .any(|it| it.field.equiv("Authorization") && it.value.as_str() == format!("Bearer {TOKEN}"));
            let (status, body) = match is_open {
                true => (200, json!([{"id": 1, "place": "Oslo"}])),
                false => (401, json!({"error": "this token opens nothing"})),
            };
            let _ = request.respond(Response::from_string(body.to_string()).with_status_code(status));
        }
    });
    (server, url)
}

fn manifest(api: &str, server: &str) -> Value {
    let secret = json!({"type": "string", "airbyte_secret": true});
    let place = |name: &str| json!({"type": "string", "path_in_connector_config": ["auth", name]});
    json!({
        "version": "6.48.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["stations"]},
        "streams": [{
            "type": "DeclarativeStream", "name": "stations", "primary_key": "id",
            "retriever": {
                "type": "SimpleRetriever",
                "requester": {
                    "type": "HttpRequester", "url": format!("{api}/stations"),
                    "authenticator": {"type": "BearerAuthenticator", "api_token": "{{ config['auth']['access_token'] }}"},
                },
                "record_selector": {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": []}},
            },
            "schema_loader": {"type": "InlineSchemaLoader", "schema": {"type": "object", "properties": {"id": {"type": "integer"}}}},
        }],
        "spec": {
            "type": "Spec",
            "connection_specification": {
                "type": "object", "title": "Weather", "required": ["auth"],
                "properties": {"auth": {
                    "type": "object", "title": "Login", "required": ["client_id", "client_secret", "access_token"],
                    "properties": {"client_id": secret, "client_secret": secret, "access_token": secret},
                }},
            },
            "advanced_auth": {
                "auth_flow_type": "oauth2.0",
                "oauth_config_specification": {
                    "oauth_connector_input_specification": {
                        "consent_url": format!("{server}/authorize?{{{{client_id_param}}}}&{{{{redirect_uri_param}}}}&{{{{state_param}}}}&response_type=code"),
                        "access_token_url": format!("{server}/token"),
                        "access_token_headers": {"Content-Type": "application/x-www-form-urlencoded"},
                        "access_token_params": {
                            "grant_type": "authorization_code", "code": "{{ auth_code_value }}",
                            "client_id": "{{ client_id_value }}", "client_secret": "{{ client_secret_value }}",
                            "redirect_uri": "{{ redirect_uri_value }}",
                        },
                        "extract_output": ["access_token"],
                    },
                    "complete_oauth_output_specification": {"type": "object", "properties": {"access_token": place("access_token")}},
                    "complete_oauth_server_input_specification": {
                        "type": "object", "properties": {"client_id": {"type": "string"}, "client_secret": {"type": "string"}},
                    },
                    "complete_oauth_server_output_specification": {
                        "type": "object", "properties": {"client_id": place("client_id"), "client_secret": place("client_secret")},
                    },
                },
            },
        },
    })
}

#[test]
#[ignore = "needs browser: tests/run --browser"]
fn a_sign_in_gives_a_config_that_works_and_the_page_never_has_the_token() {
    let (api, url) = api();
    let server =
        Server::start(Rules { style: Style::Form, pkce: false, names: ["client_id", "client_secret", "code"] });
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("weather.yaml");
    std::fs::write(&path, manifest(&url, &server.address).to_string()).expect("a manifest");
    let python = environment("manifest-server").join("bin/python");
    let arguments = [path.to_str().expect("a path"), "--python", python.to_str().expect("a path")];
    let builder = Builder::start(&arguments, &[]);
    let browser = Browser::open(builder.url());
    browser.wait("document.querySelectorAll('#streams li').length === 1");
    browser.click("#tab-config");
    browser.wait("document.querySelector('#sign-in')");
    browser.keys("#client-id", CLIENT_ID);
    browser.keys("#client-secret", CLIENT_SECRET);
    browser.click("#sign-in");
    browser.wait_for_text("#sign-in-status", "Signed in");
    browser.click("#test-read");
    browser.wait("document.querySelector('#records tbody')");
    assert!(browser.text("#records").contains("Oslo"));
    let page = browser.get("document.documentElement.outerHTML + JSON.stringify([...document.querySelectorAll('input')].map((it) => it.value))");
    let page = page.as_str().expect("a text");
    assert!(!page.contains(TOKEN) && !page.contains(CLIENT_SECRET), "{page}");
    assert!(!builder.stop().contains(TOKEN));
    api.unblock();
}
