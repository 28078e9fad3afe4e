//! The key of a collection: where its components lie in a document, and what types they can have
//! there (F14).

use super::change::{Change, What};
use super::refs::push;
use super::rewrite::{Mode, rewrite};
use super::shape::{Shape, Types};
use serde_json::{Map, Value, json};
use thiserror::Error;

/// Where the shim adds to a document.
pub(super) const META: &str = "_meta";

/// A collection's key: at least one component, no two alike.
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
    #[error("key component {0} is an object or array")]
    NotScalar(String),
    #[error("key component {0} lies within something that is not an object")]
    NotInObject(String),
    #[error("key component {0} lies within another one")]
    Nested(String),
    #[error("key component {0} is not the source's own")]
    Meta(String),
}

/// Finds the key of a collection in the schema that its source declares.
///
/// Each path names a property by the names of the objects around it. What is not declared may have
/// any type that a key can have.
///
/// # Errors
///
/// A component that can't be part of a key by its declared type, or paths that are no key at all.
pub fn key(declared: &Value, paths: &[Vec<String>]) -> Result<Key, KeyProblem> {
    let (declared, _) = rewrite(declared, Mode::Document);
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

fn component_types(root: &Shape, path: &[String]) -> Result<Types, KeyProblem> {
    let Some((leaf, parents)) = path.split_last() else {
        return Err(KeyProblem::EmptyPath);
    };
    if path[0] == META {
        return Err(KeyProblem::Meta(pointer(path)));
    }
    let mut at = Some(root);
    for parent in parents {
        at = at.and_then(|it| it.properties.get(parent));
        if at.is_some_and(|it| !it.types.has(Types::OBJECT)) {
            return Err(KeyProblem::NotInObject(pointer(path)));
        }
    }
    let declared = at.and_then(|it| it.properties.get(leaf)).map_or(Types::ANY, |it| it.types);
    let scalar = declared.and(Types::STRING.or(Types::NUMBER).or(Types::BOOLEAN));
    if declared == Types::ANY || declared == Types::NULL {
        return Ok(Types::STRING.or(Types::INTEGER).or(Types::BOOLEAN));
    }
    if scalar.is_none() {
        return Err(KeyProblem::NotScalar(pointer(path)));
    }
    // A fraction is no key, but a string that may also be written as a number is one.
    if scalar == Types::STRING.or(Types::NUMBER) {
        return Ok(scalar);
    }
    Ok(if scalar.has(Types::NUMBER) { scalar.without(Types::NUMBER).or(Types::INTEGER) } else { scalar })
}

impl Key {
    /// The key of a collection whose source has none: the number that the shim gives each document.
    pub fn row_id() -> Self {
        let path = vec![META.into(), "row_id".into()];
        Self { components: vec![Component { path, types: Types::INTEGER }] }
    }

    /// The components as JSON pointers, in order.
    pub fn pointers(&self) -> Vec<String> {
        self.components.iter().map(|it| pointer(&it.path)).collect()
    }

    /// Declares `_meta` and every component in an object schema, each required and of a type that a
    /// key can have.
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

/// A source that has a `_meta` of its own keeps its properties there.
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

/// The object under a key, which is put there if there is none.
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

/// Adds a name to `required`; says whether it was there.
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

/// Gives a schema exactly these types, beside what else it says; says whether it had.
fn make_strict(schema: &mut Map<String, Value>, types: Types) -> bool {
    let was_nullable = schema.get("nullable") == Some(&Value::Bool(true));
    if was_nullable {
        schema.shift_remove("nullable");
    }
    // A reader may stop at a reference and not see the type beside it.
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
