//! `flow-shim oauth` against a strict authorization server.

use serde_json::{Value, json};

use crate::authorization::{CLIENT_ID, CLIENT_SECRET, Rules, Server, Style, browser};
use crate::command::{run, scripted};
use crate::specs;

const NAMES: [&str; 3] = ["client_id", "client_secret", "code"];

/// One style of OAuth declaration.
struct Case {
    rules: Rules,
    templates: Value,
    config: Value,
    /// The expected credentials, without the client's.
    want: Value,
}

fn spec(templates: &Value, outputs: &Value) -> Value {
    json!({
        "connectionSpecification": {
            "type": "object",
            "required": ["credentials"],
            "properties": {
                "subdomain": {"type": "string"}, "is_sandbox": {"type": "boolean"},
                "credentials": {"type": "object", "oneOf": [
                    {"type": "object", "properties": {"kind": {"const": "oauth"}, "client_id": {"type": "string"}, "client_secret": {"type": "string"}, "access_token": {"type": "string"}, "refresh_token": {"type": "string"}, "token_expiry_date": {"type": "string"}}},
                    {"type": "object", "properties": {"kind": {"const": "key"}, "key": {"type": "string"}}},
                ]},
            },
        },
        "advanced_auth": {
            "auth_flow_type": "oauth2.0",
            "predicate_key": ["credentials", "kind"],
            "predicate_value": "oauth",
            "oauth_config_specification": {
                "oauth_connector_input_specification": templates,
                "oauth_user_input_from_connector_config_specification": {"properties": {
                    "subdomain": {"path_in_connector_config": ["subdomain"]}, "is_sandbox": {"path_in_connector_config": ["is_sandbox"]},
                }},
                "complete_oauth_output_specification": {"properties": outputs},
                "complete_oauth_server_output_specification": {"properties": {
                    "client_id": {"path_in_connector_config": ["credentials", "client_id"]},
                    "client_secret": {"path_in_connector_config": ["credentials", "client_secret"]},
                }},
            },
        },
    })
}

fn output(name: &str) -> Value {
    json!({ name: {"path_in_connector_config": ["credentials", name]} })
}

/// Declarations modelled on real ones. `HOST` is the server.
fn cases() -> Vec<Case> {
    let scopes = json!([{"scope": "https://scopes.example/a.readonly"}, {"scope": "b:read"}]);
    vec![
        // Everything in the query of the token URL, an empty body.
        Case {
            rules: Rules { style: Style::Query, pkce: false, names: NAMES },
            templates: json!({
                "consent_url": "HOST/authorize?{{client_id_param}}&{{redirect_uri_param}}&response_type=code&{{scopes_param}}&{{state_param}}",
                "access_token_url": "HOST/token?{{client_id_param}}&{{client_secret_param}}&{{auth_code_param}}&{{redirect_uri_param}}&grant_type=authorization_code",
                "scopes": scopes,
            }),
            config: json!({}),
            want: json!({"access_token": "acce55-token"}),
        },
        // A form, the older notation, non-standard names.
        Case {
            rules: Rules { style: Style::Form, pkce: false, names: ["app_id", "app_secret", "auth_code"] },
            templates: json!({
                "consent_url": "HOST/authorize?{{client_id_key}}={{ {{client_id_value}} | urlEncoder }}&{{redirect_uri_key}}={{ {{redirect_uri_value}} | urlEncoder }}&state={{state_value}}&scope={{scope_value}}",
                "access_token_url": "HOST/token",
                "scope": "a b",
                "client_id_key": "app_id", "client_secret_key": "app_secret", "auth_code_key": "auth_code",
                "access_token_headers": {"Content-Type": "application/x-www-form-urlencoded"},
                "access_token_params": {
                    "{{ client_id_key }}": "{{ client_id_value }}", "{{ client_secret_key }}": "{{ client_secret_value }}",
                    "{{ auth_code_key }}": "{{ auth_code_value }}", "redirect_uri": "{{ redirect_uri_value }}",
                },
                "extract_output": ["data.access_token"],
            }),
            config: json!({}),
            want: json!({"access_token": "nested-token"}),
        },
        // JSON, with a user-entered field.
        Case {
            rules: Rules { style: Style::Json, pkce: false, names: NAMES },
            templates: json!({
                "consent_url": "HOST/authorize?{{client_id_param}}&{{redirect_uri_param}}&{{state_param}}&subdomain={{ subdomain }}",
                "access_token_url": "HOST/token",
                "access_token_params": {
                    "client_id": "{{ client_id_value }}", "client_secret": "{{ client_secret_value }}", "code": "{{ auth_code_value }}",
                    "redirect_uri": "{{ redirect_uri_value }}", "grant_type": "authorization_code",
                },
            }),
            config: json!({"subdomain": "a & b"}),
            want: json!({"access_token": "acce55-token"}),
        },
        // A condition, PKCE, client credentials in a header.
        Case {
            rules: Rules { style: Style::Basic, pkce: true, names: NAMES },
            templates: json!({
                "consent_url": "{% if is_sandbox %}HOST{% else %}http://nowhere.invalid{% endif %}/authorize?{{client_id_param}}&{{redirect_uri_param}}&response_type=code&{{state_param}}&code_challenge={{ state_value | codechallengeS256 | replace('+', '-') | replace('/', '_') | replace('=', '') }}&code_challenge_method=S256",
                "access_token_url": "{{ 'HOST' if is_sandbox else 'http://nowhere.invalid' }}/token",
                "access_token_headers": {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "Basic {{ (client_id_value ~ ':' ~ client_secret_value) | base64Encoder }}"},
                "access_token_params": {"grant_type": "authorization_code", "code": "{{ auth_code_value }}", "redirect_uri": "{{ redirect_uri_value }}", "code_verifier": "{{ state_value }}"},
            }),
            config: json!({"is_sandbox": true}),
            want: json!({"access_token": "acce55-token"}),
        },
    ]
}

#[test]
fn every_style_signs_in() {
    for (index, case) in cases().into_iter().enumerate() {
        let signed_in = sign_in(&case, &spec(&case.templates, &output("access_token")));
        let mut want = case.want.clone();
        want["kind"] = "oauth".into();
        check(&signed_in, &case, &want, &format!("case {index}"));
    }
}

#[test]
fn seconds_until_expiry_become_a_timestamp() {
    let case = cases().remove(0);
    let outputs = json!({
        "refresh_token": {"path_in_connector_config": ["credentials", "refresh_token"]},
        "token_expiry_date": {"path_in_connector_config": ["credentials", "token_expiry_date"]},
    });
    let signed_in = sign_in(&case, &spec(&case.templates, &outputs));
    assert_eq!(signed_in["credentials"]["refresh_token"], "refre5h-token");
    let expiry = signed_in["credentials"]["token_expiry_date"].as_str().unwrap();
    assert!(expiry.len() >= 20 && expiry.ends_with('Z'), "{expiry}");
}

/// A connector whose spec declares the complete OAuth flow, with this test's server URLs in place of its own.
struct Real {
    name: &'static str,
    rules: Rules,
    /// Parts of its templates, and their replacements.
    urls: [(&'static str, &'static str); 2],
    /// The user's input.
    config: Value,
}

/// All such Airbyte sources, except the one whose templates cannot be expressed in Flow's.
fn real_declarations() -> Vec<Real> {
    let rules = |style| Rules { style, pkce: false, names: NAMES };
    vec![
        Real {
            name: "asana",
            rules: rules(Style::Form),
            urls: [
                ("https://app.asana.com/-/oauth_authorize", "HOST/authorize"),
                ("https://app.asana.com/-/oauth_token", "HOST/token"),
            ],
            config: json!({}),
        },
        Real {
            name: "github",
            rules: rules(Style::Query),
            urls: [
                ("https://github.com/login/oauth/authorize", "HOST/authorize"),
                ("https://github.com/login/oauth/access_token", "HOST/token"),
            ],
            config: json!({"repositories": ["acmeCo/shop"]}),
        },
        Real {
            name: "google-drive",
            rules: rules(Style::Query),
            urls: [
                ("https://accounts.google.com/o/oauth2/v2/auth", "HOST/authorize"),
                ("https://oauth2.googleapis.com/token", "HOST/token"),
            ],
            config: json!({"folder_url": "https://drive.google.com/drive/folders/1", "streams": [{"name": "a", "format": {"filetype": "csv"}}]}),
        },
        Real {
            name: "monday",
            rules: rules(Style::Query),
            urls: [
                ("https://auth.monday.com/oauth2/authorize", "HOST/authorize"),
                ("https://auth.monday.com/oauth2/token", "HOST/token"),
            ],
            // The field is inside the credentials.
            config: json!({"subdomain": "a & b"}),
        },
        Real {
            name: "salesforce",
            rules: Rules { pkce: true, ..rules(Style::Form) },
            // A wrong branch of the condition leads to an unreachable server.
            urls: [
                (
                    "https://{% if is_sandbox %}test{% else %}login{% endif %}.salesforce.com/services/oauth2/authorize",
                    "{% if is_sandbox %}HOST{% else %}http://nowhere.invalid{% endif %}/authorize",
                ),
                (
                    "https://{% if is_sandbox %}test{% else %}login{% endif %}.salesforce.com/services/oauth2/token",
                    "{% if is_sandbox %}HOST{% else %}http://nowhere.invalid{% endif %}/token",
                ),
            ],
            config: json!({"is_sandbox": true}),
        },
    ]
}

#[test]
fn real_declarations_sign_in() {
    for Real { name, rules, urls, config } in real_declarations() {
        let spec = specs::of(name);
        let server = Server::start(rules);
        let mut text = spec.to_string();
        for (from, to) in urls {
            assert!(text.contains(from), "{name} has other URLs now: {text}");
            text = text.replace(from, &to.replace("HOST", &server.address));
        }
        let folder = tempfile::tempdir().unwrap();
        let spec: Value = serde_json::from_str(&text).unwrap();
        let source = specs::played(folder.path(), &spec);
        let signed_in = browser::sign_in(&config, &source);
        specs::check_given(name, folder.path(), &source, &spec, &signed_in);
    }
}

/// Signs in at a server with the case's rules.
fn sign_in(case: &Case, spec: &Value) -> Value {
    let server = Server::start(case.rules);
    let folder = tempfile::tempdir().unwrap();
    let spec: Value = serde_json::from_str(&spec.to_string().replace("HOST", &server.address)).unwrap();
    browser::sign_in(&case.config, &specs::played(folder.path(), &spec))
}

fn check(signed_in: &Value, case: &Case, want: &Value, what: &str) {
    let mut config = case.config.clone();
    let mut credentials = want.clone();
    credentials["client_id"] = CLIENT_ID.into();
    credentials["client_secret"] = CLIENT_SECRET.into();
    config["credentials"] = credentials;
    assert_eq!(*signed_in, config, "{what}");
}

#[test]
fn a_dry_run_shows_what_would_be_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut shown = Vec::new();
    for case in cases() {
        let spec = json!({"type": "SPEC", "spec": spec(&case.templates, &output("access_token"))});
        let case = format!("A spec.\n\n== spec\n{}\n", spec.to_string().replace("HOST", "https://server.example"));
        let mut arguments =
            vec!["oauth".to_owned(), "--dry-run".into(), "--client-secret".into(), CLIENT_SECRET.into()];
        arguments.extend(scripted(folder.path(), &case));
        let run = run(arguments).ok();
        assert!(!run.stdout.contains(CLIENT_SECRET));
        shown.push(run.stdout);
    }
    insta::assert_snapshot!(shown.join("\n---\n\n"));
}

#[test]
fn a_missing_setting_is_reported_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let case = cases().remove(2);
    let spec = json!({"type": "SPEC", "spec": spec(&case.templates, &output("access_token"))});
    let with_spec = scripted(folder.path(), &format!("A spec.\n\n== spec\n{spec}\n"));
    let mut said = Vec::new();
    for arguments in
        [vec!["--client-secret", "x"], vec!["--client-id", "x"], vec!["--client-id", "x", "--client-secret", "y"]]
    {
        let arguments = ["oauth"].into_iter().chain(arguments).chain(with_spec.iter().map(String::as_str));
        let run = run(arguments);
        assert_eq!(run.code, Some(1));
        said.push(run.last_line());
    }
    said.push(run(["oauth", "--dry-run", "--", "flow-shim", "demo-source"]).last_line());
    insta::assert_snapshot!(said.join("\n"));
}
