//! A running connector: one thread reads its messages, one its stderr, one waits for its end, and everything that
//! happens between them is an event here.

use crate::error::Reason;
use anyhow::{Context, Result, anyhow};
use std::io::Read;
use std::process::ChildStdout;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::launch::Files;
use super::shutdown::Stop;
use super::stderr;

/// How long a connector that was asked to stop may go on talking (F11: everything is gone within 10 seconds).
const DRAIN: Duration = Duration::from_secs(8);

/// How long one whose messages nobody wants any more may take to end.
const LEAVE: Duration = Duration::from_secs(2);

/// How long one that has closed its stdout may take to end.
const LINGER: Duration = Duration::from_secs(15);

/// How long the kernel may take to end what was killed.
const KILL: Duration = Duration::from_secs(1);

/// How often the supervisor looks around.
const TICK: Duration = Duration::from_secs(1);

/// What a shell says of a process that was killed.
const KILLED: i32 = 128 + Signal::KILL.as_raw();

/// A connector that was started.
pub struct Connector {
    files: Files,
}

/// When something of a connector was last seen alive; shared between those who see it.
#[derive(Clone)]
pub struct Activity(Arc<ActivityInner>);

struct ActivityInner {
    start: Instant,
    /// The reader is at work on what it has read, or waits for whom it writes to: no silence of the connector's.
    reader_busy: AtomicBool,
    /// Milliseconds after `start`; in the future where the connector said how long it would be silent.
    last: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        let (start, reader_busy, last) = (Instant::now(), AtomicBool::new(false), AtomicU64::new(0));
        Self(Arc::new(ActivityInner { start, reader_busy, last }))
    }
}

impl Activity {
    pub fn touch(&self) {
        self.touch_until(Duration::ZERO);
    }

    /// Counts as alive for as long as this from now on.
    pub fn touch_until(&self, ahead: Duration) {
        let at = (self.0.start.elapsed() + ahead).as_millis() as u64;
        self.0.last.fetch_max(at, Ordering::Relaxed);
    }

    /// Calls `wait` for more of the connector's output.
    pub fn while_waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.touch();
        self.0.reader_busy.store(false, Ordering::Relaxed);
        let result = wait();
        self.0.reader_busy.store(true, Ordering::Relaxed);
        result
    }

    fn silence(&self) -> Duration {
        if self.0.reader_busy.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.0.start.elapsed().saturating_sub(Duration::from_millis(self.0.last.load(Ordering::Relaxed)))
    }
}

/// Why whoever reads the messages has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The connector closed its stdout.
    Ended,
    /// The reader wants no more.
    Aborted,
}

/// How a connector came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code; 128 + N for signal N.
    Exited(i32),
    Stopped(Reason),
    /// It said nothing for too long.
    Silent,
    /// It closed its stdout and did not end.
    NotExiting,
}

pub struct Finished<T> {
    pub end: End,
    /// What the reader made of the messages; none where it could not be ended in time.
    pub output: Option<T>,
    /// The last error on its stderr.
    pub last_error: Option<String>,
    pub files: Files,
}

enum Event<T> {
    Read(T, Reading),
    LoggedAll(Option<String>),
    Exited(i32),
    Stop(Reason),
}

impl Connector {
    pub(super) fn new(files: Files) -> Self {
        Self { files }
    }

    /// The connector's stdout, for whoever reads it. It can be taken once.
    pub fn take_stdout(&mut self) -> Result<ChildStdout> {
        self.files.keeper.child.stdout.take().ok_or_else(no_pipes)
    }

    /// Runs the connector to its end: `read` reads its stdout on a thread of its own. `tick` is called once a second.
    pub fn supervise<T: Send + 'static>(
        mut self,
        stop: &Stop,
        activity: &Activity,
        patience: Option<Duration>,
        mut tick: impl FnMut(),
        read: impl FnOnce() -> (T, Reading) + Send + 'static,
    ) -> Result<Finished<T>> {
        let (events, inbox) = mpsc::channel();
        let errors = self.files.keeper.child.stderr.take().ok_or_else(no_pipes)?;
        let mut socket = self.files.keeper.socket.try_clone().context("can't wait for the connector")?;
        let pid = Pid::from_child(&self.files.keeper.child);

        let sender = events.clone();
        thread::spawn(move || {
            let (output, reading) = read();
            let _ = sender.send(Event::Read(output, reading));
        });
        let (sender, seen) = (events.clone(), activity.clone());
        thread::spawn(move || {
            let last_error = stderr::forward(errors, || seen.touch());
            let _ = sender.send(Event::LoggedAll(last_error));
        });
        let sender = events.clone();
        thread::spawn(move || {
            let mut code = [KILLED as u8];
            // A keeper that is gone has been killed, and the connector with it.
            let _ = socket.read_exact(&mut code);
            let _ = sender.send(Event::Exited(code[0].into()));
        });
        // A second listener for the same inbox would do no harm: an inbox that is gone refuses what is sent.
        stop.listen(move |reason| drop(events.send(Event::Stop(reason))));

        let (mut output, mut exited, mut ended_by_us) = (None, None, None);
        let (mut logged_all, mut last_error) = (false, None);
        let (mut deadline, mut shutdown) = (Deadline::default(), false);
        let mut next_tick = Instant::now() + TICK;
        while !(output.is_some() && logged_all && exited.is_some()) {
            let until = deadline.0.map_or(next_tick, |it| it.min(next_tick));
            let patience_for = match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Read(result, reading)) => {
                    output = Some(result);
                    if reading == Reading::Ended {
                        deadline.advance(LINGER);
                    }
                    (reading == Reading::Aborted).then_some(LEAVE)
                }
                Ok(Event::LoggedAll(error)) => {
                    (logged_all, last_error) = (true, error);
                    None
                }
                Ok(Event::Exited(code)) => {
                    exited = Some(code);
                    // Nothing holds the pipes any more: who can't finish now, after we wanted the end, is stuck.
                    ended_by_us.map(|_| KILL)
                }
                Ok(Event::Stop(reason)) => {
                    ended_by_us = Some(End::Stopped(reason));
                    Some(if reason == Reason::OutputClosed { Duration::ZERO } else { DRAIN })
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if deadline.passed() => {
                    if output.is_some() && exited.is_none() {
                        ended_by_us = ended_by_us.or(Some(End::NotExiting));
                    }
                    if std::mem::replace(&mut shutdown, true) {
                        break;
                    }
                    self.files.keeper.shutdown();
                    deadline = Deadline::after(KILL);
                    None
                }
                Err(RecvTimeoutError::Timeout) => {
                    next_tick = Instant::now() + TICK;
                    tick();
                    let silent = patience.is_some_and(|it| activity.silence() > it);
                    (silent && ended_by_us.is_none()).then(|| {
                        ended_by_us = Some(End::Silent);
                        DRAIN
                    })
                }
            };
            if let Some(patience) = patience_for {
                deadline.advance(patience);
                if exited.is_none() {
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
        }
        let end = ended_by_us.unwrap_or(End::Exited(exited.unwrap_or(KILLED)));
        Ok(Finished { end, output, last_error, files: self.files })
    }
}

fn no_pipes() -> anyhow::Error {
    anyhow!("the connector was started without pipes")
}

/// When patience with the connector ends.
#[derive(Default)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn after(patience: Duration) -> Self {
        Self(Some(Instant::now() + patience))
    }

    /// Never later than it was.
    fn advance(&mut self, patience: Duration) {
        let limit = Instant::now() + patience;
        self.0 = Some(self.0.map_or(limit, |it| it.min(limit)));
    }

    fn passed(&self) -> bool {
        self.0.is_some_and(|it| it <= Instant::now())
    }
}
