//! Rebuilds the config schema with the OAuth login at `/credentials` (docs/oauth.md, "What Flow does", 1 to 3).

use serde_json::{Map, Value, json};

use super::declared::{CLIENT_ID, CLIENT_SECRET, Declared};
use super::paths::Path;
use super::plan::Plan;
use super::schema::{PROVIDER, is_required, resolve};
use crate::json::pointer;

/// Applies a [`Plan`] to the schema.
pub(super) fn rebuild(schema: &Value, declared: &Declared, plan: &Plan, provider: &str) -> Result<Value, String> {
    let mut schema = schema.clone();
    let credentials = if plan.at_root {
        json!({"type": "object", "title": "Authentication", "order": 0})
    } else {
        take_container(&mut schema, &declared.container)?
    };
    let credentials = with_login(&schema, credentials, declared, plan, provider);
    let has_choices = credentials.get("oneOf").is_some();
    for field in &plan.fields {
        let Some(path) = field.path.as_ref() else { continue };
        let is_inside = !plan.at_root && path.starts_with(&declared.container);
        if !is_inside {
            stop_asking(&mut schema, path, has_choices);
        }
    }
    // OAuth is the only login, so there is nothing to choose; the remap sets the value.
    if let Some((name, _)) = declared.predicate.as_ref().filter(|_| plan.at_root) {
        stop_asking(&mut schema, std::slice::from_ref(name), false);
    }
    let root = schema.as_object_mut().ok_or("the connector's config schema is not an object")?;
    let properties = root.entry("properties").or_insert_with(|| json!({}));
    let properties = properties.as_object_mut().ok_or("the connector's config schema has no properties")?;
    properties.insert("credentials".into(), credentials);
    for it in &plan.hoisted {
        properties.insert(it.root_name.clone(), it.schema.clone());
    }
    let hoisted = plan.hoisted.iter().filter(|it| it.required).map(|it| it.root_name.as_str());
    for name in hoisted.chain(["credentials"]) {
        require(root, name);
    }
    Ok(schema)
}

/// Adds a name to `required`.
pub(super) fn require(schema: &mut Map<String, Value>, name: &str) {
    match schema.get_mut("required").and_then(Value::as_array_mut) {
        Some(required) if required.iter().any(|it| it == name) => {}
        Some(required) => required.push(name.into()),
        None => {
            schema.insert("required".into(), json!([name]));
        }
    }
}

fn properties_of(path: &[String]) -> String {
    let steps = path.iter().flat_map(|it| ["properties", it.as_str()]);
    pointer::from_path(steps)
}

/// Removes the object with the logins from the schema. References on the path are replaced by their targets.
fn take_container(schema: &mut Value, path: &Path) -> Result<Value, String> {
    for length in 1..=path.len() {
        let here = properties_of(&path[..length]);
        let target = schema.pointer(&here).map(|it| resolve(schema, it).clone());
        if let (Some(target), Some(place)) = (target, schema.pointer_mut(&here)) {
            *place = target;
        }
    }
    let missing = || format!("the connector's config has no /{}", path.join("/"));
    let (last, parents) = path.split_last().ok_or_else(missing)?;
    let holder = schema.pointer_mut(&properties_of(parents)).and_then(Value::as_object_mut).ok_or_else(missing)?;
    if last == "credentials" && parents.is_empty() {
        // It keeps its position.
        return holder.get("properties").and_then(|it| it.get(last)).cloned().ok_or_else(missing);
    }
    let taken = holder.get_mut("properties").and_then(|it| it.as_object_mut()?.shift_remove(last));
    unrequire(holder, last);
    taken.ok_or_else(missing)
}

fn unrequire(holder: &mut Map<String, Value>, name: &str) {
    if let Some(required) = holder.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|it| it != name);
    }
}

/// Stops asking for a field that OAuth fills in. Other logins may still need it.
fn stop_asking(schema: &mut Value, path: &[String], others_need_it: bool) {
    let Some((last, parents)) = path.split_last() else { return };
    let Some(holder) = schema.pointer_mut(&properties_of(parents)).and_then(Value::as_object_mut) else { return };
    unrequire(holder, last);
    if !others_need_it && let Some(properties) = holder.get_mut("properties").and_then(Value::as_object_mut) {
        properties.shift_remove(last);
    }
}

/// The credentials with the OAuth branch rebuilt for Flow.
fn with_login(root: &Value, credentials: Value, declared: &Declared, plan: &Plan, provider: &str) -> Value {
    let mut credentials = credentials;
    if credentials.get("default").and_then(Value::as_object).is_some_and(Map::is_empty)
        && let Some(members) = credentials.as_object_mut()
    {
        members.shift_remove("default");
    }
    let Some(index) = declared.branch else { return login(credentials, declared, plan, provider) };
    if let Some(members) = credentials.as_object_mut()
        && let Some(any_of) = members.shift_remove("anyOf")
    {
        members.insert("oneOf".into(), any_of);
    }
    if let Some((name, _)) = &declared.predicate
        && let Some(members) = credentials.as_object_mut()
    {
        members.insert("discriminator".into(), json!({"propertyName": name}));
    }
    if let Some(branch) = credentials.get_mut("oneOf").and_then(|it| it.get_mut(index)) {
        let plain = resolve(root, branch).clone();
        *branch = login(plain, declared, plan, provider);
    }
    credentials
}

/// The object that the sign-in button fills: the client and the fields from the token response.
fn login(branch: Value, declared: &Declared, plan: &Plan, provider: &str) -> Value {
    let mut login = branch.as_object().cloned().unwrap_or_default();
    let own = login.shift_remove("properties");
    let own = own.as_ref().and_then(Value::as_object);
    let mut properties = Map::new();
    let mut required: Vec<Value> = Vec::new();
    let constants = own.into_iter().flatten().filter(|(_, it)| super::schema::constant(it).is_some());
    for (name, property) in constants.filter(|_| !plan.at_root) {
        let mut property = property.clone();
        if let (Some(value), Some(members)) = (super::schema::constant(&property).cloned(), property.as_object_mut()) {
            members.insert("default".into(), value);
        }
        if is_required(&branch, name) {
            required.push(name.as_str().into());
        }
        properties.insert(name.clone(), property);
    }
    // A discriminator that only the predicate declares.
    if let Some((name, value)) = declared.predicate.as_ref().filter(|_| !plan.at_root) {
        properties.entry(name.clone()).or_insert_with(|| json!({"type": "string", "const": value, "default": value}));
    }
    for field in &plan.fields {
        let mut property = field.schema.clone().filter(Value::is_object).unwrap_or_else(|| json!({"type": "string"}));
        if let Some(members) = property.as_object_mut() {
            if !members.contains_key("title") {
                members.insert("title".into(), title(&field.name).into());
            }
            members.insert("airbyte_secret".into(), true.into());
            // Flow fills in and shows this field.
            members.shift_remove("airbyte_hidden");
        }
        required.push(field.name.as_str().into());
        properties.insert(field.name.clone(), property);
    }
    for keyword in
        ["oneOf", "anyOf", "allOf", "not", "if", "then", "else", "dependencies", "dependentRequired", "default"]
    {
        login.shift_remove(keyword);
    }
    login.insert("type".into(), "object".into());
    login.insert(PROVIDER.into(), provider.into());
    login.insert("required".into(), required.into());
    login.insert("properties".into(), properties.into());
    Value::Object(login)
}

fn title(name: &str) -> String {
    match name {
        CLIENT_ID => "Client ID".into(),
        CLIENT_SECRET => "Client secret".into(),
        _ => {
            let words = name.replace('_', " ");
            let mut chars = words.chars();
            chars.next().map(|it| it.to_uppercase().chain(chars).collect()).unwrap_or_default()
        }
    }
}
