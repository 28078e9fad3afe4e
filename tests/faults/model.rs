//! Random conversations with faults at random places, which shrink to the smallest one that goes wrong.

use std::fs;
use std::hash::{Hash, Hasher};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::fault::{Fault, Group, Places};
use super::script::{MODES, STREAMS, Script, Step};
use super::table::FAULTS;
use super::tries::{Thrown, Try};
use crate::runtime::repository;

/// Faults that may happen at any boundary.
fn anywhere() -> Vec<&'static Fault> {
    let all = FAULTS.iter().filter(|it| it.group == Group::Death && it.places == Places::Every);
    all.filter(|it| it.world.needs.lacking().is_none()).collect()
}

/// Tries with up to three faults.
fn tries() -> impl Strategy<Value = Try> {
    let step = (0..STREAMS.len(), prop::bool::weighted(0.7));
    let step = step.prop_map(|(stream, is_row)| if is_row { Step::Row(stream) } else { Step::State(stream) });
    let faults = prop::collection::vec((any::<Index>(), any::<Index>()), 1..4);
    let anywhere = anywhere();
    (0..MODES.len(), prop::collection::vec(step, 1..16), faults).prop_map(move |(mode, body, faults)| {
        let script = Script::of(&MODES[mode], body);
        let places = script.steps.len() + 1;
        let thrown = |(fault, place): (Index, Index)| Thrown {
            fault: anywhere[fault.index(anywhere.len())],
            place: place.index(places),
            variant: 0,
        };
        Try { thrown: faults.into_iter().map(thrown).collect(), script }
    })
}

/// Makes so many tries; panics with the smallest one that goes wrong, which is then in a file.
pub fn check(cases: u32) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let result = TestRunner::new(config).run(&tries(), |it| {
        let tried = it.run();
        if tried.wrong.is_empty() { Ok(()) } else { Err(TestCaseError::fail(tried.wrong.join("\n  "))) }
    });
    if let Err(proptest::test_runner::TestError::Fail(why, it)) = &result {
        let case = it.run().case.map(|it| keep("model", &it));
        panic!("a random conversation goes wrong: {it:?}\n  {why}\n{}", case.unwrap_or_default());
    }
    result.expect("a random conversation");
}

/// Writes a conversation that goes wrong to where `cargo test` plays it again, and says where that is.
pub fn keep(name: &str, case: &str) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    name.hash(&mut hasher);
    let words: Vec<&str> = name.split(|it: char| !it.is_ascii_alphanumeric()).filter(|it| !it.is_empty()).collect();
    let name: String = words.join("_").to_lowercase().chars().take(80).collect();
    let path = repository().join(format!("fixtures/conversations/found_{name}_{:04x}.case", hasher.finish() & 0xffff));
    match fs::write(&path, case) {
        Ok(()) => format!("  it is kept: {}", path.display()),
        Err(e) => format!("  it can't be kept in {}: {e}", path.display()),
    }
}
