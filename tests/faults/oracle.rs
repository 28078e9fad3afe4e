//! What must be committed, computed from the connector's script alone: the oracle knows neither flow-shim nor how its connector
//! is written. It follows Flow's collections through all sessions of a try.
//!
//! A session commits the rows before one of the script's states, or all of them if the connector ended well. The next session
//! has to get exactly the positions of that state. In the end the collections have what the source has.

use std::collections::BTreeMap;

use flow_shim::strict::backfills::Step;

use super::script::{STREAMS, Script, States, Step as Play};
use super::session::Seen;

/// A committed document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub stream: usize,
    pub row_id: u64,
    /// None in a deletion without content.
    pub id: Option<u64>,
    pub is_deletion: bool,
}

/// What a session may have committed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Commits {
    /// Everything: the connector ended well.
    All,
    /// Everything up to the last state before this step, as flow-shim has read to the end of a connector that failed there.
    LastStateBefore(usize),
    /// Everything up to any of the states before this step.
    AnyStateBefore(usize),
    /// As the one before, or everything.
    AnyState,
}

/// The live rows of a collection, by id or row id.
type Rows = BTreeMap<u64, Row>;

/// A row in a collection.
struct Row {
    /// The source's row.
    id: u64,
    /// A truncation that has begun will drop it.
    is_old: bool,
}

pub struct Oracle {
    /// The positions that the connector has to be given, for each state that the last session may have ended at.
    starts: Vec<Vec<u64>>,
    /// Per stream.
    collections: Vec<Rows>,
    /// Rows that may be in a collection twice: committed without a state of their own stream.
    repeatable: u64,
    pub lost: u64,
    pub doubled: u64,
    pub wrong: Vec<String>,
}

impl Oracle {
    pub fn new() -> Self {
        Self {
            starts: vec![vec![0; STREAMS.len()]],
            collections: STREAMS.map(|_| Rows::new()).into(),
            repeatable: 0,
            lost: 0,
            doubled: 0,
            wrong: Vec::new(),
        }
    }

    /// The number of rows that a connector prints in the next session before this step.
    pub fn rows_before(&self, script: &Script, step: usize) -> usize {
        let count = |start: &Vec<u64>| printed(script, start).iter().filter(|it| it.0 < step).count();
        self.starts.iter().map(count).min().unwrap_or(0)
    }

    /// What a session has to commit of each stream, and where the next one continues; `None` where that is not determined.
    pub fn outcome(script: &Script, commits: Commits, start: &[u64]) -> Option<([usize; STREAMS.len()], Vec<u64>)> {
        let printed = printed(script, start);
        let end = match commits {
            Commits::All => End::Whole,
            Commits::LastStateBefore(step) => last_state(script, step, start),
            // The rows between the last state and the step show that the state was read.
            Commits::AnyStateBefore(step) => match last_state(script, step, start) {
                End::Step(state) if printed.iter().any(|it| (state..step).contains(&it.0)) => End::Step(state),
                _ => return None,
            },
            Commits::AnyState => return None,
        };
        let is_committed = |step: usize| end == End::Whole || matches!(end, End::Step(end) if step < end);
        let mut counts = [0; STREAMS.len()];
        printed.iter().filter(|it| is_committed(it.0)).for_each(|it| counts[it.1] += 1);
        let [next] = starts_after(script, commits, end, start, &printed).try_into().ok()?;
        Some((counts, next))
    }

    /// Follows a session.
    pub fn session(&mut self, script: &Script, commits: Commits, seen: &Seen) {
        let documents = &seen.documents;
        let start = self.start(seen.given.as_deref());
        let rows: Vec<&Document> = documents.iter().filter(|it| !it.is_deletion).collect();
        let printed = printed(script, &start);
        let known =
            rows.iter().zip(&printed).take_while(|(row, (_, stream, id))| row.stream == *stream && row.id == Some(*id));
        let count = known.count();
        if count < rows.len() {
            let (row, wanted) = (rows[count], printed.get(count).map(|(_, stream, id)| (STREAMS[*stream], id)));
            self.wrong.push(format!(
                "document {} is row {:?} of {}, not {wanted:?}",
                count + 1,
                row.id,
                STREAMS[row.stream]
            ));
        }
        let ends = ends(script, commits, &start, &printed, count);
        if ends.is_empty() {
            self.wrong
                .push(format!("{} documents were committed, which is not where the connector said so", rows.len()));
        }
        self.apply(script, seen);
        let positions: Vec<Vec<u64>> =
            ends.iter().flat_map(|end| starts_after(script, commits, *end, &start, &printed)).collect();
        if let (false, Some(position)) = (script.mode.refresh, positions.last()) {
            let uncovered = |row: &&&Document| row.id.is_some_and(|id| id > position[row.stream]);
            self.repeatable += rows.iter().filter(uncovered).count() as u64;
        }
        if !positions.is_empty() {
            self.starts = positions;
        }
    }

    /// The positions that a session starts from, compared with what the connector was given, if it was started.
    fn start(&mut self, given: Option<&[u64]>) -> Vec<u64> {
        let best = self.starts.last().cloned().unwrap_or_default();
        let Some(given) = given else { return best };
        if !self.starts.iter().any(|it| it == given) {
            self.wrong.push(format!("the connector was given the positions {given:?}, not {:?}", self.starts));
            for (given, best) in given.iter().zip(&best) {
                self.lost += given.saturating_sub(*best);
                self.doubled += best.saturating_sub(*given);
            }
        }
        given.to_vec()
    }

    /// Reduces documents into the collections, and truncates these.
    fn apply(&mut self, script: &Script, seen: &Seen) {
        let mut backfills = seen.backfills.iter().peekable();
        for count in 0..=seen.documents.len() {
            while let Some(it) = backfills.next_if(|it| it.after <= count) {
                let rows = &mut self.collections[it.binding];
                match it.step {
                    Step::Begin => rows.values_mut().for_each(|it| it.is_old = true),
                    Step::Complete => rows.retain(|_, it| !it.is_old),
                }
            }
            let Some(it) = seen.documents.get(count) else { continue };
            let Some(key) = (if script.mode.key.is_some() { it.id } else { Some(it.row_id) }) else { continue };
            match it.id {
                Some(id) if !it.is_deletion => self.collections[it.stream].insert(key, Row { id, is_old: false }),
                _ => self.collections[it.stream].remove(&key),
            };
        }
    }

    /// Compares the collections with the source, after a session that committed everything.
    pub fn finish(&mut self, script: &Script) {
        for (stream, count) in script.rows().into_iter().enumerate() {
            let mut counts = vec![0_u64; count as usize];
            let mut strangers = 0;
            for row in self.collections[stream].values() {
                match counts.get_mut((row.id - 1) as usize) {
                    Some(it) => *it += 1,
                    None => strangers += 1,
                }
            }
            let missing = counts.iter().filter(|it| **it == 0).count() as u64;
            let surplus: u64 = counts.iter().map(|it| it.saturating_sub(1)).sum();
            if missing > 0 {
                self.lost += missing;
                self.wrong.push(format!("{missing} rows of {} are not in the collection", STREAMS[stream]));
            }
            let may_repeat = if script.mode.refresh { 0 } else { self.repeatable };
            if surplus > may_repeat {
                self.doubled += surplus - may_repeat;
                self.wrong.push(format!("{surplus} rows of {} are in the collection twice", STREAMS[stream]));
            }
            // A key does not tell which rows are gone.
            if strangers > 0 && (script.mode.key.is_none() || script.mode.truncates) {
                self.wrong
                    .push(format!("{strangers} rows of {} are gone at the source and not deleted", STREAMS[stream]));
            }
        }
    }
}

/// Where a session may have ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Step(usize),
    Whole,
}

/// Where the next session starts if this one has ended there.
fn positions_after(script: &Script, end: End, start: &[u64]) -> Vec<u64> {
    let mode = script.mode;
    if mode.refresh && (end == End::Whole || !mode.resumes) {
        return vec![0; STREAMS.len()];
    }
    let end = match end {
        End::Whole => script.steps.len(),
        End::Step(step) => step,
    };
    let mut positions = start.to_vec();
    for index in 0..end {
        let Play::State(stream) = script.steps[index] else { continue };
        let there = script.positions(index);
        for (at, position) in positions.iter_mut().enumerate() {
            if at == stream || mode.states != States::Stream {
                *position = (*position).max(there[at]);
            }
        }
    }
    positions
}

/// Where the next session may start. A truncating refresh of a stream ends with its COMPLETE, in a checkpoint of its own, if all
/// rows are covered by states: then this stream begins anew, whatever happens to the others.
fn starts_after(
    script: &Script,
    commits: Commits,
    end: End,
    start: &[u64],
    printed: &[(usize, usize, u64)],
) -> Vec<Vec<u64>> {
    let mut starts = vec![positions_after(script, end, start)];
    let End::Step(end) = end else { return starts };
    let (before, is_read) = match commits {
        Commits::LastStateBefore(step) => (step, true),
        Commits::AnyStateBefore(step) => (step, false),
        Commits::All | Commits::AnyState => (script.steps.len(), false),
    };
    let says_complete = !script.mode.wire.complete(STREAMS[0], script.mode).is_empty();
    if !script.mode.truncates || !says_complete || printed.iter().any(|it| it.0 >= end) {
        return starts;
    }
    for step in script.steps.get(end..before).unwrap_or_default() {
        if let Play::Complete(stream) = *step {
            let mut next = starts.last().cloned().unwrap_or_default();
            next[stream] = 0;
            starts.push(next);
        }
    }
    if is_read { starts.split_off(starts.len() - 1) } else { starts }
}

/// The rows that a connector prints which continues from these positions: step, stream and id.
fn printed(script: &Script, start: &[u64]) -> Vec<(usize, usize, u64)> {
    let mut positions = vec![0; STREAMS.len()];
    let mut rows = Vec::new();
    for (index, step) in script.steps.iter().enumerate() {
        if let Play::Row(stream) = *step {
            positions[stream] += 1;
            if positions[stream] > start[stream] {
                rows.push((index, stream, positions[stream]));
            }
        }
    }
    rows
}

/// Whether a step is a state that a connector prints which continues from these positions.
fn is_printed_state(script: &Script, step: usize, start: &[u64]) -> bool {
    let Play::State(stream) = script.steps[step] else { return false };
    let positions = script.positions(step);
    let is_its = |it: &usize| positions[*it] > 0 && (*it == stream || script.mode.states != States::Stream);
    (0..STREAMS.len()).filter(is_its).any(|it| positions[it] > start[it])
}

/// The end that the last state before a step makes.
fn last_state(script: &Script, step: usize, start: &[u64]) -> End {
    End::Step((0..step).rev().find(|it| is_printed_state(script, *it, start)).map_or(0, |it| it + 1))
}

/// The ends that fit the number of committed rows.
fn ends(script: &Script, commits: Commits, start: &[u64], printed: &[(usize, usize, u64)], count: usize) -> Vec<End> {
    let is_state = |step: &usize| is_printed_state(script, *step, start);
    let rows_before = |step: usize| printed.iter().filter(|it| it.0 < step).count();
    let states = |before: usize| {
        let states = (0..before).filter(is_state).map(|it| it + 1);
        // Nothing at all is the state that the session began with.
        [0].into_iter().chain(states).filter(|it| rows_before(*it) == count).map(End::Step).collect::<Vec<_>>()
    };
    let whole = if printed.len() == count { vec![End::Whole] } else { Vec::new() };
    match commits {
        Commits::All => whole,
        Commits::AnyStateBefore(step) => states(step),
        Commits::AnyState => [states(script.steps.len()), whole].concat(),
        Commits::LastStateBefore(step) => match last_state(script, step, start) {
            End::Step(last) if rows_before(last) == count => vec![End::Step(last)],
            _ => Vec::new(),
        },
    }
}
