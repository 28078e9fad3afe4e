//! Translates the templates of Airbyte's `oauth_connector_input_specification` to Flow's Mustache.
//!
//! Airbyte's variables come as `client_id_key`, `client_id_value` and `client_id_param` (`key=value`), the user's own
//! fields by their names. Flow's variables have other names. Airbyte encodes a value in a query even if the template does
//! not. Airbyte's `state` is also the PKCE verifier; Flow has a separate `code_verifier`.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Map, Value};

use super::mustache::urlencode;
use super::template::{self, Expr};

/// The members of Flow's OAuth2 object that come from templates.
pub(super) fn translate(
    specification: &Map<String, Value>,
    inputs: &BTreeMap<String, String>,
) -> Result<Map<String, Value>, String> {
    let mut translator = Translator { specification, inputs, step: Step::Consent, challenged: false };
    let auth_url = translator.text("consent_url", Context::Path)?;
    translator.step = Step::Token;
    let token_url = translator.text("access_token_url", Context::Path)?;
    let headers = translator.headers()?;
    let is_form = headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("content-type")
            && value.as_str().is_some_and(|it| it.to_ascii_lowercase().contains("x-www-form-urlencoded"))
    });
    let body = translator.body(is_form)?;
    let mut oauth2 = Map::new();
    oauth2.insert("provider".into(), provider(&auth_url).into());
    oauth2.insert("authUrlTemplate".into(), auth_url.into());
    oauth2.insert("accessTokenUrlTemplate".into(), token_url.into());
    oauth2.insert("accessTokenBody".into(), body.into());
    if !headers.is_empty() {
        oauth2.insert("accessTokenHeaders".into(), Value::Object(headers));
    }
    Ok(oauth2)
}

/// The provider's name from the host of its authorization server: `salesforce` for `login.salesforce.com`.
pub(super) fn provider(url: &str) -> String {
    let mut plain = String::new();
    let mut rest = url;
    while let Some((text, after)) = rest.split_once("{{") {
        plain.push_str(text);
        rest = after.split_once("}}").map_or("", |(_, it)| it.strip_prefix('}').unwrap_or(it));
    }
    plain.push_str(rest);
    let host = plain.split_once("://").map_or(plain.as_str(), |(_, it)| it);
    let host = host.split(['/', '?', ':', '#']).next().unwrap_or_default();
    let mut labels = host.rsplit('.').skip(1).filter(|it| !it.is_empty());
    let is_suffix = |it: &&str| matches!(*it, "co" | "com" | "org" | "net" | "gov" | "ac");
    let name = labels.find(|it| !is_suffix(it)).unwrap_or(host);
    if name.is_empty() { "oauth2".to_owned() } else { name.to_lowercase() }
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Consent,
    Token,
}

/// The context of a text, which determines its encoding.
#[derive(Clone, Copy, PartialEq)]
enum Context {
    /// Of a URL, before its query.
    Path,
    Query,
    Form,
    Json,
    Raw,
}

impl Context {
    fn encodes(self) -> bool {
        matches!(self, Self::Query | Self::Form)
    }
}

/// The meaning of a name.
enum Meaning {
    /// A text that the declaration contains.
    Known(String),
    /// Scopes, which are encoded unless they are already.
    Scope(String),
    Variable(String),
    Challenge,
    Pair(String, Box<Meaning>),
}

const CHALLENGE: &str = "{{{ code_challenge }}}";

struct Translator<'a> {
    specification: &'a Map<String, Value>,
    inputs: &'a BTreeMap<String, String>,
    step: Step,
    /// Whether the consent URL has a PKCE challenge.
    challenged: bool,
}

impl Translator<'_> {
    fn text(&mut self, name: &str, context: Context) -> Result<String, String> {
        let text = self.specification.get(name).and_then(Value::as_str);
        let text = text.ok_or_else(|| format!("the connector declares no {name}"))?;
        self.translate(text.trim(), context, name)
    }

    /// Translates a template; `name` is what an error calls it.
    fn translate(&mut self, text: &str, context: Context, name: &str) -> Result<String, String> {
        let within = |what: String| format!("the template `{name}` has {what}, which Flow's templates can't say");
        let expr = template::parse(text).map_err(|it| within(it.0))?;
        let mut context = context;
        self.emit(&expr, &mut context).map_err(within)
    }

    fn headers(&mut self) -> Result<Map<String, Value>, String> {
        let Some(declared) = self.specification.get("access_token_headers").and_then(Value::as_object) else {
            return Ok(Map::new());
        };
        let mut headers = Map::new();
        for (name, value) in declared {
            let name = self.translate(name, Context::Raw, "access_token_headers")?;
            let value = match value {
                Value::String(text) => self.translate(text, Context::Raw, "access_token_headers")?,
                other => other.to_string(),
            };
            headers.insert(name, value.into());
        }
        Ok(headers)
    }

    fn body(&mut self, is_form: bool) -> Result<String, String> {
        let what = "access_token_params";
        match self.specification.get(what) {
            Some(Value::Object(parameters)) if parameters.is_empty() => Ok(String::new()),
            Some(Value::Object(parameters)) if is_form => {
                let mut pairs = Vec::new();
                for (name, value) in parameters {
                    let text = match value {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    let name = self.translate(name, Context::Form, what)?;
                    pairs.push(format!("{name}={}", self.translate(&text, Context::Form, what)?));
                }
                Ok(pairs.join("&"))
            }
            Some(parameters @ Value::Object(_)) => self.json(parameters),
            _ => Ok(String::new()),
        }
    }

    /// A JSON text whose strings are templates.
    fn json(&mut self, value: &Value) -> Result<String, String> {
        let what = "access_token_params";
        Ok(match value {
            Value::String(text) => format!("\"{}\"", self.translate(text, Context::Json, what)?),
            Value::Object(members) => {
                let mut parts = Vec::new();
                for (name, value) in members {
                    let name = self.translate(name, Context::Json, what)?;
                    parts.push(format!("\"{name}\": {}", self.json(value)?));
                }
                format!("{{{}}}", parts.join(", "))
            }
            Value::Array(items) => {
                let items: Result<Vec<String>, String> = items.iter().map(|it| self.json(it)).collect();
                format!("[{}]", items?.join(", "))
            }
            other => other.to_string(),
        })
    }

    fn emit(&mut self, expr: &Expr, context: &mut Context) -> Result<String, String> {
        match expr {
            Expr::Text(text) => {
                if *context == Context::Path && text.contains('?') {
                    *context = Context::Query;
                }
                Ok(match context {
                    Context::Form => urlencode(text),
                    Context::Json => json_escaped(text),
                    _ => text.clone(),
                })
            }
            Expr::Name(name) => {
                let meaning = self.meaning(name)?;
                Ok(written(&meaning, *context))
            }
            Expr::Join(parts) => parts.iter().map(|it| self.emit(it, context)).collect(),
            Expr::If { condition, then, otherwise } => self.choice(condition, then, otherwise, context),
            Expr::Filter { of, name, arguments } => self.filter(of, name, arguments, *context),
        }
    }

    fn choice(
        &mut self,
        condition: &str,
        then: &Expr,
        otherwise: &Expr,
        context: &mut Context,
    ) -> Result<String, String> {
        match self.meaning(condition)? {
            Meaning::Variable(variable) => {
                let mut there = *context;
                let then = self.emit(then, &mut there)?;
                let otherwise = self.emit(otherwise, context)?;
                if there == Context::Query {
                    *context = there;
                }
                let section = |mark: char, inner: String| match inner.is_empty() {
                    true => inner,
                    false => format!("{{{{{mark}{variable}}}}}{inner}{{{{/{variable}}}}}"),
                };
                Ok(section('#', then) + &section('^', otherwise))
            }
            Meaning::Known(text) | Meaning::Scope(text) => {
                self.emit(if text.is_empty() { otherwise } else { then }, context)
            }
            _ => Err(format!("the condition `{condition}`")),
        }
    }

    fn filter(&mut self, of: &Expr, name: &str, arguments: &[String], context: Context) -> Result<String, String> {
        let inner = self.emit(of, &mut Context::Raw)?;
        let is_known = !inner.contains("{{");
        let argument = |index: usize| arguments.get(index).map_or("", String::as_str);
        let wrapped = |lambda: &str| format!("{{{{#{lambda}}}}}{inner}{{{{/{lambda}}}}}");
        let lowered = name.to_lowercase().replace('_', "");
        Ok(match lowered.as_str() {
            "urlencoder" | "urlencode" if is_known => urlencode(&inner),
            "urlencoder" | "urlencode" => wrapped("urlencode"),
            "base64encoder" | "base64encode" | "b64encode" => {
                let encoded = match is_known {
                    true => base64::engine::general_purpose::STANDARD.encode(&inner),
                    false => wrapped("basicauth"),
                };
                match (context.encodes(), is_known) {
                    (true, true) => urlencode(&encoded),
                    (true, false) => format!("{{{{#urlencode}}}}{encoded}{{{{/urlencode}}}}"),
                    _ => encoded,
                }
            }
            "codechallenges256" if self.step == Step::Consent && is_state(of) => {
                self.challenged = true;
                CHALLENGE.to_owned()
            }
            // It converts Airbyte's challenge to base64url (RFC 7636). Flow's challenge is base64url already.
            "replace" if inner == CHALLENGE && ["+", "/", "="].contains(&argument(0)) => inner,
            "replace" if is_known => inner.replace(argument(0), argument(1)),
            "lower" if is_known => inner.to_lowercase(),
            "upper" if is_known => inner.to_uppercase(),
            "trim" if is_known => inner.trim().to_owned(),
            "string" | "trim" => self.emit(of, &mut { context })?,
            _ => return Err(format!("the filter `{name}`")),
        })
    }

    fn meaning(&self, name: &str) -> Result<Meaning, String> {
        if let Some(field) = self.inputs.get(name) {
            return Ok(Meaning::Variable(format!("config.{field}")));
        }
        for (word, default) in WORDS {
            let Some(kind) = name.strip_prefix(word) else { continue };
            let key = || self.own(&format!("{word}_key")).unwrap_or(default).to_owned();
            return Ok(match kind {
                "_key" => Meaning::Known(key()),
                "_value" => self.value(word)?,
                "_param" => Meaning::Pair(key(), Box::new(self.value(word)?)),
                "" if self.own(name).is_none() => self.value(word)?,
                _ => continue,
            });
        }
        match name {
            "scope_key" => Ok(Meaning::Known(self.own(name).unwrap_or("scope").to_owned())),
            "scope_value" | "scopes_value" | "scope" | "scopes" => Ok(Meaning::Scope(self.scopes("scopes", "scope"))),
            "scope_param" | "scopes_param" => {
                let key = self.own("scope_key").unwrap_or("scope").to_owned();
                Ok(Meaning::Pair(key, Box::new(Meaning::Scope(self.scopes("scopes", "scope")))))
            }
            "optional_scopes_value" | "optional_scope_value" | "optional_scopes" | "optional_scope" => {
                Ok(Meaning::Scope(self.scopes("optional_scopes", "optional_scope")))
            }
            "optional_scopes_param" | "optional_scope_param" => {
                let value = Meaning::Scope(self.scopes("optional_scopes", "optional_scope"));
                Ok(Meaning::Pair("optional_scope".to_owned(), Box::new(value)))
            }
            _ => match self.specification.get(name) {
                Some(Value::String(text)) => Ok(Meaning::Known(text.clone())),
                Some(other @ (Value::Number(_) | Value::Bool(true))) => Ok(Meaning::Known(other.to_string())),
                Some(Value::Bool(false)) => Ok(Meaning::Known(String::new())),
                _ => Err(format!("an undeclared name, `{name}`")),
            },
        }
    }

    fn value(&self, word: &str) -> Result<Meaning, String> {
        let variable = match (word, self.step) {
            ("auth_code", Step::Token) => "code",
            ("state", Step::Token) if self.challenged => "code_verifier",
            ("state", Step::Token) | ("auth_code" | "client_secret", Step::Consent) => {
                return Err(format!("`{word}_value`, which is not known in this step"));
            }
            ("code_challenge", _) => return Ok(Meaning::Challenge),
            _ => word,
        };
        Ok(Meaning::Variable(variable.to_owned()))
    }

    /// A text from the declaration.
    fn own(&self, name: &str) -> Option<&str> {
        self.specification.get(name).and_then(Value::as_str)
    }

    fn scopes(&self, list: &str, text: &str) -> String {
        let Some(scopes) = self.specification.get(list).and_then(Value::as_array) else {
            return self.own(text).unwrap_or_default().to_owned();
        };
        let scopes = scopes.iter().filter_map(|it| it.get("scope").unwrap_or(it).as_str());
        match self.own("scopes_join_strategy") {
            Some("comma") => scopes.collect::<Vec<_>>().join(","),
            // The plus itself must not be encoded.
            Some("plus") => scopes.map(urlencode).collect::<Vec<_>>().join("+"),
            _ => scopes.collect::<Vec<_>>().join(" "),
        }
    }
}

/// Variables with three forms each, and their default keys.
const WORDS: [(&str, &str); 6] = [
    ("client_id", "client_id"),
    ("client_secret", "client_secret"),
    ("redirect_uri", "redirect_uri"),
    ("state", "state"),
    ("auth_code", "code"),
    ("code_challenge", "code_challenge"),
];

fn is_state(expr: &Expr) -> bool {
    matches!(expr, Expr::Name(name) if name == "state_value" || name == "state")
}

fn written(meaning: &Meaning, context: Context) -> String {
    match (meaning, context) {
        (Meaning::Known(text), Context::Form) => urlencode(text),
        (Meaning::Known(text), Context::Query) => text.replace(' ', "%20"),
        (Meaning::Known(text) | Meaning::Scope(text), Context::Json) => json_escaped(text),
        (Meaning::Scope(text), Context::Query | Context::Form) if !text.contains(['%', '+']) => urlencode(text),
        (Meaning::Known(text) | Meaning::Scope(text), _) => text.clone(),
        (Meaning::Challenge, _) => CHALLENGE.to_owned(),
        (Meaning::Variable(name), context) if context.encodes() => {
            format!("{{{{#urlencode}}}}{{{{{{ {name} }}}}}}{{{{/urlencode}}}}")
        }
        (Meaning::Variable(name), _) => format!("{{{{{{ {name} }}}}}}"),
        (Meaning::Pair(key, value), _) => format!("{key}={}", written(value, Context::Query)),
    }
}

fn json_escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
