//! What earlier wrappers left in Flow's state, in this version's form.
//!
//! airbyte-to-flow kept states at the top, CaptureShim and flow_sdk kept them in the cells. What is taken over looks as if
//! this version had written it, so a session finds the same whether that happened at Apply or at its Open. It needs only the
//! bindings' state keys and streams: nothing is discovered, and no connector runs.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::cell::{StoredCell, number, wrap_cell};
use super::{BINDINGS, SHARED, Stored, UNREADABLE, path_of};
use crate::upstream::{Legacy, StreamId};

/// The members of a cell, or of the state.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// What has to change in Flow's state for it to have this version's form.
#[derive(Default)]
pub struct TakenOver {
    /// Members of cells, by state key; null deletes one.
    pub(super) cells: BTreeMap<String, Members>,
    pub(super) shared: Option<Box<RawValue>>,
    /// Members at the top to be deleted.
    pub(super) top: Vec<String>,
}

impl TakenOver {
    pub fn is_nothing(&self) -> bool {
        self.cells.is_empty() && self.shared.is_none() && self.top.is_empty()
    }

    /// The changes as a merge patch.
    pub fn patch(self) -> Result<Box<RawValue>> {
        let mut patch: Members = self.top.into_iter().map(|name| (name, RawValue::NULL.to_owned())).collect();
        let encode = "can't write the capture's state";
        if !self.cells.is_empty() {
            patch.insert(BINDINGS.to_owned(), to_raw_value(&self.cells).context(encode)?);
        }
        if let Some(shared) = self.shared {
            patch.insert(SHARED.to_owned(), wrap_cell(&shared));
        }
        to_raw_value(&patch).context(encode)
    }
}

impl Stored {
    /// Takes over the states of these bindings, given by state key and stream. A cell in no known form is left as it is.
    pub fn take_over(&mut self, bindings: &[(&str, &StreamId)], source: &dyn Legacy) -> Result<()> {
        // Before any cell is added: a binding with a cell of either form is not new.
        let has_cells = !self.cells.is_empty();
        let paths = self.paths();
        let is_new = |key: &str| !self.cells.contains_key(key) && path_of(key).is_none_or(|it| !paths.contains(it));
        let new: Vec<(&str, &StreamId)> = bindings.iter().filter(|(key, _)| is_new(key)).copied().collect();
        for (state_key, _) in bindings {
            self.take_over_cell(state_key, source);
        }
        self.take_over_top(&new, has_cells, source)
    }

    fn take_over_cell(&mut self, state_key: &str, source: &dyn Legacy) {
        let Some(raw) = self.cells.get(state_key).filter(|it| StoredCell::parse(it).is_err()) else { return };
        let Some(legacy) = source.legacy_cell(raw) else { return };
        let names = serde_json::from_str::<Members>(raw.get()).unwrap_or_default().into_keys();
        let stale: Members = names.map(|name| (name, RawValue::NULL.to_owned())).collect();
        self.set_cell(state_key, legacy.row_id, legacy.state.as_deref(), stale);
    }

    /// A state at the top applies to bindings that never ran under this wrapper.
    fn take_over_top(&mut self, new: &[(&str, &StreamId)], has_cells: bool, source: &dyn Legacy) -> Result<()> {
        if self.legacy.is_empty() || new.is_empty() {
            return Ok(());
        }
        let text = serde_json::to_string(&self.legacy).context(UNREADABLE)?;
        let legacy: Map<String, Value> = serde_json::from_str(&text).context(UNREADABLE)?;
        let ids: Vec<&StreamId> = new.iter().map(|(_, id)| *id).collect();
        let found = match source.legacy_state(&legacy, &ids) {
            Ok(found) => found,
            Err(error) => bail!("{error:#}: backfill the binding to start it over"),
        };
        if let Some(shared) = found.shared.filter(|_| !has_cells && self.shared.is_none()) {
            self.taken_over.top = std::mem::take(&mut self.legacy).into_keys().collect();
            self.taken_over.shared = Some(shared.clone());
            self.shared = Some(shared);
            // A binding without a cell would start afresh.
            for (state_key, _) in new {
                self.set_cell(state_key, 0, None, Members::new());
            }
        }
        let by_stream: HashMap<&StreamId, &str> = new.iter().map(|(key, id)| (*id, *key)).collect();
        for (id, state) in found.streams {
            if let Some(state_key) = by_stream.get(&id) {
                self.set_cell(state_key, 0, Some(&state), Members::new());
                self.legacy.remove(&id.name);
                self.taken_over.top.push(id.name);
            }
        }
        Ok(())
    }

    /// Sets a cell to one of ours. `others` are further members, to be deleted.
    fn set_cell(&mut self, state_key: &str, row_id: u64, state: Option<&RawValue>, others: Members) {
        let mut cell = Members::from([("rowId".to_owned(), number(row_id))]);
        cell.extend(state.map(|it| ("state".to_owned(), wrap_cell(it))));
        // A map of JSON is JSON.
        self.cells.insert(state_key.to_owned(), to_raw_value(&cell).unwrap_or_else(|_| RawValue::NULL.to_owned()));
        let mut members = others;
        members.extend(cell);
        self.taken_over.cells.insert(state_key.to_owned(), members);
    }
}

#[cfg(test)]
mod tests;
