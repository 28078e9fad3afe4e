//! Real Airbyte sources through the shim: their output is captured byte for byte, and they get the same input as from
//! Airbyte's own runner. `tests/setup` installs them.

use std::fs;

use regex::Regex;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::capture::{Capture, Table, reduce};
use crate::runtime::{Binding, Then, When};
use crate::sources::{KEY, Orders, Source, declarative_manifest, faker, file, hardcoded_records};

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn faker_is_captured_in_three_sessions() {
    let source = faker(json!({"count": 250, "seed": 1, "parallelism": 1, "records_per_slice": 100}));
    let mut capture = Capture::begin(&source);
    assert_eq!(capture.names(), ["products", "users", "purchases"]);
    for _ in 0..3 {
        let session = capture.session();
        assert_eq!([0, 1, 2].map(|it| session.documents_of(it).count()), [100, 250, 250]);
        assert!(session.checkpoints > 3, "states in mid-stream are checkpoints");
    }
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn faker_that_has_nothing_new_is_left_alone() {
    let config = json!({"count": 50, "seed": 1, "parallelism": 1, "always_updated": false});
    let source = faker(config);
    let mut capture = Capture::begin(&source);
    assert_eq!([50, 0, 0].map(|users| (users, capture.session().documents_of(1).count())), [(50, 50), (0, 0), (0, 0)]);
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn hardcoded_records_are_captured_in_three_sessions() {
    let source = hardcoded_records(40);
    let mut capture = Capture::begin(&source);
    for _ in 0..3 {
        let session = capture.session();
        for (index, name) in capture.names().iter().enumerate() {
            assert_eq!(session.documents_of(index).count(), 40, "{name}");
        }
    }
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn a_csv_file_is_captured_in_three_sessions() {
    let source = file();
    let mut capture = Capture::begin(&source);
    assert_eq!(capture.names(), ["people"]);
    assert_eq!(capture.session().documents.len(), 3);
    let path = source.config["url"].as_str().expect("a path");
    fs::write(path, "id,name,born,height,note\n1,Ada,1815-12-10,1.65,none\n").expect("a shorter file");
    // One row, and tombstones for the two that are gone.
    assert_eq!(capture.session().documents.len(), 3);
    assert_eq!(capture.session().documents.len(), 1);
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn a_web_service_is_captured_in_three_sessions() {
    let service = Orders::start();
    service.shop().sell(0..=119);
    let source = declarative_manifest(&service);
    let mut capture = Capture::begin(&source);
    assert_eq!(capture.names(), ["orders", "countries"]);
    let first = capture.session();
    assert_eq!([0, 1].map(|it| first.documents_of(it).count()), [120, 3]);

    service.shop().sell(120..=199);
    service.shop().countries.pop();
    service.shop().asked.clear();
    let second = capture.session();
    // The cursor's day is read again.
    assert_eq!([0, 1].map(|it| second.documents_of(it).count()), [90, 3]);
    let asked = service.shop().asked.clone();
    assert!(asked.contains(&"/orders?since=2024-02-12T00%3A00%3A00Z".to_owned()), "{asked:?}");
    assert!(asked.contains(&"/orders?page=2&since=2024-02-12T00%3A00%3A00Z".to_owned()), "{asked:?}");

    let third = capture.session();
    assert_eq!([0, 1].map(|it| third.documents_of(it).count()), [10, 2]);
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn a_failing_web_service_is_reported_and_read_again() {
    let service = Orders::start();
    service.shop().sell(0..=119);
    let source = declarative_manifest(&service);
    let runtime = source.runtime().secret(KEY);
    let orders = [Binding::new("orders", "incremental").key(["/id"])];

    service.shop().broken_from = Some(3);
    let failed = runtime.open(&orders, &json!({})).run();
    assert_eq!(failed.end.exit.code(), Some(1));
    assert!(failed.end.broken.is_empty(), "{:?}", failed.end.broken);
    let message = failed.end.last_message();
    assert!(message.starts_with("stream orders: ") && message.contains("Internal server error"), "{message}");

    service.shop().broken_from = None;
    let well = runtime.open(&orders, &failed.state).run().expect_clean();
    assert_eq!(well.documents.len(), 120);

    // A failed read may set its cursor back; nothing is lost.
    let wrong = source.runtime().config(with(&source.config, "api_key", json!("wr0ng-key"))).secret("wr0ng-key");
    let failed = wrong.open(&orders, &well.state).run();
    assert_eq!((failed.end.exit.code(), failed.documents.len()), (Some(1), 0));
    assert!(failed.end.broken.is_empty(), "{:?}", failed.end.broken);
    assert_eq!(
        failed.end.last_message(),
        "stream orders: Unauthorized. Please ensure you are authenticated correctly."
    );
    service.shop().sell(120..=129);
    let well = runtime.open(&orders, &failed.state).run().expect_clean();
    assert!(well.documents_of(0).any(|it| it.contains(r#""id":129"#)));
}

fn with(config: &Value, name: &str, value: Value) -> Value {
    let mut config = config.clone();
    config[name] = value;
    config
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn a_wrong_config_is_one_clear_sentence() {
    let service = Orders::start();
    let (faker, hardcoded) = (faker(json!({})), hardcoded_records(40));
    let (file, manifest) = (file(), declarative_manifest(&service));
    // A status FAILED, or an error trace and no status (A3).
    let cases = [
        (&faker, json!({"count": "many"}), "^the connector can't use this config: .*'many' is not of type 'integer'$"),
        (&faker, json!({"seed": 1}), "^Something went wrong in the connector: KeyError: 'count'$"),
        (&hardcoded, json!({"count": 0}), "^the connector can't use this config: .*0 is less than the minimum of 1$"),
        (
            &file,
            json!({"dataset_name": "people"}),
            "^the connector can't use this config: .*'format' is a required property$",
        ),
        (
            &file,
            with(&file.config, "url", json!("/nowhere/people.csv")),
            r"^the connector can't use this config: .*/nowhere/people\.csv.*No such file",
        ),
        (
            &manifest,
            with(&manifest.config, "api_key", json!("wr0ng-key")),
            "^the connector can't use this config: .*Unauthorized",
        ),
        (&manifest, json!({}), "__injected_declarative_manifest` should be provided"),
    ];
    for (source, config, wanted) in cases {
        let answer = source.runtime().config(config).secret("wr0ng-key").ask_validate(&[]);
        assert!(answer.end.broken.is_empty(), "{:?}", answer.end.broken);
        assert_eq!((answer.end.exit.code(), answer.responses.len()), (Some(1), 0));
        let message = answer.end.last_message();
        assert!(Regex::new(wanted).expect("a pattern").is_match(message) && !message.contains('\n'), "{message}");
    }
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn faker_killed_at_ten_points_loses_nothing() {
    let source = faker(json!({"count": 3000, "seed": 1, "parallelism": 1, "records_per_slice": 100}));
    let runtime = source.runtime();
    let discovered = runtime.discover();
    let bindings: Vec<Binding> =
        discovered["bindings"].as_array().expect("bindings").iter().map(Binding::of_discovered).collect();
    let mut quiet = Table::new();
    let undisturbed = runtime.open(&bindings, &json!({})).run().expect_clean();
    reduce(&source, &bindings, &undisturbed.documents, &mut quiet);
    assert_eq!(quiet.len(), 6100);

    let (mut state, mut table) = (json!({}), Table::new());
    let mut kill = |when: When| {
        let killed = runtime.open(&bindings, &state).when(when, Then::Signal(Signal::KILL)).run();
        assert!(killed.end.broken.is_empty(), "{:?}", killed.end.broken);
        reduce(&source, &bindings, &killed.documents, &mut table);
        state = killed.state;
    };
    kill(When::Log(Regex::new("Starting syncing").expect("a pattern")));
    for documents in [1, 100, 150, 800, 1600, 2500, 3150, 4000, 5500] {
        kill(When::Documents(documents));
    }
    let last = runtime.open(&bindings, &state).run().expect_clean();
    reduce(&source, &bindings, &last.documents, &mut table);
    assert!(table == quiet, "{} rows differ from {}", table.len(), quiet.len());
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn real_sources_stop_on_request() {
    let faker = faker(json!({"count": 100_000, "seed": 1, "parallelism": 2, "records_per_slice": 100}));
    let hardcoded = hardcoded_records(1_000_000);
    let users = [Binding::new("users", "incremental").key(["/id"])];
    let products = [Binding::new("products", "full_refresh")];
    let mut state = json!({});
    let mut open = |source: &Source, bindings: &[Binding], when: When, then: Then| {
        let session = source.runtime().open(bindings, &state).when(when, then).run();
        assert!(session.end.broken.is_empty(), "{:?}", session.end.broken);
        // The state contains at least the catalog, so that the next session needs no discovery.
        state = session.state;
    };
    let starting = || When::Log(Regex::new("Starting syncing").expect("a pattern"));
    open(&faker, &users, starting(), Then::Signal(Signal::TERM));
    open(&faker, &users, When::Documents(1), Then::Signal(Signal::INT));
    open(&faker, &users, When::Documents(5_000), Then::Signal(Signal::TERM));
    open(&faker, &users, When::Documents(2_000), Then::CloseStdout);
    open(&hardcoded, &products, When::Documents(1), Then::Signal(Signal::TERM));
    open(&hardcoded, &products, When::Documents(5_000), Then::Signal(Signal::INT));
    open(&hardcoded, &products, When::Documents(5_000), Then::Signal(Signal::KILL));
    open(&hardcoded, &products, starting(), Then::CloseStdout);
}
