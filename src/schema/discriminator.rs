//! Derives discriminators: Flow's web form shows a `oneOf` only if a property is named that distinguishes the branches
//! (docs/oauth.md, "What Flow does", 2). Sources do not name it, but give it a `const` in each branch.

use super::change::{Change, What};
use super::refs::{self, push};
use serde_json::{Map, Value, json};

/// Adds the discriminator of every `oneOf` that has one, and the defaults that belong to it.
pub(super) fn derive(root: &mut Value, changes: &mut Vec<Change>) {
    let mut found = Vec::new();
    refs::visit(root, &mut String::new(), &mut |at, map| {
        let Some(Value::Array(branches)) = map.get("oneOf") else {
            return;
        };
        let declared = map.get("discriminator").and_then(|it| it.get("propertyName")).and_then(Value::as_str);
        let name = match declared {
            Some(it) if constants(root, branches, it).is_some() => Some(it),
            Some(_) => None,
            None => property(root, branches),
        };
        let Some(name) = name else {
            return;
        };
        let locations = branches.iter().enumerate().filter_map(|(i, branch)| {
            let own = || Some(format!("{at}/oneOf/{i}"));
            let location = match branch.get("$ref").and_then(Value::as_str) {
                Some(reference) if branch.get("properties").is_none() => refs::location(root, reference),
                _ => own(),
            };
            let mut location = location? + "/properties";
            push(&mut location, name);
            root.pointer(&location).is_some().then_some(location)
        });
        found.push((at.to_owned(), declared.is_none(), name.to_owned(), locations.collect::<Vec<_>>()));
    });
    for (at, is_new, name, locations) in found {
        if is_new && let Some(Value::Object(holder)) = root.pointer_mut(&at) {
            holder.insert("discriminator".into(), json!({ "propertyName": name }));
            changes.push(Change::new(at, What::DiscriminatorAdded(name)));
        }
        for location in locations {
            if let Some(Value::Object(property)) = root.pointer_mut(&location) {
                set_default(property, location, changes);
            }
        }
    }
}

/// Makes a discriminator property's only value its `const` and its default.
fn set_default(property: &mut Map<String, Value>, at: String, changes: &mut Vec<Change>) {
    let Some(value) = constant(property).cloned() else {
        return;
    };
    if !property.contains_key("const") {
        super::modernise::rename(property, "enum", "const");
        property.insert("const".into(), value.clone());
        changes.push(Change::new(at.clone(), What::EnumToConst));
    }
    if property.get("default") != Some(&value) {
        property.insert("default".into(), value);
        changes.push(Change::new(at, What::DefaultAdded));
    }
}

/// The property that has a different constant in each branch.
pub(super) fn property<'a>(root: &'a Value, branches: &'a [Value]) -> Option<&'a str> {
    let first = properties(root, branches.first()?)?;
    first.keys().map(String::as_str).find(|name| constants(root, branches, name).is_some_and(|it| distinct(&it)))
}

/// The constants of a property in the branches, if it has one in each.
fn constants<'a>(root: &'a Value, branches: &'a [Value], name: &str) -> Option<Vec<&'a Value>> {
    let constant_in = |branch| constant(properties(root, branch)?.get(name)?.as_object()?);
    branches.iter().map(constant_in).collect()
}

fn distinct(values: &[&Value]) -> bool {
    values.iter().enumerate().all(|(i, it)| !values[..i].contains(it))
}

fn constant(property: &Map<String, Value>) -> Option<&Value> {
    let value = match (property.get("const"), property.get("enum")) {
        (Some(it), _) => it,
        (None, Some(Value::Array(them))) if them.len() == 1 => them.first()?,
        _ => return None,
    };
    (value.is_string() || value.is_number() || value.is_boolean()).then_some(value)
}

fn properties<'a>(root: &'a Value, branch: &'a Value) -> Option<&'a Map<String, Value>> {
    let own = branch.get("properties");
    let own = own.or_else(|| refs::find(root, branch.get("$ref")?.as_str()?)?.get("properties"));
    own?.as_object()
}
