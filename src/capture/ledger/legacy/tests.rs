//! A session finds the same after Apply has taken over an earlier wrapper's state as without it.

use proptest::prelude::*;
use serde_json::json;

use super::super::tests::{commit, held, raw, stream};
use super::*;
use crate::airbyte::Airbyte;
use crate::capture::ledger::{BindingStates, Entry, Ledger};
use crate::json::merge::merge;
use crate::singer::Singer;
use crate::upstream::{Mode, Rows, Stream, Upstream};

const STREAMS: [&str; 3] = ["s0", "s1", "s2"];

#[derive(Clone, Debug)]
struct Case {
    is_singer: bool,
    bindings: Vec<(Mode, Rows, Option<&'static str>)>,
    state: Value,
    /// The records that each binding reads, and whether it then is complete.
    reads: Vec<(usize, bool)>,
}

impl Case {
    fn source(&self) -> Box<dyn Upstream> {
        if self.is_singer { Box::new(Singer::default()) } else { Box::new(Airbyte::default()) }
    }

    fn open(&self, state: &Value) -> Result<Ledger, String> {
        let streams: Vec<Stream> = STREAMS.iter().map(|it| stream(it)).collect();
        let keys = STREAMS.map(|it| format!("{it}.v0"));
        let entries: Vec<Entry> = (0..STREAMS.len())
            .map(|it| {
                let (mode, rows, method) = self.bindings[it];
                Entry { state_key: &keys[it], mode, method, rows, truncates: false, stream: &streams[it] }
            })
            .collect();
        let stored = Stored::parse(Some(&raw(state))).map_err(|it| format!("{it:#}"))?;
        Ledger::open(stored, &entries, self.source().as_ref()).map_err(|it| format!("{it:#}"))
    }

    /// The patch that Apply gives.
    fn apply(&self, state: &Value) -> Option<Value> {
        let mut stored = Stored::parse(Some(&raw(state))).unwrap();
        let ids = STREAMS.map(|name| StreamId { namespace: None, name: name.to_owned() });
        let keys = STREAMS.map(|it| format!("{it}.v0"));
        let bindings: Vec<(&str, &StreamId)> = keys.iter().map(String::as_str).zip(&ids).collect();
        let _ = stored.take_over(&bindings, self.source().as_ref());
        let taken_over = stored.into_taken_over();
        (!taken_over.is_nothing()).then(|| serde_json::from_str(taken_over.patch().unwrap().get()).unwrap())
    }

    /// A session: what it begins with, the row ids that it gives out and deletes, and the state that it leaves.
    fn run(&self, mut state: Value) -> Result<(String, Value), String> {
        let mut ledger = self.open(&state)?;
        let mut seen = format!("{:?}", held(&ledger));
        let bookmark = RawValue::from_string(r#"{"at":"later"}"#.to_owned()).unwrap();
        for (index, (records, is_complete)) in self.reads.iter().enumerate() {
            let cell = &ledger.cells[index];
            seen += &format!(" {:?}", (cell.fresh, cell.row_id, cell.high_row_id, cell.has_bookmark));
            let ids: Vec<u64> = (0..*records).map(|_| ledger.next_row(index)).collect();
            let states = vec![(index, Some(bookmark.clone()))];
            ledger.update(BindingStates {
                streams: states,
                shared: ledger.shared().map(ToOwned::to_owned),
                complete: false,
            });
            let gone = (*is_complete && ledger.may_be_complete(index)).then(|| ledger.complete_full_refresh(index));
            seen += &format!(" {ids:?} {gone:?}");
            commit(&mut state, &mut ledger);
        }
        Ok((seen, state))
    }
}

fn any_bookmark() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"cursor": 7})),
        Just(json!({})),
        Just(json!({"method": 1, "swept": 2, "lowRowId": 3})),
        Just(json!({"__ab_full_refresh_sync_complete": true})),
        "[a-z]{1,3}".prop_map(|it| json!({"partitions": [null, it]})),
    ]
}

/// What may be in a cell: of ours, of either wrapper, or damaged.
fn any_cell() -> impl Strategy<Value = Option<Value>> {
    let message = |(row_id, state): (u32, Value)| json!({"rowId": row_id, "state": {"type": "STREAM", "stream": {"stream_descriptor": {"name": "s"}, "stream_state": state}}});
    let counted = |(count, mut bookmark): (u32, Value)| {
        bookmark["estuary.dev/rowCounter"] = count.into();
        bookmark
    };
    prop_oneof![
        2 => Just(None),
        2 => (any::<u32>(), any_bookmark()).prop_map(message).prop_map(Some),
        2 => (any::<u32>(), any_bookmark()).prop_map(counted).prop_map(Some),
        1 => any_bookmark().prop_map(Some),
        1 => (any::<u32>(), any_bookmark()).prop_map(|(it, state)| Some(json!({"rowId": it, "state": [state]}))),
        1 => any::<u32>().prop_map(|it| Some(json!({"rowId": it, "highRowId": it}))),
        1 => Just(Some(json!({"rowId": 7, "state": {"type": "STREAM"}}))),
    ]
}

fn any_case() -> impl Strategy<Value = Case> {
    let mode = prop_oneof![Just(Mode::Incremental), Just(Mode::FullRefresh)];
    let rows = prop_oneof![Just(Rows::Keyed), Just(Rows::ByRowId)];
    let binding = (mode, rows);
    let top = proptest::collection::btree_map(
        "(s0|s1|s2|since)",
        prop_oneof![6 => any_bookmark(), 1 => Just(json!("corrupt"))],
        0..4,
    );
    let shared = proptest::option::weighted(0.2, Just(json!([{"type": "GLOBAL"}])));
    (
        any::<bool>(),
        proptest::collection::vec(binding, 3),
        proptest::collection::vec(any_cell(), 3),
        top,
        shared,
        proptest::collection::vec((0..4usize, any::<bool>()), 3),
    )
        .prop_map(|(is_singer, bindings, cells, top, shared, reads)| {
            let mut state = json!(top);
            for (name, cell) in STREAMS.iter().zip(cells) {
                if let Some(cell) = cell {
                    state[BINDINGS][format!("{name}.v0")] = cell;
                }
            }
            if let Some(shared) = shared {
                state[SHARED] = shared;
            }
            let method = |mode| (is_singer && mode == Mode::Incremental).then_some("INCREMENTAL");
            let bindings = bindings.into_iter().map(|(mode, rows)| (mode, rows, method(mode))).collect();
            Case { is_singer, bindings, state, reads }
        })
}

proptest! {
    #[test]
    fn apply_changes_nothing_for_a_session(case in any_case()) {
        let mut applied = case.state.clone();
        if let Some(patch) = case.apply(&applied) {
            merge(&mut applied, patch);
            prop_assert_eq!(case.apply(&applied), None, "Apply is not idempotent: {}", applied);
        }
        prop_assert_eq!(case.run(applied), case.run(case.state.clone()));
    }
}

#[test]
fn apply_takes_over_each_form() {
    let case = |is_singer, state| Case {
        is_singer,
        bindings: vec![(Mode::Incremental, Rows::Keyed, None); 3],
        state,
        reads: Vec::new(),
    };
    for (is_singer, state, want) in [
        (
            false,
            json!({"s0": {"at": 1}, "s1": {"at": 2}, "other": {"at": 3}}),
            json!({"other": {"at": 3}, "bindingStateV1": {"s0.v0": {"rowId": 0, "state": [{"at": 1}]}, "s1.v0": {"rowId": 0, "state": [{"at": 2}]}}}),
        ),
        (
            false,
            json!({"since": "2024"}),
            json!({"sharedStateV1": [{"type": "LEGACY", "data": {"since": "2024"}}], "bindingStateV1": {"s0.v0": {"rowId": 0}, "s1.v0": {"rowId": 0}, "s2.v0": {"rowId": 0}}}),
        ),
        (
            false,
            json!({"bindingStateV1": {"s0.v0": {"rowId": 5, "state": {"type": "STREAM", "stream": {"stream_descriptor": {"name": "s0"}, "stream_state": {"at": 1}}}}}}),
            json!({"bindingStateV1": {"s0.v0": {"rowId": 5, "state": [{"at": 1}]}}}),
        ),
        (
            true,
            json!({"bindingStateV1": {"s0.v0": {"at": 1, "estuary.dev/rowCounter": 5}}}),
            json!({"bindingStateV1": {"s0.v0": {"rowId": 5, "state": [{"at": 1}]}}}),
        ),
    ] {
        let case = case(is_singer, state.clone());
        let mut applied = state;
        merge(&mut applied, case.apply(&case.state).unwrap());
        assert_eq!(applied, want);
    }
}
