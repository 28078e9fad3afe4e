//! The one interface that the upstream vocabularies share. What is behind it speaks Airbyte or Singer; what is in front
//! of it (the capture, the RPCs, the preview) knows neither.

pub mod line;

use anyhow::{Error, Result, anyhow};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Failure;
use crate::json::scan::Fault;
use crate::logging::{self, Fields, Level};
use crate::process::launch::{Files, Launcher};
use crate::process::supervise::Connector;

/// A vocabulary, and what it takes to run a connector that speaks it.
pub trait Source: Send + Sync {
    /// What the protocol is called, for people.
    fn protocol(&self) -> &'static str;

    /// The schema of a resource config, and the pointers that make its resource path (F17).
    fn resource_schema(&self) -> (Value, &'static [&'static str]);

    fn spec(&self, launcher: &Launcher) -> Result<Spec>;

    /// Whether these streams can be read with this config; the failure is the user's to read.
    fn check(&self, launcher: &Launcher, config: &RawValue, resources: &[Resource]) -> Result<()>;

    fn discover(&self, launcher: &Launcher, config: &RawValue) -> Result<Vec<Stream>>;

    /// A stream as it was discovered, from its own [`Stream::declared`].
    fn stream(&self, declared: Box<RawValue>) -> Result<Stream>;

    /// Makes the discovery recommend to read a stream by this cursor field, where the stream lets it be chosen.
    fn choose_cursor(&self, stream: &mut Stream, path: &[String]);

    /// What a binding's resource config asks for. Old shapes are understood (F18).
    fn resource(&self, config: &RawValue) -> Result<Resource>;

    /// The resource config that reads a stream by full refresh; none where the stream has no such mode.
    fn full_refresh(&self, _stream: &Stream) -> Option<Value> {
        None
    }

    /// As much of a stream that no binding reads as a sync has to be told of it; mostly nothing.
    fn unselected_entry(&self, stream: &Stream) -> Option<Box<RawValue>>;

    /// Starts a sync.
    fn read(&self, launcher: &Launcher, sync: &SyncRequest) -> Result<Started>;

    /// The config as a connector left it behind, where that differs from what it was given and is to be used from now
    /// on.
    fn config_after(&self, files: &Files, given: &RawValue) -> Option<Box<RawValue>>;

    fn full_refresh_policy(&self) -> FullRefreshPolicy;

    /// Whether a full refresh that was interrupted goes on from this state, instead of beginning anew.
    fn resumes(&self, stream: &Stream, state: &RawValue, rows: Rows) -> bool;

    /// What an older wrapper left in a binding's state.
    fn legacy_cell(&self, cell: &RawValue) -> LegacyCell;

    /// States that an older wrapper left at the top of Flow's state, by the stream they belong to.
    fn legacy_state(&self, state: &serde_json::Map<String, Value>, streams: &[&StreamId]) -> LegacyState;
}

/// A sync that was started.
pub struct Started {
    pub connector: Connector,
    pub decoder: Box<dyn Decoder>,
}

/// Understands the lines of one sync, and remembers of them what it needs for the next.
pub trait Decoder: Send {
    fn decode<'a>(&'a mut self, line: &'a [u8]) -> Result<Event<'a>, Broken>;
}

/// How a protocol goes about full refreshes.
#[derive(Clone, Copy)]
pub struct FullRefreshPolicy {
    /// The state that a complete one ends with is handed back to the next one, instead of being none of its business.
    pub keeps_state: bool,
    /// A stream that is read is announced, be it empty: one that was not was passed over, and its rows are still there.
    pub announced: bool,
}

/// What tells the rows of a collection apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The source's own key: a row that comes twice is one.
    Keyed,
    /// Their row ids alone: a row that comes twice is two.
    ByRowId,
}

#[derive(Default)]
pub struct Spec {
    pub config_schema: Value,
    pub documentation_url: Option<String>,
    /// How users may sign in by OAuth, in Airbyte's words (oauth.md).
    pub advanced_auth: Option<Value>,
    /// What came before `advanced_auth`.
    pub auth_specification: Option<Value>,
}

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

/// A stream as the connector's discovery tells of it.
#[derive(Clone)]
pub struct Stream {
    pub id: StreamId,
    pub schema: Value,
    /// Paths of the key's components; empty where the source defines none.
    pub key: Vec<Vec<String>>,
    /// The resource config that discovery recommends.
    pub resource: Value,
    pub mode: Mode,
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
    /// Each sync is a sweep over everything.
    FullRefresh,
}

/// A binding's resource config, understood.
pub struct Resource {
    pub id: StreamId,
    /// Its resource path (F17).
    pub path: Vec<String>,
    pub mode: Mode,
    /// As the vocabulary needs it again to start a sync.
    pub config: Value,
}

/// All that a sync is started with.
pub struct SyncRequest<'a> {
    pub config: &'a RawValue,
    pub streams: Vec<Selected<'a>>,
    /// The [`Source::unselected_entry`]s of the streams that no binding reads.
    pub others: &'a [Box<RawValue>],
    /// What the last [`StateUpdate::shared`] was.
    pub shared_state: Option<&'a RawValue>,
}

pub struct Selected<'a> {
    pub stream: &'a Stream,
    pub resource: &'a Resource,
    pub state: Option<&'a RawValue>,
    /// It never ran before, or its backfill counter was raised: no state of its own is to be used.
    pub fresh: bool,
}

pub enum Event<'a> {
    Record(Record<'a>),
    State(StateUpdate),
    /// What the source declares of a stream, from here on; the stream is being read (S2).
    Schema(StreamSchema),
    /// Rows of the stream that were sent before its present sweep are gone (S13).
    ActivateVersion(StreamId),
    Batch(Batch),
    Log {
        level: Level,
        message: String,
        fields: Fields,
    },
    Error(SourceError),
    Status(Status),
    Estimate {
        stream: Option<StreamId>,
        rows: Option<f64>,
        bytes: Option<f64>,
    },
    /// The connector's config has changed: it is to be used from now on (A18).
    Config(Box<RawValue>),
    Noise,
}

pub struct Record<'a> {
    /// JSON strings as they stand in the line, quotes included: a hot comparison needs no unescaping.
    pub stream: &'a [u8],
    pub namespace: Option<&'a [u8]>,
    pub data: Data<'a>,
    /// What the source changed in the record's values, a JSON array (A16).
    pub changes: Option<&'a [u8]>,
}

pub struct StreamSchema {
    pub stream: StreamId,
    pub schema: Value,
    pub key: Vec<Vec<String>>,
}

/// Records in files, an object a line (S13).
pub struct Batch {
    /// As in [`Record::stream`].
    pub stream: Vec<u8>,
    pub files: Vec<PathBuf>,
    pub gzip: bool,
    /// The member that tells of a deletion.
    pub deleted_at: &'static str,
}

/// A record's payload, an object sliced out of its line.
#[derive(Clone)]
pub struct Data<'a> {
    pub bytes: &'a [u8],
    /// The value of its own `_meta`, where it has one.
    pub meta: Option<Meta>,
    /// The source tells that the row was deleted.
    pub deleted: bool,
}

#[derive(Clone)]
pub struct Meta {
    /// From the quote of its name to the end of its value.
    pub member: Range<usize>,
    pub value: Range<usize>,
}

/// A connector's state, cut where Flow's state is cut.
#[derive(Default)]
pub struct StateUpdate {
    pub streams: Vec<(StreamId, Option<Box<RawValue>>)>,
    /// What belongs to no single stream.
    pub shared: Option<Box<RawValue>>,
    /// Streams that are not named have no state any more.
    pub complete: bool,
    /// How many records the source says it sent since its last state (A15).
    pub record_count: Option<f64>,
}

#[derive(Default)]
pub struct LegacyCell {
    pub row_id: u64,
    pub state: Option<Box<RawValue>>,
}

#[derive(Default)]
pub struct LegacyState {
    pub streams: Vec<(StreamId, Box<RawValue>)>,
    pub shared: Option<Box<RawValue>>,
}

pub struct Status {
    pub stream: StreamId,
    pub phase: Phase,
    /// It will be silent for that long, and alive (A5).
    pub pause: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Started,
    Running,
    Complete,
    Incomplete,
}

/// An error that the connector reports itself (A4).
#[derive(Clone, Debug, Default)]
pub struct SourceError {
    pub message: String,
    pub stream: Option<StreamId>,
    pub fields: Fields,
}

impl SourceError {
    pub fn log(&self) {
        logging::emit(Level::Error, &self.message, self.fields.clone());
    }
}

/// Why a line can't be used.
#[derive(Debug)]
pub enum Broken {
    /// It is a message once its flaws are repaired.
    Repairable,
    /// It is no message, and carries none.
    Noise,
    /// It carries data that can't be read: to skip it would be to lose it (A1).
    Lost { stream: Option<String>, reason: String },
}

impl Broken {
    pub fn lost(stream: Option<Cow<'_, str>>, reason: impl fmt::Display) -> Self {
        Self::Lost { stream: stream.map(Cow::into_owned), reason: reason.to_string() }
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::lost(None, fault)
    }
}

/// What a connector said of its own troubles, for the one sentence at the end.
#[derive(Default)]
pub struct ErrorLog {
    errors: Vec<SourceError>,
    last_log: Option<String>,
}

impl ErrorLog {
    pub fn error(&mut self, error: SourceError) {
        error.log();
        self.errors.push(error);
    }

    pub fn log(&mut self, level: Level, message: String, fields: Fields) {
        logging::connector_line(level, &message, fields);
        if level == Level::Error {
            self.last_log = Some(message);
        }
    }

    /// The first error that the connector reported.
    pub fn reported(&self) -> Option<Error> {
        let error = self.errors.first()?;
        let sentence = match &error.stream {
            Some(stream) => format!("stream {stream}: {}", error.message),
            None => error.message.clone(),
        };
        Some(Failure { message: sentence, fields: error.fields.clone() }.into())
    }

    /// Why the connector ended with this code, as far as anybody knows.
    pub fn explain(&self, code: i32, last_stderr_error: Option<&str>) -> Error {
        if let Some(failure) = self.reported() {
            return failure;
        }
        let how = match code {
            137 => "the connector was killed by signal 9 (often: out of memory)".to_owned(),
            129.. => format!("the connector was killed by signal {}", code - 128),
            _ => format!("the connector ended with exit code {code}"),
        };
        let last = self.last_log.as_deref().or(last_stderr_error);
        // One sentence on one line: of a stack trace, the line that says most.
        match last.map(summary) {
            Some(said) if !said.is_empty() => anyhow!("{how}: {said}"),
            _ => anyhow!("{how} and said nothing of why"),
        }
    }
}

/// The line of a text that tells most: the first, or the last where the text is a Python traceback.
fn summary(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    if first.starts_with("Traceback") { lines.next_back().unwrap_or(first) } else { first }
}
