//! Dates as RFC 3339 has them, where a stream's schema says that there are dates; what is no date stays as it is.
//!
//! A schema becomes a plan of the places that hold dates ([`plan`]). Of most records a look tells that all of them are
//! right ([`look`]). Any other is walked through, and the values that are not right are replaced, nothing else ([`walk`]).
//! It knows schemas and the text of documents, not where either comes from: no protocol, no stream, no `_meta` of Flow's.
//!
//! A record is treated the same whatever came before it: there may be keys among the dates.

mod date_schema;
mod epoch;
mod fast_check;
mod rewriter;
mod text;
mod value;

#[cfg(test)]
mod tests;

use serde_json::Value;

use date_schema::Plan;
use fast_check::FastCheck;
use rewriter::Rewriter;

/// What a stream's settings say of its dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Normalize {
    Off,
    /// `cut` are JSON pointers into a document: whatever is declared there, a date-time becomes its date.
    On {
        cut: Vec<String>,
    },
}

impl Default for Normalize {
    fn default() -> Self {
        Self::On { cut: Vec::new() }
    }
}

/// What of a document must keep the type that was declared for it: a number there stays one, where no string may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed<'a> {
    /// What these JSON pointers lead to, the collection's key.
    Key(&'a [String]),
    All,
}

/// Brings the dates of one stream's records to RFC 3339.
pub struct Dates {
    plan: Plan,
    look: FastCheck,
    walk: Rewriter,
}

impl Dates {
    /// None where the schema, as the source wrote it, declares no dates and none are cut. `cut` are JSON pointers into a
    /// document; what is there need not be declared.
    pub fn of(declared: &Value, typed: Typed, cut: &[String]) -> Option<Self> {
        let plan = Plan::of(declared, typed, cut)?;
        Some(Self { look: FastCheck::of(&plan), plan, walk: Rewriter::default() })
    }

    /// The object `document` with its dates brought to RFC 3339; none where they are all right, or no dates. `marks` are
    /// places in the document, in ascending order, and move with the text.
    #[inline]
    pub fn normalize(&mut self, document: &[u8], marks: &mut [usize]) -> Option<&[u8]> {
        if self.look.is_right(document) {
            return None;
        }
        self.walk.through(&self.plan, document, marks)
    }
}
