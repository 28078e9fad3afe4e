//! Converts a connector's OAuth declaration to what Flow needs.
//!
//! Airbyte's connectors declare which of their fields OAuth fills in (`advanced_auth`), and a few declare the URLs
//! (`consent_url`, ...). Flow needs an object at `/credentials` that its sign-in button fills, and an `oauth2` object with
//! Mustache templates. [`derive`] makes these, and the [`Remap`] that converts a config from Flow's form to the connector's.
//! The rules are in `docs/oauth.md`. This module knows the declarations of Airbyte and Flow, and runs nothing.

mod declared;
pub mod mustache;
mod paths;
mod plan;
mod rebuild;
mod remap;
mod schema;
mod template;
mod translate;

#[cfg(test)]
mod tests;

pub use declared::{CLIENT_ID, CLIENT_SECRET};
pub use remap::Remap;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use declared::{Declared, Output};
use plan::Plan;
use schema::{PROVIDER, annotated};

/// A connector's declaration.
pub struct Declaration<'a> {
    /// The schema of its config.
    pub schema: &'a Value,
    pub advanced_auth: Option<&'a Value>,
    /// The predecessor of `advanced_auth`.
    pub auth_specification: Option<&'a Value>,
}

/// The setting in shim.yaml.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OAuthSetting {
    /// As the connector declares it.
    #[default]
    Unsaid,
    /// No OAuth.
    Never,
    /// Flow's OAuth2 object. Without URLs it is merged with the connector's declaration.
    Given(Value),
}

/// The schema and OAuth2 object for Flow, and the mapping of its configs to the connector's.
#[derive(Debug, PartialEq)]
pub struct Derived {
    pub schema: Value,
    /// Flow's OAuth2 object.
    pub oauth2: Option<Value>,
    /// Why the declaration gives no OAuth2 object: a part of a sentence.
    pub missing: Option<String>,
    pub remap: Remap,
}

/// Converts a connector's declaration.
pub fn derive(declaration: &Declaration, own: &OAuthSetting) -> Derived {
    let without = |missing: Option<String>| Derived {
        schema: unannotated(declaration.schema),
        oauth2: None,
        missing,
        remap: Remap::default(),
    };
    let given = match own {
        OAuthSetting::Never => return without(None),
        // The files of airbyte-to-flow have an empty object for "none".
        OAuthSetting::Given(value) if is_empty(value) => return without(None),
        OAuthSetting::Given(Value::Object(value)) => value.clone(),
        OAuthSetting::Given(_) => return without(Some("`oauth2` is not an object".into())),
        OAuthSetting::Unsaid => Map::new(),
    };
    let derived = match annotated(declaration.schema) {
        Some(provider) => by_hand(declaration.schema, provider, given),
        None => match declared(declaration, &given) {
            Some(declared) => declared.and_then(|it| by_declaration(declaration.schema, &it, given)),
            None => return without(None),
        },
    };
    derived.unwrap_or_else(|it| without(Some(it)))
}

/// The schema has `x-oauth2-provider` already: its author decides everything else as well.
fn by_hand(schema: &Value, provider: &str, given: Map<String, Value>) -> Result<Derived, String> {
    if given.is_empty() {
        return Err("the config is made for it, but there is no `oauth2`".into());
    }
    let mut oauth2 = given;
    oauth2.entry("provider").or_insert_with(|| provider.into());
    check(&oauth2)?;
    let mut schema = schema.clone();
    if let Some(root) = schema.as_object_mut() {
        rebuild::require(root, "credentials");
    }
    Ok(Derived { schema, oauth2: Some(Value::Object(oauth2)), missing: None, remap: Remap::default() })
}

fn declared(declaration: &Declaration, given: &Map<String, Value>) -> Option<Result<Declared, String>> {
    let schema = declaration.schema;
    let found = match (declaration.advanced_auth, declaration.auth_specification) {
        (Some(auth @ Value::Object(_)), _) => declared::advanced(schema, auth),
        (_, Some(auth @ Value::Object(_))) => declared::legacy(schema, auth),
        _ if given.is_empty() => return None,
        _ => Ok(Declared::default()),
    };
    Some(found.and_then(|it| match it.outputs.is_empty() {
        true => declared::by_names(schema, it, &names_of(given)),
        false => Ok(it),
    }))
}

fn by_declaration(schema: &Value, declared: &Declared, given: Map<String, Value>) -> Result<Derived, String> {
    let mut oauth2 = given;
    oauth2.entry("accessTokenResponseMap").or_insert_with(|| Value::Object(response_map(declared)));
    let plan = Plan::new(schema, declared, &names_of(&oauth2))?;
    if !oauth2.contains_key("authUrlTemplate") && !oauth2.contains_key("accessTokenUrlTemplate") {
        let templates = declared.templates.as_ref();
        let templates = templates.ok_or("the connector declares no URLs for it: give `oauth2` in shim.yaml")?;
        let translated =
            translate::translate(templates, &plan.inputs).map_err(|it| format!("{it}: give `oauth2` in shim.yaml"))?;
        for (name, value) in translated {
            oauth2.entry(name).or_insert(value);
        }
    }
    if !oauth2.contains_key("provider") {
        let url = oauth2.get("authUrlTemplate").and_then(Value::as_str).unwrap_or_default();
        oauth2.insert("provider".into(), translate::provider(url).into());
    }
    check(&oauth2)?;
    let oauth2 = in_order(oauth2);
    let provider = oauth2.get("provider").and_then(Value::as_str).unwrap_or_default();
    let schema = rebuild::rebuild(schema, declared, &plan, provider)?;
    Ok(Derived { schema, oauth2: Some(Value::Object(oauth2)), missing: None, remap: plan.remap })
}

/// Orders the members as people write them.
fn in_order(mut oauth2: Map<String, Value>) -> Map<String, Value> {
    let first = ["provider", "authUrlTemplate", "accessTokenUrlTemplate", "accessTokenBody", "accessTokenHeaders"];
    let mut ordered: Map<String, Value> = first.into_iter().filter_map(|it| oauth2.shift_remove_entry(it)).collect();
    ordered.extend(oauth2);
    ordered
}

fn names_of(oauth2: &Map<String, Value>) -> Vec<String> {
    let map = oauth2.get("accessTokenResponseMap").and_then(Value::as_object);
    map.map(|it| it.keys().cloned().collect()).unwrap_or_default()
}

/// The location of each output in the token response (docs/oauth.md, "Derivation", 5).
fn response_map(declared: &Declared) -> Map<String, Value> {
    let extracted = declared.templates.as_ref().and_then(|it| it.get("extract_output")?.as_array());
    let extracted: Vec<Vec<String>> = extracted
        .into_iter()
        .flatten()
        .filter_map(|it| Some(it.as_str()?.split('.').map(str::to_owned).collect()))
        .collect();
    let named = |name: &str| extracted.iter().find(|path| path.last().is_some_and(|it| it == name)).cloned();
    let mut map = BTreeMap::new();
    for (index, Output { name, in_response, .. }) in declared.outputs.iter().enumerate() {
        let value = if is_expiry(name) {
            let path = in_response.clone().or_else(|| named("expires_in"));
            let path = path.unwrap_or_else(|| vec!["expires_in".to_owned()]);
            format!("{{{{#now_plus}}}}{{{{ {} }}}}{{{{/now_plus}}}}", path.join("."))
        } else {
            let path = in_response.clone().or_else(|| named(name)).unwrap_or_else(|| vec![name.clone()]);
            crate::json::pointer::from_path(path.iter().map(String::as_str))
        };
        map.insert(index, (name.clone(), value.into()));
    }
    map.into_values().collect()
}

/// Whether the connector expects a timestamp where the response has a number of seconds.
fn is_expiry(name: &str) -> bool {
    name.contains("expir") && (name.ends_with("_date") || name.ends_with("_at"))
}

/// The members of Flow's OAuth2 object: it rejects others (F2).
const KNOWN: [&str; 12] = [
    "provider",
    "authUrlTemplate",
    "accessTokenMethod",
    "accessTokenUrlTemplate",
    "accessTokenBody",
    "accessTokenHeaders",
    "accessTokenResponseMap",
    "refreshTokenMethod",
    "refreshTokenUrlTemplate",
    "refreshTokenBody",
    "refreshTokenHeaders",
    "refreshTokenResponseMap",
];

/// Rejects members of an OAuth2 object that Flow does not know.
pub fn check_names(oauth2: &Map<String, Value>) -> Result<(), String> {
    match oauth2.keys().find(|it| !KNOWN.contains(&it.as_str())) {
        None => Ok(()),
        Some(name) => {
            Err(format!("`oauth2` has `{name}`, which Flow does not know: expected one of {}", KNOWN.join(", ")))
        }
    }
}

/// Checks that an OAuth2 object has all members that Flow requires, and no unknown ones, and that its templates can be read.
fn check(oauth2: &Map<String, Value>) -> Result<(), String> {
    check_names(oauth2)?;
    let text = |name: &str| oauth2.get(name).and_then(Value::as_str).is_some_and(|it| !it.is_empty());
    if let Some(name) = ["provider", "authUrlTemplate", "accessTokenUrlTemplate"].into_iter().find(|it| !text(it)) {
        return Err(format!("`oauth2` has no `{name}`"));
    }
    if names_of(oauth2).is_empty() {
        return Err("`oauth2` has no `accessTokenResponseMap`".into());
    }
    for name in ["authUrlTemplate", "accessTokenUrlTemplate", "accessTokenBody"] {
        let template = oauth2.get(name).and_then(Value::as_str).unwrap_or_default();
        mustache::variables(template).map_err(|why| format!("`{name}` of `oauth2` is not a template: {why}"))?;
    }
    Ok(())
}

/// Whether a value is empty or contains only empty values.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Removes `x-oauth2-provider`: without `oauth2` the form would show a button that does nothing instead of the fields.
fn unannotated(schema: &Value) -> Value {
    if annotated(schema).is_none() {
        return schema.clone();
    }
    let mut schema = schema.clone();
    if let Some(credentials) = schema.pointer_mut("/properties/credentials").and_then(Value::as_object_mut) {
        credentials.shift_remove(PROVIDER);
        for choices in ["oneOf", "anyOf"] {
            let branches = credentials.get_mut(choices).and_then(Value::as_array_mut);
            for branch in branches.into_iter().flatten().filter_map(Value::as_object_mut) {
                branch.shift_remove(PROVIDER);
            }
        }
    }
    schema
}
