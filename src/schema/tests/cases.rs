//! `src/schema/cases/*.json`: lists of `{about, of, given, key?, dates?, gives, changes}`.
//!
//! `of` names the output; `document` is the rewrite that `declared` and `sourced` begin with. `changes` lists names of
//! changes with their locations. Flow must also accept each result, and a second rewrite must not change it.

use super::checker::{open, rejected, unfit};
use crate::schema::rewrite::rewrite;
use crate::schema::values::Mode;
use crate::schema::{
    DateFormats, Key, KeyProblem, Rewritten, config, declare_path, key, sourced, write_declared, write_permissive,
};
use serde_json::{Value, json};
use std::path::Path;

#[test]
fn cases_give_the_expected_result() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema/cases");
    let mut failed = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for case in cases {
            let who = format!("{}: {}", path.file_name().unwrap().display(), case["about"]);
            failed.extend(run(&case).into_iter().map(|it| format!("{who}\n  {it}")));
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

fn run(case: &Value) -> Vec<String> {
    let given = &case["given"];
    let of = case["of"].as_str().unwrap();
    if of == "key" {
        return run_key(case);
    }
    let key = if case["key"].is_null() { Key::row_id() } else { the_key(case).unwrap() };
    let rewrite = |it: &Value| match of {
        "config" => config(it),
        "document" => {
            let (schema, changes) = rewrite(it, Mode::Document);
            Rewritten { schema: schema.into(), changes }
        }
        "declared" => write_declared(it, &key),
        "permissive" => Rewritten { schema: write_permissive(&key), changes: Vec::new() },
        "sourced" => {
            let dates = match case["dates"].as_str() {
                Some("raw") => DateFormats::Dropped,
                Some("strings") => DateFormats::KeptByStrings,
                _ => DateFormats::Kept,
            };
            sourced(it, &key, dates)
        }
        other => panic!("no such output: {other}"),
    };
    let it = rewrite(given);
    let mut wrong = Vec::new();
    if it.schema != case["gives"] {
        wrong.push(format!("gives {}\n   want {}", it.schema, case["gives"]));
    }
    let changes: Vec<String> = it.changes.iter().map(|it| format!("{} {}", it.what.name(), it.at)).collect();
    let changes = json!(changes);
    if let Some(expected) = case.get("changes")
        && *expected != changes
    {
        wrong.push(format!("changes {changes}\n     want {expected}"));
    }
    wrong.extend(rejected(&it.schema));
    if of == "declared" || of == "permissive" {
        wrong.extend(unfit(&it.schema, &key.pointers()));
    }
    if of == "sourced" {
        wrong.extend(open(&it.schema));
    } else if of != "declared" && rewrite(&it.schema) != (Rewritten { changes: Vec::new(), ..it.clone() }) {
        wrong.push(format!("is not stable: {:?}", rewrite(&it.schema)));
    }
    wrong
}

fn the_key(case: &Value) -> Result<Key, KeyProblem> {
    let paths: Vec<Vec<String>> = serde_json::from_value(case["key"].clone()).unwrap();
    key(&case["given"], &paths)
}

/// `gives` maps the key's pointers to types, or is the message of the problem.
fn run_key(case: &Value) -> Vec<String> {
    let gives = match the_key(case) {
        Ok(key) => {
            let schema = write_permissive(&key);
            let type_at = |it: &String| schema.pointer(&it.replace('/', "/properties/")).unwrap()["type"].clone();
            key.pointers().iter().map(|it| (it.clone(), type_at(it))).collect()
        }
        Err(problem) => json!(problem.to_string()),
    };
    if gives == case["gives"] { Vec::new() } else { vec![format!("gives {gives}")] }
}

/// A key that the user names is valid even if the source does not declare it.
#[test]
fn a_declared_path_can_be_a_key() {
    let path = ["data", "id"].map(str::to_owned).to_vec();
    let mut schema = json!({"properties": {"data": {"type": ["null", "object"], "properties": {"a": {}}}}});
    assert!(key(&schema, std::slice::from_ref(&path)).is_err());
    declare_path(&mut schema, &path);
    assert_eq!(key(&schema, &[path]).unwrap().pointers(), ["/data/id"]);
}
