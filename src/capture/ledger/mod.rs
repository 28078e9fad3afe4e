//! The state that Flow keeps for a capture, and the merge patches that bring it up to date.
//!
//! ```json
//! {"bindingStateV1": {"<stateKey>": {"rowId": 451234, "highRowId": 451234, "state": [{"cursor": 7}]}},
//!  "sharedStateV1": [{"type": "GLOBAL"}],
//!  "catalogV1": [{"version": "1122334455667788", "streams": []}]}
//! ```
//!
//! A cell of a full refresh has a `highRowId`, `swept` if it was complete and left a state for the next one,
//! `lowRowId` if the rows up to there are gone, `begun` if it is going to truncate the collection, and `activates` if the
//! source says when it has read everything. `method` says how the stream is replicated, if the protocol has several
//! incremental ways. A state of the connector's is in an array of one: merge patches replace arrays as a whole and keep
//! the nulls in them (F8). A patch contains only what has changed since the previous one.
//!
//! `oneStateV1` is there once a connector whose streams were divided among processes or shards has sent a state of all.
//!
//! A cell that is neither ours nor a known legacy form is an error that names it, never a fresh start.

mod cell;
mod legacy;

use anyhow::{Context, Result, anyhow};
use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::value::{RawValue, to_raw_value};

use crate::upstream::{FullRefreshPolicy, Mode, Protocol, Rows, Stream, StreamId, Upstream};

pub use cell::Cell;
use cell::{StoredCell, Truncation, number, raw_text, text, unwrap_cell, wrap_cell};
use legacy::TakenOver;

/// States of bindings, and what they share.
#[derive(Default)]
pub struct BindingStates {
    pub streams: Vec<(usize, Option<Box<RawValue>>)>,
    /// What belongs to no single stream.
    pub shared: Option<Box<RawValue>>,
    /// Bindings that are not among `streams` have no state any more.
    pub complete: bool,
}

pub const BINDINGS: &str = "bindingStateV1";
pub const SHARED: &str = "sharedStateV1";
pub const CATALOG: &str = "catalogV1";

/// Present once the connector has shown that it keeps one state for all its streams.
pub const ONE_STATE: &str = "oneStateV1";

/// Flow's state as a session finds it.
pub struct Stored {
    cells: HashMap<String, Box<RawValue>>,
    shared: Option<Box<RawValue>>,
    catalog: Option<Box<RawValue>>,
    /// The connector has shown that it keeps one state for all its streams.
    has_one_state: bool,
    /// Everything else: the state of an earlier wrapper.
    legacy: BTreeMap<String, Box<RawValue>>,
    /// What [`Stored::take_over`] has changed.
    taken_over: TakenOver,
}

impl Stored {
    pub fn parse(state: Option<&RawValue>) -> Result<Self> {
        let mut legacy: BTreeMap<String, Box<RawValue>> = match state {
            Some(raw) => serde_json::from_str::<Option<_>>(raw.get())
                .map_err(|_| anyhow!("{UNREADABLE}, as it is not an object: backfill the capture to start it over"))?
                .unwrap_or_default(),
            None => BTreeMap::new(),
        };
        let cells = match legacy.remove(BINDINGS) {
            Some(raw) => serde_json::from_str::<Option<_>>(raw.get())
                .map_err(|_| damaged(BINDINGS, "is not an object"))?
                .unwrap_or_default(),
            None => HashMap::new(),
        };
        let shared = match legacy.remove(SHARED).filter(|it| it.get() != "null") {
            Some(raw) => Some(unwrap_cell(&raw).ok_or_else(|| damaged(SHARED, "is not an array of one value"))?),
            None => None,
        };
        // A damaged catalog is discovered again.
        let catalog = legacy.remove(CATALOG).and_then(|it| unwrap_cell(&it));
        let has_one_state = legacy.remove(ONE_STATE).is_some();
        Ok(Self { cells, shared, catalog, has_one_state, legacy, taken_over: TakenOver::default() })
    }

    /// The catalog that an earlier session kept.
    pub fn catalog(&self) -> Option<&RawValue> {
        self.catalog.as_deref()
    }

    /// Whether a process of the connector can be given some of the streams alone.
    pub fn is_divisible(&self, source: &dyn Protocol) -> bool {
        !self.has_one_state && self.shared.as_deref().is_none_or(|it| source.is_divisible(it))
    }

    /// What was taken over, for Flow's state.
    pub fn into_taken_over(self) -> TakenOver {
        self.taken_over
    }

    /// The state keys of the cells, without their backfill counters.
    fn paths(&self) -> HashSet<&str> {
        self.cells.keys().filter_map(|it| path_of(it)).collect()
    }
}

/// A state key without its backfill counter.
fn path_of(state_key: &str) -> Option<&str> {
    state_key.rsplit_once(".v").map(|(path, _)| path)
}

const UNREADABLE: &str = "the state that Flow keeps for this capture can't be read";

fn damaged(what: &str, how: &str) -> anyhow::Error {
    anyhow!("{what} in the state that Flow keeps for this capture {how}: backfill the capture to start it over")
}

pub struct Ledger {
    pub cells: Vec<Cell>,
    policy: FullRefreshPolicy,
    dirty: Vec<usize>,
    /// Records in this session, up to each cell's `summed`.
    rows: u64,
    shared: Option<Box<RawValue>>,
    shared_changed: bool,
    catalog: Option<Box<RawValue>>,
    /// What of earlier wrappers the next patch brings into this version's form.
    taken_over: TakenOver,
}

/// A binding, for the ledger.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub state_key: &'a str,
    pub mode: Mode,
    pub method: Option<&'static str>,
    pub rows: Rows,
    /// Its collection is truncated: by full refreshes, or where the source says that all rows are gone.
    pub truncates: bool,
    pub stream: &'a Stream,
}

impl Ledger {
    /// Continues where the last session ended.
    pub fn open(mut stored: Stored, entries: &[Entry], source: &dyn Upstream) -> Result<Self> {
        let bindings: Vec<(&str, &StreamId)> = entries.iter().map(|it| (it.state_key, &it.stream.id)).collect();
        stored.take_over(&bindings, source)?;
        let mut ledger = Self {
            cells: Vec::new(),
            policy: source.full_refresh_policy(),
            dirty: Vec::new(),
            rows: 0,
            shared: stored.shared,
            shared_changed: false,
            catalog: None,
            taken_over: stored.taken_over,
        };
        let streams: Vec<&Stream> = entries.iter().map(|it| it.stream).collect();
        let shares_bookmark = match &ledger.shared {
            Some(shared) => source.may_be_bookmarks(shared, &streams),
            None => vec![false; streams.len()],
        };
        for (entry, shares_bookmark) in entries.iter().zip(shares_bookmark) {
            let mut cell = Cell::new(entry, shares_bookmark);
            if let Some(raw) = stored.cells.get(entry.state_key) {
                let found = StoredCell::parse(raw).map_err(|how| {
                    let (id, key) = (&entry.stream.id, entry.state_key);
                    anyhow!("the state of stream {id} in Flow ({BINDINGS}, {key:?}) is damaged: {how}; backfill its binding to start it over")
                })?;
                cell.resume(found, entry.stream, source);
            }
            ledger.cells.push(cell);
        }
        // Each binding has a cell from now on: a binding without one is new, or its backfill counter was raised.
        for index in 0..ledger.cells.len() {
            if ledger.cells[index].changed() {
                ledger.touch(index);
            }
        }
        Ok(ledger)
    }

    /// The ledgers of some of the bindings each. Nothing may be left for a patch.
    pub fn divide(self, shares: &[Vec<usize>]) -> Vec<Self> {
        let mut cells: Vec<Option<Cell>> = self.cells.into_iter().map(Some).collect();
        let ledger_of = |share: &Vec<usize>| Self {
            cells: share.iter().filter_map(|&it| cells.get_mut(it)?.take()).collect(),
            policy: self.policy,
            dirty: Vec::new(),
            rows: 0,
            shared: self.shared.clone(),
            shared_changed: false,
            catalog: None,
            taken_over: TakenOver::default(),
        };
        shares.iter().map(ledger_of).collect()
    }

    /// How many rows a binding had until now: that many it may have again.
    pub fn size(&self, index: usize) -> u64 {
        let cell = &self.cells[index];
        cell.row_id.max(cell.high_row_id)
    }

    pub fn state(&self, index: usize) -> Option<&RawValue> {
        self.cells[index].state.as_deref()
    }

    pub fn shared(&self) -> Option<&RawValue> {
        self.shared.as_deref()
    }

    /// Keeps a catalog for later sessions.
    pub fn keep_catalog(&mut self, catalog: Box<RawValue>) {
        self.catalog = Some(catalog);
    }

    /// The next row id of a binding.
    #[inline]
    pub fn next_row(&mut self, index: usize) -> u64 {
        let cell = &mut self.cells[index];
        cell.row_id += 1;
        let row_id = cell.row_id;
        if !cell.dirty {
            self.touch(index);
        }
        row_id
    }

    /// Applies what the connector said about its state.
    pub fn update(&mut self, update: BindingStates) {
        let mut named = vec![false; if update.complete { self.cells.len() } else { 0 }];
        for (index, state) in update.streams {
            if let Some(it) = named.get_mut(index) {
                *it = true;
            }
            self.set_state(index, state);
        }
        for index in (0..named.len()).filter(|&index| !named[index]) {
            self.set_state(index, None);
        }
        if raw_text(&self.shared) != raw_text(&update.shared) {
            self.shared = update.shared;
            self.shared_changed = true;
        }
    }

    fn set_state(&mut self, index: usize, state: Option<Box<RawValue>>) {
        let cell = &mut self.cells[index];
        cell.covered_row_id = cell.row_id;
        if !cell.complete && raw_text(&cell.state) != raw_text(&state) {
            cell.state = state;
            cell.state_changed = true;
            self.touch(index);
        }
    }

    /// The source says that it reads the stream.
    pub fn announce(&mut self, index: usize) {
        self.cells[index].announced = true;
    }

    /// Rows of older versions are gone (S13): a full refresh is complete. Whether there are older rows that Flow will not
    /// drop. An incremental tap sends this in each sync, with the version that it had before.
    pub fn activate_version(&mut self, index: usize) -> bool {
        let cell = &mut self.cells[index];
        cell.activated = true;
        let refreshes = cell.mode == Mode::FullRefresh;
        cell.activates |= refreshes;
        let stay = refreshes && cell.high_row_id > 0 && cell.truncation != Truncation::Begun;
        if cell.activates != cell.committed_activates {
            self.touch(index);
        }
        stay
    }

    /// The full refreshes that truncate, and whose begin was not sent yet.
    pub fn due_to_begin(&self) -> Vec<usize> {
        (0..self.cells.len()).filter(|&it| self.cells[it].truncation == Truncation::Due).collect()
    }

    /// The bindings whose rows an earlier session's source has truncated, and which wait for the state that covers that.
    pub fn truncated(&self) -> Vec<usize> {
        let is_truncated = |it: &Cell| it.mode == Mode::Incremental && it.truncation == Truncation::Begun;
        (0..self.cells.len()).filter(|&it| is_truncated(&self.cells[it])).collect()
    }

    /// Whether its collection is truncated where the source says so.
    pub fn truncates(&self, index: usize) -> bool {
        self.cells[index].truncates
    }

    /// Whether its collection has no rows, or only such as a truncation that has begun drops.
    pub fn is_empty(&self, index: usize) -> bool {
        self.cells[index].row_id == self.cells[index].empty_row_id
    }

    pub fn begin_truncation(&mut self, index: usize) {
        let cell = &mut self.cells[index];
        cell.truncation = Truncation::Begun;
        cell.empty_row_id = cell.row_id;
        self.touch(index);
    }

    /// What the collection had before its truncation began is gone.
    pub fn complete_truncation(&mut self, index: usize) {
        if self.cells[index].mode == Mode::FullRefresh {
            self.complete_full_refresh(index);
        }
        self.cells[index].truncation = Truncation::Off;
        self.touch(index);
    }

    /// Whether a full refresh that has read everything replaces all that was there before.
    pub fn may_truncate(&self, index: usize) -> bool {
        let cell = &self.cells[index];
        cell.truncation == Truncation::Begun && (!cell.has_bookmark || cell.activated)
    }

    /// Whether a connector that has ended well may have read a stream completely.
    pub fn may_be_complete(&self, index: usize) -> bool {
        let cell = &self.cells[index];
        cell.mode == Mode::FullRefresh && (!self.policy.announced || cell.has_begun())
    }

    /// A full refresh has read everything. Gives the row ids of earlier ones that it did not use again.
    pub fn complete_full_refresh(&mut self, index: usize) -> std::ops::RangeInclusive<u64> {
        let cell = &mut self.cells[index];
        // A sync that was given a bookmark brings what is new; unless the tap says so, nothing is gone (S17).
        let surplus = match (cell.continues(), cell.activated) {
            (false, _) => cell.row_id + 1..=cell.high_row_id,
            (true, true) => std::mem::replace(&mut cell.low_row_id, cell.first_row_id) + 1..=cell.first_row_id,
            #[allow(clippy::reversed_empty_ranges)]
            (true, false) => 1..=0,
        };
        cell.high_row_id = cell.row_id;
        if !cell.continues() {
            cell.low_row_id = 0;
        }
        if !self.policy.keeps_state {
            cell.set_none();
        }
        cell.complete = true;
        cell.truncation = Truncation::Off;
        self.touch(index);
        surplus
    }

    /// How many records of a binding arrived since this was last asked.
    pub fn count_records(&mut self, index: usize) -> u64 {
        let cell = &mut self.cells[index];
        let count = cell.row_id.saturating_sub(cell.counted);
        cell.counted = cell.row_id;
        count
    }

    /// How many records of all bindings arrived in this session.
    pub fn rows(&mut self) -> u64 {
        for &index in &self.dirty {
            let cell = &mut self.cells[index];
            self.rows += cell.row_id.saturating_sub(cell.summed);
            cell.summed = cell.row_id;
        }
        self.rows
    }

    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.shared_changed || self.catalog.is_some() || !self.taken_over.is_nothing()
    }

    fn touch(&mut self, index: usize) {
        let cell = &mut self.cells[index];
        if !cell.dirty {
            cell.dirty = true;
            self.dirty.push(index);
        }
    }

    /// A merge patch of what has changed since the last one.
    pub fn patch(&mut self) -> Result<Box<RawValue>> {
        self.rows();
        let TakenOver { mut cells, shared, top } = std::mem::take(&mut self.taken_over);
        let null = || RawValue::NULL.to_owned();
        let mut patch: Vec<(String, Box<RawValue>)> = top.into_iter().map(|name| (name, null())).collect();
        self.shared_changed |= shared.is_some();
        for index in std::mem::take(&mut self.dirty) {
            let cell = &mut self.cells[index];
            cell.dirty = false;
            let members = cells.entry(cell.state_key.clone()).or_default();
            let row_id = cell.next_first_row_id();
            if cell.committed_row_id != Some(row_id) {
                cell.committed_row_id = Some(row_id);
                members.insert("rowId".to_owned(), number(row_id));
            }
            cell.high_row_id = cell.high_row_id.max(cell.row_id);
            match cell.mode {
                Mode::FullRefresh if cell.committed_high != Some(cell.high_row_id) => {
                    cell.committed_high = Some(cell.high_row_id);
                    members.insert("highRowId".to_owned(), number(cell.high_row_id));
                }
                Mode::Incremental if cell.committed_high.take().is_some() => {
                    members.insert("highRowId".to_owned(), null());
                }
                _ => {}
            }
            if cell.committed_low != cell.low_row_id {
                cell.committed_low = cell.low_row_id;
                members
                    .insert("lowRowId".to_owned(), if cell.low_row_id > 0 { number(cell.low_row_id) } else { null() });
            }
            if cell.committed_begun != cell.has_begun_truncating() {
                cell.committed_begun = !cell.committed_begun;
                members
                    .insert("begun".to_owned(), if cell.committed_begun { RawValue::TRUE.to_owned() } else { null() });
            }
            if cell.committed_activates != cell.activates {
                cell.committed_activates = cell.activates;
                members.insert("activates".to_owned(), RawValue::TRUE.to_owned());
            }
            if cell.committed_method.as_deref() != cell.method {
                cell.committed_method = cell.method.map(str::to_owned);
                members.insert("method".to_owned(), cell.method.map_or_else(null, text));
            }
            let complete = cell.state.is_some() && (cell.complete || cell.was_complete && !cell.has_begun());
            if cell.committed_complete != complete {
                cell.committed_complete = complete;
                members.insert("swept".to_owned(), if complete { RawValue::TRUE.to_owned() } else { null() });
            }
            if std::mem::take(&mut cell.state_changed) {
                members.insert("state".to_owned(), cell.state.as_deref().map_or_else(null, wrap_cell));
            }
        }
        let encode = "can't write the capture's state";
        if !cells.is_empty() {
            patch.push((BINDINGS.into(), to_raw_value(&cells).context(encode)?));
        }
        if std::mem::take(&mut self.shared_changed) {
            patch.push((SHARED.into(), self.shared.as_deref().map_or_else(null, wrap_cell)));
        }
        if let Some(catalog) = self.catalog.take() {
            patch.push((CATALOG.into(), wrap_cell(&catalog)));
        }
        to_raw_value(&patch.into_iter().collect::<BTreeMap<_, _>>()).context(encode)
    }
}

#[cfg(test)]
mod tests;
