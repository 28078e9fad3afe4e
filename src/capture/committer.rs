//! Writes documents, and commits them together with the states that cover them. Owns the output and the ledger.
//!
//! With one worker it passes documents through: nothing is copied or held back. Several workers each have a committer of their
//! own, which holds back what it writes until a checkpoint ends it, as Flow commits everything that precedes a checkpoint.
//! Knows nothing about feeds.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::Value;
use serde_json::value::RawValue;

use super::CaptureError;
use super::document::{self, Added, Op};
use super::ledger::{BindingStates, Ledger, ONE_STATE};
use super::refresh;
use super::worker::Segments;
use crate::flow::codec::Writer;
use crate::flow::response::{ConnectorState, Response};
use crate::flow::spool::Spool;
use crate::upstream::{Payload, Rows};

pub struct Committer<W> {
    out: Writer<Sink<W>>,
    ledger: Ledger,
    /// Flow's number of each binding.
    numbers: Vec<usize>,
    /// Documents and schemas that no checkpoint has followed yet.
    pending: u64,
    /// The bindings whose `backfillComplete` is due.
    complete: Vec<usize>,
}

/// Where messages go.
enum Sink<W> {
    Direct(W),
    /// Up to a checkpoint they are held back. The output is shared with other committers.
    HeldBack(Spool, Arc<Mutex<W>>),
}

impl<W: Write> Sink<W> {
    /// A checkpoint ends what was written so far.
    fn release(&mut self) -> io::Result<()> {
        let Self::HeldBack(spool, out) = self else { return Ok(()) };
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        spool.write_to(&mut *out).map_err(io::Error::from)
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Direct(out) => out.write(bytes),
            Self::HeldBack(spool, _) => spool.push(&[bytes]).map(|()| bytes.len()).map_err(io::Error::from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Direct(out) => out.flush(),
            Self::HeldBack(..) => Ok(()),
        }
    }
}

impl<W: Write> Committer<W> {
    /// `numbers` are Flow's numbers of the ledger's bindings.
    pub fn new(out: Writer<W>, ledger: Ledger, numbers: Vec<usize>) -> Self {
        let complete = ledger.truncated();
        Self { out: out.to(Sink::Direct), ledger, numbers, pending: 0, complete }
    }

    /// Committers of some of the bindings each. Everything is committed so far.
    pub fn divide(mut self, shares: &[Vec<usize>]) -> io::Result<Vec<Self>> {
        self.out.flush()?;
        let codec = self.out.codec();
        let Sink::Direct(out) = self.out.into_sink() else {
            return Err(io::Error::other("a committer was divided twice"));
        };
        let out = Arc::new(Mutex::new(out));
        let ledgers = self.ledger.divide(shares);
        let committer = |(ledger, share): (Ledger, &Vec<usize>)| {
            let mut writer = Writer::new(Sink::HeldBack(Spool::default(), out.clone()));
            writer.set_codec(codec);
            let numbers = share.iter().map(|&it| self.numbers[it]).collect();
            Self { out: writer, ledger, numbers, pending: 0, complete: Vec::new() }
        };
        Ok(ledgers.into_iter().zip(shares).map(committer).collect())
    }

    /// Drops what no checkpoint has followed, and notes that the connector keeps one state for all its streams.
    pub fn note_one_state(&mut self) -> Result<(), CaptureError> {
        self.out.flush()?;
        if let Sink::HeldBack(spool, _) = self.out.sink() {
            spool.clear();
        }
        let patch = RawValue::from_string(format!(r#"{{"{ONE_STATE}":true}}"#)).unwrap_or_default();
        self.send_checkpoint(&patch)
    }

    /// The output of a committer that was never divided. What is not flushed is lost.
    pub fn into_output(self) -> Option<W> {
        match self.out.into_sink() {
            Sink::Direct(out) => Some(out),
            Sink::HeldBack(..) => None,
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Commits what was written so far (F8).
    pub fn checkpoint(&mut self) -> Result<(), CaptureError> {
        if self.pending == 0 && !self.ledger.is_dirty() {
            return Ok(());
        }
        let patch = self.ledger.patch()?;
        self.send_checkpoint(&patch)
    }

    fn send_checkpoint(&mut self, patch: &RawValue) -> Result<(), CaptureError> {
        self.out.send(&Response::Checkpoint { state: ConnectorState { updated: patch, merge_patch: true } })?;
        if let Sink::HeldBack(..) = self.out.sink() {
            self.out.flush()?;
            self.out.sink().release()?;
        }
        self.pending = 0;
        Ok(())
    }

    /// The sync has succeeded: commits everything. `complete` are the bindings that were read to their end.
    pub fn finish(&mut self, complete: impl Iterator<Item = usize>) -> Result<(), CaptureError> {
        for index in complete {
            if self.ledger.may_be_complete(index) {
                self.full_refresh_completed(index)?;
            }
        }
        self.commit()?;
        Ok(self.out.flush()?)
    }

    /// Begins the full refreshes that truncate their collections, before any document.
    pub fn begin_full_refreshes(&mut self) -> Result<(), CaptureError> {
        for binding in self.ledger.due_to_begin() {
            self.begin_truncation(binding)?;
        }
        Ok(())
    }

    fn begin_truncation(&mut self, binding: usize) -> Result<(), CaptureError> {
        self.checkpoint()?;
        self.ledger.begin_truncation(binding);
        self.send_alone(&Response::BackfillBegin { binding: self.numbers[binding] })
    }

    fn complete_later(&mut self, binding: usize) {
        if !self.complete.contains(&binding) {
            self.complete.push(binding);
        }
    }

    /// Commits what was written so far, and the truncations that it completes.
    fn commit(&mut self) -> Result<(), CaptureError> {
        self.checkpoint()?;
        for binding in std::mem::take(&mut self.complete) {
            self.ledger.complete_truncation(binding);
            self.send_alone(&Response::BackfillComplete { binding: self.numbers[binding] })?;
        }
        Ok(())
    }

    /// Sends a backfill message in a checkpoint of its own (Q14). Nothing may be uncommitted.
    fn send_alone(&mut self, message: &Response) -> Result<(), CaptureError> {
        self.out.send(message)?;
        self.pending += 1;
        self.checkpoint()
    }
}

impl<W: Write> Segments for Committer<W> {
    #[inline]
    fn document(&mut self, binding: usize, added: &Added, payload: &Payload) -> io::Result<()> {
        let row_id = self.ledger.next_row(binding);
        let cell = &self.ledger.cells[binding];
        let op = match payload.deleted {
            true => Op::Delete,
            false if cell.rows() == Rows::ByRowId && row_id > cell.high_row_id => Op::Create,
            false => Op::Update,
        };
        self.pending += 1;
        document::write(&mut self.out, self.numbers[binding], row_id, op, added, payload)
    }

    fn sourced_schema(&mut self, binding: usize, schema: &Value) -> io::Result<()> {
        self.pending += 1;
        self.out.send(&Response::SourcedSchema { binding: self.numbers[binding], document_schema: schema })
    }

    fn announced(&mut self, binding: usize) {
        self.ledger.announce(binding);
    }

    fn activated_version(&mut self, binding: usize) -> bool {
        self.ledger.activate_version(binding)
    }

    fn full_refresh_completed(&mut self, binding: usize) -> Result<(), CaptureError> {
        if !self.ledger.may_truncate(binding) {
            self.pending += refresh::complete(&mut self.ledger, binding, &mut self.out, self.numbers[binding])?;
            return Ok(());
        }
        self.complete_later(binding);
        // Documents wait for the state that covers them.
        if self.pending == 0 { self.commit() } else { Ok(()) }
    }

    /// What the source deletes goes with the state that covers it.
    fn truncated(&mut self, binding: usize) -> Result<bool, CaptureError> {
        if self.ledger.is_empty(binding) {
            return Ok(true);
        }
        if !self.ledger.truncates(binding) {
            return Ok(false);
        }
        self.begin_truncation(binding)?;
        self.complete_later(binding);
        Ok(true)
    }

    fn count_records(&mut self, binding: usize) -> u64 {
        self.ledger.count_records(binding)
    }

    fn rows(&mut self) -> u64 {
        self.ledger.rows()
    }

    fn close(&mut self, states: BindingStates) -> Result<(), CaptureError> {
        self.ledger.update(states);
        self.commit()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() { Ok(()) } else { self.out.flush() }
    }
}
