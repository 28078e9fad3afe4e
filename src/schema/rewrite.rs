//! Rewrites a schema by the allow-list, at every depth.

use super::change::{Change, What};
use super::keywords::{Takes, is_annotation, is_type, takes};
use super::modernise::{modernise, rename};
use super::values::{Mode, Outcome, check, compiles, type_of};
use super::{discriminator, refs};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// The depth at which nested schemas are cut off. A parser that accepts 128 levels of JSON can't get there.
const MAX_DEPTH: usize = 200;

/// Rewrites a schema; the root becomes an object if it was not one.
pub(super) fn rewrite(schema: &Value, mode: Mode) -> (Map<String, Value>, Vec<Change>) {
    let mut has_refs = false;
    refs::visit(schema, &mut String::new(), &mut |_, map| has_refs |= map.contains_key("$ref"));
    let mut rewriter = Rewriter {
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
    let mut root = match rewriter.schema(schema.clone()) {
        it @ Value::Object(_) => it,
        // `true` is equivalent to `{}`. `false` accepts no document, which can't be meant.
        _ => json!({}),
    };
    refs::drop_dangling(&mut root, &mut rewriter.changes);
    match root {
        Value::Object(root) => (root, rewriter.changes),
        _ => (Map::new(), rewriter.changes),
    }
}

struct Rewriter<'a> {
    input: &'a Value,
    mode: Mode,
    /// Whether the input has any `$ref`: an `$id` below the root would change their targets.
    has_refs: bool,
    /// Ids and anchors so far: Flow rejects duplicates.
    ids: HashSet<String>,
    at: String,
    depth: usize,
    changes: Vec<Change>,
    /// Whether schemas rewritten since the last reset accept more than before. That is wrong under `not` and `if`, and in
    /// `oneOf`, where exactly one branch must match.
    loosened: bool,
    definitions_loosened: bool,
}

impl Rewriter<'_> {
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
        // These must not apply to properties that a dropped pattern covered.
        if count(&out, "patternProperties") < patterns {
            self.drop_inexact(&mut out, &["additionalProperties", "unevaluatedProperties"]);
        }
        out
    }

    /// Rewrites the definitions first, as references depend on whether they were loosened.
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

    /// One keyword's value as Flow accepts it; none if the keyword is dropped.
    fn keyword(&mut self, keyword: &str, value: Value) -> Option<Value> {
        let Some(takes) = takes(keyword) else {
            self.say(What::UnknownKeyword(keyword.into()));
            return None;
        };
        match takes {
            Takes::Schema => return self.one_schema(keyword, value),
            Takes::Schemas => return self.schemas(keyword, value),
            Takes::SchemaMap | Takes::PatternMap => return self.schema_map(keyword, takes, value),
            Takes::Ref => return self.reference(keyword, value),
            _ => {}
        }
        let outcome = match check(keyword, takes, &value, self.mode) {
            Outcome::Keep if !self.is_free(takes, &value) => Outcome::Drop(What::IdDropped),
            it => it,
        };
        match outcome {
            Outcome::Keep => Some(value),
            Outcome::Repair(repaired, what) => {
                self.say(what);
                Some(repaired)
            }
            Outcome::Drop(what) => self.lose(keyword, what),
        }
    }

    fn one_schema(&mut self, keyword: &str, value: Value) -> Option<Value> {
        match value {
            Value::Bool(_) | Value::Object(_) | Value::String(_) => Some(self.schema(value)),
            _ => self.lose(keyword, What::BadValue(keyword.into())),
        }
    }

    fn schemas(&mut self, keyword: &str, value: Value) -> Option<Value> {
        let Value::Array(them) = value else {
            return self.lose(keyword, What::BadValue(keyword.into()));
        };
        if them.is_empty() {
            return self.lose(keyword, What::BadValue(keyword.into()));
        }
        let them = them.into_iter().enumerate();
        let them = them.map(|(i, it)| self.under(&i.to_string(), |rewriter| rewriter.schema(it)));
        Some(Value::Array(them.collect()))
    }

    fn schema_map(&mut self, keyword: &str, takes: Takes, value: Value) -> Option<Value> {
        let Value::Object(them) = value else {
            return self.lose(keyword, What::BadValue(keyword.into()));
        };
        let mut out = Map::with_capacity(them.len());
        for (name, schema) in them {
            let at = self.at.len();
            refs::push(&mut self.at, &name);
            if takes == Takes::PatternMap && !compiles(&name) {
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

    /// Handles a constraint inside `keyword` that became looser and so may have made the schema stricter.
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

    fn reference(&mut self, keyword: &str, value: Value) -> Option<Value> {
        let Value::String(reference) = value else {
            return self.lose(keyword, What::BadValue(keyword.into()));
        };
        if !reference.starts_with('#') {
            return self.lose(keyword, What::ExternalRefDropped(reference));
        }
        if refs::find(self.input, &reference).is_none() {
            return self.lose(keyword, What::DanglingRefDropped(reference));
        }
        self.loosened |= self.definitions_loosened;
        Some(Value::String(reference))
    }

    /// Whether an id or anchor can be kept: Flow rejects duplicates, and an id below the root changes the targets of the
    /// references below it.
    fn is_free(&mut self, takes: Takes, id: &Value) -> bool {
        let is_nested = self.depth > 1;
        match takes {
            Takes::Id if is_nested && self.has_refs => false,
            // An id and an anchor of one name count as duplicates here, whichever base they are relative to.
            Takes::Id | Takes::Anchor => self.ids.insert(id.to_string()),
            _ => true,
        }
    }

    /// Replaces an enum by the types of its values: the enums of sources are incomplete.
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

    fn lose(&mut self, keyword: &str, what: What) -> Option<Value> {
        self.loosened |= !is_annotation(keyword);
        self.say(what);
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
