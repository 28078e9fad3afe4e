//! A running connector: the reader of its messages, its stderr, its keeper and the shutdown request, in one loop.

use std::future::Future;
use std::process::{ChildStderr, ChildStdout};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at, sleep_until};
use tracing::warn;

use super::activity::Activity;
use super::files::Files;
use super::keeper::Report;
use super::program;
use super::shutdown::Shutdown;
use super::stderr::{self, Stderr};
use super::thread;
use crate::error::Reason;

/// How long a connector that was asked to stop may go on writing (F11: everything is gone within 10 seconds).
const DRAIN: Duration = Duration::from_secs(8);

/// How long a connector whose messages are not read any more may take to exit.
const LEAVE: Duration = Duration::from_secs(2);

/// How long a connector that closed its stdout may take to exit.
const LINGER: Duration = Duration::from_secs(15);

/// How long a pipe may stay open and silent after the connector's exit. Something that escaped the keeper holds it.
const HELD: Duration = Duration::from_secs(5);

/// How long what was killed may take to end.
const KILL: Duration = Duration::from_millis(700);

/// How often progress is shown and silence is measured.
const TICK: Duration = Duration::from_secs(1);

/// Our ends of the connector's output.
pub(super) struct Pipes {
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// A connector that was started.
pub struct Connector {
    program: String,
    files: Files,
    stdout: Option<ChildStdout>,
    stderr: ChildStderr,
    /// It is a server; tells its clients when it has exited.
    exited: Option<watch::Sender<bool>>,
}

/// Why the reader of the messages has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The connector closed its stdout, or has served what was asked of it.
    Ended,
    /// The reader does not want any more messages.
    Aborted,
}

/// How the connector's process ended, according to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// Its keeper was killed, and the connector with it.
    KeeperKilled,
}

/// Why a run of a connector is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited by itself.
    Exited(Exit),
    /// A shutdown was requested.
    Stopped(Reason),
    /// It was silent for too long.
    Silent,
    /// It closed its stdout but did not exit.
    NotExiting,
}

pub struct Finished<T> {
    pub end: End,
    /// The result of the reader; none if the reader did not end in time.
    pub output: Option<T>,
    pub stderr: Stderr,
    /// To be closed by the caller.
    pub files: Files,
}

impl Connector {
    pub(super) fn new(program: String, files: Files, Pipes { stdout, stderr }: Pipes) -> Self {
        Self { program, files, stdout: Some(stdout), stderr, exited: None }
    }

    /// The connector is a server: its stdout has log lines, like its stderr, and it does not exit by itself, but is stopped when
    /// the reader has ended. Gives what tells when it has exited.
    pub fn serve(&mut self) -> watch::Receiver<bool> {
        self.exited.get_or_insert_with(|| watch::Sender::new(false)).subscribe()
    }

    /// The connector's stdout, for whoever builds the reader.
    pub fn take_stdout(&mut self) -> Result<ChildStdout> {
        self.stdout.take().ok_or_else(|| anyhow!("the connector's output is read twice"))
    }

    /// Runs the connector to its end. `reader` gives the result of reading what it sends; nobody waits for a reader that is
    /// stuck. `on_tick` is called once a second.
    pub async fn supervise<T>(
        self,
        shutdown: &Shutdown,
        activity: &Activity,
        idle_timeout: Option<Duration>,
        mut on_tick: impl FnMut(),
        reader: impl Future<Output = Option<(T, Reading)>>,
    ) -> Result<Finished<T>> {
        let Self { program, mut files, stdout, stderr, exited } = self;
        let seen = activity.clone();
        let logged = thread::spawn("stderr", move || stderr::forward(stderr, || seen.touch()))?;
        let seen = activity.clone();
        let forward = |it| thread::spawn("stdout", move || stderr::forward(it, || seen.touch()));
        // Else the reader has it, or nobody wants it.
        let also_logged = stdout.filter(|_| exited.is_some()).map(forward).transpose()?;
        let logged = async {
            let also_logged = async { Some(also_logged?.await.unwrap_or_default()) };
            let (said, also_said) = tokio::join!(logged, also_logged);
            said.unwrap_or_default().or(also_said.unwrap_or_default())
        };
        let (mut reader, mut logged) = (std::pin::pin!(reader), std::pin::pin!(logged));
        let mut tick = interval_at(tokio::time::Instant::now() + TICK, TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);

        let (mut output, mut is_read, mut said, mut exit) = (None, false, None, None);
        let (mut ended_by_us, mut has_served) = (None, false);
        let (mut deadline, mut is_killed) = (Deadline::default(), false);
        while !(is_read && said.is_some() && exit.is_some()) {
            // Grants the connector no more than this time, and asks it to exit.
            let mut grant = None;
            let had_exited = exit.is_some();
            tokio::select! {
                result = &mut reader, if !is_read => {
                    is_read = true;
                    activity.reader_ended();
                    let reading = result.as_ref().map_or(Reading::Aborted, |(_, reading)| *reading);
                    output = result.map(|(output, _)| output);
                    match reading {
                        Reading::Ended if exited.is_some() && exit.is_none() => {
                            has_served = true;
                            grant = Some(LEAVE);
                        }
                        Reading::Ended => deadline.advance(LINGER),
                        Reading::Aborted => grant = Some(LEAVE),
                    }
                }
                lines = &mut logged, if said.is_none() => said = Some(lines),
                report = files.keeper.report(), if exit.is_none() => match report {
                    Some(Report::NotStarted(errno)) => {
                        files.close(shutdown.deadline()).await;
                        return Err(program::not_started(&program, errno));
                    }
                    Some(Report::Exited(code)) => exit = Some(Exit::Code(code)),
                    Some(Report::Killed(signal)) => exit = Some(Exit::Signal(signal)),
                    Some(_) => {}
                    None => {
                        files.keeper.kill_connector();
                        exit = Some(Exit::KeeperKilled);
                    }
                },
                reason = shutdown.requested(), if !matches!(ended_by_us, Some(End::Stopped(_))) => {
                    ended_by_us = Some(End::Stopped(reason));
                    grant = Some(if reason == Reason::OutputClosed { Duration::ZERO } else { DRAIN });
                }
                () = sleep_until(deadline.0.unwrap_or_else(Instant::now).into()), if deadline.0.is_some() => {
                    if is_read && exit.is_none() && !has_served {
                        ended_by_us = ended_by_us.or(Some(End::NotExiting));
                    }
                    if std::mem::replace(&mut is_killed, true) {
                        break;
                    }
                    files.keeper.shutdown().await;
                    deadline = Deadline::after(KILL);
                }
                _ = tick.tick() => {
                    on_tick();
                    let silence = activity.silence();
                    if exit.is_some() && silence > HELD {
                        warn!("the connector has exited, but a process that it started still holds its output");
                        break;
                    }
                    if ended_by_us.is_none() && idle_timeout.is_some_and(|it| silence > it) {
                        ended_by_us = Some(End::Silent);
                        grant = Some(DRAIN);
                    }
                }
            }
            if let Some(exited) = exited.as_ref().filter(|_| exit.is_some()) {
                exited.send_replace(true);
            }
            if exit.is_some() && !had_exited && (ended_by_us.is_some() || has_served) {
                // Nothing holds the pipes any more: a reader that does not finish soon is stuck.
                deadline.advance(KILL);
            }
            if let Some(limit) = grant {
                deadline.advance(limit);
                if exit.is_none() {
                    files.keeper.stop().await;
                }
            }
        }
        if exit.is_none() {
            files.keeper.kill_connector();
        }
        // A server that was stopped has done its work, however it exits.
        let exit = if has_served { Exit::Code(0) } else { exit.unwrap_or(Exit::KeeperKilled) };
        let end = ended_by_us.unwrap_or(End::Exited(exit));
        Ok(Finished { end, output, stderr: said.unwrap_or_default(), files })
    }
}

/// When the connector has to be gone.
#[derive(Default)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self(Some(Instant::now() + limit))
    }

    /// Moves the deadline forward, never back.
    fn advance(&mut self, limit: Duration) {
        let limit = Instant::now() + limit;
        self.0 = Some(self.0.map_or(limit, |it| it.min(limit)));
    }
}
