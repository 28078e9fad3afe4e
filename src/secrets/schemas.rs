//! What a config's schema says about each of its values: references and branches are followed side by side with the value.

use regex::Regex;
use serde_json::Value;

/// How deep references and branches of a schema are followed.
const DEEPEST: usize = 16;

/// The schemas that may apply to one value. Each branch of a schema is one of them.
pub struct Schemas<'a> {
    root: Option<&'a Value>,
    all: Vec<&'a Value>,
}

impl<'a> Schemas<'a> {
    /// Those of a whole config.
    pub fn new(schema: Option<&'a Value>) -> Self {
        Self { root: schema, all: Vec::new() }.of(schema)
    }

    /// Those of a member of the value.
    pub fn member(&self, name: &str) -> Self {
        self.of(self.all.iter().flat_map(|it| {
            let declared = declarations(it, name);
            let other =
                it.get("additionalProperties").filter(|_| it.get("properties").and_then(|it| it.get(name)).is_none());
            declared.chain(other)
        }))
    }

    /// Those of the items of the value.
    pub fn item(&self) -> Self {
        let lists = self.all.iter().flat_map(|it| ["items", "prefixItems"].into_iter().filter_map(|name| it.get(name)));
        self.of(lists.flat_map(|it| it.as_array().map_or(std::slice::from_ref(it), Vec::as_slice)))
    }

    /// Whether a member is declared by its name.
    pub fn declare(&self, name: &str) -> bool {
        self.all.iter().any(|it| declarations(it, name).next().is_some())
    }

    /// The names of the declared members.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        let properties = self.all.iter().filter_map(|it| it.get("properties")?.as_object());
        properties.flat_map(|it| it.keys().map(String::as_str))
    }

    /// Whether the value is marked as secret.
    pub fn mark_secret(&self) -> bool {
        self.all.iter().any(|it| {
            let is_set = |name: &str| it.get(name) == Some(&Value::Bool(true));
            ["secret", "airbyte_secret", "writeOnly"].into_iter().any(is_set)
                || it.get("format").and_then(Value::as_str) == Some("password")
        })
    }

    /// Whether the value is marked as not sensitive.
    pub fn mark_nonsensitive(&self) -> bool {
        self.all.iter().any(|it| it.get("nonsensitive") == Some(&Value::Bool(true)))
    }

    /// These schemas with their references and branches.
    fn of(&self, schemas: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut expanded = Self { root: self.root, all: Vec::new() };
        schemas.into_iter().for_each(|it| expanded.expand(it, DEEPEST));
        expanded
    }

    fn expand(&mut self, schema: &'a Value, depth: usize) {
        if depth == 0 || !schema.is_object() {
            return;
        }
        self.all.push(schema);
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix('#'));
        if let Some(target) = reference.and_then(|it| self.root?.pointer(it)) {
            self.expand(target, depth - 1);
        }
        let lists = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|it| schema.get(it)?.as_array()).flatten();
        let branches = ["if", "then", "else"].into_iter().filter_map(|it| schema.get(it));
        lists.chain(branches).for_each(|it| self.expand(it, depth - 1));
    }
}

/// Where a schema declares a member by its name or by a pattern of names.
fn declarations<'a>(schema: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let declared = schema.get("properties").and_then(|it| it.get(name));
    let patterns = schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
    let patterns = patterns.filter(move |(pattern, _)| Regex::new(pattern).is_ok_and(|it| it.is_match(name)));
    declared.into_iter().chain(patterns.map(|(_, it)| it))
}
