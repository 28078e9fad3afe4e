//! The RPC loop: one request in, one response out; Open hands over to the capture.

use crate::error::Stopped;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc;
use std::thread;
use tracing::warn;

use crate::capture;
use crate::error::Reason;
use crate::flow::PROTOCOL;
use crate::flow::name::Names;
use crate::flow::request::{Request, Validate};
use crate::flow::response::{DiscoveredBinding, Output, Response, Spec, ValidatedBinding};
use crate::schema;
use crate::shim::streams::StreamRules;
use crate::secrets;
use crate::shim::{SchemaMode, Shim};
use crate::upstream::{Mode, Resource, Stream};

/// What reaches the loop.
enum Incoming {
    Line(Vec<u8>),
    Unreadable(std::io::Error),
    End,
    Stop(Reason),
}

/// Answers requests until they end, or until a capture does.
pub fn serve<R, W>(shim: &Shim, requests: R, responses: W) -> Result<()>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    let mut out = Output::new(responses);
    let (sender, incoming) = mpsc::sync_channel(1);
    let stopped = sender.clone();
    // A full inbox means that something is running, which hears of the stop itself.
    shim.launcher.stop.listen(move |reason| drop(stopped.try_send(Incoming::Stop(reason))));
    thread::spawn(move || read_lines(requests, |it| sender.send(it).is_ok()));
    loop {
        if let Some(reason) = shim.launcher.stop.reason() {
            return Err(Stopped(reason).into());
        }
        let line = match incoming.recv() {
            Ok(Incoming::Line(line)) if line.trim_ascii().is_empty() => continue,
            Ok(Incoming::Line(line)) => line,
            Ok(Incoming::Stop(reason)) => return Err(Stopped(reason).into()),
            Ok(Incoming::Unreadable(error)) => return Err(error).context("can't read the runtime's requests"),
            Ok(Incoming::End) | Err(_) => return Ok(()),
        };
        let sent = match Request::parse(&line)? {
            Request::Spec => out.send(&Response::Spec(&spec(shim)?)),
            Request::Discover(it) => {
                secrets::redact_config(&it.config, None);
                out.send(&Response::Discovered { bindings: discovered(shim.discover(&it.config)?, &shim.streams) })
            }
            Request::Validate(it) => {
                secrets::redact_config(&it.config, None);
                out.send(&Response::Validated { bindings: validate(shim, &it)? })
            }
            // F21: nothing to do, and no connector needed.
            Request::Apply => out.send(&Response::Applied {}),
            Request::Open(open) => {
                secrets::redact_config(&open.capture.config, None);
                return capture::run(shim, &open, out);
            }
            Request::Acknowledge => Ok(()),
        };
        sent.and_then(|()| out.flush()).context("can't write to the runtime")?;
    }
}

fn read_lines(requests: impl Read, send: impl Fn(Incoming) -> bool) {
    let mut requests = BufReader::new(requests);
    loop {
        let mut line = Vec::new();
        let incoming = match requests.read_until(b'\n', &mut line) {
            Ok(0) => Incoming::End,
            Ok(_) => Incoming::Line(line),
            Err(error) => Incoming::Unreadable(error),
        };
        let more = matches!(incoming, Incoming::Line(_));
        if !send(incoming) || !more {
            return;
        }
    }
}

/// What Flow is told of the connector's configuration.
pub fn spec(shim: &Shim) -> Result<Spec> {
    let found = shim.describe()?;
    if let Some(missing) = &found.missing {
        warn!("users can't sign in with OAuth: {missing}");
    }
    let (resource_config_schema, pointers) = shim.source.resource_schema();
    Ok(Spec {
        protocol: PROTOCOL,
        config_schema: found.config_schema,
        resource_config_schema,
        oauth2: found.oauth2,
        documentation_url: documentation_url(shim, found.documentation_url),
        resource_path_pointers: pointers.iter().map(|it| (*it).to_owned()).collect(),
    })
}

/// Where the connector is documented: shim.yaml knows best.
pub fn documentation_url(shim: &Shim, found: Option<String>) -> String {
    let url = shim.documentation_url.clone().or(found);
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
    // F15: rows of an incremental stream are never known to vanish; those of a full refresh get tombstones.
    let is_fallback_key = key.is_err() && stream.mode == Mode::Incremental;
    let key = key.unwrap_or_else(|_| schema::Key::row_id());
    DiscoveredBinding {
        recommended_name: names.claim(&stream.id.to_string()),
        resource_config: stream.resource,
        document_schema: match rules.schema {
            SchemaMode::Inferred => schema::write_permissive(&key),
            SchemaMode::Declared => schema::write_declared(&stream.schema, &key).schema,
        },
        key: key.pointers(),
        disable: rules.of(&stream.id).is_disabled(),
        is_fallback_key,
    }
}

fn validate(shim: &Shim, request: &Validate) -> Result<Vec<ValidatedBinding>> {
    let resources: Vec<Resource> =
        request.bindings.iter().map(|it| shim.source.resource(&it.resource_config)).collect::<Result<_, _>>()?;
    shim.check(&request.config, &resources)?;
    Ok(resources.into_iter().map(|it| ValidatedBinding { resource_path: it.path }).collect())
}
