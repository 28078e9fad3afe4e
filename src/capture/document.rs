//! A record as a document: `_meta` is put in front of the record's own members, which stay as they are.
//!
//! If the record has a `_meta` of its own, its members are kept inside ours, which win. Other duplicate members pass
//! through: Flow keeps both, and which of them its readers see is undefined.

use std::io::{self, Write};

use crate::dates::Dates;
use crate::flow::codec::{CAPTURED_OVERHEAD, Writer};
use crate::json::hints::Hints;
use crate::json::scan::{Kind, Scanner};
use crate::json::watch::Found;
use crate::upstream::Payload;

/// What the shim adds to a document.
pub struct Added<'a> {
    /// A JSON array of what the source changed in the record's values (A16).
    pub changes: Option<&'a [u8]>,
    /// The description of a transferred file, a JSON object (A14).
    pub file: Option<&'a [u8]>,
}

impl Added<'_> {
    pub const NOTHING: Added<'static> = Added { changes: None, file: None };
}

/// F22.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create,
    Update,
    Delete,
}

impl Op {
    fn member(self) -> &'static [u8] {
        match self {
            Self::Create => br#","op":"c""#,
            Self::Update => br#","op":"u""#,
            Self::Delete => br#","op":"d""#,
        }
    }

    /// The end of `_meta`, with other members following.
    fn last_member(self) -> &'static [u8] {
        match self {
            Self::Create => br#","op":"c"},"#,
            Self::Update => br#","op":"u"},"#,
            Self::Delete => br#","op":"d"},"#,
        }
    }
}

const META: &[u8] = br#"{"_meta":{"row_id":"#;

/// What is around the payload, at most.
const OVERHEAD: usize =
    META.len() + br#"18446744073709551615,"op":"u","changes":,"file":,"source":}"#.len() + CAPTURED_OVERHEAD;

/// An upper bound of the length of the message that [`write`] makes.
#[inline]
pub fn size(added: &Added, payload: &Payload) -> usize {
    let length = |it: Option<&[u8]>| it.map_or(0, <[u8]>::len);
    OVERHEAD + payload.bytes.len() + length(added.changes) + length(added.file)
}

/// The record with its dates rewritten to RFC 3339; `None` if they already are.
#[inline]
pub fn normalize<'a>(payload: &Payload, found: &Found, dates: &'a mut Dates) -> Option<Payload<'a>> {
    let bytes = dates.normalize(payload.bytes, found)?;
    Some(Payload { bytes, ..*payload })
}

/// Writes a document.
#[inline]
pub fn write<W: Write>(
    out: &mut Writer<W>,
    binding: usize,
    row_id: u64,
    op: Op,
    added: &Added,
    payload: &Payload,
) -> io::Result<()> {
    let mut digits = itoa::Buffer::new();
    let row_id = digits.format(row_id).as_bytes();
    // The opening brace is ours.
    let rest = &payload.bytes[1..];
    if payload.has_meta || added.changes.is_some() || added.file.is_some() || is_empty(rest) {
        return write_uncommon(out, binding, row_id, op, added, payload);
    }
    out.captured(binding, &[META, row_id, op.last_member(), rest])
}

fn is_empty(rest: &[u8]) -> bool {
    rest.first().is_none_or(|it| *it != b'"') && rest.trim_ascii_start() == b"}"
}

/// Writes a tombstone for a row that no longer exists.
pub fn write_tombstone<W: Write>(out: &mut Writer<W>, binding: usize, row_id: u64) -> io::Result<()> {
    let payload = Payload { bytes: b"{}", has_meta: false, deleted: true };
    write(out, binding, row_id, Op::Delete, &Added::NOTHING, &payload)
}

#[cold]
fn write_uncommon<W: Write>(
    out: &mut Writer<W>,
    binding: usize,
    row_id: &[u8],
    op: Op,
    added: &Added,
    payload: &Payload,
) -> io::Result<()> {
    let mut parts = vec![META, row_id, op.member()];
    for (name, value) in [(&br#","changes":"#[..], added.changes), (br#","file":"#, added.file)] {
        if let Some(value) = value {
            parts.extend([name, value]);
        }
    }
    let (metas, others): (Vec<_>, Vec<_>) = members(payload.bytes).into_iter().partition(|it| it.is_meta);
    // Of several the last one counts, as for most parsers.
    if let Some(own) = metas.last() {
        match own.kind {
            Some(Kind::Object) => {
                let ours = |name: &[u8]| match name {
                    b"row_id" | b"op" => true,
                    b"changes" => added.changes.is_some(),
                    b"file" => added.file.is_some(),
                    _ => false,
                };
                for member in members(own.value).into_iter().filter(|it| !ours(&it.name)) {
                    parts.extend([&b","[..], member.text]);
                }
            }
            Some(Kind::Null) | None => {}
            Some(_) => parts.extend([&br#","source":"#[..], own.value]),
        }
    }
    parts.push(b"}");
    if payload.has_meta {
        for member in others {
            parts.extend([&b","[..], member.text]);
        }
        parts.push(b"}");
    } else {
        let rest = &payload.bytes[1..];
        if !is_empty(rest) {
            parts.push(b",");
        }
        parts.push(rest);
    }
    out.captured(binding, &parts)
}

struct Part<'a> {
    name: std::borrow::Cow<'a, [u8]>,
    is_meta: bool,
    kind: Option<Kind>,
    text: &'a [u8],
    value: &'a [u8],
}

/// The members of an object that was scanned before, as a part of its line.
fn members(object: &[u8]) -> Vec<Part<'_>> {
    let mut hints = Hints::default();
    let mut found = Vec::new();
    let _ = Scanner::new(object, &mut hints).object(|it, key| {
        let kind = it.kind();
        let value = it.value()?;
        let text = &object[key.position()..value.end];
        found.push(Part { name: key.name(), is_meta: key.is("_meta"), kind, text, value: &object[value] });
        Ok(())
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(payload: &str, added: &Added) -> String {
        let mut bytes = Vec::new();
        let mut out = Writer::new(&mut bytes);
        let payload = Payload { bytes: payload.as_bytes(), has_meta: payload.contains("_meta"), deleted: false };
        assert!(size(added, &payload) >= payload.bytes.len());
        write(&mut out, 3, 7, Op::Create, added, &payload).unwrap();
        out.flush().unwrap();
        drop(out);
        let text = String::from_utf8(bytes).unwrap();
        let document = text.strip_prefix(r#"{"captured":{"binding":3,"doc":"#).unwrap();
        document.strip_suffix("}}\n").unwrap().to_owned()
    }

    #[test]
    fn our_meta_comes_first_and_wins() {
        let added = Added { changes: Some(b"[1]"), file: Some(br#"{"f":1}"#) };
        for (payload, want) in [
            ("{}", r#"{"_meta":{"row_id":7,"op":"c"}}"#),
            ("{ }", r#"{"_meta":{"row_id":7,"op":"c"} }"#),
            (r#"{"a": 1 }"#, r#"{"_meta":{"row_id":7,"op":"c"},"a": 1 }"#),
            (r#"{ "a": 1}"#, r#"{"_meta":{"row_id":7,"op":"c"}, "a": 1}"#),
            (r#"{"_meta":null}"#, r#"{"_meta":{"row_id":7,"op":"c"}}"#),
            (r#"{"a":1, "_meta":{"op":"x","z":2}}"#, r#"{"_meta":{"row_id":7,"op":"c","z":2},"a":1}"#),
            (
                r#"{"_meta":{"y":1},"a":1,"_meta":{"z":2},"b":2}"#,
                r#"{"_meta":{"row_id":7,"op":"c","z":2},"a":1,"b":2}"#,
            ),
            (r#"{"_meta":5,"a":1}"#, r#"{"_meta":{"row_id":7,"op":"c","source":5},"a":1}"#),
        ] {
            assert_eq!(written(payload, &Added::NOTHING), want);
        }
        assert_eq!(
            written(r#"{"_meta":{"file":0,"changes":0,"z":1}}"#, &added),
            r#"{"_meta":{"row_id":7,"op":"c","changes":[1],"file":{"f":1},"z":1}}"#
        );
        assert_eq!(written("{}", &added), r#"{"_meta":{"row_id":7,"op":"c","changes":[1],"file":{"f":1}}}"#);
    }
}
