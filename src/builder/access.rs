//! Who may use the server: no other web page, and beyond this machine only who has a token.
//!
//! A page of another site can send requests to 127.0.0.1 (CSRF), and read the answers if it gives its own name that address
//! (DNS rebinding). Browsers say in `Origin`, `Sec-Fetch-Site` and `Host` where a request comes from and whom it means.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Result, bail};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY};
use axum::http::header::{HeaderName, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Server;
use super::api::{self, Dialect, Refusal};
use crate::secrets;
use crate::signin;

/// The secret with which JWTs are signed, as for Airbyte's manifest server (B14).
const JWT_SECRET: &str = "AB_JWT_SIGNATURE_SECRET";

/// Only what this server itself serves.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub struct Access {
    /// The names by which requests may mean this server; none: any, as they need a token.
    hosts: Option<Vec<String>>,
    required: Option<Required>,
}

/// What a request has to prove itself with: either of them.
struct Required {
    token: String,
    jwt_secret: Option<Vec<u8>>,
}

impl Access {
    /// `host` is what the user said, and `address` what it means.
    pub fn new(host: &str, address: SocketAddr) -> Result<Self> {
        let jwt_secret = match std::env::var(JWT_SECRET) {
            Ok(secret) if secret.trim().is_empty() => bail!("{JWT_SECRET} is empty: set a secret, or unset it"),
            Ok(secret) => {
                secrets::redact_text(&secret);
                Some(secret.into_bytes())
            }
            Err(_) => None,
        };
        let is_local = address.ip().is_loopback();
        let required = match jwt_secret.is_some() || !is_local {
            true => Some(Required { token: signin::random()?, jwt_secret }),
            false => None,
        };
        let names = ["localhost".to_owned(), host.trim_matches(['[', ']']).to_ascii_lowercase()];
        Ok(Self { hosts: is_local.then(|| names.into()), required })
    }

    /// The page's URL; the token is in its fragment, which browsers send to nobody.
    pub fn url(&self, address: SocketAddr) -> String {
        match &self.required {
            Some(it) => format!("http://{address}/#token={}", it.token),
            None => format!("http://{address}/"),
        }
    }

    fn is_meant(&self, host: &str) -> bool {
        let Some(hosts) = &self.hosts else { return true };
        let name = host_name(host).to_ascii_lowercase();
        hosts.contains(&name) || name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
    }

    fn check_origin(&self, headers: &HeaderMap, is_page: bool) -> Result<(), &'static str> {
        // A header that comes twice may mean two things.
        let text = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            let first = values.next().map(|it| it.to_str().unwrap_or("?"));
            if values.next().is_some() { Some("?") } else { first }
        };
        let Some(host) = text(HOST).filter(|it| self.is_meant(it)) else {
            return Err("the Host of this request is not this server (start it with --host NAME to allow that name)");
        };
        if let Some(origin) = text(ORIGIN) {
            let site = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
            if !site.is_some_and(|it| it.eq_ignore_ascii_case(host)) {
                return Err("other web pages may not use this server");
            }
        }
        // A link to the page is harmless.
        let is_link = is_page && text(HeaderName::from_static("sec-fetch-mode")) == Some("navigate");
        match text(HeaderName::from_static("sec-fetch-site")) {
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) if is_link => Ok(()),
            Some(_) => Err("other web pages may not use this server"),
        }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let Some(required) = &self.required else { return Ok(()) };
        let given = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        let token = given.and_then(|it| it.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = token else { return Err("Bearer token required") };
        // Digests, whose comparison tells nothing of the token.
        let is_printed = Sha256::digest(token.trim()) == Sha256::digest(&required.token);
        let is_signed = || required.jwt_secret.as_deref().is_some_and(|it| is_valid_jwt(token.trim(), it));
        if is_printed || is_signed() { Ok(()) } else { Err("Invalid token") }
    }
}

/// A Host header without its port.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Whether a JWT is signed by HS256 with this secret and has not expired.
fn is_valid_jwt(token: &str, secret: &[u8]) -> bool {
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let Some((header, claims)) = signed.split_once('.') else { return false };
    let decoded = |part: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?).ok()
    };
    let (Some(header), Some(claims)) = (decoded(header), decoded(claims)) else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
    mac.update(signed.as_bytes());
    let now = Timestamp::now().as_second() as f64;
    let is_after = |name: &str| claims.get(name).map(|it| it.as_f64().is_some_and(|it| it > now));
    header["alg"] == "HS256"
        && mac.verify_slice(&signature).is_ok()
        && is_after("exp").unwrap_or(true)
        && !is_after("nbf").unwrap_or(false)
}

/// Whether a path needs no token: health and capabilities as for Airbyte's server, and the page without any data.
fn is_open(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let probes = ["", "/health", "/capabilities", "/v1/health", "/api/v1/connector_builder/health"];
    probes.contains(&path) || path.starts_with("/page/")
}

/// Lets a request through, and says in the response what browsers may do with it.
pub async fn guard(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let (path, headers) = (request.uri().path(), request.headers());
    let dialect = Dialect::of(path);
    let is_page = path == "/" && request.method() == Method::GET;
    let mut response = if let Err(why) = server.access.check_origin(headers, is_page) {
        api::refuse(dialect, Refusal::new(StatusCode::FORBIDDEN, why))
    } else if let Some(why) = server.access.check_token(headers).err().filter(|_| !is_open(path)) {
        let mut refused = api::refuse(dialect, Refusal::new(StatusCode::UNAUTHORIZED, why)).into_response();
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        refused
    } else {
        api::in_form(dialect, next.run(request).await)
    };
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin-allow-popups"),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, it)| (HeaderName::from_static(name), it.parse().unwrap())).collect()
    }

    fn jwt(header: &str, claims: &str, secret: &[u8]) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn only_requests_of_the_page_and_of_programs_are_taken() {
        let local = Access { hosts: Some(vec!["localhost".into(), "my.box".into()]), required: None };
        let taken = |pairs: &[(&'static str, &str)]| local.check_origin(&headers(pairs), true).is_ok();
        for host in ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST", "my.box:1"] {
            assert!(taken(&[("host", host)]), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:8000", "10.0.0.1", ""] {
            assert!(!taken(&[("host", host)]), "{host}");
        }
        assert!(!taken(&[]));
        let own = ("host", "localhost:8000");
        assert!(taken(&[own, ("origin", "http://localhost:8000"), ("sec-fetch-site", "same-origin")]));
        for origin in ["http://evil.example", "http://localhost:9000", "null", "http://127.0.0.1:8000"] {
            assert!(!taken(&[own, ("origin", origin)]), "{origin}");
        }
        assert!(!taken(&[own, ("sec-fetch-site", "cross-site")]));
        assert!(taken(&[own, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
    }

    #[test]
    fn a_token_is_the_printed_one_or_a_signed_one() {
        let required = Required { token: "printed".into(), jwt_secret: Some(b"secret".into()) };
        let access = Access { hosts: None, required: Some(required) };
        let check = |value: &str| access.check_token(&headers(&[("authorization", value)]));
        let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
        assert_eq!(check("Bearer printed"), Ok(()));
        assert_eq!(check(&format!("bearer {}", jwt(hs256, r#"{"sub":"me","exp":99999999999}"#, b"secret"))), Ok(()));
        assert_eq!(check(&format!("Bearer {}", jwt(hs256, "{}", b"secret"))), Ok(()));
        for wrong in [
            jwt(hs256, "{}", b"other"),
            jwt(hs256, r#"{"exp":1}"#, b"secret"),
            jwt(hs256, r#"{"exp":"soon"}"#, b"secret"),
            jwt(r#"{"alg":"none"}"#, "{}", b"secret"),
            "a.b.c".to_owned(),
            "other".to_owned(),
        ] {
            assert_eq!(check(&format!("Bearer {wrong}")), Err("Invalid token"), "{wrong}");
        }
        assert_eq!(check("Basic printed"), Err("Bearer token required"));
        assert_eq!(access.check_token(&HeaderMap::new()), Err("Bearer token required"));
    }
}
