//! The pump: records from the connector's pipe into Flow's, and whatever comes between them.
//!
//! It runs on a thread of its own, over large buffers, and knows neither protocol: the source decodes a line into an
//! event that borrows from it.

use crate::error::Stopped;
use anyhow::{Error, Result, anyhow};
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tracing::{debug, warn};

use serde_json::Value;
use serde_json::value::RawValue;

use super::document::{self, Added, Op};
use super::ledger::Ledger;
use super::status::StreamStatuses;
use crate::dates::Dates;
use crate::error::Reason;
use crate::flow::response::{Output, Response, StateUpdate};
use crate::json::repair::{Repair, What};
use crate::json::scan::string_text;
use crate::process::activity::Activity;
use crate::process::supervise::Reading;
use crate::secrets;
use crate::settings::SchemaMode;
use crate::settings::streams::StreamOptions;
use crate::upstream::{self, ErrorLog, Event, Feed, FeedError, Record, Rows, StreamId};

pub struct Pump<W> {
    pub out: Output<W>,
    pub ledger: Ledger,
    pub bindings: Vec<Binding>,
    pub statuses: Arc<Mutex<StreamStatuses>>,
    pub activity: Activity,
    pub errors: ErrorLog,
    pub max_document: usize,
    /// Documents and schemas that no checkpoint has followed yet.
    pub pending: u64,
    /// Why the pump gave up.
    pub failure: Option<Error>,
    /// What the connector's output ended with, where that is no whole message.
    pub cut: Option<Error>,
    pub rotations: Rotations,
    last: LastStream,
    unknown: HashMap<StreamId, u64>,
    repaired: HashMap<(usize, Repair), u64>,
}

/// What the pump has to know of a binding.
pub struct Binding {
    pub key: Vec<String>,
    pub rows: Rows,
    /// What shim.yaml says of the stream.
    pub(super) options: StreamOptions,
    /// Where the collection has its schema from.
    pub(super) schema: SchemaMode,
    pub(super) head: Vec<u8>,
    /// Once it is known where the source declares any.
    pub(super) dates: Option<Dates>,
    /// The sourced schema that was sent last.
    pub(super) sourced: Option<Value>,
}

impl Binding {
    pub fn new(index: usize, key: Vec<String>, schema: SchemaMode, options: StreamOptions) -> Self {
        let rows = if key == ["/_meta/row_id"] { Rows::ByRowId } else { Rows::Keyed };
        Self { key, rows, options, schema, head: document::head(index), dates: None, sourced: None }
    }
}

/// The stream of the last record, as its line had it: the next record mostly has the same.
#[derive(Default)]
struct LastStream {
    stream: Vec<u8>,
    namespace: Option<Vec<u8>>,
    binding: usize,
}

/// Where new configs of the connector's go; none ends it.
pub type Rotations = watch::Sender<Option<Box<RawValue>>>;

/// What ends the pump.
pub enum PumpError {
    Failed(Error),
    Output(io::Error),
}

impl From<io::Error> for PumpError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Error> for PumpError {
    fn from(failure: Error) -> Self {
        Self::Failed(failure)
    }
}

impl<W: Write> Pump<W> {
    pub fn new(
        out: Output<W>,
        ledger: Ledger,
        bindings: Vec<Binding>,
        max_document: usize,
        rotations: Rotations,
        activity: Activity,
    ) -> Self {
        let statuses = StreamStatuses::new(ledger.cells.iter().map(|it| it.id().clone()));
        Self {
            out,
            ledger,
            bindings,
            statuses: Arc::new(Mutex::new(statuses)),
            activity,
            errors: ErrorLog::default(),
            max_document,
            pending: 0,
            failure: None,
            cut: None,
            rotations,
            last: LastStream::default(),
            unknown: HashMap::new(),
            repaired: HashMap::new(),
        }
    }

    /// Pumps until the connector's output ends.
    pub fn run(mut self, mut feed: Box<dyn Feed>) -> (Self, Reading) {
        match self.pump(&mut *feed) {
            Ok(()) => (self, Reading::Ended),
            Err(error) => {
                // Flush the complete messages that precede the failure.
                let flushed = if matches!(error, PumpError::Failed(_)) { self.out.flush() } else { Ok(()) };
                self.failure = Some(flushed.map_or_else(PumpError::from, |()| error).into());
                (self, Reading::Aborted)
            }
        }
    }

    fn pump(&mut self, feed: &mut dyn Feed) -> Result<(), PumpError> {
        loop {
            // Flush only when no more input is immediately available.
            if !feed.ready() && !self.out.is_empty() {
                self.out.flush()?;
            }
            match feed.next() {
                Ok(Some(Event::Record(record))) => self.record(record)?,
                Ok(Some(event)) => self.event(event)?,
                Ok(None) => return Ok(self.out.flush()?),
                Err(FeedError::Truncated(error)) => self.cut = Some(error),
                Err(FeedError::Failed(error)) => return Err(error.into()),
            }
        }
    }

    #[inline]
    pub(super) fn record(&mut self, record: Record) -> Result<(), PumpError> {
        let Some(index) = self.binding_of(&record) else { return Ok(()) };
        record.repairs.iter().for_each(|it| self.note_repaired(index, it));
        let binding = &mut self.bindings[index];
        let row_id = self.ledger.next_row(index);
        let op = match record.data.deleted {
            true => Op::Delete,
            false if binding.rows == Rows::ByRowId && row_id > self.ledger.cells[index].high_row_id => Op::Create,
            false => Op::Update,
        };
        let added = Added { row_id, op, changes: record.changes };
        let normalized = binding.dates.as_mut().and_then(|it| document::normalize(&record.data, it));
        let data = normalized.as_ref().unwrap_or(&record.data);
        let size = document::size(&binding.head, &added, data);
        if size > self.max_document {
            return Err(self.too_large(index, &record, size).into());
        }
        self.pending += 1;
        Ok(document::write(&mut self.out, &binding.head, &added, data)?)
    }

    /// The binding of a record; none where the stream is not bound.
    #[inline]
    fn binding_of(&mut self, record: &Record) -> Option<usize> {
        let last = &self.last;
        if last.stream == record.stream && last.namespace.as_deref() == record.namespace {
            return Some(last.binding);
        }
        self.look_up(record)
    }

    #[cold]
    fn look_up(&mut self, record: &Record) -> Option<usize> {
        let name = string_text(record.stream).into_owned();
        let id = StreamId { namespace: record.namespace.map(|it| string_text(it).into_owned()), name };
        match self.ledger.index_of(&id) {
            Some(binding) => {
                let namespace = record.namespace.map(<[u8]>::to_vec);
                self.last = LastStream { stream: record.stream.to_vec(), namespace, binding };
                Some(binding)
            }
            None => {
                if !self.unknown.contains_key(&id) {
                    warn!("the connector sends records of stream {id}, which has no binding: they are ignored");
                }
                *self.unknown.entry(id).or_default() += 1;
                None
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), PumpError> {
        match event {
            Event::Record(record) => self.record(record)?,
            Event::State(update) => self.state(update)?,
            Event::Schema(it) => self.announced(it)?,
            Event::ActivateVersion(stream) => self.activate_version(&stream),
            Event::Batch(batch) => self.batch(&batch)?,
            Event::Log { level, message, fields } => self.errors.log(level, message, fields),
            Event::Error(error) => self.errors.error(error),
            Event::Status(status) => self.status(status)?,
            Event::Estimate { stream, rows, bytes } => self.estimate(stream, rows, bytes),
            Event::Config(config) => {
                secrets::redact_config(&config, None);
                // Nobody takes it where the capture is at its end: so be it.
                self.rotations.send_replace(Some(config));
            }
            Event::Noise => {}
        }
        Ok(())
    }

    fn state(&mut self, update: upstream::StateUpdate) -> Result<(), PumpError> {
        self.compare_counts(&update);
        for id in self.ledger.update(update) {
            debug!("the connector sends a state of stream {id}, which has no binding: it is ignored");
        }
        self.checkpoint()
    }

    /// A15: a source that counts its records counts what we have seen.
    fn compare_counts(&mut self, update: &upstream::StateUpdate) {
        let indices: Vec<usize> = match update.complete {
            true => (0..self.bindings.len()).collect(),
            false => update.streams.iter().filter_map(|(id, _)| self.ledger.index_of(id)).collect(),
        };
        let seen: u64 = indices.into_iter().map(|index| self.ledger.count_records(index)).sum();
        let Some(told) = update.record_count else { return };
        if told != seen as f64 {
            let name = update.streams.first().map_or("all streams".to_owned(), |(id, _)| format!("stream {id}"));
            warn!("{name}: the connector counts {told} records since its last state, {seen} have arrived");
        }
    }

    /// Commits what was sent so far (F8).
    pub fn checkpoint(&mut self) -> Result<(), PumpError> {
        if self.pending == 0 && !self.ledger.is_dirty() {
            return Ok(());
        }
        let patch = self.ledger.patch()?;
        self.out.send(&Response::Checkpoint { state: StateUpdate { updated: &patch, merge_patch: true } })?;
        self.pending = 0;
        Ok(())
    }

    #[cold]
    fn note_repaired(&mut self, index: usize, repaired: &Repair) {
        let id = self.ledger.cells[index].id();
        let field = field_in_record(&repaired.field);
        let what = match repaired.what {
            What::NotANumber => "NaN or Infinity, which JSON does not have: it becomes null",
            What::Text => "text that is no Unicode (a lone surrogate or invalid UTF-8): that part becomes U+FFFD",
            What::Control => "a raw control character: it is escaped",
        };
        let message = format!("stream {id}: {field} holds {what}");
        let count = self.repaired.entry((index, repaired.clone())).or_default();
        if *count == 0 {
            warn!("{}", message);
        }
        *count += 1;
    }

    #[cold]
    fn too_large(&self, index: usize, record: &Record, size: usize) -> Error {
        let id = self.ledger.cells[index].id();
        let key = key_text(&self.bindings[index].key, record.data.bytes);
        anyhow!(
            "stream {id}: a document of {size} bytes exceeds the {} that one may have{key}; raise maxDocument in shim.yaml (Flow takes up to 64MiB) or leave the row out at the source",
            self.max_document
        )
    }

    /// Says how often it happened what was warned of once.
    pub fn summarize(&self) {
        for (id, count) in &self.unknown {
            warn!("{count} records of stream {id}, which has no binding, were ignored");
        }
        for ((index, repaired), count) in &self.repaired {
            let field = field_in_record(&repaired.field);
            warn!("stream {}: {field} was repaired in {count} records", self.ledger.cells[*index].id());
        }
    }

    /// The sync has ended well: sweeps are complete, and all that was sent is committed.
    pub fn finish(&mut self) -> Result<()> {
        self.finish_or_halt().map_err(Error::from)
    }

    fn finish_or_halt(&mut self) -> Result<(), PumpError> {
        for index in 0..self.bindings.len() {
            let complete = {
                let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
                !statuses.has_statuses || statuses.is_complete(index)
            };
            if complete && self.ledger.was_complete(index) {
                self.complete_full_refresh(index)?;
            }
        }
        self.checkpoint()?;
        Ok(self.out.flush()?)
    }
}

impl From<PumpError> for Error {
    fn from(halt: PumpError) -> Self {
        match halt {
            PumpError::Failed(failure) => failure,
            PumpError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Stopped(Reason::OutputClosed).into()
            }
            PumpError::Output(error) => Self::new(error).context("can't write to the runtime"),
        }
    }
}

/// Where in a record a place in a message is, in either protocol.
fn field_in_record(field: &str) -> &str {
    field.strip_prefix("/record/data").or(field.strip_prefix("/record")).unwrap_or(field)
}

/// The key of a document, for a message: ` (key {"/id":5})`.
fn key_text(key: &[String], data: &[u8]) -> String {
    let Ok(document) = serde_json::from_slice::<HashMap<String, &RawValue>>(data) else { return String::new() };
    let part = |pointer: &String| {
        let name = pointer.strip_prefix('/')?.replace("~1", "/").replace("~0", "~");
        let value: String = document.get(&name)?.get().chars().take(100).collect();
        Some(format!("{pointer} = {value}"))
    };
    match key.iter().filter_map(part).collect::<Vec<_>>() {
        parts if parts.is_empty() => String::new(),
        parts => format!(" (key: {})", parts.join(", ")),
    }
}
