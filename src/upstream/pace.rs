//! When to read on, so that a connector is not slowed down by its reader.
//!
//! A connector in Python writes each record by itself. A reader that waits at the pipe is woken by each of these writes, and that
//! costs the writer more than the write. So the reader looks away for a moment before it waits, and then reads several records at
//! once: for as long as half of the pipe lasts at the speed of the last ones, as a full pipe would stop the connector.

use std::time::{Duration, Instant};

/// The longest that a record is left in the pipe.
const LONGEST: Duration = Duration::from_millis(4);

/// A shorter pause gathers too little to be worth it.
const SHORTEST: Duration = Duration::from_micros(200);

pub struct Pace {
    /// How many bytes may come during a pause.
    room: u64,
    /// When all had been read before, and how much that was.
    last: Option<(Instant, u64)>,
}

impl Pace {
    pub fn new(pipe_size: usize) -> Self {
        Self { room: pipe_size as u64 / 2, last: None }
    }

    /// Called when all has been read, before a wait. `read` counts the bytes so far.
    pub fn before_wait(&mut self, read: u64) {
        if let Some((then, before)) = self.last {
            let pause = self.pause(read - before, then.elapsed());
            if pause >= SHORTEST {
                std::thread::sleep(pause);
            }
        }
        self.last = Some((Instant::now(), read));
    }

    /// How long it takes until there is no room any more, if so many bytes came in this time.
    fn pause(&self, bytes: u64, time: Duration) -> Duration {
        let full_after = time.as_secs_f64() * self.room as f64 / bytes.max(1) as f64;
        Duration::from_secs_f64(full_after.min(LONGEST.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_lasts_until_half_of_the_pipe_is_full() {
        let pause = |pipe_size, bytes, time| Pace::new(pipe_size).pause(bytes, Duration::from_micros(time));
        assert_eq!(pause(1 << 20, 300, 1_000_000), LONGEST);
        assert_eq!(pause(1 << 20, 1 << 20, 1_000), Duration::from_micros(500));
        assert_eq!(pause(1 << 16, 1 << 16, 1_000_000), LONGEST);
        assert!(pause(1 << 16, 1 << 20, 1_000) < SHORTEST);
        assert_eq!(pause(0, 300, 1_000), Duration::ZERO);
        assert_eq!(pause(1 << 20, 0, 1_000), LONGEST);
    }
}
