//! Several processes of the connector at the same time (`parallel` in shim.yaml), each with some of the streams.
//!
//! Each has a worker, a ledger and a committer of its own. A committer holds its documents back until a state of its own
//! process covers them, and releases them together with that checkpoint; so what Flow commits is the same as if the processes
//! had run one after the other. If one fails, the others are stopped like by a signal: what their states cover is committed.
//!
//! That a connector keeps one state for all its streams may show only when it sends the first one. The process that gets
//! it commits nothing but a note of that in Flow's state, and the next session runs one process.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::Write;
use std::pin::pin;
use std::task::Poll;

use anyhow::{Context, Error, Result};
use tracing::{Instrument, error, info};

use super::committer::Committer;
use super::plan::Plan;
use super::process;
use super::worker::{OneState, Worker};
use crate::error::{self, Reason};
use crate::logging;
use crate::process::shutdown::Shutdown;
use crate::process::supervise::Finished;
use crate::process::thread;
use crate::session::Session;
use crate::terminal::figures::plural;

/// A worker, and the streams that it reads.
type Share<W> = (Worker<Committer<W>>, Vec<usize>);

/// Reads all shares, the first ones first. Everything is committed so far.
pub async fn read<W: Write + Send + 'static>(
    session: &Session,
    plan: &Plan,
    worker: Worker<Committer<W>>,
    shares: Vec<Vec<usize>>,
) -> Result<()> {
    let processes = session.settings.parallel.processes().min(shares.len());
    let total = shares.len();
    let workers = worker.divide(&shares, |it| it.divide(&shares)).context("can't write to Flow")?;
    let queue: RefCell<VecDeque<Share<W>>> = RefCell::new(workers.into_iter().zip(shares).collect());
    let (stop, failures) = (Shutdown::default(), RefCell::new(Vec::new()));
    // What one process reads, one share after the other.
    let read_next = async || {
        while stop.reason().is_none() {
            let Some((worker, share)) = queue.borrow_mut().pop_front() else { break };
            let names = plan.names(&share);
            info!("a process of the connector reads {names} ({} of {total} shares left)", queue.borrow().len());
            let reading = read_share(session, plan, &stop, worker, &share);
            if let Err(failure) = reading.instrument(logging::process_span(&names)).await {
                if error::stopped(&failure).is_none() && !failure.is::<OneState>() {
                    error!("the process that reads {names} has failed: {failure:#}");
                }
                failures.borrow_mut().push(failure);
                stop.request(Reason::OtherFailed);
            }
        }
    };
    let mut reading = pin!(all((0..processes).map(|_| read_next()).collect()));
    tokio::select! {
        () = &mut reading => {}
        reason = session.launcher.shutdown.requested() => {
            stop.request(reason);
            reading.await;
        }
    }
    let unread = queue.borrow().len();
    if unread > 0 && failures.borrow().is_empty() {
        info!("{} of the streams will be read by the next session", plural(unread, "share"));
    }
    sum_up(failures.take())
}

async fn read_share<W: Write + Send + 'static>(
    session: &Session,
    plan: &Plan,
    stop: &Shutdown,
    worker: Worker<Committer<W>>,
    share: &[usize],
) -> Result<()> {
    worker.activity.touch();
    let opened = plan.open(session, share, worker.segments.ledger(), &worker.activity).await?;
    let Finished { end, output, stderr, files } = process::read(session, stop, opened, worker, &plan.config).await?;
    let idle_timeout = session.launcher.idle_timeout;
    // The last commit waits for Flow to read; meanwhile the other processes are supervised.
    let finished = thread::spawn("finish", move || process::finish(idle_timeout, end, output, &stderr))?;
    let result = tokio::select! {
        result = finished => result.context("bug in flow-shim: a worker has panicked").flatten(),
        () = stop.deadline_passed() => Err(error::Stopped(Reason::OutputClosed).into()),
    };
    files.close(stop.deadline()).await;
    result
}

/// Runs futures until all of them are ready.
async fn all<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut running: Vec<_> = futures.into_iter().map(Box::pin).collect();
    poll_fn(|context| {
        running.retain_mut(|it| it.as_mut().poll(context).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// How a session has ended in which these processes failed.
fn sum_up(failures: Vec<Error>) -> Result<()> {
    if failures.iter().any(|it| it.is::<OneState>()) {
        info!("{OneState}: from the next session on, one process reads them all");
        return Ok(());
    }
    let (stopped, failed): (Vec<Error>, Vec<Error>) = failures.into_iter().partition(|it| error::stopped(it).is_some());
    match failed.into_iter().chain(stopped).next() {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}
