//! A record's bytes as a document: `_meta` is put in front of the members that it came with, and those stay as they are.

use std::io::{self, Write};

use crate::dates::Dates;
use crate::flow::response::Output;
use crate::json::hints::Hints;
use crate::json::scan::{Kind, Scanner};
use crate::upstream::{Meta, Payload};

/// What the shim adds to a document.
pub struct Added<'a> {
    pub row_id: u64,
    pub op: Op,
    /// A JSON array of what the source changed in the record's values (A16).
    pub changes: Option<&'a [u8]>,
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
}

/// What stands before a row id in each document of a binding.
pub fn head(binding: usize) -> Vec<u8> {
    format!(r#"{{"captured":{{"binding":{binding},"doc":{{"_meta":{{"row_id":"#).into_bytes()
}

/// What stands around a document and its row id, at the most (the changes left out).
const AROUND: usize = br#"18446744073709551615,"op":"u"},}}"#.len() + 1;

/// An upper bound for the bytes of the message that [`write()`] makes.
#[inline]
pub fn size(head: &[u8], added: &Added, data: &Payload) -> usize {
    head.len() + AROUND + data.bytes.len() + added.changes.map_or(0, |it| it.len() + 12)
}

/// The record with its dates brought to RFC 3339; none where they are.
#[inline]
pub fn normalize<'a>(data: &Payload, dates: &'a mut Dates) -> Option<Payload<'a>> {
    let mut marks = data.meta.as_ref().map_or([0; 3], |it| [it.member.start, it.value.start, it.value.end]);
    let bytes = dates.normalize(data.bytes, &mut marks)?;
    let [member, start, end] = marks;
    let meta = data.meta.as_ref().map(|_| Meta { member: member..end, value: start..end });
    Some(Payload { bytes, meta, deleted: data.deleted })
}

/// Writes a whole `captured` message.
#[inline]
pub fn write<W: Write>(out: &mut Output<W>, head: &[u8], added: &Added, data: &Payload) -> io::Result<()> {
    out.text(head)?;
    out.text(itoa::Buffer::new().format(added.row_id).as_bytes())?;
    out.text(added.op.member())?;
    if let Some(changes) = added.changes {
        out.text(br#","changes":"#)?;
        out.text(changes)?;
    }
    if data.meta.is_some() {
        return with_own_meta(out, added, data);
    }
    // All but the opening brace, whose place ours has taken.
    let rest = &data.bytes[1..];
    out.text(if rest.trim_ascii_start() == b"}" { b"}" } else { b"}," })?;
    out.text(rest)?;
    out.text(b"}}\n")
}

/// A tombstone for a row that is gone.
pub fn write_tombstone<W: Write>(out: &mut Output<W>, head: &[u8], row_id: u64) -> io::Result<()> {
    let added = Added { row_id, op: Op::Delete, changes: None };
    write(out, head, &added, &Payload { bytes: b"{}", meta: None, deleted: true })
}

/// A record that brings a `_meta` keeps its members, all but those that we set.
#[cold]
fn with_own_meta<W: Write>(out: &mut Output<W>, added: &Added, data: &Payload) -> io::Result<()> {
    let Some(meta) = &data.meta else { return Ok(()) };
    let value = &data.bytes[meta.value.clone()];
    let mut hints = Hints::default();
    let mut scanner = Scanner::new(value, &mut hints);
    match scanner.kind() {
        Some(Kind::Object) => {
            let mut kept = Vec::new();
            // It was scanned before, as a part of its line.
            let _ = scanner.object(|it, key| {
                let from = key.position();
                let ours = key.is("row_id") || key.is("op") || (key.is("changes") && added.changes.is_some());
                let to = it.value()?.end;
                if !ours {
                    kept.push(&value[from..to]);
                }
                Ok(())
            });
            for member in kept {
                out.text(b",")?;
                out.text(member)?;
            }
        }
        Some(Kind::Null) | None => {}
        Some(_) => {
            out.text(br#","source":"#)?;
            out.text(value)?;
        }
    }
    out.text(b"}")?;
    let before = data.bytes[1..meta.member.start].trim_ascii_end();
    let after = data.bytes[meta.member.end..data.bytes.len() - 1].trim_ascii();
    let before = before.strip_suffix(b",").unwrap_or(before);
    let after = after.strip_prefix(b",").unwrap_or(after);
    for members in [before, after] {
        if !members.trim_ascii().is_empty() {
            out.text(b",")?;
            out.text(members)?;
        }
    }
    out.text(b"}}}\n")
}
