//! A running capture: from Open to the connector's end.

mod batch;
mod catalog;
mod document;
mod ledger;
mod pump;
mod reset;
mod status;
mod streams;

use crate::error::Stopped;
use anyhow::{Context, Result, anyhow, bail};
use std::io::Write;
use std::sync::{PoisonError, mpsc};
use std::thread;
use std::time::Instant;
use tracing::{info, warn};

use crate::error::Reason;
use crate::flow::request::Open;
use crate::flow::response::{Output, Response};
use crate::process::supervise::{End, Finished};
use crate::secrets;
use crate::shim::{Shim, endpoint};
use crate::upstream::{Resource, Selected, Started, Stream, SyncRequest};

use ledger::{Entry, Ledger, Stored};
use pump::{Binding, Pump};
pub use reset::reset_bindings;

/// Runs one sync. Ends well only when all that the connector sent is committed (F8).
pub fn run<W: Write + Send + 'static>(shim: &Shim, open: &Open, out: Output<W>) -> Result<()> {
    let since = Instant::now();
    sync(shim, open, out)?;
    wait_for_interval(shim, open, since);
    Ok(())
}

/// Until the shim's `runInterval` is over, where it has one: all is committed, and whoever wants the end gets it.
fn wait_for_interval(shim: &Shim, open: &Open, since: Instant) {
    let Some(interval) = shim.run_interval.filter(|_| !endpoint::skips_interval(&open.capture.config)) else { return };
    let left = interval.0.saturating_sub(since.elapsed());
    if !left.is_zero() && shim.launcher.stop.reason().is_none() {
        info!("staying up until {interval} have gone by since the start");
        shim.launcher.stop.wait_for(left);
    }
}

fn sync<W: Write + Send + 'static>(shim: &Shim, open: &Open, mut out: Output<W>) -> Result<()> {
    out.send(&Response::Opened {}).and_then(|()| out.flush()).context("can't write to the runtime")?;
    let spec = &open.capture;
    if open.range.as_ref().is_some_and(|it| it.key_begin != 0) {
        // F20: one shard captures. An idle one that ended would be started again and again.
        info!("this shard stays idle: the one that begins at key 0 captures everything");
        return Err(Stopped(shim.launcher.stop.wait()).into());
    }
    if spec.bindings.is_empty() {
        warn!("the capture has no bindings: there is nothing to do");
        return Ok(());
    }
    let resources: Vec<Resource> =
        spec.bindings.iter().map(|it| shim.source.resource(&it.resource_config)).collect::<Result<_, _>>()?;
    let stored = Stored::parse(open.state.as_deref())?;
    let catalog = catalog::of(shim, open, &resources, stored.catalog())?;
    let streams = &catalog.streams;
    let config = shim.to_connector(&spec.config, &catalog.way)?;
    let bindings: Vec<Binding> = spec
        .bindings
        .iter()
        .zip(&resources)
        .enumerate()
        .map(|(index, (it, resource))| {
            Binding::new(index, spec.key(it).to_vec(), shim.streams.schema, shim.streams.of(&resource.id))
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
    let mut ledger = Ledger::open(stored, &entries, shim.source.as_ref())?;
    if let Some(catalog) = catalog.refreshed {
        ledger.keep_catalog(catalog);
    }
    let Started { connector, decoder } = {
        let selected = |(index, (stream, resource))| Selected {
            stream,
            resource,
            state: ledger.state(index),
            fresh: ledger.cells[index].fresh,
        };
        let streams = streams.iter().zip(&resources).enumerate().map(selected).collect();
        let others = &catalog.others;
        let request = SyncRequest { config: &config, streams, others, shared_state: ledger.shared() };
        shim.source.read(&shim.launcher, &request)?
    };
    let (rotations, rotated) = mpsc::channel();
    let mut pump = Pump::new(out, ledger, bindings, shim.max_document, rotations.clone());
    send_schemas(&mut pump, streams)?;

    let (statuses, activity) = (pump.statuses.clone(), pump.activity.clone());
    let tick = || statuses.lock().unwrap_or_else(PoisonError::into_inner).show();
    thread::scope(|scope| {
        // Beside the pump: to publish a config takes a request to a server.
        let way = &catalog.way;
        scope.spawn(move || {
            while let Ok(Some(changed)) = rotated.recv() {
                shim.publish(&changed, &spec.config, way);
            }
        });
        let finished = connector.supervise(&shim.launcher.stop, &activity, Some(shim.idle_timeout.0), tick, |stdout| {
            pump.run(decoder, stdout)
        });
        if let Ok(finished) = &finished
            && let Some(changed) = shim.source.config_after(&finished.files, &config)
        {
            secrets::redact_config(&changed, None);
            let _ = rotations.send(Some(changed));
        }
        // The pump may be stuck, and keep its end of the channel.
        let _ = rotations.send(None);
        finish(shim, finished?)
    })
}

/// What the source declares goes out first (F12), and takes effect with the first checkpoint.
fn send_schemas<W: Write>(pump: &mut Pump<W>, streams: &[Stream]) -> Result<()> {
    for (binding, stream) in streams.iter().enumerate() {
        pump.schema(binding, &stream.schema, &stream.key)?;
    }
    pump.checkpoint().map_err(anyhow::Error::from)
}

/// Decides how a sync has gone, once the connector and all of its output have come to their end.
fn finish<W: Write>(shim: &Shim, finished: Finished<Pump<W>>) -> Result<()> {
    let Some(mut pump) = finished.output else {
        // The pump is stuck in a write that nobody reads.
        return Err(match finished.end {
            End::Stopped(reason) => Stopped(reason).into(),
            _ => anyhow!("the runtime does not read what the connector sends"),
        });
    };
    pump.summarize();
    if let Some(failure) = pump.failure.take() {
        return Err(failure);
    }
    match finished.end {
        End::Exited(0) => {
            if let Some(failure) = pump.cut.take().or_else(|| pump.errors.reported()) {
                return Err(failure);
            }
            pump.statuses.lock().unwrap_or_else(PoisonError::into_inner).verdict()?;
            pump.finish()
        }
        End::Exited(code) => Err(pump.errors.explain(code, finished.last_error.as_deref())),
        // What lay in the pipe was read by nobody, a checkpoint perhaps.
        End::Stopped(reason @ Reason::OutputClosed) => Err(Stopped(reason).into()),
        End::Stopped(reason) if pump.pending > 0 => {
            info!("{} documents since the last state will be read again", pump.pending);
            Err(Stopped(reason).into())
        }
        End::Stopped(reason) => {
            info!("{}", reason.to_string());
            Ok(())
        }
        End::NotExiting => Err(anyhow!("the connector closed its output and did not end: it was killed")),
        End::Silent => {
            let said_nothing = format!("the connector said nothing for {}", shim.idle_timeout);
            if pump.pending > 0 {
                let sentence = format!("{said_nothing} and was stopped; {} documents were not committed", pump.pending);
                bail!(sentence);
            }
            warn!("{said_nothing}: it was stopped, to be started again");
            Ok(())
        }
    }
}
