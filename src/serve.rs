//! The RPC loop: one request in, one response out; Open hands over to the capture.

use crate::error::Stopped;
use anyhow::{Context, Result};
use serde_json::json;
use std::io::{Read, Write};
use tokio::sync::mpsc::{self, Sender};
use tracing::{Instrument, warn};

use crate::capture;
use crate::flow::PROTOCOL;
use crate::flow::codec::{Codec, Reader, Writer};
use crate::flow::name::Names;
use crate::flow::request::{Request, Validate};
use crate::flow::response::{ConnectorState, DiscoveredBinding, Response, Spec, ValidatedBinding};
use crate::logging;
use crate::process::thread;
use crate::schema;
use crate::session::Session;
use crate::session::publish::Task;
use crate::settings::SchemaMode;
use crate::settings::streams::StreamRules;
use crate::upstream::{Mode, Resource, Stream};

/// Answers requests until they end, or until a capture does.
pub async fn serve<R, W>(session: &Session, requests: R, responses: W) -> Result<()>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    let mut out = Writer::new(responses);
    // A thread reads them: a read of a file, a terminal or a pipe can't be cancelled.
    let (sender, mut incoming) = mpsc::channel(1);
    let _reading = thread::spawn("requests", move || {
        if let Err(error) = read_requests(requests, &sender) {
            let _ = sender.blocking_send(Err(error));
        }
    })?;
    loop {
        let incoming = tokio::select! {
            biased;
            reason = session.launcher.shutdown.requested() => return Err(Stopped(reason).into()),
            incoming = incoming.recv() => incoming,
        };
        let Some((codec, request)) = incoming.transpose()? else { return Ok(()) };
        out.set_codec(codec);
        let rpc = logging::rpc_span(request.kind());
        match request {
            Request::Open(open) => {
                session.redact(&open.capture.config);
                session.publisher.serve(Task {
                    name: open.capture.name.clone(),
                    secrets: open.capture.secrets.clone(),
                    sealed_config: open.sealed_config.clone(),
                });
                return capture::run(session, &open, out).instrument(rpc).await;
            }
            other => answer(session, other, &mut out).instrument(rpc).await?,
        }
    }
}

/// Answers any request but Open.
async fn answer<W: Write>(session: &Session, request: Request, out: &mut Writer<W>) -> Result<()> {
    let sent = match request {
        Request::Spec => out.send(&Response::Spec(&spec(session).await?)),
        Request::Discover(it) => {
            session.redact(&it.config);
            session.publisher.serve(Task { name: it.name, secrets: it.secrets, ..Task::default() });
            let bindings = discovered(session.discover(&it.config).await?, &session.settings.streams);
            out.send(&Response::Discovered { bindings })
        }
        Request::Validate(it) => {
            session.redact(&it.config);
            let (name, secrets) = (it.name.clone(), it.secrets.clone());
            session.publisher.serve(Task { name, secrets, ..Task::default() });
            out.send(&Response::Validated { bindings: validate(session, &it).await? })
        }
        Request::Apply(it) => {
            if let Some(capture) = &it.capture {
                session.redact(&capture.config);
            }
            let patch = capture::migrate(&it, session.upstream.as_ref())?;
            let state = patch.as_deref().map(|updated| ConnectorState { updated, merge_patch: true });
            out.send(&Response::Applied { state })
        }
        Request::Open(_) | Request::Acknowledge => return Ok(()),
    };
    sent.and_then(|()| out.flush()).context("can't write to the runtime")
}

/// Sends requests until they end or nobody takes them any more.
fn read_requests(requests: impl Read, sender: &Sender<Result<(Codec, Request)>>) -> Result<()> {
    let mut requests = Reader::new(requests)?;
    while let Some(request) = requests.request()? {
        if sender.blocking_send(Ok((requests.codec(), request))).is_err() {
            break;
        }
    }
    Ok(())
}

/// What Flow is told of the connector's configuration.
pub async fn spec(session: &Session) -> Result<Spec> {
    let found = session.describe().await?;
    if let Some(missing) = &found.missing {
        warn!("users can't sign in with OAuth: {missing}");
    }
    let (resource_config_schema, pointers) = session.upstream.resource_schema();
    Ok(Spec {
        protocol: PROTOCOL,
        config_schema: found.config_schema,
        resource_config_schema,
        oauth2: found.oauth2,
        documentation_url: documentation_url(session, found.documentation_url),
        resource_path_pointers: pointers.iter().map(|it| (*it).to_owned()).collect(),
    })
}

/// The URL of the documentation: from shim.yaml, else from the connector, else of Flow.
pub fn documentation_url(session: &Session, found: Option<String>) -> String {
    let url = session.settings.documentation_url.clone().or(found);
    url.filter(|it| it.starts_with("http")).unwrap_or_else(|| HOME.to_owned())
}

/// Documentation of last resort.
const HOME: &str = "https://docs.estuary.dev/reference/Connectors/capture-connectors/";

/// The bindings that discovery recommends.
pub fn discovered(streams: Vec<Stream>, rules: &StreamRules) -> Vec<DiscoveredBinding> {
    let mut names = Names::default();
    streams.into_iter().map(|stream| discovered_binding(stream, rules, &mut names)).collect()
}

fn discovered_binding(stream: Stream, rules: &StreamRules, names: &mut Names) -> DiscoveredBinding {
    let key = schema::key(&stream.schema, &stream.key);
    if let Err(problem) = &key
        && !stream.key.is_empty()
    {
        warn!("stream {}: {problem}; /_meta/row_id is the collection's key instead", stream.id);
    }
    // F15: rows of an incremental stream are never known to vanish; those of a full refresh get tombstones.
    let is_fallback_key = key.is_err() && stream.mode == Mode::Incremental;
    let key = key.unwrap_or_else(|_| schema::Key::row_id());
    let mut document_schema = match rules.schema {
        SchemaMode::Inferred => schema::write_permissive(&key),
        SchemaMode::Declared => schema::write_declared(&stream.schema, &key).schema,
    };
    if stream.partial {
        document_schema["reduce"] = json!({"strategy": "merge"});
    }
    DiscoveredBinding {
        recommended_name: names.claim(&stream.id.to_string()),
        resource_config: stream.resource,
        document_schema,
        key: key.pointers(),
        disable: rules.of(&stream.id).is_disabled(),
        is_fallback_key,
    }
}

async fn validate(session: &Session, request: &Validate) -> Result<Vec<ValidatedBinding>> {
    let resources: Vec<Resource> =
        request.bindings.iter().map(|it| session.upstream.resource(&it.resource_config)).collect::<Result<_, _>>()?;
    capture::one_binding_per_stream(&resources)?;
    session.check(&request.config, &resources).await?;
    Ok(resources.into_iter().map(|it| ValidatedBinding { resource_path: it.path }).collect())
}
