//! What a schema says about the types of values, with references, unions and intersections worked
//! into one tree. Constraints on values other than their type are no part of it.

use super::refs;
use super::values::type_of;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Schemas to look at before the rest of a document counts as undeclared: references to references
/// can multiply without end.
const BUDGET: usize = 20_000;
/// Schemas within schemas, likewise.
const MAX_DEPTH: usize = 150;

/// A set of types. `number` includes `integer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub const NULL: Self = Self(1);
    pub const STRING: Self = Self(2);
    pub const INTEGER: Self = Self(4);
    pub const NUMBER: Self = Self(4 | 8);
    pub const BOOLEAN: Self = Self(16);
    pub const OBJECT: Self = Self(32);
    pub const ARRAY: Self = Self(64);
    pub const ANY: Self = Self(127);
    const NONE: Self = Self(0);

    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    pub fn names(self) -> Vec<&'static str> {
        let number = if self.has(Self::NUMBER) { ("number", Self::NUMBER) } else { ("integer", Self::INTEGER) };
        let all = [
            ("null", Self::NULL),
            ("string", Self::STRING),
            number,
            ("boolean", Self::BOOLEAN),
            ("object", Self::OBJECT),
            ("array", Self::ARRAY),
        ];
        all.into_iter().filter(|(_, it)| self.has(*it)).map(|(name, _)| name).collect()
    }

    /// The value of a `type` keyword.
    pub fn to_value(self) -> Value {
        match self.names().as_slice() {
            [one] => (*one).into(),
            many => many.to_vec().into(),
        }
    }

    fn of_name(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "string" => Self::STRING,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "boolean" => Self::BOOLEAN,
            "object" => Self::OBJECT,
            "array" => Self::ARRAY,
            _ => Self::ANY,
        }
    }
}

/// The types that values have at a place, and below it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub types: Types,
    pub properties: BTreeMap<String, Shape>,
    pub patterns: BTreeMap<String, Shape>,
    pub additional: Additional,
    pub items: Option<Box<Shape>>,
    pub format: Option<String>,
    pub title: Option<String>,
    pub description: Option<String>,
}

/// What a schema says about properties that it doesn't name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Additional {
    Unsaid,
    Forbidden,
    Shaped(Box<Shape>),
}

impl Shape {
    pub fn any() -> Self {
        Self {
            types: Types::ANY,
            properties: BTreeMap::new(),
            patterns: BTreeMap::new(),
            additional: Additional::Unsaid,
            items: None,
            format: None,
            title: None,
            description: None,
        }
    }

    pub fn of(root: &Value) -> Self {
        Inference { root, refs: Vec::new(), depth: 0, budget: BUDGET }.infer(root)
    }

    /// What satisfies both.
    fn and(self, other: Self) -> Self {
        let types = self.types.and(other.types);
        Self {
            // Schemas that contradict each other say nothing about which of them is right.
            types: if types.is_none() { self.types.or(other.types) } else { types },
            properties: merge(self.properties, other.properties, Self::and),
            patterns: merge(self.patterns, other.patterns, Self::and),
            additional: match (self.additional, other.additional) {
                (Additional::Unsaid, it) | (it, Additional::Unsaid) => it,
                (Additional::Shaped(a), Additional::Shaped(b)) => Additional::Shaped(Box::new(a.and(*b))),
                _ => Additional::Forbidden,
            },
            items: match (self.items, other.items) {
                (Some(a), Some(b)) => Some(Box::new(a.and(*b))),
                (a, b) => a.or(b),
            },
            format: self.format.or(other.format),
            title: self.title.or(other.title),
            description: self.description.or(other.description),
        }
    }

    /// What satisfies either. A property that only one side names is still a named one.
    fn or(self, other: Self) -> Self {
        let (a, b) = (self.types, other.types);
        let one_sided = |has: Types| !(a.has(has) && b.has(has));
        Self {
            types: a.or(b),
            properties: merge(self.properties, other.properties, Self::or),
            patterns: merge(self.patterns, other.patterns, Self::or),
            additional: match (self.additional, other.additional) {
                (Additional::Shaped(a), Additional::Shaped(b)) => Additional::Shaped(Box::new(a.or(*b))),
                (Additional::Forbidden, it) | (it, Additional::Forbidden) => it,
                (it, Additional::Unsaid) | (Additional::Unsaid, it) if one_sided(Types::OBJECT) => it,
                _ => Additional::Unsaid,
            },
            items: match (self.items, other.items) {
                (Some(a), Some(b)) => Some(Box::new(a.or(*b))),
                (a, b) if one_sided(Types::ARRAY) => a.or(b),
                _ => None,
            },
            format: match (self.format, other.format) {
                (a, b) if a == b || one_sided(Types::STRING) => a.or(b),
                _ => None,
            },
            title: self.title.filter(|it| other.title.as_ref() == Some(it)),
            description: self.description.filter(|it| other.description.as_ref() == Some(it)),
        }
    }
}

fn merge(
    mut into: BTreeMap<String, Shape>,
    from: BTreeMap<String, Shape>,
    both: fn(Shape, Shape) -> Shape,
) -> BTreeMap<String, Shape> {
    for (name, theirs) in from {
        let merged = match into.remove(&name) {
            Some(ours) => both(ours, theirs),
            None => theirs,
        };
        into.insert(name, merged);
    }
    into
}

struct Inference<'a> {
    root: &'a Value,
    /// The references being followed: a recursive one ends in a shape of anything.
    refs: Vec<&'a str>,
    depth: usize,
    budget: usize,
}

impl<'a> Inference<'a> {
    fn infer(&mut self, schema: &'a Value) -> Shape {
        let Some(map) = schema.as_object() else {
            return Shape::any();
        };
        if self.budget == 0 || self.depth == MAX_DEPTH {
            return Shape::any();
        }
        self.budget -= 1;
        self.depth += 1;
        let shape = self.in_place(map);
        self.depth -= 1;
        shape
    }

    fn in_place(&mut self, map: &'a Map<String, Value>) -> Shape {
        let mut shape = self.own(map);
        if let Some(reference) = map.get("$ref").and_then(Value::as_str)
            && !self.refs.contains(&reference)
            && let Some(target) = refs::find(self.root, reference)
        {
            self.refs.push(reference);
            shape = shape.and(self.infer(target));
            self.refs.pop();
        }
        for schema in list(map, "allOf") {
            shape = shape.and(self.infer(schema));
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(any) = list(map, keyword).map(|it| self.infer(it)).reduce(Shape::or) {
                shape = shape.and(any);
            }
        }
        // What holds under a condition declares properties all the same.
        let conditional = ["then", "else"].into_iter().filter_map(|it| map.get(it));
        for schema in conditional.chain(entries(map, "dependentSchemas").map(|(_, it)| it)) {
            let given = self.infer(schema);
            let named = Shape { properties: given.properties, ..Shape::any() };
            shape = shape.and(named);
        }
        shape
    }

    /// What the schema says without the schemas that it refers to or combines.
    fn own(&mut self, map: &'a Map<String, Value>) -> Shape {
        let mut shape = Shape::any();
        for (name, schema) in entries(map, "properties") {
            let property = self.infer(schema);
            shape.properties.insert(name.clone(), property);
        }
        for (name, schema) in entries(map, "patternProperties") {
            let property = self.infer(schema);
            shape.patterns.insert(name.clone(), property);
        }
        shape.additional = match map.get("additionalProperties") {
            Some(Value::Bool(false)) => Additional::Forbidden,
            Some(it @ Value::Object(_)) => Additional::Shaped(Box::new(self.infer(it))),
            _ => Additional::Unsaid,
        };
        let tuple = list(map, "prefixItems").map(|it| self.infer(it)).reduce(Shape::or);
        shape.items = match (tuple, map.get("items")) {
            (Some(tuple), Some(Value::Bool(false))) => Some(Box::new(tuple)),
            // After the tuple comes what `items` says, or anything.
            (Some(tuple), rest) => rest.map(|rest| Box::new(tuple.or(self.infer(rest)))),
            (None, Some(it @ Value::Object(_))) => Some(Box::new(self.infer(it))),
            (None, _) => None,
        };
        let text = |keyword| map.get(keyword).and_then(Value::as_str).map(str::to_owned);
        shape.format = text("format");
        shape.title = text("title");
        shape.description = text("description");
        shape.types = types(map).unwrap_or_else(|| implied(&shape));
        if map.get("nullable") == Some(&Value::Bool(true)) {
            shape.types = shape.types.or(Types::NULL);
        }
        shape
    }
}

fn types(map: &Map<String, Value>) -> Option<Types> {
    let any_of = |names: &mut dyn Iterator<Item = &str>| names.map(Types::of_name).reduce(Types::or);
    match map.get("type") {
        Some(Value::String(name)) => return Some(Types::of_name(name)),
        Some(Value::Array(them)) => return any_of(&mut them.iter().filter_map(Value::as_str)),
        _ => {}
    }
    if let Some(value) = map.get("const") {
        return Some(Types::of_name(type_of(value)));
    }
    any_of(&mut list(map, "enum").map(type_of))
}

/// The type of a schema that doesn't name one but speaks of properties or items.
fn implied(shape: &Shape) -> Types {
    let speaks_of_properties = !shape.properties.is_empty() || !shape.patterns.is_empty();
    let mut types = Types::NONE;
    if speaks_of_properties || shape.additional != Additional::Unsaid {
        types = types.or(Types::OBJECT);
    }
    if shape.items.is_some() {
        types = types.or(Types::ARRAY);
    }
    if types.is_none() { Types::ANY } else { types }
}

fn list<'a>(map: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'a Value> {
    map.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

fn entries<'a>(map: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    map.get(keyword).and_then(Value::as_object).into_iter().flatten()
}
