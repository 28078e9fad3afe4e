//! Values by a table, schemas by cases, and both at random.

mod properties;
mod schemas;
mod values;

use serde_json::{Value, json};

use super::{Dates, Typed};
use crate::json::hints::Hints;
use crate::json::watch::Watchlist;
use crate::upstream::Broken;
use crate::upstream::line::{DeletionMark, bare_payload};

/// The dates of a stream, and hints that watch their names.
struct Stream {
    dates: Dates,
    hints: Hints,
}

impl Stream {
    fn of(schema: &Value, typed: Typed, cut: &[String]) -> Option<Self> {
        let (mut watched, mut hints) = (Watchlist::default(), Hints::default());
        let dates = Dates::of(schema, typed, cut, &mut watched)?;
        hints.watch(watched);
        Some(Self { dates, hints })
    }

    fn scan(&mut self, document: &str) {
        const NONE: DeletionMark = DeletionMark { member: "", is_set: |_| false };
        let scanned = bare_payload(document.as_bytes(), &mut self.hints, &NONE);
        assert!(matches!(scanned, Ok(_) | Err(Broken::Repairable)));
    }

    /// The document after [`Dates::normalize`].
    fn normalized(&mut self, document: &str) -> String {
        self.scan(document);
        let given = document.as_bytes();
        let text = self.dates.normalize(given, &self.hints.found).unwrap_or(given).to_vec();
        String::from_utf8(text).unwrap()
    }

    /// The same by the full traversal alone.
    fn rewritten(&mut self, document: &str) -> Option<String> {
        let text = self.dates.rewriter.rewrite(&self.dates.schema, document.as_bytes());
        text.map(|it| String::from_utf8(it.to_vec()).unwrap())
    }

    /// Whether the fast check tells that nothing is to be rewritten.
    fn is_right(&mut self, document: &str) -> bool {
        self.scan(document);
        let mut wrong = Vec::new();
        self.dates.fast_check.find_wrong(document.as_bytes(), &self.hints.found, &mut wrong) && wrong.is_empty()
    }
}

fn dates(schema: &Value) -> Option<Stream> {
    Stream::of(schema, Typed::Key(&[]), &[])
}

fn at(schema: &Value) -> Value {
    json!({"properties": {"at": schema}})
}
