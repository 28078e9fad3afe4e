//! The specs in `fixtures/specs`: what is derived obeys Flow's rules, and the reverse map brings each value to where the
//! connector's own schema wants it.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::oauth::{Declaration, Derived, OAuthSetting, derive};
use crate::schema;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

/// The name and the ConnectorSpecification of each spec in `fixtures/specs`.
fn specs() -> Vec<(String, Value)> {
    let mut specs: Vec<(String, Value)> = fs::read_dir(Path::new(FIXTURES).join("specs"))
        .unwrap()
        .map(|it| {
            let path = it.unwrap().path();
            let spec: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), spec)
        })
        .collect();
    specs.sort_by(|a, b| a.0.cmp(&b.0));
    specs
}

fn derived(spec: &Value, own: &OAuthSetting) -> Derived {
    let declaration = Declaration {
        schema: &spec["connectionSpecification"],
        advanced_auth: spec.get("advanced_auth"),
        auth_specification: spec.get("authSpecification"),
    };
    derive(&declaration, own)
}

/// URLs that fit any connector, so that the derivation of each is seen.
fn urls() -> OAuthSetting {
    OAuthSetting::Given(json!({
        "authUrlTemplate": "https://login.example.com/authorize?client_id={{#urlencode}}{{{ client_id }}}{{/urlencode}}",
        "accessTokenUrlTemplate": "https://login.example.com/token",
    }))
}

#[test]
fn derived_specs_obey_flows_rules() {
    let mut count = 0;
    for (name, spec) in specs() {
        for own in [OAuthSetting::Unsaid, urls()] {
            let derived = derived(&spec, &own);
            if let Some(oauth2) = &derived.oauth2 {
                check(&name, &schema::config(&derived.schema).schema, oauth2);
                count += 1;
            } else {
                assert_eq!(derived.schema, spec["connectionSpecification"], "{name}");
                assert!(derived.remap.is_nothing(), "{name}");
            }
        }
    }
    assert!(count > 20, "{count} derived");
}

/// What Flow asks of an `oauth2`.
fn check(name: &str, schema: &Value, oauth2: &Value) {
    for field in ["provider", "authUrlTemplate", "accessTokenUrlTemplate"] {
        assert!(oauth2[field].as_str().is_some_and(|it| !it.is_empty()), "{name}: no {field}");
    }
    let map = oauth2["accessTokenResponseMap"].as_object().unwrap();
    assert!(!map.is_empty(), "{name}");
    assert!(schema["required"].as_array().unwrap().contains(&json!("credentials")), "{name}");
    let credentials = &schema["properties"]["credentials"];
    let login = login(credentials);
    assert_eq!(login["x-oauth2-provider"], oauth2["provider"], "{name}");
    for field in ["client_id", "client_secret"].into_iter().chain(map.keys().map(String::as_str)) {
        let property = &login["properties"][field];
        assert!(property["secret"] == true || property["airbyte_secret"] == true, "{name}: {field} is no secret");
    }
    let from_form: Vec<&String> = login["properties"].as_object().unwrap().keys().collect();
    for required in login["required"].as_array().unwrap() {
        assert!(from_form.iter().any(|it| *it == required), "{name}: {required}");
    }
    if let Some(branches) = credentials["oneOf"].as_array() {
        let discriminator = credentials["discriminator"]["propertyName"].as_str().unwrap_or_else(|| panic!("{name}"));
        for branch in branches {
            let property = &branch["properties"][discriminator];
            assert!(!property["const"].is_null() && property["const"] == property["default"], "{name}: {branch}");
        }
    }
}

/// The one object with the sign-in button.
fn login(credentials: &Value) -> &Value {
    let choices = credentials["oneOf"].as_array().into_iter().flatten();
    let mut all = [credentials].into_iter().chain(choices).filter(|it| it.get("x-oauth2-provider").is_some());
    let login = all.next().expect("a login");
    assert!(all.next().is_none());
    login
}

#[test]
fn connectors_accept_configs_from_the_reverse_map() {
    for (name, spec) in specs() {
        let own_schema = &spec["connectionSpecification"];
        let Ok(validator) = jsonschema::validator_for(own_schema) else {
            eprintln!("{name}: its schema is not valid itself");
            continue;
        };
        for own in [OAuthSetting::Unsaid, urls()] {
            let derived = derived(&spec, &own);
            if derived.oauth2.is_none() {
                continue;
            }
            for config in configs(&derived.schema, own_schema) {
                let applied = derived.remap.apply(&config);
                let errors: Vec<String> =
                    validator.iter_errors(&applied).map(|it| format!("{} at {}", it, it.instance_path())).collect();
                assert!(errors.is_empty(), "{name}: {config}\n  became {applied}\n  {}", errors.join("\n  "));
                assert_eq!(derived.remap.undo(&applied, &config), config, "{name}");
                let is_oauth = config["credentials"].get("client_secret").is_some();
                let moves_all = derived.remap.apply(&json!({"credentials": {}})).get("credentials").is_none();
                if !is_oauth && !moves_all {
                    assert_eq!(applied, config, "{name}: another login was touched");
                }
            }
        }
    }
}

/// Configs that Flow's form could make: one for each login.
fn configs(schema: &Value, own: &Value) -> Vec<Value> {
    let credentials = &schema["properties"]["credentials"];
    let logins: Vec<&Value> =
        credentials["oneOf"].as_array().map_or_else(|| vec![credentials], |all| all.iter().collect());
    let root = Value::Object(object(schema, &["credentials"]));
    let made = logins.into_iter().map(|login| {
        let mut config = root.clone();
        let mut chosen = object(login, &[]);
        if login.get("x-oauth2-provider").is_some() {
            // The button fills in all of it.
            for (name, property) in login["properties"].as_object().unwrap() {
                chosen.insert(name.clone(), sample(property));
            }
        }
        config["credentials"] = chosen.into();
        // What was hoisted out of the login is typed beside it.
        for (name, property) in schema["properties"].as_object().unwrap() {
            // What OAuth gives is still to be typed by others.
            let is_others = own["required"].as_array().is_some_and(|it| it.contains(&json!(name)));
            if is_others && config.get(name).is_none() && login.get("x-oauth2-provider").is_none() {
                config[name] = sample(property);
            }
            let is_hoisted = name != "credentials" && own["properties"].get(name).is_none();
            if is_hoisted && login.get("x-oauth2-provider").is_some() {
                config[name] = sample(property);
            }
        }
        config
    });
    made.collect()
}

/// What is required of an object, and what has a default.
fn object(schema: &Value, without: &[&str]) -> Map<String, Value> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let wanted = properties.filter(|(name, it)| required.contains(&json!(name)) || it.get("const").is_some());
    wanted.filter(|(name, _)| !without.contains(&name.as_str())).map(|(name, it)| (name.clone(), sample(it))).collect()
}

/// A value that a schema accepts.
fn sample(schema: &Value) -> Value {
    let validator = jsonschema::validator_for(schema).unwrap();
    let mut candidates: Vec<Value> = ["const", "default"].iter().filter_map(|it| schema.get(it).cloned()).collect();
    candidates.extend(schema["enum"].as_array().into_iter().flatten().cloned());
    candidates.extend(schema["examples"].as_array().into_iter().flatten().cloned());
    if schema["format"] == "date-time" {
        candidates.push("2021-01-01T00:00:00Z".into());
    }
    for text in ["sample-text", "2021-01-01T00:00:00Z", "2021-01-01", "12345", "https://example.com", "a/b"] {
        candidates.push(text.into());
        candidates.push(json!([text]));
    }
    candidates.extend([json!(1), json!(true), json!([])]);
    if let Some(items) = schema.get("items").filter(|it| it["type"] == "object") {
        candidates.push(json!([object(items, &[])]));
    }
    candidates.push(Value::Object(object(schema, &[])));
    candidates.extend(schema["oneOf"].as_array().into_iter().flatten().map(|it| Value::Object(object(it, &[]))));
    let found = candidates.into_iter().find(|it| validator.is_valid(it));
    found.unwrap_or_else(|| panic!("nothing fits {schema}"))
}

#[test]
fn derived_oauth_of_each_spec() {
    let lines: Vec<String> = specs()
        .iter()
        .map(|(name, spec)| {
            let declared = derived(spec, &OAuthSetting::Unsaid);
            let with_urls = derived(spec, &urls());
            let declared = match (&declared.oauth2, &declared.missing) {
                (Some(oauth2), _) => format!("derived, {}", oauth2["provider"]),
                (None, Some(missing)) => missing.clone(),
                (None, None) => "no OAuth declared".to_owned(),
            };
            let with_urls = match (&with_urls.oauth2, &with_urls.missing) {
                (Some(oauth2), _) => format!("derived: {}", oauth2["accessTokenResponseMap"]),
                (None, missing) => missing.clone().unwrap_or_default(),
            };
            format!("{name}\n  alone:     {declared}\n  with URLs: {with_urls}")
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// airbyte-to-flow's overlays were written by hand: their oauth2 is used unchanged.
#[test]
fn overlays_made_by_hand_are_obeyed() {
    let (mut none, mut without_login, mut given) = (0, 0, 0);
    for (name, spec) in specs() {
        let overlay = Path::new(FIXTURES).join("overlays").join(format!("source-{name}"));
        let read =
            |file: &str| -> Option<Value> { serde_json::from_str(&fs::read_to_string(overlay.join(file)).ok()?).ok() };
        let (Some(patch), Some(oauth2)) = (read("spec.patch.json"), read("oauth2.patch.json")) else { continue };
        let mut patched = spec.clone();
        crate::json::merge::merge(&mut patched["connectionSpecification"], patch);
        let derived = derived(&patched, &OAuthSetting::Given(oauth2.clone()));
        if oauth2["provider"] == "" {
            assert_eq!((derived.oauth2, derived.missing), (None, None), "{name}");
            none += 1;
        } else if let Some(missing) = derived.missing {
            // A patch that takes the OAuth login out of the form: nobody could sign in.
            assert_eq!(missing, "none of the connector's logins is the OAuth one", "{name}");
            assert!(!patched["connectionSpecification"].to_string().contains("x-oauth2-provider"), "{name}");
            without_login += 1;
        } else {
            assert_eq!(derived.oauth2, Some(oauth2), "{name}");
            let required = derived.schema["required"].as_array().unwrap();
            assert!(required.contains(&json!("credentials")), "{name}");
            // Written for people who knew nothing of ours, some fit no machine's idea of the connector's fields.
            eprintln!("{name}: {}", if derived.remap.is_nothing() { "by hand" } else { "derived" });
            given += 1;
        }
    }
    assert!(none > 0 && without_login > 0 && given > 0, "of each kind one: {none}, {without_login}, {given}");
}
