//! A cell: the state of one binding.

use std::collections::BTreeMap;

use tracing::warn;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Entry;
use crate::json::members::is_blank;
use crate::upstream::{Mode, Rows, Stream, StreamId, Upstream};

/// How far the truncation of a collection is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Truncation {
    /// There is none.
    Off,
    /// Flow has to be told that it begins.
    Due,
    /// Flow was told.
    Begun,
}

/// The state of one binding during a session.
pub struct Cell {
    pub(super) state_key: String,
    pub(super) mode: Mode,
    pub(super) rows: Rows,
    /// The last row id that was given out.
    pub row_id: u64,
    /// Full refresh: the highest row id that a row of this or an earlier refresh may have.
    pub high_row_id: u64,
    pub(super) state: Option<Box<RawValue>>,
    /// No state exists that this session could continue from.
    pub fresh: bool,
    /// Full refresh: it is complete, and states that arrive now are not for the next one (A12).
    pub(super) complete: bool,
    /// The previous full refresh was complete and has left its state.
    pub(super) was_complete: bool,
    /// The source has said in this session that it reads the stream.
    pub(super) announced: bool,
    /// Full refresh: the source may be given a bookmark that an earlier sync left, so it may bring only what is new (S17).
    pub(super) has_bookmark: bool,
    /// shim.yaml says that the collection is truncated.
    pub(super) truncates: bool,
    pub(super) truncation: Truncation,
    /// The source has said in this session that rows of older versions are gone.
    pub(super) activated: bool,
    /// The source says so when it has read everything, even if it was given a bookmark.
    pub(super) activates: bool,
    /// The row id at which the collection had no rows, as far as this session knows.
    pub(super) empty_row_id: u64,
    /// Rows with ids up to this one have tombstones already.
    pub(super) low_row_id: u64,
    /// See [`crate::upstream::Resource::method`].
    pub(super) method: Option<&'static str>,
    /// The row id that this session began with.
    pub(super) first_row_id: u64,
    /// Where the row id stood at the stream's last state.
    pub(super) covered_row_id: u64,
    /// Where the row id stood when the source last counted its records (A15).
    pub(super) counted: u64,
    /// Where the row id stood when the session's records were last summed.
    pub(super) summed: u64,
    pub(super) committed_row_id: Option<u64>,
    pub(super) committed_high: Option<u64>,
    pub(super) committed_complete: bool,
    pub(super) committed_low: u64,
    pub(super) committed_begun: bool,
    pub(super) committed_activates: bool,
    pub(super) committed_method: Option<String>,
    pub(super) state_changed: bool,
    pub(super) dirty: bool,
}

/// A cell of our own, as it was stored.
#[derive(Default)]
pub(super) struct StoredCell {
    pub(super) row_id: Option<u64>,
    pub(super) high_row_id: Option<u64>,
    pub(super) low_row_id: u64,
    pub(super) state: Option<Box<RawValue>>,
    pub(super) complete: bool,
    pub(super) begun: bool,
    pub(super) activates: bool,
    pub(super) method: Option<String>,
}

impl StoredCell {
    /// Parses a cell. The error says why it is not one of ours.
    pub(super) fn parse(raw: &RawValue) -> Result<Self, String> {
        let members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(raw.get()).map_err(|_| "it is not an object".to_owned())?;
        let mut cell = Self::default();
        for (name, value) in members {
            let flag = || value.get().parse().map_err(|_| format!("its {name} is neither true nor false"));
            let integer = || value.get().parse().map_err(|_| format!("its {name} is not a row id"));
            match name.as_str() {
                "rowId" => cell.row_id = Some(integer()?),
                "highRowId" => cell.high_row_id = Some(integer()?),
                "lowRowId" => cell.low_row_id = integer()?,
                "state" => {
                    let state = unwrap_cell(&value).ok_or("its state is not an array of one value")?;
                    cell.state = Some(state);
                }
                "swept" => cell.complete = flag()?,
                "begun" => cell.begun = flag()?,
                "activates" => cell.activates = flag()?,
                "method" => {
                    cell.method =
                        serde_json::from_str(value.get()).map_err(|_| "its method is not a name".to_owned())?;
                }
                // Of a later version.
                _ => {}
            }
        }
        if cell.row_id.is_none() { Err("it has no rowId".to_owned()) } else { Ok(cell) }
    }
}

impl Cell {
    /// `shares_bookmark`: the shared state may be a bookmark of the stream.
    pub(super) fn new(entry: &Entry, shares_bookmark: bool) -> Self {
        let mut cell = Self {
            state_key: entry.state_key.to_owned(),
            mode: entry.mode,
            rows: entry.rows,
            row_id: 0,
            high_row_id: 0,
            state: None,
            fresh: true,
            complete: false,
            was_complete: false,
            announced: false,
            has_bookmark: shares_bookmark && entry.mode == Mode::FullRefresh,
            truncates: entry.truncates,
            truncation: Truncation::Off,
            activated: false,
            activates: false,
            empty_row_id: 0,
            low_row_id: 0,
            method: entry.method,
            first_row_id: 0,
            covered_row_id: 0,
            counted: 0,
            summed: 0,
            committed_row_id: None,
            committed_high: None,
            committed_complete: false,
            committed_low: 0,
            committed_begun: false,
            committed_activates: false,
            committed_method: None,
            state_changed: false,
            dirty: false,
        };
        cell.truncation = cell.new_truncation();
        cell
    }

    pub fn rows(&self) -> Rows {
        self.rows
    }

    /// Whether a full refresh that starts now truncates. A source with a bookmark that is not known to say when it has
    /// brought everything may never say so; what Flow is told of a begin hides older rows from new readers, though.
    fn new_truncation(&self) -> Truncation {
        let may_complete = !self.has_bookmark || self.activates;
        let begins = self.truncates && self.mode == Mode::FullRefresh && may_complete;
        if begins { Truncation::Due } else { Truncation::Off }
    }

    /// Row ids continue where an earlier sync ended, as what it brought may not come again.
    pub(super) fn continues(&self) -> bool {
        self.has_bookmark && self.rows == Rows::ByRowId
    }

    /// Whether a later session may go on with the truncating refresh. One that has a bookmark may not be complete, and
    /// only its own session knows.
    pub(super) fn has_begun_truncating(&self) -> bool {
        self.truncation == Truncation::Begun && !self.has_bookmark
    }

    /// The row id that the next session continues from. A full refresh that resumes brings again what no state of the stream
    /// covers, though other streams' states may have committed it: the same rows get the same ids.
    pub(super) fn next_first_row_id(&self) -> u64 {
        let resumes = self.mode == Mode::FullRefresh && !self.complete && self.state.is_some();
        if resumes && self.rows == Rows::ByRowId { self.covered_row_id } else { self.row_id }
    }

    /// Whether the source reads the stream in this session, as far as is known.
    pub(super) fn has_begun(&self) -> bool {
        self.announced || self.row_id > self.first_row_id
    }

    /// Continues from a cell of our own. A cell with a `highRowId` was left by a full refresh.
    pub(super) fn resume(&mut self, found: StoredCell, stream: &Stream, source: &dyn Upstream) {
        self.fresh = false;
        self.committed_row_id = found.row_id;
        self.committed_high = found.high_row_id;
        self.committed_complete = found.complete;
        self.committed_begun = found.begun;
        (self.activates, self.committed_activates) = (found.activates, found.activates);
        (self.low_row_id, self.committed_low) = (found.low_row_id, found.low_row_id);
        let row_id = found.row_id.unwrap_or_default();
        let high = found.high_row_id.unwrap_or_default().max(row_id);
        self.state = found.state;
        self.forget_another_method(found.method, &stream.id);
        match (self.mode, found.high_row_id) {
            (Mode::Incremental, None) => {
                self.row_id = row_id;
                if self.truncates && found.begun {
                    self.truncation = Truncation::Begun;
                }
            }
            // The user chose another mode, whose states are different.
            (Mode::Incremental, Some(_)) => {
                self.row_id = high;
                self.low_row_id = 0;
                self.set_none();
            }
            (Mode::FullRefresh, was_one) => {
                self.high_row_id = high;
                self.was_complete = was_one.is_some() && found.complete;
                let resumes = |it: &RawValue| source.resumes(stream, it, self.rows);
                if was_one.is_some() && !found.complete && self.state.as_deref().is_some_and(resumes) {
                    self.row_id = row_id;
                    self.has_bookmark = false;
                    // If Flow was told only now, the documents of the earlier session would be dropped.
                    let goes_on = self.truncates && found.begun;
                    self.truncation = if goes_on { Truncation::Begun } else { Truncation::Off };
                } else {
                    if !self.was_complete {
                        self.set_none();
                    }
                    self.has_bookmark |= self.state.as_deref().is_some_and(|it| !is_blank(it));
                    self.truncation = self.new_truncation();
                    if self.continues() {
                        self.row_id = high;
                    }
                }
            }
        }
        (self.counted, self.summed) = (self.row_id, self.row_id);
        (self.first_row_id, self.covered_row_id) = (self.row_id, self.row_id);
    }

    /// A state that another replication method has left is of no use: the stream starts over.
    fn forget_another_method(&mut self, stored: Option<String>, stream: &StreamId) {
        if let (Some(stored), Some(method)) = (&stored, self.method)
            && stored != method
            && self.state.is_some()
        {
            warn!(
                "stream {stream}: its replication method has changed from {stored} to {method}: it is read from the start"
            );
            self.set_none();
        }
        self.committed_method = stored;
    }

    pub(super) fn set_none(&mut self) {
        self.state_changed |= self.state.take().is_some();
    }

    pub(super) fn changed(&self) -> bool {
        let high = (self.mode == Mode::FullRefresh).then_some(self.high_row_id);
        self.state_changed
            || self.committed_row_id != Some(self.row_id)
            || self.committed_high != high
            || self.committed_begun != self.has_begun_truncating()
            || self.committed_activates != self.activates
            || self.committed_method.as_deref() != self.method
    }
}

pub(super) fn raw_text(raw: &Option<Box<RawValue>>) -> Option<&str> {
    raw.as_deref().map(RawValue::get)
}

pub(super) fn wrap_cell(raw: &RawValue) -> Box<RawValue> {
    // An array around JSON is JSON.
    RawValue::from_string(format!("[{}]", raw.get())).unwrap_or_else(|_| raw.to_owned())
}

/// What is in an array of one value.
pub(super) fn unwrap_cell(raw: &RawValue) -> Option<Box<RawValue>> {
    let [value]: [Box<RawValue>; 1] = serde_json::from_str::<Vec<_>>(raw.get()).ok()?.try_into().ok()?;
    Some(value)
}

pub(super) fn text(value: &str) -> Box<RawValue> {
    RawValue::from_string(Value::from(value).to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

pub(super) fn number(value: u64) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
