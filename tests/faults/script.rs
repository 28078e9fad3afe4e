//! What a connector does, in steps that know no protocol, and the conversation that they become.

use std::fmt::Write as _;

use serde_json::json;

use super::wire::{Airbyte, Fivetran, Singer, Wire};

/// The streams of every script.
pub const STREAMS: [&str; 2] = ["alpha", "beta"];

/// The letters of their rows.
const ROWS: [char; 2] = ['a', 'b'];

/// Stands for the rows and states of a long script.
const LONG: &str = "long";

/// How a connector says where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum States {
    /// Not at all before the end.
    Never,
    Stream,
    Global,
    Legacy,
    /// One value with all bookmarks.
    Bookmarks,
}

/// A way of replication.
pub struct Mode {
    pub name: &'static str,
    pub wire: &'static dyn Wire,
    /// As the resource config names it.
    pub method: &'static str,
    pub refresh: bool,
    /// The key of the collections, if it is not the row id.
    pub key: Option<&'static str>,
    pub states: States,
    /// The connector says when it begins and completes a stream.
    pub statuses: bool,
    /// An interrupted sync continues from its last state.
    pub resumes: bool,
    /// shim.yaml says that the collections are truncated.
    pub truncates: bool,
}

const fn airbyte(name: &'static str, method: &'static str, keyed: bool, states: States) -> Mode {
    let refresh = matches!(method.as_bytes(), b"full_refresh");
    let resumes = !matches!(states, States::Never);
    let key = if keyed { Some("/id") } else { None };
    Mode { name, wire: &Airbyte, method, refresh, key, states, statuses: false, resumes, truncates: false }
}

const fn singer(name: &'static str, method: &'static str, keyed: bool, states: States) -> Mode {
    let refresh = matches!(method.as_bytes(), b"FULL_TABLE");
    // Row ids of an interrupted full table start over.
    let resumes = !matches!(states, States::Never) && (keyed || !refresh);
    let key = if keyed { Some("/id") } else { None };
    Mode { name, wire: &Singer, method, refresh, key, states, statuses: false, resumes, truncates: false }
}

/// A connector's own full refresh: it truncates a table that its state does not know, and forgets its state in the end.
const TRUNCATE: &str = "TRUNCATE";

const fn fivetran(name: &'static str, method: &'static str, key: Option<&'static str>) -> Mode {
    let refresh = !method.is_empty();
    let states = States::Bookmarks;
    Mode { name, wire: &Fivetran, method, refresh, key, states, statuses: refresh, resumes: true, truncates: false }
}

impl Mode {
    const fn with_statuses(mut self) -> Self {
        self.statuses = true;
        self
    }

    const fn truncating(mut self) -> Self {
        self.truncates = true;
        self
    }

    /// A completed refresh deletes the rows that are gone.
    pub fn has_tombstones(&self) -> bool {
        self.refresh && self.key.is_none() && !self.truncates
    }

    /// What shim.yaml says.
    pub fn shim_yaml(&self) -> Option<&'static str> {
        self.truncates.then_some("fullRefresh: truncate\n")
    }
}

/// The first ones are one of each protocol.
pub static MODES: [Mode; 24] = [
    airbyte("incremental", "incremental", true, States::Stream),
    singer("INCREMENTAL", "INCREMENTAL", true, States::Bookmarks),
    fivetran("Fivetran", "", Some("/id")),
    airbyte("full refresh by row id with statuses", "full_refresh", false, States::Stream).with_statuses(),
    singer("FULL_TABLE by row id", "FULL_TABLE", false, States::Never).with_statuses(),
    airbyte("incremental by row id", "incremental", false, States::Stream),
    airbyte("incremental, GLOBAL", "incremental", true, States::Global),
    airbyte("incremental, LEGACY", "incremental", true, States::Legacy),
    airbyte("full refresh, not resumable", "full_refresh", true, States::Never),
    airbyte("full refresh by row id, not resumable", "full_refresh", false, States::Never),
    airbyte("full refresh by row id with statuses, not resumable", "full_refresh", false, States::Never)
        .with_statuses(),
    airbyte("full refresh with statuses", "full_refresh", true, States::Stream).with_statuses(),
    singer("INCREMENTAL by row id", "INCREMENTAL", false, States::Bookmarks),
    singer("LOG_BASED", "LOG_BASED", true, States::Bookmarks),
    singer("FULL_TABLE with bookmarks", "FULL_TABLE", true, States::Bookmarks).with_statuses(),
    singer("FULL_TABLE by row id with bookmarks", "FULL_TABLE", false, States::Bookmarks).with_statuses(),
    fivetran("Fivetran without a key", "", Some("/_fivetran_id")),
    fivetran("Fivetran by row id", "", None),
    fivetran("Fivetran with TRUNCATE", TRUNCATE, Some("/id")),
    fivetran("Fivetran, truncating", TRUNCATE, Some("/id")).truncating(),
    fivetran("Fivetran without a key, truncating", TRUNCATE, Some("/_fivetran_id")).truncating(),
    airbyte("full refresh, truncating", "full_refresh", true, States::Stream).with_statuses().truncating(),
    airbyte("full refresh by row id, not resumable, truncating", "full_refresh", false, States::Never).truncating(),
    singer("FULL_TABLE, truncating", "FULL_TABLE", true, States::Never).with_statuses().truncating(),
];

/// One of each protocol.
pub fn protocols() -> &'static [Mode] {
    &MODES[..3]
}

/// One of each protocol whose messages are lines.
pub fn of_lines() -> &'static [Mode] {
    &MODES[..2]
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Started(usize),
    /// A stream's next row.
    Row(usize),
    /// A state that covers what came before, of this stream or of all.
    State(usize),
    Complete(usize),
}

#[derive(Clone)]
pub struct Script {
    pub mode: &'static Mode,
    pub steps: Vec<Step>,
    /// Characters that each row has more.
    pub pad: usize,
}

impl Script {
    /// A script with these rows and states between the announcements of the streams.
    pub fn of(mode: &'static Mode, body: impl IntoIterator<Item = Step>) -> Self {
        let streams = 0..STREAMS.len();
        let mut positions = vec![0; STREAMS.len()];
        // A state covers something: one that does not would take a connector back that has resumed.
        let body = body.into_iter().filter(|step| match step {
            Step::Row(stream) => {
                positions[*stream] += 1;
                true
            }
            Step::State(_) if mode.states == States::Never => false,
            Step::State(stream) if mode.states == States::Stream => positions[*stream] > 0,
            Step::State(_) => positions.iter().any(|it| *it > 0),
            _ => true,
        });
        let steps = streams.clone().map(Step::Started).chain(body).chain(streams.map(Step::Complete)).collect();
        Self { mode, steps, pad: 0 }
    }

    /// Both streams in turns, with states between them and rows after the last one.
    pub fn short(mode: &'static Mode) -> Self {
        Self::of_body(mode, "aaAbaBbaAbBab")
    }

    /// The rows and states as letters: `a` is a row of the first stream, `A` a state of it.
    pub fn body(&self) -> String {
        if self.pad > 0 {
            return LONG.to_owned();
        }
        let letter = |step: &Step| match step {
            Step::Row(stream) => Some(ROWS[*stream]),
            Step::State(stream) => Some(ROWS[*stream].to_ascii_uppercase()),
            _ => None,
        };
        self.steps.iter().filter_map(letter).collect()
    }

    /// The script with these rows and states.
    pub fn of_body(mode: &'static Mode, body: &str) -> Self {
        if body == LONG {
            return Self::long(mode);
        }
        let step = |letter: char| {
            let stream = ROWS.iter().position(|it| it.eq_ignore_ascii_case(&letter))?;
            Some(if letter.is_ascii_uppercase() { Step::State(stream) } else { Step::Row(stream) })
        };
        Self::of(mode, body.chars().filter_map(step))
    }

    /// More than fits into all pipes and queues between connector and runtime.
    pub fn long(mode: &'static Mode) -> Self {
        let step = |n: usize| if n % 500 == 499 { Step::State(n / 500 % 2) } else { Step::Row(n % 2) };
        Self { pad: 1500, ..Self::of(mode, (0..4000).map(step)) }
    }

    /// The same source with fewer rows.
    pub fn shorter(&self) -> Self {
        let mut left = self.rows().iter().map(|it| it.div_ceil(2)).collect::<Vec<_>>();
        let mut keep = |step: &Step| match step {
            Step::Row(stream) if left[*stream] == 0 => false,
            Step::Row(stream) => {
                left[*stream] -= 1;
                true
            }
            _ => true,
        };
        Self { steps: self.steps.iter().copied().filter(|it| keep(it)).collect(), ..self.clone() }
    }

    /// The number of rows of each stream.
    pub fn rows(&self) -> Vec<u64> {
        let count = |stream| self.steps.iter().filter(|it| **it == Step::Row(stream)).count() as u64;
        (0..STREAMS.len()).map(count).collect()
    }

    /// How far each stream has come before the `end`-th step.
    pub fn positions(&self, end: usize) -> Vec<u64> {
        let mut positions = vec![0; STREAMS.len()];
        for step in &self.steps[..end] {
            if let Step::Row(stream) = step {
                positions[*stream] += 1;
            }
        }
        positions
    }

    /// What the connector plays: the steps, with directions before the `place`-th.
    pub fn play(&self, place: usize, directions: &[String]) -> Vec<String> {
        let mut lines = vec!["%resume".to_owned()];
        let mut positions = vec![0; STREAMS.len()];
        for index in 0..=self.steps.len() {
            if index == place {
                lines.extend_from_slice(directions);
            }
            if index < self.steps.len() {
                lines.extend(self.lines_at(index, &mut positions));
            }
        }
        // A source that has read everything forgets where it was.
        if self.mode.refresh && self.mode.states == States::Bookmarks {
            lines.push(self.mode.wire.state(0, &vec![0; STREAMS.len()], self.mode.states).to_string());
        }
        lines
    }

    /// The lines of a step; `positions` are those before it, and then those after it.
    fn lines_at(&self, index: usize, positions: &mut [u64]) -> Vec<String> {
        let (mode, wire) = (self.mode, self.mode.wire);
        let messages = match self.steps[index] {
            Step::Started(stream) => wire.started(STREAMS[stream], mode),
            Step::Complete(stream) => wire.complete(STREAMS[stream], mode),
            Step::State(stream) => vec![wire.state(stream, positions, mode.states)],
            Step::Row(stream) => {
                positions[stream] += 1;
                let mut row = json!({"id": positions[stream]});
                if self.pad > 0 {
                    row["pad"] = "x".repeat(self.pad).into();
                }
                vec![wire.row(STREAMS[stream], row)]
            }
        };
        messages.iter().map(ToString::to_string).collect()
    }

    /// The part of a conversation before its acts.
    pub fn prologue(&self, what: &str) -> String {
        let mode = self.mode;
        let mut text = format!("{what} ({})\n", mode.name);
        if !mode.wire.arguments().is_empty() {
            let _ = write!(text, "\n== arguments\n{}\n", mode.wire.arguments().join("\n"));
        }
        if let Some(yaml) = mode.shim_yaml() {
            let _ = write!(text, "\n== shim\n{yaml}");
        }
        text += "\n== bindings\n";
        for stream in STREAMS {
            let key = mode.key.map(|it| format!(" key={it}")).unwrap_or_default();
            let _ = writeln!(text, "{}{key}", mode.wire.resource(stream, mode));
        }
        let _ = write!(text, "\n== discover\n{}\n", mode.wire.discovered(mode));
        text
    }
}
