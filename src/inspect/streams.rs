//! The streams of a connector as the shim presents them to Flow.

use serde::Serialize;
use serde_json::Value;

use super::Rewrite;
use crate::schema::{self, DateFormats};
use crate::serve;
use crate::settings::SchemaMode;
use crate::settings::streams::StreamRules;
use crate::upstream;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// The recommended collection name.
    pub recommended_name: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub key: Vec<String>,
    /// Why the key is the row id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_source_key: Option<String>,
    pub is_fallback_key: bool,
    /// Disabled by default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable: bool,
    /// `incremental` or `fullRefresh`: the mode of the recommended resource config.
    pub mode: &'static str,
    /// The supported modes in the protocol's terms, the recommended one first.
    pub sync_modes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    pub(crate) rewritten: Vec<Rewrite>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    pub streams: usize,
    pub incremental: usize,
    pub full_refresh: usize,
    pub with_source_key: usize,
    pub with_row_id: usize,
    /// The number of streams with changed schemas, and of changes.
    pub rewritten_streams: usize,
    pub rewrites: usize,
}

pub fn describe(streams: Vec<upstream::Stream>, rules: &StreamRules) -> Vec<Stream> {
    let bindings = serve::discovered(streams.clone(), rules);
    streams
        .into_iter()
        .zip(bindings)
        .map(|(stream, binding)| {
            let key = schema::key(&stream.schema, &stream.key);
            let no_source_key = match &key {
                Err(_) if stream.key.is_empty() => Some("the source declares no key".to_owned()),
                Err(problem) => Some(problem.to_string()),
                Ok(_) => None,
            };
            let key = key.unwrap_or_else(|_| schema::Key::row_id());
            let changes = match rules.schema {
                SchemaMode::Inferred => schema::sourced(&stream.schema, &key, DateFormats::Kept).changes,
                SchemaMode::Declared => schema::write_declared(&stream.schema, &key).changes,
            };
            Stream {
                recommended_name: binding.recommended_name,
                name: stream.id.name,
                namespace: stream.id.namespace,
                key: binding.key,
                no_source_key,
                is_fallback_key: binding.is_fallback_key,
                disable: binding.disable,
                mode: match stream.mode {
                    upstream::Mode::Incremental => "incremental",
                    upstream::Mode::FullRefresh => "fullRefresh",
                },
                sync_modes: recommended_first(stream.modes, &stream.resource),
                cursor: stream.cursor,
                rewritten: changes.iter().map(Rewrite::from).collect(),
            }
        })
        .collect()
}

fn recommended_first(mut modes: Vec<String>, resource: &Value) -> Vec<String> {
    let chosen = |mode: &String| resource.as_object().is_some_and(|it| it.values().any(|value| value == mode));
    modes.sort_by_key(|it| !chosen(it));
    modes
}

impl Totals {
    pub fn of(streams: &[Stream]) -> Self {
        let count = |wanted: fn(&Stream) -> bool| streams.iter().filter(|it| wanted(it)).count();
        Self {
            streams: streams.len(),
            incremental: count(|it| it.mode == "incremental"),
            full_refresh: count(|it| it.mode != "incremental"),
            with_source_key: count(|it| it.no_source_key.is_none()),
            with_row_id: count(|it| it.no_source_key.is_some()),
            rewritten_streams: count(|it| !it.rewritten.is_empty()),
            rewrites: streams.iter().map(|it| it.rewritten.len()).sum(),
        }
    }
}
