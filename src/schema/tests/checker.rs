//! Checks what Flow accepts, written from its rules and independent of the rewriter's tables.

use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

const DATA: &str = "const default example";
const STRINGS: &str = "$schema $id $anchor $dynamicAnchor $ref $dynamicRef $recursiveRef $comment title description \
    contentEncoding contentMediaType format pattern";
const BOOLEANS: &str =
    "$recursiveAnchor uniqueItems deprecated readOnly writeOnly nullable secret airbyte_secret multiline advanced";
const UNSIGNED: &str = "maxLength minLength maxItems minItems maxContains minContains maxProperties minProperties";
const NUMBERS: &str = "maximum exclusiveMaximum minimum exclusiveMinimum multipleOf";
const OBJECTS: &str = "$vocabulary discriminator reduce redact dependentRequired";
const SCHEMAS: &str = "items additionalItems unevaluatedItems contains additionalProperties unevaluatedProperties propertyNames \
    not if then else contentSchema";
const SCHEMA_LISTS: &str = "allOf anyOf oneOf prefixItems";
const SCHEMA_MAPS: &str = "$defs definitions properties patternProperties dependentSchemas";
const FORMATS: &str = "date date-time time email hostname idn-email idn-hostname ipv4 ipv6 macaddr macaddr8 uuid \
    duration iri uri iri-reference uri-reference uri-template json-pointer relative-json-pointer regex integer uint32 uint64 \
    number sha256";
const TYPES: &str = "null boolean object array integer number string";

/// The problems for which Flow's parser would reject a schema.
pub(super) fn rejected(schema: &Value) -> Vec<String> {
    let mut check = Check::default();
    check.schema(schema, "#");
    for (at, reference) in std::mem::take(&mut check.refs) {
        let reference = reference.replace("%20", " ");
        if !check.locations.contains(&reference) {
            check.wrong.push(format!("{at}: {reference} has no target"));
        }
    }
    check.wrong
}

#[derive(Default)]
struct Check {
    wrong: Vec<String>,
    locations: HashSet<String>,
    refs: Vec<(String, String)>,
    ids: HashMap<String, String>,
}

fn is_in(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|it| it == word)
}

fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

fn unique_strings(value: &Value) -> bool {
    value.as_array().is_some_and(|them| {
        let names: HashSet<_> = them.iter().filter_map(Value::as_str).collect();
        names.len() == them.len()
    })
}

impl Check {
    fn schema(&mut self, schema: &Value, at: &str) {
        self.locations.insert(at.to_owned());
        match schema {
            Value::Bool(_) => {}
            Value::Object(map) => {
                for (keyword, value) in map {
                    let here = format!("{at}/{}", escape(keyword));
                    if let Some(problem) = self.keyword(keyword, value, &here) {
                        self.wrong.push(format!("{here}: {problem}: {value}"));
                    }
                }
            }
            other => self.wrong.push(format!("{at}: not a schema: {other}")),
        }
    }

    fn keyword(&mut self, keyword: &str, value: &Value, here: &str) -> Option<&'static str> {
        let wrong = |ok: bool, problem| (!ok).then_some(problem);
        if is_in(DATA, keyword) || keyword.starts_with("x-") {
            return None;
        }
        if is_in(STRINGS, keyword) {
            let Some(text) = value.as_str() else {
                return Some("not a string");
            };
            match keyword {
                "format" => return wrong(is_in(FORMATS, text), "unknown format"),
                "pattern" => return wrong(regex::Regex::new(text).is_ok(), "doesn't compile"),
                "$ref" => self.refs.push((here.to_owned(), text.to_owned())),
                "$id" if text.contains('#') => return Some("id with a fragment"),
                "$id" | "$anchor" if self.ids.insert(text.to_owned(), here.to_owned()).is_some() => {
                    return Some("duplicate id");
                }
                _ => {}
            }
            if keyword == "$anchor" {
                self.locations.insert(format!("#{text}"));
            }
            return None;
        }
        if is_in(BOOLEANS, keyword) {
            return wrong(value.is_boolean(), "not a boolean");
        }
        if is_in(UNSIGNED, keyword) {
            return wrong(value.is_u64(), "not an unsigned integer");
        }
        if is_in(NUMBERS, keyword) {
            return wrong(value.as_f64().is_some_and(f64::is_finite), "not a number");
        }
        if is_in(SCHEMAS, keyword) {
            self.schema(value, here);
            return None;
        }
        if is_in(SCHEMA_LISTS, keyword) {
            let Some(them) = value.as_array().filter(|it| !it.is_empty()) else {
                return Some("not a non-empty array");
            };
            for (i, it) in them.iter().enumerate() {
                self.schema(it, &format!("{here}/{i}"));
            }
            return None;
        }
        if is_in(SCHEMA_MAPS, keyword) {
            let Some(them) = value.as_object() else {
                return Some("not an object");
            };
            for (name, it) in them {
                self.schema(it, &format!("{here}/{}", escape(name)));
            }
            let compiles = |it: &String| regex::Regex::new(it).is_ok();
            return wrong(keyword != "patternProperties" || them.keys().all(compiles), "a name doesn't compile");
        }
        match keyword {
            "type" => {
                let is_type = |it: &Value| it.as_str().is_some_and(|it| is_in(TYPES, it));
                let is_list = unique_strings(value)
                    && value.as_array().is_some_and(|it| !it.is_empty() && it.iter().all(is_type));
                wrong(is_type(value) || is_list, "not a type")
            }
            "required" => wrong(unique_strings(value), "not unique strings"),
            "enum" => wrong(value.as_array().is_some_and(|it| !it.is_empty()), "not a non-empty array"),
            "examples" => wrong(value.is_array(), "not an array"),
            "order" => wrong(value.as_i64().is_some_and(|it| i32::try_from(it).is_ok()), "not an int32"),
            "reduce" | "redact" if value.get("strategy").is_none() => Some("no strategy"),
            _ if is_in(OBJECTS, keyword) => wrong(value.is_object(), "not an object"),
            _ => Some("unknown keyword"),
        }
    }
}

/// F12: the objects that a sourced schema leaves open.
pub(super) fn open(schema: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    check_closed(schema, "#", &mut wrong);
    wrong
}

fn check_closed(schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let Some(map) = schema.as_object() else {
        return;
    };
    let names = |keyword: &str| map.get(keyword).and_then(Value::as_object).cloned().unwrap_or_default();
    let (properties, patterns) = (names("properties"), names("patternProperties"));
    if !properties.is_empty() || !patterns.is_empty() {
        if map.get("additionalProperties") != Some(&Value::Bool(false)) {
            wrong.push(format!("{at}: names properties and is open"));
        }
        if !types(map).contains(&"object") {
            wrong.push(format!("{at}: names properties and is not an object"));
        }
    }
    for name in map.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !properties.contains_key(name.as_str().unwrap_or_default()) {
            wrong.push(format!("{at}: requires {name}"));
        }
    }
    for (name, it) in properties.iter().chain(&patterns) {
        check_closed(it, &format!("{at}/{name}"), wrong);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(it) = map.get(keyword) {
            check_closed(it, &format!("{at}/{keyword}"), wrong);
        }
    }
}

fn types(map: &Map<String, Value>) -> Vec<&str> {
    match map.get("type") {
        Some(Value::String(it)) => vec![it],
        Some(Value::Array(them)) => them.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// F13 and F14: the reasons why a schema with this key is not valid for a collection.
pub(super) fn unfit(schema: &Value, key: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut that = |ok: bool, problem: String| {
        if !ok {
            wrong.push(problem);
        }
    };
    that(schema["type"] == "object", "root is not an object".into());
    that(schema["additionalProperties"] != false, "root is closed".into());
    that(schema["properties"]["_meta"]["additionalProperties"] != false, "/_meta is closed".into());
    that(!key.is_empty(), "no key".into());
    for pointer in key {
        let mut at = schema;
        for token in pointer.split('/').skip(1) {
            let name = token.replace("~1", "/").replace("~0", "~");
            that(at["type"] == "object", format!("{pointer}: not strictly in objects"));
            let required = at["required"].as_array().is_some_and(|it| it.iter().any(|it| *it == name));
            that(required, format!("{pointer}: not required at {name}"));
            at = &at["properties"][&name];
        }
        let types = at.as_object().map(types).unwrap_or_default();
        let is_key_type = |it: &&str| ["string", "integer", "boolean"].contains(it);
        let fits = !types.is_empty() && types.iter().all(is_key_type);
        that(fits, format!("{pointer}: has type {types:?}"));
    }
    wrong
}
