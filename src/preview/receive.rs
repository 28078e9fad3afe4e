//! The runtime's side of a capture: holds documents until their checkpoint, prints them, and only then advances the state.

use crate::error::Stopped;
use anyhow::{Context, Error, Result, anyhow};
use std::io::{BufWriter, ErrorKind, PipeReader, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::state::State;
use super::tally::Tally;
use super::validate::Validator;
use crate::error::Reason;
use crate::flow::spool::{Spool, Stuck};
use crate::json::hints::Hints;
use crate::json::scan::{Fault, Kind, Scanner};
use crate::process::lines::{Line, Lines};
use crate::process::shutdown::Shutdown;

/// How long to wait for the checkpoint of the last documents within a limit.
const LAST_CHECKPOINT: Duration = Duration::from_secs(1);

/// Documents are printed in pieces of this size, in bytes, or when nothing else is to be done.
const OUTPUT: usize = 128 * 1024;

/// The minimum interval between writes of the state file, as each writes the whole state.
const STATE_AGE: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Response {
    Opened(IgnoredAny),
    SourcedSchema(IgnoredAny),
    Checkpoint { state: Option<StateUpdate> },
    BackfillBegin(IgnoredAny),
    BackfillComplete(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateUpdate {
    updated: Value,
    #[serde(default)]
    merge_patch: bool,
}

pub struct Receiver<W: Write> {
    spool: Spool,
    out: BufWriter<W>,
    /// The start of each binding's output lines: `["name",`.
    heads: Vec<Vec<u8>>,
    waiting: Vec<Waiting>,
    /// The bindings with documents since the last checkpoint.
    touched: Vec<usize>,
    tally: Arc<Tally>,
    state: State,
    /// State updates are printed, too.
    prints_state: bool,
    /// When the state first changed since it was last written.
    changed: Option<Instant>,
    /// Documents, printed or not, since the last checkpoint.
    uncommitted: u64,
    /// A write has failed: it is unknown what reached stdout, so the state is not advanced.
    stuck: bool,
    /// Documents left until `--limit` is reached.
    left: Option<u64>,
    /// Documents left of each binding until `--limit-per-stream` is reached.
    left_of: Option<Vec<u64>>,
    /// A document was omitted because of `--limit-per-stream`, so the state must not advance past it.
    omitted: bool,
    /// One for each binding, or none without validation.
    validators: Vec<Validator>,
    stop: Shutdown,
    hints: Hints,
}

/// Counts of a binding's documents that are not printed yet.
#[derive(Clone, Default)]
struct Waiting {
    is_touched: bool,
    documents: u64,
    deletes: u64,
    bytes: u64,
}

/// The result of a capture.
pub struct Received {
    /// The limit was reached: all documents were printed.
    pub enough: bool,
    /// Documents after the last checkpoint. They are printed only if a limit was reached.
    pub uncommitted: u64,
    /// Documents were omitted because of `--limit-per-stream`, and the state was not advanced past them.
    pub omitted: bool,
    /// The state after the last checkpoint.
    pub state: State,
}

/// When a capture ends by itself, and what it prints.
#[derive(Clone, Copy, Default)]
pub struct Limits {
    pub documents: Option<u64>,
    pub documents_per_stream: Option<u64>,
    /// State updates are printed, too.
    pub prints_state: bool,
}

impl<W: Write> Receiver<W> {
    pub fn new(
        out: W,
        tally: Arc<Tally>,
        state: State,
        limits: Limits,
        validators: Vec<Validator>,
        stop: Shutdown,
    ) -> Self {
        let head = |name: &str| format!("[{},", Value::from(name)).into_bytes();
        let heads: Vec<Vec<u8>> = tally.streams.iter().map(|it| head(&it.name)).collect();
        Self {
            spool: Spool::default(),
            out: BufWriter::with_capacity(OUTPUT, out),
            waiting: vec![Waiting::default(); heads.len()],
            left_of: limits.documents_per_stream.map(|it| vec![it; heads.len()]),
            omitted: false,
            validators,
            heads,
            touched: Vec::new(),
            tally,
            state,
            prints_state: limits.prints_state,
            changed: None,
            uncommitted: 0,
            stuck: false,
            left: limits.documents,
            stop,
            hints: Hints::default(),
        }
    }

    /// Receives until the responses end, the limit is reached, or something can't be written.
    pub fn receive(mut self, responses: &mut Lines<PipeReader>) -> Result<Received> {
        let received = self.lines(responses);
        // Committed documents are printed even if a failure followed.
        let settled = self.settle();
        received.and(settled)?;
        let (enough, uncommitted, omitted) = (self.has_enough(), self.uncommitted, self.omitted);
        Ok(Received { enough, uncommitted, omitted, state: self.state })
    }

    fn lines(&mut self, responses: &mut Lines<PipeReader>) -> Result<()> {
        let mut more = true;
        loop {
            while let Some(line) = responses.take() {
                let flow = match line {
                    // An empty line is the end of the session, see `Serving::start`.
                    Line::Whole(b"") => ControlFlow::Break(()),
                    Line::Whole(line) => self.line(line)?,
                    Line::Cut(_) | Line::TooLong { .. } => return Err(unreadable("it is incomplete or too long")),
                };
                if flow.is_break() {
                    return Ok(());
                }
            }
            if !more {
                return Ok(());
            }
            if !responses.ready() {
                self.settle()?;
            }
            more = responses.fill().context("can't read the capture's responses")?;
        }
    }

    #[inline]
    fn line(&mut self, line: &[u8]) -> Result<ControlFlow<()>> {
        if line.starts_with(br#"{"captured":"#) {
            let captured = captured(line, &mut self.hints).map_err(unreadable)?;
            return self.document(&captured);
        }
        match serde_json::from_slice(line).map_err(unreadable)? {
            Response::Opened(_)
            | Response::SourcedSchema(_)
            | Response::BackfillBegin(_)
            | Response::BackfillComplete(_) => Ok(ControlFlow::Continue(())),
            Response::Checkpoint { state } => self.checkpoint(state),
        }
    }

    #[inline]
    fn document(&mut self, captured: &Captured) -> Result<ControlFlow<()>> {
        if self.has_enough() {
            return Ok(ControlFlow::Break(()));
        }
        let binding = captured.binding;
        let Some(head) = self.heads.get(binding) else {
            return Err(unreadable(format!("there is no binding {binding}")));
        };
        let bytes = captured.document.len() as u64;
        let stream = &self.tally.streams[binding];
        stream.records.add(1);
        stream.record_bytes.add(bytes);
        if let Some(validator) = self.validators.get(binding) {
            validator.check(&stream.id, captured.document)?;
        }
        if let Some(left) = self.left_of.as_mut().map(|it| &mut it[binding]) {
            if *left == 0 {
                self.omitted = true;
                return Ok(ControlFlow::Continue(()));
            }
            *left -= 1;
        }
        let waiting = &mut self.waiting[binding];
        if !waiting.is_touched {
            waiting.is_touched = true;
            self.touched.push(binding);
        }
        waiting.documents += 1;
        waiting.deletes += u64::from(captured.deleted);
        waiting.bytes += bytes;
        self.uncommitted += 1;
        let pushed = self.spool.push(&[head, captured.document, b"]\n"]);
        self.written(pushed)?;
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        if self.has_enough() {
            self.print()?;
            self.settle()?;
            self.stop_soon();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A limit was reached: no more documents are printed.
    #[inline]
    fn has_enough(&self) -> bool {
        self.left == Some(0) || self.left_of.as_ref().is_some_and(|them| them.iter().all(|it| *it == 0))
    }

    /// Commits the preceding documents (F8).
    fn checkpoint(&mut self, update: Option<StateUpdate>) -> Result<ControlFlow<()>> {
        self.print()?;
        let now = self.tally.start.elapsed().as_millis() as u64;
        for binding in self.touched.drain(..) {
            self.waiting[binding].is_touched = false;
            self.tally.streams[binding].checkpoints.add(1);
            self.tally.streams[binding].checkpoint_at.set(now);
        }
        self.tally.checkpoints.add(1);
        self.uncommitted = 0;
        if let (Some(update), false) = (update, self.omitted) {
            if self.prints_state {
                let printed = writeln!(self.out, "[\"connectorState\",{}]", update.updated).map_err(Stuck::Output);
                self.written(printed)?;
            }
            self.state.reduce(update.updated, update.merge_patch);
            let since = *self.changed.get_or_insert_with(Instant::now);
            if since.elapsed() > STATE_AGE {
                self.settle()?;
            }
        }
        Ok(if self.has_enough() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Releases all documents received so far for printing, and counts them.
    fn print(&mut self) -> Result<()> {
        for &binding in &self.touched {
            let (waiting, stream) = (&mut self.waiting[binding], &self.tally.streams[binding]);
            stream.documents.add(std::mem::take(&mut waiting.documents));
            stream.deletes.add(std::mem::take(&mut waiting.deletes));
            stream.bytes.add(std::mem::take(&mut waiting.bytes));
        }
        let released = self.spool.write_to(&mut self.out);
        self.written(released)
    }

    /// Writes pending output: the documents first, then the state that covers them.
    fn settle(&mut self) -> Result<()> {
        if self.stuck {
            return Ok(());
        }
        let flushed = self.out.flush().map_err(Stuck::Output);
        self.written(flushed)?;
        if self.changed.take().is_some() { self.state.write() } else { Ok(()) }
    }

    fn written(&mut self, result: Result<(), Stuck>) -> Result<()> {
        let Err(stuck) = result else { return Ok(()) };
        self.stuck = true;
        Err(match stuck {
            Stuck::Output(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.stop.request(Reason::OutputClosed);
                Stopped(Reason::OutputClosed).into()
            }
            Stuck::Output(error) => anyhow!("can't write the documents to stdout: {error}"),
            Stuck::Disk(error) => {
                anyhow!(
                    "can't store documents until their checkpoint in a temporary file (set TMPDIR to another directory): {error}"
                )
            }
        })
    }

    /// Stops the capture after a short wait for the checkpoint of the last documents.
    fn stop_soon(&self) {
        let stop = self.stop.clone();
        let later = move || {
            thread::sleep(LAST_CHECKPOINT);
            stop.request(Reason::Enough);
        };
        if thread::Builder::new().spawn(later).is_err() {
            self.stop.request(Reason::Enough);
        }
    }
}

/// A document, sliced out of its response.
struct Captured<'a> {
    binding: usize,
    document: &'a [u8],
    deleted: bool,
}

#[inline]
fn captured<'a>(line: &'a [u8], hints: &mut Hints) -> Result<Captured<'a>, Fault> {
    let (mut binding, mut document, mut deleted) = (0, &line[..0], false);
    let mut scanner = Scanner::new(line, hints);
    scanner.object(|it, _| {
        it.object(|it, key| {
            if key.is("doc") {
                it.kind();
                let start = it.position();
                deleted = is_deleted(line, it)?;
                document = &line[start..it.position()];
            } else if key.is("binding") {
                let number = &line[it.value()?];
                binding = number.iter().fold(0usize, |it, digit| it.saturating_mul(10) + usize::from(digit & 15));
            } else {
                it.value()?;
            }
            Ok(())
        })
    })?;
    scanner.end()?;
    Ok(Captured { binding, document, deleted })
}

/// Scans a document and returns whether /_meta/op is `"d"` (F22).
#[inline]
fn is_deleted(line: &[u8], document: &mut Scanner) -> Result<bool, Fault> {
    let mut deleted = false;
    document.object(|it, key| {
        if !key.may_begin_with(b'_') || !key.is("_meta") || it.kind() != Some(Kind::Object) {
            return it.value().map(drop);
        }
        it.object(|it, key| {
            let is_op = key.is("op");
            let value = it.value()?;
            deleted |= is_op && &line[value] == br#""d""#;
            Ok(())
        })
    })?;
    Ok(deleted)
}

fn unreadable(why: impl std::fmt::Display) -> Error {
    anyhow!("bug in flow-shim: invalid response: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_sliced_as_they_are() {
        let line = br#"{"captured":{"binding":12,"doc": {"_meta":{"row_id":1,"op":"d"}, "n": 1.50e3} }}"#;
        let captured = |line| captured(line, &mut Hints::default());
        let it = captured(line).unwrap();
        assert_eq!((it.binding, it.deleted), (12, true));
        assert_eq!(it.document, br#"{"_meta":{"row_id":1,"op":"d"}, "n": 1.50e3}"#);
        let it = captured(br#"{"captured":{"doc":{"op":"d","_meta":{"op":"c"}}}}"#).unwrap();
        assert_eq!((it.binding, it.deleted), (0, false));
        assert!(captured(br#"{"captured":{"doc":{}}"#).is_err());
        assert!(captured(br#"{"captured":{"doc":[]}}"#).is_err());
    }
}
