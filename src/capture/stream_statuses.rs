//! The statuses that a connector reports for its streams, and the task's status that they make: what is shown to the user.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use jiff::{SignedDuration, Timestamp};

use crate::logging;
use crate::terminal::figures::{count, plural};
use crate::upstream::{Phase, StreamId};

/// How often the task's status may change.
const AT_MOST_EACH: SignedDuration = SignedDuration::from_secs(10);

/// Beyond this, the end of a pause is shown with its date.
const SAME_DAY: SignedDuration = SignedDuration::from_hours(12);

/// The statuses of the streams that one process of the connector reads. Clones share them.
#[derive(Clone)]
pub struct StreamStatuses {
    task: Arc<Mutex<TaskStatus>>,
    process: usize,
}

/// What the statuses of all processes say.
struct TaskStatus {
    processes: Vec<Process>,
    /// When the status was last shown, or the session began, and the number of rows then.
    since: (Timestamp, u64),
    is_shown: bool,
    changed: bool,
}

#[derive(Default)]
struct Process {
    streams: Vec<Progress>,
    /// The connector emits STREAM_STATUS messages.
    has_statuses: bool,
    /// Rows that were read in this session.
    rows: u64,
}

struct Progress {
    id: StreamId,
    phase: Option<Phase>,
    /// How many rows the connector expects.
    estimate: Option<f64>,
    /// When its rate limit ends.
    waits_until: Option<Timestamp>,
}

impl StreamStatuses {
    pub fn new(streams: impl Iterator<Item = StreamId>, now: Timestamp) -> Self {
        Self::of(vec![streams.collect()], now).remove(0)
    }

    /// Statuses for each of several processes, given their streams.
    pub fn of(processes: Vec<Vec<StreamId>>, now: Timestamp) -> Vec<Self> {
        let progress = |id| Progress { id, phase: None, estimate: None, waits_until: None };
        let process =
            |ids: Vec<StreamId>| Process { streams: ids.into_iter().map(progress).collect(), ..Process::default() };
        let processes: Vec<Process> = processes.into_iter().map(process).collect();
        let count = processes.len();
        let task = TaskStatus { processes, since: (now, 0), is_shown: false, changed: false };
        let task = Arc::new(Mutex::new(task));
        (0..count).map(|process| Self { task: task.clone(), process }).collect()
    }

    fn with<T>(&self, work: impl FnOnce(&mut TaskStatus, usize) -> T) -> T {
        work(&mut self.task.lock().unwrap_or_else(PoisonError::into_inner), self.process)
    }

    /// A status message. `waits_until`: the stream is paused by a rate limit.
    pub fn phase(&self, index: usize, phase: Phase, waits_until: Option<Timestamp>) {
        self.with(|task, process| {
            let process = &mut task.processes[process];
            process.has_statuses = true;
            let stream = &mut process.streams[index];
            task.changed |= stream.waits_until != waits_until;
            stream.waits_until = waits_until;
            // Whatever follows an INCOMPLETE, the stream has failed (A4).
            if stream.phase != Some(Phase::Incomplete) && stream.phase != Some(phase) {
                stream.phase = Some(phase);
                task.changed = true;
            }
        });
    }

    pub fn estimate(&self, index: usize, rows: f64) {
        self.with(|task, process| {
            task.processes[process].streams[index].estimate = Some(rows);
            task.changed = true;
        });
    }

    pub fn rows(&self, rows: u64) {
        self.with(|task, process| {
            task.changed |= task.processes[process].rows != rows;
            task.processes[process].rows = rows;
        });
    }

    /// Whether the connector has said that the stream is complete.
    pub fn is_complete(&self, index: usize) -> bool {
        self.with(|task, process| task.processes[process].streams[index].phase == Some(Phase::Complete))
    }

    /// Whether a connector that has ended well may have read the stream completely.
    pub fn may_be_complete(&self, index: usize) -> bool {
        !self.with(|task, process| task.processes[process].has_statuses) || self.is_complete(index)
    }

    /// The streams that were not read completely, sorted.
    pub fn incomplete(&self) -> Vec<StreamId> {
        self.with(|task, process| task.processes[process].sorted(|it| it.phase == Some(Phase::Incomplete)))
    }

    /// Fails if the connector reports statuses, but none for some streams (A4).
    pub fn all_started(&self) -> Result<()> {
        let silent = self.with(|task, process| {
            let process = &task.processes[process];
            if process.has_statuses { process.sorted(|it| it.phase.is_none()) } else { Vec::new() }
        });
        if silent.is_empty() {
            return Ok(());
        }
        let (word, was) = if silent.len() == 1 { ("stream", "was") } else { ("streams", "were") };
        let names = silent.iter().map(StreamId::to_string).collect::<Vec<_>>().join(", ");
        bail!(
            "{word} {names} {was} never started by the connector: deleted at the source, or not visible to this user?"
        );
    }

    /// Shows the task's status if it has changed and the last one is old enough.
    pub fn show(&self, now: Timestamp) {
        if let Some(text) = self.with(|task, _| task.due(now)) {
            logging::connector_status(&text);
        }
    }
}

impl Process {
    fn sorted(&self, wanted: impl Fn(&Progress) -> bool) -> Vec<StreamId> {
        let mut ids: Vec<StreamId> = self.streams.iter().filter(|it| wanted(it)).map(|it| it.id.clone()).collect();
        ids.sort();
        ids
    }
}

impl TaskStatus {
    fn streams(&self) -> impl Iterator<Item = &Progress> {
        self.processes.iter().flat_map(|it| &it.streams)
    }

    fn rows(&self) -> u64 {
        self.processes.iter().map(|it| it.rows).sum()
    }

    /// The status to show now, if any.
    fn due(&mut self, now: Timestamp) -> Option<String> {
        let is_recent = self.is_shown && now.duration_since(self.since.0) < AT_MOST_EACH;
        if !self.changed || is_recent {
            return None;
        }
        let text = self.text(now);
        (self.changed, self.is_shown) = (false, true);
        self.since = (now, self.rows());
        Some(text)
    }

    fn text(&self, now: Timestamp) -> String {
        let rows = self.rows();
        let complete = self.streams().filter(|it| it.phase == Some(Phase::Complete)).count();
        let streams = plural(self.streams().count(), "stream");
        let mut parts = vec![match self.processes.iter().any(|it| it.has_statuses) {
            true => format!("{} of {streams} done", count(complete as u64)),
            false => format!("reading {streams}"),
        }];
        parts.extend(self.rows_text());
        let waiting: Vec<&Progress> = self.streams().filter(|it| it.waits_until.is_some_and(|it| it > now)).collect();
        let seconds = now.duration_since(self.since.0).as_secs_f64();
        if waiting.is_empty() && rows > 0 && seconds >= 1.0 {
            let rate = (rows - self.since.1) as f64 / seconds;
            parts.push(format!("{}/s", plural(rate.round() as usize, "row")));
        }
        if let Some(first) = waiting.iter().filter_map(|it| it.waits_until).min() {
            let format = if first.duration_since(now) < SAME_DAY { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
            let who = match waiting.as_slice() {
                [one] => format!("stream {} waits for a rate limit", one.id),
                all => format!("{} wait for rate limits, the first", plural(all.len(), "stream")),
            };
            parts.push(format!("{who} until {} UTC", first.strftime(format)));
        }
        parts.join(", ")
    }

    /// `1,234 rows`, with the number of expected rows where there is one for each stream.
    fn rows_text(&self) -> Option<String> {
        let rows = self.rows();
        let expected: Option<f64> = self.streams().map(|it| it.estimate).sum();
        let expected = expected.filter(|it| *it > rows as f64).map(|it| count(it as u64));
        match (rows, expected) {
            (0, None) => None,
            (0, Some(expected)) => Some(format!("about {expected} rows to read")),
            (rows, Some(expected)) => Some(format!("{} of about {expected} rows", count(rows))),
            (rows, None) => Some(plural(rows as usize, "row")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(streams: &[&str], now: Timestamp) -> StreamStatuses {
        let id = |it: &&str| StreamId { namespace: None, name: (*it).to_owned() };
        StreamStatuses::new(streams.iter().map(id), now)
    }

    fn due(it: &StreamStatuses, now: Timestamp) -> Option<String> {
        it.with(|task, _| task.due(now))
    }

    fn at(seconds: i64) -> Timestamp {
        // 2026-11-26T12:00:00Z
        Timestamp::from_second(1_795_694_400 + seconds).unwrap()
    }

    #[test]
    fn the_status_is_shown_at_most_every_ten_seconds() {
        let it = statuses(&["users", "orders"], at(0));
        assert_eq!(due(&it, at(1)), None);
        it.phase(0, Phase::Started, None);
        assert_eq!(due(&it, at(2)).unwrap(), "0 of 2 streams done");
        it.rows(1_234_567);
        it.phase(0, Phase::Complete, None);
        assert_eq!(due(&it, at(11)), None);
        assert_eq!(due(&it, at(12)).unwrap(), "1 of 2 streams done, 1,234,567 rows, 123,457 rows/s");
        assert_eq!(due(&it, at(60)), None, "nothing has changed");
        it.rows(1_234_567);
        assert_eq!(due(&it, at(70)), None, "nothing has changed");
        it.rows(1_234_667);
        assert_eq!(due(&it, at(112)).unwrap(), "1 of 2 streams done, 1,234,667 rows, 1 row/s");
    }

    #[test]
    fn eight_hours_are_a_status_each_ten_seconds() {
        let it = statuses(&["users"], at(0));
        let shown = (0..8 * 3600).filter(|second| {
            it.rows(*second as u64 * 1000);
            due(&it, at(*second)).is_some()
        });
        assert_eq!(shown.count(), 8 * 360);
    }

    #[test]
    fn a_connector_without_statuses_has_rows() {
        let it = statuses(&["users"], at(0));
        it.rows(1);
        assert_eq!(due(&it, at(0)).unwrap(), "reading 1 stream, 1 row");
    }

    #[test]
    fn the_status_is_that_of_all_processes() {
        let id = |name: &str| StreamId { namespace: None, name: name.to_owned() };
        let them = StreamStatuses::of(vec![vec![id("users")], vec![id("orders"), id("items")]], at(0));
        them[0].phase(0, Phase::Complete, None);
        them[0].rows(5);
        them[1].rows(7);
        assert_eq!(due(&them[1], at(1)).unwrap(), "1 of 3 streams done, 12 rows, 12 rows/s");
        assert_eq!(due(&them[0], at(20)), None, "nothing has changed");
        assert!(them[0].is_complete(0) && !them[1].is_complete(0) && them[1].may_be_complete(0));
    }

    #[test]
    fn estimates_count_if_each_stream_has_one() {
        let it = statuses(&["users", "orders"], at(0));
        it.estimate(0, 5000.0);
        assert_eq!(due(&it, at(0)).unwrap(), "reading 2 streams");
        it.estimate(1, 10_000.0);
        assert_eq!(due(&it, at(10)).unwrap(), "reading 2 streams, about 15,000 rows to read");
        it.rows(2000);
        assert_eq!(due(&it, at(20)).unwrap(), "reading 2 streams, 2,000 of about 15,000 rows, 200 rows/s");
        it.rows(16_000);
        assert_eq!(due(&it, at(30)).unwrap(), "reading 2 streams, 16,000 rows, 1,400 rows/s");
    }

    #[test]
    fn a_rate_limit_is_shown_until_it_ends() {
        let it = statuses(&["users", "orders"], at(0));
        it.rows(100);
        it.phase(0, Phase::Running, Some(at(300)));
        assert_eq!(
            due(&it, at(5)).unwrap(),
            "0 of 2 streams done, 100 rows, stream users waits for a rate limit until 12:05:00 UTC"
        );
        it.phase(1, Phase::Running, Some(at(200_000)));
        assert_eq!(
            due(&it, at(15)).unwrap(),
            "0 of 2 streams done, 100 rows, 2 streams wait for rate limits, the first until 12:05:00 UTC"
        );
        it.rows(200);
        assert_eq!(
            due(&it, at(300)).unwrap(),
            "0 of 2 streams done, 200 rows, stream orders waits for a rate limit until 2026-11-28 19:33 UTC"
        );
        it.phase(1, Phase::Running, None);
        assert_eq!(due(&it, at(310)).unwrap(), "0 of 2 streams done, 200 rows, 0 rows/s");
    }
}
