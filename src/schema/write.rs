//! Write schemas: what every document of a collection must satisfy, or the capture fails.

use super::change::{Change, What};
use super::key::{Key, META};
use super::modernise::rename;
use super::refs::{self, push};
use super::rewrite::{Mode, rewrite};
use super::{Rewritten, make_object};
use serde_json::{Map, Value, json};

/// The permissive write schema: the key and `_meta`, and nothing that a source could get wrong
/// about the rest.
pub fn write_permissive(key: &Key) -> Value {
    let mut root = Map::new();
    root.insert("type".into(), "object".into());
    key.declare(&mut root, meta(), &mut Vec::new());
    // F13: Flow infers the read schema from the documents.
    root.insert("x-infer-schema".into(), true.into());
    Value::Object(root)
}

/// The schema that the source declares as the write schema. Records that break it fail the capture. A row that is gone is
/// a document of `_meta` and its key alone, so nothing else is required.
pub fn write_declared(declared: &Value, key: &Key) -> Rewritten {
    let (mut root, mut changes) = rewrite(declared, Mode::Document);
    keep_row_for_refs(&mut root);
    let mut root = open_root(Value::Object(root), &mut changes);
    make_object(&mut root, &mut changes);
    key.declare(&mut root, meta(), &mut changes);
    Rewritten { schema: Value::Object(root), changes }
}

/// What the shim adds to each document. It stays open: the runtime adds `/_meta/uuid` (F13).
pub(super) fn meta() -> Value {
    json!({
        "type": "object",
        "required": ["row_id"],
        "properties": {
            "row_id": { "type": "integer" },
            "op": { "type": "string", "enum": ["c", "u", "d"] },
        },
    })
}

/// The root is about to ask for a key and `_meta`. Schemas that refer to the root or into it, such
/// as those of rows within rows, mean the row as the source declared it: they get a copy.
fn keep_row_for_refs(root: &mut Map<String, Value>) {
    let mut whole = Value::Object(std::mem::take(root));
    let mut to_root = Vec::new();
    refs::visit(&whole, &mut String::new(), &mut |at, map| {
        let reference = map.get("$ref").and_then(Value::as_str).unwrap_or_default();
        let is_defined = ["#/definitions/", "#/$defs/"].iter().any(|it| reference.starts_with(it));
        if !is_defined && (reference == "#" || reference.starts_with("#/")) {
            to_root.push(at.to_owned());
        }
    });
    if !to_root.is_empty() {
        let mut name = "row".to_owned();
        while whole.pointer(&format!("/$defs/{name}")).is_some() {
            name.push('_');
        }
        for at in to_root {
            if let Some(Value::String(it)) = whole.pointer_mut(&(at + "/$ref")) {
                *it = format!("#/$defs/{name}{}", &it[1..]);
            }
        }
        let row = without_definitions(&whole);
        if let Value::Object(whole) = &mut whole
            && let Value::Object(definitions) = whole.entry("$defs").or_insert_with(|| json!({}))
        {
            definitions.insert(name, row);
        }
    }
    if let Value::Object(whole) = whole {
        *root = whole;
    }
}

/// A copy that can stand beside the original: definitions and ids are found there.
fn without_definitions(schema: &Value) -> Value {
    let mut copy = schema.clone();
    let mut places = Vec::new();
    refs::visit(schema, &mut String::new(), &mut |at, _| places.push(at.to_owned()));
    for at in places {
        if let Some(Value::Object(map)) = copy.pointer_mut(&at) {
            map.retain(|keyword, _| !matches!(keyword.as_str(), "$id" | "$anchor" | "$dynamicAnchor"));
        }
    }
    if let Value::Object(map) = &mut copy {
        map.retain(|keyword, _| !matches!(keyword.as_str(), "$defs" | "definitions" | "$schema"));
    }
    copy
}

/// Drops what would forbid `_meta` at the root, or a deletion, in each of the schemas that apply there.
fn open_root(mut root: Value, changes: &mut Vec<Change>) -> Map<String, Value> {
    let mut places = vec![String::new()];
    let mut next = 0;
    while let Some(at) = places.get(next) {
        for place in applied_at(&root, at) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        next += 1;
    }
    let mut opened_branch = false;
    for at in &places {
        if let Some(Value::Object(schema)) = root.pointer_mut(at) {
            let opened = open(schema, at, changes);
            opened_branch |= opened && !at.is_empty();
        }
    }
    // Branches that only their closedness told apart match together now.
    for at in places.iter().rev().filter(|_| opened_branch) {
        if let Some(Value::Object(schema)) = root.pointer_mut(at)
            && schema.contains_key("oneOf")
            && !schema.contains_key("anyOf")
        {
            rename(schema, "oneOf", "anyOf");
            changes.push(Change::new(format!("{at}/oneOf"), What::OneOfToAnyOf));
        }
    }
    refs::drop_dangling(&mut root, changes);
    match root {
        Value::Object(it) => it,
        _ => Map::new(),
    }
}

/// Drops what would forbid `_meta` or a deletion from one schema; says whether there was any.
fn open(schema: &mut Map<String, Value>, at: &str, changes: &mut Vec<Change>) -> bool {
    let takes_meta = |pattern: &str| regex::Regex::new(pattern).is_ok_and(|it| it.is_match(META));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let loses_pattern = patterns.is_some_and(|them| them.keys().any(|it| takes_meta(it)));
    // A schema for what is not declared leaves `_meta` alone at the root, where that is declared;
    // but not what a pattern took care of that has to go.
    let keeps_rest = at.is_empty() && !loses_pattern;
    // What a condition does not ask for, it takes for granted.
    let is_condition = at.split('/').any(|it| it == "if");
    let before = changes.len();
    schema.retain(|keyword, value| {
        let forbids = match (keyword.as_str(), &*value) {
            ("additionalProperties" | "unevaluatedProperties", Value::Bool(it)) => !*it,
            ("additionalProperties" | "unevaluatedProperties", _) => !keeps_rest,
            ("maxProperties" | "propertyNames", _) => true,
            ("required" | "minProperties", _) => !is_condition,
            ("patternProperties", _) => loses_pattern,
            _ => false,
        };
        if !forbids {
            return true;
        }
        let mut at = at.to_owned();
        push(&mut at, keyword);
        changes.push(Change::new(at, What::RootOpened(keyword.clone())));
        match value {
            Value::Object(patterns) if keyword == "patternProperties" => {
                patterns.retain(|pattern, _| !takes_meta(pattern));
                !patterns.is_empty()
            }
            _ => false,
        }
    });
    changes.len() > before
}

/// The schemas that apply in the same place as the one at `at`.
fn applied_at(root: &Value, at: &str) -> Vec<String> {
    let Some(Value::Object(schema)) = root.pointer(at) else {
        return Vec::new();
    };
    let mut places = Vec::new();
    for (keyword, value) in schema {
        let here = format!("{at}/{keyword}");
        match (keyword.as_str(), value) {
            ("allOf" | "anyOf" | "oneOf", Value::Array(them)) => {
                places.extend((0..them.len()).map(|i| format!("{here}/{i}")));
            }
            ("if" | "then" | "else", _) => places.push(here),
            ("dependentSchemas", Value::Object(them)) => places.extend(them.keys().map(|name| {
                let mut here = here.clone();
                push(&mut here, name);
                here
            })),
            ("$ref", Value::String(reference)) => places.extend(refs::place(root, reference)),
            _ => {}
        }
    }
    places
}
