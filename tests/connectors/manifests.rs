//! `shims/declarative-manifest` around manifests with files beside them, and with OAuth URLs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::authorization::{CLIENT_ID, CLIENT_SECRET, Rules, Server, Style, browser};
use crate::runtime::{Runtime, repository};
use crate::sources::{PATIENCE, environment};
use crate::weather::Weather;

const KEY: &str = "k3y-of-the-weather";
/// What the authorization server of the tests gives out.
const TOKEN: &str = "acce55-token";

/// An extractor whose records tell that they come from it.
const COMPONENTS: &str = "
from dataclasses import dataclass
from airbyte_cdk.sources.declarative.extractors.dpath_extractor import DpathExtractor

@dataclass
class Marked(DpathExtractor):
    def extract_records(self, response):
        for record in super().extract_records(response):
            yield {**record, 'is_marked': True}
";

/// A copy of the shim with that manifest.
fn shim(manifest: &Value) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for name in ["shim.yaml", "source"] {
        let original = repository().join("shims/declarative-manifest").join(name);
        fs::copy(original, folder.path().join(name)).expect("a file of the shim");
    }
    write(folder.path(), "manifest.yaml", &manifest.to_string());
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file");
}

/// A manifest without a spec, whose streams read the service's stations. `streams` are names and extractors.
fn manifest(token: &str, streams: &[(&str, Value)]) -> Value {
    let checked = streams[0].0;
    let streams = streams.iter().map(|(name, extractor)| {
        json!({
            "type": "DeclarativeStream",
            "name": name,
            "primary_key": ["id"],
            "retriever": {
                "type": "SimpleRetriever",
                "requester": {
                    "type": "HttpRequester",
                    "url_base": "{{ config['url'] }}",
                    "path": "/stations",
                    "authenticator": {"type": "BearerAuthenticator", "api_token": token},
                },
                "record_selector": {"type": "RecordSelector", "extractor": extractor},
            },
            "schema_loader": {
                "type": "InlineSchemaLoader",
                "schema": {"type": "object", "properties": {"id": {"type": "integer"}}},
            },
        })
    });
    json!({
        "version": "6.5.2",
        "type": "DeclarativeSource",
        "streams": streams.collect::<Vec<_>>(),
        "check": {"type": "CheckStream", "stream_names": [checked]},
    })
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn components_and_spec_beside_a_manifest_are_used() {
    // The module names in published manifests.
    let modules = [
        "components",
        "source_declarative_manifest.components",
        "source_weather.components",
        "source_climate.components.components",
    ];
    let streams = modules.map(|it| {
        let class = format!("{it}.Marked");
        (it, json!({"type": "CustomRecordExtractor", "class_name": class, "field_path": ["data"]}))
    });
    let service = Weather::start(KEY);
    let properties = json!({"url": {"type": "string"}, "api_key": {"type": "string", "airbyte_secret": true}});
    let schema = json!({"type": "object", "required": ["url", "api_key"], "properties": properties});
    // An old and a new CDK; the spec as a manifest and as a connector has it.
    for (cdk, file, member) in [
        ("declarative-manifest", "spec.yaml", "connection_specification"),
        ("hardcoded-records", "spec.json", "connectionSpecification"),
    ] {
        let shim = shim(&manifest("{{ config['api_key'] }}", &streams));
        write(shim.path(), "components.py", COMPONENTS);
        write(shim.path(), file, &json!({ member: schema }).to_string());
        let path = format!("{}:{}", environment(cdk).join("bin").display(), std::env::var("PATH").expect("a PATH"));
        let runtime = Runtime::shim(["--shim".as_ref(), shim.path().as_os_str()]).env("PATH", path);
        let runtime = runtime.config(json!({"url": service.url, "api_key": KEY})).secret(KEY).patience(PATIENCE);
        let spec = runtime.spec();
        assert_eq!(spec["configSchema"]["properties"]["api_key"], properties["api_key"], "{file}: {spec}");
        let documents = runtime.full_capture(1).remove(0).documents;
        let streams: BTreeSet<usize> = documents.iter().map(|it| it.binding).collect();
        assert_eq!((streams.len(), documents.len()), (modules.len(), 4 * modules.len()), "{cdk}");
        assert!(documents.iter().all(|it| it.text.ends_with(r#""is_marked":true}"#)), "{cdk}: {documents:?}");
    }
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn a_manifest_that_declares_its_oauth_urls_signs_in() {
    let service = Weather::start(TOKEN);
    let names = ["client_id", "client_secret", "code"];
    let server = Server::start(Rules { style: Style::Form, pkce: false, names });
    let extractor = json!({"type": "DpathExtractor", "field_path": ["data"]});
    let mut manifest = manifest("{{ config['auth']['access_token'] }}", &[("stations", extractor)]);
    manifest["spec"] = spec(&server.address);
    let shim = shim(&manifest);

    let python = environment("hardcoded-records").join("bin/python");
    let source = [Path::new("--shim"), shim.path(), Path::new("--"), &python, &shim.path().join("source")];
    let source = source.map(|it| it.to_str().expect("a path").to_owned());
    let signed_in = browser::sign_in(&json!({"url": service.url}), &source);
    let credentials = json!({"access_token": TOKEN, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET});
    assert_eq!(signed_in, json!({"url": service.url, "credentials": credentials}));

    let runtime = Runtime::shim(source).config(signed_in).secret(TOKEN).secret(CLIENT_SECRET).patience(PATIENCE);
    let spec = runtime.spec();
    assert!(spec["oauth2"]["authUrlTemplate"].as_str().is_some_and(|it| it.starts_with(&server.address)), "{spec}");
    let sessions = runtime.full_capture(1);
    assert_eq!(sessions[0].documents.len(), 4);
}

/// A spec that declares the complete OAuth flow of the server at this address.
fn spec(server: &str) -> Value {
    let secret = json!({"type": "string", "airbyte_secret": true});
    let place = |name: &str| json!({"type": "string", "path_in_connector_config": ["auth", name]});
    json!({
        "type": "Spec",
        "connection_specification": {
            "type": "object",
            "required": ["url", "auth"],
            "properties": {
                "url": {"type": "string"},
                "auth": {
                    "type": "object",
                    "required": ["client_id", "client_secret", "access_token"],
                    "properties": {"client_id": secret, "client_secret": secret, "access_token": secret},
                },
            },
        },
        "advanced_auth": {
            "auth_flow_type": "oauth2.0",
            "oauth_config_specification": {
                "oauth_connector_input_specification": {
                    "consent_url": format!("{server}/authorize?{{{{client_id_param}}}}&{{{{redirect_uri_param}}}}&{{{{state_param}}}}&{{{{scope_param}}}}&response_type=code"),
                    "scope": "read:all write",
                    "access_token_url": format!("{server}/token"),
                    "access_token_headers": {"Content-Type": "application/x-www-form-urlencoded"},
                    "access_token_params": {
                        "grant_type": "authorization_code", "code": "{{ auth_code_value }}",
                        "client_id": "{{ client_id_value }}", "client_secret": "{{ client_secret_value }}",
                        "redirect_uri": "{{ redirect_uri_value }}",
                    },
                    "extract_output": ["access_token"],
                },
                "complete_oauth_output_specification": {
                    "type": "object", "properties": {"access_token": place("access_token")},
                },
                "complete_oauth_server_input_specification": {
                    "type": "object", "properties": {"client_id": {"type": "string"}, "client_secret": {"type": "string"}},
                },
                "complete_oauth_server_output_specification": {
                    "type": "object", "properties": {"client_id": place("client_id"), "client_secret": place("client_secret")},
                },
            },
        },
    })
}
