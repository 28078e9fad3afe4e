//! Converts a schema's keywords from earlier drafts, and common mistakes, to draft 2020-12. The conversion is exact: the
//! schema accepts what it was meant to accept.

use super::change::{Change, What};
use super::keywords::{Takes, is_type, takes};
use super::refs::push;
use serde_json::{Map, Value, map::Entry};

type Schema = Map<String, Value>;

/// Converts one schema, without the schemas inside of it.
pub(super) fn modernise(schema: &mut Schema, at: &str, changes: &mut Vec<Change>) {
    let mut say = |tokens: &[&str], what: What| {
        let mut at = at.to_owned();
        tokens.iter().for_each(|it| push(&mut at, it));
        changes.push(Change { at, what });
    };
    move_properties(schema, &mut say);
    unwrap_type(schema, &mut say);
    lift_required(schema, &mut say);
    fold_bound(schema, "maximum", "exclusiveMaximum", &mut say);
    fold_bound(schema, "minimum", "exclusiveMinimum", &mut say);
    name_tuple(schema, &mut say);
    split_dependencies(schema, &mut say);
    name_anchor(schema, &mut say);
}

/// Moves property names that are beside `properties` into it. A keyword counts as a property if its value is clearly a
/// schema and the keyword does not accept one.
fn move_properties(schema: &mut Schema, say: &mut impl FnMut(&[&str], What)) {
    let has_properties = schema.get("properties").is_some_and(Value::is_object);
    let may_be_object = match schema.get("type") {
        None => !schema.contains_key("items"),
        Some(Value::String(it)) => it == "object",
        Some(Value::Array(them)) => them.iter().any(|it| it == "object"),
        Some(Value::Object(_)) => true,
        Some(_) => false,
    };
    if !has_properties && !may_be_object {
        return;
    }
    let is_misplaced = |keyword: &str, value: &Value| {
        use Takes::*;
        match takes(keyword) {
            None => keyword != "dependencies" && is_schema_like(value),
            Some(Any | Object | Strategy | NamesMap | Schema | Schemas | SchemaMap | PatternMap) => false,
            Some(_) => is_schema_like(value),
        }
    };
    let mut misplaced: Vec<String> = schema
        .iter()
        .filter(|(keyword, value)| is_misplaced(keyword, value))
        .map(|(keyword, _)| keyword.clone())
        .collect();
    // A single `type: {type: string}` is a type (see `unwrap_type`), not a property of that name.
    if !has_properties && misplaced == ["type"] {
        misplaced.clear();
    }
    if misplaced.is_empty() {
        return;
    }
    let taken: Vec<(String, Value)> = misplaced
        .into_iter()
        .filter_map(|keyword| schema.shift_remove(&keyword).map(|value| (keyword, value)))
        .collect();
    let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    if !properties.is_object() {
        *properties = Value::Object(Map::new());
    }
    let Some(properties) = properties.as_object_mut() else {
        return;
    };
    for (name, value) in taken {
        match properties.entry(name.as_str()) {
            Entry::Vacant(it) => {
                it.insert(value);
                say(&[&name], What::PropertyMoved(name.clone()));
            }
            Entry::Occupied(_) => say(&[&name], What::UnknownKeyword(name.clone())),
        }
    }
}

fn is_schema_like(value: &Value) -> bool {
    let Some(map) = value.as_object() else {
        return false;
    };
    let is_type_name = |it: &Value| it.as_str().is_some_and(is_type);
    map.iter().any(|(keyword, value)| match keyword.as_str() {
        "type" => match value {
            Value::Array(them) => !them.is_empty() && them.iter().all(is_type_name),
            it => is_type_name(it),
        },
        "$ref" => value.is_string(),
        "properties" => value.is_object(),
        "anyOf" | "oneOf" | "allOf" => {
            value.as_array().is_some_and(|them| !them.is_empty() && them.iter().all(Value::is_object))
        }
        _ => false,
    })
}

/// Converts `type: {type: string}`.
fn unwrap_type(schema: &mut Schema, say: &mut impl FnMut(&[&str], What)) {
    let Some(value) = schema.get_mut("type") else {
        return;
    };
    let Some(inner) = value.get("type").filter(|it| it.is_string() || it.is_array()) else {
        return;
    };
    *value = inner.clone();
    say(&["type"], What::TypeRepaired);
}

/// Draft 3: a boolean `required` of a property belongs into the `required` of its parent.
fn lift_required(schema: &mut Schema, say: &mut impl FnMut(&[&str], What)) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else {
        return;
    };
    let mut lifted = Vec::new();
    for (name, property) in properties {
        let Some(property) = property.as_object_mut() else {
            continue;
        };
        if let Some(&Value::Bool(required)) = property.get("required") {
            property.shift_remove("required");
            say(&["properties", name, "required"], What::RequiredLifted(name.clone()));
            if required {
                lifted.push(Value::String(name.clone()));
            }
        }
    }
    if lifted.is_empty() {
        return;
    }
    match schema.get_mut("required") {
        Some(Value::Array(required)) => {
            lifted.retain(|it| !required.contains(it));
            required.extend(lifted);
        }
        _ => {
            schema.insert("required".into(), lifted.into());
        }
    }
}

/// Draft 4: `maximum: 5, exclusiveMaximum: true` is now `exclusiveMaximum: 5`.
fn fold_bound(schema: &mut Schema, bound: &str, exclusive: &str, say: &mut impl FnMut(&[&str], What)) {
    let Some(&Value::Bool(is_exclusive)) = schema.get(exclusive) else {
        return;
    };
    if is_exclusive && schema.get(bound).is_some_and(Value::is_number) {
        schema.shift_remove(exclusive);
        rename(schema, bound, exclusive);
    } else {
        schema.shift_remove(exclusive);
    }
    say(&[exclusive], What::BoundFolded(exclusive.into()));
}

/// Up to 2019-09: `items: [..]` and `additionalItems` are now `prefixItems` and `items`.
fn name_tuple(schema: &mut Schema, say: &mut impl FnMut(&[&str], What)) {
    match schema.get("items") {
        Some(Value::Array(them)) if them.is_empty() || schema.contains_key("prefixItems") => {
            schema.shift_remove("items");
            say(&["items"], What::BadValue("items".into()));
        }
        Some(Value::Array(_)) => {
            rename(schema, "items", "prefixItems");
            say(&["items"], What::TupleToPrefixItems);
        }
        _ => {}
    }
    if !schema.contains_key("additionalItems") {
        return;
    }
    if schema.contains_key("prefixItems") && !schema.contains_key("items") {
        rename(schema, "additionalItems", "items");
        say(&["additionalItems"], What::TupleToPrefixItems);
    } else {
        // Without a tuple it has no meaning, but Flow reads it as another `items`.
        schema.shift_remove("additionalItems");
        say(&["additionalItems"], What::InexactDropped("additionalItems".into()));
    }
}

/// Up to draft 7: `dependencies` is now two keywords.
fn split_dependencies(schema: &mut Schema, say: &mut impl FnMut(&[&str], What)) {
    let Some(Value::Object(_)) = schema.get("dependencies") else {
        return;
    };
    let Some(Value::Object(dependencies)) = schema.shift_remove("dependencies") else {
        return;
    };
    say(&["dependencies"], What::DependenciesSplit);
    for (name, mut value) in dependencies {
        if value.is_string() {
            value = Value::Array(vec![value]);
        }
        let keyword = if value.is_array() { "dependentRequired" } else { "dependentSchemas" };
        let into = schema.entry(keyword).or_insert_with(|| Value::Object(Map::new()));
        if let Some(into) = into.as_object_mut() {
            into.entry(name).or_insert(value);
        }
    }
}

/// Draft 4 wrote `id`; up to draft 7 an id of `#name` was an `$anchor`.
fn name_anchor(schema: &mut Schema, say: &mut impl FnMut(&[&str], What)) {
    for keyword in ["id", "$id"] {
        let Some(Value::String(id)) = schema.get(keyword) else {
            continue;
        };
        let anchor = id.strip_prefix('#').filter(|it| is_anchor(it)).map(str::to_owned);
        match anchor {
            Some(anchor) if !schema.contains_key("$anchor") => {
                rename(schema, keyword, "$anchor");
                schema.insert("$anchor".into(), anchor.into());
                say(&[keyword], What::IdToAnchor);
            }
            _ if keyword == "id" => {
                schema.shift_remove(keyword);
                say(&[keyword], What::IdDropped);
            }
            _ => {}
        }
    }
}

pub(super) fn is_anchor(name: &str) -> bool {
    let tail_ok = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(tail_ok)
}

/// Renames a key and keeps its position.
pub(super) fn rename(schema: &mut Schema, from: &str, to: &str) {
    let Some(place) = schema.keys().position(|it| it == from) else {
        return;
    };
    if let Some(value) = schema.shift_remove(from) {
        let place = place.min(schema.len());
        schema.shift_insert(place, to.into(), value);
    }
}
