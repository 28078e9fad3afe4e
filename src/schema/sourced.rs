//! The sourced schema: what the source says about its data, for Flow to start from (F12). Flow
//! widens it by what documents show, so it never makes one fail; but a column's type that is
//! widened later is a column that changes, so nothing goes in that sources are known to get wrong.
//!
//! Left out are enums, patterns and bounds, which tell no type, `required`, which deletions break,
//! and most formats.

use super::Rewritten;
use super::key::{Key, META};
use super::refs;
use super::rewrite::{Mode, rewrite};
use super::shape::{Additional, Shape, Types};
use super::write::meta;
use serde_json::{Map, Value, json};

/// Formats that say something about a column's type and that real values keep to. `time` is not
/// among them: sources write `-1 day, 11:25:04` under it.
const TRUSTED_FORMATS: [&str; 6] = ["integer", "uint32", "uint64", "number", "uuid", "sha256"];

/// What becomes of the formats `date-time` and `date`. Sources write `2008-10-29T02:32:38` and
/// `2024-01-01 00:07:00+00` under the one and whole date-times under the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateFormats {
    /// The values that are sent keep to them: all dates among them are brought to RFC 3339.
    Kept,
    /// Likewise, but for numbers where no string may be: they stay.
    KeptByStrings,
    /// The values are sent as the source writes them.
    Dropped,
}

impl DateFormats {
    fn keep(self, format: &str) -> bool {
        self != Self::Dropped && matches!(format, "date-time" | "date")
    }
}

/// Schemas within schemas, beyond which only types are told: Flow reads JSON of at most 128 levels,
/// and each takes two.
const MAX_DEPTH: usize = 40;

/// What the source declares, closed at every object that names properties. Nothing, if it doesn't
/// name any.
pub fn sourced(declared: &Value, key: &Key, dates: DateFormats) -> Option<Rewritten> {
    let (declared, changes) = rewrite(declared, Mode::Document);
    let shape = Shape::of(&Value::Object(declared));
    if shape.properties.keys().all(|it| it == META) {
        return None;
    }
    let shape = Shape { types: Types::OBJECT, ..shape };
    let Value::Object(mut root) = render(&shape, dates, 0) else {
        return None;
    };
    let mut meta = meta();
    meta["properties"]["uuid"] = json!({ "type": "string" });
    key.declare(&mut root, meta, &mut Vec::new());
    Some(Rewritten { schema: close(Value::Object(root)), changes })
}

fn render(shape: &Shape, dates: DateFormats, depth: usize) -> Value {
    let mut out = Map::new();
    let mut text = |keyword: &str, value: &Option<String>| {
        if let Some(value) = value {
            out.insert(keyword.into(), value.as_str().into());
        }
    };
    text("title", &shape.title);
    text("description", &shape.description);
    if shape.types == Types::ANY {
        return Value::Object(out);
    }
    let format = shape.format.as_deref();
    let date = format.filter(|it| dates.keep(it));
    let has = |it| shape.types.has(it);
    let types = match date {
        // Numbers that are dates are sent as strings.
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
        return Value::Object(out);
    }
    if shape.types.has(Types::OBJECT) {
        for (keyword, shapes) in [("properties", &shape.properties), ("patternProperties", &shape.patterns)] {
            if !shapes.is_empty() {
                let shapes: Map<_, _> =
                    shapes.iter().map(|(name, it)| (name.clone(), render(it, dates, depth + 1))).collect();
                out.insert(keyword.into(), Value::Object(shapes));
            }
        }
        match &shape.additional {
            Additional::Unsaid => {}
            Additional::Forbidden => {
                out.insert("additionalProperties".into(), false.into());
            }
            Additional::Shaped(it) => {
                out.insert("additionalProperties".into(), render(it, dates, depth + 1));
            }
        }
    }
    if shape.types.has(Types::ARRAY)
        && let Some(items) = &shape.items
    {
        out.insert("items".into(), render(items, dates, depth + 1));
    }
    Value::Object(out)
}

/// F12: closed at every object that names properties.
fn close(mut schema: Value) -> Value {
    let mut open = Vec::new();
    refs::visit(&schema, &mut String::new(), &mut |at, map| {
        if map.contains_key("properties") || map.contains_key("patternProperties") {
            open.push(at.to_owned());
        }
    });
    // From the inside out: closing an object takes its `additionalProperties`, and the places in
    // there, away.
    for at in open.into_iter().rev() {
        if let Some(Value::Object(map)) = schema.pointer_mut(&at) {
            map.insert("additionalProperties".into(), false.into());
        }
    }
    schema
}
