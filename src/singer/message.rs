//! Messages: one line of a tap's stdout, understood (S1). Records are sliced, all else is parsed.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::hints::Hints;
use crate::json::scan::{Kind, Scanner, string_text};
use crate::upstream::line;
use crate::upstream::{Broken, Payload, Watch};

/// CDC taps set this in rows that were deleted at the source.
pub const DELETED_AT: &str = "_sdc_deleted_at";

pub enum Message<'a> {
    /// The stream is a JSON string as it stands in the line.
    Record {
        stream: &'a [u8],
        data: Payload<'a>,
    },
    Schema {
        stream: String,
        schema: Value,
        key: Vec<String>,
    },
    /// The `value`, as it stands in the line.
    State(Box<RawValue>),
    ActivateVersion {
        stream: String,
    },
    Batch {
        stream: String,
        files: Vec<PathBuf>,
        gzip: bool,
    },
    /// Of a type that the specification does not know.
    Other(String),
}

/// Goes once through a line, whatever the order of its members.
#[inline]
pub fn message<'a>(line: &'a [u8], hints: &mut Hints, watch: &mut Watch) -> Result<Message<'a>, Broken> {
    let line = line::without_bom(line);
    let (mut kind, mut stream, mut data) = (None, None, None);
    let mut scanner = Scanner::new(line, hints);
    if scanner.kind() != Some(Kind::Object) {
        return Err(line::not_an_object(line));
    }
    let scanned = scanner
        .object(|it, key| {
            if key.is("record") && it.kind() == Some(Kind::Object) {
                data = Some(line::payload(line, it, watch, DELETED_AT)?);
            } else if key.is("type") && it.kind() == Some(Kind::String) {
                kind = Some(&line[it.value()?]);
            } else if key.is("stream") && it.kind() == Some(Kind::String) {
                stream = Some(&line[it.value()?]);
            } else {
                it.value()?;
            }
            Ok(())
        })
        .and_then(|()| scanner.end());
    let name = || stream.map(string_text);
    if let Err(fault) = scanned {
        let begun = kind.is_some() && (stream.is_some() || data.is_some());
        return Err(if begun || line::is_message(line) { Broken::lost(name(), fault) } else { Broken::Noise });
    }
    if scanner.flawed() {
        return Err(if kind.is_some() { Broken::Repairable } else { Broken::Noise });
    }
    match kind {
        Some(kind) if kind.eq_ignore_ascii_case(br#""RECORD""#) => match (stream, data) {
            (Some(stream), Some(data)) => Ok(Message::Record { stream, data }),
            (_, None) => Err(Broken::lost(name(), "a RECORD has no record object")),
            (None, _) => Err(Broken::lost(None, "a RECORD names no stream")),
        },
        Some(kind) => parse(&string_text(kind).to_ascii_uppercase(), line),
        None if data.is_some() => Err(Broken::lost(name(), "a message has no type")),
        None => Err(Broken::Noise),
    }
}

fn parse<'a>(kind: &str, line: &[u8]) -> Result<Message<'a>, Broken> {
    match kind {
        "STATE" => line::member(line, "value").map(Message::State),
        "SCHEMA" => {
            let stream = line::member(line, "stream")?;
            // Whatever is wrong with it, it is no data.
            let schema = line::member(line, "schema").unwrap_or(Value::Null);
            // Required (S3), and missing now and then.
            let key = line::member::<Option<Vec<String>>>(line, "key_properties").ok().flatten();
            Ok(Message::Schema { stream, schema, key: key.unwrap_or_default() })
        }
        "ACTIVATE_VERSION" => Ok(Message::ActivateVersion { stream: line::member(line, "stream")? }),
        "BATCH" => batch(line),
        other => Ok(Message::Other(other.to_owned())),
    }
}

#[derive(Deserialize)]
struct Encoding {
    format: Option<String>,
    compression: Option<String>,
}

/// S13: what can't be read would be lost.
fn batch<'a>(line: &[u8]) -> Result<Message<'a>, Broken> {
    let stream: String = line::member(line, "stream")?;
    let lost = |reason: String| Broken::Lost { stream: Some(stream.clone()), reason };
    let encoding: Encoding = line::member(line, "encoding")?;
    let manifest: Vec<String> = line::member(line, "manifest")?;
    let gzip = match (encoding.format.as_deref(), encoding.compression.as_deref()) {
        (Some("jsonl"), Some("gzip")) => true,
        (Some("jsonl"), None | Some("none")) => false,
        (format, compression) => {
            let name = |it: Option<&str>| it.unwrap_or("none").to_owned();
            return Err(lost(format!(
                "its BATCH files are of format {}, compression {}: flow-shim reads jsonl, bare or gzip (see the tap's batch_config)",
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

/// The path of a `file://` URL, with its percent signs resolved.
fn file_of(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file://").map(|it| it.strip_prefix("localhost").unwrap_or(it))?;
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok());
        match (byte, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    let path = PathBuf::from(String::from_utf8(bytes).ok()?);
    path.is_absolute().then_some(path)
}
