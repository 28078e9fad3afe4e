//! The independent checker of Flow's rules, where it is at hand (`../shared/tools/flowcheck`), on the demo and on real sources.

mod runtime;
mod sources;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use runtime::repository;
use sources::{KEY, Orders, Source, declarative_manifest, faker, file, hardcoded_records};

/// The checker; without it, none, and a line says so.
fn checker() -> Option<PathBuf> {
    let path = repository().join("../shared/tools/flowcheck");
    if !path.exists() {
        // Past the capture of a test that passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no {}", path.display());
    }
    path.exists().then_some(path)
}

fn check<S: AsRef<OsStr>>(config: &Value, secret: &str, source: &[S]) {
    let Some(flowcheck) = checker() else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("config.json");
    fs::write(&file, config.to_string()).expect("a config");
    let output = Command::new("python3")
        .arg(flowcheck)
        .args(["--sessions", "3", "--secret", secret, "--config"])
        .arg(file)
        .args(["--", env!("CARGO_BIN_EXE_flow-shim"), "serve"])
        .args(source)
        .output()
        .expect("Python");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {report}{}", output.status, String::from_utf8_lossy(&output.stderr));
    let summary: Value = report.lines().last().and_then(|it| serde_json::from_str(it).ok()).expect("a summary");
    assert_eq!(summary["broken"], json!([]), "{report}");
    assert_eq!(summary["sessions"].as_array().map(Vec::len), Some(3));
}

fn check_source(source: &Source, secret: &str) {
    check(&source.config, secret, &["--", source.command()]);
}

#[test]
fn the_demo_breaks_no_rule() {
    let shim = repository().join("shims/demo");
    let config = json!({"shop": "corner-coffee", "api_key": "demo-s3cret", "count": 200});
    check(&config, "demo-s3cret", &[OsString::from("--shim"), shim.into()]);
}

#[test]
fn faker_breaks_no_rule() {
    let config = json!({"count": 300, "seed": 1, "parallelism": 1, "records_per_slice": 100});
    check_source(&faker(config), "no secret");
}

#[test]
fn hardcoded_records_breaks_no_rule() {
    check_source(&hardcoded_records(50), "no secret");
}

#[test]
fn file_breaks_no_rule() {
    check_source(&file(), "no secret");
}

#[test]
fn declarative_manifest_breaks_no_rule() {
    let service = Orders::start();
    service.shop().sell(0..=119);
    check_source(&declarative_manifest(&service), KEY);
}
