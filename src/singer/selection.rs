//! The catalog that a sync is given: the discovered one, with what was chosen written wherever taps look for it (S6, S8).

use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::catalog::Entry;
use super::resource::Wanted;
use crate::upstream::{Selected, SyncRequest};

/// How a tap is told what to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `--catalog`: in the metadata.
    Metadata,
    /// `--properties`: in the schemas themselves as well.
    Schemas,
}

/// The catalog, each discovered stream in it selected or not.
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

    let chosen: HashMap<&[String], bool> = wanted.fields.iter().map(|(path, it)| (path.as_slice(), *it)).collect();
    let described: HashSet<Vec<String>> = metadata.iter().map(breadcrumb).collect();
    for name in entry.properties().into_iter().flat_map(Map::keys) {
        let path = vec!["properties".to_owned(), name.clone()];
        if !described.contains(&path) {
            metadata.push(json!({"breadcrumb": path, "metadata": {}}));
        }
    }
    for item in &mut metadata {
        let path = breadcrumb(item);
        // What the tap finds new rows by has to be there.
        let is_key = || path.len() == 2 && path.last() == key.as_ref();
        if !path.is_empty() {
            select_field(item, chosen.get(path.as_slice()).copied().or_else(|| is_key().then_some(true)));
        }
    }

    if !stream["schema"].is_object() {
        stream["schema"] = json!({"type": "object", "properties": {}});
    }
    if form == Form::Schemas {
        stream["schema"]["selected"] = true.into();
        for item in &metadata {
            if let [properties, name] = breadcrumb(item).as_slice()
                && properties == "properties"
                && let Some(property) = stream["schema"]["properties"].get_mut(name)
                && property.is_object()
            {
                property["selected"] = item["metadata"]["selected"].clone();
            }
        }
    }
    stream["metadata"] = metadata.into();
    stream["replication_method"] = method.into();
    set(&mut stream, "replication_key", key.as_deref());
    if !wanted.key.is_empty() {
        stream["key_properties"] = json!(wanted.key);
    }
    Ok(stream)
}

/// S6: `automatic` always, `unsupported` never, what is `available` as the user chose it, else as the tap recommends.
fn select_field(item: &mut Value, chosen: Option<bool>) {
    if !item["metadata"].is_object() {
        item["metadata"] = json!({});
    }
    let about = &mut item["metadata"];
    let selected = match about["inclusion"].as_str() {
        Some("automatic") => true,
        Some("unsupported") => false,
        _ => {
            let told = |name: &str| about.get(name).and_then(Value::as_bool);
            chosen.or_else(|| told("selected")).or_else(|| told("selected-by-default")).unwrap_or(true)
        }
    };
    about["selected"] = selected.into();
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
