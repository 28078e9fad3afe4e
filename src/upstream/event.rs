//! Events: what a connector tells during a sync, whatever its protocol.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use super::line::DeletionMark;
use super::stream::StreamId;
use crate::json::repair::Repair;
use crate::json::scan::Fault;
use crate::json::watch::Found;
use crate::logging::{self, Fields, Level};

pub enum Event<'a> {
    Record(Record<'a>),
    State(StateUpdate),
    /// What the source declares about a stream from here on; the stream is being read (S2).
    Schema(StreamSchema),
    /// Rows of the stream that were sent before its present full refresh are gone (S13).
    ActivateVersion(StreamId),
    /// All rows of the stream that were sent before are gone, those of earlier syncs included (V15).
    Truncate(StreamId),
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
    /// The connector's config has changed; the new one applies immediately (A18).
    Config(Box<RawValue>),
    /// A line that is not a message.
    Line(&'a [u8]),
    /// Nothing that concerns the capture.
    Noise,
}

pub struct Record<'a> {
    /// JSON strings as they stand in the line, quotes included: comparing them needs no unescaping.
    pub stream: &'a [u8],
    pub namespace: Option<&'a [u8]>,
    pub data: Payload<'a>,
    /// What the source changed in the record's values, a JSON array (A16).
    pub changes: Option<&'a [u8]>,
    /// The description of a file that the source transfers, a JSON object (A14).
    pub file: Option<&'a [u8]>,
    /// Where the payload has the watched members ([`super::Feed::watch`]).
    pub found: &'a Found,
    /// What the feed had to repair before the record was JSON; almost always empty.
    pub repairs: &'a [Repair],
}

/// A record's payload, an object sliced out of its line.
#[derive(Clone)]
pub struct Payload<'a> {
    pub bytes: &'a [u8],
    /// It has a `_meta` of its own, perhaps more than one.
    pub has_meta: bool,
    /// The source says that the row was deleted.
    pub deleted: bool,
}

pub struct StreamSchema {
    pub stream: StreamId,
    pub schema: Value,
    pub key: Vec<Vec<String>>,
}

/// Records in files, one object per line (S13).
pub struct Batch {
    /// As in [`Record::stream`].
    pub stream: Vec<u8>,
    pub files: Vec<PathBuf>,
    pub gzip: bool,
    pub deletion: DeletionMark,
}

/// A connector's state, split the way Flow's state is split.
#[derive(Default)]
pub struct StateUpdate {
    pub streams: Vec<(StreamId, Option<Box<RawValue>>)>,
    /// What belongs to no single stream.
    pub shared: Option<Box<RawValue>>,
    /// Streams that are not named have no state any more.
    pub complete: bool,
    /// It is one state for all streams ([`super::Protocol::is_divisible`]).
    pub indivisible: bool,
    /// How many records the source says it sent since its last state (A15).
    pub record_count: Option<f64>,
}

pub struct Status {
    pub stream: StreamId,
    pub phase: Phase,
    /// How long the stream will be silent although the connector is alive (A5).
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
    /// It becomes a message once its flaws are repaired.
    Repairable,
    /// It is not a message and carries no data.
    Noise,
    /// It carries data that can't be read: skipping it would lose that data (A1).
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
