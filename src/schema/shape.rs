//! The types that a schema declares, as one tree: references, unions and intersections are resolved. Constraints other
//! than types are left out.

use super::refs;
use super::values::type_of;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Limits the work for references that multiply. Schemas beyond it count as undeclared.
const BUDGET: usize = 20_000;
/// Limits the depth of nested schemas in the same way.
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

/// The types of a value and of what it contains.
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

/// The declaration of properties that are not named.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Additional {
    Undeclared,
    Forbidden,
    Shaped(Box<Shape>),
}

impl Shape {
    pub fn any() -> Self {
        Self {
            types: Types::ANY,
            properties: BTreeMap::new(),
            patterns: BTreeMap::new(),
            additional: Additional::Undeclared,
            items: None,
            format: None,
            title: None,
            description: None,
        }
    }

    /// The shape of a member, if it is declared.
    pub fn member(&self, name: &str) -> Option<&Self> {
        let matching = |(pattern, _): &(&String, _)| regex::Regex::new(pattern).is_ok_and(|it| it.is_match(name));
        let pattern = || self.patterns.iter().find(matching).map(|(_, it)| it);
        let additional = || if let Additional::Shaped(it) = &self.additional { Some(&**it) } else { None };
        self.properties.get(name).or_else(pattern).or_else(additional)
    }

    /// Whether members are declared at all.
    pub fn names_members(&self) -> bool {
        !self.properties.is_empty() || !self.patterns.is_empty() || self.additional == Additional::Forbidden
    }

    /// Drops the formats of properties that an alternative does not declare.
    fn loosen_missing(&mut self, other: &Self) {
        if !other.types.has(Types::OBJECT) || other.additional == Additional::Forbidden {
            return;
        }
        let missing = self.properties.iter_mut().filter(|(name, _)| !other.properties.contains_key(*name));
        missing.for_each(|(_, it)| it.drop_formats());
    }

    fn drop_formats(&mut self) {
        self.format = None;
        self.properties.values_mut().chain(self.patterns.values_mut()).for_each(Self::drop_formats);
        if let Additional::Shaped(it) = &mut self.additional {
            it.drop_formats();
        }
        if let Some(it) = &mut self.items {
            it.drop_formats();
        }
    }

    pub fn of(root: &Value) -> Self {
        Inference { root, refs: Vec::new(), depth: 0, budget: BUDGET }.infer(root)
    }

    /// The shape of values that satisfy both.
    fn and(self, other: Self) -> Self {
        let types = self.types.and(other.types);
        Self {
            // If the schemas contradict each other, either may be right.
            types: if types.is_none() { self.types.or(other.types) } else { types },
            properties: merge(self.properties, other.properties, Self::and),
            patterns: merge(self.patterns, other.patterns, Self::and),
            additional: match (self.additional, other.additional) {
                (Additional::Undeclared, it) | (it, Additional::Undeclared) => it,
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

    /// The shape of values that satisfy either. A property that only one side names stays named, but without formats: the
    /// other side allows any text there.
    fn or(mut self, mut other: Self) -> Self {
        self.loosen_missing(&other);
        other.loosen_missing(&self);
        let (a, b) = (self.types, other.types);
        let one_sided = |has: Types| !(a.has(has) && b.has(has));
        Self {
            types: a.or(b),
            properties: merge(self.properties, other.properties, Self::or),
            patterns: merge(self.patterns, other.patterns, Self::or),
            additional: match (self.additional, other.additional) {
                (Additional::Shaped(a), Additional::Shaped(b)) => Additional::Shaped(Box::new(a.or(*b))),
                (Additional::Forbidden, it) | (it, Additional::Forbidden) => it,
                (it, Additional::Undeclared) | (Additional::Undeclared, it) if one_sided(Types::OBJECT) => it,
                _ => Additional::Undeclared,
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
    /// The references being followed. A recursive one becomes [`Shape::any`].
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
        // Conditional schemas declare the names of properties, but not what they always are.
        let conditional = ["then", "else"].into_iter().filter_map(|it| map.get(it));
        for schema in conditional.chain(entries(map, "dependentSchemas").map(|(_, it)| it)) {
            let mut given = self.infer(schema);
            given.drop_formats();
            let named = Shape { properties: given.properties, ..Shape::any() };
            shape = shape.and(named);
        }
        shape
    }

    /// The shape by the schema's own keywords, without the schemas that it refers to or combines.
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
            _ => Additional::Undeclared,
        };
        let tuple = list(map, "prefixItems").map(|it| self.infer(it)).reduce(Shape::or);
        shape.items = match (tuple, map.get("items")) {
            (Some(tuple), Some(Value::Bool(false))) => Some(Box::new(tuple)),
            // `items` declares the items after the tuple.
            (Some(tuple), rest) => rest.map(|rest| Box::new(tuple.or(self.infer(rest)))),
            (None, Some(it @ Value::Object(_))) => Some(Box::new(self.infer(it))),
            (None, _) => None,
        };
        let text = |keyword| map.get(keyword).and_then(Value::as_str).map(str::to_owned);
        shape.format = text("format");
        shape.title = text("title");
        shape.description = text("description");
        shape.types = types(map).unwrap_or_else(|| implied(&shape));
        if shape.types.has(Types::NUMBER) && holds_only_integers(map) {
            shape.types = shape.types.without(Types::NUMBER).or(Types::INTEGER);
        }
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

/// Whether a keyword other than `type` excludes numbers with a fraction.
pub(super) fn holds_only_integers(map: &Map<String, Value>) -> bool {
    let is_whole = |it: &Value| it.as_f64().is_none_or(|it| it.fract() == 0.0);
    let text = |keyword: &str| map.get(keyword).and_then(Value::as_str);
    // Draft 3 has `divisibleBy` instead of `multipleOf`.
    let mut steps = ["multipleOf", "divisibleBy"].into_iter().filter_map(|it| map.get(it)?.as_f64());
    steps.any(|it| it >= 1.0 && it.fract() == 0.0)
        || text("format").is_some_and(is_integer_format)
        || matches!(text("airbyte_type"), Some("integer" | "big_integer"))
        || map.get("const").is_some_and(is_whole)
        || map.get("enum").and_then(Value::as_array).is_some_and(|it| !it.is_empty() && it.iter().all(is_whole))
}

/// `integer` and what code generators write: `int32`, `uint64`, `long`.
fn is_integer_format(format: &str) -> bool {
    let bits = format.strip_prefix('u').unwrap_or(format).strip_prefix("int");
    bits.is_some_and(|it| matches!(it, "" | "8" | "16" | "32" | "64" | "128"))
        || matches!(format, "integer" | "long" | "bigint")
}

/// The types of a schema without `type` that declares properties or items.
fn implied(shape: &Shape) -> Types {
    let has_properties = !shape.properties.is_empty() || !shape.patterns.is_empty();
    let mut types = Types::NONE;
    if has_properties || shape.additional != Additional::Undeclared {
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
