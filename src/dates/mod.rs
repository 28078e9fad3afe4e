//! Brings dates to RFC 3339 where a stream's schema declares them. Values that are not valid dates stay as they are.
//!
//! A timestamp without an offset is taken as UTC, whatever the connector's or this machine's time zone is.
//!
//! [`date_schema`] finds out once which values are dates; [`applied`] and [`keywords`] read the schemas for it. Most records
//! pass [`fast_check`], which finds all their dates right. The others go through [`rewriter`], which replaces the values
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

use serde_json::Value;

use date_schema::DateSchema;
use fast_check::FastCheck;
use rewriter::Rewriter;

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
}

impl Dates {
    /// None if `declared`, the schema as the source wrote it, declares no dates and nothing is cut. `cut` are JSON pointers
    /// into a document; the values there need not be declared.
    pub fn of(declared: &Value, typed: Typed, cut: &[String]) -> Option<Self> {
        let schema = DateSchema::of(declared, typed, cut)?;
        Some(Self { fast_check: FastCheck::of(&schema), schema, rewriter: Rewriter::default() })
    }

    /// The object `document` with its dates brought to RFC 3339; none if that changes nothing. `marks` are positions in the
    /// document, in ascending order, and move with the text.
    #[inline]
    pub fn normalize(&mut self, document: &[u8], marks: &mut [usize]) -> Option<&[u8]> {
        if self.fast_check.is_right(document) {
            return None;
        }
        self.rewriter.rewrite(&self.schema, document, marks)
    }
}
