//! Random schemas: Flow accepts every rewritten schema, a schema that it accepts is not changed, and no document is rejected
//! that the source's own schema accepts.

use super::checker::{open, rejected, unfit};
use crate::schema::rewrite::rewrite;
use crate::schema::values::Mode;
use crate::schema::{DateFormats, Key, config, key, sourced, write_declared, write_permissive};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NAMES: [&str; 5] = ["a", "b", "type", "_meta", "x/y~"];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..20i64).prop_map(Value::from),
        Just(json!(0.5)),
        prop::sample::select(
            &["a", "b", "string", "object", "null", "#", "#/definitions/a", "uuid", "(?=x)", "^a", "1"][..]
        )
        .prop_map(Value::from),
    ]
}

/// Objects with keywords, names and unknown words as keys, and any values.
fn junk() -> impl Strategy<Value = Value> {
    let keywords = "$schema $id $anchor $ref $defs definitions allOf anyOf oneOf not if then else dependentSchemas prefixItems \
        items additionalItems properties patternProperties additionalProperties unevaluatedProperties propertyNames type enum \
        const multipleOf maximum exclusiveMaximum minLength pattern uniqueItems required dependentRequired format title default \
        examples nullable secret order discriminator reduce id dependencies tittle a b x-c";
    let keys: Vec<String> = keywords.split_whitespace().map(str::to_owned).collect();
    scalar().prop_recursive(6, 80, 5, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            4 => prop::collection::vec((prop::sample::select(keys.clone()), inner), 0..6)
                .prop_map(|them| Value::Object(them.into_iter().collect())),
        ]
    })
}

fn types() -> impl Strategy<Value = Value> {
    let names = ["null", "boolean", "object", "array", "integer", "number", "string"];
    let one = prop::sample::select(names.to_vec());
    prop_oneof![one.prop_map(Value::from), prop::sample::subsequence(names.to_vec(), 1..4).prop_map(Value::from)]
}

/// One keyword with a value that Flow accepts, including nested schemas.
fn keyword(inner: BoxedStrategy<Value>) -> impl Strategy<Value = (&'static str, Value)> {
    let schemas = prop::collection::vec(inner.clone(), 1..3).prop_map(Value::from);
    let named = |inner: BoxedStrategy<Value>| {
        prop::collection::vec((prop::sample::select(&NAMES[..]), inner), 0..4)
            .prop_map(|them| Value::Object(them.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()))
    };
    let names = || prop::sample::subsequence(NAMES.to_vec(), 0..2).prop_map(Value::from);
    prop_oneof![
        4 => types().prop_map(|it| ("type", it)),
        4 => named(inner.clone()).prop_map(|it| ("properties", it)),
        1 => (prop::sample::select(&["allOf", "anyOf", "prefixItems"][..]), schemas),
        1 => (
            prop::sample::select(&["items", "additionalProperties", "not", "if", "then", "else", "contains"][..]),
            inner.clone()
        ),
        1 => (prop::sample::select(&["dependentSchemas", "$defs"][..]), named(inner)),
        1 => names().prop_map(|it| ("required", it)),
        1 => Just(("dependentRequired", json!({"a": ["b"]}))),
        1 => (prop::sample::select(&["minimum", "exclusiveMaximum", "minLength", "maxProperties", "multipleOf"][..]), 1..9u8)
            .prop_map(|(k, v)| (k, v.into())),
        1 => Just(("pattern", json!("^a"))),
        1 => Just(("format", json!("uuid"))),
        1 => Just(("$ref", json!("#"))),
        1 => Just(("nullable", json!(true))),
        1 => (prop::sample::select(&["default", "example", "x-any"][..]), junk()),
        1 => Just(("title", json!("t"))),
    ]
}

/// Schemas that need no change, with the keywords that `more` adds.
fn fine(more: BoxedStrategy<(&'static str, Value)>) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!(true)),
        Just(json!(false)),
        types().prop_map(|it| json!({ "type": it }))
    ];
    leaf.prop_recursive(4, 40, 4, move |inner| {
        let one = prop_oneof![4 => keyword(inner.boxed()), 1 => more.clone()];
        prop::collection::vec(one, 1..6).prop_map(|them| {
            let map: Map<_, _> = them.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            Value::Object(map)
        })
    })
    .prop_map(|mut it| {
        // A root that refers to itself is circular.
        if let Value::Object(map) = &mut it {
            map.shift_remove("$ref");
        }
        it
    })
    .boxed()
}

fn nothing_more() -> BoxedStrategy<(&'static str, Value)> {
    Just(("description", json!("d"))).boxed()
}

/// Keywords that a rewrite loosens.
fn loosened() -> BoxedStrategy<(&'static str, Value)> {
    prop_oneof![
        Just(("enum", json!(["a", 1]))),
        Just(("const", json!("a"))),
        Just(("pattern", json!("^(?!a)"))),
        Just(("multipleOf", json!(0.5))),
        Just(("patternProperties", json!({"": {"type": "string"}}))),
        Just(("patternProperties", json!({"^(?!b)": {"type": "string"}}))),
        Just(("oneOf", json!([{"enum": ["a"]}, {"enum": ["b"]}]))),
        Just(("oneOf", json!([{"pattern": "^(?=a)"}, {"type": "null"}]))),
    ]
    .boxed()
}

fn documents() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(&NAMES[..]), inner), 0..4)
                .prop_map(|them| Value::Object(them.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

fn some_key(schema: &Value) -> Key {
    key(schema, &[vec!["a".into()], vec!["b".into(), "x/y~".into()]]).unwrap_or_else(|_| Key::row_id())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn flow_accepts_every_rewritten_schema(schema in junk()) {
        let it = config(&schema);
        prop_assert_eq!(rejected(&it.schema), [""; 0], "{}", it.schema);
        prop_assert_eq!(&it.schema["type"], "object");
        let again = config(&it.schema);
        prop_assert_eq!(&again.schema, &it.schema, "{:?}", again.changes);
        prop_assert_eq!(again.changes, []);

        let (document, _) = rewrite(&schema, Mode::Document);
        let document = Value::from(document);
        prop_assert_eq!(rejected(&document), [""; 0], "{}", document);
        let (again, changes) = rewrite(&document, Mode::Document);
        prop_assert_eq!(Value::from(again), document);
        prop_assert_eq!(changes, []);
    }

    #[test]
    fn every_schema_gives_a_valid_collection(schema in junk()) {
        let key = some_key(&schema);
        for it in [write_permissive(&key), write_declared(&schema, &key).schema] {
            prop_assert_eq!(rejected(&it), [""; 0], "{}", it);
            prop_assert_eq!(unfit(&it, &key.pointers()), [""; 0], "{}", it);
        }
        let it = sourced(&schema, &key, DateFormats::Kept);
        prop_assert_eq!(rejected(&it.schema), [""; 0], "{}", it.schema);
        prop_assert_eq!(open(&it.schema), [""; 0], "{}", it.schema);
    }

    #[test]
    fn accepted_schemas_are_not_changed(schema in fine(nothing_more())) {
        prop_assert_eq!(rejected(&schema), [""; 0]);
        prop_assume!(schema.is_object());
        for mode in [Mode::Config, Mode::Document] {
            let (it, changes) = rewrite(&schema, mode);
            prop_assert_eq!(changes, []);
            prop_assert_eq!(Value::from(it).to_string(), schema.to_string());
        }
    }

    #[test]
    fn documents_that_the_source_accepts_are_accepted(schema in fine(loosened()), documents in prop::collection::vec(documents(), 8)) {
        let Ok(before) = jsonschema::draft202012::new(&schema) else {
            return Err(TestCaseError::reject("no schema"));
        };
        let (after, changes) = rewrite(&schema, Mode::Document);
        let rewritten = Value::from(after);
        let after = jsonschema::draft202012::new(&rewritten).unwrap();
        for it in documents {
            prop_assert!(!before.is_valid(&it) || after.is_valid(&it), "{} breaks {}: {:?}", it, rewritten, changes);
        }
    }

    #[test]
    fn members_that_the_shim_adds_are_accepted(
        schema in fine(loosened()),
        documents in prop::collection::vec(documents(), 8),
    ) {
        // A source that declares `_meta` itself, or uses `not`, may reject it.
        let text = schema.to_string();
        prop_assume!(!text.contains("_meta") && !text.contains("not"));
        let Ok(before) = jsonschema::draft202012::new(&schema) else {
            return Err(TestCaseError::reject("no schema"));
        };
        let declared = write_declared(&schema, &Key::row_id()).schema;
        let after = jsonschema::draft202012::new(&declared).unwrap();
        for mut it in documents {
            let Value::Object(map) = &mut it else { continue };
            map.shift_remove("_meta");
            if before.is_valid(&it) {
                it["_meta"] = json!({"row_id": 1, "op": "c", "uuid": "x"});
                prop_assert!(after.is_valid(&it), "{} breaks {}", it, declared);
            }
        }
    }
}

#[test]
fn deep_schemas_are_cut_off() {
    let mut schema = json!({"type": "string"});
    for _ in 0..300 {
        schema = json!({"type": "object", "properties": {"a": schema}});
    }
    let it = config(&schema);
    assert_eq!(it.changes.iter().map(|it| it.what.name()).collect::<Vec<_>>(), ["too-deep"]);
    assert_eq!(open(&sourced(&schema, &Key::row_id(), DateFormats::Kept).schema), [""; 0]);
}

#[test]
fn work_is_limited_for_references_that_multiply() {
    let mut definitions = Map::new();
    for i in 0..40 {
        let next = json!({"$ref": format!("#/definitions/d{}", i + 1)});
        definitions.insert(format!("d{i}"), json!({"type": "object", "properties": {"a": next, "b": next, "c": next}}));
    }
    definitions.insert("d40".into(), json!({"type": "string"}));
    let schema = json!({"properties": {"id": {"type": "integer"}, "d": {"$ref": "#/definitions/d0"}}, "definitions": definitions});
    let key = key(&schema, &[vec!["id".into()]]).unwrap();
    let it = sourced(&schema, &key, DateFormats::Kept);
    assert!(serde_json::from_str::<Value>(&it.schema.to_string()).is_ok(), "too deep to read");
}
