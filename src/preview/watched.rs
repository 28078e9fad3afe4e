//! A capture that another command shows: it gives its counts instead of printing documents.

use std::io;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::runtime::Handle;

use super::bindings::{self, Binding};
use super::receive::{Limits, Receiver};
use super::session::Serving;
use super::state::State;
use super::tally::Tally;
use super::{find_streams, opening, receive, tally_of, unanswered, verdict};
use crate::process::shutdown::Shutdown;
use crate::session::Session;

/// What a capture tells of itself.
pub trait Watched {
    /// What it is doing.
    fn status(&self, text: &str);

    /// The connector is started. The counts change from now on.
    fn begun(&self, tally: Arc<Tally>);
}

/// Captures the streams of these names to their end, or until `stop` is requested; no names are all streams. Blocks.
pub fn watch(
    session: Session,
    config: &RawValue,
    names: &[String],
    stop: &Shutdown,
    runtime: &Handle,
    watched: &dyn Watched,
) -> Result<()> {
    let session = Arc::new(session);
    let mut serving = Serving::start(session.clone(), runtime.clone())?;
    watched.status("asking the connector for its spec");
    let Some(spec) = serving.ask("spec", &json!({}), "spec") else {
        return Err(unanswered(serving, None));
    };
    let streams = match find_streams(&mut serving, &session, config, &|it| watched.status(it), runtime) {
        Ok(streams) => streams,
        Err(failure) => return Err(unanswered(serving, failure)),
    };
    let mut bindings = bindings::bind(streams, &session.settings.streams, &spec["resourcePathPointers"])?;
    if !names.is_empty() {
        bindings.retain(|it| names.contains(&it.stream.id.name));
    }
    if bindings.is_empty() {
        return Err(anyhow!("the connector discovered none of these streams"));
    }
    let validators = bindings.iter().map(Binding::validator).collect::<Result<_>>()?;
    let tally = Arc::new(tally_of(&bindings));
    watched.status("reading");
    watched.begun(tally.clone());
    let state = State::in_memory();
    let opening = opening(&bindings, config, &state.value)?;
    let receiver = Receiver::new(io::sink(), tally, state, Limits::default(), validators, stop.clone());
    let (received, served) = receive(serving, &opening, receiver, stop);
    verdict(received, served, stop).map(drop)
}
