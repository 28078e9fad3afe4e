//! The demo source through the shim, as in a new user's first command.

use std::collections::BTreeMap;

use regex::Regex;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::runtime::{Binding, Document, Runtime, Then, When, repository};

fn demo(count: u64) -> Runtime {
    let shim = repository().join("shims/demo").to_string_lossy().into_owned();
    let config = json!({"shop": "corner-coffee", "api_key": "demo-s3cret", "count": count});
    Runtime::shim(["--shim".to_owned(), shim]).config(config).secret("demo-s3cret")
}

fn bindings(demo: &Runtime) -> Vec<Binding> {
    demo.discover()["bindings"].as_array().expect("bindings").iter().map(Binding::of_discovered).collect()
}

/// The contents of a materialization per binding: the last document of each key, without deleted ones.
type Tables = Vec<BTreeMap<String, Value>>;

fn reduce(documents: &[Document], bindings: &[Binding], tables: &mut Tables) {
    tables.resize_with(bindings.len(), BTreeMap::new);
    for document in documents {
        let mut row: Value = serde_json::from_str(&document.text).expect("documents are JSON");
        let key: Vec<_> =
            bindings[document.binding].key.iter().map(|it| row.pointer(it).expect("a key").to_string()).collect();
        let meta = row["_meta"].take();
        match meta["op"].as_str() {
            Some("d") => drop(tables[document.binding].remove(&key.join(" "))),
            _ => drop(tables[document.binding].insert(key.join(" "), row)),
        }
    }
}

#[test]
fn each_sync_reads_only_new_rows() {
    let demo = demo(100);
    assert_eq!(demo.spec()["configSchema"]["required"], json!(["shop", "api_key"]));
    let bindings = bindings(&demo);
    let names: Vec<_> = bindings.iter().map(Binding::name).collect();
    assert_eq!(names, ["customers", "page_views", "orders"]);
    assert_eq!(demo.validate(&bindings)["bindings"].as_array().map(Vec::len), Some(3));
    demo.apply(&bindings, serde_json::json!({}));

    let first = demo.open(&bindings, &json!({})).run().expect_clean();
    assert_eq!([0, 1, 2].map(|it| first.documents_of(it).count()), [100, 100, 100]);
    let second = demo.open(&bindings, &first.state).run().expect_clean();
    // Ten new changes of customers and orders; ten page views fewer, and a tombstone for each.
    assert_eq!([0, 1, 2].map(|it| second.documents_of(it).count()), [10, 100, 10]);
    let deleted = |binding: usize| second.documents_of(binding).filter(|it| it.contains(r#""op":"d""#)).count();
    assert_eq!([0, 1, 2].map(deleted), [0, 10, 1]);

    let again = demo.open(&bindings, &json!({})).run().expect_clean();
    assert_eq!(again.documents, first.documents, "the same seed gives the same shop");
}

#[test]
fn a_killed_sync_resumes_where_it_was() {
    let demo = demo(4_000);
    let bindings = bindings(&demo);
    let (mut state, mut tables) = (json!({}), Tables::new());
    for after in [1, 500, 1_500, 2_500, 3_500, 5_000] {
        let killed = demo.open(&bindings, &state).when(When::Documents(after), Then::Signal(Signal::KILL)).run();
        assert!(killed.end.broken.is_empty(), "{:?}", killed.end.broken);
        reduce(&killed.documents, &bindings, &mut tables);
        state = killed.state;
    }
    let last = demo.open(&bindings, &state).run().expect_clean();
    reduce(&last.documents, &bindings, &mut tables);
    assert!(last.state["bindingStateV1"]["customers.v0"]["state"][0]["position"].as_u64() >= Some(4_000));

    // A stream that completed its first sync despite the kills continued with the next one: each is compared with the result of as many
    // syncs as it has completed. The shop returns only the first few page views.
    let (mut quiet_state, mut quiet, mut compared) = (json!({}), Tables::new(), 0);
    for sync in 1..=7 {
        let session = demo.open(&bindings, &quiet_state).run().expect_clean();
        reduce(&session.documents, &bindings, &mut quiet);
        quiet_state = session.state;
        for (index, binding) in bindings.iter().enumerate() {
            if last.state["bindingStateV1"][binding.state_key()]["state"][0]["sync"] == json!(sync) {
                assert!(tables[index] == quiet[index], "{} differs after {sync} syncs", binding.name());
                compared += 1;
            }
        }
        if sync == 1 {
            assert!(!tables[1].is_empty() && tables[1].iter().all(|(id, view)| quiet[1].get(id) == Some(view)));
            assert_eq!(json!(tables[1].len()), last.state["bindingStateV1"]["page_views.v0"]["highRowId"]);
        }
    }
    assert_eq!(compared, 2, "customers and orders have had one to seven syncs");
}

#[test]
fn it_breaks_no_rule() {
    for log_level in ["info", "trace"] {
        let sessions = demo(200).env("LOG_LEVEL", log_level).full_capture(3);
        assert!(sessions.iter().all(|it| !it.documents.is_empty()));
    }
}

#[test]
fn a_wrong_key_is_the_users_error() {
    let wrong = demo(10).config(json!({"shop": "corner-coffee", "api_key": "s3sam"})).secret("s3sam");
    let validated = wrong.ask_validate(&[Binding::new("customers", "incremental").key(["/id"])]);
    assert_eq!(validated.end.exit.code(), Some(1));
    assert!(validated.end.broken.is_empty(), "{:?}", validated.end.broken);
    let message = validated.end.last_message();
    assert!(Regex::new("does not know this API key").expect("a pattern").is_match(message), "{message}");

    let missing = demo(10).config(json!({"shop": "corner-coffee"})).ask_discover();
    assert!(missing.end.last_message().contains("'api_key' is a required property"), "{}", missing.end.last_message());
}
