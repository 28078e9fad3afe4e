//! Options of shim.yaml that change nothing, usually because of a typo.

use serde_json::{Map, Value};

use super::options::{Normalizations, Normalize};
use super::{Rule, StreamRules};
use crate::json::pointer;
use crate::secrets::Schemas;
use crate::settings::values::Document;
use crate::suggest;
use crate::upstream::Stream;

impl StreamRules {
    /// What has no effect on any of these streams. `declared` are the same ones as the source declares them.
    pub fn without_effect(&self, streams: &[Stream], declared: &[Stream]) -> Vec<String> {
        let names: Vec<String> = streams.iter().flat_map(|it| [it.id.to_string(), it.id.name.clone()]).collect();
        let mut found = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let fits = |it: &Stream| self.fitting(&it.id).iter().any(|(_, fitting)| *fitting == index);
            let fitting = streams.iter().zip(declared).filter(|(it, _)| fits(it));
            let schemas: (Vec<&Value>, Vec<&Value>) =
                fitting.map(|(it, declared)| (&it.schema, &declared.schema)).unzip();
            if schemas.0.is_empty() {
                let hint = suggest::hint(&rule.name, names.iter().map(String::as_str));
                found.push(format!("`{}`: the source has no such stream{hint}", rule.name));
            } else {
                found.extend(
                    rule.without_effect(&schemas.0, &schemas.1).into_iter().map(|it| format!("`{}`: {it}", rule.name)),
                );
            }
        }
        found
    }
}

impl Rule {
    fn without_effect(&self, schemas: &[&Value], declared: &[&Value]) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(Normalize::Given(Normalizations { cut: Some(cut), .. })) = &self.options.normalize {
            for path in cut.iter().map(|it| it.path()) {
                found.extend(undeclared("normalize.cut", &path, schemas));
            }
        }
        if let Some(cursor) = &self.options.cursor_field {
            found.extend(undeclared("cursorField", &cursor.0, schemas));
        }
        if let Some(Document::Inline(patch)) = &self.options.schema {
            patched(patch, &mut Vec::new(), declared, &mut found);
        }
        found
    }
}

/// Reports a field that none of the schemas declares. A schema that declares no fields at all says nothing.
fn undeclared(setting: &str, path: &[String], schemas: &[&Value]) -> Option<String> {
    let (last, parents) = path.split_last()?;
    let mut known: Vec<&str> = Vec::new();
    for schema in schemas {
        let parent = parents.iter().fold(Schemas::new(Some(schema)), |it, name| it.member(name));
        if parent.declare(last) || !schema.get("properties").is_some_and(Value::is_object) {
            return None;
        }
        known.extend(parent.names());
    }
    let at = pointer::from_path(path.iter().map(String::as_str));
    Some(format!("{setting} {at} is not in the stream's schema{}", suggest::hint(last, known)))
}

/// Reports what a patch removes although it is not there, and fields that it declares beside a similar one.
fn patched(patch: &Value, path: &mut Vec<String>, schemas: &[&Value], found: &mut Vec<String>) {
    let properties = patch.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flat_map(Map::iter) {
        path.push(name.clone());
        match (undeclared("schema", path, schemas), property) {
            (Some(problem), Value::Null) => found.push(problem),
            // A field that the source does not declare may be added.
            (Some(problem), _) if problem.contains("did you mean") => found.push(problem),
            _ => patched(property, path, schemas, found),
        }
        path.pop();
    }
}
