//! Flow's rules for a connector's answers beyond their shape: schemas that its parser accepts, valid keys, unique names and
//! resource paths, documents that match their collection. Each function returns broken rules, one sentence each.

use std::collections::{HashMap, HashSet};

use jsonschema::Validator;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Binding, cut};

const PROTOCOL: u32 = 3_032_023;
/// Number of documents per binding that are validated: all of them would take longer than the capture.
const DOCUMENTS_CHECKED: usize = 200;

const KEYWORDS: &str = "$schema $id $anchor $recursiveAnchor $dynamicAnchor $ref $recursiveRef $dynamicRef $vocabulary $comment \
    $defs definitions allOf anyOf oneOf not if then else dependentSchemas prefixItems items additionalItems unevaluatedItems \
    contains properties patternProperties additionalProperties unevaluatedProperties propertyNames type enum const multipleOf \
    maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern maxItems minItems uniqueItems maxContains \
    minContains maxProperties minProperties required dependentRequired format contentEncoding contentMediaType contentSchema \
    title description default deprecated readOnly writeOnly examples nullable example reduce redact secret airbyte_secret \
    multiline advanced order discriminator";
const FORMATS: &str = "date date-time datetime time email hostname idn-email idn-hostname ipv4 ipv6 macaddr macaddr8 uuid \
    duration iri uri iri-reference uri-reference uri-template json-pointer relative-json-pointer regex integer uint32 uint64 \
    number sha256";
const TYPES: &str = "null boolean object array integer number string";
const SCHEMAS: &str = "items additionalItems unevaluatedItems contains additionalProperties unevaluatedProperties propertyNames \
    not if then else contentSchema";
const SCHEMA_LISTS: &str = "allOf anyOf oneOf prefixItems items";
const SCHEMA_MAPS: &str = "properties patternProperties $defs definitions dependentSchemas";
/// Keywords of a sourced schema whose values are the schemas of an object's or an array's members.
const CLOSED_WITHIN: &str = "items additionalItems unevaluatedItems additionalProperties unevaluatedProperties";
const OAUTH2: &str = "provider authUrlTemplate accessTokenUrlTemplate accessTokenMethod accessTokenBody accessTokenHeaders \
    accessTokenResponseMap refreshTokenUrlTemplate refreshTokenMethod refreshTokenBody refreshTokenHeaders \
    refreshTokenResponseMap";

fn is_in(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|it| it == word)
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn are_unique(list: &[&str]) -> bool {
    list.iter().collect::<HashSet<_>>().len() == list.len()
}

/// Checks that Flow's parser accepts every keyword, format and pattern of a schema, at every depth.
fn schema(it: &Value, at: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    check_schema(it, at, &mut wrong);
    wrong
}

fn check_schema(it: &Value, at: &str, wrong: &mut Vec<String>) {
    let Value::Object(keywords) = it else {
        if !it.is_boolean() {
            wrong.push(format!("schema: {at} is neither an object nor a boolean"));
        }
        return;
    };
    for (name, value) in keywords {
        let at = format!("{at}/{name}");
        if !is_in(KEYWORDS, name) && !name.starts_with("x-") {
            wrong.push(format!("schema: {at} is an unknown keyword"));
        }
        if let Some(why) = check_keyword(name, value) {
            wrong.push(format!("schema: {at} {why}: {}", cut(&value.to_string())));
        }
        match value {
            Value::Object(all) if is_in(SCHEMA_MAPS, name) => {
                all.iter().for_each(|(name, it)| check_schema(it, &format!("{at}/{name}"), wrong));
            }
            _ if is_in(SCHEMA_MAPS, name) => wrong.push(format!("schema: {at} is not an object")),
            Value::Array(all) if is_in(SCHEMA_LISTS, name) && !all.is_empty() => {
                all.iter().enumerate().for_each(|(index, it)| check_schema(it, &format!("{at}/{index}"), wrong));
            }
            _ if is_in(SCHEMAS, name) => check_schema(value, &at, wrong),
            _ if is_in(SCHEMA_LISTS, name) => wrong.push(format!("schema: {at} is not a list of schemas")),
            _ => {}
        }
    }
}

fn check_keyword(name: &str, value: &Value) -> Option<&'static str> {
    let is_right = match name {
        "format" => value.as_str().is_some_and(|it| is_in(FORMATS, it)),
        "required" => value.as_array().is_some_and(|it| it.iter().all(Value::is_string)) && are_unique(&texts(value)),
        "order" => value.as_i64().is_some_and(|it| i32::try_from(it).is_ok()),
        "type" => {
            let names = if value.is_string() { vec![value.as_str()?] } else { texts(value) };
            let count = value.as_array().map_or(1, Vec::len);
            !names.is_empty() && names.len() == count && names.iter().all(|it| is_in(TYPES, it)) && are_unique(&names)
        }
        "pattern" => value.as_str().is_some_and(|it| regex::Regex::new(it).is_ok()),
        _ => true,
    };
    (!is_right).then_some("has a value that Flow does not take")
}

/// Checks that a sourced schema is closed at every object that declares properties (F12).
fn closed(root: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    check_closed(root, root, "", &mut HashSet::new(), &mut wrong);
    wrong
}

fn check_closed(it: &Value, root: &Value, at: &str, seen: &mut HashSet<String>, wrong: &mut Vec<String>) {
    if !it.is_object() {
        return;
    }
    if let Some(reference) = it["$ref"].as_str()
        && seen.insert(reference.to_owned())
        && let Some(target) = reference.strip_prefix('#').and_then(|it| root.pointer(it))
    {
        let mut target = target.clone();
        if it["additionalProperties"] == false && target.is_object() {
            target["additionalProperties"] = false.into();
        }
        check_closed(&target, root, &format!("{at}/$ref"), seen, wrong);
    }
    let declared = |name: &str| it[name].as_object().filter(|it| !it.is_empty());
    if declared("properties").or(declared("patternProperties")).is_some() {
        if it["additionalProperties"] != false && it["unevaluatedProperties"] != false {
            wrong.push(format!("F12: {at}/ declares properties and is not closed"));
        }
        if !types(it).contains(&"object") {
            wrong.push(format!("F12: {at}/ declares properties and has not the type object"));
        }
    }
    if it["additionalProperties"] == false {
        for name in texts(&it["required"]).into_iter().filter(|name| it["properties"].get(name).is_none()) {
            wrong.push(format!("F12: {at}/ requires {name}, which it does not declare"));
        }
    }
    for (name, value) in it.as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        match value {
            Value::Object(all) if ["properties", "patternProperties"].contains(&name.as_str()) => {
                all.iter().for_each(|(name, it)| check_closed(it, root, &format!("{at}/{name}"), seen, wrong));
            }
            Value::Array(all) if is_in(SCHEMA_LISTS, name) => {
                all.iter().for_each(|it| check_closed(it, root, &at, seen, wrong));
            }
            _ if is_in(CLOSED_WITHIN, name) => check_closed(value, root, &at, seen, wrong),
            _ => {}
        }
    }
}

fn resolve<'a>(root: &'a Value, mut it: &'a Value) -> &'a Value {
    // Only a circle of references is that long.
    for _ in 0..20 {
        match it["$ref"].as_str().and_then(|it| it.strip_prefix('#')).and_then(|it| root.pointer(it)) {
            Some(target) => it = target,
            None => break,
        }
    }
    it
}

/// Checks that a key's locations are declared and required at each level and end in a string, an integer or a boolean (F14).
fn key(schema: &Value, key: &[&str], who: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if key.is_empty() || !are_unique(key) {
        wrong.push(format!("F14: the key of {who} is empty or repeats a pointer: {key:?}"));
    }
    for pointer in key {
        if let Err(why) = check_pointer(schema, pointer) {
            wrong.push(format!("F14: the key {pointer} of {who} {why}"));
        }
    }
    wrong
}

fn check_pointer(schema: &Value, pointer: &str) -> Result<(), String> {
    let mut at = resolve(schema, schema);
    for token in pointer.strip_prefix('/').ok_or("is not a JSON pointer")?.split('/') {
        let token = token.replace("~1", "/").replace("~0", "~");
        if types(at) != ["object"] {
            return Err(format!("has {token} in something that may not be an object"));
        }
        if !texts(&at["required"]).contains(&token.as_str()) {
            return Err(format!("does not have {token} required"));
        }
        at = at["properties"].get(&token).map(|it| resolve(schema, it)).ok_or(format!("does not declare {token}"))?;
    }
    let mut found = types(at);
    found.sort_unstable();
    let scalar = !found.is_empty() && found.iter().all(|it| is_in("string integer boolean", it));
    // A number that may also be formatted as a string.
    if scalar || found == ["number", "string"] { Ok(()) } else { Err(format!("may have the types {found:?}")) }
}

/// Checks a Spec response: the protocol version, two object schemas, and an `oauth2` that Flow's form can show.
fn spec(it: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if it["protocol"] != PROTOCOL {
        wrong.push(format!("F3: the protocol is {}", it["protocol"]));
    }
    if it.get("documentationUrl").is_some_and(|it| !it.as_str().is_some_and(|it| it.starts_with("http"))) {
        wrong.push(format!("spec: the documentation is at {}", it["documentationUrl"]));
    }
    if texts(&it["resourcePathPointers"]).is_empty() {
        wrong.push("F17: there are no resourcePathPointers".to_owned());
    }
    for name in ["configSchema", "resourceConfigSchema"] {
        wrong.extend(schema(&it[name], name));
        if it[name]["type"] != "object" {
            wrong.push(format!("spec: {name} has the type {}", it[name]["type"]));
        }
    }
    if it["oauth2"].is_object() {
        wrong.extend(oauth2(&it["oauth2"], &it["configSchema"]).into_iter().map(|it| format!("oauth2: {it}")));
    }
    wrong
}

fn oauth2(oauth2: &Value, schema: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let unknown = oauth2.as_object().into_iter().flatten().filter(|(name, _)| !is_in(OAUTH2, name));
    wrong.extend(unknown.map(|(name, _)| format!("{name} is an unknown field")));
    for name in ["provider", "authUrlTemplate", "accessTokenUrlTemplate"] {
        if oauth2[name].as_str().is_none_or(str::is_empty) {
            wrong.push(format!("{name} is missing"));
        }
    }
    let empty = Map::new();
    let outputs = oauth2["accessTokenResponseMap"].as_object().unwrap_or(&empty);
    if outputs.is_empty() {
        wrong.push("accessTokenResponseMap is missing".to_owned());
    }
    if !texts(&schema["required"]).contains(&"credentials") {
        wrong.push("the config schema does not require credentials".to_owned());
    }
    let credentials = &schema["properties"]["credentials"];
    let branches = ["oneOf", "anyOf"].into_iter().flat_map(|it| credentials[it].as_array().into_iter().flatten());
    let logins: Vec<&Value> =
        [credentials].into_iter().chain(branches).filter(|it| it.get("x-oauth2-provider").is_some()).collect();
    let [login] = logins.as_slice() else {
        wrong.push(format!("{} objects in credentials have the annotation x-oauth2-provider", logins.len()));
        return wrong;
    };
    if login["x-oauth2-provider"] != oauth2["provider"] {
        wrong.push("x-oauth2-provider is another one than the provider".to_owned());
    }
    for name in ["client_id", "client_secret"].into_iter().chain(outputs.keys().map(String::as_str)) {
        let property = &login["properties"][name];
        let is_open = ["_date", "_at", "expires_in", "shop"].iter().any(|it| name.ends_with(it));
        if property["secret"] != true && property["airbyte_secret"] != true && !is_open || !property.is_object() {
            wrong.push(format!("credentials.{name} is not declared as a secret"));
        }
    }
    if let Some(branches) = credentials["oneOf"].as_array() {
        let name = credentials["discriminator"]["propertyName"].as_str().unwrap_or_default();
        for branch in branches {
            let property = &branch["properties"][name];
            if property.get("const").is_none() || property.get("default") != property.get("const") {
                wrong.push(format!("the discriminator {name:?} has no const with an equal default in {branch}"));
            }
        }
    }
    wrong
}

/// Checks a Discovered response: names, resource configs, schemas and keys (F13, F14, F16).
fn discovered(it: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut names, mut paths) = (HashMap::new(), HashSet::new());
    for binding in it["bindings"].as_array().into_iter().flatten() {
        let who = binding["recommendedName"].as_str().unwrap_or_default();
        let name = normalised(who);
        if name.is_empty() {
            wrong.push(format!("F16: the name {who:?} is blank"));
        } else if let Some(other) = names.insert(name, who) {
            wrong.push(format!("F16: the names {other:?} and {who:?} are the same for Flow"));
        }
        let document = &binding["documentSchema"];
        wrong.extend(schema(document, who));
        if document["type"] != "object" {
            wrong.push(format!("F13: {who} has documents of the type {}", document["type"]));
        }
        let is_closed = |it: &Value| it["additionalProperties"] == false;
        if is_closed(document) || is_closed(&document["properties"]["_meta"]) {
            wrong.push(format!("F13: {who} forbids /_meta/uuid"));
        }
        wrong.extend(key(document, &texts(&binding["key"]), who));
        let binding = Binding::of_discovered(binding);
        if binding.resource_path().is_empty() || !paths.insert(binding.name()) {
            wrong.push(format!("F17: the resource path of {who} is not unique: {:?}", binding.resource_path()));
        }
    }
    wrong
}

/// A name, normalised by the control plane as a part of a collection's name.
fn normalised(name: &str) -> String {
    let words = regex::Regex::new(r"[\w\-.]+(?:/[\w\-.]+)*");
    words.map_or_else(|_| name.to_owned(), |it| it.find_iter(name).map(|it| it.as_str()).collect::<Vec<_>>().join("_"))
}

/// Checks the resource configs of a Discovered response against the schema of the Spec response.
pub fn resource_configs(discovered: &Value, schema: &Value) -> Vec<String> {
    let Ok(validator) = jsonschema::validator_for(schema) else {
        return vec!["spec: the resource config's schema can't be used".to_owned()];
    };
    let bindings = discovered["bindings"].as_array().into_iter().flatten().map(|it| &it["resourceConfig"]);
    bindings.flat_map(|it| validator.iter_errors(it).map(move |e| format!("F29: {it}: {e}"))).collect()
}

/// The rules that a unary response breaks.
pub fn spec_or_discovered(response: &Value) -> Vec<String> {
    match (response.get("spec"), response.get("discovered")) {
        (Some(it), _) => spec(it),
        (_, Some(it)) => discovered(it),
        _ => Vec::new(),
    }
}

/// Checks that Flow's parser accepts a sourced schema and that it is closed.
pub fn sourced(it: &Value) -> Vec<String> {
    schema(it, "sourcedSchema").into_iter().chain(closed(it)).collect()
}

/// The requirements of a binding's collection on documents.
pub struct Collection {
    name: String,
    key: Vec<String>,
    validator: Option<Validator>,
    checked: usize,
}

impl Collection {
    pub fn of(binding: &Binding) -> Self {
        let validator = jsonschema::validator_for(&binding.schema).ok();
        Self { name: binding.name(), key: binding.key.clone(), validator, checked: 0 }
    }

    /// Checks one of the first documents: its key, its operation (F22) and the collection's schema.
    pub fn check(&mut self, text: &str) -> Result<(), String> {
        if self.checked == DOCUMENTS_CHECKED {
            return Ok(());
        }
        self.checked += 1;
        let wrong = |why: String| format!("a document of {} {why}: {}", self.name, cut(text));
        let document =
            match serde_json::from_str::<NoDuplicates>(text).and_then(|_| serde_json::from_str::<Value>(text)) {
                Ok(document) => document,
                // Too deep for this parser, but valid for Flow.
                Err(e) if e.to_string().starts_with("recursion limit") => return Ok(()),
                Err(e) => return Err(wrong(format!("can't be read ({e})"))),
            };
        for pointer in &self.key {
            let is_scalar =
                document.pointer(pointer).is_some_and(|it| !(it.is_null() || it.is_object() || it.is_array()));
            if !is_scalar {
                return Err(wrong(format!("lacks its key {pointer}")));
            }
        }
        if let Some(op) =
            document["_meta"].get("op").filter(|it| ![Some("c"), Some("u"), Some("d")].contains(&it.as_str()))
        {
            return Err(wrong(format!("has the operation {op}")));
        }
        if let Some(e) = self.validator.as_ref().and_then(|it| it.iter_errors(&document).next()) {
            return Err(wrong(format!("does not fit the schema ({e} at {})", e.instance_path())));
        }
        Ok(())
    }
}

/// Any JSON whose objects name each member once (F2).
struct NoDuplicates;

impl<'de> Deserialize<'de> for NoDuplicates {
    fn deserialize<D: Deserializer<'de>>(it: D) -> Result<Self, D::Error> {
        it.deserialize_any(NoDuplicates)
    }
}

impl<'de> Visitor<'de> for NoDuplicates {
    type Value = Self;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            // serde_json's representation of a number with its text.
            if name == "$serde_json::private::Number" {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            members.next_value::<Self>()?;
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format!("the member {name} is there twice")));
            }
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}
