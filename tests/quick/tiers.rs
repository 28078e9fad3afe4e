//! Plain `cargo test` ignores every test of a tier that needs more than this repository, and no other.

use std::fs;
use std::path::Path;

use crate::runtime::repository;

/// Calls `visit` with each Rust file below `folder`.
fn visit_files(folder: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            visit_files(&path, visit);
        } else if path.extension().is_some_and(|it| it == "rs") {
            visit(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn tests_of_other_tiers_are_ignored_and_say_how_to_run_them() {
    for tier in ["connectors", "databases", "images", "browser"] {
        let reason = format!("#[ignore = \"needs {tier}: tests/run --{tier}\"]");
        let mut count = 0;
        visit_files(&repository().join("tests").join(tier), &mut |path, text| {
            let mut lines = text.lines().map(str::trim);
            while let Some(line) = lines.next() {
                if line == "#[test]" {
                    count += 1;
                    assert_eq!(lines.next(), Some(reason.as_str()), "a test in {}", path.display());
                }
            }
        });
        assert!(count > 0, "the tier {tier} has no tests");
    }
}

/// `cargo test` makes a slice of the faults.
#[test]
fn many_tries_of_faults_are_ignored() {
    let mut count = 0;
    visit_files(&repository().join("tests/faults"), &mut |path, text| {
        for line in text.lines().map(str::trim).filter(|it| it.starts_with("#[ignore")) {
            count += 1;
            assert_eq!(line, "#[ignore = \"needs faults: tests/run --faults\"]", "a test in {}", path.display());
        }
    });
    assert!(count > 0);
}

#[test]
fn no_other_test_is_ignored() {
    for folder in ["src", "tests/quick"] {
        visit_files(&repository().join(folder), &mut |path, text| {
            // `tests/run --faults` runs those of this crate that take long.
            let ignored = text.lines().map(str::trim).filter(|it| it.starts_with("#[ignore"));
            let mut others = ignored.filter(|it| *it != "#[ignore = \"needs faults: tests/run --faults\"]");
            assert_eq!(others.next(), None, "{} ignores a test", path.display());
        });
    }
}
