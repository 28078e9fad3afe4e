//! Messages: decodes one line of a tap's stdout (S1). Records are sliced, everything else is parsed.

use std::ops::Range;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::catalog;
use crate::json::hints::Hints;
use crate::json::members::Members;
use crate::json::scan::{Fault, Key, Kind, Place, Scanner, string_text};
use crate::upstream::envelope::{Closing, Opening};
use crate::upstream::{Broken, Payload, damage, line, line::DeletionMark};

/// CDC taps set this in rows that were deleted at the source. Some set it in all rows, to an empty text or false.
pub const DELETION: DeletionMark =
    DeletionMark { member: "_sdc_deleted_at", is_set: |value| !matches!(value, b"null" | b"false" | b"\"\"") };

pub enum Message<'a> {
    /// The stream is a JSON string as in the line, quotes included.
    Record {
        stream: &'a [u8],
        data: Payload<'a>,
    },
    Schema {
        stream: String,
        schema: Value,
        key: Vec<String>,
    },
    /// The `value`, unchanged.
    State(Box<RawValue>),
    ActivateVersion {
        stream: String,
    },
    Batch {
        stream: String,
        files: Vec<PathBuf>,
        gzip: bool,
    },
    /// A type that is not in the specification.
    Other(String),
}

/// Whether a type, as in its line, is that of a record.
fn is_record(kind: &[u8]) -> bool {
    kind.eq_ignore_ascii_case(br#""RECORD""#)
}

/// What is remembered of earlier lines, to expect the same again.
#[derive(Default)]
pub struct Earlier {
    pub hints: Hints,
    /// Where the line of a record names its type and stream.
    opening: Opening<[Option<Range<usize>>; 2]>,
    closing: Closing,
}

/// A function of its own, so that [`message`] is not recursive and can be inlined.
#[cold]
fn message_within<'a>(line: &'a [u8], earlier: &mut Earlier) -> Result<Message<'a>, Broken> {
    message(damage::message_within(line)?, earlier)
}

/// The parts of a message found so far.
#[derive(Default)]
struct Parts<'a> {
    kind: Option<Range<usize>>,
    stream: Option<Range<usize>>,
    data: Option<Payload<'a>>,
    /// It has two payloads, of which one would be lost.
    is_ambiguous: bool,
    /// Where the payload begins, and what was found before it.
    opening: Option<(Place, [Option<Range<usize>>; 2])>,
}

impl<'a> Parts<'a> {
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
            let names = [self.kind.clone(), self.stream.clone()];
            it.rest_of_object(|it, key| self.member(line, it, key))?;
            Ok([&self.kind, &self.stream] == names.each_ref() && !self.is_ambiguous)
        })
    }

    #[inline]
    fn member(&mut self, line: &'a [u8], scanner: &mut Scanner<'a, '_>, key: Key<'a>) -> Result<(), Fault> {
        if key.is("record") && scanner.kind() == Some(Kind::Object) {
            self.is_ambiguous |= self.data.is_some();
            let is_usual = self.kind.clone().is_some_and(|it| is_record(&line[it])) && self.data.is_none();
            if is_usual && !scanner.flawed() {
                self.opening = Some((scanner.place(), [self.kind.clone(), self.stream.clone()]));
            }
            self.data = Some(line::payload(line, scanner, &DELETION)?);
        } else if key.is("type") && scanner.kind() == Some(Kind::String) {
            let kind = scanner.value()?;
            if !is_record(&line[kind.clone()]) {
                scanner.pause_hints();
            }
            self.kind = Some(kind);
        } else if key.is("stream") && scanner.kind() == Some(Kind::String) {
            self.stream = Some(scanner.value()?);
        } else {
            scanner.value()?;
        }
        Ok(())
    }
}

/// Scans a line once, in whatever order its members are.
#[inline]
pub fn message<'a>(line: &'a [u8], earlier: &mut Earlier) -> Result<Message<'a>, Broken> {
    let mut parts = Parts::default();
    let mut scanner = Scanner::new(line, &mut earlier.hints);
    let scanned = if let Some(names) = earlier.opening.of(line, &mut scanner) {
        [parts.kind, parts.stream] = names.clone();
        parts.rest_of_record(line, &mut scanner, &mut earlier.closing)
    } else if scanner.kind() == Some(Kind::Object) {
        scanner.object(|it, key| parts.member(line, it, key))
    } else {
        return message_within(line, earlier);
    };
    let length = scanner.position();
    let scanned = scanned.and_then(|()| match scanner.end() {
        Err(_) if damage::is_control_codes(&line[length..]) => Ok(()),
        other => other,
    });
    let text = |it: &Range<usize>| &line[it.clone()];
    let (kind, stream) = (parts.kind.as_ref().map(text), parts.stream.as_ref().map(text));
    let name = || stream.map(string_text);
    let data = parts.data;
    if let Err(fault) = scanned {
        return Err(if data.is_some() { Broken::lost(name(), fault) } else { damage::classify(line, name(), fault) });
    }
    if scanner.flawed() {
        return Err(Broken::Repairable);
    }
    let is_record = kind.is_some_and(is_record);
    match (stream, data) {
        _ if parts.is_ambiguous => Err(Broken::lost(name(), "a RECORD carries more than one record")),
        (Some(stream), Some(data)) if is_record => {
            if let Some((place, names)) = parts.opening {
                earlier.opening.learn(line, place, names);
            }
            Ok(Message::Record { stream, data })
        }
        (None, Some(_)) if is_record => Err(Broken::lost(None, "a RECORD names no stream")),
        (_, Some(_)) if kind.is_none() => Err(Broken::lost(name(), "a message has no type")),
        (_, Some(_)) => Err(Broken::lost(name(), "it carries a record, but is not of type RECORD")),
        // An Avro schema that is logged is an object of type `record`, too.
        (None, None) if is_record && kind != Some(br#""RECORD""#) => Err(Broken::Noise),
        (_, None) if is_record => Err(Broken::lost(name(), "a RECORD has no record object")),
        _ => parse(kind.map(string_text).as_deref(), &line[..length]),
    }
}

/// Parses a message other than a RECORD. Only a STATE and a BATCH can be lost; anything else that is not as the
/// specification says is noise.
fn parse<'a>(kind: Option<&str>, line: &[u8]) -> Result<Message<'a>, Broken> {
    let members = line::members(line)?;
    let text = |name: &str| members.get(name).and_then(|it| serde_json::from_str::<String>(it.get()).ok());
    let kind = kind.map(str::to_ascii_uppercase);
    match kind.as_deref() {
        Some("STATE") => line::required(&members, "value").map(Message::State),
        Some("BATCH") => batch(&members),
        _ if carries_state(kind.as_deref(), &members) => {
            Err(Broken::lost(None, "it carries a state, but is not of type STATE"))
        }
        _ if members.get("manifest").is_some() && members.get("encoding").is_some() => {
            Err(Broken::lost(text("stream").map(Into::into), "it carries a batch, but is not of type BATCH"))
        }
        Some("SCHEMA") => {
            let stream = text("stream").ok_or(Broken::Noise)?;
            let member = |name: &str| members.get(name).and_then(|it| serde_json::from_str::<Value>(it.get()).ok());
            let schema = member("schema").unwrap_or(Value::Null);
            // Required (S3), but sometimes missing.
            let key = member("key_properties").as_ref().map(catalog::names).unwrap_or_default();
            Ok(Message::Schema { stream, schema, key })
        }
        Some("ACTIVATE_VERSION") => Ok(Message::ActivateVersion { stream: text("stream").ok_or(Broken::Noise)? }),
        Some(other) => Ok(Message::Other(other.to_owned())),
        None => Err(Broken::Noise),
    }
}

/// Whether a message that is not called a STATE holds one.
fn carries_state(kind: Option<&str>, members: &Members) -> bool {
    let Some(value) = members.get("value") else { return false };
    let is_state = |raw: &RawValue| raw.get().eq_ignore_ascii_case(r#""STATE""#);
    kind.is_some_and(|it| damage::is_nearly(it, "STATE", 1))
        || members.0.iter().any(|(name, value)| damage::is_nearly(name, "type", 1) && is_state(value))
        || Members::of(value).is_some_and(|it| it.get("bookmarks").and_then(Members::of).is_some())
}

#[derive(Deserialize)]
struct Encoding {
    format: Option<String>,
    compression: Option<String>,
}

/// S13: files that can't be read would be lost.
fn batch<'a>(members: &Members) -> Result<Message<'a>, Broken> {
    let stream: String = line::required(members, "stream")?;
    let lost = |reason: String| Broken::Lost { stream: Some(stream.clone()), reason };
    let encoding: Encoding = line::required(members, "encoding")?;
    let manifest: Vec<String> = line::required(members, "manifest")?;
    let gzip = match (encoding.format.as_deref(), encoding.compression.as_deref()) {
        (Some("jsonl"), Some("gzip")) => true,
        (Some("jsonl"), None | Some("none")) => false,
        (format, compression) => {
            let name = |it: Option<&str>| it.unwrap_or("none").to_owned();
            return Err(lost(format!(
                "its BATCH files have format {} and compression {}: flow-shim reads jsonl, uncompressed or gzip (see the tap's batch_config)",
                name(format),
                name(compression)
            )));
        }
    };
    let files: Option<Vec<PathBuf>> = manifest.iter().map(|it| file_of(it)).collect();
    let files = files
        .ok_or_else(|| lost("its BATCH files are not on this machine: only file:// URLs can be read".to_owned()))?;
    Ok(Message::Batch { stream, files, gzip })
}

/// The path of a `file://` URL. The SDK writes paths as they are, so a file of the literal name comes first (S18).
fn file_of(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file://").map(|it| it.strip_prefix("localhost").unwrap_or(it))?;
    let literal = PathBuf::from(path);
    if !literal.is_absolute() {
        return None;
    }
    let decoded = percent_decode_str(path).decode_utf8().ok();
    Some(decoded.map(|it| PathBuf::from(&*it)).filter(|_| !literal.exists()).unwrap_or(literal))
}

#[cfg(test)]
mod tests;
