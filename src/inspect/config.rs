//! The fields of the config schema that the shim passes to Flow.

use console::truncate_str;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::json::pointer;

/// The depth limit: definitions can be recursive.
const DEEPEST: usize = 8;

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// JSON pointer of the field in a config; for fields of array items, below the pointer of the array.
    pub pointer: String,
    pub name: String,
    /// `string`, `array of string`, `one of`, ...
    #[serde(rename = "type")]
    pub kind: String,
    pub required: bool,
    pub secret: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The allowed values, if listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// The alternatives of a `oneOf` or `anyOf`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Branch>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Branch {
    pub title: String,
    /// The fields with a single allowed value, which identify the branch.
    pub chosen_by: Map<String, Value>,
    pub fields: Vec<Field>,
}

impl Field {
    /// The first sentence of the description.
    pub fn gist(&self) -> String {
        first_sentence(self.description.as_deref())
    }
}

/// The top-level fields, in the order of Flow's form.
pub fn fields(root: &Value) -> Vec<Field> {
    fields_of(root, root, "", 0)
}

fn fields_of(root: &Value, schema: &Value, at: &str, depth: usize) -> Vec<Field> {
    let required = strings(&schema["required"]);
    let order = |it: &Value| it["order"].as_i64().unwrap_or(i64::MAX);
    let mut properties: Vec<(&String, &Value)> = schema["properties"].as_object().into_iter().flatten().collect();
    properties.sort_by_key(|(_, it)| order(it));
    let field = |(name, it): (&String, &Value)| {
        let required = required.contains(&name.as_str());
        field(root, it, name, format!("{at}/{}", pointer::escape(name)), required, depth)
    };
    properties.into_iter().map(field).collect()
}

fn field(root: &Value, schema: &Value, name: &str, pointer: String, required: bool, depth: usize) -> Field {
    let schema = &resolved(root, schema);
    let secret = schema["secret"] == true || schema["airbyte_secret"] == true;
    let mut field = Field {
        name: name.to_owned(),
        kind: kind(root, schema),
        required,
        secret,
        // The default of a secret field may be a secret.
        default: schema.get("default").filter(|it| !secret && !it.is_null()).cloned(),
        values: if schema["items"].is_object() { values(&resolved(root, &schema["items"])) } else { values(schema) },
        title: schema["title"].as_str().map(plain),
        description: schema["description"].as_str().or(schema["title"].as_str()).map(plain),
        ..Field::default()
    };
    if depth < DEEPEST {
        let items = resolved(root, &schema["items"]);
        let nested = if schema["items"].is_object() { &items } else { schema };
        field.fields = fields_of(root, nested, &pointer, depth + 1);
        let branches = ["oneOf", "anyOf"].into_iter().filter_map(|it| nested[it].as_array()).flatten();
        field.branches = branches.filter_map(|it| branch(root, it, &pointer, depth)).collect();
    }
    field.pointer = pointer;
    field
}

/// A branch that has fields; `None` for one that only restricts the type.
fn branch(root: &Value, schema: &Value, at: &str, depth: usize) -> Option<Branch> {
    let schema = resolved(root, schema);
    let properties = schema["properties"].as_object()?;
    let single = |it: &Value| match values(it).as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    };
    let chosen_by: Map<String, Value> =
        properties.iter().filter_map(|(name, it)| Some((name.clone(), single(it)?))).collect();
    let mut fields = fields_of(root, &schema, at, depth + 1);
    fields.retain(|it| !chosen_by.contains_key(&it.name));
    Some(Branch { title: schema["title"].as_str().unwrap_or_default().to_owned(), chosen_by, fields })
}

/// A schema with its local `$ref` and a single-element `allOf` inlined.
fn resolved(root: &Value, schema: &Value) -> Value {
    let mut schema = schema.clone();
    for _ in 0..DEEPEST {
        let Value::Object(members) = &mut schema else { break };
        let target = match (members.shift_remove("$ref"), members.get("allOf").and_then(Value::as_array)) {
            (Some(Value::String(it)), _) => it.strip_prefix('#').and_then(|it| root.pointer(it)).cloned(),
            (_, Some(all)) if all.len() == 1 => members.shift_remove("allOf").and_then(|it| it.get(0).cloned()),
            _ => None,
        };
        let Some(Value::Object(target)) = target else { break };
        for (name, value) in target {
            members.entry(name).or_insert(value);
        }
    }
    schema
}

fn kind(root: &Value, schema: &Value) -> String {
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        many => strings(many).into_iter().filter(|it| *it != "null").collect(),
    };
    let has_branches = ["oneOf", "anyOf"].iter().any(|it| schema[*it].is_array());
    match types.as_slice() {
        [] | ["object"] if has_branches => "one of".to_owned(),
        [] if !values(schema).is_empty() && values(schema).iter().all(Value::is_string) => "string".to_owned(),
        [] => "anything".to_owned(),
        ["array"] if schema["items"].is_object() => {
            format!("array of {}", kind(root, &resolved(root, &schema["items"])))
        }
        ["string"] => match schema["format"].as_str() {
            Some(format) => format!("string ({format})"),
            None => "string".to_owned(),
        },
        types => types.join(" or "),
    }
}

fn values(schema: &Value) -> Vec<Value> {
    match (&schema["const"], &schema["enum"]) {
        (Value::Null, Value::Array(values)) => values.clone(),
        (Value::Null, _) => Vec::new(),
        (one, _) => vec![one.clone()],
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The text up to the first full stop that ends a sentence; those of `e.g.` and similar don't.
fn first_sentence(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    let ends = |at: &usize| {
        let (before, after) = (&text[..*at], &text[at + 2..]);
        !before.ends_with(['.', ' '])
            && !["e.g", "i.e", "etc"].iter().any(|it| before.ends_with(it))
            && !after.starts_with(char::is_lowercase)
    };
    let length = text.match_indices(". ").map(|(at, _)| at).find(ends).map_or(text.len(), |at| at + 1);
    truncate_str(&text[..length], 120, "…").into_owned()
}

/// Removes the HTML tags that connectors write for Airbyte's form.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        plain += before;
        // `a < b` is not a tag.
        match tag.split_once('>').filter(|_| tag.starts_with(|it: char| it == '/' || it.is_ascii_alphabetic())) {
            Some((_, after)) => rest = after,
            None => {
                plain.push('<');
                rest = tag;
            }
        }
    }
    plain += rest;
    crate::terminal::one_line(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_taken_out() {
        assert_eq!(plain("See <a href=\"x\">the\n docs</a> if 1 < 2.<br>Else"), "See the docs if 1 < 2.Else");
    }
}
