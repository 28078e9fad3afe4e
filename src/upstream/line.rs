//! What the lines of both protocols have in common: a record's payload is sliced out of its line, everything else is
//! parsed, and a line that carries data is never taken for noise (A1).

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Broken, Payload, Watch};
use crate::json::hints::Hints;
use crate::json::scan::{Fault, Kind, Scanner};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A line without the byte order mark that some runtimes begin their output with.
#[inline]
pub fn without_bom(line: &[u8]) -> &[u8] {
    line.strip_prefix(BOM).unwrap_or(line)
}

/// Scans a record's payload, which is an object. `deleted_at` is the member that is set in rows that were deleted at the
/// source. Notes in `watch` which of the watched members it has.
#[inline]
pub fn payload<'a>(
    line: &'a [u8],
    scanner: &mut Scanner<'a, '_>,
    watch: &mut Watch,
    deleted_at: &str,
) -> Result<Payload<'a>, Fault> {
    let start = scanner.position();
    let (mut has_meta, mut deleted) = (false, false);
    watch.rewind();
    scanner.object(|it, key| {
        if !watch.may_be(&key) {
            return it.value().map(drop);
        }
        has_meta |= key.is("_meta");
        if key.is(deleted_at) {
            deleted = it.kind() != Some(Kind::Null);
        }
        let name = watch.index_of(&key);
        let value = it.value()?;
        if let Some(name) = name {
            watch.note(name, value.start - start..value.end - start);
        }
        Ok(())
    })?;
    Ok(Payload { bytes: &line[start..scanner.position()], has_meta, deleted })
}

/// A line that is only a payload.
pub fn bare_payload<'a>(line: &'a [u8], watch: &mut Watch, deleted_at: &str) -> Result<Payload<'a>, Broken> {
    let mut hints = Hints::default();
    let mut scanner = Scanner::new(line, &mut hints);
    // Skips white space: the payload begins at its brace.
    scanner.kind();
    let data = payload(line, &mut scanner, watch, deleted_at)?;
    scanner.end()?;
    if scanner.flawed() { Err(Broken::Repairable) } else { Ok(data) }
}

/// A line that begins with something else than an object.
pub fn not_an_object(line: &[u8]) -> Broken {
    if carries_data(line) { Broken::lost(None, "a message begins within a line") } else { Broken::Noise }
}

/// Whether a line that can't be read is plainly meant to be a message.
pub fn is_message(line: &[u8]) -> bool {
    let text = line.trim_ascii_start();
    text.strip_prefix(b"{").is_some_and(|it| it.trim_ascii_start().starts_with(b"\"type\"")) || carries_data(line)
}

/// Whether there is a message with data or a state somewhere in a line.
fn carries_data(line: &[u8]) -> bool {
    memchr::memmem::find_iter(line, b"\"type\"").any(|at| {
        let rest = line[at + 6..].trim_ascii_start();
        let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start).unwrap_or_default();
        let is = |kind: &[u8]| value.get(..kind.len()).is_some_and(|it| it.eq_ignore_ascii_case(kind));
        is(b"\"RECORD\"") || is(b"\"STATE\"") || is(b"\"BATCH\"")
    })
}

/// One member of a message, its error told without quoting from it.
pub fn member<'a, T: Deserialize<'a>>(line: &'a [u8], member: &str) -> Result<T, Broken> {
    let line = without_bom(line);
    let mut members: HashMap<Cow<str>, &RawValue> =
        serde_json::from_slice(line).map_err(|error| Broken::lost(None, without_values(&error)))?;
    let raw = members.remove(member).ok_or_else(|| Broken::lost(None, format!("a message lacks its `{member}`")))?;
    serde_json::from_str(raw.get())
        .map_err(|error| Broken::lost(None, format!("`{member}`: {}", without_values(&error))))
}

pub fn without_values(error: &serde_json::Error) -> String {
    format!("not what the protocol says, at column {}", error.column())
}
