//! The key of a collection: the locations of its components and the types that they can have (F14).

use super::change::{Change, What};
use super::refs::{self, push};
use super::rewrite::rewrite;
use super::shape::{Shape, Types, holds_only_integers};
use super::values::Mode;
use serde_json::{Map, Value, json};
use thiserror::Error;

/// The member of a document that the shim adds.
pub(super) const META: &str = "_meta";

/// A collection's key: at least one component, and all different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    components: Vec<Component>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Component {
    path: Vec<String>,
    types: Types,
}

/// Why the paths can't be the key of a collection. The row id always can.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyProblem {
    #[error("the key has no components")]
    Empty,
    #[error("a key component names no property")]
    EmptyPath,
    #[error("key component {0} has a blank name")]
    Blank(String),
    #[error("key component {0} is not in the stream's schema")]
    Undeclared(String),
    #[error("key component {0} is an object or array")]
    NotScalar(String),
    #[error("key component {0} is a number that may have a fraction")]
    Fractional(String),
    #[error("key component {0} is inside a value that is not an object")]
    NotInObject(String),
    #[error("key component {0} is inside another component")]
    Nested(String),
    #[error("key component {0} is in /_meta, which the shim adds")]
    Meta(String),
}

/// Finds the key of a collection in the schema that its source declares.
///
/// Each path lists the names from the document's root to a property. A property without a declared type may have any type
/// that a key can have.
///
/// # Errors
///
/// The first component that can't be part of a key, or paths that are not a key at all.
pub fn key(declared: &Value, paths: &[Vec<String>]) -> Result<Key, KeyProblem> {
    let mut declared = declared.clone();
    exclude_fractions(&mut declared);
    let (declared, _) = rewrite(&declared, Mode::Document);
    let shape = Shape::of(&Value::Object(declared));
    let mut components: Vec<Component> = Vec::new();
    for path in paths {
        if components.iter().any(|it| &it.path == path) {
            continue;
        }
        let types = component_types(&shape, path)?;
        components.push(Component { path: path.clone(), types });
    }
    if components.is_empty() {
        return Err(KeyProblem::Empty);
    }
    for Component { path, .. } in &components {
        let is_within = |it: &Component| path.len() > it.path.len() && path.starts_with(&it.path);
        if components.iter().any(is_within) {
            return Err(KeyProblem::Nested(pointer(path)));
        }
    }
    Ok(Key { components })
}

/// Narrows `number` to `integer` wherever another keyword leaves only integers. Works on the schema as the source wrote it:
/// the rewrite drops some of these keywords.
fn exclude_fractions(schema: &mut Value) {
    let mut places = Vec::new();
    refs::visit(schema, &mut String::new(), &mut |at, map| {
        if holds_only_integers(map) {
            places.push(at.to_owned());
        }
    });
    let whole = json!({ "type": Types::ANY.without(Types::NUMBER).or(Types::INTEGER).to_value() });
    for at in places {
        if let Some(Value::Object(map)) = schema.pointer_mut(&at) {
            match map.get_mut("allOf") {
                Some(Value::Array(them)) => them.push(whole.clone()),
                _ => drop(map.insert("allOf".into(), json!([whole]))),
            }
        }
    }
}

/// Declares a property that the user names as part of the key, so that [`key`] accepts it. Keeps what is declared already.
pub fn declare_path(schema: &mut Value, path: &[String]) {
    let mut at = schema;
    for name in path {
        let Value::Object(map) = at else { return };
        at = object(map, "properties").entry(name.as_str()).or_insert_with(|| json!({}));
    }
}

/// Keywords that a scalar does not need.
const OF_CONTAINERS: [&str; 6] =
    ["properties", "patternProperties", "additionalProperties", "required", "items", "prefixItems"];

fn component_types(root: &Shape, path: &[String]) -> Result<Types, KeyProblem> {
    if path.is_empty() {
        return Err(KeyProblem::EmptyPath);
    }
    if path.iter().any(|it| it.trim().is_empty()) {
        return Err(KeyProblem::Blank(pointer(path)));
    }
    if path[0] == META {
        return Err(KeyProblem::Meta(pointer(path)));
    }
    let mut at = Some(root);
    for (depth, name) in path.iter().enumerate() {
        let Some(shape) = at else { break };
        if depth > 0 && !shape.types.has(Types::OBJECT) {
            return Err(KeyProblem::NotInObject(pointer(path)));
        }
        at = shape.member(name);
        if at.is_none() && shape.names_members() {
            return Err(KeyProblem::Undeclared(pointer(path)));
        }
    }
    let declared = at.map_or(Types::ANY, |it| it.types);
    if declared == Types::ANY || declared == Types::NULL {
        return Ok(Types::STRING.or(Types::INTEGER).or(Types::BOOLEAN));
    }
    if declared.has(Types::NUMBER) {
        return Err(KeyProblem::Fractional(pointer(path)));
    }
    let scalar = declared.and(Types::STRING.or(Types::INTEGER).or(Types::BOOLEAN));
    if scalar.is_none() { Err(KeyProblem::NotScalar(pointer(path))) } else { Ok(scalar) }
}

impl Key {
    /// The key of a collection whose source has none: the row id that the shim gives each document.
    pub fn row_id() -> Self {
        let path = vec![META.into(), "row_id".into()];
        Self { components: vec![Component { path, types: Types::INTEGER }] }
    }

    /// The components as JSON pointers, in order.
    pub fn pointers(&self) -> Vec<String> {
        self.components.iter().map(|it| pointer(&it.path)).collect()
    }

    /// Declares `_meta` and every component in an object schema, each required and of a type that a key can have.
    pub(super) fn declare(&self, root: &mut Map<String, Value>, meta: Value, changes: &mut Vec<Change>) {
        let meta = add_to(object(root, "properties").shift_remove(META), meta);
        object(root, "properties").insert(META.into(), meta);
        require(root, META);
        changes.push(Change::new("/properties/_meta", What::MetaAdded));
        for Component { path, types } in &self.components {
            if path[0] == META {
                continue;
            }
            let mut at = String::new();
            let mut parent = &mut *root;
            for (i, name) in path.iter().enumerate() {
                at.push_str("/properties");
                push(&mut at, name);
                let is_leaf = i + 1 == path.len();
                let was_required = require(parent, name);
                let property = object(object(parent, "properties"), name);
                let was_strict = make_strict(property, if is_leaf { *types } else { Types::OBJECT });
                if is_leaf {
                    // A key is a scalar: what its declaration says of objects and arrays is of no use.
                    OF_CONTAINERS.iter().for_each(|it| drop(property.shift_remove(*it)));
                }
                if !was_required || !was_strict {
                    changes.push(Change::new(at.clone(), What::KeyMadeStrict));
                }
                parent = property;
            }
        }
    }
}

fn pointer(path: &[String]) -> String {
    let mut pointer = String::new();
    path.iter().for_each(|it| push(&mut pointer, it));
    pointer
}

/// Merges the source's own `_meta`, if it has one, into the shim's.
fn add_to(source: Option<Value>, mut meta: Value) -> Value {
    if let Some(Value::Object(mut source)) = source
        && let Some(Value::Object(theirs)) = source.shift_remove("properties")
        && let Some(Value::Object(ours)) = meta.get_mut("properties")
    {
        for (name, schema) in theirs {
            ours.entry(name).or_insert(schema);
        }
    }
    meta
}

/// The object under a key; inserts one if there is none.
fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(it) => it,
        _ => unreachable!("was just made an object"),
    }
}

/// Adds a name to `required`; returns whether it was there.
fn require(schema: &mut Map<String, Value>, name: &str) -> bool {
    match schema.get_mut("required") {
        Some(Value::Array(them)) if them.iter().any(|it| it == name) => return true,
        Some(Value::Array(them)) => them.push(name.into()),
        _ => {
            schema.insert("required".into(), vec![name].into());
        }
    }
    false
}

/// Sets a schema's types and keeps its other keywords; returns whether that changes nothing.
fn make_strict(schema: &mut Map<String, Value>, types: Types) -> bool {
    let was_nullable = schema.get("nullable") == Some(&Value::Bool(true));
    if was_nullable {
        schema.shift_remove("nullable");
    }
    // Some readers ignore the keywords beside a `$ref`.
    let reference = schema.shift_remove("$ref");
    let was_reference = reference.is_some();
    if let Some(reference) = reference {
        let branch = json!({ "$ref": reference });
        match schema.get_mut("allOf") {
            Some(Value::Array(them)) => them.push(branch),
            _ => {
                schema.insert("allOf".into(), vec![branch].into());
            }
        }
    }
    let types = types.to_value();
    if schema.get("type") == Some(&types) {
        return !was_nullable && !was_reference;
    }
    if schema.contains_key("type") {
        schema.insert("type".into(), types);
    } else {
        schema.shift_insert(0, "type".into(), types);
    }
    false
}
