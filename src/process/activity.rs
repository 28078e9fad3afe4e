//! When something of a connector was last seen alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The longest pause that a connector may announce. Rate limits reset within a day or so; more is a mistake.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// When something of a connector was last seen alive; clones share it.
#[derive(Clone)]
pub struct Activity(Arc<Inner>);

struct Inner {
    start: Instant,
    /// The reader is processing input or blocked on output, so the connector is not considered silent.
    reader_busy: AtomicBool,
    /// Milliseconds after `start`; in the future if the connector announced a pause.
    last: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        let (start, reader_busy, last) = (Instant::now(), AtomicBool::new(false), AtomicU64::new(0));
        Self(Arc::new(Inner { start, reader_busy, last }))
    }
}

impl Activity {
    pub fn touch(&self) {
        self.touch_until(Duration::ZERO);
    }

    /// Counts as alive for this long from now on, but for no longer than [`LONGEST_PAUSE`].
    pub fn touch_until(&self, ahead: Duration) {
        let at = self.0.start.elapsed().saturating_add(ahead.min(LONGEST_PAUSE)).as_millis();
        self.0.last.fetch_max(u64::try_from(at).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Calls `wait` for more of the connector's output.
    pub fn while_waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.touch();
        self.0.reader_busy.store(false, Ordering::Relaxed);
        let result = wait();
        self.0.reader_busy.store(true, Ordering::Relaxed);
        result
    }

    /// The reader has ended: from now on only stderr counts.
    pub(super) fn reader_ended(&self) {
        self.touch();
        self.0.reader_busy.store(false, Ordering::Relaxed);
    }

    /// How long nothing was seen.
    pub fn silence(&self) -> Duration {
        if self.0.reader_busy.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.0.start.elapsed().saturating_sub(Duration::from_millis(self.0.last.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_pause_may_be_of_any_length() {
        let activity = Activity::default();
        activity.touch_until(Duration::MAX);
        activity.touch();
        assert_eq!(activity.silence(), Duration::ZERO);
    }
}
