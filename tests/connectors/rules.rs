//! Real sources through the shim, checked by the strict runtime's rules from Spec to the third session.

use serde_json::json;

use crate::sources::{KEY, Orders, Source, declarative_manifest, faker, file, hardcoded_records};

const SESSIONS: usize = 3;

fn check(source: &Source, secret: &str) {
    let sessions = source.runtime().secret(secret).full_capture(SESSIONS);
    assert!(!sessions[0].documents.is_empty());
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn faker_breaks_no_rule() {
    check(&faker(json!({"count": 300, "seed": 1, "parallelism": 1, "records_per_slice": 100})), "no secret");
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn hardcoded_records_breaks_no_rule() {
    check(&hardcoded_records(50), "no secret");
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn file_breaks_no_rule() {
    check(&file(), "no secret");
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn declarative_manifest_breaks_no_rule() {
    let service = Orders::start();
    service.shop().sell(0..=119);
    check(&declarative_manifest(&service), KEY);
}
