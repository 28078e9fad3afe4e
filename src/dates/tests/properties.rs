//! Properties for random schemas and documents, with the jsonschema crate as the oracle.

use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::*;

const NAMES: [&str; 6] = ["a", "b", "c", "at", "a b", "ä"];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => Just(json!({"type": ["null", "string"], "format": "date-time"})),
        2 => Just(json!({"type": "string", "format": "date"})),
        1 => Just(json!({"type": "integer"})),
        1 => Just(json!({})),
        1 => Just(json!({"$ref": "#"})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let members = prop::collection::hash_map(name(), inner.clone(), 0..4);
        prop_oneof![
            3 => members.prop_map(|it| json!({"properties": it})),
            2 => inner.clone().prop_map(|it| json!({"type": "array", "items": it})),
            1 => inner.clone().prop_map(|it| json!({"additionalProperties": it})),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|it| json!({"items": it, "additionalItems": false})),
            2 => prop::collection::vec(inner, 1..3).prop_map(|it| json!({"oneOf": it})),
        ]
    })
}

/// JSON texts with various white space and escapes.
fn document() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "5",
            "1675045055",
            "1675045055123.50",
            "20230130",
            r#""2023-01-30T02:34:15Z""#,
            r#""2023-01-30""#,
            r#""2023-01-30 02:34:15""#,
            r#""2023-01-30T00:00:00""#,
            r#""2023\u002d01-30""#,
            r#""10:20:30""#,
            r#""""#,
            r#""at""#,
            r#""say \"at\": \u00e9""#,
            r#""1675045055""#,
            r#""2023-02-30T00:00:00Z""#,
        ])
        .prop_map(str::to_owned),
        "\"2[0-9]{3}-[01][0-9]-[0-3][0-9]([Tt ][0-2][0-9]:[0-5][0-9](:[0-6][0-9](\\.[0-9]{0,4})?)?( ?[Zz]|[+-][0-2][0-9](:?[0-9]{2})?)?)?\"",
        "-?[1-9][0-9]{0,19}(\\.[0-9]{1,3})?",
    ];
    let space = || prop::sample::select(vec!["", "", "", " ", "\n\t"]);
    let value = scalar.prop_recursive(5, 40, 5, move |inner| {
        let key = prop_oneof![
            6 => name().prop_map(|it| serde_json::to_string(&it).unwrap()),
            1 => prop::sample::select(vec![r#""\u0061t""#, r#""\u00e4""#, r#""\"at""#, r#""at\\""#]).prop_map(str::to_owned),
        ];
        let member = (key, space(), space(), inner.clone()).prop_map(|(key, a, b, value)| format!("{key}{a}:{b}{value}"));
        prop_oneof![
            prop::collection::vec(member, 0..5).prop_map(|it| format!("{{{}}}", it.join(","))),
            (prop::collection::vec(inner, 0..4), space()).prop_map(|(it, a)| format!("[{a}{}{a}]", it.join(&format!("{a},")))),
        ]
    });
    prop::collection::vec((name(), value), 0..6).prop_map(|members| {
        let member = |(name, value): (String, String)| format!("{}:{value}", serde_json::to_string(&name).unwrap());
        format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
    })
}

/// The scalars of a text, in order, and whether any schema that may apply declares a date: found in a simpler way.
fn scalars<'a>(root: &Value, schemas: Vec<&Value>, text: &'a str, found: &mut Vec<(&'a str, bool)>) {
    let mut all: Vec<&Value> = Vec::new();
    let mut open = schemas;
    while let Some(schema) = open.pop() {
        if !all.iter().any(|it| std::ptr::eq(*it, schema)) {
            all.push(schema);
            open.extend(schema.get("$ref").map(|_| root));
            open.extend(schema.get("oneOf").and_then(Value::as_array).into_iter().flatten());
        }
    }
    if text.starts_with('{') {
        for (name, value) in serde_json::from_str::<Members>(text).unwrap().0 {
            let below = all.iter().filter_map(|it| it["properties"].get(&name).or(it.get("additionalProperties")));
            scalars(root, below.collect(), value.get(), found);
        }
    } else if text.starts_with('[') {
        for (index, item) in serde_json::from_str::<Vec<&RawValue>>(text).unwrap().into_iter().enumerate() {
            let below = all.iter().filter_map(|it| match &it["items"] {
                Value::Array(tuple) => tuple.get(index),
                it @ Value::Object(_) => Some(it),
                _ => None,
            });
            scalars(root, below.collect(), item.get(), found);
        }
    } else {
        found.push((text, all.iter().any(|it| it.get("format").is_some())));
    }
}

/// Members in order, duplicates included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut found = Vec::new();
                while let Some(member) = map.next_entry()? {
                    found.push(member);
                }
                Ok(Members(found))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The texts between the scalars.
fn between<'a>(text: &'a str, scalars: &[(&'a str, bool)]) -> Vec<&'a str> {
    let mut at = 0;
    let mut texts = Vec::new();
    for (scalar, _) in scalars {
        let start = scalar.as_ptr() as usize - text.as_ptr() as usize;
        texts.push(&text[at..start]);
        at = start + scalar.len();
    }
    texts.push(&text[at..]);
    texts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn only_dates_change(schema in schema(), document in document()) {
        let Some(mut dates) = dates(&schema) else { return Ok(()) };
        let result = dates.rewritten(&document);
        // The fast check agrees with the traversal.
        if dates.is_right(&document) {
            prop_assert_eq!(&result, &None);
        }
        let result = result.unwrap_or_else(|| document.clone());
        prop_assert_eq!(dates.normalized(&document), result.as_str());
        // A second rewrite changes nothing.
        prop_assert_eq!(dates.rewritten(&result), None);
        // Only declared dates differ, and nothing between the values.
        let (mut before, mut after) = (Vec::new(), Vec::new());
        scalars(&schema, vec![&schema], &document, &mut before);
        scalars(&schema, vec![&schema], &result, &mut after);
        prop_assert_eq!(before.len(), after.len());
        for ((old, is_date), (new, _)) in before.iter().zip(&after) {
            prop_assert!(*is_date || old == new, "{} became {}", old, new);
        }
        prop_assert_eq!(between(&document, &before), between(&result, &after));
    }

    /// The fast check accepts a date exactly if reading and writing it gives the same text.
    #[test]
    fn the_fast_check_is_exact(text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,3})?(Z|[+-][0-2][0-9]:[0-6][0-9]))?") {
        let quoted = format!("\"{text}\"");
        let mut written = b"\"".to_vec();
        let moment = crate::dates::text::Moment::read(text.as_bytes());
        if let Some(moment) = moment {
            if moment.has_time() { moment.write(&mut written) } else { moment.write_date(&mut written) }
        }
        written.push(b'"');
        let accepted = crate::dates::text::begins_with_date_time(quoted.as_bytes()) || crate::dates::text::begins_with_date(quoted.as_bytes());
        let is_leap = text.get(17..19) == Some("60");
        prop_assert_eq!(accepted, written == quoted.as_bytes() && !is_leap);
    }

    #[test]
    fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut dates = dates(&at(&json!({"format": "date-time"}))).unwrap();
        let around = [&br#"{"at":"2023-01-30","at":"#[..], &bytes].concat();
        for bytes in [&bytes, &around] {
            dates.dates.rewriter.rewrite(&dates.dates.schema, bytes);
        }
    }
}

/// Schemas with every keyword that combines or restricts others, for the members `a` and `b`.
fn combined() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => Just(json!({"type": ["null", "string"], "format": "date-time"})),
        2 => Just(json!({"type": "string", "format": "date"})),
        1 => Just(json!({"format": "date-time"})),
        1 => Just(json!({"type": ["integer", "string"], "format": "date-time"})),
        1 => Just(json!({"type": "integer", "format": "date-time"})),
        1 => Just(json!({"type": "integer"})),
        1 => Just(json!({"type": "string"})),
        1 => Just(json!({"type": "null"})),
        1 => Just(json!({"pattern": " "})),
        1 => Just(json!({"maxLength": 19})),
        1 => Just(json!({"enum": ["2023-01-30 02:34:15", 1_675_045_055]})),
        1 => Just(json!({"const": {"a": "2023-01-30 02:34:15"}})),
        1 => Just(json!({"required": ["b"]})),
        1 => Just(json!(true)),
        1 => Just(json!(false)),
        1 => Just(json!({"$ref": "#/$defs/x"})),
    ];
    let schema = leaf.prop_recursive(4, 24, 3, |inner| {
        let name = || prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned);
        let members = || prop::collection::hash_map(name(), inner.clone(), 1..3);
        let list = || prop::collection::vec(inner.clone(), 1..4);
        let keyword = prop_oneof![
            6 => members().prop_map(|it| json!({"properties": it})),
            2 => members().prop_map(|it| json!({"properties": it, "additionalProperties": false})),
            1 => inner.clone().prop_map(|it| json!({"additionalProperties": it})),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"patternProperties": {"^a": a, ".": b}})),
            1 => inner.clone().prop_map(|it| json!({"unevaluatedProperties": it})),
            2 => inner.clone().prop_map(|it| json!({"items": it})),
            1 => inner.clone().prop_map(|it| json!({"items": it, "uniqueItems": true})),
            1 => (list(), inner.clone()).prop_map(|(a, b)| json!({"prefixItems": a, "items": b})),
            1 => inner.clone().prop_map(|it| json!({"contains": it})),
            2 => list().prop_map(|it| json!({"anyOf": it})),
            3 => list().prop_map(|it| json!({"oneOf": it})),
            2 => list().prop_map(|it| json!({"allOf": it})),
            1 => inner.clone().prop_map(|it| json!({"not": it})),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"if": a, "then": b})),
            1 => list().prop_map(|it| json!({"if": it[0], "then": it[it.len() / 2], "else": it[it.len() - 1]})),
            1 => inner.clone().prop_map(|it| json!({"dependentSchemas": {"a": it}})),
        ];
        // Two keywords beside each other.
        (keyword, prop::option::of(inner)).prop_map(|(mut schema, more)| {
            if let (Value::Object(schema), Some(Value::Object(more))) = (&mut schema, more) {
                for (keyword, value) in more {
                    schema.entry(keyword).or_insert(value);
                }
            }
            schema
        })
    });
    (schema.clone(), schema).prop_map(|(mut schema, x)| {
        if let Value::Object(schema) = &mut schema {
            // A schema that refers to itself in place is invalid.
            let x = if x.to_string().contains("$ref") { json!({"format": "date-time"}) } else { x };
            schema.insert("$defs".into(), json!({"x": x}));
        }
        schema
    })
}

/// Documents with the members that [`combined`] declares.
fn small_document() -> impl Strategy<Value = String> {
    let texts = vec![
        "null",
        "5",
        "1675045055",
        r#""1675045055""#,
        r#""2023-01-30T02:34:15Z""#,
        r#""2023-01-30""#,
        r#""2023-01-30 02:34:15""#,
        r#""2023-01-30T00:00:00""#,
        r#""text""#,
    ];
    let value = prop::sample::select(texts).prop_map(str::to_owned).prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            (prop::option::of(inner.clone()), prop::option::of(inner.clone())).prop_map(object),
            prop::collection::vec(inner, 0..3).prop_map(|it| format!("[{}]", it.join(","))),
        ]
    });
    (prop::option::of(value.clone()), prop::option::of(value)).prop_map(object)
}

fn object((a, b): (Option<String>, Option<String>)) -> String {
    let member = |(name, value): (&str, String)| format!("\"{name}\":{value}");
    let members = [("a", a), ("b", b)].into_iter().filter_map(|(name, value)| Some(member((name, value?))));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// The schema in which a declared date is always a string.
fn dates_are_strings(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(dates_are_strings);
            if map.contains_key("format") {
                map.insert("type".into(), json!(["null", "string"]));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(dates_are_strings),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    /// A rewritten record satisfies every schema that the record satisfied.
    #[test]
    fn a_valid_record_stays_valid(schema in combined(), documents in prop::collection::vec(small_document(), 8)) {
        let Some(mut dates) = Stream::of(&schema, Typed::All, &[]) else { return Ok(()) };
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let parse = |it: &str| serde_json::from_str::<Value>(it).unwrap();
        for document in documents {
            let result = dates.normalized(&document);
            prop_assert!(!validator.is_valid(&parse(&document)) || validator.is_valid(&parse(&result)), "{} became {}", document, result);
        }
    }

    /// A record whose dates are as the schema demands is not changed.
    #[test]
    fn only_declared_dates_are_rewritten(schema in combined(), documents in prop::collection::vec(small_document(), 8)) {
        let Some(mut dates) = dates(&schema) else { return Ok(()) };
        let mut strict = schema.clone();
        dates_are_strings(&mut strict);
        let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&strict).unwrap();
        for document in documents {
            let result = dates.normalized(&document);
            let is_valid = validator.is_valid(&serde_json::from_str(&document).unwrap());
            prop_assert!(!is_valid || result == document, "{} became {}", document, result);
        }
    }
}
