//! Renders an `oauth2` object as Flow's control plane does: the authorize URL, the token request and the credentials from
//! the response. Sends nothing.

use anyhow::{Context, Result, anyhow};
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::oauth::mustache;

pub struct Client {
    pub id: String,
    pub secret: String,
}

/// One sign-in: an `oauth2` object and the variables of its templates.
pub struct Exchange<'a> {
    oauth2: &'a Value,
    variables: Map<String, Value>,
    now: jiff::Timestamp,
}

#[derive(Debug, PartialEq)]
pub struct TokenRequest {
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl<'a> Exchange<'a> {
    /// `config` contains the fields entered so far; `state` and `verifier` must be random.
    pub fn new(
        oauth2: &'a Value,
        client: &Client,
        redirect_uri: &str,
        config: &Value,
        state: &str,
        verifier: &str,
    ) -> Self {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let texts = [
            ("client_id", client.id.as_str()),
            ("client_secret", &client.secret),
            ("redirect_uri", redirect_uri),
            ("state", state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("code_verifier", verifier),
        ];
        let mut variables: Map<String, Value> =
            texts.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        variables.insert("config".into(), config.clone());
        Self { oauth2, variables, now: jiff::Timestamp::now() }
    }

    /// The config fields that the templates use and that are missing.
    pub fn missing_fields(&self) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for name in ["authUrlTemplate", "accessTokenUrlTemplate", "accessTokenBody"] {
            let template = self.oauth2.get(name).and_then(Value::as_str).unwrap_or_default();
            names.extend(
                mustache::variables(template).map_err(anyhow::Error::msg).with_context(|| format!("oauth2.{name}"))?,
            );
        }
        let config = self.variables.get("config").unwrap_or(&Value::Null);
        let is_there = |path: &str| path.split('.').try_fold(config, |it, step| it.get(step)).is_some();
        Ok(names
            .iter()
            .filter_map(|it| it.strip_prefix("config."))
            .filter(|it| !is_there(it))
            .map(Into::into)
            .collect())
    }

    pub fn authorize_url(&self) -> Result<String> {
        // Neither is anybody's business in a browser.
        let mut variables = self.variables.clone();
        variables.shift_remove("client_secret");
        variables.shift_remove("code_verifier");
        self.render("authUrlTemplate", &Value::Object(variables))
    }

    pub fn token_request(&self, code: &str) -> Result<TokenRequest> {
        let mut variables = self.variables.clone();
        variables.insert("code".into(), code.into());
        let variables = Value::Object(variables);
        let mut headers = Vec::new();
        for (name, template) in self.oauth2.get("accessTokenHeaders").and_then(Value::as_object).into_iter().flatten() {
            let template = template.as_str().unwrap_or_default();
            let value = mustache::render(template, &variables, self.now)
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("oauth2.{name}"))?;
            headers.push((name.to_lowercase(), value));
        }
        for (name, value) in [("accept", "application/json"), ("content-type", "application/json")] {
            if headers.iter().all(|(it, _)| it != name) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(TokenRequest {
            url: self.render("accessTokenUrlTemplate", &variables)?,
            headers,
            body: self.render("accessTokenBody", &variables)?,
        })
    }

    fn render(&self, name: &str, variables: &Value) -> Result<String> {
        let template = self.oauth2.get(name).and_then(Value::as_str).unwrap_or_default();
        mustache::render(template, variables, self.now)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("oauth2.{name}"))
    }

    /// The `credentials`: the client's id and secret, and the fields that the response map extracts.
    pub fn credentials(&self, response: &Value) -> Result<Map<String, Value>> {
        let mut credentials = Map::new();
        for name in ["client_id", "client_secret"] {
            credentials.insert(name.to_owned(), self.variables.get(name).cloned().unwrap_or_default());
        }
        let map = self.oauth2.get("accessTokenResponseMap").and_then(Value::as_object);
        for (name, place) in map.into_iter().flatten() {
            let place = place.as_str().unwrap_or_default();
            let value = if place.starts_with('/') {
                let value = response.pointer(place).filter(|it| !it.is_null()).cloned();
                value.ok_or_else(|| {
                    let members: Vec<&String> = response.as_object().into_iter().flat_map(Map::keys).collect();
                    let members = members.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                    anyhow!("the token response has no {place} for `{name}`; its members are: {members}")
                })?
            } else {
                let text = mustache::render(place, response, self.now);
                text.map_err(anyhow::Error::msg)
                    .with_context(|| format!("oauth2.accessTokenResponseMap, `{name}`"))?
                    .into()
            };
            credentials.insert(name.clone(), value);
        }
        Ok(credentials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn renders_like_flow() {
        let oauth2 = json!({
            "authUrlTemplate": "https://{{{ config.region }}}.x/?id={{#urlencode}}{{{ client_id }}}{{/urlencode}}&s={{{ client_secret }}}{{{ code_verifier }}}&c={{{ code_challenge }}}&m={{{ code_challenge_method }}}",
            "accessTokenUrlTemplate": "https://x/token",
            "accessTokenBody": "{\"code\": \"{{{ code }}}\", \"v\": \"{{{ code_verifier }}}\", \"more\": \"{{{ config.account.id }}}\"}",
            "accessTokenHeaders": {"Authorization": "Basic {{#basicauth}}{{{ client_id }}}:{{{ client_secret }}}{{/basicauth}}"},
            "accessTokenResponseMap": {"token": "/data/token", "at": "{{#now_plus}}{{ expires_in }}{{/now_plus}}"},
        });
        let client = Client { id: "a b".into(), secret: "s3cret".into() };
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let it = Exchange::new(&oauth2, &client, "http://localhost", &json!({"region": "eu"}), "state", verifier);
        let url = "https://eu.x/?id=a%20b&s=&c=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&m=S256";
        assert_eq!(it.authorize_url().unwrap(), url);
        assert_eq!(it.missing_fields().unwrap(), BTreeSet::from(["account.id".to_owned()]));
        let request = it.token_request("the code").unwrap();
        assert_eq!(request.body, format!("{{\"code\": \"the code\", \"v\": \"{verifier}\", \"more\": \"\"}}"));
        assert_eq!(request.headers[0], ("authorization".to_owned(), "Basic YSBiOnMzY3JldA==".to_owned()));
        assert_eq!(request.headers[2], ("content-type".to_owned(), "application/json".to_owned()));
        let credentials = it.credentials(&json!({"data": {"token": 7}, "expires_in": 60})).unwrap();
        assert_eq!(credentials["token"], 7);
        assert!(credentials["at"].as_str().unwrap().ends_with('Z'));
        let missing = crate::error::sentence(&it.credentials(&json!({"error": "s3cret"})).unwrap_err());
        assert_eq!(missing, "the token response has no /data/token for `token`; its members are: error");
    }
}
