//! A capture that the page has started: a run of the preview, whose counts are streamed to the page.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::{Body as HttpBody, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use std::convert::Infallible;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;

use super::Server;
use super::engine::CUSTOM_CODE;
use super::vault::Mask;
use crate::error::{self, Reason};
use crate::init::{MANIFEST_SOURCE, MANIFEST_SOURCE_TEXT};
use crate::oauth::OAuthSetting;
use crate::preview::{self, Tally, Watched};
use crate::process::launch::Target;
use crate::process::shutdown::Shutdown;
use crate::process::thread;
use crate::session::Session;
use crate::settings::{Protocol, Settings};

/// How often counts are sent.
const TICK: Duration = Duration::from_millis(250);

/// A manifest as a connector: the shim for manifests, in a directory of its own.
pub struct Connector {
    folder: TempDir,
    python: PathBuf,
    custom_code: bool,
}

impl Connector {
    pub fn new(server: &Server, manifest: &Value, components: Option<&str>) -> Result<Self> {
        let failed = "can't write the manifest for a capture (set TMPDIR)";
        let folder = TempDir::with_prefix("flow-shim-builder-").context(failed)?;
        // JSON is YAML.
        let files = [("manifest.yaml", manifest.to_string()), (MANIFEST_SOURCE, MANIFEST_SOURCE_TEXT.to_owned())];
        let components = components.map(|it| ("components.py", it.to_owned()));
        for (name, text) in files.into_iter().chain(components) {
            std::fs::write(folder.path().join(name), text).context(failed)?;
        }
        Ok(Self { folder, python: server.engine.python.program.clone(), custom_code: server.custom_code })
    }

    /// A session with it, which ends at this shutdown request. Configs are the connector's own: OAuth moves nothing.
    pub fn session(&self, shutdown: Shutdown, oauth2: OAuthSetting) -> Result<Session> {
        let source = self.folder.path().join(MANIFEST_SOURCE);
        let command = [&self.python, &source].map(|it| it.to_string_lossy().into_owned());
        let mut settings = Settings::bare(Target::Command(command.into()), Protocol::Airbyte)?;
        settings.env.push((CUSTOM_CODE.to_owned(), self.custom_code.to_string()));
        settings.oauth2 = oauth2;
        Ok(Session::new(settings, shutdown))
    }
}

/// Lines of JSON, as they become known.
pub struct Lines(mpsc::Sender<Result<Bytes, Infallible>>);

impl Lines {
    /// The sender, and the response that carries what is sent.
    pub fn new() -> (Self, Response) {
        let (sender, receiver) = mpsc::channel(64);
        let body = HttpBody::from_stream(ReceiverStream::new(receiver));
        (Self(sender), ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
    }

    /// Sends a line; false if the page has gone.
    pub async fn send(&self, line: &Value) -> bool {
        self.0.send(Ok(Bytes::from(format!("{line}\n")))).await.is_ok()
    }

    /// Waits until the page has gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// What the capture tells, for the task that sends it to the page.
#[derive(Default)]
struct Progress {
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    status: String,
    tally: Option<Arc<Tally>>,
}

impl Progress {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts of all streams since the start.
    fn counts(&self) -> Value {
        let told = self.told();
        let streams = told.tally.iter().flat_map(|tally| &tally.streams).map(|it| {
            json!({"name": it.name, "records": it.records.get(), "bytes": it.record_bytes.get(), "committed": it.documents.get()})
        });
        let seconds = told.tally.as_ref().map_or(0.0, |it| it.start.elapsed().as_secs_f64());
        let checkpoints = told.tally.as_ref().map_or(0, |it| it.checkpoints.get());
        json!({"status": told.status, "seconds": seconds, "checkpoints": checkpoints, "streams": streams.collect::<Vec<_>>()})
    }
}

impl Watched for Progress {
    fn status(&self, text: &str) {
        text.clone_into(&mut self.told().status);
    }

    fn begun(&self, tally: Arc<Tally>) {
        self.told().tally = Some(tally);
    }
}

/// Runs a capture of these streams, and streams its counts until it ends or the page goes.
pub fn start(
    server: &Arc<Server>,
    manifest: &Value,
    config: &Value,
    streams: Vec<String>,
    mask: Mask,
) -> Result<Response> {
    let components = server.custom_code.then(|| server.document.components()).flatten();
    let connector = Connector::new(server, manifest, components.as_deref())?;
    let stop = Shutdown::default();
    let session = connector.session(stop.clone(), OAuthSetting::Never)?;
    let config = to_raw_value(config)?;
    let progress = Arc::new(Progress::default());
    let (watched, stopped, runtime) = (progress.clone(), stop.clone(), server.runtime.clone());
    let slots = server.engine.slots.clone();
    let (lines, response) = Lines::new();
    let server = server.clone();
    tokio::spawn(async move {
        let _slot = slots.acquire().await;
        let run = move || {
            let result = preview::watch(session, &config, &streams, &stopped, &runtime, &*watched);
            drop(connector);
            result
        };
        let running = match thread::spawn("capture", run) {
            Ok(it) => it,
            Err(failure) => {
                lines.send(&json!({"error": error::sentence(&failure)})).await;
                return;
            }
        };
        let mut running = std::pin::pin!(running);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let result = loop {
            tokio::select! {
                result = &mut running => break result,
                _ = tick.tick() => {
                    if !lines.send(&progress.counts()).await {
                        stop.request(Reason::Enough);
                    }
                }
                () = lines.closed(), if stop.reason().is_none() => {
                    stop.request(Reason::Enough);
                }
                reason = server.shutdown.requested(), if stop.reason().is_none() => {
                    stop.request(reason);
                }
            }
        };
        lines.send(&progress.counts()).await;
        let end = match result {
            Some(Ok(())) => json!({"end": "complete"}),
            Some(Err(failure)) => json!({"error": mask.text(&error::sentence(&failure))}),
            None => json!({"error": "bug in flow-shim: the capture panicked"}),
        };
        lines.send(&end).await;
    });
    Ok(response)
}
