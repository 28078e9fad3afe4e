//! What the lines of both protocols have in common: a record's payload is sliced out of its line, everything else is
//! parsed.

use serde::Deserialize;

use super::{Broken, Payload};
use crate::json::hints::Hints;
use crate::json::members::Members;
use crate::json::scan::{Fault, Scanner};

/// The member by which a source tells that a row was deleted.
#[derive(Clone, Copy)]
pub struct DeletionMark {
    pub member: &'static str,
    /// Whether this value of it, as JSON, is a deletion.
    pub is_set: fn(&[u8]) -> bool,
}

/// Scans a record's payload, an object. Afterwards the scanner's hints have found the watched members in it.
#[inline]
pub fn payload<'a>(
    line: &'a [u8],
    scanner: &mut Scanner<'a, '_>,
    deletion: &DeletionMark,
) -> Result<Payload<'a>, Fault> {
    let start = scanner.position();
    let (mut has_meta, mut deleted) = (false, false);
    scanner.forget_found();
    scanner.object(|it, key| {
        // `_meta` and the markers of deleted rows begin like this.
        let is_special = key.may_begin_with(b'_');
        if !is_special && key.watched.is_none() {
            return it.value().map(drop);
        }
        let value = it.value()?;
        if is_special {
            has_meta |= key.is("_meta");
            if key.is(deletion.member) {
                deleted = (deletion.is_set)(&line[value.clone()]);
            }
        }
        if let Some(name) = key.watched {
            it.note(name, value);
        }
        Ok(())
    })?;
    scanner.rebase_found(start);
    Ok(Payload { bytes: &line[start..scanner.position()], has_meta, deleted })
}

/// A line that is a payload and nothing else.
pub fn bare_payload<'a>(line: &'a [u8], hints: &mut Hints, deletion: &DeletionMark) -> Result<Payload<'a>, Broken> {
    let mut scanner = Scanner::new(line, hints);
    // Skips white space: the payload begins at its brace.
    scanner.kind();
    let data = payload(line, &mut scanner, deletion)?;
    scanner.end()?;
    if scanner.flawed() { Err(Broken::Repairable) } else { Ok(data) }
}

/// The members of a message that is not a record.
pub fn members(line: &[u8]) -> Result<Members<'_>, Broken> {
    serde_json::from_slice(line).map_err(|error| Broken::lost(None, without_values(&error)))
}

/// A member that a message can't do without. The error quotes nothing of it.
pub fn required<'a, T: Deserialize<'a>>(members: &Members<'a>, name: &str) -> Result<T, Broken> {
    let raw = members.get(name).ok_or_else(|| Broken::lost(None, format!("a message lacks its `{name}`")))?;
    serde_json::from_str(raw.get()).map_err(|error| Broken::lost(None, format!("`{name}`: {}", without_values(&error))))
}

pub fn without_values(error: &serde_json::Error) -> String {
    format!("not what the protocol says, at column {}", error.column())
}
