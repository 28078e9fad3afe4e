//! OAuth templates: Airbyte's (Jinja) are translated to Flow's (Mustache), which are rendered.
#![no_main]

use flow_shim::oauth::{Declaration, OAuthSetting, derive, mustache};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let variables = json!({"client_id": "id", "config": {"tenant": "a b"}, "expires_in": 3600, "code": "c&d"});
    let _ = mustache::render(text, &variables, Timestamp::UNIX_EPOCH);
    let _ = mustache::variables(text);
    let schema = json!({"type": "object", "properties": {"credentials": {"type": "object", "properties": {
        "client_id": {"type": "string"}, "client_secret": {"type": "string"}, "refresh_token": {"type": "string"}}}}});
    let at = |name: &str| json!({"path_in_connector_config": ["credentials", name]});
    let advanced_auth = json!({"auth_flow_type": "oauth2.0", "oauth_config_specification": {
        "oauth_connector_input_specification": {
            "consent_url": text, "access_token_url": text, "access_token_headers": {"x": text}, "access_token_params": {"x": text}},
        "complete_oauth_output_specification": {"properties": {"refresh_token": at("refresh_token")}},
        "complete_oauth_server_output_specification": {"properties": {"client_id": at("client_id"), "client_secret": at("client_secret")}},
    }});
    let declaration = Declaration { schema: &schema, advanced_auth: Some(&advanced_auth), auth_specification: None };
    if let Some(oauth2) = derive(&declaration, &OAuthSetting::Unsaid).oauth2 {
        let url = oauth2["authUrlTemplate"].as_str().expect("a template");
        mustache::variables(url).expect("what is translated is a Mustache template");
    }
});
