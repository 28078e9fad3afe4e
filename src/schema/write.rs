//! Write schemas: every document of a collection must satisfy its write schema, or the capture fails.

use super::change::{Change, What};
use super::key::{Key, META};
use super::modernise::rename;
use super::refs::{self, push};
use super::rewrite::rewrite;
use super::values::Mode;
use super::{Rewritten, make_object};
use serde_json::{Map, Value, json};

/// The permissive write schema: the key and `_meta`, without the source's other declarations, which may be wrong.
pub fn write_permissive(key: &Key) -> Value {
    let mut root = Map::new();
    root.insert("type".into(), "object".into());
    key.declare(&mut root, meta(), &mut Vec::new());
    // F13: Flow infers the read schema from the documents.
    root.insert("x-infer-schema".into(), true.into());
    Value::Object(root)
}

/// The source's schema as the write schema. Records that violate it fail the capture. A deletion is a document with only
/// `_meta` and the key, so nothing else is required.
pub fn write_declared(declared: &Value, key: &Key) -> Rewritten {
    let (mut root, mut changes) = rewrite(declared, Mode::Document);
    keep_row_for_refs(&mut root);
    let mut root = open_root(Value::Object(root), &mut changes);
    make_object(&mut root, &mut changes);
    key.declare(&mut root, meta(), &mut changes);
    Rewritten { schema: Value::Object(root), changes }
}

/// The member that the shim adds to each document. It is not closed: the runtime adds `/_meta/uuid` (F13).
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

/// Redirects references to the root, or into it, to a copy in `$defs`: the root will require a key and `_meta`, which the
/// nested rows that they mean do not have.
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

/// A copy to be kept beside the original, without the definitions and ids that the original has.
fn without_definitions(schema: &Value) -> Value {
    let mut copy = schema.clone();
    let mut locations = Vec::new();
    refs::visit(schema, &mut String::new(), &mut |at, _| locations.push(at.to_owned()));
    for at in locations {
        if let Some(Value::Object(map)) = copy.pointer_mut(&at) {
            map.retain(|keyword, _| !matches!(keyword.as_str(), "$id" | "$anchor" | "$dynamicAnchor"));
        }
    }
    if let Value::Object(map) = &mut copy {
        map.retain(|keyword, _| !matches!(keyword.as_str(), "$defs" | "definitions" | "$schema"));
    }
    copy
}

/// Drops keywords that forbid `_meta` at the root, or deletions, from all schemas that apply there.
fn open_root(mut root: Value, changes: &mut Vec<Change>) -> Map<String, Value> {
    let mut locations = vec![String::new()];
    let mut next = 0;
    while let Some(at) = locations.get(next) {
        for location in applied_at(&root, at) {
            if !locations.contains(&location) {
                locations.push(location);
            }
        }
        next += 1;
    }
    let mut opened_branch = false;
    for at in &locations {
        if let Some(Value::Object(schema)) = root.pointer_mut(at) {
            let opened = open(schema, at, changes);
            opened_branch |= opened && !at.is_empty();
        }
    }
    // Branches that differed only in what they forbid may match together now.
    for at in locations.iter().rev().filter(|_| opened_branch) {
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

/// Drops keywords that forbid `_meta` or deletions from one schema; returns whether it had any.
fn open(schema: &mut Map<String, Value>, at: &str, changes: &mut Vec<Change>) -> bool {
    let takes_meta = |pattern: &str| regex::Regex::new(pattern).is_ok_and(|it| it.is_match(META));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let loses_pattern = patterns.is_some_and(|them| them.keys().any(|it| takes_meta(it)));
    // At the root `_meta` is declared, so a schema for undeclared properties does not apply to it. It would apply to
    // properties that a dropped pattern covered.
    let keeps_rest = at.is_empty() && !loses_pattern;
    // Without `required`, a condition would hold more often.
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

/// The locations of the schemas that apply to the same value as the one at `at`.
fn applied_at(root: &Value, at: &str) -> Vec<String> {
    let Some(Value::Object(schema)) = root.pointer(at) else {
        return Vec::new();
    };
    let mut locations = Vec::new();
    for (keyword, value) in schema {
        let here = format!("{at}/{keyword}");
        match (keyword.as_str(), value) {
            ("allOf" | "anyOf" | "oneOf", Value::Array(them)) => {
                locations.extend((0..them.len()).map(|i| format!("{here}/{i}")));
            }
            ("if" | "then" | "else", _) => locations.push(here),
            ("dependentSchemas", Value::Object(them)) => locations.extend(them.keys().map(|name| {
                let mut here = here.clone();
                push(&mut here, name);
                here
            })),
            ("$ref", Value::String(reference)) => locations.extend(refs::location(root, reference)),
            _ => {}
        }
    }
    locations
}
