//! Which values of a config must be encrypted, as a schema for the encryption service, and whether its answer shows one.
//!
//! The schema is made for one config and has nothing but marks. The connector's own schema may reject the config, which
//! would lose a token, and does not mark what the connector added.

use serde_json::{Map, Value, json};

use crate::secrets::{Schemas, is_secret_name};

/// What the name of an encrypted member ends with, unless the answer tells.
const SUFFIX: &str = "_sops";

/// The marks of a config: values that the schema marks or does not declare, and changed values with secret names.
pub fn of(config: &Value, before: &Value, schema: Option<&Value>) -> Value {
    marks(config, Some(before), &Schemas::new(schema), false)
}

/// Whether anything in a value is marked by the schema.
pub fn hides_any(value: &Value, schemas: &Schemas) -> bool {
    match value {
        Value::Array(items) => {
            let schemas = schemas.item();
            items.iter().any(|it| schemas.mark_secret() || hides_any(it, &schemas))
        }
        Value::Object(members) => members.iter().any(|(name, it)| {
            let schemas = schemas.member(name);
            schemas.mark_secret() || hides_any(it, &schemas)
        }),
        _ => false,
    }
}

fn marks(value: &Value, before: Option<&Value>, schemas: &Schemas, is_hidden: bool) -> Value {
    let is_nothing = |it: &Value| it.as_object().is_some_and(Map::is_empty);
    match value {
        Value::Object(members) => {
            let mut properties = Map::new();
            for (name, member) in members {
                let of_it = schemas.member(name);
                let before = before.and_then(|it| it.get(name));
                let is_named = is_secret_name(name) && !member.is_object() && before != Some(member);
                // The service leaves texts in arrays readable, so those need a better reason.
                let is_unknown = !schemas.declare(name) && !member.is_object() && !member.is_array();
                let is_hidden = is_hidden || of_it.mark_secret() || is_named || is_unknown;
                let marks = marks(member, before, &of_it, is_hidden);
                if !is_nothing(&marks) {
                    properties.insert(name.clone(), marks);
                }
            }
            if properties.is_empty() { json!({}) } else { json!({"properties": properties}) }
        }
        Value::Array(items) => {
            let of_it = schemas.item();
            let is_hidden = is_hidden || of_it.mark_secret();
            let items = items.iter().enumerate();
            let marks = items.map(|(at, it)| marks(it, before.and_then(|it| it.get(at)), &of_it, is_hidden));
            let marks: Vec<Value> = marks.collect();
            if marks.iter().all(is_nothing) { json!({}) } else { json!({"items": {"allOf": marks}}) }
        }
        // Connectors' schemas have one of these words, Flow's the other.
        _ if is_hidden => json!({"secret": true, "airbyte_secret": true}),
        _ => json!({}),
    }
}

/// Whether an encrypted config shows a value that the marks hide.
pub fn shows_any(encrypted: &Value, config: &Value, marks: &Value) -> bool {
    let suffix = encrypted.pointer("/sops/encrypted_suffix").and_then(Value::as_str).unwrap_or(SUFFIX);
    let (mut hidden, mut plain) = (Vec::new(), Vec::new());
    sort_texts(config, marks, &mut hidden, &mut plain);
    // A short secret may be the same as something public.
    hidden.retain(|it| !plain.contains(it));
    shows(encrypted, config, marks, suffix) || has_text(encrypted, &hidden)
}

/// Whether a document shows any text of a secret value.
pub fn shows_text_of(document: &Value, secret: &Value) -> bool {
    let mut texts = Vec::new();
    // Without marks, all texts are plain ones.
    sort_texts(secret, &Value::Null, &mut Vec::new(), &mut texts);
    has_text(document, &texts)
}

/// Whether a value with these marks is readable where it belongs.
fn shows(encrypted: &Value, config: &Value, marks: &Value, suffix: &str) -> bool {
    match config {
        Value::Object(members) => members.iter().any(|(name, member)| {
            let Some(marks) = marks.get("properties").and_then(|it| it.get(name)) else { return false };
            let found = [encrypted.get(name), encrypted.get(format!("{name}{suffix}"))];
            found.into_iter().flatten().any(|it| shows(it, member, marks, suffix))
        }),
        Value::Array(items) => items.iter().enumerate().any(|(at, item)| {
            let marks = marks.pointer(&format!("/items/allOf/{at}"));
            encrypted.get(at).zip(marks).is_some_and(|(it, marks)| shows(it, item, marks, suffix))
        }),
        // Nothing encrypts an empty value.
        Value::Null => false,
        _ if is_mark(marks) => !is_encrypted(encrypted) && config != "",
        _ => false,
    }
}

/// Whether a member is in an encrypted config, encrypted.
pub fn has_encrypted(encrypted: &Value, path: &[String]) -> bool {
    let suffix = encrypted.pointer("/sops/encrypted_suffix").and_then(Value::as_str).unwrap_or(SUFFIX);
    let step = |it: &'_ Value, name: &String| it.get(name).or_else(|| it.get(format!("{name}{suffix}"))).cloned();
    path.iter().try_fold(encrypted.clone(), |it, name| step(&it, name)).is_some_and(|it| is_all_encrypted(&it))
}

/// Whether no value in this one is readable.
pub fn is_all_encrypted(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().all(is_all_encrypted),
        Value::Array(items) => items.iter().all(is_all_encrypted),
        Value::Null => true,
        other => other == "" || is_encrypted(other),
    }
}

fn is_mark(marks: &Value) -> bool {
    marks.get("secret").is_some()
}

/// Whether a value has the form of sops.
fn is_encrypted(value: &Value) -> bool {
    value.as_str().is_some_and(|it| it.starts_with("ENC[") && it.ends_with(']'))
}

fn sort_texts<'a>(config: &'a Value, marks: &Value, hidden: &mut Vec<&'a str>, plain: &mut Vec<&'a str>) {
    match config {
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            let marks = marks.get("properties").and_then(|it| it.get(name)).unwrap_or(&Value::Null);
            sort_texts(member, marks, hidden, plain);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| {
            let marks = marks.pointer(&format!("/items/allOf/{at}")).unwrap_or(&Value::Null);
            sort_texts(item, marks, hidden, plain);
        }),
        Value::String(text) if text.is_empty() => {}
        Value::String(text) if is_mark(marks) => hidden.push(text),
        Value::String(text) => plain.push(text),
        _ => {}
    }
}

fn has_text(value: &Value, texts: &[&str]) -> bool {
    match value {
        Value::String(text) => texts.contains(&text.as_str()),
        Value::Array(items) => items.iter().any(|it| has_text(it, texts)),
        Value::Object(members) => members.values().any(|it| has_text(it, texts)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn configs() -> impl Strategy<Value = Value> {
        let names = || select(vec!["token", "region", "a", "b", "access_key"]).prop_map(str::to_owned);
        let scalar = prop_oneof![
            select(vec!["", "x", "y", "t-12345"]).prop_map(Value::from),
            (0..2).prop_map(Value::from),
            Just(Value::Null),
        ];
        let value = scalar.prop_recursive(3, 12, 4, move |inner| {
            let object = btree_map(names(), inner, 0..4).prop_map(|it| it.into_iter().collect::<Value>()).boxed();
            prop_oneof![object.clone(), vec(object, 0..3).prop_map(Value::Array)]
        });
        btree_map(names(), value, 0..5).prop_map(|it| it.into_iter().collect())
    }

    /// A schema that declares some members of a config and marks some of them.
    fn schema_of(config: &Value, choices: &mut impl Iterator<Item = u8>) -> Value {
        let mut schema = json!({});
        match config {
            Value::Object(members) => {
                for (name, member) in members {
                    let of_it = schema_of(member, choices);
                    match choices.next() {
                        Some(0) => {}
                        Some(1) => schema["properties"][name] = json!({"allOf": [of_it, {"airbyte_secret": true}]}),
                        _ => schema["properties"][name] = json!({"oneOf": [of_it]}),
                    }
                }
            }
            Value::Array(items) => schema["items"] = items.first().map_or(json!({}), |it| schema_of(it, choices)),
            _ => {}
        }
        schema
    }

    /// As Flow's service does it.
    fn encrypted(value: &Value, marks: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let member = |(name, it): (&String, &Value)| {
                    let marks = marks.get("properties").and_then(|it| it.get(name)).unwrap_or(&Value::Null);
                    let name = if is_mark(marks) { format!("{name}_sops") } else { name.clone() };
                    (name, encrypted(it, marks))
                };
                members.iter().map(member).collect()
            }
            Value::Array(items) => {
                let marks = |at| marks.pointer(&format!("/items/allOf/{at}")).unwrap_or(&Value::Null);
                items.iter().enumerate().map(|(at, it)| encrypted(it, marks(at))).collect()
            }
            Value::Null => Value::Null,
            other if is_mark(marks) && other != "" => format!("ENC[{}]", other.to_string().len()).into(),
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn an_encrypted_config_is_told_from_a_readable_one(
            config in configs(),
            before in configs(),
            choices in vec(0..4u8, 40),
        ) {
            let schema = schema_of(&config, &mut choices.into_iter());
            let marks = of(&config, &before, Some(&schema));
            let right = encrypted(&config, &marks);
            prop_assert!(!shows_any(&right, &config, &marks), "{right}");
            // Where nothing had to be encrypted, the config itself is an answer.
            prop_assert_eq!(shows_any(&config, &config, &marks), right.to_string().contains("ENC["), "{}", marks);
            let all = encrypted(&config, &of(&config, &before, None));
            prop_assert_eq!(is_all_encrypted(&all), true, "{}", all);
        }
    }

    fn schema() -> Value {
        json!({"properties": {
            "user": {}, "expiry": {"format": "date-time"}, "token": {}, "password": {"secret": true}, "pin": {"secret": true},
            "whole": {"airbyte_secret": true},
            "list": {"items": {"properties": {"host": {}, "key": {"airbyte_secret": true}}}},
        }})
    }

    fn config() -> Value {
        json!({
            "user": "admin", "expiry": "2026-11-25", "token": "t-2", "password": "admin", "pin": 1234, "added": "a",
            "whole": {"kind": "x", "empty": ""}, "list": [{"host": "h", "key": "k1"}], "scopes": ["read"],
        })
    }

    #[test]
    fn what_is_declared_without_a_mark_stays_readable() {
        let secret = json!({"secret": true, "airbyte_secret": true});
        let before = json!({"token": "t-1"});
        let want = json!({"properties": {
            "token": secret, "password": secret, "pin": secret, "added": secret,
            "whole": {"properties": {"kind": secret, "empty": secret}},
            "list": {"items": {"allOf": [{"properties": {"key": secret}}]}},
        }});
        assert_eq!(of(&config(), &before, Some(&schema())), want);
        // An old value is as public as it was.
        assert_eq!(of(&json!({"token": "t-2"}), &json!({"token": "t-2"}), Some(&schema())), json!({}));
        assert_eq!(
            of(&json!({"a": {"b": 1}}), &json!({}), None),
            json!({"properties": {"a": {"properties": {"b": secret}}}})
        );
    }

    #[test]
    fn a_readable_secret_is_noticed() {
        let config = config();
        let marks = of(&config, &json!({}), Some(&schema()));
        let encrypted = json!({
            "user": "admin", "expiry": "2026-11-25", "token_sops": "ENC[1]", "password_sops": "ENC[2]",
            "pin_sops": "ENC[3]", "added_sops": "ENC[4]", "whole": {"kind_sops": "ENC[5]", "empty_sops": ""},
            "list": [{"host": "h", "key_sops": "ENC[6]"}], "scopes": ["read"], "sops": {},
        });
        assert!(!shows_any(&encrypted, &config, &marks));
        for (name, value) in [
            ("password", json!("admin")),
            ("password_sops", json!("admin")),
            ("pin", json!(1234)),
            ("whole", json!({"kind_sops": "x"})),
            ("whole_sops", json!({"kind": "x"})),
            ("list", json!([{"key": "k1"}])),
            ("elsewhere", json!(["t-2"])),
        ] {
            let mut shown = encrypted.clone();
            shown[name] = value;
            assert!(shows_any(&shown, &config, &marks), "{name}");
        }
        let mut other = encrypted.clone();
        other["sops"]["encrypted_suffix"] = json!("_enc");
        other["pin_enc"] = json!(1234);
        assert!(shows_any(&other, &config, &marks));
    }

    #[test]
    fn an_encrypted_member_is_found() {
        let encrypted = json!({"a": {"token_sops": "ENC[1]", "plain": "x"}, "b_sops": {"token": "ENC[2]"}, "sops": {}});
        let has =
            |path: &[&str]| has_encrypted(&encrypted, &path.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert!(has(&["a", "token"]) && has(&["b", "token"]));
        assert!(!has(&["a", "plain"]) && !has(&["a", "gone"]));
    }
}
