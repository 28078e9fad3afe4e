//! Compares a manifest with the CDK's own schema of manifests, and finds the places that are wrong.
//!
//! The CDK validates what it has made of the manifest: with references replaced, `$parameters` spread and missing types filled
//! in. It then says only that something is wrong. Here references are replaced, and what the CDK would fill in is not asked for;
//! each problem leads back to where its author wrote it.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use jsonschema::Validator;
use jsonschema::error::{TypeKind, ValidationError, ValidationErrorKind};
use serde_json::{Map, Value};

use crate::json::pointer;

/// How deep references are followed, and how many values there may be: a reference may lead to what it is in.
const DEEPEST: usize = 40;
const MOST: usize = 200_000;

/// How many problems are shown.
const SHOWN: usize = 50;

/// The schema of manifests that a version of the CDK has.
pub struct ComponentSchema(Validator);

impl ComponentSchema {
    pub fn read(path: &Path) -> Result<Self> {
        let failed = || format!("can't read the schema of manifests, {}", path.display());
        let text = std::fs::read_to_string(path).with_context(failed)?;
        let schema: Value = serde_saphyr::from_str(&text).with_context(failed)?;
        Ok(Self(jsonschema::draft7::new(&schema).map_err(|it| anyhow::anyhow!("{}", it)).with_context(failed)?))
    }
}

/// A manifest with its references replaced.
pub struct Resolved {
    pub value: Value,
    /// Where a value comes from, if it is not from the same place of the manifest.
    origins: HashMap<String, String>,
}

impl Resolved {
    pub fn new(manifest: &Value) -> Self {
        let mut resolver = Resolver { root: manifest, origins: HashMap::new(), count: 0 };
        let value = resolver.resolve(manifest, "", "", DEEPEST);
        Self { value, origins: resolver.origins }
    }

    /// A member of a manifest with its references replaced, however large the rest is.
    pub fn member(manifest: &Value, name: &str) -> Option<Value> {
        let mut resolver = Resolver { root: manifest, origins: HashMap::new(), count: 0 };
        let at = format!("/{name}");
        Some(resolver.resolve(manifest.get(name)?, &at, &at, DEEPEST))
    }

    /// Where the author wrote the value at this place.
    pub fn origin(&self, at: &str) -> String {
        let mut end = at.len();
        loop {
            if let Some(origin) = self.origins.get(&at[..end]) {
                return format!("{origin}{}", &at[end..]);
            }
            match at[..end].rfind('/') {
                Some(it) => end = it,
                None => return at.to_owned(),
            }
        }
    }
}

struct Resolver<'a> {
    root: &'a Value,
    origins: HashMap<String, String>,
    count: usize,
}

impl<'a> Resolver<'a> {
    /// `at` is the place in the result, `from` that in the manifest.
    fn resolve(&mut self, value: &'a Value, at: &str, from: &str, depth: usize) -> Value {
        self.count += 1;
        if depth == 0 || self.count > MOST {
            return Value::Null;
        }
        if let Some((target, place)) = value.as_str().and_then(|it| self.target(it)) {
            self.origins.insert(at.to_owned(), place.clone());
            return self.resolve(target, at, &place, depth - 1);
        }
        match value {
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items
                    .map(|(index, it)| {
                        self.resolve(it, &format!("{at}/{index}"), &format!("{from}/{index}"), depth - 1)
                    })
                    .collect()
            }
            Value::Object(members) => {
                let mut resolved = Map::new();
                if let Some((target, place)) =
                    members.get("$ref").and_then(Value::as_str).and_then(|it| self.target(it))
                    && let Value::Object(mut target) = self.resolve(target, at, &place, depth - 1)
                {
                    for name in target.keys() {
                        let name = pointer::escape(name);
                        let (at, place) = (format!("{at}/{name}"), format!("{place}/{name}"));
                        self.origins.entry(at).or_insert(place);
                    }
                    resolved.append(&mut target);
                }
                for (name, value) in members.iter().filter(|(name, _)| *name != "$ref") {
                    let escaped = pointer::escape(name);
                    let (at, from) = (format!("{at}/{escaped}"), format!("{from}/{escaped}"));
                    // Nearer members win over those of the reference.
                    self.origins.insert(at.clone(), from.clone());
                    resolved.insert(name.clone(), self.resolve(value, &at, &from, depth - 1));
                }
                Value::Object(resolved)
            }
            other => other.clone(),
        }
    }

    fn target(&self, reference: &str) -> Option<(&'a Value, String)> {
        let place = reference.strip_prefix('#').filter(|it| it.starts_with('/'))?;
        Some((self.root.pointer(place)?, place.to_owned()))
    }
}

/// The problems of a manifest, with their places in it. References without a target are problems as well.
pub fn find(schema: &ComponentSchema, manifest: &Resolved) -> Vec<(String, String)> {
    let mut found = Vec::new();
    dangling(&manifest.value, &mut String::new(), &mut found);
    for error in schema.0.iter_errors(&manifest.value) {
        collect(&error, &manifest.value, &mut found);
    }
    for (at, _) in &mut found {
        *at = manifest.origin(at);
    }
    let mut unique: Vec<(String, String)> = Vec::new();
    found.into_iter().for_each(|it| {
        if !unique.contains(&it) && unique.len() < SHOWN {
            unique.push(it)
        }
    });
    unique
}

fn dangling(value: &Value, at: &mut String, found: &mut Vec<(String, String)>) {
    let length = at.len();
    match value {
        Value::String(text) if text.starts_with("#/") => {
            found.push((at.clone(), format!("there is nothing at {text}")));
        }
        Value::Array(items) => {
            for (index, it) in items.iter().enumerate() {
                at.push_str(&format!("/{index}"));
                dangling(it, at, found);
                at.truncate(length);
            }
        }
        Value::Object(members) => {
            for (name, it) in members {
                at.push('/');
                at.push_str(&pointer::escape(name));
                dangling(it, at, found);
                at.truncate(length);
            }
        }
        _ => {}
    }
}

/// Adds the problems behind an error: of several alternatives, those of the one that is meant.
fn collect(error: &ValidationError, root: &Value, found: &mut Vec<(String, String)>) {
    let at = error.instance_path().to_string();
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let mut types = Vec::new();
            let mut branches: Vec<(bool, Vec<(String, String)>)> = Vec::new();
            for branch in context {
                let mut problems = Vec::new();
                branch.iter().for_each(|it| collect(it, root, &mut problems));
                if problems.is_empty() {
                    return;
                }
                let type_at = format!("{at}/type");
                let other_type = branch.iter().find_map(|it| expected_type(it, &at));
                let is_another = other_type.is_some() || branch.iter().any(|it| it.instance_path().as_str() == type_at);
                types.extend(other_type.filter(|it| !types.contains(it)));
                branches.push((is_another, problems));
            }
            match branches.into_iter().min_by_key(|(is_another, problems)| (*is_another, problems.len())) {
                Some((false, problems)) => found.extend(problems),
                _ => found.push(nothing_fits(root, &at, &types)),
            }
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            // The CDK fills in types, and members of components from $parameters.
            if name != "type" && !is_parameter(root, &at, name) {
                found.push((at, format!("`{name}` is missing")));
            }
        }
        _ => found.push((at, message(error))),
    }
}

/// What kind of value is expected, if that is the error: an object where there is a text, for example.
fn expected_type(error: &ValidationError, at: &str) -> Option<String> {
    match error.kind() {
        ValidationErrorKind::Type { kind } if error.instance_path().as_str() == at => Some(match kind {
            TypeKind::Single(it) => it.to_string(),
            TypeKind::Multiple(them) => them.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(" or "),
        }),
        _ => None,
    }
}

fn nothing_fits(root: &Value, at: &str, types: &[String]) -> (String, String) {
    match root.pointer(at) {
        Some(Value::Object(members)) => match members.get("type").and_then(Value::as_str) {
            Some(kind) => (format!("{at}/type"), format!("a component of type {kind} can't stand here")),
            None => (at.to_owned(), "no component that can stand here has this form: give its `type`".to_owned()),
        },
        _ => (at.to_owned(), format!("this value can't stand here: it has to be of type {}", types.join(" or "))),
    }
}

fn message(error: &ValidationError) -> String {
    let text = error.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Whether `$parameters` of the component or of one that it is in have a member of this name.
fn is_parameter(root: &Value, at: &str, name: &str) -> bool {
    let mut end = Some(at.len());
    while let Some(it) = end {
        let parameters = root.pointer(&at[..it]).and_then(|it| it.get("$parameters"));
        if parameters.is_some_and(|it| it.get(name).is_some()) {
            return true;
        }
        end = at[..it].rfind('/');
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> ComponentSchema {
        let component = |name: &str, required: Value, properties: Value| {
            let mut properties = properties;
            properties["type"] = json!({"type": "string", "enum": [name]});
            json!({"type": "object", "required": required, "properties": properties})
        };
        let any = |names: &[&str]| json!({"anyOf": names.iter().map(|it| json!({"$ref": format!("#/definitions/{it}")})).collect::<Vec<_>>()});
        let schema = json!({
            "type": "object", "required": ["version", "streams"],
            "properties": {"streams": {"type": "array", "items": any(&["Stream", "Other"])}},
            "definitions": {
                "Stream": component("Stream", json!(["type", "name", "requester"]), json!({"requester": any(&["Http", "Custom"]), "name": {"type": "string"}})),
                "Other": component("Other", json!(["type", "x"]), json!({})),
                "Http": component("Http", json!(["type", "path"]), json!({"path": {"type": "string"}, "retries": {"type": "integer"}})),
                "Custom": component("Custom", json!(["type", "class_name"]), json!({})),
            },
        });
        ComponentSchema(jsonschema::draft7::new(&schema).unwrap())
    }

    #[test]
    fn problems_are_where_their_author_wrote_them() {
        let manifest = json!({
            "version": "1",
            "definitions": {"http": {"type": "Http", "path": "/a", "retries": "3"}, "named": {"path": "/x"}},
            "streams": [
                {"type": "Stream", "name": "good", "requester": {"path": "/a"}},
                {"type": "Stream", "name": "shared", "requester": {"$ref": "#/definitions/http"}},
                {"type": "Stream", "$parameters": {"path": "/p", "name": "parameters"}, "requester": {"type": "Http"}},
                {"type": "Stream", "requester": {"type": "Http"}},
                {"type": "Stream", "name": 7, "requester": {"type": "Ftp"}},
                {"type": "Stream", "name": "dangling", "requester": {"path": "#/definitions/none"}},
                {"type": "Stream", "name": "own", "requester": {"$ref": "#/definitions/http", "retries": 3}},
            ],
        });
        let found = find(&schema(), &Resolved::new(&manifest));
        insta::assert_snapshot!(found.iter().map(|(at, it)| format!("{at}: {it}")).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn circular_references_end() {
        let manifest = json!({"version": "1", "streams": [{"$ref": "#/streams/0"}, {"name": "#/streams"}]});
        find(&schema(), &Resolved::new(&manifest));
    }
}
