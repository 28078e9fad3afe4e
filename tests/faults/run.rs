//! Runs the table: tries in parallel, their result as rows, and what goes wrong as files that are played again.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::fault::{Fault, Throw};
use super::model::{found, keep};
use super::report::{Row, Tried, groups, table};
use super::table::FAULTS;
use super::tries::{self, Try};

/// Tries that wait more than they compute run beside the others, so many at once.
const WAITING: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// What `cargo test` has time for.
    Slice,
    /// So many tries of each fault.
    Many(usize),
}

impl Effort {
    /// The number of tries of a fault.
    fn most(self) -> usize {
        match self {
            Self::Slice => 1,
            Self::Many(most) => most,
        }
    }
}

enum Job {
    Try(Box<Try>),
    Own(fn(usize) -> Vec<Tried>),
}

/// Makes the tries, prints the table, and panics if something is not as it must be.
pub fn all(effort: Effort) {
    let only = std::env::var("FAULT").unwrap_or_default();
    let start = Instant::now();
    let selected = |it: &&Fault| {
        format!("{:?}: {}", it.group, it.name).contains(&only) && (effort != Effort::Slice || !it.heavy && !it.slow)
    };
    let faults: Vec<&'static Fault> = FAULTS.iter().filter(selected).collect();
    assert!(!faults.is_empty(), "no fault is called {only}");
    let found = found();
    let mut jobs: Vec<(usize, bool, Job)> = Vec::new();
    for (index, fault) in faults.iter().enumerate().filter(|(_, it)| it.world.needs.lacking().is_none()) {
        match fault.throw {
            Throw::Own(make) => jobs.push((index, fault.slow, Job::Own(make))),
            _ => {
                let again = found.iter().filter(|it| std::ptr::eq(it.thrown[0].fault, *fault)).cloned();
                let all = tries::of(fault, effort.most()).into_iter().chain(again);
                jobs.extend(all.map(|it| (index, fault.slow, Job::Try(Box::new(it)))));
            }
        }
    }
    let results = Mutex::new(BTreeMap::<usize, Vec<Tried>>::new());
    let (slow, quick): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|it| it.1);
    let at_once = if effort == Effort::Slice { 2 } else { at_once() };
    thread::scope(|scope| {
        for (jobs, workers) in [(&quick, at_once), (&slow, WAITING)] {
            let next = std::sync::Arc::new(AtomicUsize::new(0));
            for _ in 0..workers.min(jobs.len()) {
                let (next, results) = (next.clone(), &results);
                scope.spawn(move || {
                    while let Some((index, _, job)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let tried = match job {
                            Job::Try(it) => vec![it.run()],
                            Job::Own(make) => make(effort.most()),
                        };
                        for it in tried.iter().filter(|it| !it.wrong.is_empty()) {
                            println!("WRONG {}\n  {}", it.name, it.wrong.join("\n  "));
                        }
                        results.lock().expect("no try panics").entry(*index).or_default().extend(tried);
                    }
                });
            }
        }
    });
    let mut results = results.into_inner().expect("no try panics");
    let rows: Vec<Row> = faults
        .into_iter()
        .enumerate()
        .map(|(index, fault)| Row {
            fault,
            tries: results.remove(&index).unwrap_or_default(),
            left_out: fault.world.needs.lacking(),
        })
        .collect();
    conclude(&rows, effort, start);
}

/// How many tries are made at once: they wait for processes as long as they compute.
pub fn at_once() -> usize {
    thread::available_parallelism().map_or(2, usize::from) + 1
}

fn conclude(rows: &[Row], effort: Effort, start: Instant) {
    let wrong: Vec<&Tried> = rows.iter().flat_map(|it| &it.tries).filter(|it| !it.wrong.is_empty()).collect();
    if effort != Effort::Slice || !wrong.is_empty() {
        println!("\n{}\n{}", table(rows), groups(rows));
    }
    let count: usize = rows.iter().map(|it| it.tries.len()).sum();
    println!("{count} tries of {} faults in {:.0} s", rows.len(), start.elapsed().as_secs_f64());
    let mut report = String::new();
    for it in &wrong {
        report += &format!("\n{}\n  {}\n", it.name, it.wrong.join("\n  "));
        report += &keep(it);
    }
    assert!(wrong.is_empty(), "{} of {count} tries went wrong:\n{report}", wrong.len());
    let empty: Vec<&str> =
        rows.iter().filter(|it| it.tries.is_empty() && it.left_out.is_none()).map(|it| it.fault.name).collect();
    assert!(empty.is_empty(), "faults without a try: {empty:?}");
}
