//! Resource configs of bindings.

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::catalog::Entry;
use super::method::Method;
use super::state::stream_id;
use crate::upstream::{Mode, Resource, Stream};

pub const POINTERS: &[&str] = &["/stream"];

/// The settings of a binding, from a resource config of either shape.
#[derive(Serialize, Deserialize)]
pub struct Wanted {
    pub method: Method,
    pub replication_key: Option<String>,
    /// Only in CaptureShim's shape: the key that the user gave a view.
    pub key: Vec<String>,
    /// Only in CaptureShim's shape: fields selected or not, by breadcrumb.
    pub fields: Vec<(Vec<String>, bool)>,
}

impl Wanted {
    pub fn of(resource: &Resource) -> Result<Self> {
        Self::deserialize(&resource.config).with_context(|| format!("stream {}", resource.id))
    }

    /// Checks that the stream supports these settings.
    pub fn fits(&self, entry: &Entry) -> Result<()> {
        let id = entry.id();
        if let Some(forced) = entry.forced_method().filter(|it| *it != self.method) {
            let (forced, wanted) = (forced.name(), self.method.name());
            bail!(
                "stream {id} can't be replicated as {wanted}: the tap always uses {forced}, so set that as its replicationMethod"
            );
        }
        if self.method == Method::LogBased && entry.is_view() {
            bail!(
                "stream {id} can't be replicated as LOG_BASED, as it is a view: set its replicationMethod to FULL_TABLE or INCREMENTAL"
            );
        }
        if self.method != Method::Incremental || entry.knows_its_key() && self.replication_key.is_none() {
            return Ok(());
        }
        let valid = entry.valid_keys();
        let known: Vec<&str> = match entry.properties() {
            _ if !valid.is_empty() => valid.iter().map(String::as_str).collect(),
            Some(properties) => properties.keys().map(String::as_str).collect(),
            None => Vec::new(),
        };
        let choice = format!("choose one of {}", known.join(", "));
        match self.key_for(entry) {
            None => Err(anyhow!(
                "stream {id} needs a replicationKey in its resource config to be replicated as INCREMENTAL: {choice}"
            )),
            Some(key) if !known.is_empty() && !known.contains(&key.as_str()) => {
                Err(anyhow!("stream {id} can't be replicated by {key:?}: {choice} as its replicationKey"))
            }
            Some(_) => Ok(()),
        }
    }

    /// The replication key that goes into the catalog.
    pub fn key_for(&self, entry: &Entry) -> Option<String> {
        match self.method {
            Method::Incremental => self.replication_key.clone().or_else(|| entry.default_key()),
            Method::FullTable | Method::LogBased => None,
        }
    }
}

/// Checks that each binding's stream exists and supports its settings.
pub fn check(streams: &[Stream], resources: &[Resource]) -> Result<()> {
    for resource in resources {
        let id = &resource.id;
        let stream = streams.iter().find(|it| it.id == *id).ok_or_else(|| {
            anyhow!("stream {id} is not at the source (any more): disable its binding, or give this user access to it")
        })?;
        Wanted::of(resource)?.fits(&Entry::parse(&stream.declared)?)?;
    }
    Ok(())
}

/// The schema of a resource config of either shape (F29). Forms show the one of ours.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "title": "Singer stream",
        "if": {"required": ["tap_stream_id"]},
        "then": {"properties": {"tap_stream_id": {"type": "string"}}},
        "else": {"required": ["stream", "replicationMethod"]},
        "properties": {
            "stream": {"type": "string", "title": "Stream", "description": "The tap_stream_id of the stream.", "order": 0},
            "replicationMethod": {
                "type": "string",
                "title": "Replication method",
                "description": "FULL_TABLE: everything in each sync. INCREMENTAL: only rows whose replication key has grown. LOG_BASED: changes from the database's log, including deletions.",
                "enum": ["FULL_TABLE", "INCREMENTAL", "LOG_BASED"],
                "order": 1
            },
            "replicationKey": {
                "type": ["string", "null"],
                "title": "Replication key",
                "description": "The field by which INCREMENTAL finds new rows, if you can choose it.",
                "order": 2
            }
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    stream: String,
    replication_method: String,
    replication_key: Option<String>,
}

/// Parses a resource config of either shape (F18).
pub fn resource(config: &RawValue) -> Result<Resource> {
    let what = "a binding's resource config can't be read (it takes stream, replicationMethod and, for INCREMENTAL, replicationKey)";
    let value: Value = serde_json::from_str(config.get()).context(what)?;
    if value.get("tap_stream_id").is_some() {
        return capture_shim(&value).context(what);
    }
    let config = Config::deserialize(&value).context(what)?;
    let method = Method::named(&config.replication_method).ok_or_else(|| {
        anyhow!(
            "stream {}: replicationMethod is FULL_TABLE, INCREMENTAL or LOG_BASED, not {:?}",
            config.stream,
            config.replication_method
        )
    })?;
    let replication_key = config.replication_key.filter(|it| !it.is_empty());
    let wanted = Wanted { method, replication_key, key: Vec::new(), fields: Vec::new() };
    make(config.stream, &wanted).context(what)
}

fn make(id: String, wanted: &Wanted) -> serde_json::Result<Resource> {
    let config = serde_json::to_value(wanted)?;
    let (method, mode) = (wanted.method.name(), wanted.method.mode());
    let method = (mode == Mode::Incremental).then_some(method);
    Ok(Resource { id: stream_id(&id), path: vec![id], mode, method, config })
}

/// Reads a resource config of flow_sdk's CaptureShim: the whole catalog entry. Its id is the resource path.
fn capture_shim(value: &Value) -> serde_json::Result<Resource> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default)]
        breadcrumb: Vec<String>,
        #[serde(default)]
        metadata: Value,
    }
    let id = String::deserialize(&value["tap_stream_id"])?;
    let metadata = Option::<Vec<Metadata>>::deserialize(&value["metadata"])?.unwrap_or_default();
    let own = |name: &str, top: &str| {
        let told = metadata.iter().filter(|it| it.breadcrumb.is_empty()).find_map(|it| it.metadata[name].as_str());
        told.or(value[top].as_str()).filter(|it| !it.is_empty())
    };
    let replication_key = own("replication-key", "replication_key").map(str::to_owned);
    let method = own("forced-replication-method", "forced_replication_method")
        .or_else(|| own("replication-method", "replication_method"))
        .and_then(Method::named)
        .unwrap_or(if replication_key.is_some() { Method::Incremental } else { Method::FullTable });
    let fields = metadata
        .iter()
        .filter(|it| !it.breadcrumb.is_empty())
        .filter_map(|it| Some((it.breadcrumb.clone(), it.metadata["selected"].as_bool()?)))
        .collect();
    let key = Option::<Vec<String>>::deserialize(&value["key_properties"])?.unwrap_or_default();
    make(id, &Wanted { method, replication_key, key, fields })
}
