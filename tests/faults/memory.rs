//! Memory: flat, whatever the number of records, and bounded by the largest one.

use serde_json::json;

use super::report::Tried;
use super::script::{Mode, protocols};
use super::session::{Desk, Seen, Setup, When};
use super::tries::of_session;
use super::world::{PLAIN, World};

const MEGABYTE: u64 = 1_000_000;

/// So many tries of each fault are not meant to take ten minutes.
const THOROUGH: usize = 40;

/// The runtime measures at each checkpoint: one has to follow while flow-shim still runs.
fn seen(mode: &'static Mode, lines: &[String], hook: Option<(When, &'static [super::session::Act])>) -> Seen {
    let trail = |state: u64| {
        let row = mode.wire.row("alpha", json!({"id": 1, "pad": "$x(600)"}));
        [format!("%repeat 20000 {row}"), mode.wire.state(0, &[state, 0], mode.states).to_string()]
    };
    let desk = Desk::new();
    let lines = [lines, &trail(1)[..], &trail(2)[..]].concat();
    let case = desk.case(mode, &lines);
    let world = World { shim_yaml: Some("maxDocument: 64MiB\n"), ..PLAIN };
    let patience = std::time::Duration::from_secs(600);
    let max_document = 64 * 1024 * 1024;
    Setup { hook, patience, max_document, world: &world, ..Setup::new(mode, &desk, &case) }.run()
}

fn judge(name: &str, mode: &Mode, seen: Seen, rows: usize, most: u64) -> Tried {
    let mut tried = of_session(format!("{}: {name}", mode.name), &seen);
    let megabytes = seen.peak_memory / MEGABYTE;
    tried.last = format!("{megabytes} MB at most");
    let wanted = rows + 40_000;
    if !seen.exit.success() || seen.documents.len() != wanted {
        tried.lost += wanted.saturating_sub(seen.documents.len()) as u64;
        tried.wrong.push(format!("{name}: {}, {} documents: {}", seen.exit, seen.documents.len(), seen.last));
    }
    if megabytes == 0 || megabytes > most {
        tried.wrong.push(format!("{name}: {megabytes} MB of memory, not 1 to {most}"));
    }
    tried.wrong.extend(seen.wrong);
    tried
}

pub fn many_records(tries: usize) -> Vec<Tried> {
    let each = protocols().iter().map(|mode| {
        let count = if tries < THOROUGH { 1_000_000 } else { 5_000_000 };
        // The scripted Fivetran connector is slow, and flow-shim receives 8 MiB of messages in advance.
        let (count, most) = if mode.wire.has_lines() { (count, 12) } else { (count / 10, 24) };
        let row = mode.wire.row("alpha", json!({"id": 1, "n": "$n"}));
        judge("records", mode, seen(mode, &[format!("%repeat {count} {row}")], None), count, most)
    });
    each.collect()
}

pub fn large_records(_: usize) -> Vec<Tried> {
    let each = protocols().iter().map(|mode| {
        let row = mode.wire.row("alpha", json!({"id": 1, "pad": "$x(67000000)"}));
        judge("64 MB each", mode, seen(mode, &[format!("%repeat 12 {row}")], None), 12, 250)
    });
    each.collect()
}

pub fn large_states(_: usize) -> Vec<Tried> {
    let each = protocols().iter().map(|mode| {
        let state = mode.wire.state(0, &[1, 0], mode.states).to_string();
        let state = state.replace(r#"{"pos":1}"#, r#"{"pad":"$x(50000000)"}"#);
        // In a Fivetran connector's state, a text.
        let state = state.replace(r#"{\"pos\":1}"#, r#"{\"pad\":\"$x(50000000)\"}"#);
        let slow: Option<(When, &'static [super::session::Act])> =
            Some((When::Documents(1), &[super::session::Act::Stall(3)]));
        let row = mode.wire.row("alpha", json!({"id": 1})).to_string();
        judge("50 MB, three times", mode, seen(mode, &[row, format!("%repeat 3 {state}")], slow), 1, 300)
    });
    each.collect()
}
