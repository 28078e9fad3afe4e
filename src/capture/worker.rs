//! A worker reads one feed into segments: documents and schemas, closed by the state that covers them.
//!
//! It runs on a thread of its own. It knows neither the protocol of the connector nor how documents are framed or states
//! are kept: those are the feed's and [`Segments`]'s business.

use std::io;

use anyhow::{Error, anyhow};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::CaptureError;
use super::bound_stream::BoundStream;
use super::document::{self, Added};
use super::ledger::BindingStates;
use super::oddities::Oddities;
use super::stream_names::{Meant, StreamNames, id_of};
use super::stream_statuses::StreamStatuses;
use crate::json::hints::Hints;
use crate::json::pointer;
use crate::json::watch::Watchlist;
use crate::logging::{self, Level};
use crate::process::activity::Activity;
use crate::process::supervise::Reading;
use crate::secrets;
use crate::upstream::{
    ErrorLog, Event, Feed, FeedError, Mode, Payload, Phase, Record, StateUpdate, Status, StreamId, StreamSchema,
};

/// Where a worker's segments go.
pub trait Segments {
    fn document(&mut self, binding: usize, added: &Added, payload: &Payload) -> io::Result<()>;

    fn sourced_schema(&mut self, binding: usize, schema: &Value) -> io::Result<()>;

    /// The source says that it reads the stream.
    fn announced(&mut self, binding: usize);

    /// Rows of older versions are gone. Whether there are any.
    fn activated_version(&mut self, binding: usize) -> bool;

    /// All rows that the source sent before are gone. Whether they go in Flow, too.
    fn truncated(&mut self, binding: usize) -> Result<bool, CaptureError>;

    /// A full refresh has read everything.
    fn full_refresh_completed(&mut self, binding: usize) -> Result<(), CaptureError>;

    /// How many documents of a binding there were since this was last asked.
    fn count_records(&mut self, binding: usize) -> u64;

    /// How many documents of the source there were in this session.
    fn rows(&mut self) -> u64;

    /// The state that covers everything before it.
    fn close(&mut self, states: BindingStates) -> Result<(), CaptureError>;

    /// Sends what is held back for the sake of large writes.
    fn flush(&mut self) -> io::Result<()>;
}

/// Where rotated configs go. Only the newest counts: each replaces the one before.
pub type Rotations = watch::Sender<Option<Box<RawValue>>>;

/// A process that was given some of the streams sends a state of all.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connector keeps one state for all its streams")]
pub struct OneState;

pub struct Worker<S> {
    pub segments: S,
    pub statuses: StreamStatuses,
    pub activity: Activity,
    pub rotations: Rotations,
    pub errors: ErrorLog,
    /// Why the worker gave up.
    pub failure: Option<Error>,
    /// Why the last message is incomplete.
    pub truncated: Option<Error>,
    pub(super) streams: Vec<BoundStream>,
    names: StreamNames,
    max_document: usize,
    /// The members that the capture has to see in each record: keys and dates.
    watched: Watchlist,
    /// Scans the records of BATCH files.
    pub(super) hints: Hints,
    oddities: Oddities,
    /// It reads some of the capture's streams; other processes read the others.
    is_share: bool,
}

impl<S: Segments> Worker<S> {
    pub fn new(
        segments: S,
        streams: Vec<BoundStream>,
        watched: Watchlist,
        max_document: usize,
        activity: Activity,
    ) -> Self {
        let statuses = StreamStatuses::new(streams.iter().map(|it| it.id.clone()), Timestamp::now());
        Self {
            segments,
            statuses,
            activity,
            rotations: watch::Sender::new(None),
            errors: ErrorLog::default(),
            failure: None,
            truncated: None,
            names: StreamNames::new(streams.iter().map(|it| it.id.clone())),
            streams,
            max_document,
            watched,
            hints: Hints::default(),
            oddities: Oddities::default(),
            is_share: false,
        }
    }

    /// Workers that each read some of the streams, into segments of their own.
    pub fn divide(
        self,
        shares: &[Vec<usize>],
        segments: impl FnOnce(S) -> io::Result<Vec<S>>,
    ) -> io::Result<Vec<Self>> {
        let mut streams: Vec<Option<BoundStream>> = self.streams.into_iter().map(Some).collect();
        let streams_of: Vec<Vec<BoundStream>> =
            shares.iter().map(|share| share.iter().filter_map(|&it| streams.get_mut(it)?.take()).collect()).collect();
        let ids = streams_of.iter().map(|them| them.iter().map(|it| it.id.clone()).collect()).collect();
        let statuses = StreamStatuses::of(ids, Timestamp::now());
        let (rotations, watched, max_document) = (self.rotations, self.watched, self.max_document);
        let worker = |((segments, streams), statuses): ((S, Vec<BoundStream>), StreamStatuses)| Self {
            statuses,
            rotations: rotations.clone(),
            is_share: true,
            ..Self::new(segments, streams, watched.clone(), max_document, Activity::default())
        };
        Ok(segments(self.segments)?.into_iter().zip(streams_of).zip(statuses).map(worker).collect())
    }

    /// Reads the feed to its end.
    pub fn run(mut self, mut feed: Box<dyn Feed>) -> (Self, Reading) {
        match self.read(&mut *feed) {
            Ok(()) => (self, Reading::Ended),
            Err(error) => {
                // Flush the complete messages that precede the failure.
                let flushed = if matches!(error, CaptureError::Failed(_)) { self.segments.flush() } else { Ok(()) };
                self.failure = Some(flushed.map_or_else(CaptureError::from, |()| error).into());
                (self, Reading::Aborted)
            }
        }
    }

    fn read(&mut self, feed: &mut dyn Feed) -> Result<(), CaptureError> {
        let mut watched = 0;
        loop {
            // A schema may declare dates under new names.
            if self.watched.len() != watched {
                watched = self.watched.len();
                self.hints.watch(self.watched.clone());
                feed.watch(&self.watched);
            }
            let next = feed.next(&mut || self.idle());
            match next {
                Ok(Some(Event::Record(record))) => self.record(&record)?,
                Ok(Some(event)) => self.event(event)?,
                Ok(None) => return Ok(self.segments.flush()?),
                Err(FeedError::Truncated(error)) => self.truncated = Some(error),
                Err(FeedError::Failed(error)) => return Err(error.into()),
                Err(FeedError::Idle(error)) => return Err(error.into()),
            }
        }
    }

    /// Called when no more input is immediately available: what is held back for large writes is sent.
    fn idle(&mut self) -> io::Result<()> {
        self.count_rows();
        self.segments.flush()
    }

    /// Brings the status's number of rows up to date.
    fn count_rows(&mut self) {
        let rows = self.segments.rows();
        self.statuses.rows(rows);
    }

    #[inline]
    pub(super) fn record(&mut self, record: &Record) -> Result<(), CaptureError> {
        let index = match self.names.last(record) {
            Some(index) => index,
            None => match self.find(record)? {
                Some(index) => index,
                None => return Ok(()),
            },
        };
        if !record.repairs.is_empty() || record.file.is_some() {
            self.note(index, record);
        }
        let stream = &mut self.streams[index];
        if !stream.record_key.is_in(record.data.bytes, record.found) {
            return Err(self.without_key(index, record).into());
        }
        let added = Added { changes: record.changes, file: record.file };
        let normalized = stream.dates.as_mut().and_then(|it| document::normalize(&record.data, record.found, it));
        let payload = normalized.as_ref().unwrap_or(&record.data);
        let size = document::size(&added, payload);
        if size > self.max_document {
            return Err(self.too_large(index, record, size).into());
        }
        Ok(self.segments.document(index, &added, payload)?)
    }

    /// The binding of a record whose stream is another one than the last record's; `None` if it has no binding.
    #[cold]
    fn find(&mut self, record: &Record) -> Result<Option<usize>, CaptureError> {
        let id = id_of(record);
        match self.names.resolve(&id)? {
            Meant::Binding { index, without_namespace } => {
                self.names.remember(record, index);
                let stream = &mut self.streams[index];
                (stream.heard, stream.read) = (true, true);
                stream.miscounted |= without_namespace;
                Ok(Some(index))
            }
            Meant::Unbound => {
                self.oddities.count_unbound(id);
                Ok(None)
            }
        }
    }

    #[cold]
    fn note(&mut self, index: usize, record: &Record) {
        let stream = &mut self.streams[index];
        record.repairs.iter().for_each(|it| self.oddities.count_repaired(&stream.id, it));
        if record.file.is_some() && !std::mem::replace(&mut stream.warned.file, true) {
            let _stream = logging::stream_span(&stream.id);
            warn!(
                "stream {}: the connector transfers files: their descriptions are captured (/_meta/file), the files themselves are not",
                stream.id
            );
        }
    }

    fn event(&mut self, event: Event) -> Result<(), CaptureError> {
        match event {
            Event::Record(record) => self.record(&record)?,
            Event::State(update) => self.state(update)?,
            Event::Schema(it) => self.schema(it)?,
            Event::ActivateVersion(stream) => self.activate_version(&stream)?,
            Event::Truncate(stream) => self.truncate(&stream)?,
            Event::Batch(batch) => self.batch(&batch)?,
            Event::Log { level, message, fields } => self.errors.log(level, message, fields),
            Event::Error(mut error) => {
                if let Some(id) = &error.stream
                    && let Ok(Some(index)) = self.names.binding_of(id)
                {
                    error.stream = Some(self.streams[index].id.clone());
                }
                self.errors.error(error);
            }
            Event::Status(status) => self.status(&status)?,
            Event::Estimate { stream, rows, bytes } => self.estimate(stream.as_ref(), rows, bytes),
            Event::Config(config) => {
                secrets::redact_config(&config, None);
                self.rotations.send_replace(Some(config));
            }
            Event::Line(line) => self.errors.line(line),
            Event::Noise => {}
        }
        Ok(())
    }

    fn state(&mut self, update: StateUpdate) -> Result<(), CaptureError> {
        if update.indivisible && self.is_share {
            return Err(Error::from(OneState).into());
        }
        let mut streams = Vec::with_capacity(update.streams.len());
        for (id, state) in update.streams {
            match self.names.resolve(&id)? {
                Meant::Binding { index, .. } => {
                    self.streams[index].heard = true;
                    streams.push((index, state));
                }
                Meant::Unbound => {
                    debug!("the connector sends a state of stream {id}, which has no binding: it is ignored");
                }
            }
        }
        let indices: Vec<usize> = match update.complete {
            true => (0..self.streams.len()).collect(),
            false => streams.iter().map(|(index, _)| *index).collect(),
        };
        self.compare_counts(&indices, update.record_count);
        self.segments.close(BindingStates { streams, shared: update.shared, complete: update.complete })?;
        self.count_rows();
        Ok(())
    }

    /// Warns once per stream if the source counts other records than have arrived (A15). A source that leaves the
    /// namespace out of records counts none of them.
    fn compare_counts(&mut self, indices: &[usize], told: Option<f64>) {
        let seen: u64 = indices.iter().map(|&index| self.segments.count_records(index)).sum();
        let Some(told) = told.filter(|it| *it != seen as f64) else { return };
        let Some(&first) = indices.first() else { return };
        if indices.iter().any(|&it| self.streams[it].miscounted)
            || std::mem::replace(&mut self.streams[first].warned.count, true)
        {
            return;
        }
        let name =
            if indices.len() > 1 { "all streams".to_owned() } else { format!("stream {}", self.streams[first].id) };
        warn!("{name}: the connector counts {told} records since its last state, {seen} have arrived");
    }

    /// The source begins to read a stream, and says what its records look like from here on.
    fn schema(&mut self, it: StreamSchema) -> Result<(), CaptureError> {
        let Some(index) = self.names.binding_of(&it.stream)? else { return Ok(()) };
        let _stream = logging::stream_span(&it.stream);
        let stream = &mut self.streams[index];
        (stream.heard, stream.read) = (true, true);
        self.segments.announced(index);
        if let Some(schema) = stream.announced(it, &mut self.watched) {
            self.segments.sourced_schema(index, schema)?;
        }
        Ok(())
    }

    /// Sends the discovered schema of a stream.
    pub fn declare(&mut self, index: usize, schema: &Value, key: &[Vec<String>]) -> Result<(), CaptureError> {
        let _stream = logging::stream_span(&self.streams[index].id);
        if let Some(schema) = self.streams[index].declared(schema, key, &mut self.watched) {
            self.segments.sourced_schema(index, schema)?;
        }
        Ok(())
    }

    /// Rows missing from a completed full refresh were deleted; only collections keyed by row id can tell which.
    fn activate_version(&mut self, id: &StreamId) -> Result<(), CaptureError> {
        let Some(index) = self.names.binding_of(id)? else { return Ok(()) };
        let _stream = logging::stream_span(id);
        let has_older = self.segments.activated_version(index);
        if self.streams[index].is_keyed() && has_older {
            info!(
                "stream {id} was read completely again: rows that were deleted at the source stay in the collection, as nothing tells which they are (raise the binding's backfill counter, or key the collection by /_meta/row_id, to remove them)"
            );
        }
        Ok(())
    }

    /// Nothing tells which rows are gone.
    fn truncate(&mut self, id: &StreamId) -> Result<(), CaptureError> {
        let Some(index) = self.names.binding_of(id)? else { return Ok(()) };
        let _stream = logging::stream_span(id);
        (self.streams[index].heard, self.streams[index].read) = (true, true);
        if !self.segments.truncated(index)? && !std::mem::replace(&mut self.streams[index].warned.truncate, true) {
            warn!(
                "stream {id}: the connector truncates the table: rows from before stay in the collection, as nothing tells which they are (`fullRefresh: truncate` in shim.yaml has Flow drop them)"
            );
        }
        Ok(())
    }

    fn status(&mut self, status: &Status) -> Result<(), CaptureError> {
        if let Some(pause) = status.pause {
            self.activity.touch_until(pause);
        }
        let Some(index) = self.names.binding_of(&status.stream)? else { return Ok(()) };
        let _stream = logging::stream_span(&status.stream);
        debug!("{}", format!("stream {} is {:?}", status.stream, status.phase).to_lowercase());
        self.streams[index].heard = true;
        // A time too far away to be one is not shown.
        let now = Timestamp::now();
        let pause = status.pause.and_then(|it| SignedDuration::try_from(it).ok());
        let waits_until = pause.and_then(|it| now.checked_add(it).ok());
        self.statuses.phase(index, status.phase, waits_until);
        self.statuses.show(now);
        let is_complete = status.phase == Phase::Complete && self.statuses.is_complete(index);
        if is_complete && self.streams[index].mode == Mode::FullRefresh {
            self.segments.full_refresh_completed(index)?;
        }
        Ok(())
    }

    /// Only for people, so an ambiguous name is ignored.
    fn estimate(&mut self, stream: Option<&StreamId>, rows: Option<f64>, bytes: Option<f64>) {
        let Some(id) = stream else { return };
        let Ok(Some(index)) = self.names.binding_of(id) else { return };
        let number = |it: Option<f64>| it.map_or(Value::Null, |it| (it as u64).into());
        let fields =
            logging::fields([("stream", id.to_string().into()), ("rows", number(rows)), ("bytes", number(bytes))]);
        logging::event(Level::Debug, "estimate", &format!("the connector estimates the size of stream {id}"), fields);
        if let Some(rows) = rows {
            self.statuses.estimate(index, rows);
            self.statuses.show(Timestamp::now());
        }
    }

    #[cold]
    fn without_key(&self, index: usize, record: &Record) -> Error {
        let stream = &self.streams[index];
        let (id, name) = (&stream.id, &stream.id.name);
        let problem = stream.record_key.problem(record.data.bytes, record.found);
        anyhow!(
            "stream {id}: Flow can't take a record, because {problem}; choose another key or the row id in shim.yaml (`streams: {{{name:?}: {{key: []}}}}`), discover again and backfill the binding"
        )
    }

    #[cold]
    fn too_large(&self, index: usize, record: &Record, size: usize) -> Error {
        let stream = &self.streams[index];
        let key = key_text(stream.key(), record.data.bytes);
        anyhow!(
            "stream {}: a document of {size} bytes exceeds the limit of {}{key}; raise maxDocument in shim.yaml (Flow takes up to 64MiB) or exclude the row at the source",
            stream.id,
            self.max_document
        )
    }

    /// Logs how often each warning that was printed only once occurred.
    pub fn summarize(&self) {
        self.oddities.log();
    }

    /// Warns if a sync that has ended well was silent about what it had to read.
    pub fn warn_of_silence(&self) {
        let unread: Vec<String> = self.streams.iter().filter(|it| !it.read).map(|it| it.id.to_string()).collect();
        let is_silent = self.streams.iter().all(|it| !it.heard);
        self.oddities.warn_of_silence(&unread, is_silent);
    }

    /// The streams that the connector could not read completely, in a stable order.
    pub fn incomplete(&self) -> Vec<StreamId> {
        self.statuses.incomplete()
    }

    /// The full refreshes that a connector which has ended well may have completed.
    pub fn complete(&self) -> Vec<usize> {
        let is_full = |it: &usize| self.streams[*it].mode == Mode::FullRefresh;
        (0..self.streams.len()).filter(|it| is_full(it) && self.statuses.may_be_complete(*it)).collect()
    }
}

/// The key of a document, for a message: ` (key: /id = 5)`.
fn key_text(key: &[String], data: &[u8]) -> String {
    let Ok(document) = serde_json::from_slice::<Value>(data) else { return String::new() };
    let part = |it: &String| {
        let value: String = pointer::member(&document, it)?.to_string().chars().take(100).collect();
        Some(format!("{it} = {value}"))
    };
    match key.iter().filter_map(part).collect::<Vec<_>>() {
        parts if parts.is_empty() => String::new(),
        parts => format!(" (key: {})", parts.join(", ")),
    }
}
