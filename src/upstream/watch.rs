//! Finds those top-level members of a record that the capture has to see, such as its key, while the record is scanned.

use std::ops::Range;

use crate::json::scan::Key;

/// A top-level member of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Index into [`super::SyncRequest::watched`].
    pub name: usize,
    /// Where its value is in the payload.
    pub value: Range<usize>,
}

/// The watched names, and where they were found in the last record.
pub struct Watch {
    names: Vec<String>,
    /// The bytes that a name of interest begins with: most members are ruled out by this table alone.
    first: [bool; 256],
    found: Vec<Member>,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Watch {
    pub fn new(names: &[String]) -> Self {
        let mut first = [false; 256];
        // `_meta` and the markers of deleted rows.
        first[usize::from(b'_')] = true;
        names.iter().filter_map(|it| it.bytes().next()).for_each(|it| first[usize::from(it)] = true);
        Self { names: names.to_vec(), first, found: Vec::new() }
    }

    /// The members that the last record has of the watched ones, in their order.
    pub fn found(&self) -> &[Member] {
        &self.found
    }

    /// False only for a name that is certainly not of interest.
    #[inline]
    pub(super) fn may_be(&self, key: &Key) -> bool {
        key.first().is_none_or(|it| self.first[usize::from(it)])
    }

    pub(super) fn index_of(&self, key: &Key) -> Option<usize> {
        self.names.iter().position(|it| key.is(it))
    }

    pub(super) fn rewind(&mut self) {
        self.found.clear();
    }

    pub(super) fn note(&mut self, name: usize, value: Range<usize>) {
        self.found.push(Member { name, value });
    }
}
