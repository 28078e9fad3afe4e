//! One run of the capture: records what was committed as hashes, and kills or ends it as planned.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use anyhow::Result;
use jsonschema::Validator;
use rustix::process::Signal;
use serde_json::{Map, Value};

use crate::logging::{EVENT_TYPE, SECRETS_REDACTED};
use crate::process::shutdown::Shutdown;
use crate::strict::{Part, Runtime, Session, Then, Watcher};
use crate::terminal::Screen;
use crate::terminal::figures::plural;

use super::stream::Stream;

/// Documents per stream that are compared with the schema that the source declares.
const VALIDATED: usize = 200;

/// How often the progress is shown, in documents.
const SHOWN: u64 = 100;

/// Where the runs start, and what all of them have in common.
pub struct Runs<'a> {
    pub runtime: &'a Runtime,
    pub streams: &'a [Stream],
    /// The number of documents after which a run ends at its next checkpoint.
    pub limit: u64,
    pub timeout: Duration,
    pub shutdown: &'a Shutdown,
    pub screen: &'a Screen,
}

/// What one run is for.
#[derive(Default)]
pub struct Plan<'a> {
    /// For people.
    pub title: String,
    pub kill: Option<Kill>,
    /// Ends when these documents of each stream were committed.
    pub until: Option<Vec<HashSet<u64>>>,
    /// Documents are compared with the source's schemas.
    pub validates: bool,
    /// The run that left the state to start from.
    pub after: Option<&'a Run>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kill {
    pub victim: Victim,
    pub after: Point,
    /// The documents before that point in an undisturbed run.
    pub documents: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Victim {
    /// flow-shim, as by a runtime that drops the capture.
    Shim,
    /// The connector, as by a kernel without memory.
    Connector,
    /// flow-shim with the keeper that would clean up after it, as by a machine that fails.
    ShimAndKeeper,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Point {
    Documents(u64),
    Checkpoints(u64),
}

/// A document, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub key: u64,
    /// Without `_meta`, but whether it is a deletion.
    pub content: u64,
    pub is_deletion: bool,
}

impl Seen {
    /// What makes it the same row in another run: its key or, where the shim counted the rows, its content.
    pub fn identity(&self, by_row_id: bool) -> u64 {
        if by_row_id { self.content } else { self.key }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    ByItself,
    /// The document limit, or everything that was wanted has come.
    Enough,
    Time,
    Killed,
    /// Ctrl-C.
    Stopped,
    /// With the reason that Flow would show.
    Failed(String),
}

/// The result of a run.
pub struct Run {
    /// The committed documents of each stream, in their order.
    pub committed: Vec<Vec<Seen>>,
    pub uncommitted: u64,
    pub state: Value,
    /// Bindings whose backfill has begun and is not complete.
    pub begun: HashSet<usize>,
    /// The number of documents before each checkpoint.
    pub checkpoints: Vec<u64>,
    pub ended: Ended,
    /// Where the first document of each stream differs from the source's schema.
    pub violations: Vec<Option<String>>,
    /// The connector's log lines showed a secret.
    pub secrets_redacted: bool,
    /// Flow's rules that were broken.
    pub broken: Vec<String>,
}

impl Run {
    pub fn documents(&self) -> u64 {
        self.committed.iter().map(|it| it.len() as u64).sum()
    }
}

impl Runs<'_> {
    pub fn run(&self, plan: Plan) -> Result<Run> {
        self.screen.status(&plan.title);
        let empty = Value::Object(Map::new());
        let bindings: Vec<_> = self.streams.iter().map(|it| it.binding.clone()).collect();
        let (state, begun) = plan.after.map_or((&empty, HashSet::new()), |it| (&it.state, it.begun.clone()));
        let opening = self.runtime.open(&bindings, state).begun(begun);
        let mut recorder = Recorder::new(self, plan);
        let session = opening.run(&mut recorder)?;
        Ok(recorder.finish(session))
    }
}

struct Recorder<'a> {
    runs: &'a Runs<'a>,
    plan: Plan<'a>,
    deadline: Instant,
    committed: Vec<Vec<Seen>>,
    pending: Vec<(usize, Seen)>,
    documents: u64,
    checkpoints: Vec<u64>,
    validators: Vec<Option<Validator>>,
    validated: Vec<usize>,
    violations: Vec<Option<String>>,
    secrets_redacted: bool,
    ended: Option<Ended>,
    connector_killed: bool,
}

impl<'a> Recorder<'a> {
    fn new(runs: &'a Runs<'a>, plan: Plan<'a>) -> Self {
        let count = runs.streams.len();
        Self {
            runs,
            plan,
            deadline: Instant::now() + runs.timeout,
            committed: vec![Vec::new(); count],
            pending: Vec::new(),
            documents: 0,
            checkpoints: Vec::new(),
            validators: (0..count).map(|_| None).collect(),
            validated: vec![0; count],
            violations: vec![None; count],
            secrets_redacted: false,
            ended: None,
            connector_killed: false,
        }
    }

    fn finish(self, session: Session) -> Run {
        let Session { state, begun, end, parts_found, .. } = session;
        let ended = match self.ended {
            Some(it) => it,
            None if parts_found => Ended::Killed,
            // The terminal's Ctrl-C also reaches the child.
            None if self.runs.shutdown.reason().is_some() => Ended::Stopped,
            None if end.exit.success() => Ended::ByItself,
            None => Ended::Failed(end.last_message().to_owned()),
        };
        Run {
            committed: self.committed,
            uncommitted: self.pending.len() as u64,
            state,
            begun,
            checkpoints: self.checkpoints,
            ended,
            violations: self.violations,
            secrets_redacted: self.secrets_redacted,
            broken: end.broken,
        }
    }

    fn validate(&mut self, binding: usize, document: &Value) {
        let Some(validator) = &self.validators[binding] else { return };
        if self.validated[binding] == VALIDATED || self.violations[binding].is_some() {
            return;
        }
        self.validated[binding] += 1;
        // Without the value, which is the user's data.
        self.violations[binding] = validator.iter_errors(document).next().map(|e| {
            let (place, rule) = (e.instance_path().to_string(), e.schema_path().to_string());
            let keyword = rule.rsplit('/').next().unwrap_or_default();
            format!("{keyword} at {}", if place.is_empty() { "/" } else { &place })
        });
    }

    /// Why the run ends now, if it does.
    fn end(&self) -> Option<Ended> {
        if self.runs.shutdown.reason().is_some() {
            return Some(Ended::Stopped);
        }
        if Instant::now() > self.deadline {
            return Some(Ended::Time);
        }
        let is_committed = self.pending.is_empty() && !self.checkpoints.is_empty();
        let is_over = match &self.plan.until {
            _ if self.documents >= self.runs.limit.saturating_mul(2) => true,
            Some(missing) => is_committed && missing.iter().all(HashSet::is_empty),
            None => is_committed && self.documents >= self.runs.limit,
        };
        is_over.then_some(Ended::Enough)
    }

    /// Ends the run by a SIGKILL of these parts.
    fn drop_capture(&mut self, ended: Ended, parts: &'static [Part]) -> Then {
        self.ended = Some(ended);
        Then::Drop(parts)
    }

    fn is_kill_due(&self, kill: Kill) -> bool {
        match kill.after {
            Point::Documents(n) => self.documents >= n,
            Point::Checkpoints(n) => self.checkpoints.len() as u64 >= n,
        }
    }
}

impl Watcher for Recorder<'_> {
    fn document(&mut self, binding: usize, text: &str) {
        // The strict runtime reports documents that are not JSON.
        let document: Value = serde_json::from_str(text).unwrap_or_default();
        let seen = seen(&document, &self.runs.streams[binding].binding.key);
        if !seen.is_deletion {
            self.validate(binding, &document);
        }
        self.pending.push((binding, seen));
        self.documents += 1;
        if self.documents.is_multiple_of(SHOWN) {
            let (documents, checkpoints) = (self.documents as usize, self.checkpoints.len());
            let figures = [plural(documents, "document"), plural(checkpoints, "checkpoint")];
            self.runs.screen.status(&format!("{}: {}", self.plan.title, figures.join(", ")));
        }
    }

    fn sourced_schema(&mut self, binding: usize, schema: &Value) {
        if self.plan.validates {
            self.validators[binding] = jsonschema::validator_for(schema).ok();
        }
    }

    fn checkpoint(&mut self) {
        for (binding, seen) in self.pending.drain(..) {
            if let Some(missing) = &mut self.plan.until {
                missing[binding].remove(&seen.identity(self.runs.streams[binding].by_row_id));
            }
            self.committed[binding].push(seen);
        }
        self.checkpoints.push(self.documents);
    }

    fn log(&mut self, line: &str) {
        if line.contains(SECRETS_REDACTED) {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            self.secrets_redacted |= line["fields"][EVENT_TYPE] == SECRETS_REDACTED;
        }
    }

    fn next(&mut self) -> Option<Then> {
        if let Some(kill) = self.plan.kill.filter(|it| self.is_kill_due(*it)) {
            match kill.victim {
                Victim::Shim => return Some(self.drop_capture(Ended::Killed, &[Part::Shim])),
                Victim::ShimAndKeeper => return Some(self.drop_capture(Ended::Killed, &[Part::Shim, Part::Keeper])),
                Victim::Connector if !std::mem::replace(&mut self.connector_killed, true) => {
                    return Some(Then::SignalParts(&[Part::Connector], Signal::KILL));
                }
                Victim::Connector => {}
            }
        }
        let ended = self.end()?;
        Some(self.drop_capture(ended, &[Part::Shim]))
    }
}

fn seen(document: &Value, key: &[String]) -> Seen {
    let mut hasher = DefaultHasher::new();
    for pointer in key {
        hash(document.pointer(pointer).unwrap_or(&Value::Null), &mut hasher);
    }
    let is_deletion = document["_meta"]["op"] == "d";
    let mut content = DefaultHasher::new();
    is_deletion.hash(&mut content);
    if let Value::Object(members) = document {
        hash_members(members.iter().filter(|(name, _)| *name != "_meta"), &mut content);
    }
    Seen { key: hasher.finish(), content: content.finish(), is_deletion }
}

fn hash(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Object(members) => hash_members(members.iter(), hasher),
        Value::Array(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|it| hash(it, hasher));
        }
        Value::String(text) => text.hash(hasher),
        other => (0, other.to_string()).hash(hasher),
    }
}

/// The order of members does not matter.
fn hash_members<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>, hasher: &mut DefaultHasher) {
    let each = members.map(|(name, value)| {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hash(value, &mut hasher);
        hasher.finish()
    });
    each.fold(1_u64, u64::wrapping_add).hash(hasher);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_is_the_same_whatever_the_shim_and_the_order_of_members_add() {
        let of = |document: Value| seen(&document, &["/id".to_owned()]);
        let one = of(json!({"_meta": {"row_id": 1, "op": "u"}, "id": 1, "a": {"b": [1, "x"], "c": null}}));
        assert_eq!(one, of(json!({"_meta": {"row_id": 9, "op": "c"}, "a": {"c": null, "b": [1, "x"]}, "id": 1})));
        for other in [json!({"id": 1, "a": {"b": ["x", 1], "c": null}}), json!({"id": 1, "a": {"b": [1, "x"]}})] {
            assert_eq!((one.key, one.content == of(other.clone()).content), (of(other).key, false));
        }
        assert_ne!(one.key, of(json!({"id": "1"})).key);
        let deletion = of(json!({"_meta": {"op": "d"}, "id": 1, "a": {"b": [1, "x"], "c": null}}));
        assert!(deletion.is_deletion && deletion.key == one.key && deletion.content != one.content);
    }
}
