//! Runs the CDK: one process per call, and the next one ready with everything imported.
//!
//! A process is started as a connector is: behind a keeper, with a private directory. Its request comes through a named pipe,
//! so that no config is ever in a file. A call that is dropped, because its client has gone, ends its process.

use std::convert::Infallible;
use std::process::ChildStdout;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::debug;

use super::environment::Python;
use crate::error;
use crate::process::activity::Activity;
use crate::process::launch::{Launcher, RotatedConfig, Target};
use crate::process::lines::{Line, Lines};
use crate::process::shutdown::Shutdown;
use crate::process::supervise::{End, Finished, Reading};
use crate::process::thread;
use crate::upstream::ErrorLog;

const SCRIPT: &str = include_str!("engine.py");

/// How long a call may take (B1).
const LIMIT: Duration = Duration::from_secs(300);

/// Whether the CDK may run custom components.
pub const CUSTOM_CODE: &str = "AIRBYTE_ENABLE_UNSAFE_CODE";

pub struct Engine {
    pub python: Python,
    launcher: Launcher,
    /// A process that waits for its request.
    ready: Mutex<Option<Child>>,
    /// As many calls at once as there are cores.
    pub slots: Arc<Semaphore>,
}

/// What the CDK answered, and what that has cost.
pub struct Answer {
    pub value: Value,
    pub took: Duration,
    /// The process had been ready.
    pub was_ready: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The CDK says so.
    Told(Told),
    Late,
    /// The process gave no answer.
    Died(String),
}

#[derive(Debug, Deserialize)]
pub struct Told {
    pub kind: Kind,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub stack: Option<String>,
    #[serde(default)]
    pub names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Manifest,
    UnknownStream,
    NoCatalog,
    Failed,
}

impl Engine {
    /// Has the first process started.
    pub fn start(python: Python, custom_code: bool, shutdown: &Shutdown) -> Arc<Self> {
        let launcher = Launcher {
            target: Target::Command(vec![python.program.to_string_lossy().into_owned()]),
            env: vec![(CUSTOM_CODE.to_owned(), custom_code.to_string())],
            idle_timeout: LIMIT,
            shutdown: shutdown.clone(),
            rotated: RotatedConfig::default(),
            kept: None,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let slots = Arc::new(Semaphore::new(cores));
        let engine = Arc::new(Self { python, launcher, ready: Mutex::default(), slots });
        engine.prepare();
        engine
    }

    /// Has the CDK answer a request.
    pub async fn call(self: &Arc<Self>, request: &Value) -> Result<Answer, Failure> {
        let _slot = self.slots.acquire().await;
        let _next = Next(self);
        let since = Instant::now();
        let ready = self.ready().take().filter(|it| !it.task.is_finished());
        let was_ready = ready.is_some();
        let child = ready.unwrap_or_else(|| Child::start(self.launcher.clone()));
        let answered = timeout(LIMIT, child.ask(request)).await.map_err(|_| Failure::Late)?;
        let took = since.elapsed();
        debug!("the CDK answered in {} ms", took.as_millis());
        match answered.map_err(Failure::Died)? {
            Response::Answer(value) => Ok(Answer { value, took, was_ready }),
            Response::Error(told) => Err(Failure::Told(told)),
        }
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process for the next call, if there is none.
    fn prepare(&self) {
        let mut ready = self.ready();
        if ready.is_none() && self.launcher.shutdown.reason().is_none() {
            *ready = Some(Child::start(self.launcher.clone()));
        }
    }
}

/// The end of a call, however it ends: only now is there time to start the next process.
struct Next<'a>(&'a Arc<Engine>);

impl Drop for Next<'_> {
    fn drop(&mut self) {
        self.0.prepare();
    }
}

#[derive(Deserialize)]
enum Response {
    #[serde(rename = "answer")]
    Answer(Value),
    #[serde(rename = "error")]
    Error(Told),
}

/// A response, or why there is none.
type Answered = Result<Response, String>;

/// A process of the CDK. It ends when this is dropped.
struct Child {
    request: oneshot::Sender<String>,
    answer: oneshot::Receiver<Answered>,
    task: AbortHandle,
}

struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Child {
    fn start(launcher: Launcher) -> Self {
        let (request, requested) = oneshot::channel();
        let (sender, answer) = oneshot::channel();
        let running = tokio::spawn(async move {
            let (sender, failure) = match run(&launcher, requested, sender).await {
                Ok(unanswered) => unanswered,
                Err((sender, failure)) => (Some(sender), failure),
            };
            if let Some(sender) = sender {
                let _ = sender.send(Err(error::sentence(&failure)));
            }
        });
        Self { request, answer, task: running.abort_handle() }
    }

    async fn ask(self, request: &Value) -> Answered {
        let _ends_with_this = Abort(self.task);
        let dead = || "the process of the CDK has ended".to_owned();
        self.request.send(request.to_string() + "\n").map_err(|_| dead())?;
        self.answer.await.unwrap_or_else(|_| Err(dead()))
    }
}

type Sender = oneshot::Sender<Answered>;

/// Runs a process to its end. Returns the sender if it has given no answer, and why.
async fn run(
    launcher: &Launcher,
    requested: oneshot::Receiver<String>,
    sender: Sender,
) -> Result<(Option<Sender>, anyhow::Error), (Sender, anyhow::Error)> {
    let started = async {
        let mut prepared = launcher.prepare().await?;
        let script = prepared.write("engine.py", SCRIPT)?;
        let (path, pipe) = prepared.pipe("request")?;
        let mut connector = prepared.start(vec![script, path]).await?;
        let stdout = connector.take_stdout()?;
        Ok((connector, pipe, stdout))
    };
    let (connector, mut pipe, stdout) = match started.await {
        Ok(it) => it,
        Err(failure) => return Err((sender, failure)),
    };
    let activity = Activity::default();
    let seen = activity.clone();
    let reader = thread::spawn("engine", move || (read(stdout, &seen, sender), Reading::Ended));
    let reader = match reader {
        Ok(it) => it,
        // The sender went with the thread that could not be started.
        Err(failure) => return Ok((None, failure)),
    };
    let asking = async {
        if let Ok(request) = requested.await {
            let _ = pipe.write_all(request.as_bytes()).await;
        }
        std::future::pending::<Infallible>().await
    };
    let finished = tokio::select! {
        finished = connector.supervise(&launcher.shutdown, &activity, None, || (), reader) => finished,
        never = asking => match never {},
    };
    let Finished { end, output, stderr, files } = match finished {
        Ok(it) => it,
        Err(failure) => return Ok((None, failure)),
    };
    files.close(launcher.shutdown.deadline()).await;
    let failure = match end {
        End::Exited(exit) => ErrorLog::default().explain(exit, &stderr),
        End::Stopped(_) => anyhow!("flow-shim builder is being stopped"),
        End::Silent | End::NotExiting => anyhow!("the process of the CDK did not end"),
    };
    Ok((output.flatten(), failure.context("the CDK gave no answer")))
}

/// Reads the output to its end, and sends the answer as soon as it is there. Gives back the sender of an answer that never came.
fn read(stdout: ChildStdout, activity: &Activity, sender: Sender) -> Option<Sender> {
    let mut sender = Some(sender);
    let mut lines = Lines::new(stdout);
    let mut more = true;
    while more {
        more = activity.while_waiting(|| lines.fill()).unwrap_or(false);
        while let Some(line) = lines.take() {
            if let Line::Whole(line) = line
                && line.starts_with(br#"{"flow_shim""#)
                && let Some(sender) = sender.take()
            {
                let _ = sender.send(parse(line).map_err(|it| error::sentence(&it)));
            }
        }
    }
    sender
}

fn parse(line: &[u8]) -> Result<Response> {
    #[derive(Deserialize)]
    struct Message {
        flow_shim: Response,
    }
    let message: Message = serde_json::from_slice(line)
        .map_err(|it| error::without_input(&it))
        .context("the answer of the CDK can't be read")?;
    Ok(message.flow_shim)
}
