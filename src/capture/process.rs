//! One process of the connector: read to its end, and how it has ended.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;
use serde_json::value::RawValue;
use tracing::{info, warn};

use super::committer::Committer;
use super::worker::{OneState, Worker};
use crate::error::{Reason, Stopped};
use crate::process::launch::in_words;
use crate::process::shutdown::Shutdown;
use crate::process::stderr::Stderr;
use crate::process::supervise::{End, Exit, Finished};
use crate::process::thread;
use crate::session::Session;
use crate::upstream::Opened;

/// Reads the connector's output to its end. A config that the connector left in its file counts as rotated.
pub async fn read<W: Write + Send + 'static>(
    session: &Session,
    shutdown: &Shutdown,
    Opened { connector, feed }: Opened,
    worker: Worker<Committer<W>>,
    config: &RawValue,
) -> Result<Finished<Worker<Committer<W>>>> {
    let (statuses, activity, rotations) = (worker.statuses.clone(), worker.activity.clone(), worker.rotations.clone());
    let tick = || statuses.show(Timestamp::now());
    let reader = thread::spawn("worker", move || worker.run(feed))?;
    let idle = Some(session.launcher.idle_timeout);
    let finished = connector.supervise(shutdown, &activity, idle, tick, reader).await?;
    if let Some(changed) = session.upstream.config_after(&finished.files, config) {
        rotations.send_replace(Some(changed));
    }
    Ok(finished)
}

/// Decides how a sync has ended, once the connector has exited and all of its output was read.
pub fn finish<W: Write>(
    idle_timeout: Duration,
    end: End,
    output: Option<Worker<Committer<W>>>,
    stderr: &Stderr,
) -> Result<()> {
    let Some(mut worker) = output else {
        return Err(match end {
            End::Stopped(reason) => Stopped(reason).into(),
            End::Exited(_) => anyhow!("a process that the connector started holds its output and can't be killed"),
            _ => anyhow!("Flow stopped reading from the connector"),
        });
    };
    worker.summarize();
    if let Some(failure) = worker.failure.take() {
        if failure.is::<OneState>() {
            worker.segments.note_one_state()?;
        }
        return Err(failure);
    }
    let (pending, incomplete) = (worker.segments.pending(), worker.incomplete());
    worker.errors.incomplete(incomplete);
    match end {
        End::Exited(Exit::Code(0)) => {
            if let Some(failure) = worker.truncated.take().or_else(|| worker.errors.reported()) {
                return Err(failure);
            }
            worker.statuses.all_started()?;
            worker.warn_of_silence();
            let complete = worker.complete();
            Ok(worker.segments.finish(complete.into_iter())?)
        }
        End::Exited(exit) => Err(worker.errors.explain(exit, stderr)),
        // Nobody has read what was in the pipe, a checkpoint perhaps.
        End::Stopped(reason @ Reason::OutputClosed) => Err(Stopped(reason).into()),
        End::Stopped(reason) if pending > 0 => {
            info!("{pending} documents since the last state will be read again");
            Err(Stopped(reason).into())
        }
        End::Stopped(reason) => {
            info!("{reason}");
            Ok(())
        }
        End::NotExiting => Err(anyhow!("the connector closed its output but did not exit, and was killed")),
        End::Silent => {
            let said_nothing = format!("the connector said nothing for {}", in_words(idle_timeout));
            if pending > 0 {
                bail!("{said_nothing} and was stopped; {pending} documents were not committed");
            }
            warn!("{said_nothing}: it was stopped, to be started again");
            Ok(())
        }
    }
}
