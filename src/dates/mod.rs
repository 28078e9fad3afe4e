//! Brings dates to RFC 3339 where a stream's schema declares them. Values that are not valid dates stay as they are.
//!
//! A timestamp without an offset is taken as UTC, whatever the connector's or this machine's time zone is.
//!
//! [`date_schema`] finds out once which values are dates; [`applied`] and [`keywords`] read the schemas for it. For most
//! records [`fast_check`] tells which dates are not right, if any; the others are traversed. [`rewriter`] replaces the values
//! that are not right and nothing else. The same text gives the same result whatever came before it: dates may be keys.
//!
//! This module knows schemas and the text of documents, but no protocol, no stream and not Flow's `_meta`.

mod applied;
mod date_schema;
mod epoch;
mod fast_check;
mod keywords;
mod rewriter;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::ops::Range;

use serde_json::Value;

use crate::json::watch::{Found, Watchlist};
use date_schema::DateSchema;
use fast_check::FastCheck;
use rewriter::Rewriter;
use value::Wanted;

/// A stream's setting for its dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Normalize {
    Off,
    /// `cut` are JSON pointers into a document: a date-time there becomes its date, whatever is declared.
    On {
        cut: Vec<String>,
    },
}

impl Default for Normalize {
    fn default() -> Self {
        Self::On { cut: Vec::new() }
    }
}

/// The values of a document that keep their declared type: a date that is declared as a number stays a number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed<'a> {
    /// The collection's key, as JSON pointers.
    Key(&'a [String]),
    All,
}

/// Brings the dates of one stream's records to RFC 3339.
pub struct Dates {
    schema: DateSchema,
    fast_check: FastCheck,
    rewriter: Rewriter,
    /// What the fast check found in one record.
    wrong: Vec<(Range<usize>, Wanted)>,
}

impl Dates {
    /// None if `declared`, the schema as the source wrote it, declares no dates and nothing is cut. `cut` are JSON pointers
    /// into a document; the values there need not be declared. The names of dates are added to `watched`.
    pub fn of(declared: &Value, typed: Typed, cut: &[String], watched: &mut Watchlist) -> Option<Self> {
        let schema = DateSchema::of(declared, typed, cut)?;
        let fast_check = FastCheck::of(&schema, watched);
        Some(Self { fast_check, schema, rewriter: Rewriter::default(), wrong: Vec::new() })
    }

    /// The object `document` with its dates brought to RFC 3339; none if that changes nothing. `found` are the watched
    /// members in it.
    #[inline]
    pub fn normalize(&mut self, document: &[u8], found: &Found) -> Option<&[u8]> {
        self.wrong.clear();
        if !self.fast_check.find_wrong(document, found, &mut self.wrong) {
            return self.rewriter.rewrite(&self.schema, document);
        }
        if self.wrong.is_empty() { None } else { self.rewriter.rewrite_values(&self.wrong, document) }
    }
}
