//! The allow-list rewrite, at every depth.

use super::change::{Change, What};
use super::keywords::{Takes, is_annotation, is_format, is_type, takes};
use super::modernise::{is_anchor, modernise, rename};
use super::{discriminator, refs};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Schemas within schemas, beyond which a schema is cut off. A parser that stops at 128 levels of JSON can't get there.
const MAX_DEPTH: usize = 200;

/// What the schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// People fill in a form made of it: choices and constraints help them.
    Config,
    /// Documents must pass it: what the source gets wrong about its own data must not stop a capture.
    Document,
}

/// Rewrites a schema; its root becomes an object schema if it was not one.
pub(super) fn rewrite(schema: &Value, mode: Mode) -> (Map<String, Value>, Vec<Change>) {
    let mut has_refs = false;
    refs::visit(schema, &mut String::new(), &mut |_, map| has_refs |= map.contains_key("$ref"));
    let mut walk = Walk {
        input: schema,
        mode,
        has_refs,
        ids: HashSet::new(),
        at: String::new(),
        depth: 0,
        changes: Vec::new(),
        loosened: false,
        definitions_loosened: false,
    };
    let mut root = match walk.schema(schema.clone()) {
        it @ Value::Object(_) => it,
        // A root of `true` is `{}`. One of `false` takes no document at all: nobody means that.
        _ => json!({}),
    };
    refs::drop_dangling(&mut root, &mut walk.changes);
    match root {
        Value::Object(root) => (root, walk.changes),
        _ => (Map::new(), walk.changes),
    }
}

struct Walk<'a> {
    input: &'a Value,
    mode: Mode,
    /// Whether the input has any `$ref`: an `$id` below the root changes what they mean.
    has_refs: bool,
    /// Ids and anchors seen so far: Flow rejects the second of two.
    ids: HashSet<String>,
    at: String,
    depth: usize,
    changes: Vec<Change>,
    /// Whether the schemas walked since this was last reset accept more than they did. That is fine but where it turns
    /// round: under `not` and `if`, and where exactly one branch must match.
    loosened: bool,
    definitions_loosened: bool,
}

impl Walk<'_> {
    fn schema(&mut self, schema: Value) -> Value {
        match schema {
            Value::Bool(_) => schema,
            Value::Object(map) => {
                if self.depth == MAX_DEPTH {
                    self.say(What::TooDeep);
                    self.loosened = true;
                    return Value::Bool(true);
                }
                self.depth += 1;
                let it = self.object(map);
                self.depth -= 1;
                Value::Object(it)
            }
            Value::String(name) if is_type(&name) => {
                self.say(What::NotASchema);
                json!({ "type": name })
            }
            _ => {
                self.say(What::NotASchema);
                self.loosened = true;
                json!({})
            }
        }
    }

    fn object(&mut self, mut map: Map<String, Value>) -> Map<String, Value> {
        modernise(&mut map, &self.at, &mut self.changes);
        if self.mode == Mode::Document {
            self.widen_enum(&mut map);
        }
        let has_if = map.contains_key("if");
        let patterns = count(&map, "patternProperties");
        let mut definitions = self.definitions(&mut map);

        let mut out = Map::with_capacity(map.len());
        for (keyword, value) in map {
            if matches!(keyword.as_str(), "$defs" | "definitions") {
                if let Some(kept) = definitions.shift_remove(&keyword) {
                    out.insert(keyword, kept);
                }
                continue;
            }
            let outer = std::mem::take(&mut self.loosened);
            let kept = self.under(&keyword, |it| it.keyword(&keyword, value));
            if let Some(kept) = kept {
                out.insert(keyword.clone(), kept);
                if self.loosened {
                    self.loosen(&keyword, &mut out);
                }
            }
            self.loosened |= outer;
        }

        if has_if && !out.contains_key("if") {
            self.drop_inexact(&mut out, &["then", "else"]);
        }
        // Properties that only a dropped pattern allowed must not fall under these now.
        if count(&out, "patternProperties") < patterns {
            self.drop_inexact(&mut out, &["additionalProperties", "unevaluatedProperties"]);
        }
        out
    }

    /// Rewrites the definitions, before the references to them ask whether they were loosened.
    fn definitions(&mut self, map: &mut Map<String, Value>) -> Map<String, Value> {
        let mut out = Map::new();
        let outer = self.loosened;
        for keyword in ["$defs", "definitions"] {
            let Some(value) = map.get_mut(keyword).map(Value::take) else {
                continue;
            };
            self.loosened = false;
            if let Some(kept) = self.under(keyword, |it| it.keyword(keyword, value)) {
                out.insert(keyword.into(), kept);
            }
            self.definitions_loosened |= self.loosened;
        }
        self.loosened = outer;
        out
    }

    /// One keyword's value as Flow takes it, or nothing if it has to go.
    fn keyword(&mut self, keyword: &str, value: Value) -> Option<Value> {
        let Some(takes) = takes(keyword) else {
            self.say(What::UnknownKeyword(keyword.into()));
            return None;
        };
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
            Takes::Id => self.is_id(&value),
            Takes::Anchor => value.as_str().is_some_and(is_anchor) && self.ids.insert(format!("#{}", value.as_str()?)),
            Takes::SecretFlag => return self.secret(keyword, value),
            Takes::Positive => return self.multiple_of(keyword, value),
            Takes::List => return self.list(keyword, value),
            Takes::Types => return self.types(value),
            Takes::Format => return self.format(value),
            Takes::Pattern => return self.pattern(value),
            Takes::Names => return self.names(value),
            Takes::NamesMap => return self.names_map(keyword, value),
            Takes::Schema => return self.one_schema(keyword, value),
            Takes::Schemas => return self.schemas(keyword, value),
            Takes::SchemaMap | Takes::PatternMap => return self.schema_map(keyword, takes, value),
            Takes::Ref => return self.reference(value),
            Takes::Dialect => return self.dialect(value),
        };
        if fits {
            return Some(value);
        }
        self.bad_value(keyword)
    }

    fn one_schema(&mut self, keyword: &str, value: Value) -> Option<Value> {
        match value {
            Value::Bool(_) | Value::Object(_) | Value::String(_) => Some(self.schema(value)),
            _ => self.bad_value(keyword),
        }
    }

    fn schemas(&mut self, keyword: &str, value: Value) -> Option<Value> {
        let Value::Array(them) = value else {
            return self.bad_value(keyword);
        };
        if them.is_empty() {
            return self.bad_value(keyword);
        }
        let them = them.into_iter().enumerate();
        let them = them.map(|(i, it)| self.under(&i.to_string(), |walk| walk.schema(it)));
        Some(Value::Array(them.collect()))
    }

    fn schema_map(&mut self, keyword: &str, takes: Takes, value: Value) -> Option<Value> {
        let Value::Object(them) = value else {
            return self.bad_value(keyword);
        };
        let mut out = Map::with_capacity(them.len());
        for (name, schema) in them {
            let at = self.at.len();
            refs::push(&mut self.at, &name);
            if takes == Takes::PatternMap && regex::Regex::new(&name).is_err() {
                self.loosened = true;
                self.say(What::PatternDropped(name));
            } else {
                let schema = self.schema(schema);
                out.insert(name, schema);
            }
            self.at.truncate(at);
        }
        Some(Value::Object(out))
    }

    /// A constraint that got looser inside of `keyword` may have turned into a tighter one outside.
    fn loosen(&mut self, keyword: &str, out: &mut Map<String, Value>) {
        match keyword {
            "not" | "if" => self.drop_inexact(out, &[keyword]),
            "oneOf" => {
                let Some(Value::Array(branches)) = out.get(keyword) else {
                    return;
                };
                if self.mode == Mode::Config && discriminator::property(self.input, branches).is_some() {
                    return;
                }
                if out.contains_key("anyOf") {
                    self.drop_inexact(out, &[keyword]);
                } else {
                    rename(out, keyword, "anyOf");
                    self.under(keyword, |it| it.say(What::OneOfToAnyOf));
                }
            }
            _ => {}
        }
    }

    fn drop_inexact(&mut self, out: &mut Map<String, Value>, keywords: &[&str]) {
        for keyword in keywords {
            if out.get(*keyword).is_some_and(|it| it != &Value::Bool(true)) {
                out.shift_remove(*keyword);
                self.loosened = true;
                self.under(keyword, |it| it.say(What::InexactDropped((*keyword).into())));
            }
        }
    }

    fn secret(&mut self, keyword: &str, value: Value) -> Option<Value> {
        let is_true = match &value {
            Value::Bool(_) => return Some(value),
            Value::String(it) => matches!(it.to_ascii_lowercase().as_str(), "true" | "yes" | "1"),
            Value::Number(it) => it.as_f64() != Some(0.0),
            _ => false,
        };
        if !is_true {
            return self.bad_value(keyword);
        }
        self.say(What::ValueMended(keyword.into()));
        Some(Value::Bool(true))
    }

    fn multiple_of(&mut self, keyword: &str, value: Value) -> Option<Value> {
        /// Steps that no double can tell from none: databases say `1e-38` for "any decimal".
        const FINEST: f64 = 1e-9;
        let Some(step) = value.as_f64().filter(|it| it.is_finite() && *it >= FINEST) else {
            return self.bad_value(keyword);
        };
        if self.mode == Mode::Document && step.fract() != 0.0 {
            // 19.99 is no multiple of 0.01 in binary.
            self.loosened = true;
            self.say(What::InexactDropped(keyword.into()));
            return None;
        }
        Some(value)
    }

    fn list(&mut self, keyword: &str, value: Value) -> Option<Value> {
        match value {
            Value::Array(_) => Some(value),
            Value::Null => self.bad_value(keyword),
            one => {
                self.say(What::ValueMended(keyword.into()));
                Some(Value::Array(vec![one]))
            }
        }
    }

    fn types(&mut self, value: Value) -> Option<Value> {
        let names: Option<Vec<&str>> = match &value {
            Value::String(it) => type_name(it).map(|it| vec![it]),
            Value::Array(them) => them
                .iter()
                .map(|it| match it {
                    Value::Null => Some("null"),
                    Value::String(it) => type_name(it),
                    it => it.get("type").and_then(Value::as_str).and_then(type_name),
                })
                .collect(),
            _ => None,
        };
        // One name that can't be read may stand for any type, so that the others alone would be too strict.
        let Some(mut names) = names.filter(|it| !it.is_empty()) else {
            self.loosened = true;
            self.say(What::TypeDropped);
            return None;
        };
        let mut seen = HashSet::new();
        names.retain(|it| seen.insert(*it));
        let mended = if value.is_string() { json!(names[0]) } else { json!(names) };
        if mended != value {
            self.say(What::TypeMended);
        }
        Some(mended)
    }

    fn format(&mut self, value: Value) -> Option<Value> {
        match value {
            Value::String(it) if is_format(&it) => Some(Value::String(it)),
            other => {
                self.loosened = true;
                self.say(What::FormatDropped(text(&other)));
                None
            }
        }
    }

    fn pattern(&mut self, value: Value) -> Option<Value> {
        match value {
            Value::String(it) if regex::Regex::new(&it).is_ok() => Some(Value::String(it)),
            other => {
                self.loosened = true;
                self.say(What::PatternDropped(text(&other)));
                None
            }
        }
    }

    fn names(&mut self, value: Value) -> Option<Value> {
        let mended = match &value {
            Value::Array(them) => {
                let mut seen = HashSet::new();
                them.iter().filter(|it| it.is_string() && seen.insert(*it)).cloned().collect()
            }
            Value::String(_) => vec![value.clone()],
            _ => return self.bad_value("required"),
        };
        let mended = Value::Array(mended);
        if mended != value {
            self.say(What::RequiredMended);
        }
        Some(mended)
    }

    fn names_map(&mut self, keyword: &str, value: Value) -> Option<Value> {
        let Value::Object(mut them) = value else {
            return self.bad_value(keyword);
        };
        let before = them.len();
        them.retain(|_, names| names.as_array().is_some_and(|them| them.iter().all(Value::is_string)));
        if them.len() < before {
            self.bad_value(keyword);
        }
        Some(Value::Object(them))
    }

    fn reference(&mut self, value: Value) -> Option<Value> {
        let Value::String(reference) = value else {
            return self.bad_value("$ref");
        };
        let what = if !reference.starts_with('#') {
            What::ExternalRefDropped(reference)
        } else if refs::find(self.input, &reference).is_none() {
            What::DanglingRefDropped(reference)
        } else {
            self.loosened |= self.definitions_loosened;
            return Some(Value::String(reference));
        };
        self.loosened = true;
        self.say(what);
        None
    }

    /// Flow resolves an id as a URL, rejects those with a fragment and the opaque ones (`urn:`), and indexes by the result.
    fn is_id(&mut self, value: &Value) -> bool {
        let Some(id) = value.as_str() else {
            return false;
        };
        let is_url_char = |c: char| c.is_ascii_alphanumeric() || "-._~:/?@!$&'()*+,;=%".contains(c);
        let is_url = match id.split_once("://") {
            Some((scheme, rest)) => {
                matches!(scheme, "http" | "https") && rest.starts_with(|c: char| c.is_ascii_alphanumeric())
            }
            None => !id.contains(':') && !id.starts_with("//"),
        };
        let is_nested = self.depth > 1;
        is_url
            && id.chars().all(is_url_char)
            && !(is_nested && (self.has_refs || id.is_empty()))
            && self.ids.insert(id.into())
    }

    fn dialect(&mut self, value: Value) -> Option<Value> {
        let Value::String(it) = &value else {
            return self.bad_value("$schema");
        };
        let is_old = it.contains("json-schema.org/draft-0") || it.contains("json-schema.org/schema");
        if is_old {
            self.say(What::DialectDropped);
            return None;
        }
        Some(value)
    }

    /// Sources leave values out of their enums, and add some later.
    fn widen_enum(&mut self, map: &mut Map<String, Value>) {
        for keyword in ["enum", "const"] {
            let values = match (keyword, map.get(keyword)) {
                ("enum", Some(Value::Array(values))) if !values.is_empty() => values.as_slice(),
                ("const", Some(value)) => std::slice::from_ref(value),
                _ => continue,
            };
            let mut types: Vec<&str> = values.iter().map(type_of).collect();
            let mut seen = HashSet::new();
            types.retain(|it| seen.insert(*it));
            let types = match types.as_slice() {
                [one] => json!(one),
                many => json!(many),
            };
            if map.contains_key("type") {
                map.shift_remove(keyword);
            } else {
                rename(map, keyword, "type");
                map.insert("type".into(), types);
            }
            self.loosened = true;
            self.under(keyword, |it| it.say(What::EnumWidened));
        }
    }

    fn bad_value(&mut self, keyword: &str) -> Option<Value> {
        self.loosened |= !is_annotation(keyword);
        self.say(What::BadValue(keyword.into()));
        None
    }

    fn say(&mut self, what: What) {
        self.changes.push(Change::new(self.at.clone(), what));
    }

    fn under<T>(&mut self, token: &str, f: impl FnOnce(&mut Self) -> T) -> T {
        let end = self.at.len();
        refs::push(&mut self.at, token);
        let it = f(self);
        self.at.truncate(end);
        it
    }
}

fn count(map: &Map<String, Value>, keyword: &str) -> usize {
    map.get(keyword).and_then(Value::as_object).map_or(0, Map::len)
}

/// The type that a name stands for, in JSON schema's words and in those of other type systems.
fn type_name(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "null" | "none" | "nil" => "null",
        "boolean" | "bool" => "boolean",
        "object" | "dict" | "map" | "struct" | "record" => "object",
        "array" | "list" | "tuple" => "array",
        "integer" | "int" | "int32" | "int64" | "long" | "bigint" | "smallint" => "integer",
        "number" | "float" | "double" | "decimal" | "numeric" => "number",
        "string" | "str" | "text" | "varchar" | "date" | "datetime" | "date-time" | "time" | "timestamp" | "uuid" => {
            "string"
        }
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
