//! The full-refresh policy: what happens to the rows that a completed full refresh did not bring again.
//!
//! By default, rows that are told apart by row id get tombstones. If the collection is keyed by the source's own key, the
//! missing rows are unknown and stay.
//!
//! A truncating refresh (`fullRefresh: truncate`) leaves it to Flow: `backfillBegin` marks where the refresh begins, and
//! `backfillComplete` drops what the collection had before that mark. Begin is sent once for each refresh, before any
//! document of the session that starts it (Q16). The cell remembers it (`begun`), as a refresh that resumes in a later session
//! needs the mark of the first one. Complete is sent once the refresh is complete and committed. A session that is killed
//! in between leaves a refresh that was not completed: it resumes, or starts over with a new mark.
//!
//! A tap with a bookmark truncates only if an earlier sync of it sent ACTIVATE_VERSION (`activates`), and completes only if
//! this one does (S17).
//!
//! Row ids are counted the same way, so that the setting can change at any time. A refresh that was interrupted
//! before it changed ends with tombstones.
//!
//! A source that says itself when all rows of a stream are gone ([`crate::upstream::Event::Truncate`]) truncates the collection the same
//! way: begin is sent at that moment, complete with the next state, which may come in a later session. Documents before the begin are
//! committed without a state of their own, and come again if the session fails before the next one.
use std::io::{self, Write};

use tracing::warn;

use super::assign;
use super::document;
use super::ledger::Ledger;
use crate::flow::codec::Writer;
use crate::flow::request::Range;
use crate::settings::{FullRefresh, Settings};
use crate::upstream::{FullRefreshPolicy, Mode, Resource, Rows};

/// Of each binding, whether its collection is truncated. Only a shard with all keys may send the messages (Q15).
pub fn truncating(
    settings: &Settings,
    policy: FullRefreshPolicy,
    range: Option<&Range>,
    resources: &[Resource],
) -> Vec<bool> {
    let wants = |it: &Resource| {
        let of_stream = settings.streams.of(&it.id).full_refresh;
        let has_effect = it.mode == Mode::FullRefresh || policy.truncates;
        if !has_effect && of_stream == Some(FullRefresh::Truncate) {
            warn!("stream {}: `fullRefresh: truncate` has no effect, as the stream is read incrementally", it.id);
        }
        has_effect && of_stream.unwrap_or(settings.full_refresh) == FullRefresh::Truncate
    };
    let wanted: Vec<bool> = resources.iter().map(wants).collect();
    if assign::has_all_keys(range) || !wanted.contains(&true) {
        return wanted;
    }
    warn!(
        "`fullRefresh: truncate` has no effect in a capture with several shards: full refreshes end as with `fullRefresh: tombstones`"
    );
    vec![false; resources.len()]
}

/// Ends a full refresh that has read everything and does not truncate. `number` is Flow's of the binding. Gives the number of
/// tombstones.
pub fn complete<W: Write>(ledger: &mut Ledger, binding: usize, out: &mut Writer<W>, number: usize) -> io::Result<u64> {
    let surplus = ledger.complete_full_refresh(binding);
    if ledger.cells[binding].rows() != Rows::ByRowId {
        return Ok(0);
    }
    let mut count = 0;
    for row_id in surplus {
        document::write_tombstone(out, number, row_id)?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
