//! Counts per stream: written by the receiver, read by the display and the table.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A counter written by one thread and read by another.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub struct Tally {
    pub streams: Vec<Stream>,
    pub checkpoints: Count,
    pub start: Instant,
}

#[derive(Default)]
pub struct Stream {
    /// The recommended name.
    pub name: String,
    /// The stream's id, as in logs.
    pub id: String,
    /// Received records, committed or not.
    pub records: Count,
    pub record_bytes: Count,
    /// Printed documents.
    pub documents: Count,
    pub deletes: Count,
    pub bytes: Count,
    /// Checkpoints that committed documents of it.
    pub checkpoints: Count,
    /// Time of the last checkpoint, in milliseconds since the start.
    pub checkpoint_at: Count,
    /// The connector's estimate of the total; zero if unknown.
    pub estimated_records: Count,
    pub estimated_bytes: Count,
}

impl Tally {
    pub fn new(streams: impl Iterator<Item = (String, String)>) -> Self {
        let streams = streams.map(|(name, id)| Stream { name, id, ..Stream::default() }).collect();
        Self { streams, checkpoints: Count::default(), start: Instant::now() }
    }

    /// Stores an estimate from the connector.
    pub fn estimate(&self, id: &str, records: Option<u64>, bytes: Option<u64>) {
        for stream in self.streams.iter().filter(|it| it.id == id) {
            stream.estimated_records.set(records.unwrap_or_default());
            stream.estimated_bytes.set(bytes.unwrap_or_default());
        }
    }

    /// The sum over all streams.
    pub fn total(&self, of: impl Fn(&Stream) -> &Count) -> u64 {
        self.streams.iter().map(|it| of(it).get()).sum()
    }
}

impl Stream {
    /// The fraction of the estimate received so far, from 0 to 1.
    pub fn progress(&self) -> Option<f64> {
        let part = |of: &Count, whole: &Count| match whole.get() {
            0 => None,
            whole => Some((of.get() as f64 / whole as f64).min(1.0)),
        };
        part(&self.records, &self.estimated_records).or_else(|| part(&self.record_bytes, &self.estimated_bytes))
    }
}
