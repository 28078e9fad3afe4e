//! The state that Flow keeps for a capture, and the merge patches that bring it up to date.
//!
//! ```json
//! {"bindingStateV1": {"<stateKey>": {"rowId": 451234, "highRowId": 451234, "state": [{"cursor": 7}]}},
//!  "sharedStateV1": [{"type": "GLOBAL"}],
//!  "catalogV1": [{"version": "1122334455667788", "streams": []}]}
//! ```
//!
//! `highRowId` is a full refresh's, `complete` that of one which was complete and whose state is handed back all the same.
//! A state of the connector's is in an array of one: merge patches replace arrays whole and keep the nulls in them
//! (F8). A patch holds what has changed since the one before, and nothing else.

mod cell;

use anyhow::{Context, Result};
use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::error;
use crate::upstream::{FullRefreshPolicy, Mode, Rows, StateUpdate, Stream, StreamId, Upstream};

pub use cell::Cell;
use cell::{StoredCell, number, raw_text, unwrap_cell, wrap_cell};

pub const BINDINGS: &str = "bindingStateV1";
pub const SHARED: &str = "sharedStateV1";
pub const CATALOG: &str = "catalogV1";

/// Reads a part of the state. The error does not quote it.
fn parse<T: DeserializeOwned>(raw: &RawValue) -> Result<T> {
    serde_json::from_str(raw.get()).map_err(|it| error::without_input(&it))
}

/// Flow's state as a session finds it.
pub struct Stored {
    cells: HashMap<String, Box<RawValue>>,
    shared: Option<Box<RawValue>>,
    catalog: Option<Box<RawValue>>,
    /// What is neither: an older wrapper's state at the top.
    older: BTreeMap<String, Box<RawValue>>,
}

impl Stored {
    pub fn parse(state: Option<&RawValue>) -> Result<Self> {
        let what = "the state that Flow keeps for this capture can't be read";
        let mut older: BTreeMap<String, Box<RawValue>> = match state {
            Some(raw) => parse::<Option<_>>(raw).context(what)?.unwrap_or_default(),
            None => BTreeMap::new(),
        };
        let cells = match older.remove(BINDINGS) {
            Some(raw) => parse::<Option<_>>(&raw).context(what)?.unwrap_or_default(),
            None => HashMap::new(),
        };
        let shared = older.remove(SHARED).and_then(|it| unwrap_cell(&it));
        let catalog = older.remove(CATALOG).and_then(|it| unwrap_cell(&it));
        Ok(Self { cells, shared, catalog, older })
    }

    /// The catalog that an earlier session kept.
    pub fn catalog(&self) -> Option<&RawValue> {
        self.catalog.as_deref()
    }

    /// Whether the binding has run under another backfill counter.
    fn has_other_version(&self, state_key: &str) -> bool {
        let Some((path, _)) = state_key.rsplit_once(".v") else { return false };
        self.cells.keys().any(|key| key.rsplit_once(".v").is_some_and(|(it, _)| it == path))
    }
}

pub struct Ledger {
    pub cells: Vec<Cell>,
    policy: FullRefreshPolicy,
    by_stream: HashMap<StreamId, usize>,
    dirty: Vec<usize>,
    shared: Option<Box<RawValue>>,
    shared_changed: bool,
    catalog: Option<Box<RawValue>>,
    /// Older top-level members that this session has taken over.
    taken_over: Vec<String>,
}

/// A binding, as far as its state goes.
pub struct Entry<'a> {
    pub state_key: &'a str,
    pub mode: Mode,
    pub rows: Rows,
    pub stream: &'a Stream,
}

impl Ledger {
    /// Takes up the state where the last session left it.
    pub fn open(stored: Stored, entries: &[Entry], source: &dyn Upstream) -> Result<Self> {
        let what = "the state that Flow keeps for this capture can't be read";
        let mut ledger = Self {
            cells: Vec::new(),
            policy: source.full_refresh_policy(),
            by_stream: HashMap::new(),
            dirty: Vec::new(),
            shared: stored.shared.clone(),
            shared_changed: false,
            catalog: None,
            taken_over: Vec::new(),
        };
        for (index, entry) in entries.iter().enumerate() {
            let mut cell = Cell::new(entry);
            if let Some(raw) = stored.cells.get(entry.state_key) {
                let found: StoredCell = parse(raw).context(what)?;
                match (found.row_id, found.state.as_deref().map(unwrap_cell)) {
                    (Some(_), None | Some(Some(_))) => cell.resume(found, entry.stream, source),
                    _ => cell.take_over(raw, entry.stream, source),
                }
            }
            ledger.by_stream.insert(entry.stream.id.clone(), index);
            ledger.cells.push(cell);
        }
        ledger.take_over_top(&stored, entries, source).context(what)?;
        // Each binding has a cell from now on: one without is fresh, be it new or its backfill counter raised.
        for index in 0..ledger.cells.len() {
            if ledger.cells[index].changed() {
                ledger.touch(index);
            }
        }
        Ok(ledger)
    }

    /// An older wrapper's state at the top holds for bindings that never ran under this one.
    fn take_over_top(&mut self, stored: &Stored, entries: &[Entry], source: &dyn Upstream) -> serde_json::Result<()> {
        if stored.older.is_empty() {
            return Ok(());
        }
        let orphans: Vec<usize> = (0..self.cells.len())
            .filter(|&index| self.cells[index].fresh && !stored.has_other_version(&self.cells[index].state_key))
            .collect();
        let older: Map<String, Value> = serde_json::from_str(&serde_json::to_string(&stored.older)?)?;
        let ids: Vec<&StreamId> = orphans.iter().map(|&index| &entries[index].stream.id).collect();
        let found = source.legacy_state(&older, &ids);
        if let Some(shared) = found.shared.filter(|_| stored.cells.is_empty() && stored.shared.is_none()) {
            self.shared = Some(shared);
            self.shared_changed = true;
            self.taken_over = stored.older.keys().cloned().collect();
            orphans.iter().for_each(|&index| self.cells[index].fresh = false);
        }
        for (id, state) in found.streams {
            let Some(&index) = self.by_stream.get(&id) else { continue };
            self.cells[index].adopt(0, Some(state), entries[index].stream, source);
            self.taken_over.push(id.name);
        }
        Ok(())
    }

    pub fn index_of(&self, id: &StreamId) -> Option<usize> {
        self.by_stream.get(id).copied()
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

    /// Takes what the connector said of its state. Gives the streams among them that are not bound.
    pub fn update(&mut self, update: StateUpdate) -> Vec<StreamId> {
        let mut unbound = Vec::new();
        let mut named = vec![false; if update.complete { self.cells.len() } else { 0 }];
        for (id, state) in update.streams {
            match self.index_of(&id) {
                Some(index) => {
                    if let Some(it) = named.get_mut(index) {
                        *it = true;
                    }
                    self.set_state(index, state);
                }
                None => unbound.push(id),
            }
        }
        for index in (0..named.len()).filter(|&index| !named[index]) {
            self.set_state(index, None);
        }
        if raw_text(&self.shared) != raw_text(&update.shared) {
            self.shared = update.shared;
            self.shared_changed = true;
        }
        unbound
    }

    fn set_state(&mut self, index: usize, state: Option<Box<RawValue>>) {
        let cell = &mut self.cells[index];
        if !cell.complete && raw_text(&cell.state) != raw_text(&state) {
            cell.state = state;
            cell.state_changed = true;
            self.touch(index);
        }
    }

    /// The source says that it reads a stream.
    pub fn announce(&mut self, index: usize) {
        self.cells[index].announced = true;
    }

    /// Whether a connector that has ended well has read a stream from one end to the other.
    pub fn was_complete(&self, index: usize) -> bool {
        let cell = &self.cells[index];
        cell.mode == Mode::FullRefresh && (!self.policy.announced || cell.has_begun())
    }

    /// A full refresh has read everything. Gives the row ids that earlier sweeps have used beyond it.
    pub fn complete_full_refresh(&mut self, index: usize) -> std::ops::RangeInclusive<u64> {
        let cell = &mut self.cells[index];
        let surplus = cell.row_id + 1..=cell.high_row_id;
        cell.high_row_id = cell.row_id;
        if !self.policy.keeps_state {
            cell.set_none();
        }
        cell.complete = true;
        self.touch(index);
        surplus
    }

    /// How many records of a binding came since this was last asked.
    pub fn count_records(&mut self, index: usize) -> u64 {
        let cell = &mut self.cells[index];
        let count = cell.row_id.saturating_sub(cell.counted);
        cell.counted = cell.row_id;
        count
    }

    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.shared_changed || self.catalog.is_some() || !self.taken_over.is_empty()
    }

    fn touch(&mut self, index: usize) {
        let cell = &mut self.cells[index];
        if !cell.dirty {
            cell.dirty = true;
            self.dirty.push(index);
        }
    }

    /// What has changed since the last patch, as a merge patch.
    pub fn patch(&mut self) -> Result<Box<RawValue>> {
        let mut patch: Vec<(String, Box<RawValue>)> = Vec::new();
        let mut cells: BTreeMap<String, BTreeMap<String, Box<RawValue>>> = BTreeMap::new();
        let null = || RawValue::NULL.to_owned();
        for name in self.taken_over.drain(..) {
            patch.push((name, null()));
        }
        for index in std::mem::take(&mut self.dirty) {
            let cell = &mut self.cells[index];
            cell.dirty = false;
            let mut members = BTreeMap::new();
            if cell.committed_row_id != Some(cell.row_id) {
                cell.committed_row_id = Some(cell.row_id);
                members.insert("rowId".to_owned(), number(cell.row_id));
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
            let complete = cell.state.is_some() && (cell.complete || cell.was_complete && !cell.has_begun());
            if cell.committed_complete != complete {
                cell.committed_complete = complete;
                members.insert("swept".to_owned(), if complete { RawValue::TRUE.to_owned() } else { null() });
            }
            if std::mem::take(&mut cell.state_changed) {
                members.insert("state".to_owned(), cell.state.as_deref().map_or_else(null, wrap_cell));
            }
            // An older wrapper's member has another name than any of ours.
            members.extend(cell.stale.drain(..).map(|name| (name, null())));
            cells.insert(cell.state_key.clone(), members);
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
