//! The serve loop on a thread of this process, with pipes as a runtime would have them.

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

/// As much as an unprivileged process may have in a pipe.
const PIPE: usize = 1024 * 1024;

impl Serving {
    pub fn start(shim: Arc<Session>, runtime: Handle) -> Result<Self> {
        let what = "can't make a pipe";
        let (theirs, requests) = pipe().context(what)?;
        let (responses, out) = pipe().context(what)?;
        // Fewer, larger reads; a smaller pipe works as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&out, PIPE);
        let mut end = out.try_clone().context(what)?;
        let serve = move || {
            let served = runtime.block_on(serve::serve(&shim, theirs, out));
            // An empty line is the end, even should a thread that could not be ended hold the pipe open.
            let _ = end.write_all(b"\n");
            served
        };
        let serving = thread::Builder::new().name("serve".to_owned()).spawn(serve).context("can't start a thread")?;
        Ok(Self { requests, responses: Lines::new(responses), serving })
    }

    /// Sends a request of one member, and reads the response of one member that has to follow. Where none comes, the
    /// session has ended, and [`Serving::end`] tells why.
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

    /// Hangs up, and tells how the serving has gone.
    pub fn end(self) -> Result<()> {
        drop((self.requests, self.responses));
        self.serving.join().unwrap_or_else(|_| Err(anyhow!("flow-shim is broken: serving panicked")))
    }
}
