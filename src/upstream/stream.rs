//! Streams: who they are, what a discovery says about them, what a binding asks for, and what a sync is started with.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::process::activity::Activity;

/// A stream is a name in a namespace; an empty namespace is not an absent one (A13).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub namespace: Option<String>,
    pub name: String,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_deref() {
            None | Some("") => f.write_str(&self.name),
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// A stream as the connector's discovery describes it.
#[derive(Clone)]
pub struct Stream {
    pub id: StreamId,
    pub schema: Value,
    /// Paths of the key's components; empty where the source defines none.
    pub key: Vec<Vec<String>>,
    /// The resource config that discovery recommends.
    pub resource: Value,
    pub mode: Mode,
    /// A record may have only the columns that have changed: Flow has to merge it into its row.
    pub partial: bool,
    /// For people: the modes that it supports, in the protocol's own words, and its cursor field.
    pub modes: Vec<String>,
    pub cursor: Option<String>,
    /// The discovered object itself, all fields included (A10).
    pub declared: Box<RawValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each sync continues where the last one ended.
    Incremental,
    /// Each sync is a full refresh.
    FullRefresh,
}

/// A parsed resource config.
pub struct Resource {
    pub id: StreamId,
    /// Its resource path (F17).
    pub path: Vec<String>,
    pub mode: Mode,
    /// How the stream is replicated, if there are several incremental ways: a state that one of them left is of no use to
    /// another.
    pub method: Option<&'static str>,
    /// What the protocol needs to start a sync.
    pub config: Value,
}

/// How a collection tells its rows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// By the source's own key: a row that is read twice is one document.
    Keyed,
    /// By their row ids: a row that is read twice is two documents.
    ByRowId,
}

/// How a protocol goes about full refreshes.
#[derive(Clone, Copy)]
pub struct FullRefreshPolicy {
    /// The final state of a completed full refresh is passed to the next sync instead of being dropped.
    pub keeps_state: bool,
    /// Streams are announced (SCHEMA) before their records; an unannounced stream was skipped and keeps its rows.
    pub announced: bool,
    /// The source says when all rows of a stream are gone, also where it is read incrementally ([`super::Event::Truncate`]).
    pub truncates: bool,
}

/// A connector's answer to `spec`.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    pub config_schema: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation_url: Option<String>,
    /// How users sign in by OAuth, as Airbyte declares it (docs/oauth.md).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advanced_auth: Option<Value>,
    /// The predecessor of `advanced_auth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_specification: Option<Value>,
    /// The options of the connector's command line, where a sync depends on them; only in a baked spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<String>>,
}

/// Everything that a sync is started with.
pub struct SyncRequest<'a> {
    pub config: &'a RawValue,
    pub streams: Vec<Selected<'a>>,
    /// The [`super::Discovery::unselected_entry`] of each stream that no binding reads.
    pub others: &'a [Box<RawValue>],
    /// The last [`super::StateUpdate::shared`].
    pub shared_state: Option<&'a RawValue>,
    /// The connector's spec, if that takes no start of the connector.
    pub spec: Option<&'a Spec>,
    /// Where the feed reports that it waits for the connector.
    pub activity: Activity,
}

pub struct Selected<'a> {
    pub stream: &'a Stream,
    pub resource: &'a Resource,
    pub state: Option<&'a RawValue>,
    /// The binding never ran before, or its backfill counter was raised: no state applies to it.
    pub fresh: bool,
}

/// What airbyte-to-flow or CaptureShim kept in a binding's cell.
#[derive(Default)]
pub struct LegacyCell {
    pub row_id: u64,
    pub state: Option<Box<RawValue>>,
}

/// What airbyte-to-flow or CaptureShim kept at the top of Flow's state.
#[derive(Default)]
pub struct LegacyState {
    pub streams: Vec<(StreamId, Box<RawValue>)>,
    pub shared: Option<Box<RawValue>>,
}
