//! A connector's state in Flow's.
//!
//! A connector has one state for all of its tables (V18), so it is shared: `{"state": "TEXT", "tables": "HASH"}`. Each binding that a
//! state covers has `{"tables": "HASH"}` with the same hash. A binding that is new, was disabled for a while, or was backfilled does not have
//! it: the state has moved past rows that were never captured for it. As one table can't be reset alone, the connector then gets no
//! state, and reads all of them again.

use std::borrow::Cow;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};

use crate::error;
use crate::upstream::{Selected, StreamId};

/// What a connector without a state is given.
pub const NOTHING: &str = "{}";

#[derive(Serialize, Deserialize)]
struct Shared<'a> {
    /// The text itself: as JSON it would come back from Flow with other white space and, perhaps, other numbers.
    #[serde(borrow)]
    state: Cow<'a, str>,
    /// A hash of the tables that it covers.
    tables: Cow<'a, str>,
}

/// What is kept of one table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableState {
    tables: String,
    /// Columns that came without being declared: a row that does not have them any more has nulls there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

impl TableState {
    pub fn new(tables: &str, columns: Vec<String>) -> Self {
        Self { tables: tables.to_owned(), columns }
    }

    pub fn parse(state: &RawValue) -> Result<Self> {
        serde_json::from_str(state.get()).map_err(|it| error::without_input(&it))
    }

    pub fn to_raw(&self) -> Result<Box<RawValue>> {
        to_raw_value(self).context("can't write the state of a table")
    }
}

/// The state to give to the connector, and the tables that it does not cover.
pub fn resume(shared: Option<&RawValue>, streams: &[Selected<'_>]) -> Result<(String, Vec<StreamId>)> {
    let Some(shared) = shared else { return Ok((NOTHING.to_owned(), Vec::new())) };
    let Shared { state, tables } = serde_json::from_str(shared.get())
        .map_err(|it| error::without_input(&it))
        .context("the connector's state in Flow is damaged: backfill the capture to start it over")?;
    let mut uncovered = Vec::new();
    for it in streams {
        let id = &it.stream.id;
        let damaged = || format!("the state of stream {id} in Flow is damaged: backfill its binding to start it over");
        let kept = it.state.map(TableState::parse).transpose().with_context(damaged)?;
        if kept.is_none_or(|it| it.tables != tables) {
            uncovered.push(id.clone());
        }
    }
    if !uncovered.is_empty() {
        return Ok((NOTHING.to_owned(), uncovered));
    }
    // A connector that has nothing to say may send an empty state, and could not read it.
    Ok((if state.trim().is_empty() { NOTHING.to_owned() } else { state.into_owned() }, uncovered))
}

/// The shared state for a state that the connector sent.
pub fn share(state: &str, tables: &str) -> Result<Box<RawValue>> {
    let shared = Shared { state: state.into(), tables: tables.into() };
    to_raw_value(&shared).context("can't write the connector's state")
}

/// A hash of the names of tables, in any order.
pub fn hash_of<'a>(streams: impl Iterator<Item = &'a StreamId>) -> String {
    let mut ids: Vec<&StreamId> = streams.collect();
    ids.sort();
    let mut hash = Sha256::new();
    for id in ids {
        for part in [id.namespace.as_deref().unwrap_or_default(), &id.name] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hex(&hash.finalize()[..8])
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: Option<&str>, name: &str) -> StreamId {
        StreamId { namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }

    #[test]
    fn a_state_comes_back_as_the_text_that_it_was() {
        for (text, want) in [
            (r#"{"a": 1.0, "b" : [null], "c":12345678901234567890.10}"#, None),
            ("{\n\"a\": 1}", None),
            (r#"{"a": NaN}"#, None),
            (r#""text""#, None),
            ("[1]", None),
            ("not JSON", None),
            ("", Some("{}")),
        ] {
            let shared = share(text, "t").unwrap();
            assert!(!shared.get().contains('\n'), "{text}");
            assert_eq!(resume(Some(&shared), &[]).unwrap().0, want.unwrap_or(text));
        }
        assert_eq!(resume(None, &[]).unwrap().0, "{}");
    }

    #[test]
    fn the_hash_tells_sets_of_tables_apart() {
        let hash = |ids: &[StreamId]| hash_of(ids.iter());
        let (a, b) = (id(None, "a"), id(Some("a"), "b"));
        assert_eq!(hash(&[a.clone(), b.clone()]), hash(&[b.clone(), a.clone()]));
        assert_ne!(hash(&[id(None, "ab")]), hash(&[id(Some("a"), "b")]));
        assert_ne!(hash(std::slice::from_ref(&a)), hash(&[a.clone(), b]));
    }
}
