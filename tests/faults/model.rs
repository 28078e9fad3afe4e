//! Random conversations with faults at random places, which shrink to the smallest one that goes wrong.

use std::fs;
use std::hash::{Hash, Hasher};
use std::thread;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use super::fault::{Fault, Group, Places};
use super::report::Tried;
use super::run::at_once;
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

/// Makes so many tries, some at once; panics with the smallest one that goes wrong.
pub fn check(cases: u32) {
    let at_once = u32::try_from(at_once()).unwrap_or(1).min(cases);
    let run = || {
        let config =
            Config { cases: cases / at_once, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
        TestRunner::new(config).run(&tries(), |it| {
            let tried = it.run();
            if tried.wrong.is_empty() { Ok(()) } else { Err(TestCaseError::fail(tried.wrong.join("\n  "))) }
        })
    };
    let results: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..at_once).map(|_| scope.spawn(run)).collect();
        all.into_iter().map(|it| it.join().expect("no try panics")).collect()
    });
    for result in results {
        if let Err(TestError::Fail(why, it)) = &result {
            panic!("a random conversation goes wrong: {it:?}\n  {why}\n{}", keep(&it.run()));
        }
        result.expect("a random conversation");
    }
}

/// Tries that went wrong once, by their names. They are always made again.
pub fn found() -> Vec<Try> {
    let lines = fs::read_to_string(repository().join(FOUND)).unwrap_or_default();
    lines
        .lines()
        .filter_map(Try::named)
        .filter(|it| it.thrown.iter().all(|it| it.fault.world.needs.lacking().is_none()))
        .collect()
}

const FOUND: &str = "fixtures/faults-found";

/// Keeps a try that went wrong, and says where: its name, and a conversation that shows it, if there is one.
pub fn keep(tried: &Tried) -> String {
    let name = &tried.name;
    if Try::named(name).is_none() {
        return String::new();
    }
    let path = repository().join(FOUND);
    let mut lines = fs::read_to_string(&path).unwrap_or_default();
    if !lines.lines().any(|it| it == name) {
        lines += &format!("{name}\n");
    }
    let mut text = match fs::write(&path, lines) {
        Ok(()) => format!("  it is kept in {FOUND}\n"),
        Err(e) => format!("  it can't be kept in {FOUND}: {e}\n"),
    };
    if let Some(case) = &tried.case {
        let mut hasher = std::hash::DefaultHasher::new();
        name.hash(&mut hasher);
        let path = std::env::temp_dir().join(format!("fault-{:08x}.case", hasher.finish() as u32));
        if fs::write(&path, case).is_ok() {
            text += &format!("  as a conversation: {}\n", path.display());
        }
    }
    text
}
