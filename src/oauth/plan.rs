//! Determines where each value of an OAuth login is in Flow's config and in the connector's.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::declared::{CLIENT_ID, CLIENT_SECRET, Declared};
use super::paths::{Path, at};
use super::remap::{CREDENTIALS, Login, Move, Remap};
use super::schema::{branches, constant, is_required, property, resolve};
use crate::json::pointer;

pub(super) struct Plan {
    pub at_root: bool,
    /// The fields of the OAuth object: the client's, and those from the token response.
    pub fields: Vec<Field>,
    /// User-entered fields moved out of the OAuth branch.
    pub hoisted: Vec<Hoisted>,
    /// The fields that templates can use, with their locations in Flow's config.
    pub inputs: BTreeMap<String, String>,
    pub remap: Remap,
}

pub(super) struct Field {
    pub name: String,
    /// The location in the connector's config, if it has one.
    pub path: Option<Path>,
    pub schema: Option<Value>,
}

pub(super) struct Hoisted {
    /// The name in the branch.
    pub name: String,
    /// The name at the root of the config.
    pub root_name: String,
    pub schema: Value,
    pub required: bool,
}

impl Plan {
    /// `given` are the names of the fields from the token response. An error is a sentence.
    pub fn new(schema: &Value, declared: &Declared, given: &[String]) -> Result<Self, String> {
        let missing = || "the connector's config has no object for its OAuth".to_owned();
        let holder = resolve(schema, at(schema, &declared.container).ok_or_else(missing)?);
        let alternatives = branches(holder);
        let branch = match (alternatives, declared.branch) {
            (Some(all), Some(index)) => resolve(schema, all.get(index).ok_or_else(missing)?),
            _ => holder,
        };
        let at_root = declared.container.is_empty();
        if at_root && alternatives.is_some() {
            return Err("the connector's logins are alternatives of its whole config".into());
        }
        let is_credentials = declared.container == ["credentials"];
        if !is_credentials && property(schema, schema, "credentials").is_some() {
            return Err("the connector has other credentials beside those of its OAuth".into());
        }
        let mut plan =
            Self { at_root, fields: Vec::new(), hoisted: Vec::new(), inputs: BTreeMap::new(), remap: Remap::default() };
        for name in [CLIENT_ID, CLIENT_SECRET].into_iter().chain(given.iter().map(String::as_str)) {
            plan.fields.push(field(schema, declared, branch, name));
        }
        plan.hoist(schema, declared, branch, alternatives.is_none());
        for (name, path) in &declared.inputs {
            let field = plan.location(declared, path);
            plan.inputs.insert(name.clone(), field);
        }
        plan.remap = plan.remap(schema, declared, alternatives.is_some_and(|all| all.len() > 1), given);
        Ok(plan)
    }

    /// Moves user-entered fields to the root: Flow's form does not ask for fields inside of the OAuth object
    /// (docs/oauth.md, "What Flow does", 2).
    fn hoist(&mut self, schema: &Value, declared: &Declared, branch: &Value, is_only: bool) {
        let properties = branch.get("properties").and_then(Value::as_object);
        let none = Map::new();
        let root = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        if self.at_root {
            return;
        }
        for (name, property) in properties.into_iter().flatten() {
            let path: Path = declared.container.iter().chain([name]).cloned().collect();
            // An object with fields that OAuth fills in counts as one of them.
            let is_given = self.fields.iter().any(|it| it.path.as_ref().is_some_and(|it| it.starts_with(&path)))
                || declared.outputs.iter().any(|it| it.path.starts_with(&path));
            let is_predicate = declared.predicate.as_ref().is_some_and(|(it, _)| it == name);
            let is_hidden = property.get("airbyte_hidden") == Some(&Value::Bool(true));
            if is_given || is_predicate || is_hidden || constant(resolve(schema, property)).is_some() {
                continue;
            }
            let longer = format!("{}_{name}", declared.container.join("_"));
            let is_free =
                |it: &String| !root.contains_key(it) && self.hoisted.iter().all(|other| other.root_name != *it);
            let Some(root_name) = [name.clone(), longer].into_iter().find(is_free) else { continue };
            let required = is_only && is_required(branch, name);
            self.hoisted.push(Hoisted { name: name.clone(), root_name, schema: property.clone(), required });
        }
    }

    /// The location in Flow's config of a field of the connector, as templates write it.
    fn location(&self, declared: &Declared, path: &[String]) -> String {
        let inner = path.strip_prefix(declared.container.as_slice()).filter(|_| !self.at_root);
        match inner {
            Some([name]) if let Some(it) = self.hoisted.iter().find(|it| it.name == *name) => it.root_name.clone(),
            Some(inner) => {
                ["credentials"].into_iter().chain(inner.iter().map(String::as_str)).collect::<Vec<_>>().join(".")
            }
            None => path.join("."),
        }
    }

    fn remap(&self, schema: &Value, declared: &Declared, alternatives: bool, given: &[String]) -> Remap {
        let mut login = Login { alternatives, given: given.to_vec(), at_root: self.at_root, ..Login::default() };
        for field in &self.fields {
            let from = format!("{CREDENTIALS}/{}", pointer::escape(&field.name));
            match &field.path {
                None => login.dropped.push(from),
                Some(path) => {
                    let to = self.pointer(declared, path);
                    if from != to {
                        login.moves.push(Move { from, to });
                    }
                }
            }
        }
        for it in &self.hoisted {
            let from = format!("/{}", pointer::escape(&it.root_name));
            login.moves.push(Move { from, to: format!("{CREDENTIALS}/{}", pointer::escape(&it.name)) });
        }
        if let Some((name, value)) = &declared.predicate {
            let path: Path = declared.container.iter().chain([name]).cloned().collect();
            if !self.at_root {
                login.discriminator = Some((name.clone(), value.clone()));
                login.constants.push((self.pointer(declared, &path), value.clone()));
            } else if at(schema, &path).is_some() {
                login.constants.push((pointer::from_path(path.iter().map(String::as_str)), value.clone()));
            }
        }
        let is_elsewhere = !self.at_root && declared.container != ["credentials"];
        let container = is_elsewhere.then(|| pointer::from_path(declared.container.iter().map(String::as_str)));
        Remap { container, login: Some(login) }
    }

    /// The location of a value in the connector's config, with the container at `/credentials`.
    fn pointer(&self, declared: &Declared, path: &[String]) -> String {
        let inner = path.strip_prefix(declared.container.as_slice()).filter(|it| !self.at_root && !it.is_empty());
        let steps = |path: &[String]| pointer::from_path(path.iter().map(String::as_str));
        inner.map_or_else(|| steps(path), |it| CREDENTIALS.to_owned() + &steps(it))
    }
}

fn field(schema: &Value, declared: &Declared, branch: &Value, name: &str) -> Field {
    let output = || declared.outputs.iter().find(|it| it.name == name);
    let by_last = || declared.outputs.iter().find(|it| it.path.last().is_some_and(|it| it == name));
    let path = match name {
        CLIENT_ID => declared.client_id.clone(),
        CLIENT_SECRET => declared.client_secret.clone(),
        _ => output().or_else(by_last).map(|it| it.path.clone()),
    };
    let own = || -> Option<Path> {
        branch.get("properties")?.get(name)?;
        Some(declared.container.iter().cloned().chain([name.to_owned()]).collect())
    };
    let path = path.or_else(own);
    let inner = path.as_ref().and_then(|it| it.strip_prefix(declared.container.as_slice()));
    // Within the branch first: at() would not look into it.
    let found = inner
        .and_then(|it| it.iter().try_fold(branch, |holder, step| property(schema, holder, step)))
        .or_else(|| at(schema, path.as_ref()?));
    Field { name: name.to_owned(), schema: found.map(|it| resolve(schema, it).clone()), path }
}
