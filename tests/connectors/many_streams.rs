//! A low-code manifest of 300 streams, with substreams, dynamic streams and states in the middle of a stream, whose service is
//! slow and fails now and then.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::capture::{Capture, Table, reduce};
use crate::runtime::{Then, When};
use crate::sources::Source;
use crate::weather::{SENSORS, TABLES, Weather};

const KEY: &str = "k3y-of-the-weather";

/// Longer than any limit of the shim on a connector's start, answer or end.
const SLOW: Duration = Duration::from_secs(11);

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn a_manifest_of_many_streams_is_captured_as_the_source_prints_it() {
    let service = Weather::start(KEY);
    // The CDK of this environment knows dynamic streams.
    let source = Source::in_environment("hardcoded-records", "source-declarative-manifest", service.config(KEY));
    service.data().delay = Some(SLOW);
    let mut capture = Capture::begin(&source);
    assert_eq!(service.data().delay, None, "the discovery was slow");
    let names = capture.names();
    assert_eq!(names.len(), 3 + SENSORS + TABLES);
    assert!(names.contains(&"table 1: ä".to_owned()), "{names:?}");

    // Ten alerts of thirty a day, four stations with ten readings each, two of each sensor, three of each table.
    let first = capture.session();
    assert_eq!(first.documents.len(), 10 * 30 + 4 + 4 * 10 + 2 * SENSORS + 3 * TABLES);
    for status in [429, 500] {
        assert!(service.data().sent.contains_key(&status), "no request was answered with {status}");
    }

    // Both cursors include their day.
    service.data().days = 12;
    let second = capture.session();
    assert_eq!(second.documents.len(), 3 * 30 + 4 + 4 * 12 + 2 * SENSORS + 3 * TABLES);

    service.data().days = 10;
    let bindings = &capture.bindings;
    let runtime = source.runtime().secret(KEY);
    let (mut whole, mut table) = (Table::new(), Table::new());
    reduce(&source, bindings, &first.documents, &mut whole);
    let mut state = json!({});
    for documents in [1, 170, 400] {
        let killed = runtime.open(bindings, &state).when(When::Documents(documents), Then::Signal(Signal::KILL)).run();
        assert!(killed.end.broken.is_empty(), "{:?}", killed.end.broken);
        reduce(&source, bindings, &killed.documents, &mut table);
        assert_ne!(killed.state, state, "nothing was committed before the kill");
        state = killed.state;
    }
    let last = runtime.open(bindings, &state).run().expect_clean();
    reduce(&source, bindings, &last.documents, &mut table);
    assert!(table == whole, "{} rows differ from {}", table.len(), whole.len());
    assert!(last.documents.len() < first.documents.len(), "the states in the middle of the stream count");
}
