//! Messages: decodes one line of a connector's stdout (A1). Records are sliced, everything else is parsed.

use std::borrow::Cow;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use serde_json::value::RawValue;

use super::lenient::{number, text};
use super::state::{self, StateMessage};
use crate::json::hints::Hints;
use crate::json::members::Members;
use crate::json::scan::{Fault, Key, Kind, Place, Scanner, string_text};
use crate::logging::{Fields, Level};
use crate::upstream::{
    Broken, Event, Payload, Phase, Record, SourceError, Status, StreamId, damage,
    envelope::{Closing, Opening},
    line,
    line::DeletionMark,
};

/// A message that is not a record.
pub enum Message {
    Event(Event<'static>),
    Spec(Box<RawValue>),
    Catalog(Box<RawValue>),
    ConnectionStatus { succeeded: bool, message: Option<String> },
}

/// Decodes a line of a sync. Inlined with [`scan`], so that a record is written once, where the caller wants it.
#[inline(always)]
pub fn event<'a>(line: &'a [u8], earlier: &'a mut Earlier) -> Result<Event<'a>, Broken> {
    match scan(line, earlier)? {
        Scanned::Record(record) => Ok(Event::Record(record)),
        Scanned::Other(line) => match parse(line)? {
            Message::Event(event) => Ok(event),
            Message::Spec(_) | Message::Catalog(_) | Message::ConnectionStatus { .. } => Ok(Event::Noise),
        },
    }
}

/// Decodes a line that may answer a spec, check or discover.
pub fn answer(line: &[u8]) -> Result<Message, Broken> {
    match scan(line, &mut Earlier::default())? {
        Scanned::Record(_) => Ok(Message::Event(Event::Noise)),
        Scanned::Other(line) => parse(line),
    }
}

/// What is remembered of earlier lines, to expect the same again.
#[derive(Default)]
pub struct Earlier {
    pub hints: Hints,
    opening: Opening<Names>,
    closing: Closing,
}

/// The stream that a record's line names, and where in the line.
#[derive(Clone, Default, PartialEq)]
struct Names {
    stream: Option<Range<usize>>,
    namespace: Option<Range<usize>>,
}

/// The type of a record, as in its line.
const RECORD: &[u8] = br#""RECORD""#;

enum Scanned<'a> {
    Record(Record<'a>),
    /// The line of any other object, without control codes around it.
    Other(&'a [u8]),
}

/// Scans a line once, in whatever order its members are.
#[inline(always)]
fn scan<'a>(line: &'a [u8], earlier: &'a mut Earlier) -> Result<Scanned<'a>, Broken> {
    let mut parts = Parts::default();
    let mut scanner = Scanner::new(line, &mut earlier.hints);
    let scanned = if let Some(names) = earlier.opening.of(line, &mut scanner) {
        (parts.kind, parts.names) = (Some(RECORD), names.clone());
        parts.rest_of_record(line, &mut scanner, &mut earlier.closing)
    } else if scanner.kind() == Some(Kind::Object) {
        scanner.object(|it, key| parts.member(line, it, key))
    } else {
        return scan_within(line, earlier);
    };
    let length = scanner.position();
    let scanned = scanned.and_then(|()| match scanner.end() {
        Err(_) if damage::is_control_codes(&line[length..]) => Ok(()),
        other => other,
    });
    let text = |it: &Range<usize>| &line[it.clone()];
    let (stream, namespace) = (parts.names.stream.as_ref().map(text), parts.names.namespace.as_ref().map(text));
    let name = || stream.map(string_text);
    if let Err(fault) = scanned {
        let has_begun = stream.is_some() || parts.data.is_some();
        return Err(if has_begun { Broken::lost(name(), fault) } else { damage::classify(line, None, fault) });
    }
    if scanner.flawed() {
        return Err(Broken::Repairable);
    }
    if parts.kind != Some(RECORD) {
        return match parts.data {
            Some(_) if parts.kind.is_none() => Err(Broken::lost(name(), "a message has no type")),
            Some(_) => Err(Broken::lost(name(), "it carries a record, but is not of type RECORD")),
            None => Ok(Scanned::Other(&line[..length])),
        };
    }
    if parts.is_ambiguous || parts.has_state {
        return Err(Broken::lost(name(), "a RECORD carries more than one record"));
    }
    match (stream, parts.data) {
        (Some(stream), Some(data)) => {
            if let Some((place, names)) = parts.opening {
                earlier.opening.learn(line, place, names);
            }
            let Parts { changes, file, .. } = parts;
            let found = &earlier.hints.found;
            Ok(Scanned::Record(Record { stream, namespace, data, changes, file, found, repairs: &[] }))
        }
        (_, None) => Err(Broken::lost(name(), "a RECORD has no data object")),
        (None, _) => Err(Broken::lost(None, "a RECORD names no stream")),
    }
}

/// A function of its own, so that [`scan`] can be inlined elsewhere.
#[cold]
#[inline(never)]
fn scan_within<'a>(line: &'a [u8], earlier: &'a mut Earlier) -> Result<Scanned<'a>, Broken> {
    scan(damage::message_within(line)?, earlier)
}

/// The parts of a RECORD found so far.
#[derive(Default)]
struct Parts<'a> {
    kind: Option<&'a [u8]>,
    names: Names,
    data: Option<Payload<'a>>,
    changes: Option<&'a [u8]>,
    file: Option<&'a [u8]>,
    /// It has two payloads, of which one would be lost.
    is_ambiguous: bool,
    has_state: bool,
    /// Where the payload begins, and what was found before it, if the line begins as those of most records do.
    opening: Option<(Place, Names)>,
}

impl<'a> Parts<'a> {
    /// Whether there is nothing so far but the type and the stream of a record.
    fn is_usual(&self) -> bool {
        self.data.is_none() && self.is_bare()
    }

    /// Whether nothing of a record so far is of interest but its type, its stream and its payload.
    fn is_bare(&self) -> bool {
        self.kind == Some(RECORD) && self.changes.is_none() && self.file.is_none() && !self.has_state
    }

    /// From the payload on.
    #[inline]
    fn rest_of_record(
        &mut self,
        line: &'a [u8],
        scanner: &mut Scanner<'a, '_>,
        closing: &mut Closing,
    ) -> Result<(), Fault> {
        self.data = Some(line::payload(line, scanner, &DELETION)?);
        closing.scan(line, scanner, |it| {
            let names = self.names.clone();
            it.rest_of_object(|it, key| self.member_of_record(line, it, key))?;
            it.rest_of_object(|it, key| self.member(line, it, key))?;
            Ok(self.names == names && self.is_bare() && !self.is_ambiguous)
        })
    }

    #[inline]
    fn member(&mut self, line: &'a [u8], scanner: &mut Scanner<'a, '_>, key: Key<'a>) -> Result<(), Fault> {
        if key.is("type") {
            let kind = &line[scanner.value()?];
            self.kind = Some(kind);
            if kind != RECORD {
                scanner.pause_hints();
            }
            Ok(())
        } else if key.is("record") && scanner.kind() == Some(Kind::Object) {
            scanner.object(|it, key| self.member_of_record(line, it, key))
        } else {
            self.has_state |= key.is("state") && scanner.kind() == Some(Kind::Object);
            scanner.value().map(drop)
        }
    }

    #[inline]
    fn member_of_record(&mut self, line: &'a [u8], scanner: &mut Scanner<'a, '_>, key: Key<'a>) -> Result<(), Fault> {
        // The common members first.
        if key.is("data") && scanner.kind() == Some(Kind::Object) {
            if self.is_usual() && !scanner.flawed() {
                self.opening = Some((scanner.place(), self.names.clone()));
            }
            self.is_ambiguous |= self.data.is_some();
            self.data = Some(line::payload(line, scanner, &DELETION)?);
        } else if key.is("stream") && scanner.kind() == Some(Kind::String) {
            self.names.stream = Some(scanner.value()?);
        } else if key.is("emitted_at") {
            scanner.value()?;
        } else if key.is("namespace") && scanner.kind() == Some(Kind::String) {
            self.names.namespace = Some(scanner.value()?);
        } else if key.is("meta") && scanner.kind() == Some(Kind::Object) {
            scanner.object(|it, key| {
                let changes = key.is("changes") && it.kind() == Some(Kind::Array);
                let value = &line[it.value()?];
                if changes && value != b"[]" {
                    self.changes = Some(value);
                }
                Ok(())
            })?;
        } else if (key.is("file") || key.is("file_reference")) && scanner.kind() == Some(Kind::Object) {
            self.file = Some(&line[scanner.value()?]);
        } else {
            scanner.value()?;
        }
        Ok(())
    }
}

/// CDC sources set this in rows that were deleted at the source.
const DELETION: DeletionMark = DeletionMark { member: "_ab_cdc_deleted_at", is_set: |value| value != b"null" };

/// Parses a message other than a RECORD. Only a state, an error and an INCOMPLETE status can be lost; anything else
/// that is not as the protocol says is noise.
#[cold]
fn parse(line: &[u8]) -> Result<Message, Broken> {
    let members = line::members(line)?;
    let member = |name: &str| serde_json::from_str::<Value>(members.get(name)?.get()).ok();
    let kind = member("type");
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
    if kind == "STATE" {
        let state: StateMessage = line::required(&members, "state")?;
        return match state.lacks_a_part()
            && members.get("state").and_then(Members::of).is_some_and(|it| is_misspelt(&it))
        {
            true => Err(Broken::lost(None, "a STATE has a member whose name is damaged")),
            false => Ok(Message::Event(Event::State(state::update(state)?))),
        };
    }
    if carries_state(kind, &members) {
        return Err(Broken::lost(None, "it carries a state, but is not of type STATE"));
    }
    let raw = |name: &str| members.get(name).map(ToOwned::to_owned);
    let message = match kind {
        "LOG" => member("log").and_then(log).map(Message::Event),
        "CONTROL" => control(&members).map(Message::Event),
        "SPEC" => raw("spec").map(Message::Spec),
        "CATALOG" => raw("catalog").map(Message::Catalog),
        "CONNECTION_STATUS" => member("connectionStatus").as_ref().and_then(connection_status),
        _ => member("trace").and_then(trace).map(Message::Event),
    };
    message.ok_or(Broken::Noise)
}

/// Whether a part of a state is absent because its name is damaged. Without it, the stream would be reset.
fn is_misspelt(state: &Members) -> bool {
    let part = |name: &str| state.get(name).and_then(Members::of);
    let has_nearly = |members: &Members, name: &str| {
        // One byte that became a backslash changes two.
        members.get(name).is_none() && members.0.iter().any(|(it, _)| damage::is_nearly(it, name, 2))
    };
    let is_misspelt = |stream: &Members| has_nearly(stream, "stream_state");
    part("stream").is_some_and(|it| is_misspelt(&it))
        || part("global").is_some_and(|it| {
            let streams = it.get("stream_states").map(|it| serde_json::from_str::<Vec<Members>>(it.get()));
            has_nearly(&it, "stream_states")
                || has_nearly(&it, "shared_state")
                || streams.into_iter().flatten().flatten().any(|it| is_misspelt(&it))
        })
}

/// Whether a message that is not called a STATE holds one.
fn carries_state(kind: &str, members: &Members) -> bool {
    let Some(state) = members.get("state").and_then(Members::of) else { return false };
    let is = |raw: Option<&RawValue>, test: fn(&str) -> bool| {
        raw.and_then(|it| serde_json::from_str::<Cow<str>>(it.get()).ok()).is_some_and(|it| test(&it))
    };
    let is_named =
        |(name, value): &(String, &RawValue)| damage::is_nearly(name, "type", 1) && is(Some(value), |it| it == "STATE");
    damage::is_nearly(kind, "STATE", 1)
        || members.0.iter().any(is_named)
        || is(state.get("type"), |it| matches!(it, "STREAM" | "GLOBAL" | "LEGACY"))
        || state.get("global").and_then(Members::of).is_some()
        || state.get("stream").and_then(Members::of).is_some_and(|it| it.get("stream_descriptor").is_some())
}

fn log(log: Value) -> Option<Event<'static>> {
    let message = match &log {
        Value::Object(members) => members.get("message").and_then(text).or_else(|| text(&log)),
        other => text(other),
    };
    let mut fields = Fields::new();
    if let Some(trace) = log.get("stack_trace").and_then(text) {
        fields.insert("stack_trace".into(), trace.into());
    }
    let level = log.get("level").and_then(level).unwrap_or(Level::Info);
    Some(Event::Log { level, message: message?, fields })
}

/// A level by its name, or by its number in Python's logging.
fn level(level: &Value) -> Option<Level> {
    let Some(number) = number(level) else { return level.as_str().and_then(Level::named) };
    Some(match number {
        40.0.. => Level::Error,
        30.0.. => Level::Warn,
        10.0..20.0 => Level::Debug,
        _ => Level::Info,
    })
}

fn trace(trace: Value) -> Option<Event<'static>> {
    let member = |name: &str| trace.get(name).filter(|it| !it.is_null());
    match (trace.get("type").and_then(Value::as_str), member("error"), member("stream_status"), member("estimate")) {
        (Some("ERROR"), error, ..) => Some(Event::Error(source_error(error.unwrap_or(&Value::Null)))),
        (None, Some(error), ..) => Some(Event::Error(source_error(error))),
        (Some("STREAM_STATUS") | None, _, Some(status), _) => stream_status(status),
        (Some("ESTIMATE") | None, .., Some(it)) => {
            let of = |name: &str| it.get(name).and_then(number);
            Some(Event::Estimate { stream: stream_id(it), rows: of("row_estimate"), bytes: of("byte_estimate") })
        }
        (Some("ANALYTICS"), ..) => Some(Event::Noise),
        _ => None,
    }
}

/// The stream that a descriptor names, or an object like it.
fn stream_id(descriptor: &Value) -> Option<StreamId> {
    let name = descriptor.get("name")?.as_str()?.to_owned();
    let namespace = descriptor.get("namespace").and_then(Value::as_str).map(str::to_owned);
    Some(StreamId { namespace, name })
}

/// The message of an error trace without one.
const NO_MESSAGE: &str = "the connector reported an error without a message";

/// The CDK's message for an exception that the connector does not handle: useless without its cause.
const UNFORESEEN: &str = "Something went wrong in the connector";

fn source_error(error: &Value) -> SourceError {
    if !error.is_object() {
        let message = text(error).unwrap_or_else(|| NO_MESSAGE.to_owned());
        return SourceError { message, ..SourceError::default() };
    }
    let member = |name: &str| error.get(name).and_then(text);
    let (internal_message, stack_trace) = (member("internal_message"), member("stack_trace"));
    let last_line = stack_trace.as_deref().and_then(|it| it.trim_end().lines().next_back()).map(str::to_owned);
    let mut fields = Fields::new();
    let details = [
        ("internal_message", internal_message.clone()),
        ("stack_trace", stack_trace),
        ("failure_type", member("failure_type")),
    ];
    for (name, value) in details {
        if let Some(value) = value {
            fields.insert(name.into(), value.into());
        }
    }
    let cause = match internal_message {
        // `'count'` alone is useless: `KeyError: 'count'`, the trace's last line, is better.
        Some(word) if !word.contains(' ') => last_line.or(Some(word)),
        internal => internal,
    };
    let message = match (member("message"), cause) {
        (Some(message), Some(cause)) if message.starts_with(UNFORESEEN) => format!("{UNFORESEEN}: {cause}"),
        (message, cause) => message.or(cause).unwrap_or_else(|| NO_MESSAGE.to_owned()),
    };
    SourceError { message, stream: error.get("stream_descriptor").and_then(stream_id), fields }
}

fn stream_status(it: &Value) -> Option<Event<'static>> {
    let phase = match it.get("status")?.as_str()? {
        "STARTED" => Phase::Started,
        "RUNNING" => Phase::Running,
        "COMPLETE" => Phase::Complete,
        "INCOMPLETE" => Phase::Incomplete,
        _ => return None,
    };
    let Some(stream) = it.get("stream_descriptor").and_then(stream_id) else {
        let message = "a stream is INCOMPLETE, and its status does not name it".to_owned();
        return (phase == Phase::Incomplete).then(|| Event::Error(SourceError { message, ..SourceError::default() }));
    };
    let reasons = it.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let reset = reasons.filter_map(|it| number(it.get("rate_limited")?.get("quota_reset")?)).next();
    Some(Event::Status(Status { stream, phase, pause: reset.and_then(until) }))
}

/// From now until an epoch in milliseconds.
fn until(epoch_ms: f64) -> Option<Duration> {
    let at = UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(epoch_ms / 1000.0).ok()?)?;
    at.duration_since(SystemTime::now()).ok()
}

fn control(members: &Members) -> Option<Event<'static>> {
    let config =
        members.get("control").and_then(Members::of)?.get("connectorConfig").and_then(Members::of)?.get("config");
    if let Some(config) = config
        && Members::of(config).is_some()
    {
        return Some(Event::Config(config.to_owned()));
    }
    let message = "the connector sent a new config that is not an object: it is ignored".to_owned();
    Some(Event::Log { level: Level::Warn, message, fields: Fields::new() })
}

fn connection_status(it: &Value) -> Option<Message> {
    let message = it.get("message").and_then(text);
    let status = it.get("status")?;
    let succeeded = status.as_str().is_some_and(|it| it.eq_ignore_ascii_case("SUCCEEDED"));
    Some(Message::ConnectionStatus { succeeded, message })
}

#[cfg(test)]
mod tests;
