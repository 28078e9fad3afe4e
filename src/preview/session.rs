//! Runs the serve loop on a thread, connected by pipes like a runtime.

use anyhow::{Context, Result, anyhow};
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use crate::process::lines::{Line, Lines};
use crate::serve;
use crate::session::Session;

pub struct Serving {
    requests: PipeWriter,
    pub responses: Lines<PipeReader>,
    serving: JoinHandle<Result<()>>,
}

/// The largest pipe capacity that an unprivileged process may set by default.
const PIPE: usize = 1024 * 1024;

impl Serving {
    pub fn start(shim: Arc<Session>, runtime: Handle) -> Result<Self> {
        let what = "can't make a pipe";
        let (theirs, requests) = pipe().context(what)?;
        let (responses, out) = pipe().context(what)?;
        // For fewer, larger reads; the default capacity also works.
        let _ = rustix::pipe::fcntl_setpipe_size(&out, PIPE);
        let mut end = out.try_clone().context(what)?;
        let serve = move || {
            let served = runtime.block_on(serve::serve(&shim, theirs, out));
            // The end is an empty line because a stuck thread may keep the pipe open.
            let _ = end.write_all(b"\n");
            served
        };
        let serving = thread::Builder::new().name("serve".to_owned()).spawn(serve).context("can't start a thread")?;
        Ok(Self { requests, responses: Lines::new(responses), serving })
    }

    /// Sends the request `{kind: body}` and returns the member `answer` of its response. On `None` the session has ended,
    /// and [`Serving::end`] returns the reason.
    pub fn ask<T: Serialize>(&mut self, kind: &str, body: &T, answer: &str) -> Option<Value> {
        let mut request = serde_json::to_vec(&std::collections::HashMap::from([(kind, body)])).ok()?;
        request.push(b'\n');
        self.requests.write_all(&request).ok()?;
        loop {
            match self.responses.take() {
                Some(Line::Whole(line)) => return serde_json::from_slice::<Map<_, _>>(line).ok()?.remove(answer),
                Some(_) => return None,
                None => {}
            }
            self.responses.fill().ok().filter(|more| *more)?;
        }
    }

    /// Closes the pipes and returns the result of the serve loop.
    pub fn end(self) -> Result<()> {
        drop((self.requests, self.responses));
        self.serving.join().unwrap_or_else(|_| Err(anyhow!("bug in flow-shim: the serve loop panicked")))
    }
}
