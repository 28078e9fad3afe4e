//! Writes documents, and commits them together with the states that cover them. Owns the output and the ledger.
//!
//! With one worker it passes documents through: nothing is copied or held back. Knows nothing about feeds.

use std::io::{self, Write};

use anyhow::Result;
use serde_json::Value;

use super::CaptureError;
use super::document::{self, Added, Op};
use super::ledger::{BindingStates, Ledger};
use super::refresh;
use super::worker::Segments;
use crate::flow::codec::Writer;
use crate::flow::response::{ConnectorState, Response};
use crate::upstream::{Payload, Rows};

pub struct Committer<W> {
    out: Writer<W>,
    ledger: Ledger,
    /// Documents and schemas that no checkpoint has followed yet.
    pending: u64,
    /// The bindings whose `backfillComplete` is due.
    complete: Vec<usize>,
}

impl<W: Write> Committer<W> {
    pub fn new(out: Writer<W>, ledger: Ledger) -> Self {
        Self { out, ledger, pending: 0, complete: Vec::new() }
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
        self.out.send(&Response::Checkpoint { state: ConnectorState { updated: &patch, merge_patch: true } })?;
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
            self.checkpoint()?;
            self.ledger.begin_full_refresh(binding);
            self.send_alone(&Response::BackfillBegin { binding })?;
        }
        Ok(())
    }

    /// Commits what was written so far, and the full refreshes that it completes.
    fn commit(&mut self) -> Result<(), CaptureError> {
        self.checkpoint()?;
        for binding in std::mem::take(&mut self.complete) {
            self.ledger.complete_full_refresh(binding);
            self.send_alone(&Response::BackfillComplete { binding })?;
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
        document::write(&mut self.out, binding, row_id, op, added, payload)
    }

    fn sourced_schema(&mut self, binding: usize, schema: &Value) -> io::Result<()> {
        self.pending += 1;
        self.out.send(&Response::SourcedSchema { binding, document_schema: schema })
    }

    fn announced(&mut self, binding: usize) {
        self.ledger.announce(binding);
    }

    fn activated_version(&mut self, binding: usize) -> bool {
        self.ledger.activate_version(binding)
    }

    fn full_refresh_completed(&mut self, binding: usize) -> Result<(), CaptureError> {
        if !self.ledger.may_truncate(binding) {
            self.pending += refresh::complete(&mut self.ledger, binding, &mut self.out)?;
            return Ok(());
        }
        if !self.complete.contains(&binding) {
            self.complete.push(binding);
        }
        // Documents wait for the state that covers them.
        if self.pending == 0 { self.commit() } else { Ok(()) }
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
