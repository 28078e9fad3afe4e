//! The catalog of a sync: the discovered one, with the selection written wherever taps look for it (S6, S7, S8).

use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::catalog::Entry;
use super::resource::Wanted;
use crate::upstream::{Selected, SyncRequest};

/// Where a tap looks for what to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `--catalog`: in the metadata.
    Metadata,
    /// `--properties`: in the schemas.
    Schemas,
}

/// The catalog of a sync: every discovered stream, selected or not.
pub fn catalog(sync: &SyncRequest, form: Form) -> Result<Box<RawValue>> {
    let mut streams: Vec<Value> = sync.streams.iter().map(|it| selected(it, form)).collect::<Result<_, _>>()?;
    for unselected_entry in sync.others {
        let mut stream: Value =
            serde_json::from_str(unselected_entry.get()).context("the kept catalog can't be read")?;
        if form == Form::Schemas {
            stream["schema"]["selected"] = false.into();
        }
        streams.push(stream);
    }
    to_raw_value(&json!({"streams": streams})).context("can't write the tap's catalog")
}

fn selected(it: &Selected, form: Form) -> Result<Value> {
    let entry = Entry::parse(&it.stream.declared)?;
    let wanted = Wanted::of(it.resource)?;
    wanted.fits(&entry)?;
    let members: Map<String, Value> =
        serde_json::from_str(it.stream.declared.get()).with_context(|| format!("stream {}", it.resource.id))?;
    let mut stream = Value::Object(members);
    let (method, key) = (wanted.method.name(), wanted.key_for(&entry));

    let mut metadata: Vec<Value> = match stream["metadata"].take() {
        Value::Array(items) => items.into_iter().filter(Value::is_object).collect(),
        _ => Vec::new(),
    };
    let own = match metadata.iter_mut().find(|it| breadcrumb(it).is_empty()) {
        Some(own) => own,
        None => {
            metadata.insert(0, json!({"breadcrumb": []}));
            &mut metadata[0]
        }
    };
    if !own["metadata"].is_object() {
        own["metadata"] = json!({});
    }
    own["metadata"]["selected"] = true.into();
    own["metadata"]["replication-method"] = method.into();
    set(&mut own["metadata"], "replication-key", key.as_deref());
    if entry.is_view() && !wanted.key.is_empty() {
        own["metadata"]["view-key-properties"] = json!(wanted.key);
    }

    if !stream["schema"].is_object() {
        stream["schema"] = json!({"type": "object", "properties": {}});
    }
    let chosen: HashMap<&[String], bool> = wanted.fields.iter().map(|(path, it)| (path.as_slice(), *it)).collect();
    let described: HashSet<Vec<String>> = metadata.iter().map(breadcrumb).collect();
    let has_metadata = described.iter().any(|it| !it.is_empty());
    let mut fields = Vec::new();
    add_fields(&stream["schema"], &[], &mut fields);
    let in_schema = form == Form::Schemas || !has_metadata || stream["schema"].get("selected").is_some();
    let new = fields.into_iter().filter(|it| !described.contains(it));
    metadata.extend(new.map(|it| json!({"breadcrumb": it, "metadata": {}})));
    for item in &mut metadata {
        let path = breadcrumb(item);
        if path.is_empty() {
            continue;
        }
        let property = path.iter().try_fold(&mut stream["schema"], |it, step| it.get_mut(step));
        let mut property = property.and_then(Value::as_object_mut);
        // The replication key is always needed.
        let is_key = || path.len() == 2 && path.last() == key.as_ref();
        let chosen = chosen.get(path.as_slice()).copied().or_else(|| is_key().then_some(true));
        let selected = select_field(item, property.as_deref(), chosen);
        if let Some(property) = property.as_mut().filter(|it| in_schema || is_told_in(it)) {
            property.insert("selected".into(), selected.into());
        }
    }
    if in_schema {
        stream["schema"]["selected"] = true.into();
    }
    stream["metadata"] = metadata.into();
    stream["replication_method"] = method.into();
    set(&mut stream, "replication_key", key.as_deref());
    if !wanted.key.is_empty() {
        stream["key_properties"] = json!(wanted.key);
    }
    Ok(stream)
}

/// Whether a schema says itself what is selected, as for taps older than metadata (S7).
fn is_told_in(property: &Map<String, Value>) -> bool {
    property.contains_key("inclusion") || property.contains_key("selected")
}

/// The breadcrumbs of the fields at the top, and of those below whose schemas say what is selected.
fn add_fields(schema: &Value, within: &[String], fields: &mut Vec<Vec<String>>) {
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = [within, &["properties".to_owned(), name.clone()]].concat();
        if within.is_empty() || property.as_object().is_some_and(is_told_in) {
            fields.push(path.clone());
        }
        add_fields(property, &path, fields);
    }
}

/// Selects a field, and returns whether it is selected: `automatic` ones always, `unsupported` ones never, `available`
/// ones by the user's choice, else by the tap's default (S6). Metadata counts before the schema (S7).
fn select_field(item: &mut Value, property: Option<&Map<String, Value>>, chosen: Option<bool>) -> bool {
    if !item["metadata"].is_object() {
        item["metadata"] = json!({});
    }
    let metadata = &mut item["metadata"];
    let in_schema = |name: &str| property.and_then(|it| it.get(name)).cloned();
    if metadata["inclusion"].is_null() {
        match in_schema("inclusion").filter(Value::is_string) {
            Some(inclusion) => metadata["inclusion"] = inclusion,
            None => set(metadata, "inclusion", None),
        }
    }
    let selected = match metadata.get("inclusion").and_then(Value::as_str) {
        Some("automatic") => true,
        Some("unsupported") => false,
        _ => {
            let told = |name: &str| metadata.get(name).and_then(Value::as_bool);
            let default = told("selected").or_else(|| in_schema("selected")?.as_bool());
            chosen.or(default).or_else(|| told("selected-by-default")).unwrap_or(true)
        }
    };
    metadata["selected"] = selected.into();
    selected
}

fn breadcrumb(item: &Value) -> Vec<String> {
    let parts = item["breadcrumb"].as_array().into_iter().flatten();
    parts.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)).collect()
}

fn set(object: &mut Value, name: &str, value: Option<&str>) {
    match (object.as_object_mut(), value) {
        (Some(members), Some(value)) => drop(members.insert(name.to_owned(), value.into())),
        (Some(members), None) => drop(members.shift_remove(name)),
        (None, _) => {}
    }
}
