//! The sourced schema: the source's declaration as the start of Flow's inferred schema (F12). Flow widens it by what
//! documents contain, so it never makes a document fail. But widening may change a column's type, so this leaves out what
//! sources are known to get wrong.
//!
//! Also left out: enums, patterns and bounds, which do not determine a type; `required`, which deletions would violate;
//! and most formats.

use super::Rewritten;
use super::key::Key;
use super::refs;
use super::rewrite::rewrite;
use super::shape::{Additional, Shape, Types};
use super::values::Mode;
use super::write::meta;
use serde_json::{Map, Value, json};

/// Formats that affect a column's type and that real values conform to. `time` is not one of them: sources write
/// `-1 day, 11:25:04`.
const TRUSTED_FORMATS: [&str; 6] = ["integer", "uint32", "uint64", "number", "uuid", "sha256"];

/// Whether to keep the formats `date-time` and `date`. Sources write `2008-10-29T02:32:38` and `2024-01-01 00:07:00+00`
/// as the one and complete date-times as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateFormats {
    /// All dates are brought to RFC 3339, so the formats hold.
    Kept,
    /// The same, except that dates declared as numbers stay numbers.
    KeptByStrings,
    /// Dates are captured as the source writes them.
    Dropped,
}

impl DateFormats {
    fn keep(self, format: &str) -> bool {
        self != Self::Dropped && matches!(format, "date-time" | "date")
    }
}

/// Schemas that are nested deeper have types only: Flow reads at most 128 levels of JSON, and each schema takes two.
const MAX_DEPTH: usize = 40;

/// The source's declaration, closed at every object that names properties. A source that declares nothing gets the key
/// and `_meta`: any sourced schema raises the limit of Flow's inference.
pub fn sourced(declared: &Value, key: &Key, dates: DateFormats) -> Rewritten {
    let (declared, changes) = rewrite(declared, Mode::Document);
    let shape = Shape { types: Types::OBJECT, ..Shape::of(&Value::Object(declared)) };
    let mut root = render(&shape, dates, 0);
    let mut meta = meta();
    meta["properties"]["uuid"] = json!({ "type": "string" });
    key.declare(&mut root, meta, &mut Vec::new());
    Rewritten { schema: close(Value::Object(root)), changes }
}

fn render(shape: &Shape, dates: DateFormats, depth: usize) -> Map<String, Value> {
    let mut out = Map::new();
    let mut text = |keyword: &str, value: &Option<String>| {
        if let Some(value) = value {
            out.insert(keyword.into(), value.as_str().into());
        }
    };
    text("title", &shape.title);
    text("description", &shape.description);
    if shape.types == Types::ANY {
        return out;
    }
    let format = shape.format.as_deref();
    let date = format.filter(|it| dates.keep(it));
    let has = |it| shape.types.has(it);
    let types = match date {
        // Dates that are declared as numbers become strings.
        Some(_) if dates == DateFormats::Kept && has(Types::INTEGER) && !has(Types::STRING) => {
            shape.types.without(Types::NUMBER).or(Types::STRING)
        }
        _ => shape.types,
    };
    out.insert("type".into(), types.to_value());
    if types.has(Types::STRING)
        && let Some(format) = date.or(format.filter(|it| TRUSTED_FORMATS.contains(it)))
    {
        out.insert("format".into(), format.into());
    }
    if depth == MAX_DEPTH {
        return out;
    }
    if shape.types.has(Types::OBJECT) {
        for (keyword, shapes) in [("properties", &shape.properties), ("patternProperties", &shape.patterns)] {
            if !shapes.is_empty() {
                let shapes: Map<_, _> =
                    shapes.iter().map(|(name, it)| (name.clone(), render(it, dates, depth + 1).into())).collect();
                out.insert(keyword.into(), Value::Object(shapes));
            }
        }
        match &shape.additional {
            Additional::Undeclared => {}
            Additional::Forbidden => {
                out.insert("additionalProperties".into(), false.into());
            }
            Additional::Shaped(it) => {
                out.insert("additionalProperties".into(), render(it, dates, depth + 1).into());
            }
        }
    }
    if shape.types.has(Types::ARRAY)
        && let Some(items) = &shape.items
    {
        out.insert("items".into(), render(items, dates, depth + 1).into());
    }
    out
}

/// F12: closed at every object that names properties.
fn close(mut schema: Value) -> Value {
    let mut open = Vec::new();
    refs::visit(&schema, &mut String::new(), &mut |at, map| {
        if map.contains_key("properties") || map.contains_key("patternProperties") {
            open.push(at.to_owned());
        }
    });
    // Innermost first: closing an object removes the schemas in its `additionalProperties`.
    for at in open.into_iter().rev() {
        if let Some(Value::Object(map)) = schema.pointer_mut(&at) {
            map.insert("additionalProperties".into(), false.into());
        }
    }
    schema
}
