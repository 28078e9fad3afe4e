//! Finds those top-level members of a record that the capture has to see, such as its key, while the record is scanned.

use std::ops::Range;

use crate::json::scan::Key;

/// The watched names, and where they were found in the last record.
pub struct Watch {
    names: Vec<String>,
    /// The bytes that a name of interest begins with: most members are ruled out by this table alone.
    first: [bool; 256],
    /// Where the value of each name is in the last record's payload; empty if the record does not have it.
    found: Vec<Range<usize>>,
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
        Self { names: names.to_vec(), first, found: vec![0..0; names.len()] }
    }

    /// Where the last record's payload has the value of each watched name; empty if it does not have it.
    pub fn found(&self) -> &[Range<usize>] {
        &self.found
    }

    /// False only for a name that is certainly not of interest.
    #[inline]
    pub(super) fn may_be(&self, key: &Key) -> bool {
        key.first().is_none_or(|it| self.first[usize::from(it)])
    }

    #[inline]
    pub(super) fn index_of(&self, key: &Key) -> Option<usize> {
        self.names.iter().position(|it| key.is_same(it))
    }

    #[inline]
    pub(super) fn rewind(&mut self) {
        self.found.fill(0..0);
    }

    /// Of several members with one name the last one counts.
    #[inline]
    pub(super) fn note(&mut self, name: usize, value: Range<usize>) {
        if let Some(found) = self.found.get_mut(name) {
            *found = value;
        }
    }
}
