//! States: a STATE's `value` is opaque, and the tap gets it back unchanged (S4).
//!
//! By convention it is `{"bookmarks": {"<tap_stream_id>": ...}, ...}`. The bookmark of a bound stream is kept in its
//! binding's cell, so that a raised backfill counter removes that bookmark and nothing else. The rest, like bookmarks of
//! other streams or a value of another shape, is the shared state.
//!
//! A tap gets the bookmark of a FULL_TABLE stream back like any other, also after a complete refresh: taps expect it
//! (pipelinewise's store in it how the stream was replicated, and the version of its rows). After an interrupted refresh
//! the tap gets it if rows have a key: rows that it then sends again replace themselves (pipelinewise's resend rows of the
//! same xmin). Rows that only row ids identify would be duplicated, so there the bookmark is dropped, and the refresh and
//! the row ids start from the beginning. What may be a bookmark of such rows in the shared state can't be dropped, as it
//! may be other streams' as well: row ids continue then, and nothing is deleted. A stop by the shim always is an interruption: SDK taps exit with 0 on SIGTERM,
//! finished or not.

use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::json::members::{Members, is_blank};
use crate::upstream::{LegacyCell, Rows, StateUpdate, StreamId, SyncRequest};

const BOOKMARKS: &str = "bookmarks";
const CURRENTLY_SYNCING: &str = "currently_syncing";

/// The stream that the tap is reading, according to its state.
pub fn currently_syncing(value: &RawValue) -> Option<String> {
    serde_json::from_str(Members::of(value)?.get(CURRENTLY_SYNCING)?.get()).ok()
}

/// Splits a STATE's value into the changes of Flow's state.
pub fn split(value: &RawValue, is_bound: impl Fn(&str) -> bool) -> StateUpdate {
    let whole = || StateUpdate {
        shared: Some(value.to_owned()),
        complete: true,
        indivisible: !is_divisible(value),
        ..StateUpdate::default()
    };
    let Some(mut members) = Members::of(value) else { return whole() };
    let Some(mut bookmarks) = members.get(BOOKMARKS).and_then(Members::of) else { return whole() };
    let mut streams = Vec::new();
    bookmarks.0.retain(|(id, bookmark)| {
        let bound = is_bound(id);
        if bound {
            streams.push((stream_id(id), Some((*bookmark).to_owned())));
        }
        !bound
    });
    if streams.is_empty() {
        return whole();
    }
    let rest = bookmarks.to_raw();
    members.set(BOOKMARKS, &rest);
    StateUpdate { streams, shared: Some(members.to_raw()), complete: true, ..StateUpdate::default() }
}

/// The value that a sync starts with; `None` if there is no state yet, and no `--state` option.
pub fn join(sync: &SyncRequest) -> Option<Box<RawValue>> {
    let bound = || sync.streams.iter().map(|it| (it.resource.id.name.as_str(), it.state));
    let has_bookmarks = bound().any(|(_, state)| state.is_some());
    let shared = sync.shared_state.filter(|it| it.get() != "null");
    let mut value = match shared {
        None if !has_bookmarks => return None,
        None => Members::default(),
        Some(shared) => match Members::of(shared) {
            Some(members) => members,
            None => return Some(shared.to_owned()),
        },
    };
    let mut bookmarks = match value.get(BOOKMARKS).map(Members::of) {
        None if !has_bookmarks => return Some(value.to_raw()),
        None => Members::default(),
        Some(Some(bookmarks)) => bookmarks,
        // Such a value never had bookmarks of bound streams.
        Some(None) => return Some(value.to_raw()),
    };
    // Bookmarks of bound streams are in the cells. Others of the same id date from an earlier binding.
    let ids: HashSet<&str> = bound().map(|(id, _)| id).collect();
    bookmarks.0.retain(|(id, _)| !ids.contains(id.as_str()));
    bookmarks.0.extend(bound().filter_map(|(id, state)| Some((id.to_owned(), state?))));
    let bookmarks = bookmarks.to_raw();
    value.set(BOOKMARKS, &bookmarks);
    Some(value.to_raw())
}

/// Whether a shared state is that of a tap which keeps a map of bookmarks, or has none yet.
pub fn is_divisible(shared: &RawValue) -> bool {
    let Some(members) = Members::of(shared) else { return false };
    match members.get(BOOKMARKS) {
        Some(bookmarks) => Members::of(bookmarks).is_some(),
        None => members.0.iter().all(|(name, _)| name == CURRENTLY_SYNCING),
    }
}

/// Of each stream, given by its names, whether the shared state may be, or contain, its bookmark. A value without `bookmarks`
/// may be anybody's, except for members that are named after a stream. Taps that follow the convention may still keep a
/// bookmark under another name of the stream.
pub fn may_be_bookmarks(shared: &RawValue, streams: &[Vec<String>]) -> Vec<bool> {
    let Some(members) = Members::of(shared) else { return vec![!is_blank(shared); streams.len()] };
    let bookmarks = members.get(BOOKMARKS).and_then(Members::of);
    let is_by_convention = bookmarks.is_some();
    let all = members.0.iter().chain(bookmarks.iter().flat_map(|it| &it.0));
    let said: HashSet<&str> = all.filter(|(_, value)| !is_blank(value)).map(|(name, _)| name.as_str()).collect();
    let known: HashSet<&str> = streams.iter().flatten().map(String::as_str).chain([CURRENTLY_SYNCING]).collect();
    let is_anybodys = !is_by_convention && said.iter().any(|it| !known.contains(it));
    streams.iter().map(|names| is_anybodys || names.iter().any(|it| said.contains(it.as_str()))).collect()
}

/// Whether an interrupted full refresh resumes from a bookmark; see the module documentation.
pub fn resumes(rows: Rows) -> bool {
    rows == Rows::Keyed
}

/// Reads a cell of flow_sdk's CaptureShim: a stream's bookmark, with the number of rows among its members.
pub fn legacy_cell(cell: &RawValue) -> Option<LegacyCell> {
    const ROW_COUNTER: &str = "estuary.dev/rowCounter";
    let mut members = Members::of(cell)?;
    // A bookmark may be any object, but one with members of ours is a damaged cell of ours.
    if ["rowId", "highRowId", "state"].iter().any(|it| members.get(it).is_some()) {
        return None;
    }
    let count: Option<u64> = match members.get(ROW_COUNTER) {
        Some(it) => Some(serde_json::from_str(it.get()).ok()?),
        None => None,
    };
    members.0.retain(|(name, _)| name != ROW_COUNTER);
    let state = (!members.0.is_empty()).then(|| members.to_raw());
    Some(LegacyCell { row_id: count.unwrap_or_default(), state })
}

pub fn stream_id(tap_stream_id: &str) -> StreamId {
    StreamId { namespace: None, name: tap_stream_id.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Discovery, Protocol, Resource, Selected, Stream};
    use proptest::prelude::*;
    use serde_json::Value;

    const BOUND: [&str; 3] = ["a", "b", "c d"];

    #[test]
    fn a_map_of_bookmarks_can_be_divided() {
        for (value, want) in [
            (r#"{"bookmarks": {"a": {"at": 1}}, "currently_syncing": "a"}"#, true),
            (r#"{"bookmarks": {"other": {"at": 1}}, "version": 2}"#, true),
            (r#"{"bookmarks": {}}"#, true),
            (r#"{"currently_syncing": null}"#, true),
            ("{}", true),
            (r#"{"a": {"at": 1}}"#, false),
            (r#"{"bookmarks": "2024-01-01"}"#, false),
            (r#""2024-01-01""#, false),
            ("null", false),
        ] {
            let raw = RawValue::from_string(value.to_owned()).unwrap();
            assert_eq!(is_divisible(&raw), want, "{value}");
            let update = split(&raw, |it| it == "a");
            assert_eq!(update.indivisible, !want, "{value}");
            assert!(update.indivisible || is_divisible(&update.shared.unwrap()), "the shared state of {value}");
        }
    }

    #[test]
    fn shared_state_may_be_a_bookmark_of_any_stream() {
        for (shared, may_be) in [
            (r#""2024-01-01""#, true),
            (r#"{"start_date": "2024-01-01"}"#, true),
            (r#"{"a": {"at": 1}}"#, true),
            (r#"{"other": {"at": 1}, "currently_syncing": "a"}"#, false),
            (r#"{"start_date": null, "x": {}, "y": [ ], "z": ""}"#, false),
            (r#"{"bookmarks": "2024-01-01"}"#, true),
            (r#"{"bookmarks": {}, "version": 2}"#, false),
            (r#"{"bookmarks": {"other": {"at": 1}}}"#, false),
            (r#"{"bookmarks": {"name of a": {"at": 1}}}"#, true),
            ("null", false),
            ("{}", false),
        ] {
            let shared = RawValue::from_string(shared.to_owned()).unwrap();
            let streams = [vec!["a".to_owned(), "name of a".to_owned()], vec!["other".to_owned()]];
            assert_eq!(may_be_bookmarks(&shared, &streams)[0], may_be, "{shared}");
        }
    }

    fn given_back(value: &RawValue) -> Option<Box<RawValue>> {
        let update = split(value, |id| BOUND.contains(&id));
        let declared = |id: &str| RawValue::from_string(format!(r#"{{"tap_stream_id":"{id}"}}"#)).unwrap();
        let singer = crate::singer::Singer::default();
        let bound: Vec<(Stream, Resource)> = BOUND
            .iter()
            .map(|id| {
                let config = RawValue::from_string(format!(r#"{{"stream":"{id}","replicationMethod":"LOG_BASED"}}"#));
                (singer.stream(declared(id)).unwrap(), singer.resource(&config.unwrap()).unwrap())
            })
            .collect();
        let state = |id: &StreamId| update.streams.iter().find(|it| it.0 == *id).and_then(|it| it.1.as_deref());
        let streams = bound
            .iter()
            .map(|(stream, resource)| Selected { stream, resource, state: state(&resource.id), fresh: false })
            .collect();
        let config = RawValue::NULL;
        join(&SyncRequest {
            config,
            streams,
            others: &[],
            shared_state: update.shared.as_deref(),
            spec: None,
            activity: Default::default(),
        })
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            Just(serde_json::from_str("12345678901234567890123.10").unwrap()),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        let name = || prop_oneof![4 => "(a|b|c d|x)", 1 => Just("bookmarks".to_owned())];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map(name(), inner, 0..4)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// A tap gets every state back unchanged, except null, which is no state.
        #[test]
        fn a_value_comes_back_as_it_was(value in json(), bookmarks in json(), has_bookmarks in any::<bool>()) {
            let mut value = value;
            if has_bookmarks && value.is_object() {
                value["bookmarks"] = bookmarks;
            }
            let text = RawValue::from_string(value.to_string()).unwrap();
            let back = given_back(&text).map(|it| serde_json::from_str::<Value>(it.get()).unwrap());
            prop_assert_eq!(back.unwrap_or(Value::Null), value);
        }
    }
}
