//! A running capture: from Open to the connector's end.

mod batch;
mod catalog;
mod document;
mod ledger;
mod pump;
mod reset;
mod status;
mod streams;

use crate::error::{self, Stopped};
use anyhow::{Context, Error, Result, anyhow, bail};
use std::io::Write;
use std::sync::PoisonError;
use std::time::Instant;
use tokio::sync::watch;
use tracing::{info, warn};

use serde_json::value::RawValue;

use crate::error::Reason;
use crate::flow::request::Open;
use crate::flow::response::{Output, Response};
use crate::process::activity::Activity;
use crate::process::launch::in_words;
use crate::process::stderr::Stderr;
use crate::process::supervise::{End, Exit, Finished};
use crate::process::thread;
use crate::secrets;
use crate::session::{Session, mapping};
use crate::upstream::{Opened, Resource, Selected, Stream, SyncRequest};

pub use ledger::{BINDINGS, CATALOG, SHARED};
use ledger::{Entry, Ledger, Stored};
use pump::{Binding, Pump};
pub use reset::reset_bindings;

/// Runs one sync. Ends well only when all that the connector sent is committed (F8).
pub async fn run<W: Write + Send + 'static>(session: &Session, open: &Open, mut out: Output<W>) -> Result<()> {
    let since = Instant::now();
    out.send(&Response::Opened {}).and_then(|()| out.flush()).context("can't write to the runtime")?;
    let shutdown = &session.launcher.shutdown;
    if open.range.as_ref().is_some_and(|it| it.key_begin != 0) {
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

async fn sync<W: Write + Send + 'static>(session: &Session, open: &Open, out: Output<W>) -> Result<(), Ended> {
    let Some((opened, pump, catalog, config)) = start(session, open, out).await.map_err(Ended::BeforeTheStart)? else {
        return Ok(());
    };
    pump_and_publish(session, open, opened, pump, &catalog, &config).await.map_err(Ended::Later)
}

type Prepared<W> = (Opened, Pump<W>, catalog::Catalog, Box<RawValue>);

/// Starts the connector; none if there is nothing to capture.
async fn start<W: Write>(session: &Session, open: &Open, out: Output<W>) -> Result<Option<Prepared<W>>> {
    let spec = &open.capture;
    if spec.bindings.is_empty() {
        warn!("the capture has no bindings: there is nothing to do");
        return Ok(None);
    }
    let resources: Vec<Resource> =
        spec.bindings.iter().map(|it| session.upstream.resource(&it.resource_config)).collect::<Result<_, _>>()?;
    let stored = Stored::parse(open.state.as_deref())?;
    let mut catalog = catalog::of(session, open, &resources, stored.catalog()).await?;
    let streams = &catalog.streams;
    let config = session.endpoint.to_connector(&spec.config, &catalog.way)?;
    let bindings: Vec<Binding> = spec
        .bindings
        .iter()
        .zip(&resources)
        .enumerate()
        .map(|(index, (it, resource))| {
            let rules = &session.settings.streams;
            Binding::new(index, spec.key(it).to_vec(), rules.schema, rules.of(&resource.id).as_ref().clone())
        })
        .collect();
    let entries: Vec<Entry> = spec
        .bindings
        .iter()
        .zip(&resources)
        .zip(streams)
        .zip(&bindings)
        .map(|(((it, resource), stream), binding)| Entry {
            state_key: &it.state_key,
            mode: resource.mode,
            rows: binding.rows,
            stream,
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
        let request = SyncRequest { config: &config, streams, others, shared_state, activity: activity.clone() };
        session.upstream.open(&session.launcher, &request).await?
    };
    let mut pump = Pump::new(out, ledger, bindings, session.settings.max_document, watch::Sender::new(None), activity);
    send_schemas(&mut pump, &catalog.streams)?;
    Ok(Some((opened, pump, catalog, config)))
}

/// Pumps the connector's output until its end, and publishes the configs that it rotates beside that.
async fn pump_and_publish<W: Write + Send + 'static>(
    session: &Session,
    open: &Open,
    Opened { connector, feed }: Opened,
    pump: Pump<W>,
    catalog: &catalog::Catalog,
    config: &RawValue,
) -> Result<()> {
    let (statuses, activity, rotations) = (pump.statuses.clone(), pump.activity.clone(), pump.rotations.clone());
    let tick = || statuses.lock().unwrap_or_else(PoisonError::into_inner).show();
    let reader = thread::spawn("pump", move || pump.run(feed))?;
    let (shutdown, idle) = (&session.launcher.shutdown, Some(session.launcher.idle_timeout));
    let ended = tokio::sync::Notify::new();
    let supervised = async {
        let finished = connector.supervise(shutdown, &activity, idle, tick, reader).await;
        if let Ok(finished) = &finished
            && let Some(changed) = session.upstream.config_after(&finished.files, config)
        {
            secrets::redact_config(&changed, None);
            rotations.send_replace(Some(changed));
        }
        ended.notify_one();
        finished
    };
    let publishing = async {
        let mut rotated = rotations.subscribe();
        // A config may have been rotated before this.
        rotated.mark_changed();
        let mut is_published = true;
        loop {
            let is_last = tokio::select! {
                biased;
                _ = rotated.changed() => false,
                () = ended.notified() => true,
            };
            if is_last {
                return is_published;
            }
            // Only the newest is published: it replaces those before it.
            let newest = rotated.borrow_and_update().clone();
            if let Some(changed) = newest {
                is_published = session.publish(&changed, &open.capture.config, &catalog.way).await;
            }
        }
    };
    let (finished, is_published) = tokio::join!(supervised, publishing);
    let Finished { end, output, stderr, files } = finished?;
    let ended = finish(session, end, output, &stderr);
    files.close(shutdown.deadline()).await;
    ended?;
    // Its next start would use the old config.
    if !is_published {
        bail!("the connector's new config was not published: update the capture's config before the old one expires");
    }
    Ok(())
}

/// What the source declares goes out first (F12), and takes effect with the first checkpoint.
fn send_schemas<W: Write>(pump: &mut Pump<W>, streams: &[Stream]) -> Result<()> {
    for (binding, stream) in streams.iter().enumerate() {
        pump.schema(binding, &stream.schema, &stream.key)?;
    }
    pump.checkpoint().map_err(anyhow::Error::from)
}

/// Decides how a sync has ended, once the connector has exited and all of its output was read.
fn finish<W: Write>(session: &Session, end: End, output: Option<Pump<W>>, stderr: &Stderr) -> Result<()> {
    let Some(mut pump) = output else {
        return Err(match end {
            End::Stopped(reason) => Stopped(reason).into(),
            End::Exited(_) => anyhow!("a process that the connector started holds its output and can't be killed"),
            _ => anyhow!("Flow stopped reading from the connector"),
        });
    };
    pump.summarize();
    if let Some(failure) = pump.failure.take() {
        return Err(failure);
    }
    match end {
        End::Exited(Exit::Code(0)) => {
            if let Some(failure) = pump.cut.take().or_else(|| pump.errors.reported()) {
                return Err(failure);
            }
            pump.statuses.lock().unwrap_or_else(PoisonError::into_inner).verdict()?;
            pump.finish()
        }
        End::Exited(exit) => Err(pump.errors.explain(exit, stderr)),
        // Nobody has read what was in the pipe, a checkpoint perhaps.
        End::Stopped(reason @ Reason::OutputClosed) => Err(Stopped(reason).into()),
        End::Stopped(reason) if pump.pending > 0 => {
            info!("{} documents since the last state will be read again", pump.pending);
            Err(Stopped(reason).into())
        }
        End::Stopped(reason) => {
            info!("{reason}");
            Ok(())
        }
        End::NotExiting => Err(anyhow!("the connector closed its output but did not exit, and was killed")),
        End::Silent => {
            let said_nothing = format!("the connector said nothing for {}", in_words(session.launcher.idle_timeout));
            if pump.pending > 0 {
                bail!("{said_nothing} and was stopped; {} documents were not committed", pump.pending);
            }
            warn!("{said_nothing}: it was stopped, to be started again");
            Ok(())
        }
    }
}
