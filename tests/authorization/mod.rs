//! A strict OAuth 2 authorization server: authorization code with PKCE (RFC 6749, RFC 7636).

// Each test binary uses only a part of this module.
#![allow(dead_code)]

pub mod browser;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tiny_http::{Header, Method, Request, Response};

pub const CLIENT_ID: &str = "client id/1&2";
pub const CLIENT_SECRET: &str = "s3cret+of=the&tests";
/// Contains every character that must be encoded.
const CODE: &str = "4/0Ab+c d&e=f%20";

/// The form of the token request that this server expects.
#[derive(Clone, Copy, PartialEq)]
pub enum Style {
    Query,
    Form,
    Json,
    /// A form, with the client credentials in the Authorization header.
    Basic,
    /// JSON, with the client credentials in the Authorization header.
    BasicJson,
}

#[derive(Clone, Copy)]
pub struct Rules {
    pub style: Style,
    pub pkce: bool,
    /// Names of the client id, the secret and the code.
    pub names: [&'static str; 3],
}

pub struct Server {
    pub address: String,
    server: Arc<tiny_http::Server>,
}

#[derive(Default)]
struct Grant {
    redirect_uri: String,
    challenge: Option<String>,
    used: bool,
}

impl Server {
    pub fn start(rules: Rules) -> Self {
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a server"));
        let address = format!("http://{}", server.server_addr());
        let grant = Mutex::new(None);
        let serving = server.clone();
        thread::spawn(move || {
            for mut request in serving.incoming_requests() {
                let answer = match request.url().split('?').next() {
                    Some("/authorize") => authorize(&request, rules, &grant),
                    Some("/token") => token(&mut request, rules, &grant),
                    _ => Err("there is no such page".to_owned()),
                };
                let response = match answer {
                    Ok(Answer::Redirect(to)) => {
                        let location = Header::from_bytes("Location", to).expect("a header");
                        Response::from_string("").with_status_code(302).with_header(location)
                    }
                    Ok(Answer::Json(value)) => Response::from_string(value.to_string()),
                    Err(why) => {
                        let error = json!({"error": "invalid_request", "error_description": why});
                        Response::from_string(error.to_string()).with_status_code(400)
                    }
                };
                let _ = request.respond(response);
            }
        });
        Self { address, server }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

enum Answer {
    Redirect(String),
    Json(Value),
}

fn authorize(request: &Request, rules: Rules, grant: &Mutex<Option<Grant>>) -> Result<Answer, String> {
    let query = request.url().split_once('?').map_or("", |(_, it)| it);
    let parameters = pairs(query)?;
    let [client_id, ..] = rules.names;
    expect(&parameters, client_id, CLIENT_ID)?;
    let redirect_uri = get(&parameters, "redirect_uri")?;
    if !redirect_uri.starts_with("http://localhost:") {
        return Err(format!("nobody has registered {redirect_uri}"));
    }
    if parameters.get("response_type").is_some_and(|it| it != "code") {
        return Err("the response type is no code".to_owned());
    }
    let state = get(&parameters, "state")?;
    if state.len() < 22 {
        return Err("the state can be guessed".to_owned());
    }
    let challenge = parameters.get("code_challenge").cloned();
    if rules.pkce {
        expect(&parameters, "code_challenge_method", "S256")?;
        if challenge.as_deref().map(str::len) != Some(43) {
            return Err("the challenge is no SHA-256".to_owned());
        }
    }
    *grant.lock().unwrap() = Some(Grant { redirect_uri: redirect_uri.to_owned(), challenge, used: false });
    Ok(Answer::Redirect(format!("{redirect_uri}/?code={}&state={}", encode(CODE), encode(state))))
}

fn token(request: &mut Request, rules: Rules, grant: &Mutex<Option<Grant>>) -> Result<Answer, String> {
    if *request.method() != Method::Post {
        return Err("a token is asked for by POST".to_owned());
    }
    let mut body = String::new();
    request.as_reader().read_to_string(&mut body).map_err(|it| it.to_string())?;
    let header = |name: &'static str| {
        request.headers().iter().find(|it| it.field.equiv(name)).map(|it| it.value.as_str().to_owned())
    };
    if header("Accept").as_deref() != Some("application/json") {
        return Err("without Accept this server answers with a form".to_owned());
    }
    let content_type = header("Content-Type").unwrap_or_default();
    let query = request.url().split_once('?').map_or("", |(_, it)| it);
    let form = "application/x-www-form-urlencoded";
    let mut parameters = match rules.style {
        Style::Query if body.is_empty() => pairs(query)?,
        Style::Form | Style::Basic if content_type == form && query.is_empty() => pairs(&body)?,
        Style::Json | Style::BasicJson if content_type == "application/json" && query.is_empty() => {
            let found: HashMap<String, String> = serde_json::from_str(&body).map_err(|it| it.to_string())?;
            found
        }
        _ => return Err(format!("a request of another style: {content_type}, {query:?}, {body:?}")),
    };
    let [client_id, client_secret, code] = rules.names;
    if matches!(rules.style, Style::Basic | Style::BasicJson) {
        let header = header("Authorization").unwrap_or_default();
        let encoded = header.strip_prefix("Basic ").ok_or("no Basic authorization")?;
        let text =
            String::from_utf8(STANDARD.decode(encoded).map_err(|it| it.to_string())?).map_err(|it| it.to_string())?;
        let (id, secret) = text.split_once(':').ok_or("no client in the authorization")?;
        parameters.insert(client_id.to_owned(), id.to_owned());
        parameters.insert(client_secret.to_owned(), secret.to_owned());
    }
    expect(&parameters, client_id, CLIENT_ID)?;
    expect(&parameters, client_secret, CLIENT_SECRET)?;
    expect(&parameters, code, CODE)?;
    if parameters.get("grant_type").is_some_and(|it| it != "authorization_code") {
        return Err("another grant type".to_owned());
    }
    let mut grant = grant.lock().unwrap();
    let grant = grant.as_mut().filter(|it| !it.used).ok_or("this code was never given, or is used up")?;
    if let Some(redirect_uri) = parameters.get("redirect_uri")
        && *redirect_uri != grant.redirect_uri
    {
        return Err("another redirect URI".to_owned());
    }
    if rules.pkce {
        let verifier = get(&parameters, "code_verifier")?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        if grant.challenge.as_deref() != Some(&challenge) {
            return Err("the verifier is another one".to_owned());
        }
    }
    grant.used = true;
    Ok(Answer::Json(json!({
        "access_token": "acce55-token", "refresh_token": "refre5h-token", "expires_in": 3600, "data": {"access_token": "nested-token"},
    })))
}

/// Parses a query or a form strictly.
fn pairs(text: &str) -> Result<HashMap<String, String>, String> {
    let mut pairs = HashMap::new();
    for pair in text.split('&').filter(|it| !it.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("{pair} is no pair"))?;
        if pair.contains(|it: char| it.is_whitespace() || it == '/' || it == ':') {
            return Err(format!("{pair} is not encoded"));
        }
        let decode = |it: &str| percent_decode_str(&it.replace('+', " ")).decode_utf8_lossy().into_owned();
        if pairs.insert(decode(name), decode(value)).is_some() {
            return Err(format!("{name} comes twice"));
        }
    }
    Ok(pairs)
}

fn get<'a>(parameters: &'a HashMap<String, String>, name: &str) -> Result<&'a str, String> {
    parameters.get(name).map(String::as_str).filter(|it| !it.is_empty()).ok_or_else(|| format!("there is no {name}"))
}

fn expect(parameters: &HashMap<String, String>, name: &str, wanted: &str) -> Result<(), String> {
    let found = get(parameters, name)?;
    if found == wanted { Ok(()) } else { Err(format!("{name} is {found:?}")) }
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
