//! Messages: one line of a connector's stdout, understood (A1). Records are sliced, all else is parsed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::state::{self, Descriptor, StateMessage};
use crate::json::hints::Hints;
use crate::json::scan::{Fault, Kind, Scanner, string_text};
use crate::logging::{Fields, Level};
use crate::upstream::line;
use crate::upstream::{Broken, Event, Payload, Phase, Record, SourceError, Status, StreamId, Watch};

/// A message that is no record.
pub enum Message {
    State(StateMessage),
    Log { level: Level, message: String, fields: Fields },
    Error(SourceError),
    Status(Status),
    Estimate { stream: Option<StreamId>, rows: Option<f64>, bytes: Option<f64> },
    Config(Box<RawValue>),
    Spec(Box<RawValue>),
    Catalog(Box<RawValue>),
    ConnectionStatus { succeeded: bool, message: Option<String> },
    Unknown,
}

/// What a line of a sync says.
pub fn event<'a>(line: &'a [u8], hints: &mut Hints, watch: &'a mut Watch) -> Result<Event<'a>, Broken> {
    match scan(line, hints, watch)? {
        Scanned::Record(record) => Ok(Event::Record(record)),
        Scanned::Other(kind) => Ok(match parse(&kind, line)? {
            Message::State(it) => Event::State(state::update(it)?),
            Message::Log { level, message, fields } => Event::Log { level, message, fields },
            Message::Error(it) => Event::Error(it),
            Message::Status(it) => Event::Status(it),
            Message::Estimate { stream, rows, bytes } => Event::Estimate { stream, rows, bytes },
            Message::Config(it) => Event::Config(it),
            Message::Spec(_) | Message::Catalog(_) | Message::ConnectionStatus { .. } | Message::Unknown => {
                Event::Noise
            }
        }),
    }
}

/// What a line says that answers a spec, check or discover.
pub fn answer(line: &[u8]) -> Result<Message, Broken> {
    let mut watch = Watch::default();
    match scan(line, &mut Hints::default(), &mut watch)? {
        Scanned::Record(_) => Ok(Message::Unknown),
        Scanned::Other(kind) => parse(&kind, line),
    }
}

enum Scanned<'a> {
    Record(Record<'a>),
    /// The message's type.
    Other(String),
}

/// Goes once through a line, whatever the order of its members.
#[inline]
fn scan<'a>(line: &'a [u8], hints: &mut Hints, watch: &'a mut Watch) -> Result<Scanned<'a>, Broken> {
    let line = line::without_bom(line);
    let mut parts = Parts::default();
    let mut scanner = Scanner::new(line, hints);
    if scanner.kind() != Some(Kind::Object) {
        return Err(line::not_an_object(line));
    }
    let scanned = scanner
        .object(|it, key| {
            if key.is("type") {
                parts.kind = Some(&line[it.value()?]);
                Ok(())
            } else if key.is("record") && it.kind() == Some(Kind::Object) {
                parts.record(line, it, watch)
            } else {
                it.value().map(|_| ())
            }
        })
        .and_then(|()| scanner.end());
    let stream = || parts.stream.map(string_text);
    if let Err(fault) = scanned {
        let begun = parts.stream.is_some() || parts.data.is_some();
        return Err(if begun || line::is_message(line) { Broken::lost(stream(), fault) } else { Broken::Noise });
    }
    if scanner.flawed() {
        return Err(if parts.kind.is_some() { Broken::Repairable } else { Broken::Noise });
    }
    match parts.kind {
        Some(br#""RECORD""#) => {}
        Some(kind) => return Ok(Scanned::Other(string_text(kind).into_owned())),
        None => {
            return Err(if parts.data.is_some() {
                Broken::lost(stream(), "a message has no type")
            } else {
                Broken::Noise
            });
        }
    }
    match (parts.stream, parts.data) {
        (Some(stream), Some(data)) => {
            let Parts { namespace, changes, file, .. } = parts;
            let members = watch.found();
            Ok(Scanned::Record(Record { stream, namespace, data, changes, file, members, repairs: &[] }))
        }
        (_, None) => Err(Broken::lost(stream(), "a RECORD has no data object")),
        (None, _) => Err(Broken::lost(None, "a RECORD names no stream")),
    }
}

/// What of a RECORD was found so far.
#[derive(Default)]
struct Parts<'a> {
    kind: Option<&'a [u8]>,
    stream: Option<&'a [u8]>,
    namespace: Option<&'a [u8]>,
    data: Option<Payload<'a>>,
    changes: Option<&'a [u8]>,
    file: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    #[inline]
    fn record(&mut self, line: &'a [u8], scanner: &mut Scanner<'a, '_>, watch: &mut Watch) -> Result<(), Fault> {
        scanner.object(|it, key| {
            if key.is("data") && it.kind() == Some(Kind::Object) {
                self.data = Some(line::payload(line, it, watch, DELETED_AT)?);
            } else if key.is("stream") && it.kind() == Some(Kind::String) {
                self.stream = Some(&line[it.value()?]);
            } else if key.is("namespace") && it.kind() == Some(Kind::String) {
                self.namespace = Some(&line[it.value()?]);
            } else if (key.is("file") || key.is("file_reference")) && it.kind() == Some(Kind::Object) {
                self.file = Some(&line[it.value()?]);
            } else if key.is("meta") && it.kind() == Some(Kind::Object) {
                it.object(|it, key| {
                    let changes = key.is("changes") && it.kind() == Some(Kind::Array);
                    let value = &line[it.value()?];
                    if changes && value != b"[]" {
                        self.changes = Some(value);
                    }
                    Ok(())
                })?;
            } else {
                it.value()?;
            }
            Ok(())
        })
    }
}

/// CDC sources set this in rows that were deleted at the source.
const DELETED_AT: &str = "_ab_cdc_deleted_at";

fn parse(kind: &str, line: &[u8]) -> Result<Message, Broken> {
    match kind {
        "STATE" => line::member(line, "state").map(Message::State),
        "LOG" => line::member(line, "log").map(log),
        "TRACE" => line::member(line, "trace").map(trace),
        "CONTROL" => line::member(line, "control").map(control),
        "SPEC" => line::member(line, "spec").map(Message::Spec),
        "CATALOG" => line::member(line, "catalog").map(Message::Catalog),
        "CONNECTION_STATUS" => line::member(line, "connectionStatus").map(connection_status),
        _ => Ok(Message::Unknown),
    }
}

#[derive(Deserialize)]
struct LogMessage {
    level: Option<String>,
    message: Option<String>,
    stack_trace: Option<String>,
}

fn log(it: LogMessage) -> Message {
    let level = it.level.as_deref().and_then(Level::named).unwrap_or(Level::Info);
    let mut fields = Fields::new();
    if let Some(trace) = it.stack_trace {
        fields.insert("stack_trace".into(), trace.into());
    }
    Message::Log { level, message: it.message.unwrap_or_default(), fields }
}

#[derive(Deserialize)]
struct TraceMessage {
    #[serde(rename = "type")]
    kind: Option<String>,
    error: Option<ErrorTrace>,
    stream_status: Option<StreamStatus>,
    estimate: Option<EstimateTrace>,
}

#[derive(Deserialize)]
struct ErrorTrace {
    message: Option<String>,
    internal_message: Option<String>,
    stack_trace: Option<String>,
    failure_type: Option<String>,
    stream_descriptor: Option<Descriptor>,
}

#[derive(Deserialize)]
struct StreamStatus {
    stream_descriptor: Descriptor,
    status: Option<String>,
    #[serde(default)]
    reasons: Option<Vec<Reason>>,
}

#[derive(Deserialize)]
struct Reason {
    rate_limited: Option<RateLimited>,
}

#[derive(Deserialize)]
struct RateLimited {
    quota_reset: Option<f64>,
}

#[derive(Deserialize)]
struct EstimateTrace {
    name: Option<String>,
    namespace: Option<String>,
    row_estimate: Option<f64>,
    byte_estimate: Option<f64>,
}

fn trace(it: TraceMessage) -> Message {
    match (it.kind.as_deref(), it.error, it.stream_status, it.estimate) {
        (Some("ERROR") | None, Some(error), ..) => Message::Error(source_error(error)),
        (Some("STREAM_STATUS") | None, _, Some(status), _) => stream_status(status),
        (Some("ESTIMATE") | None, .., Some(it)) => {
            let stream = it.name.map(|name| StreamId { name, namespace: it.namespace });
            Message::Estimate { stream, rows: it.row_estimate, bytes: it.byte_estimate }
        }
        _ => Message::Unknown,
    }
}

/// How the CDK words an exception that its connector did not foresee, which helps nobody without the cause.
const UNFORESEEN: &str = "Something went wrong in the connector";

fn source_error(it: ErrorTrace) -> SourceError {
    let mut fields = Fields::new();
    let last_line = it.stack_trace.as_deref().and_then(|it| it.trim_end().lines().next_back()).map(str::to_owned);
    let details = [
        ("internal_message", it.internal_message.clone()),
        ("stack_trace", it.stack_trace),
        ("failure_type", it.failure_type),
    ];
    for (name, value) in details {
        if let Some(value) = value {
            fields.insert(name.into(), value.into());
        }
    }
    let cause = match it.internal_message {
        // `'count'` alone says nothing: with it, `KeyError: 'count'`, which the trace ends with, says a little.
        Some(word) if !word.contains(' ') => last_line.or(Some(word)),
        internal => internal,
    };
    let message = match (it.message, cause) {
        (Some(message), Some(cause)) if message.starts_with(UNFORESEEN) => format!("{UNFORESEEN}: {cause}"),
        (message, cause) => message.or(cause).unwrap_or_else(|| "the connector reported an error".to_owned()),
    };
    SourceError { message, stream: it.stream_descriptor.map(Into::into), fields }
}

fn stream_status(it: StreamStatus) -> Message {
    let phase = match it.status.as_deref() {
        Some("STARTED") => Phase::Started,
        Some("RUNNING") => Phase::Running,
        Some("COMPLETE") => Phase::Complete,
        Some("INCOMPLETE") => Phase::Incomplete,
        _ => return Message::Unknown,
    };
    let reset = it.reasons.into_iter().flatten().find_map(|it| it.rate_limited?.quota_reset);
    Message::Status(Status { stream: it.stream_descriptor.into(), phase, pause: reset.and_then(until) })
}

/// From now until an epoch in milliseconds.
fn until(epoch_ms: f64) -> Option<Duration> {
    let at = UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(epoch_ms / 1000.0).ok()?)?;
    at.duration_since(SystemTime::now()).ok()
}

#[derive(Deserialize)]
struct ControlMessage {
    #[serde(rename = "connectorConfig")]
    connector_config: Option<ConnectorConfig>,
}

#[derive(Deserialize)]
struct ConnectorConfig {
    config: Box<RawValue>,
}

fn control(it: ControlMessage) -> Message {
    it.connector_config.map_or(Message::Unknown, |it| Message::Config(it.config))
}

#[derive(Deserialize)]
struct ConnectionStatus {
    status: Value,
    message: Option<String>,
}

fn connection_status(it: ConnectionStatus) -> Message {
    Message::ConnectionStatus { succeeded: it.status == "SUCCEEDED", message: it.message }
}
