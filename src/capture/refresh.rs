//! The full-refresh policy: what happens to the rows that a completed full refresh did not bring again.
//!
//! Rows that are told apart by row id get tombstones. If the collection is keyed by the source's own key, the missing rows
//! are unknown and stay.

use std::io::{self, Write};

use super::document;
use super::ledger::Ledger;
use crate::flow::codec::Writer;
use crate::upstream::Rows;

/// Ends a full refresh that has read everything. Gives the number of tombstones.
pub fn complete<W: Write>(ledger: &mut Ledger, binding: usize, out: &mut Writer<W>) -> io::Result<u64> {
    let surplus = ledger.complete_full_refresh(binding);
    if ledger.cells[binding].rows() != Rows::ByRowId {
        return Ok(0);
    }
    let mut count = 0;
    for row_id in surplus {
        document::write_tombstone(out, binding, row_id)?;
        count += 1;
    }
    Ok(count)
}
