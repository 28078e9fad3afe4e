//! Writes lines to stderr on a thread of its own, so that a reader who has stopped reading can't block the process.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::Level;

/// How important it is that a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    Info,
    Warn,
    Error,
    /// Events for Flow and the last line: never dropped.
    Always,
}

/// How many bytes wait at most until lines of a priority are dropped: each has room that the one before can't take.
const ROOM: usize = 4 * 1024 * 1024;

impl Priority {
    pub fn of(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            _ => Self::Info,
        }
    }

    fn room(self) -> usize {
        match self {
            Self::Info => ROOM,
            Self::Warn => ROOM * 5 / 4,
            Self::Error => ROOM * 3 / 2,
            Self::Always => usize::MAX,
        }
    }
}

/// Lines that wait to be written.
struct Queue {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
    /// The thread holds lines that it has not yet written.
    is_writing: bool,
    has_thread: bool,
    is_closed: bool,
}

impl Queue {
    /// Takes a line, or counts it as dropped.
    fn push(&mut self, line: String, priority: Priority) {
        if self.is_closed {
            return;
        }
        if self.bytes + line.len() > priority.room() {
            self.dropped += 1;
            return;
        }
        self.bytes += line.len();
        self.lines.push_back(line);
    }
}

pub struct Writer {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

pub static WRITER: Writer = Writer { queue: Mutex::new(Queue::new()), filled: Condvar::new(), emptied: Condvar::new() };

impl Queue {
    const fn new() -> Self {
        Self { lines: VecDeque::new(), bytes: 0, dropped: 0, is_writing: false, has_thread: false, is_closed: false }
    }
}

impl Writer {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line, which ends with a newline.
    pub fn push(&'static self, line: String, priority: Priority) {
        let mut queue = self.lock();
        queue.push(line, priority);
        if !queue.has_thread {
            let started = thread::Builder::new().name("log".to_owned()).spawn(|| self.run());
            queue.has_thread = started.is_ok();
        }
        if queue.has_thread {
            self.filled.notify_one();
        } else {
            // No thread can be had: better a process that may block than one that says nothing.
            let lines = std::mem::take(&mut queue.lines);
            queue.bytes = 0;
            write(&Vec::from(lines).concat());
        }
    }

    /// How many lines were dropped since the last call, once there is room again.
    pub fn take_dropped(&self) -> u64 {
        let mut queue = self.lock();
        if queue.bytes > ROOM / 2 { 0 } else { std::mem::take(&mut queue.dropped) }
    }

    /// Ignores all lines from now on.
    pub fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Waits until all lines are written, but no longer than this.
    pub fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut queue = self.lock();
        while queue.is_writing || !queue.lines.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.emptied.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run(&self) {
        loop {
            let mut queue = self.lock();
            while queue.lines.is_empty() {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let lines = std::mem::take(&mut queue.lines);
            queue.is_writing = true;
            drop(queue);
            let mut written = 0;
            for batch in Vec::from(lines).chunks(64) {
                let text = batch.concat();
                write(&text);
                written += text.len();
            }
            let mut queue = self.lock();
            queue.bytes -= written;
            queue.is_writing = false;
            self.emptied.notify_all();
        }
    }
}

/// Writes a text to stderr as a whole. An error is ignored: there is nowhere to report it.
fn write(text: &str) {
    let mut stderr = std::io::stderr();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match stderr.write(rest) {
            Ok(0) => return,
            Ok(length) => rest = &rest[length..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever shares stderr with us may have made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(&stderr.as_fd(), PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_keeps_room_for_errors() {
        let mut queue = Queue::new();
        let line = || "x".repeat(ROOM / 8);
        for (priority, fits) in [(Priority::Info, 8), (Priority::Warn, 2), (Priority::Error, 2), (Priority::Always, 9)]
        {
            let before = (queue.lines.len(), queue.dropped);
            (0..9).for_each(|_| queue.push(line(), priority));
            assert_eq!(queue.lines.len() - before.0, fits, "{priority:?}");
            assert_eq!(queue.dropped - before.1, 9 - fits as u64, "{priority:?}");
        }
        queue.is_closed = true;
        queue.push(line(), Priority::Always);
        assert_eq!(queue.lines.len(), 21);
    }
}
