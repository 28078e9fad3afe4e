//! What the ledger keeps of one binding.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Entry;
use crate::upstream::{Mode, Rows, Stream, StreamId, Upstream};

/// What a session keeps of one binding.
pub struct Cell {
    pub(super) state_key: String,
    pub(super) id: StreamId,
    pub(super) mode: Mode,
    pub(super) rows: Rows,
    /// The last row id that was given out; the number of rows of this sweep.
    pub row_id: u64,
    /// Full refresh: the highest row id that a row of this or an earlier sweep may still have.
    pub high_row_id: u64,
    pub(super) state: Option<Box<RawValue>>,
    /// It has no state yet that this session could go on from.
    pub fresh: bool,
    /// Full refresh: the sweep is complete, and states that come now belong to no next one (A12).
    pub(super) complete: bool,
    /// The sweep before this one was complete, and has left its state.
    pub(super) was_complete: bool,
    /// The source has said in this session that it reads the stream.
    pub(super) announced: bool,
    /// The row id that this session began with.
    pub(super) first_row_id: u64,
    /// Where the row id stood when the source last counted its records (A15).
    pub(super) counted: u64,
    pub(super) committed_row_id: Option<u64>,
    pub(super) committed_high: Option<u64>,
    pub(super) committed_complete: bool,
    pub(super) state_changed: bool,
    /// Members that an older wrapper left in the cell.
    pub(super) stale: Vec<String>,
    pub(super) dirty: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredCell {
    pub(super) row_id: Option<u64>,
    pub(super) high_row_id: Option<u64>,
    pub(super) state: Option<Box<RawValue>>,
    #[serde(default, rename = "swept")]
    pub(super) complete: bool,
}

impl Cell {
    pub(super) fn new(entry: &Entry) -> Self {
        Self {
            state_key: entry.state_key.to_owned(),
            id: entry.stream.id.clone(),
            mode: entry.mode,
            rows: entry.rows,
            row_id: 0,
            high_row_id: 0,
            state: None,
            fresh: true,
            complete: false,
            was_complete: false,
            announced: false,
            first_row_id: 0,
            counted: 0,
            committed_row_id: None,
            committed_high: None,
            committed_complete: false,
            state_changed: false,
            stale: Vec::new(),
            dirty: false,
        }
    }

    pub fn id(&self) -> &StreamId {
        &self.id
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether the source reads the stream in this session, as far as can be seen.
    pub(super) fn has_begun(&self) -> bool {
        self.announced || self.row_id > self.first_row_id
    }

    /// Goes on from a cell of this wrapper's own. One with a `highRowId` was left by a full refresh.
    pub(super) fn resume(&mut self, found: StoredCell, stream: &Stream, source: &dyn Upstream) {
        self.fresh = false;
        self.committed_row_id = found.row_id;
        self.committed_high = found.high_row_id;
        self.committed_complete = found.complete;
        let row_id = found.row_id.unwrap_or_default();
        let high = found.high_row_id.unwrap_or_default().max(row_id);
        self.state = found.state.and_then(|it| unwrap_cell(&it));
        match (self.mode, found.high_row_id) {
            (Mode::Incremental, None) => self.row_id = row_id,
            // The user chose another mode: a state of the one is none of the other.
            (Mode::Incremental, Some(_)) => {
                self.row_id = high;
                self.set_none();
            }
            (Mode::FullRefresh, was_one) => {
                self.high_row_id = high;
                self.was_complete = was_one.is_some() && found.complete;
                let resumes = |it: &RawValue| source.resumes(stream, it, self.rows);
                if was_one.is_some() && !found.complete && self.state.as_deref().is_some_and(resumes) {
                    self.row_id = row_id;
                } else if !self.was_complete {
                    self.set_none();
                }
            }
        }
        (self.counted, self.first_row_id) = (self.row_id, self.row_id);
    }

    /// Goes on from what an older wrapper kept of a binding.
    pub(super) fn take_over(&mut self, raw: &RawValue, stream: &Stream, source: &dyn Upstream) {
        let older = source.legacy_cell(raw);
        let names: BTreeMap<String, Box<RawValue>> = serde_json::from_str(raw.get()).unwrap_or_default();
        self.stale = names.into_keys().filter(|it| !["rowId", "highRowId", "state"].contains(&it.as_str())).collect();
        self.adopt(older.row_id, older.state, stream, source);
    }

    /// Older wrappers never resumed a full refresh: it begins anew, over the rows that it had.
    pub(super) fn adopt(&mut self, row_id: u64, state: Option<Box<RawValue>>, stream: &Stream, source: &dyn Upstream) {
        let state = state.and_then(|it| RawValue::from_string(format!("[{}]", it.get())).ok());
        self.resume(StoredCell { row_id: Some(row_id), high_row_id: None, state, complete: false }, stream, source);
        (self.committed_row_id, self.state_changed) = (None, true);
    }

    pub(super) fn set_none(&mut self) {
        self.state_changed |= self.state.take().is_some();
    }

    pub(super) fn changed(&self) -> bool {
        let high = (self.mode == Mode::FullRefresh).then_some(self.high_row_id);
        self.state_changed || self.committed_row_id != Some(self.row_id) || self.committed_high != high
    }
}

pub(super) fn raw_text(raw: &Option<Box<RawValue>>) -> Option<&str> {
    raw.as_deref().map(RawValue::get)
}

pub(super) fn wrap_cell(raw: &RawValue) -> Box<RawValue> {
    // An array around JSON is JSON.
    RawValue::from_string(format!("[{}]", raw.get())).unwrap_or_else(|_| raw.to_owned())
}

/// What is in an array of one.
pub(super) fn unwrap_cell(raw: &RawValue) -> Option<Box<RawValue>> {
    let [value]: [Box<RawValue>; 1] = serde_json::from_str::<Vec<_>>(raw.get()).ok()?.try_into().ok()?;
    Some(value)
}

pub(super) fn number(value: u64) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
