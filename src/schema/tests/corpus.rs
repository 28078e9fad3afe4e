//! The schemas in `fixtures/specs` and `fixtures/catalogs`, which are of the kinds that real sources print.

use super::checker::{open, rejected, unfit};
use crate::schema::{DateFormats, Key, KeyProblem, config, key, sourced, write_declared, write_permissive};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn files(folder: &str) -> Vec<(PathBuf, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    paths.sort();
    let read = |it: PathBuf| {
        let text = std::fs::read_to_string(&it).unwrap();
        let json = serde_json::from_str(&text).unwrap();
        (it, json)
    };
    paths.into_iter().filter(|it| it.extension().is_some_and(|it| it == "json")).map(read).collect()
}

#[test]
fn flow_accepts_every_config_schema() {
    let mut choices = 0;
    for (path, spec) in files("specs") {
        let original = &spec["connectionSpecification"];
        let it = config(original);
        assert_eq!(rejected(&it.schema), [""; 0], "{}", path.display());
        assert_eq!(it.schema["type"], "object");
        let again = config(&it.schema);
        assert_eq!(again.schema, it.schema, "{}", path.display());
        assert_eq!(again.changes, [], "{}", path.display());
        choices += check_choices(&it.schema, &path);
        if rejected(original).is_empty() && original["type"] == "object" {
            let changes: Vec<_> = it.changes.iter().map(|it| it.what.name()).collect();
            let by_design = ["discriminator-added", "default-added", "enum-to-const", "dialect-dropped"];
            assert!(changes.iter().all(|it| by_design.contains(it)), "{}: {changes:?}", path.display());
        }
    }
    assert!(choices > 10, "{choices} choices");
}

/// Every `oneOf` of objects has a discriminator, with a const and an equal default in each branch.
fn check_choices(schema: &Value, path: &Path) -> usize {
    let mut choices = 0;
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(branches)) = map.get("oneOf") {
                choices += 1;
                let name = schema["discriminator"]["propertyName"].as_str();
                let name = name.unwrap_or_else(|| panic!("{}: no discriminator: {schema}", path.display()));
                for branch in branches {
                    let property = &branch["properties"][name];
                    assert!(!property["const"].is_null(), "{}: {branch}", path.display());
                    assert_eq!(property["const"], property["default"], "{}", path.display());
                }
            }
            choices += map.values().map(|it| check_choices(it, path)).sum::<usize>();
        }
        Value::Array(them) => choices += them.iter().map(|it| check_choices(it, path)).sum::<usize>(),
        _ => {}
    }
    choices
}

#[test]
fn flow_accepts_every_document_schema() {
    let (mut streams, mut keyless, mut unkeyable) = (0, 0, 0);
    for (path, catalog) in files("catalogs") {
        for stream in catalog["streams"].as_array().unwrap() {
            streams += 1;
            let who = format!("{} {}", path.display(), stream["name"]);
            let declared = &stream["json_schema"];
            let paths: Vec<Vec<String>> =
                serde_json::from_value(stream["source_defined_primary_key"].clone()).unwrap_or_default();
            let key = match key(declared, &paths) {
                Ok(it) => it,
                Err(KeyProblem::Empty) => {
                    keyless += 1;
                    Key::row_id()
                }
                Err(problem) => {
                    eprintln!("{who}: {problem}");
                    unkeyable += 1;
                    Key::row_id()
                }
            };
            let permissive = write_permissive(&key);
            assert_eq!(rejected(&permissive), [""; 0], "{who}");
            assert_eq!(unfit(&permissive, &key.pointers()), [""; 0], "{who}");

            let written = write_declared(declared, &key);
            assert_eq!(rejected(&written.schema), [""; 0], "{who}");
            assert_eq!(unfit(&written.schema, &key.pointers()), [""; 0], "{who}");

            let sourced = sourced(declared, &key, DateFormats::Kept);
            assert_eq!(rejected(&sourced.schema), [""; 0], "{who}");
            assert_eq!(open(&sourced.schema), [""; 0], "{who}");
        }
    }
    assert!(streams > keyless + unkeyable && keyless > 0 && unkeyable > 0, "{streams}, {keyless}, {unkeyable}");
}
