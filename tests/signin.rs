//! `flow-shim oauth` against an authorization server that verifies all there is to verify.

mod authorization;
mod command;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use authorization::{CLIENT_ID, CLIENT_SECRET, Rules, Server, Style};
use command::{flow_shim, run, scripted};

const NAMES: [&str; 3] = ["client_id", "client_secret", "code"];

/// How one declaration goes about it.
struct Case {
    rules: Rules,
    templates: Value,
    config: Value,
    /// What is in credentials beside the client.
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

/// Declarations after the manner of real ones. `HOST` is the server.
fn cases() -> Vec<Case> {
    let scopes = json!([{"scope": "https://scopes.example/a.readonly"}, {"scope": "b:read"}]);
    vec![
        // All in the query of the token URL, nothing in its body.
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
        // A form, the older notation, names of its own.
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
        // JSON, with a field that the user types.
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
        // A condition, PKCE, the client in a header.
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
fn a_moment_is_made_of_seconds() {
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

/// Real specs that declare their URLs, with our server's in place of theirs.
#[test]
fn real_declarations_sign_in() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/specs");
    if !corpus.exists() {
        eprintln!("SKIPPED: there is no {}", corpus.display());
        return;
    }
    let urls = [
        ("github", "https://github.com/login/oauth/authorize?", "https://github.com/login/oauth/access_token?"),
        ("google-drive", "https://accounts.google.com/o/oauth2/v2/auth?", "https://oauth2.googleapis.com/token?"),
    ];
    for (name, consent, token) in urls {
        let text = std::fs::read_to_string(corpus.join(format!("{name}.json"))).unwrap();
        assert!(text.contains(consent) && text.contains(token));
        let text = text.replace(consent, "HOST/authorize?").replace(token, "HOST/token?");
        let case = cases().remove(0);
        let signed_in = sign_in(&case, &serde_json::from_str(&text).unwrap());
        let credentials = &signed_in["credentials"];
        assert_eq!(credentials["client_secret"], CLIENT_SECRET, "{name}");
        let tokens = ["access_token", "refresh_token"].into_iter().filter(|it| credentials.get(it).is_some());
        assert_eq!(tokens.count(), 1, "{name}: {credentials}");
    }
}

/// Plays the browser.
fn sign_in(case: &Case, spec: &Value) -> Value {
    let server = Server::start(case.rules);
    let folder = tempfile::tempdir().unwrap();
    let spec = json!({"type": "SPEC", "spec": spec}).to_string().replace("HOST", &server.address);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = folder.path().join("config.json");
    let mut arguments: Vec<String> =
        ["oauth", "--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET].map(Into::into).into();
    arguments.extend(["--port".into(), port.to_string(), "--config".into(), case.config.to_string()]);
    arguments.extend(["--output".into(), file.to_string_lossy().into_owned()]);
    arguments.extend(scripted(folder.path(), &format!("A spec.\n\n== spec\n{spec}\n")));
    let mut child = flow_shim(arguments).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    let url = loop {
        let mut line = String::new();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended: {told}");
        told += &line;
        if line.trim_start().starts_with("http") {
            break line.trim().to_owned();
        }
    };
    let browser: ureq::Agent =
        ureq::Agent::config_builder().max_redirects(0).http_status_as_error(false).build().into();
    // What others send is not what it waits for.
    let forged = browser.get(format!("http://localhost:{port}/?code=x&state=forged")).call().unwrap();
    assert_eq!(forged.status(), 400);
    assert_eq!(browser.get(format!("http://localhost:{port}/favicon.ico")).call().unwrap().status(), 404);
    let mut answer = browser.get(&url).call().unwrap();
    let location = answer.headers().get("location").cloned();
    let location = location.unwrap_or_else(|| panic!("{url}: {}", answer.body_mut().read_to_string().unwrap()));
    assert_eq!(browser.get(location.to_str().unwrap()).call().unwrap().status(), 200);
    let status = child.wait().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    assert!(status.success(), "{told}");
    for secret in [CLIENT_SECRET, "acce55-token", "refre5h-token", "nested-token"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap()
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
fn what_is_missing_is_one_sentence() {
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
