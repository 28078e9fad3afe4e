//! What the streams of a sync are doing, as their connector tells, and what of it is shown to the user.

use anyhow::{Result, anyhow, bail};
use std::time::{Duration, Instant};

use crate::logging;
use crate::upstream::{Phase, StreamId};

/// How often the task's status may change.
const AT_MOST_EACH: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct StreamStatuses {
    streams: Vec<Stream>,
    /// The connector sends stream statuses at all.
    pub has_statuses: bool,
    shown: Option<Instant>,
    changed: bool,
}

struct Stream {
    id: StreamId,
    phase: Option<Phase>,
    rows: Option<f64>,
}

impl StreamStatuses {
    pub fn new(streams: impl Iterator<Item = StreamId>) -> Self {
        let streams = streams.map(|id| Stream { id, phase: None, rows: None }).collect();
        Self { streams, ..Self::default() }
    }

    pub fn phase(&mut self, index: usize, phase: Phase) {
        self.has_statuses = true;
        let stream = &mut self.streams[index];
        // Whatever follows an INCOMPLETE: the stream has failed (A4).
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

    /// A sync that ended with exit code 0 has failed all the same where a stream did (A4).
    pub fn verdict(&self) -> Result<()> {
        if let Some(it) = self.streams.iter().find(|it| it.phase == Some(Phase::Incomplete)) {
            bail!("stream {}: the connector could not read all of it and doesn't say why", it.id);
        }
        match self.streams.iter().find(|it| it.phase.is_none()) {
            Some(it) if self.has_statuses => Err(anyhow!(
                "stream {} was never started by the connector: it may be gone at the source, or not be visible to this user",
                it.id
            )),
            _ => Ok(()),
        }
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
