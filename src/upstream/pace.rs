//! When to read on, so that a connector is not slowed down by its reader.
//!
//! A connector in Python writes each record by itself. A reader that waits at the pipe is woken by each of these writes, and that
//! costs the writer more than the write. So while records come one by one in quick succession, the reader looks away for a
//! moment, and then reads several at once. Much data is read without a pause: a full pipe would stop the connector.

use std::time::{Duration, Instant};

/// The longest that a record is left in the pipe.
const PAUSE: Duration = Duration::from_millis(4);

/// Waits that follow each other like this are in quick succession.
const SOON: Duration = Duration::from_millis(20);

/// So many bytes between two waits are few: eight times as many fit into the pipe.
const FEW: u64 = 128 * 1024;

#[derive(Default)]
pub struct Pace {
    /// When the last wait ended, and how much had been read before it.
    last: Option<(Instant, u64)>,
}

impl Pace {
    /// Called when all has been read, before the next wait.
    pub fn before_wait(&self, read: u64) {
        if let Some((ended, before)) = self.last
            && read - before < FEW
            && ended.elapsed() < SOON
        {
            std::thread::sleep(PAUSE);
        }
    }

    /// `read` is without what the wait has brought.
    pub fn after_wait(&mut self, read: u64) {
        self.last = Some((Instant::now(), read));
    }
}
