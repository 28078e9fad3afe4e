//! The fault harness: a scripted connector and a scripted runtime around the built binary, an oracle that knows neither, and a
//! table of faults ([`table::FAULTS`]). `cargo test` makes one try of most faults, `tests/run --faults` many of all and prints the
//! table. `FAULT=TEXT` selects faults by name, `FAULTS=all` makes every try that the table has.

#[path = "../command/mod.rs"]
mod command;
#[path = "../runtime/mod.rs"]
mod runtime;
#[path = "../services/mod.rs"]
mod services;

mod damage;
mod fault;
mod memory;
#[path = "../../src/fivetran/tests/messages.rs"]
mod messages;
mod model;
mod oracle;
mod report;
mod requests;
mod rotated;
mod run;
mod script;
mod secrets;
mod session;
mod states;
mod table;
mod tries;
mod wire;
mod world;

use run::Effort;

#[test]
fn one_try_of_most_faults() {
    run::all(Effort::Slice);
}

#[test]
fn random_conversations() {
    model::check(6);
}

#[test]
#[ignore = "needs faults: tests/run --faults"]
fn many_tries_of_every_fault() {
    run::all(Effort::Many(tries_of_each()));
}

#[test]
#[ignore = "needs faults: tests/run --faults"]
fn many_random_conversations() {
    model::check(u32::try_from(tries_of_each()).map_or(10_000, |it| it * 6));
}

/// `FAULTS=N`, `FAULTS=all`, or what fits into ten minutes.
fn tries_of_each() -> usize {
    match std::env::var("FAULTS").ok().as_deref() {
        None => 12,
        Some("all") => usize::MAX,
        Some(number) => number.parse().expect("FAULTS is a number or `all`"),
    }
}
