//! What a capture makes of messages that are known already: the worker and the committer of a capture, without a process of
//! the connector.

use anyhow::{Context, Error, Result, anyhow};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::begin;
use super::bound_stream::BoundStream;
use super::committer::Committer;
use super::ledger::{Entry, Ledger, Stored};
use super::record_key::RecordKey;
use super::worker::Worker;
use crate::flow::codec::{LONGEST_MESSAGE, Writer};
use crate::flow::response::DiscoveredBinding;
use crate::json::merge::merge;
use crate::json::watch::Watchlist;
use crate::process::activity::Activity;
use crate::settings::SchemaMode;
use crate::settings::streams::StreamOptions;
use crate::upstream::{Feed, Stream, Upstream};

/// What Flow would have of the messages.
#[derive(Default)]
pub struct Replayed {
    pub documents: Vec<Box<RawValue>>,
    /// The schema that Flow's inference starts from.
    pub sourced_schema: Value,
    /// The state that Flow keeps.
    pub state: Value,
    /// Why the capture would have ended before the last message.
    pub failure: Option<Error>,
}

/// Captures the messages of one stream, bound to the collection that discovery recommends.
pub fn replay(
    upstream: &dyn Upstream,
    stream: &Stream,
    binding: &DiscoveredBinding,
    messages: Box<dyn Feed>,
) -> Result<Replayed> {
    let resource = upstream.resource(&to_raw_value(&binding.resource_config)?)?;
    let write_schema = to_raw_value(&binding.document_schema)?;
    let mut watched = Watchlist::default();
    let record_key = RecordKey::new(&binding.key, &mut watched, Some(&write_schema));
    let (id, mode, options) = (resource.id.clone(), resource.mode, StreamOptions::default());
    let bound = BoundStream::new(id, mode, &binding.key, record_key, SchemaMode::Inferred, options);
    let state_key = &stream.id.to_string();
    let (method, rows) = (resource.method, bound.rows);
    let entry = Entry { state_key, mode, method, rows, truncates: false, stream };
    let ledger = Ledger::open(Stored::parse(None)?, &[entry], upstream)?;
    let committer = Committer::new(Writer::new(Vec::new()), ledger, vec![0]);
    let mut worker = Worker::new(committer, vec![bound], watched, LONGEST_MESSAGE, Activity::default());
    begin(&mut worker, std::slice::from_ref(stream))?;
    let (mut worker, _) = worker.run(messages);
    let failure = worker.failure.take();
    let mut replayed = Replayed { failure, ..Replayed::default() };
    if replayed.failure.is_none() {
        worker.segments.finish(std::iter::empty())?;
    }
    let output = worker.segments.into_output().unwrap_or_default();
    for line in output.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
        match serde_json::from_slice(line).context("bug in flow-shim: invalid response")? {
            Response::Captured { doc } => replayed.documents.push(doc),
            Response::SourcedSchema { document_schema } => replayed.sourced_schema = document_schema,
            Response::Checkpoint { state } => merge(&mut replayed.state, state.updated),
        }
    }
    if replayed.failure.is_none() && replayed.sourced_schema.is_null() {
        return Err(anyhow!("bug in flow-shim: no schema was sent"));
    }
    Ok(replayed)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Response {
    Captured {
        doc: Box<RawValue>,
    },
    #[serde(rename_all = "camelCase")]
    SourcedSchema {
        document_schema: Value,
    },
    Checkpoint {
        state: State,
    },
}

#[derive(Deserialize)]
struct State {
    updated: Value,
}
