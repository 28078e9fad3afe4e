//! Traverses the schemas inside a schema and resolves local `$ref`s.

use super::change::{Change, What};
use super::keywords::{Takes, takes};
use serde_json::{Map, Value};

/// Calls `f` with every schema that is an object and its JSON pointer, from the root down.
pub(super) fn visit<'a>(schema: &'a Value, at: &mut String, f: &mut dyn FnMut(&str, &'a Map<String, Value>)) {
    let Some(map) = schema.as_object() else {
        return;
    };
    f(at, map);
    for (keyword, value) in map {
        let end = at.len();
        push(at, keyword);
        match (takes(keyword), value) {
            (Some(Takes::Schema), it) => visit(it, at, f),
            (Some(Takes::Schemas), Value::Array(schemas)) => {
                for (i, it) in schemas.iter().enumerate() {
                    let end = at.len();
                    push(at, &i.to_string());
                    visit(it, at, f);
                    at.truncate(end);
                }
            }
            (Some(Takes::SchemaMap | Takes::PatternMap), Value::Object(schemas)) => {
                for (name, it) in schemas {
                    let end = at.len();
                    push(at, name);
                    visit(it, at, f);
                    at.truncate(end);
                }
            }
            _ => {}
        }
        at.truncate(end);
    }
}

/// Appends a reference token to a JSON pointer.
pub(super) fn push(pointer: &mut String, token: &str) {
    pointer.push('/');
    for c in token.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

/// The target of a local reference, whether it is a schema or not. None for references to other documents.
pub(crate) fn find<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(&location(root, reference)?)
}

/// The JSON pointer of a local reference's target.
pub(super) fn location(root: &Value, reference: &str) -> Option<String> {
    let fragment = decode(reference.strip_prefix('#')?);
    if fragment.is_empty() || fragment.starts_with('/') {
        return Some(fragment);
    }
    let mut found = None;
    visit(root, &mut String::new(), &mut |at, map| {
        let says = |keyword, name| map.get(keyword).and_then(Value::as_str) == Some(name);
        let is_anchor = ["$anchor", "$dynamicAnchor"].into_iter().any(|it| says(it, &fragment));
        // Earlier drafts wrote an anchor like this.
        let is_id = ["$id", "id"].into_iter().any(|it| says(it, reference));
        if found.is_none() && (is_anchor || is_id) {
            found = Some(at.to_owned());
        }
    });
    found
}

/// Drops references whose target is not a schema after a rewrite (it was moved or dropped, or Flow does not look for
/// schemas there), and references that lead back to themselves.
pub(super) fn drop_dangling(root: &mut Value, changes: &mut Vec<Change>) {
    let mut dropped = Vec::new();
    visit(root, &mut String::new(), &mut |at, map| {
        let Some(Value::String(reference)) = map.get("$ref") else {
            return;
        };
        let what = if !is_schema_location(root, reference) {
            What::DanglingRefDropped(reference.clone())
        } else if is_circular(root, map) {
            What::CircularRefDropped(reference.clone())
        } else {
            return;
        };
        dropped.push((at.to_owned(), what));
    });
    for (at, what) in dropped {
        if let Some(Value::Object(map)) = root.pointer_mut(&at) {
            map.shift_remove("$ref");
        }
        changes.push(Change::new(at + "/$ref", what));
    }
}

fn is_circular(root: &Value, schema: &Map<String, Value>) -> bool {
    let mut seen: Vec<*const Map<String, Value>> = vec![schema];
    let mut next = schema;
    while let Some(Value::Object(target)) = next.get("$ref").and_then(Value::as_str).and_then(|it| find(root, it)) {
        if seen.contains(&std::ptr::from_ref(target)) {
            return true;
        }
        seen.push(target);
        next = target;
    }
    false
}

/// Whether every step of a reference is a keyword that contains schemas: Flow indexes no other locations.
fn is_schema_location(root: &Value, reference: &str) -> bool {
    let Some(location) = location(root, reference) else {
        return false;
    };
    if !root.pointer(&location).is_some_and(|it| it.is_object() || it.is_boolean()) {
        return false;
    }
    let mut tokens = location.split('/').skip(1);
    while let Some(keyword) = tokens.next() {
        let complete = match takes(keyword) {
            Some(Takes::Schema) => true,
            Some(Takes::Schemas | Takes::SchemaMap | Takes::PatternMap) => tokens.next().is_some(),
            _ => false,
        };
        if !complete {
            return false;
        }
    }
    true
}

/// Undoes the percent-encoding of a URI fragment.
fn decode(fragment: &str) -> String {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let bytes = fragment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&b) = bytes.get(i) {
        match (b, digit(bytes.get(i + 1)), digit(bytes.get(i + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                i += 3;
            }
            _ => {
                out.push(b);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
