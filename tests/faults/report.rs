//! The result of a try, and the table of all faults.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::fault::{Fault, Group};

/// One try of a fault.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// Which of the fault's tries it is.
    pub name: String,
    pub lost: u64,
    pub doubled: u64,
    pub seconds: f64,
    /// An exit code or a signal.
    pub exit: String,
    pub last: String,
    pub processes: usize,
    pub files: usize,
    /// What is not as it has to be, one sentence each.
    pub wrong: Vec<String>,
    /// A conversation that shows it.
    pub case: Option<String>,
}

impl Tried {
    /// Adds a session of the same try.
    pub fn add(&mut self, session: Self) {
        self.seconds = self.seconds.max(session.seconds);
        (self.exit, self.last) = (session.exit, session.last);
        self.processes += session.processes;
        self.files += session.files;
        self.wrong.extend(session.wrong);
    }
}

/// A row of the table: a fault with its tries, or why there are none.
pub struct Row {
    pub fault: &'static Fault,
    pub tries: Vec<Tried>,
    pub left_out: Option<&'static str>,
}

const NAME: usize = 62;
const LAST: usize = 70;

/// The table for people.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:NAME$} {:>5} {:>5} {:>4} {:>7} {:>6}  {:10} {:>4} {:>5}  last stderr line",
        "fault", "tries", "right", "lost", "doubled", "max s", "exit", "proc", "files"
    );
    let mut group = None;
    for row in rows {
        if group.replace(row.fault.group) != Some(row.fault.group) {
            let _ = writeln!(text, "{:?}", row.fault.group);
        }
        let _ = writeln!(text, "{}", line(&format!("  {}", row.fault.name), row));
    }
    text
}

fn line(name: &str, row: &Row) -> String {
    if let Some(why) = row.left_out {
        return format!("{name:NAME$} left out: {why}");
    }
    let sum = |of: fn(&Tried) -> u64| row.tries.iter().map(of).sum::<u64>();
    let exits: BTreeSet<&str> = row.tries.iter().map(|it| it.exit.as_str()).collect();
    // The most telling one: a failure's, if there is any.
    let last = row.tries.iter().max_by_key(|it| (it.exit != "0", it.last.len()));
    let last: String = last.map_or(String::new(), |it| it.last.replace('\n', " ")).chars().take(LAST).collect();
    format!(
        "{name:NAME$} {:>5} {:>5} {:>4} {:>7} {:>6.1}  {:10} {:>4} {:>5}  {last}",
        row.tries.len(),
        row.tries.iter().filter(|it| it.wrong.is_empty()).count(),
        sum(|it| it.lost),
        sum(|it| it.doubled),
        row.tries.iter().map(|it| it.seconds).fold(0.0, f64::max),
        exits.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" "),
        sum(|it| it.processes as u64),
        sum(|it| it.files as u64),
    )
}

/// One line per group, for the README.
pub fn groups(rows: &[Row]) -> String {
    let mut text = "| group | faults | tries | as it must be | lost | doubled | processes left | files left |\n|---|---|---|---|---|---|---|---|\n".to_owned();
    let all: BTreeSet<Group> = rows.iter().filter(|it| it.left_out.is_none()).map(|it| it.fault.group).collect();
    for group in all {
        let rows = || rows.iter().filter(move |it| it.fault.group == group && it.left_out.is_none());
        let tries = || rows().flat_map(|it| &it.tries);
        let sum = |of: fn(&Tried) -> u64| tries().map(of).sum::<u64>();
        let _ = writeln!(
            text,
            "| {group:?} | {} | {} | {} | {} | {} | {} | {} |",
            rows().count(),
            tries().count(),
            tries().filter(|it| it.wrong.is_empty()).count(),
            sum(|it| it.lost),
            sum(|it| it.doubled),
            sum(|it| it.processes as u64),
            sum(|it| it.files as u64),
        );
    }
    text
}
