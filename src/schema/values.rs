//! Checks and repairs the values of keywords that contain no schemas.

use super::change::What;
use super::keywords::{Takes, is_format, is_type};
use super::modernise::is_anchor;
use serde_json::{Value, json};
use std::collections::HashSet;

/// The purpose of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Users fill in a form that is made from it: choices and constraints help them.
    Config,
    /// Documents must satisfy it: wrong declarations of the source must not stop a capture.
    Document,
}

/// What to do with a keyword.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Keep,
    Repair(Value, What),
    Drop(What),
}

/// Checks whether Flow accepts a keyword's value, and repairs it if possible.
pub(super) fn check(keyword: &str, takes: Takes, value: &Value, mode: Mode) -> Outcome {
    let fits = match takes {
        Takes::Any => true,
        Takes::Text => value.is_string(),
        Takes::Flag => value.is_boolean(),
        Takes::Count => value.is_u64(),
        Takes::Number => value.as_f64().is_some_and(f64::is_finite),
        Takes::Int32 => value.as_i64().is_some_and(|it| i32::try_from(it).is_ok()),
        Takes::NonEmptyList => value.as_array().is_some_and(|it| !it.is_empty()),
        Takes::Object => value.is_object(),
        Takes::Strategy => value.get("strategy").is_some_and(Value::is_string),
        Takes::NamesMap => value.as_object().is_some_and(|it| it.values().all(are_names)),
        Takes::Id => value.as_str().is_some_and(is_url),
        Takes::Anchor => value.as_str().is_some_and(is_anchor),
        Takes::SecretFlag => return secret(keyword, value),
        Takes::Step => return step(keyword, value, mode),
        Takes::List => return list(keyword, value),
        Takes::Types => return types(value),
        Takes::Format => return format(value),
        Takes::Pattern => return pattern(value),
        Takes::Names => return names(keyword, value),
        Takes::Dialect => return dialect(keyword, value),
        Takes::Schema | Takes::Schemas | Takes::SchemaMap | Takes::PatternMap | Takes::Ref => true,
    };
    match takes {
        _ if fits => Outcome::Keep,
        Takes::Id => Outcome::Drop(What::IdDropped),
        _ => Outcome::Drop(What::BadValue(keyword.into())),
    }
}

fn are_names(value: &Value) -> bool {
    value.as_array().is_some_and(|them| them.iter().all(Value::is_string))
}

fn secret(keyword: &str, value: &Value) -> Outcome {
    let is_true = match value {
        Value::Bool(_) => return Outcome::Keep,
        Value::String(it) => ["true", "yes", "1"].contains(&it.to_ascii_lowercase().as_str()),
        Value::Number(it) => it.as_f64() != Some(0.0),
        _ => false,
    };
    if is_true {
        Outcome::Repair(Value::Bool(true), What::ValueRepaired(keyword.into()))
    } else {
        Outcome::Drop(What::BadValue(keyword.into()))
    }
}

fn step(keyword: &str, value: &Value, mode: Mode) -> Outcome {
    /// For smaller steps, doubles are all multiples or none. Databases write `1e-38` for "any decimal".
    const FINEST: f64 = 1e-9;
    match value.as_f64() {
        // 19.99 is not a multiple of 0.01 in binary.
        Some(it) if it > 0.0 && it.fract() != 0.0 && mode == Mode::Document => {
            Outcome::Drop(What::InexactDropped(keyword.into()))
        }
        Some(it) if it.is_finite() && it >= FINEST => Outcome::Keep,
        _ => Outcome::Drop(What::BadValue(keyword.into())),
    }
}

fn list(keyword: &str, value: &Value) -> Outcome {
    match value {
        Value::Array(_) => Outcome::Keep,
        Value::Null => Outcome::Drop(What::BadValue(keyword.into())),
        one => Outcome::Repair(json!([one]), What::ValueRepaired(keyword.into())),
    }
}

fn types(value: &Value) -> Outcome {
    let names: Option<Vec<&str>> = match value {
        Value::String(it) if is_type(it) => return Outcome::Keep,
        Value::String(it) => type_name(it).map(|it| vec![it]),
        Value::Array(them) => them.iter().map(listed_type).collect(),
        _ => None,
    };
    // An unknown name may mean any type, so the others alone would be too strict.
    let Some(mut names) = names.filter(|it| !it.is_empty()) else {
        return Outcome::Drop(What::TypeDropped);
    };
    let mut seen = HashSet::new();
    names.retain(|it| seen.insert(*it));
    let repaired = if value.is_string() { json!(names[0]) } else { json!(names) };
    keep_or_repair(value, repaired, What::TypeRepaired)
}

fn listed_type(value: &Value) -> Option<&'static str> {
    match value {
        Value::Null => Some("null"),
        Value::String(it) => type_name(it),
        it => type_name(it.get("type")?.as_str()?),
    }
}

fn format(value: &Value) -> Outcome {
    match value {
        Value::String(it) if is_format(it) => Outcome::Keep,
        other => Outcome::Drop(What::FormatDropped(text(other))),
    }
}

fn pattern(value: &Value) -> Outcome {
    match value {
        Value::String(it) if compiles(it) => Outcome::Keep,
        other => Outcome::Drop(What::PatternDropped(text(other))),
    }
}

/// Whether a pattern compiles with Flow's regular expressions, which are Rust's.
pub(super) fn compiles(pattern: &str) -> bool {
    regex::Regex::new(pattern).is_ok()
}

fn names(keyword: &str, value: &Value) -> Outcome {
    let repaired = match value {
        Value::Array(them) => {
            let mut seen = HashSet::new();
            them.iter().filter(|it| it.is_string() && seen.insert(*it)).cloned().collect()
        }
        Value::String(_) => vec![value.clone()],
        _ => return Outcome::Drop(What::BadValue(keyword.into())),
    };
    keep_or_repair(value, Value::Array(repaired), What::RequiredRepaired)
}

fn dialect(keyword: &str, value: &Value) -> Outcome {
    let is_old = |it: &str| it.contains("json-schema.org/draft-0") || it.contains("json-schema.org/schema");
    match value {
        Value::String(it) if is_old(it) => Outcome::Drop(What::DialectDropped),
        Value::String(_) => Outcome::Keep,
        _ => Outcome::Drop(What::BadValue(keyword.into())),
    }
}

/// Whether an id is a URL that Flow accepts: without a fragment, and not opaque (`urn:`).
fn is_url(id: &str) -> bool {
    let is_url_char = |c: char| c.is_ascii_alphanumeric() || "-._~:/?@!$&'()*+,;=%".contains(c);
    let has_host = |it: &str| it.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_url = match id.split_once("://") {
        Some((scheme, rest)) => ["http", "https"].contains(&scheme) && has_host(rest),
        None => !id.is_empty() && !id.contains(':') && !id.starts_with("//"),
    };
    is_url && id.chars().all(is_url_char)
}

fn keep_or_repair(value: &Value, repaired: Value, what: What) -> Outcome {
    if *value == repaired { Outcome::Keep } else { Outcome::Repair(repaired, what) }
}

/// The JSON schema type that a name means, including names of other type systems.
fn type_name(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "null" | "none" | "nil" => "null",
        "boolean" | "bool" => "boolean",
        "object" | "dict" | "map" | "struct" | "record" => "object",
        "array" | "list" | "tuple" => "array",
        "integer" | "int" | "int32" | "int64" | "long" | "bigint" | "smallint" => "integer",
        "number" | "float" | "double" | "decimal" | "numeric" => "number",
        "string" | "str" | "text" | "varchar" | "uuid" => "string",
        "date" | "datetime" | "date-time" | "time" | "timestamp" => "string",
        _ => return None,
    })
}

/// The JSON schema type of a value.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::Number(it) if it.is_i64() || it.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(it) => it.clone(),
        other => other.to_string(),
    }
}
