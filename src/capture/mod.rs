//! A running capture: from Open to the connector's end.

mod assign;
mod batch;
mod bound_stream;
mod committer;
mod document;
mod kept_catalog;
mod ledger;
mod migrate;
mod oddities;
mod parallel;
mod plan;
mod process;
mod record_key;
mod refresh;
mod replay;
mod reset;
mod rotated;
mod stream_names;
mod stream_statuses;
mod worker;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Error, Result};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use crate::error::{self, Reason, Stopped};
use crate::flow::codec::Writer;
use crate::flow::request::Open;
use crate::flow::response::Response;
use crate::process::shutdown::Shutdown;
use crate::process::supervise::Finished;
use crate::session::{Session, mapping};
use crate::upstream::Stream;

use committer::Committer;
use plan::{Plan, Task};
use worker::Worker;

pub use assign::one_binding_per_stream;
pub use ledger::{BINDINGS, CATALOG, SHARED};
pub use migrate::migrate;
pub use replay::{Replayed, replay};
pub use reset::reset_bindings;

/// Runs one sync. Ends well only when all that the connector sent is committed (F8).
pub async fn run<W: Write + Send + 'static>(session: &Session, open: &Open, mut out: Writer<W>) -> Result<()> {
    let since = Instant::now();
    out.send(&Response::Opened {}).and_then(|()| out.flush()).context("can't write to the runtime")?;
    match sync(session, open, out).await {
        Err(Ended::BeforeTheStart(failure)) => match error::stopped(&failure) {
            Some(reason) => return stopped_before_anything(reason),
            None => return Err(failure),
        },
        Err(Ended::Later(failure)) => return Err(failure),
        Ok(()) => {}
    }
    wait_for_interval(session, open, since).await;
    Ok(())
}

/// A stop is a success where nothing is uncommitted, unless nobody reads the responses.
fn stopped_before_anything(reason: Reason) -> Result<()> {
    match reason {
        Reason::OutputClosed => Err(Stopped(reason).into()),
        Reason::Terminate | Reason::Interrupt | Reason::Enough | Reason::OtherFailed => {
            info!("{reason}");
            Ok(())
        }
    }
}

/// Why a sync failed, and when: before its connector was started, nothing can be uncommitted.
enum Ended {
    BeforeTheStart(Error),
    Later(Error),
}

/// Waits until the shim's `runInterval` is over, if it has one: everything is committed; a stop request still ends the
/// wait.
async fn wait_for_interval(session: &Session, open: &Open, since: Instant) {
    let Some(interval) = session.settings.run_interval.filter(|_| !mapping::skips_interval(&open.capture.config))
    else {
        return;
    };
    let shutdown = &session.launcher.shutdown;
    if since.elapsed() < interval.0 && shutdown.reason().is_none() {
        info!("staying up until {interval} have gone by since the start");
        stay_up(since, interval.0, shutdown).await;
    }
}

/// Waits until so long after `since`, or for a shutdown request.
async fn stay_up(since: Instant, interval: Duration, shutdown: &Shutdown) {
    let _ = timeout_at(since + interval, shutdown.requested()).await;
}

async fn sync<W: Write + Send + 'static>(session: &Session, open: &Open, out: Writer<W>) -> Result<(), Ended> {
    let (plan, mut worker) = match Plan::find(session, open, out).await.map_err(Ended::BeforeTheStart)? {
        Task::Nothing => return Ok(()),
        Task::Read(found) => *found,
        Task::Idle => {
            // F20: a shard that ended would be started again and again.
            return Err(Ended::BeforeTheStart(Stopped(session.launcher.shutdown.requested().await).into()));
        }
    };
    let rotations = worker.rotations.clone();
    let ended = Notify::new();
    let publishing = rotated::publish(session, open, &plan.way, &rotations, &ended);
    let result = match plan.shares(session, worker.segments.ledger()) {
        None => {
            let all: Vec<usize> = (0..plan.resources.len()).collect();
            let opened = plan.open(session, &all, worker.segments.ledger(), &worker.activity).await;
            let opened = opened.map_err(Ended::BeforeTheStart)?;
            begin(&mut worker, &plan.streams).map_err(Ended::BeforeTheStart)?;
            let shutdown = &session.launcher.shutdown;
            let reading = async {
                let finished = process::read(session, shutdown, opened, worker, &plan.config).await;
                ended.notify_one();
                finished
            };
            let (finished, published) = tokio::join!(reading, publishing);
            // After publishing: what is not committed is read again, and a runtime that does not read must not cost a token.
            let result = match finished {
                Ok(Finished { end, output, stderr, files }) => {
                    let result = process::finish(session.launcher.idle_timeout, end, output, &stderr);
                    files.close(shutdown.deadline()).await;
                    result
                }
                Err(failure) => Err(failure),
            };
            error::both(result, published)
        }
        Some(shares) => {
            begin(&mut worker, &plan.streams).map_err(Ended::BeforeTheStart)?;
            let reading = async {
                let result = parallel::read(session, &plan, worker, shares).await;
                ended.notify_one();
                result
            };
            let (result, published) = tokio::join!(reading, publishing);
            error::both(result, published)
        }
    };
    result.map_err(Ended::Later)
}

/// Sends the discovered schemas first (F12): they take effect with the first checkpoint. Then the full refreshes begin.
fn begin<W: Write>(worker: &mut Worker<Committer<W>>, streams: &[Stream]) -> Result<()> {
    for (binding, stream) in streams.iter().enumerate() {
        worker.declare(binding, &stream.schema, &stream.key)?;
    }
    worker.segments.checkpoint()?;
    Ok(worker.segments.begin_full_refreshes()?)
}

/// What ends a worker or its committer.
pub(crate) enum CaptureError {
    Failed(Error),
    Output(io::Error),
}

impl From<io::Error> for CaptureError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Error> for CaptureError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<CaptureError> for Error {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::Failed(error) => error,
            CaptureError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Stopped(Reason::OutputClosed).into()
            }
            CaptureError::Output(error) => Self::new(error).context("can't write to Flow"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_capture_stays_up_for_its_interval_or_until_a_shutdown() {
        const EIGHT_HOURS: Duration = Duration::from_secs(8 * 3600);
        let (since, shutdown) = (Instant::now(), Shutdown::default());
        tokio::time::advance(EIGHT_HOURS / 2).await;
        stay_up(since, EIGHT_HOURS, &shutdown).await;
        let took = since.elapsed();
        assert!(took >= EIGHT_HOURS && took < EIGHT_HOURS + Duration::from_secs(1), "{took:?}");
        shutdown.request(Reason::Terminate);
        stay_up(Instant::now(), EIGHT_HOURS, &shutdown).await;
        assert!(since.elapsed() < EIGHT_HOURS + Duration::from_secs(2));
    }
}
