//! The statuses that a connector reports for its streams, and the task's status that they make: what is shown to the user.

use anyhow::{Result, bail};
use jiff::{SignedDuration, Timestamp};

use crate::logging;
use crate::terminal::figures::{count, plural};
use crate::upstream::{Phase, StreamId};

/// How often the task's status may change.
const AT_MOST_EACH: SignedDuration = SignedDuration::from_secs(10);

/// Beyond this, the end of a pause is shown with its date.
const SAME_DAY: SignedDuration = SignedDuration::from_hours(12);

pub struct StreamStatuses {
    streams: Vec<Progress>,
    /// The connector emits STREAM_STATUS messages.
    pub has_statuses: bool,
    /// Rows that were read in this session.
    rows: u64,
    /// When the status was last shown, or the session began, and the number of rows then.
    since: (Timestamp, u64),
    is_shown: bool,
    changed: bool,
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
        let progress = |id| Progress { id, phase: None, estimate: None, waits_until: None };
        Self {
            streams: streams.map(progress).collect(),
            has_statuses: false,
            rows: 0,
            since: (now, 0),
            is_shown: false,
            changed: false,
        }
    }

    /// A status message. `waits_until`: the stream is paused by a rate limit.
    pub fn phase(&mut self, index: usize, phase: Phase, waits_until: Option<Timestamp>) {
        self.has_statuses = true;
        let stream = &mut self.streams[index];
        self.changed |= stream.waits_until != waits_until;
        stream.waits_until = waits_until;
        // Whatever follows an INCOMPLETE, the stream has failed (A4).
        if stream.phase != Some(Phase::Incomplete) && stream.phase != Some(phase) {
            stream.phase = Some(phase);
            self.changed = true;
        }
    }

    pub fn estimate(&mut self, index: usize, rows: f64) {
        self.streams[index].estimate = Some(rows);
        self.changed = true;
    }

    pub fn rows(&mut self, rows: u64) {
        self.changed |= self.rows != rows;
        self.rows = rows;
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
    pub fn show(&mut self, now: Timestamp) {
        if let Some(text) = self.due(now) {
            logging::connector_status(&text);
        }
    }

    /// The status to show now, if any.
    fn due(&mut self, now: Timestamp) -> Option<String> {
        let is_recent = self.is_shown && now.duration_since(self.since.0) < AT_MOST_EACH;
        if !self.changed || is_recent {
            return None;
        }
        let text = self.text(now);
        (self.changed, self.is_shown) = (false, true);
        self.since = (now, self.rows);
        Some(text)
    }

    fn text(&self, now: Timestamp) -> String {
        let complete = self.streams.iter().filter(|it| it.phase == Some(Phase::Complete)).count();
        let streams = plural(self.streams.len(), "stream");
        let mut parts = vec![match self.has_statuses {
            true => format!("{} of {streams} done", count(complete as u64)),
            false => format!("reading {streams}"),
        }];
        parts.extend(self.rows_text());
        let waiting: Vec<&Progress> =
            self.streams.iter().filter(|it| it.waits_until.is_some_and(|it| it > now)).collect();
        let seconds = now.duration_since(self.since.0).as_secs_f64();
        if waiting.is_empty() && self.rows > 0 && seconds >= 1.0 {
            let rate = (self.rows - self.since.1) as f64 / seconds;
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
        let expected: Option<f64> = self.streams.iter().map(|it| it.estimate).sum();
        let expected = expected.filter(|it| *it > self.rows as f64).map(|it| count(it as u64));
        match (self.rows, expected) {
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

    fn at(seconds: i64) -> Timestamp {
        // 2026-11-26T12:00:00Z
        Timestamp::from_second(1_795_694_400 + seconds).unwrap()
    }

    #[test]
    fn the_status_is_shown_at_most_every_ten_seconds() {
        let mut it = statuses(&["users", "orders"], at(0));
        assert_eq!(it.due(at(1)), None);
        it.phase(0, Phase::Started, None);
        assert_eq!(it.due(at(2)).unwrap(), "0 of 2 streams done");
        it.rows(1_234_567);
        it.phase(0, Phase::Complete, None);
        assert_eq!(it.due(at(11)), None);
        assert_eq!(it.due(at(12)).unwrap(), "1 of 2 streams done, 1,234,567 rows, 123,457 rows/s");
        assert_eq!(it.due(at(60)), None, "nothing has changed");
        it.rows(1_234_567);
        assert_eq!(it.due(at(70)), None, "nothing has changed");
        it.rows(1_234_667);
        assert_eq!(it.due(at(112)).unwrap(), "1 of 2 streams done, 1,234,667 rows, 1 row/s");
    }

    #[test]
    fn a_connector_without_statuses_has_rows() {
        let mut it = statuses(&["users"], at(0));
        it.rows(1);
        assert_eq!(it.due(at(0)).unwrap(), "reading 1 stream, 1 row");
    }

    #[test]
    fn estimates_count_if_each_stream_has_one() {
        let mut it = statuses(&["users", "orders"], at(0));
        it.estimate(0, 5000.0);
        assert_eq!(it.due(at(0)).unwrap(), "reading 2 streams");
        it.estimate(1, 10_000.0);
        assert_eq!(it.due(at(10)).unwrap(), "reading 2 streams, about 15,000 rows to read");
        it.rows(2000);
        assert_eq!(it.due(at(20)).unwrap(), "reading 2 streams, 2,000 of about 15,000 rows, 200 rows/s");
        it.rows(16_000);
        assert_eq!(it.due(at(30)).unwrap(), "reading 2 streams, 16,000 rows, 1,400 rows/s");
    }

    #[test]
    fn a_rate_limit_is_shown_until_it_ends() {
        let mut it = statuses(&["users", "orders"], at(0));
        it.rows(100);
        it.phase(0, Phase::Running, Some(at(300)));
        assert_eq!(
            it.due(at(5)).unwrap(),
            "0 of 2 streams done, 100 rows, stream users waits for a rate limit until 12:05:00 UTC"
        );
        it.phase(1, Phase::Running, Some(at(200_000)));
        assert_eq!(
            it.due(at(15)).unwrap(),
            "0 of 2 streams done, 100 rows, 2 streams wait for rate limits, the first until 12:05:00 UTC"
        );
        it.rows(200);
        assert_eq!(
            it.due(at(300)).unwrap(),
            "0 of 2 streams done, 200 rows, stream orders waits for a rate limit until 2026-11-28 19:33 UTC"
        );
        it.phase(1, Phase::Running, None);
        assert_eq!(it.due(at(310)).unwrap(), "0 of 2 streams done, 200 rows, 0 rows/s");
    }
}
