//! A running capture: from Open to the connector's end.

mod assign;
mod batch;
mod bound_stream;
mod committer;
mod document;
mod kept_catalog;
mod ledger;
mod migrate;
mod record_key;
mod refresh;
mod reset;
mod stream_names;
mod stream_statuses;
mod worker;

use crate::error::{self, Stopped};
use anyhow::{Context, Error, Result, anyhow, bail};
use jiff::Timestamp;
use std::io::{self, Write};
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use serde_json::value::RawValue;

use crate::error::Reason;
use crate::flow::codec::{LONGEST_MESSAGE, Writer};
use crate::flow::request::{Binding, Open};
use crate::flow::response::Response;
use crate::json::watch::Watchlist;
use crate::process::activity::Activity;
use crate::process::launch::in_words;
use crate::process::stderr::Stderr;
use crate::process::supervise::{End, Exit, Finished};
use crate::process::thread;
use crate::session::{Session, mapping};
use crate::upstream::{Opened, Resource, Selected, Stream, SyncRequest};

use bound_stream::BoundStream;
use committer::Committer;
use kept_catalog::CaptureCatalog;
use ledger::{Entry, Ledger, Stored};
use record_key::RecordKey;
use worker::{Rotations, Worker};

pub use assign::one_binding_per_stream;
pub use ledger::{BINDINGS, CATALOG, SHARED};
pub use migrate::migrate;
pub use reset::reset_bindings;

/// When a rotated config that could not be published is tried again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(60);

/// Runs one sync. Ends well only when all that the connector sent is committed (F8).
pub async fn run<W: Write + Send + 'static>(session: &Session, open: &Open, mut out: Writer<W>) -> Result<()> {
    let since = Instant::now();
    out.send(&Response::Opened {}).and_then(|()| out.flush()).context("can't write to the runtime")?;
    let shutdown = &session.launcher.shutdown;
    if !assign::reads(open.range.as_ref()) {
        // F20: one shard captures. An idle one that ended would be started again and again.
        info!("this shard stays idle: the one that begins at key 0 captures everything");
        return stopped_before_anything(shutdown.requested().await);
    }
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
        Reason::Terminate | Reason::Interrupt | Reason::Enough => {
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
    let left = interval.0.saturating_sub(since.elapsed());
    if !left.is_zero() && session.launcher.shutdown.reason().is_none() {
        info!("staying up until {interval} have gone by since the start");
        let _ = tokio::time::timeout(left, session.launcher.shutdown.requested()).await;
    }
}

async fn sync<W: Write + Send + 'static>(session: &Session, open: &Open, out: Writer<W>) -> Result<(), Ended> {
    let Some((opened, worker, catalog, config)) = start(session, open, out).await.map_err(Ended::BeforeTheStart)?
    else {
        return Ok(());
    };
    read_and_publish(session, open, opened, worker, &catalog, &config).await.map_err(Ended::Later)
}

type Prepared<W> = (Opened, Worker<Committer<W>>, CaptureCatalog, Box<RawValue>);

/// Starts the connector; none if there is nothing to capture.
async fn start<W: Write>(session: &Session, open: &Open, out: Writer<W>) -> Result<Option<Prepared<W>>> {
    let spec = &open.capture;
    if spec.bindings.is_empty() {
        warn!("the capture has no bindings: there is nothing to do");
        return Ok(None);
    }
    let resources: Vec<Resource> =
        spec.bindings.iter().map(|it| session.upstream.resource(&it.resource_config)).collect::<Result<_, _>>()?;
    one_binding_per_stream(&resources)?;
    let stored = Stored::parse(open.state.as_deref())?;
    let mut catalog = kept_catalog::of(session, open, &resources, stored.catalog()).await?;
    let config = session.endpoint.to_connector(&spec.config, &catalog.way)?;
    let mut watched = Watchlist::default();
    let rules = &session.settings.streams;
    let bound = |(binding, resource): (&Binding, &Resource)| {
        let (key, options) = (spec.key(binding), rules.of(&resource.id).as_ref().clone());
        let record_key = RecordKey::new(key, &mut watched, spec.write_schema(binding));
        BoundStream::new(resource.id.clone(), resource.mode, key, record_key, rules.schema, options)
    };
    let streams: Vec<BoundStream> = spec.bindings.iter().zip(&resources).map(bound).collect();
    let truncating = refresh::truncating(&session.settings, open.range.as_ref(), &resources);
    let entries: Vec<Entry> = (0..streams.len())
        .map(|it| Entry {
            state_key: &spec.bindings[it].state_key,
            mode: resources[it].mode,
            method: resources[it].method,
            rows: streams[it].rows,
            truncates: truncating[it],
            stream: &catalog.streams[it],
        })
        .collect();
    let mut ledger = Ledger::open(stored, &entries, session.upstream.as_ref())?;
    if let Some(catalog) = catalog.refreshed.take() {
        ledger.keep_catalog(catalog);
    }
    let activity = Activity::default();
    let opened = {
        let streams = &catalog.streams;
        let selected = |(index, (stream, resource))| Selected {
            stream,
            resource,
            state: ledger.state(index),
            fresh: ledger.cells[index].fresh,
        };
        let streams = streams.iter().zip(&resources).enumerate().map(selected).collect();
        let others = &catalog.others;
        let shared_state = ledger.shared();
        let request = SyncRequest {
            config: &config,
            streams,
            others,
            shared_state,
            spec: session.known_spec(),
            activity: activity.clone(),
        };
        session.upstream.open(&session.launcher, &request).await?
    };
    let max_document = session.settings.max_document.min(LONGEST_MESSAGE);
    let mut worker = Worker::new(Committer::new(out, ledger), streams, watched, max_document, activity);
    send_schemas(&mut worker, &catalog.streams)?;
    worker.segments.begin_full_refreshes()?;
    Ok(Some((opened, worker, catalog, config)))
}

/// Reads the connector's output to its end, and publishes the configs that it rotates meanwhile.
async fn read_and_publish<W: Write + Send + 'static>(
    session: &Session,
    open: &Open,
    Opened { connector, feed }: Opened,
    worker: Worker<Committer<W>>,
    catalog: &CaptureCatalog,
    config: &RawValue,
) -> Result<()> {
    let (statuses, activity, rotations) = (worker.statuses.clone(), worker.activity.clone(), worker.rotations.clone());
    let tick = || statuses.lock().unwrap_or_else(PoisonError::into_inner).show(Timestamp::now());
    let reader = thread::spawn("worker", move || worker.run(feed))?;
    let (shutdown, idle) = (&session.launcher.shutdown, Some(session.launcher.idle_timeout));
    let ended = Notify::new();
    let supervised = async {
        let finished = connector.supervise(shutdown, &activity, idle, tick, reader).await;
        if let Ok(finished) = &finished
            && let Some(changed) = session.upstream.config_after(&finished.files, config)
        {
            rotations.send_replace(Some(changed));
        }
        ended.notify_one();
        finished
    };
    let (finished, published) = tokio::join!(supervised, publish_rotated(session, open, catalog, &rotations, &ended));
    // After publishing: what is not committed is read again, and a runtime that does not read must not cost a token.
    let ended = match finished {
        Ok(Finished { end, output, stderr, files }) => {
            let ended = finish(session, end, output, &stderr);
            files.close(shutdown.deadline()).await;
            ended
        }
        Err(failure) => Err(failure),
    };
    error::both(ended, published)
}

/// Publishes the configs that the connector rotates, until it has ended. One that could not be published is tried again, also
/// once more at the end. Only the newest counts: it replaces those before it.
async fn publish_rotated(
    session: &Session,
    open: &Open,
    catalog: &CaptureCatalog,
    rotations: &Rotations,
    ended: &Notify,
) -> Result<()> {
    let mut rotations = rotations.subscribe();
    // A config may have been rotated before this.
    rotations.mark_changed();
    let (mut published, mut has_ended) = (Ok(()), false);
    while !has_ended {
        tokio::select! {
            biased;
            () = ended.notified() => has_ended = true,
            _ = rotations.changed() => {}
            () = tokio::time::sleep(PUBLISH_AGAIN), if published.is_err() => {}
        }
        // Else one that discovery left, which may not have been published.
        let newest = rotations.borrow_and_update().clone().or_else(|| session.endpoint.rotated(&open.capture.config));
        // Nothing happens if it has been published.
        if let Some(config) = newest {
            published = session.publish(&config, &open.capture.config, &catalog.way).await;
        }
        if let Err(failure) = &published
            && !has_ended
        {
            error!("{failure:#}; it is tried again while the connector runs");
        }
    }
    published
}

/// Sends the discovered schemas first (F12). They take effect with the first checkpoint.
fn send_schemas<W: Write>(worker: &mut Worker<Committer<W>>, streams: &[Stream]) -> Result<()> {
    for (binding, stream) in streams.iter().enumerate() {
        worker.declare(binding, &stream.schema, &stream.key)?;
    }
    worker.segments.checkpoint().map_err(Error::from)
}

/// Decides how a sync has ended, once the connector has exited and all of its output was read.
fn finish<W: Write>(session: &Session, end: End, output: Option<Worker<Committer<W>>>, stderr: &Stderr) -> Result<()> {
    let Some(mut worker) = output else {
        return Err(match end {
            End::Stopped(reason) => Stopped(reason).into(),
            End::Exited(_) => anyhow!("a process that the connector started holds its output and can't be killed"),
            _ => anyhow!("Flow stopped reading from the connector"),
        });
    };
    worker.summarize();
    if let Some(failure) = worker.failure.take() {
        return Err(failure);
    }
    let (pending, incomplete) = (worker.segments.pending(), worker.incomplete());
    worker.errors.incomplete(incomplete);
    match end {
        End::Exited(Exit::Code(0)) => {
            if let Some(failure) = worker.truncated.take().or_else(|| worker.errors.reported()) {
                return Err(failure);
            }
            worker.statuses.lock().unwrap_or_else(PoisonError::into_inner).all_started()?;
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
            let said_nothing = format!("the connector said nothing for {}", in_words(session.launcher.idle_timeout));
            if pending > 0 {
                bail!("{said_nothing} and was stopped; {pending} documents were not committed");
            }
            warn!("{said_nothing}: it was stopped, to be started again");
            Ok(())
        }
    }
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
