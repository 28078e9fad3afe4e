//! The values of records, and the JSON that they become (V13, V17). Values are exact: each has the digits that the connector
//! sent.

use std::io::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::table::Kind;
use super::wire::{Content, Fields, Malformed};
use crate::json::compact::compact;
use crate::json::hints::Hints;
use crate::json::pointer;
use crate::json::repair::{Repair, What, repair};
use crate::json::scan::Scanner;
use crate::json::watch::{Found, Watchlist};

/// A value as it is in a message. Text and bytes are where they are in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f32),
    Double(f64),
    Date(Timestamp),
    NaiveDatetime(Timestamp),
    UtcDatetime(Timestamp),
    Time(Timestamp),
    Binary(Range<usize>),
    Json(Range<usize>),
    Decimal(Range<usize>),
    /// Text or XML.
    Text(Range<usize>),
}

/// Seconds since 1970, and nanoseconds after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    pub seconds: i64,
    pub nanos: i32,
}

/// Why a value can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueProblem {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("it has a value of kind {0}, which flow-shim does not know")]
    Unknown(u32),
}

impl Value {
    /// The value that a part of a message holds. Of several the last one counts; without any it is null (V13).
    pub fn of(message: &[u8], part: Range<usize>) -> Result<Self, ValueProblem> {
        let mut value = Self::Null;
        for field in Fields::of(message, part) {
            let (number, content) = field?;
            value = match number {
                1 => content.varint().map(|_| Self::Null)?,
                2 => Self::Bool(content.varint()? != 0),
                // 32 bits, whatever else a varint has.
                3 | 4 => Self::Integer((content.varint()? as i32).into()),
                5 => Self::Integer(content.varint()? as i64),
                6 => match content {
                    Content::Fixed32(bits) => Self::Float(f32::from_bits(bits)),
                    _ => return Err(Malformed.into()),
                },
                7 => match content {
                    Content::Fixed64(bits) => Self::Double(f64::from_bits(bits)),
                    _ => return Err(Malformed.into()),
                },
                8 => Self::Date(Timestamp::of(message, content.bytes()?)?),
                9 => Self::NaiveDatetime(Timestamp::of(message, content.bytes()?)?),
                10 => Self::UtcDatetime(Timestamp::of(message, content.bytes()?)?),
                11 => Self::Decimal(content.bytes()?),
                13 | 15 => Self::Text(content.bytes()?),
                12 => Self::Binary(content.bytes()?),
                14 => Self::Json(content.bytes()?),
                16 => Self::Time(Timestamp::of(message, content.bytes()?)?),
                other => return Err(ValueProblem::Unknown(other)),
            };
        }
        Ok(value)
    }

    /// The type of a column that has such values; `None` of null.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(_) => Kind::Boolean,
            Self::Integer(_) => Kind::Long,
            Self::Float(_) | Self::Double(_) => Kind::Double,
            Self::Date(_) => Kind::NaiveDate,
            Self::NaiveDatetime(_) => Kind::NaiveDatetime,
            Self::UtcDatetime(_) => Kind::UtcDatetime,
            Self::Time(_) => Kind::NaiveTime,
            Self::Binary(_) => Kind::Binary,
            Self::Json(_) => Kind::Json,
            Self::Decimal(_) => Kind::Decimal,
            Self::Text(_) => Kind::String,
        })
    }

    /// Writes the value of a column.
    #[inline]
    pub fn write(&self, message: &[u8], column: &str, out: &mut Output) {
        let json = &mut out.json;
        match self {
            Self::Null => json.extend_from_slice(b"null"),
            Self::Bool(true) => json.extend_from_slice(b"true"),
            Self::Bool(false) => json.extend_from_slice(b"false"),
            Self::Integer(it) => json.extend_from_slice(itoa::Buffer::new().format(*it).as_bytes()),
            Self::Float(it) if it.is_finite() => display(json, format_args!("{it:?}")),
            Self::Double(it) if it.is_finite() => display(json, format_args!("{it:?}")),
            Self::Float(_) | Self::Double(_) => {
                json.extend_from_slice(b"null");
                out.note(column, What::NotANumber);
            }
            Self::Date(it) => it.write(json, Parts { date: true, time: false, zone: "" }),
            Self::NaiveDatetime(it) => it.write(json, Parts { date: true, time: true, zone: "" }),
            Self::UtcDatetime(it) => it.write(json, Parts { date: true, time: true, zone: "Z" }),
            Self::Time(it) => it.write(json, Parts { date: false, time: true, zone: "" }),
            Self::Decimal(range) | Self::Text(range) => out.text(&message[range.clone()], column),
            Self::Json(range) => out.json(&message[range.clone()], column),
            Self::Binary(range) => {
                let bytes = &message[range.clone()];
                json.push(b'"');
                let start = json.len();
                json.resize(start + bytes.len().div_ceil(3) * 4, 0);
                // Cannot fail: the slice has the length of the encoding.
                let _ = BASE64.encode_slice(bytes, &mut json[start..]);
                json.push(b'"');
            }
        }
    }
}

fn display(out: &mut Vec<u8>, text: std::fmt::Arguments) {
    // A vector takes everything.
    let _ = out.write_fmt(text);
}

/// Appends a JSON string.
pub fn quote(text: &str, out: &mut Vec<u8>) {
    // A vector takes everything.
    let _ = serde_json::to_writer(out, text);
}

/// JSON that is being written, and what there is to say of it.
#[derive(Default)]
pub struct Output {
    pub json: Vec<u8>,
    /// What JSON can't represent.
    pub repairs: Vec<Repair>,
    /// The watched members.
    pub found: Found,
    hints: Hints,
}

impl Output {
    /// Starts over.
    pub fn clear(&mut self) {
        self.json.clear();
        self.repairs.clear();
        self.found.clear();
    }

    pub fn watch(&mut self, names: &Watchlist) {
        self.hints.watch(names.clone());
    }

    fn note(&mut self, column: &str, what: What) {
        self.repairs.push(Repair { field: pointer::from_path([column]), what });
    }

    fn text(&mut self, bytes: &[u8], column: &str) {
        match std::str::from_utf8(bytes) {
            Ok(text) => quote(text, &mut self.json),
            Err(_) => {
                self.note(column, What::Text);
                quote(&String::from_utf8_lossy(bytes), &mut self.json);
            }
        }
    }

    /// Appends what is JSON as it is, on one line; everything else is text.
    fn json(&mut self, bytes: &[u8], column: &str) {
        let json = bytes.trim_ascii();
        let Some(flawed) = self.scan(json) else { return self.text(bytes, column) };
        if !flawed && memchr::memchr2(b'\n', b'\r', json).is_none() {
            return self.append(json);
        }
        let (repaired, found) = if flawed { repair(json) } else { (json.to_vec(), Vec::new()) };
        let within = |it: Repair| Repair { field: pointer::from_path([column]) + &it.field, ..it };
        self.repairs.extend(found.into_iter().map(within));
        // Line breaks end a message.
        let line = compact(&repaired);
        self.scan(&line);
        self.append(&line);
    }

    /// Looks for watched members in a text. Whether it has to be repaired; none if it is not JSON.
    fn scan(&mut self, text: &[u8]) -> Option<bool> {
        let mut scanner = Scanner::new(text, &mut self.hints);
        scanner.forget_found();
        scanner.value().and_then(|_| scanner.end()).ok()?;
        Some(scanner.flawed())
    }

    /// Appends a text that was scanned.
    fn append(&mut self, text: &[u8]) {
        self.found.note_all_inside(&self.hints.found, self.json.len());
        self.json.extend_from_slice(text);
    }
}

/// What of a timestamp is written.
#[derive(Clone, Copy)]
struct Parts {
    date: bool,
    time: bool,
    zone: &'static str,
}

const DAY: i64 = 24 * 60 * 60;

impl Timestamp {
    fn of(message: &[u8], part: Range<usize>) -> Result<Self, Malformed> {
        let mut it = Self::default();
        for field in Fields::of(message, part) {
            match field? {
                (1, content) => it.seconds = content.varint()? as i64,
                (2, content) => it.nanos = content.varint()? as i32,
                _ => {}
            }
        }
        Ok(it)
    }

    /// Appends a JSON string with ISO 8601: RFC 3339, except that years outside of 0 to 9999 have a sign.
    fn write(self, out: &mut Vec<u8>, parts: Parts) {
        // Nanoseconds belong into one second; a connector that counts otherwise means the sum.
        let nanos = i64::from(self.nanos);
        let seconds = self.seconds.saturating_add(nanos.div_euclid(1_000_000_000));
        let nanos = nanos.rem_euclid(1_000_000_000);
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        out.push(b'"');
        if parts.date {
            let (year, month, day) = civil(days);
            match year {
                0..=9999 => display(out, format_args!("{year:04}-{month:02}-{day:02}")),
                _ => display(out, format_args!("{year:+05}-{month:02}-{day:02}")),
            }
        }
        if parts.time {
            if parts.date {
                out.push(b'T');
            }
            display(out, format_args!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60));
            if nanos > 0 {
                display(out, format_args!(".{nanos:09}"));
                while out.last() == Some(&b'0') {
                    out.pop();
                }
            }
            out.extend_from_slice(parts.zone.as_bytes());
        }
        out.push(b'"');
    }
}

/// The date of a day since 1970-01-01 in the Gregorian calendar (Howard Hinnant's algorithm, which counts from March).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
