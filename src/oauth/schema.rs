//! Queries of a connector's config schema.

use serde_json::Value;

/// The target of a schema's local `$ref`, or the schema itself.
pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    // Limits circular references.
    for _ in 0..8 {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|it| root.pointer(it.strip_prefix('#')?));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

pub(super) fn property<'a>(root: &'a Value, schema: &'a Value, name: &str) -> Option<&'a Value> {
    resolve(root, schema).get("properties")?.get(name)
}

/// The choices that a schema offers.
pub(super) fn branches(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array().filter(|it| !it.is_empty())
}

/// The only value that a property can have.
pub(super) fn constant(schema: &Value) -> Option<&Value> {
    if let Some(value) = schema.get("const") {
        return Some(value);
    }
    match schema.get("enum").and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) => Some(only),
        _ => None,
    }
}

/// The property that has a different constant in each branch.
pub(super) fn discriminator<'a>(root: &'a Value, branches: &'a [Value]) -> Option<&'a str> {
    let first = resolve(root, branches.first()?).get("properties")?.as_object()?;
    first.keys().map(String::as_str).find(|name| {
        let constants: Option<Vec<&Value>> =
            branches.iter().map(|it| property(root, it, name).and_then(constant)).collect();
        constants.is_some_and(|all| all.iter().enumerate().all(|(i, it)| !all[..i].contains(it)))
    })
}

pub(super) fn is_required(schema: &Value, name: &str) -> bool {
    schema.get("required").and_then(Value::as_array).is_some_and(|all| all.iter().any(|it| it == name))
}

/// The provider, if the schema has an object for Flow's sign-in button already.
pub(super) fn annotated(schema: &Value) -> Option<&str> {
    let credentials = schema.get("properties")?.get("credentials")?;
    let choices = ["oneOf", "anyOf"].into_iter().filter_map(|it| credentials.get(it)?.as_array()).flatten();
    std::iter::once(credentials).chain(choices).find_map(|it| it.get(PROVIDER)?.as_str())
}

pub(super) const PROVIDER: &str = "x-oauth2-provider";
