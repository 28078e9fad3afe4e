//! The statuses that a connector reports for its streams, and what is shown of them to the user.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

use crate::logging;
use crate::upstream::{Phase, StreamId};

/// How often the task's status may change.
const AT_MOST_EACH: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct StreamStatuses {
    streams: Vec<Progress>,
    /// The connector emits STREAM_STATUS messages.
    pub has_statuses: bool,
    shown: Option<Instant>,
    changed: bool,
}

struct Progress {
    id: StreamId,
    phase: Option<Phase>,
    rows: Option<f64>,
}

impl StreamStatuses {
    pub fn new(streams: impl Iterator<Item = StreamId>) -> Self {
        let streams = streams.map(|id| Progress { id, phase: None, rows: None }).collect();
        Self { streams, ..Self::default() }
    }

    pub fn phase(&mut self, index: usize, phase: Phase) {
        self.has_statuses = true;
        let stream = &mut self.streams[index];
        // Whatever follows an INCOMPLETE, the stream has failed (A4).
        if stream.phase != Some(Phase::Incomplete) && stream.phase != Some(phase) {
            stream.phase = Some(phase);
            self.changed = true;
        }
    }

    pub fn estimate(&mut self, index: usize, rows: f64) {
        self.streams[index].rows = Some(rows);
        self.changed = true;
    }

    pub fn is_complete(&self, index: usize) -> bool {
        self.streams[index].phase == Some(Phase::Complete)
    }

    /// The streams that were not read completely, sorted.
    pub fn incomplete(&self) -> Vec<StreamId> {
        self.sorted(|it| it.phase == Some(Phase::Incomplete))
    }

    /// Fails if the connector reports statuses, but none for some streams (A4).
    pub fn all_started(&self) -> Result<()> {
        let silent = self.sorted(|it| it.phase.is_none());
        if !self.has_statuses || silent.is_empty() {
            return Ok(());
        }
        let (word, was) = if silent.len() == 1 { ("stream", "was") } else { ("streams", "were") };
        let names = silent.iter().map(StreamId::to_string).collect::<Vec<_>>().join(", ");
        bail!(
            "{word} {names} {was} never started by the connector: deleted at the source, or not visible to this user?"
        );
    }

    fn sorted(&self, wanted: impl Fn(&Progress) -> bool) -> Vec<StreamId> {
        let mut ids: Vec<StreamId> = self.streams.iter().filter(|it| wanted(it)).map(|it| it.id.clone()).collect();
        ids.sort();
        ids
    }

    /// Shows the status if it has changed and the last one is old enough.
    pub fn show(&mut self) {
        if !self.changed || self.shown.is_some_and(|it| it.elapsed() < AT_MOST_EACH) {
            return;
        }
        self.changed = false;
        self.shown = Some(Instant::now());
        logging::connector_status(&self.text());
    }

    fn text(&self) -> String {
        let count =
            |wanted: fn(&Phase) -> bool| self.streams.iter().filter(|it| it.phase.as_ref().is_some_and(wanted)).count();
        let running = count(|it| matches!(it, Phase::Started | Phase::Running));
        let complete = count(|it| *it == Phase::Complete);
        let mut text = format!("Capturing {running} of {} streams", self.streams.len());
        if complete > 0 {
            text += &format!(", {complete} complete");
        }
        let rows: f64 = self.streams.iter().filter_map(|it| it.rows).sum();
        if rows > 0.0 {
            text += &format!(", about {rows:.0} rows to read");
        }
        text
    }
}
