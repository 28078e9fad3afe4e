//! A running connector: the reader of its messages, its stderr, its keeper and the shutdown request, in one loop.

use std::future::Future;
use std::process::{ChildStderr, ChildStdout};
use std::time::Duration;

use anyhow::{Result, anyhow};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
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

/// How much later than the connector we may get a signal that is meant for all processes: of a service, a terminal.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

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
        let listens = |shutdown: &Shutdown| !matches!(shutdown.reason(), Some(Reason::Enough | Reason::OutputClosed));
        let (seen, request) = (activity.clone(), shutdown.clone());
        let logged = thread::spawn("stderr", move || stderr::forward(stderr, || seen.touch(), || listens(&request)))?;
        let (seen, request) = (activity.clone(), shutdown.clone());
        let forward = |it| thread::spawn("stdout", move || stderr::forward(it, || seen.touch(), || listens(&request)));
        // Else the reader has it, or nobody wants it.
        let also_logged = stdout.filter(|_| exited.is_some()).map(forward).transpose()?;
        let logged = async {
            let also_logged = async { Some(also_logged?.await.unwrap_or_default()) };
            let (said, also_said) = tokio::join!(logged, also_logged);
            said.unwrap_or_default().or(also_said.unwrap_or_default())
        };
        let (mut reader, mut logged) = (std::pin::pin!(reader), std::pin::pin!(logged));
        let mut tick = interval_at(Instant::now() + TICK, TICK);
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
                        files.kill_orphans();
                        exit = Some(Exit::KeeperKilled);
                    }
                },
                reason = shutdown.requested(), if !matches!(ended_by_us, Some(End::Stopped(_))) => {
                    ended_by_us = Some(End::Stopped(reason));
                    grant = Some(if reason == Reason::OutputClosed { Duration::ZERO } else { DRAIN });
                }
                () = sleep_until(deadline.0.unwrap_or_else(Instant::now)), if deadline.0.is_some() => {
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
        if ended_by_us.is_none()
            && matches!(exit, Some(Exit::Signal(SIGTERM | SIGINT)))
            && let Ok(reason) = timeout(SAME_SIGNAL, shutdown.requested()).await
        {
            ended_by_us = Some(End::Stopped(reason));
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

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::super::files::KeeperHandle;
    use super::super::private::{FileAccess, Folder};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// What a test holds of a connector: the keeper's end of the socket, and its stdout and stderr.
    struct Played {
        keeper: UnixStream,
        _stdout: PipeWriter,
        stderr: PipeWriter,
    }

    /// A connector without a process. The clock of these tests jumps whenever nothing else is to be done.
    fn connector() -> (Connector, Played) {
        let (ours, keeper) = UnixStream::pair().unwrap();
        let (stdout, played_stdout) = std::io::pipe().unwrap();
        let (stderr, played_stderr) = std::io::pipe().unwrap();
        let child = tokio::process::Command::new("true").spawn().unwrap();
        let files = Files::new(Folder::new(FileAccess::OwnUser).unwrap(), KeeperHandle::new(child, ours).unwrap());
        let pipes = Pipes { stdout: OwnedFd::from(stdout).into(), stderr: OwnedFd::from(stderr).into() };
        (Connector::new("x".to_owned(), files, pipes), Played { keeper, _stdout: played_stdout, stderr: played_stderr })
    }

    /// The end of a connector that gives no sign of life but what `live` does each second, and how long it took.
    async fn supervised(
        activity: &Activity,
        mut live: impl FnMut(u64, &mut Option<Played>) -> bool,
    ) -> (End, Duration) {
        let (connector, played) = connector();
        let (mut played, mut seconds) = (Some(played), 0);
        let (end_reading, reading_ended) = tokio::sync::oneshot::channel::<()>();
        let mut end_reading = Some(end_reading);
        let on_tick = || {
            seconds += 1;
            if !live(seconds, &mut played) {
                drop(end_reading.take());
            }
        };
        let reader = async {
            let _ = reading_ended.await;
            Some(((), Reading::Ended))
        };
        let start = Instant::now();
        let finished = connector.supervise(&Shutdown::default(), activity, Some(HOUR), on_tick, reader).await.unwrap();
        (finished.end, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn eight_hours_with_a_sign_of_life_an_hour_are_not_silence() {
        let activity = Activity::default();
        let live = |seconds: u64, played: &mut Option<Played>| {
            if seconds.is_multiple_of(3590) {
                activity.touch();
            }
            if seconds == 8 * 3600
                && let Some(mut it) = played.take()
            {
                let _ = it.stderr.write_all(b"done\n");
                it.keeper.write_all(b"{\"Exited\":0}\n").unwrap();
            }
            played.is_some()
        };
        let (end, took) = supervised(&activity, live).await;
        assert_eq!(end, End::Exited(Exit::Code(0)));
        assert!(took >= 8 * HOUR && took < 8 * HOUR + Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_after_the_idle_timeout_whoever_hangs() {
        // The keeper does not answer either.
        let (end, took) = supervised(&Activity::default(), |_, _| true).await;
        assert_eq!(end, End::Silent);
        assert!(took > HOUR && took < HOUR + Duration::from_secs(12), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_announced_pause_of_seven_hours_is_not_silence() {
        let activity = Activity::default();
        activity.touch_until(7 * HOUR);
        let (end, took) = supervised(&activity, |_, _| true).await;
        assert_eq!(end, End::Silent);
        assert!(took > 8 * HOUR && took < 8 * HOUR + Duration::from_secs(12), "{took:?}");
    }
}
