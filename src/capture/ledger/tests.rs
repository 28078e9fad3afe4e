//! What a connector is given at its next start is the state that it last committed, whatever that was.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::airbyte::{Airbyte, Messages};
use crate::json::merge::merge;
use crate::upstream::{Decoder, Discovery, Event};

pub(super) fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

pub(super) fn stream(name: &str) -> Stream {
    Airbyte::default()
        .stream(raw(&json!({"name": name, "json_schema": {}, "supported_sync_modes": ["incremental"]})))
        .unwrap()
}

fn open(state: &Value, streams: &[Stream], mode: Mode, version: usize) -> Ledger {
    let keys: Vec<String> = streams.iter().map(|it| format!("{}.v{version}", it.id.name)).collect();
    let entries: Vec<Entry> = streams
        .iter()
        .zip(&keys)
        .map(|(stream, state_key)| Entry {
            state_key,
            mode,
            method: None,
            rows: Rows::ByRowId,
            truncates: false,
            stream,
        })
        .collect();
    Ledger::open(Stored::parse(Some(&raw(state))).unwrap(), &entries, &Airbyte::default()).unwrap()
}

/// Reduces the ledger's patch as Flow does.
pub(super) fn commit(state: &mut Value, ledger: &mut Ledger) {
    let patch = ledger.patch().unwrap();
    merge(state, serde_json::from_str(patch.get()).unwrap());
}

fn say(ledger: &mut Ledger, message: &Value) {
    let line = json!({"type": "STATE", "state": message}).to_string();
    let mut messages = Messages::default();
    let Ok(Event::State(update)) = messages.decode(line.as_bytes()) else { panic!("{line}") };
    let streams = update.streams.into_iter().map(|(id, state)| (id.name[1..].parse().unwrap(), state));
    let streams = streams.filter(|(index, _)| *index < ledger.cells.len()).collect();
    ledger.update(BindingStates { streams, shared: update.shared, complete: update.complete });
}

/// What the ledger holds, as text: shared state first.
pub(super) fn held(ledger: &Ledger) -> Vec<Option<String>> {
    let states = (0..ledger.cells.len()).map(|index| ledger.state(index));
    std::iter::once(ledger.shared()).chain(states).map(|it| it.map(|raw| raw.get().to_owned())).collect()
}

fn any_json() -> impl Strategy<Value = Value> {
    let number = prop_oneof!["-?[1-9][0-9]{0,40}", "-?[0-9]\\.[0-9]{1,30}", "[1-9]e[+-]?[1-9][0-9]?"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number.prop_map(|it| serde_json::from_str(&it).unwrap()),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("[a-c~/.]{0,2}", inner), 0..4)
                .prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

fn any_message() -> impl Strategy<Value = Value> {
    let descriptor = |name: usize| json!({"name": format!("s{name}")});
    let one = (0..3usize, any_json()).prop_map(move |(name, state)| {
        json!({"type": "STREAM", "stream": {"stream_descriptor": descriptor(name), "stream_state": state}})
    });
    let global = (any_json(), proptest::collection::vec(any_json(), 0..3)).prop_map(move |(shared, states)| {
        let states = states.into_iter().enumerate();
        let states: Vec<_> =
            states.map(|(name, it)| json!({"stream_descriptor": descriptor(name), "stream_state": it})).collect();
        json!({"type": "GLOBAL", "global": {"shared_state": shared, "stream_states": states}})
    });
    let legacy = any_json().prop_filter("null is no data", |it| !it.is_null()).prop_map(|it| json!({"data": it}));
    prop_oneof![3 => one, 1 => global, 1 => legacy]
}

proptest! {
    #[test]
    fn state_comes_back_exactly(
        messages in proptest::collection::vec((any_message(), any::<bool>(), any::<bool>()), 1..12)
    ) {
        let streams = ["s0", "s1", "s2"].map(stream);
        let mut state = json!({});
        let mut ledger = open(&state, &streams, Mode::Incremental, 0);
        for (message, commits, restarts) in messages {
            say(&mut ledger, &message);
            if commits {
                commit(&mut state, &mut ledger);
                if restarts {
                    let before = held(&ledger);
                    ledger = open(&state, &streams, Mode::Incremental, 0);
                    prop_assert_eq!(held(&ledger), before);
                }
            }
        }
    }
}

#[test]
fn a_patch_contains_only_changes() {
    let streams: Vec<Stream> = (0..1000).map(|it| stream(&format!("s{it}"))).collect();
    let mut state = json!({});
    let mut ledger = open(&state, &streams, Mode::Incremental, 0);
    let all: Vec<Value> = (0..1000)
        .map(|it| json!({"stream_descriptor": {"name": format!("s{it}")}, "stream_state": {"cursor": 0}}))
        .collect();
    let mut message = json!({"type": "GLOBAL", "global": {"shared_state": {"lsn": 1}, "stream_states": all}});
    say(&mut ledger, &message);
    commit(&mut state, &mut ledger);
    message["global"]["stream_states"][7]["stream_state"]["cursor"] = json!(1);
    say(&mut ledger, &message);
    ledger.next_row(7);
    assert_eq!(ledger.patch().unwrap().get(), r#"{"bindingStateV1":{"s7.v0":{"rowId":1,"state":[{"cursor":1}]}}}"#);
    say(&mut ledger, &message);
    assert!(!ledger.is_dirty());
}

#[test]
fn a_raised_backfill_counter_resets_one_binding() {
    let streams = ["s0", "s1"].map(stream);
    let mut state = json!({});
    let mut ledger = open(&state, &streams, Mode::Incremental, 0);
    for name in ["s0", "s1"] {
        say(
            &mut ledger,
            &json!({"type": "STREAM", "stream": {"stream_descriptor": {"name": name}, "stream_state": {"c": 1}}}),
        );
    }
    ledger.next_row(1);
    commit(&mut state, &mut ledger);
    let keys = ["s0.v0", "s1.v1"];
    let entries: Vec<Entry> = streams
        .iter()
        .zip(keys)
        .map(|(stream, state_key)| Entry {
            state_key,
            mode: Mode::Incremental,
            method: None,
            rows: Rows::Keyed,
            truncates: false,
            stream,
        })
        .collect();
    let ledger = Ledger::open(Stored::parse(Some(&raw(&state))).unwrap(), &entries, &Airbyte::default()).unwrap();
    assert_eq!(held(&ledger)[1..], [Some(r#"{"c":1}"#.to_owned()), None]);
    assert_eq!((ledger.cells[0].fresh, ledger.cells[1].fresh, ledger.cells[1].row_id), (false, true, 0));
}

#[test]
fn a_smaller_full_refresh_leaves_a_surplus_once() {
    let streams = [stream("s0")];
    let mut state = json!({});
    for (rows, complete, surplus) in
        [(5, true, 0..0), (3, false, 0..0), (2, true, 3..6), (4, true, 0..0), (1, true, 2..5)]
    {
        let mut ledger = open(&state, &streams, Mode::FullRefresh, 0);
        for _ in 0..rows {
            ledger.next_row(0);
        }
        if complete {
            let found: Vec<u64> = ledger.complete_full_refresh(0).collect();
            assert_eq!(found, surplus.collect::<Vec<u64>>(), "after {rows} rows");
        }
        commit(&mut state, &mut ledger);
    }
}

/// Opens a ledger over one cell, and gives the error.
fn opened_with(cell: &Value, source: &dyn Upstream) -> Result<Ledger, String> {
    opened(&json!({"bindingStateV1": {"s0.v0": cell}}), source)
}

/// Opens a ledger of one binding over a state, and gives the error.
fn opened(state: &Value, source: &dyn Upstream) -> Result<Ledger, String> {
    let stream = stream("s0");
    let entry = Entry {
        state_key: "s0.v0",
        mode: Mode::Incremental,
        method: None,
        rows: Rows::Keyed,
        truncates: false,
        stream: &stream,
    };
    Ledger::open(Stored::parse(Some(&raw(state))).unwrap(), &[entry], source).map_err(|it| format!("{it:#}"))
}

#[test]
fn damaged_cells_are_errors_that_name_them() {
    let (airbyte, singer) = (Airbyte::default(), crate::singer::Singer::default());
    let damaged = [
        json!(null),
        json!(7),
        json!([]),
        json!({}),
        json!({"state": [{"pos": 7}]}),
        json!({"rowId": null, "state": [{"pos": 7}]}),
        json!({"rowId": -1, "state": [{"pos": 7}]}),
        json!({"rowId": 1.5}),
        json!({"rowId": "7"}),
        json!({"rowId": 7, "highRowId": "x"}),
        json!({"rowId": 7, "state": "corrupt"}),
        json!({"rowId": 7, "state": []}),
        json!({"rowId": 7, "state": [1, 2]}),
        json!({"rowId": 7, "state": {"pos": 7}}),
        json!({"rowId": 7, "state": {"type": "STREAM"}}),
        json!({"rowId": 7, "highRowId": 7, "swept": "yes"}),
        json!({"rowId": 7, "method": 5}),
    ];
    for cell in damaged {
        let protocols: [&dyn Upstream; 2] = [&airbyte, &singer];
        // To Singer, any object without members of ours may be a bookmark.
        for source in protocols.into_iter().take(if cell == json!({}) { 1 } else { 2 }) {
            let error = opened_with(&cell, source).err().unwrap_or_else(|| panic!("{cell} was accepted"));
            assert!(error.contains("s0.v0") && error.contains("backfill"), "{cell}: {error}");
        }
    }
    for cell in [json!({"rowId": 7}), json!({"rowId": 7, "state": [null]}), json!({"rowId": 7, "later": 1})] {
        assert_eq!(opened_with(&cell, &airbyte).unwrap().cells[0].row_id, 7);
    }
}

#[test]
fn a_damaged_state_at_the_top_is_an_error() {
    for (state, want) in [
        (json!({"bindingStateV1": [1]}), "bindingStateV1"),
        (json!({"sharedStateV1": "x"}), "sharedStateV1"),
        (json!({"sharedStateV1": []}), "sharedStateV1"),
        (json!({"sharedStateV1": [1, 2]}), "sharedStateV1"),
    ] {
        let error = Stored::parse(Some(&raw(&state))).err().unwrap_or_else(|| panic!("{state} was accepted"));
        assert!(error.to_string().contains(want) && error.to_string().contains("backfill"), "{error}");
    }
    let error = opened(&json!({"s0": "corrupt"}), &Airbyte::default()).err().unwrap();
    assert!(error.contains("stream s0") && error.contains("backfill"), "{error}");
}

#[test]
fn a_state_that_is_not_an_object_says_what_to_do() {
    for state in ["[1]", r#""text""#, "7", "true"] {
        let error = Stored::parse(Some(&RawValue::from_string(state.to_owned()).unwrap())).err().unwrap();
        assert!(format!("{error:#}").ends_with("backfill the capture to start it over"), "{state}: {error:#}");
    }
    assert!(Stored::parse(Some(RawValue::NULL)).is_ok());
}
