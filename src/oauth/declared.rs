//! Reads a connector's OAuth declaration: Airbyte's `advanced_auth`, or its predecessor `authSpecification`
//! (docs/oauth.md, "What Airbyte declares").

use serde_json::{Map, Value};

use super::paths::{Path, Paths, at};
use super::schema::{branches, constant, property, resolve};

#[derive(Debug, Default, PartialEq)]
pub(super) struct Declared {
    /// The object that contains the OAuth fields; empty if that is the config itself.
    pub container: Path,
    /// The index of the branch in the container's `oneOf`.
    pub branch: Option<usize>,
    /// The property that shows that the user chose OAuth, in the branch or the container, and its value.
    pub predicate: Option<(String, Value)>,
    pub client_id: Option<Path>,
    pub client_secret: Option<Path>,
    pub outputs: Vec<Output>,
    /// Fields that the user enters before signing in.
    pub inputs: Vec<(String, Path)>,
    /// `oauth_connector_input_specification`, if it is declared.
    pub templates: Option<Map<String, Value>>,
}

/// A value of the token response that the connector needs.
#[derive(Debug, PartialEq)]
pub(super) struct Output {
    pub name: String,
    pub path: Path,
    /// Its location in the response, if it is declared.
    pub in_response: Option<Path>,
}

/// The names of the client's id and secret in Flow (docs/oauth.md, "What Flow does", 1).
pub const CLIENT_ID: &str = "client_id";
pub const CLIENT_SECRET: &str = "client_secret";

/// Reads `advanced_auth`. An error is a sentence with the reason why there is no OAuth.
pub(super) fn advanced(schema: &Value, auth: &Value) -> Result<Declared, String> {
    if auth.get("auth_flow_type").and_then(Value::as_str).is_some_and(|it| it.to_lowercase().contains("oauth1")) {
        return Err("the connector declares OAuth 1, which Flow does not know".into());
    }
    let none = Value::Null;
    let specification = auth.get("oauth_config_specification").unwrap_or(&none);
    let mut declared = Declared {
        templates: specification.get("oauth_connector_input_specification").and_then(Value::as_object).cloned(),
        ..Declared::default()
    };
    let mut paths = Paths::new(schema);
    let mut config_path = |property: &Value| paths.read(&[], property.get("path_in_connector_config"));
    let mut others = Vec::new();
    for (name, output) in properties(specification, "complete_oauth_server_output_specification") {
        let Some(path) = config_path(output)? else { continue };
        match role(name) {
            Some(Role::Id) if declared.client_id.is_none() => declared.client_id = Some(path),
            Some(Role::Secret) if declared.client_secret.is_none() => declared.client_secret = Some(path),
            _ => others.push(path),
        }
    }
    if let (None, [_]) = (&declared.client_id, others.as_slice()) {
        // The only other output is the client id, whatever its name.
        declared.client_id = others.pop();
    }
    for (name, output) in properties(specification, "complete_oauth_output_specification") {
        let Some(path) = config_path(output)? else { continue };
        match name.as_str() {
            CLIENT_ID => declared.client_id = declared.client_id.or(Some(path)),
            CLIENT_SECRET => declared.client_secret = declared.client_secret.or(Some(path)),
            _ => {
                let in_response = output.get("path_in_oauth_response").map(names).filter(|it| !it.is_empty());
                declared.outputs.push(Output { name: name.clone(), path, in_response });
            }
        }
    }
    for (name, input) in properties(specification, "oauth_user_input_from_connector_config_specification") {
        declared.inputs.extend(config_path(input)?.map(|it| (name.clone(), it)));
    }
    let key = paths.read(&[], auth.get("predicate_key"))?.unwrap_or_default();
    match key.split_last() {
        Some((last, container)) => {
            declared.container = container.to_vec();
            let value = auth.get("predicate_value").cloned();
            let holder = at(schema, container).map(|it| resolve(schema, it));
            declared.branch = holder.and_then(|it| {
                let is_it = |branch| {
                    let found = constant(property(schema, branch, last)?)?;
                    value.as_ref().is_none_or(|it| it == found).then_some(())
                };
                branches(it)?.iter().position(|branch| is_it(branch).is_some())
            });
            declared.predicate = value.map(|it| (last.clone(), it));
        }
        None => by_outputs(schema, &mut declared, paths.selected.as_ref()),
    }
    if declared.container.is_empty() && declared.outputs.iter().all(|it| it.path.len() > 1) {
        // The predicate is beside the object that OAuth's fields are in.
        declared.predicate = None;
        by_outputs(schema, &mut declared, paths.selected.as_ref());
    }
    select(&mut declared, paths.selected)?;
    finish(schema, declared)
}

/// Takes the branch that the paths select instead of one that was found otherwise.
fn select(declared: &mut Declared, selected: Option<(Path, usize)>) -> Result<(), String> {
    let Some((container, index)) = selected else { return Ok(()) };
    if declared.container != container {
        return Err("the connector's OAuth selects an alternative outside of the object with its fields".into());
    }
    if declared.predicate.is_some() && declared.branch.is_some_and(|it| it != index) {
        return Err("the predicate of the connector's OAuth and its paths select different alternatives".into());
    }
    declared.branch = Some(index);
    Ok(())
}

/// Without a predicate, the OAuth branch is the one that the paths select, or the one with most of the OAuth fields.
fn by_outputs(schema: &Value, declared: &mut Declared, selected: Option<&(Path, usize)>) {
    let fields: Vec<&Path> = match declared.outputs.as_slice() {
        [] => declared.client_id.iter().chain(&declared.client_secret).collect(),
        outputs => outputs.iter().map(|it| &it.path).collect(),
    };
    if let Some((container, index)) = selected
        && fields.iter().any(|it| it.starts_with(container))
    {
        declared.container.clone_from(container);
        declared.branch = Some(*index);
        return;
    }
    let Some((_, container)) = declared.outputs.first().and_then(|it| it.path.split_last()) else { return };
    declared.container = container.to_vec();
    let Some(holder) = at(schema, container).map(|it| resolve(schema, it)) else { return };
    let outputs = declared.outputs.iter().map(|it| &it.path);
    let paths = outputs.chain(&declared.client_id).chain(&declared.client_secret);
    let mut wanted: Vec<&str> = paths.filter_map(|it| it.last()).map(String::as_str).collect();
    wanted.extend([CLIENT_ID, CLIENT_SECRET]);
    let found = |branch| wanted.iter().filter(|name| property(schema, branch, name).is_some()).count();
    let branches = branches(holder).map_or(&[][..], Vec::as_slice).iter().enumerate();
    // `max_by_key` returns the last maximum, so this is the first of the best branches.
    declared.branch = branches.rev().max_by_key(|(_, branch)| found(branch)).map(|(index, _)| index);
}

/// Reads the legacy `authSpecification`.
pub(super) fn legacy(schema: &Value, auth: &Value) -> Result<Declared, String> {
    let specification = auth.get("oauth2Specification").or_else(|| auth.get("oauth2_specification"));
    let specification = specification.ok_or("the connector's authSpecification has no oauth2Specification")?;
    let get = |a: &str, b: &str| specification.get(a).or_else(|| specification.get(b));
    let mut paths = Paths::new(schema);
    let container = paths.read_object(&[], get("rootObject", "root_object"))?;
    let mut parameters = |value: Option<&Value>| -> Result<Vec<Path>, String> {
        let items = value.and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|it| paths.read(&container, Some(it)).transpose()).collect()
    };
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    let (mut client_id, mut client_secret) = (None, None);
    for path in parameters(get("oauthFlowInitParameters", "oauth_flow_init_parameters"))? {
        let name = path.last().cloned().unwrap_or_default();
        match role(&name) {
            Some(Role::Id) if client_id.is_none() => client_id = Some(path),
            Some(Role::Secret) if client_secret.is_none() => client_secret = Some(path),
            _ => inputs.push((name, path)),
        }
    }
    for path in parameters(get("oauthFlowOutputParameters", "oauth_flow_output_parameters"))? {
        let name = path.last().cloned().unwrap_or_default();
        outputs.push(Output { name, path, in_response: None });
    }
    let mut declared = Declared { container, ..Declared::default() };
    select(&mut declared, paths.selected)?;
    (declared.inputs, declared.outputs, declared.client_id, declared.client_secret) =
        (inputs, outputs, client_id, client_secret);
    finish(schema, declared)
}

/// Finds undeclared outputs by name: in the object that the declaration names, or else in `credentials` or at the root,
/// wherever the first of them is.
pub(super) fn by_names(schema: &Value, mut declared: Declared, names: &[String]) -> Result<Declared, String> {
    let none = "the connector does not declare which fields of its config OAuth fills in";
    let first = names.first().ok_or(none)?;
    let has_first = |it: &Value| property(schema, it, first).is_some();
    let is_in = |container: &Path| {
        let holder = at(schema, container).map(|it| resolve(schema, it));
        holder.is_some_and(|holder| match (branches(holder), declared.branch) {
            (Some(all), Some(index)) => all.get(index).is_some_and(has_first),
            (Some(all), None) => all.iter().any(has_first) || has_first(holder),
            (None, _) => has_first(holder),
        })
    };
    let is_named = !declared.container.is_empty() || declared.branch.is_some();
    let candidates =
        if is_named { vec![declared.container.clone()] } else { vec![vec!["credentials".to_owned()], Path::new()] };
    let container = candidates.into_iter().find(is_in).ok_or(none)?;
    let inner = |name: &str| container.iter().cloned().chain([name.to_owned()]).collect::<Path>();
    declared.outputs = names.iter().map(|it| Output { name: it.clone(), path: inner(it), in_response: None }).collect();
    if declared.branch.is_none() {
        by_outputs(schema, &mut declared, None);
    }
    finish(schema, declared)
}

/// Completes either kind of declaration from the config schema.
fn finish(schema: &Value, mut declared: Declared) -> Result<Declared, String> {
    let Some(holder) = at(schema, &declared.container) else {
        return Err(format!(
            "the connector's OAuth names /{}, which its config does not have",
            declared.container.join("/")
        ));
    };
    let holder = resolve(schema, holder);
    if let Some(all) = branches(holder) {
        let index = declared.branch.filter(|it| *it < all.len());
        let index = index.ok_or("none of the connector's logins is the OAuth one")?;
        let name = declared.predicate.as_ref().map(|(name, _)| name.as_str());
        let name = name.filter(|name| distinguishes(schema, all, name));
        let name = name.or_else(|| super::schema::discriminator(schema, all));
        let name = name.ok_or("no property of the connector's config distinguishes its logins")?.to_owned();
        let value = property(schema, &all[index], &name).and_then(constant).cloned();
        declared.branch = Some(index);
        declared.predicate = value.map(|it| (name, it));
        return Ok(declared);
    }
    declared.branch = None;
    Ok(declared)
}

fn distinguishes(schema: &Value, branches: &[Value], name: &str) -> bool {
    branches.iter().all(|branch| property(schema, branch, name).and_then(constant).is_some())
}

enum Role {
    Id,
    Secret,
}

/// Airbyte does not prescribe these names: connectors use `app_id` and `secret`, or `key` and `client_secret`.
fn role(name: &str) -> Option<Role> {
    let name = name.to_lowercase();
    let is_id = || name.ends_with("client_id") || name.ends_with("clientid") || NAMES_OF_IDS.contains(&name.as_str());
    if name.contains("secret") { Some(Role::Secret) } else { is_id().then_some(Role::Id) }
}

const NAMES_OF_IDS: [&str; 8] =
    ["key", "id", "app_id", "application_id", "app_key", "consumer_key", "client_key", "oauth_key"];

fn properties<'a>(specification: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    specification.get(name).and_then(|it| it.get("properties")?.as_object()).into_iter().flatten()
}

/// A list of names, or one name. A number is an index into an array of the response.
fn names(value: &Value) -> Path {
    let one = |it: &Value| it.as_str().map(str::to_owned).or_else(|| it.as_u64().map(|it| it.to_string()));
    value.as_array().map_or_else(|| one(value).into_iter().collect(), |items| items.iter().filter_map(one).collect())
}
