//! Member names of earlier texts: a connector mostly prints objects with the same names in the same order. An expected name
//! is compared instead of scanned, and it is known whether it is watched.

use std::ops::Range;

use wide::u8x16;

use super::watch::{Found, NameId, Watchlist};

/// Member names in the order of their first text.
#[derive(Default)]
pub struct Hints {
    names: Vec<Name>,
    next: usize,
    watched: Watchlist,
    /// The watched members of the last text that [`Scanner`](super::scan::Scanner) took note of.
    pub found: Found,
}

/// Longer names are always scanned.
const LONGEST: usize = 32;

/// No more names than this are kept.
const MOST: usize = 4096;

/// The number of optional members that may be missing in a row.
const AHEAD: usize = 2;

/// A name with its quotes, its colon, and the white space around them: all from one value to the next but the comma.
pub struct Name {
    /// A text that is too long is all zeros, which matches none.
    text: [u8x16; 2],
    /// Masks of the bytes behind the text.
    ignored: [u32; 2],
    pub length: usize,
    /// Where the name itself is, without its quotes.
    pub name: Range<usize>,
    pub watched: Option<NameId>,
}

impl Hints {
    /// Watches these names instead of earlier ones.
    pub fn watch(&mut self, names: Watchlist) {
        self.watched = names;
        self.names.clear();
    }

    /// Starts a new text.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// How many names of the present text were passed, those included that are missing in it.
    pub fn passed(&self) -> usize {
        self.next
    }

    /// Passes this many names at the start of a text.
    #[inline]
    pub fn pass(&mut self, names: usize) {
        self.next = names;
    }

    /// Neither expects nor learns names until the next text: this one is of another kind, and would have names that are
    /// skipped in each later text.
    pub fn pause(&mut self) {
        self.next = usize::MAX;
    }

    /// The id of a watched name. In a text of another kind, none is of interest.
    pub fn id(&self, name: &[u8]) -> Option<NameId> {
        if self.next == usize::MAX { None } else { self.watched.find(name) }
    }

    /// The expected name, if `rest` begins with it.
    #[inline(always)]
    pub fn guess(&mut self, rest: &[u8]) -> Option<&Name> {
        let next = self.next;
        if self.names.get(next).is_none_or(|it| !it.begins(rest)) {
            return self.guess_ahead(rest);
        }
        self.next = next + 1;
        Some(&self.names[next])
    }

    #[inline(never)]
    fn guess_ahead(&mut self, rest: &[u8]) -> Option<&Name> {
        let later = self.names.get(self.next.checked_add(1)?..)?;
        let skipped = later.iter().take(AHEAD).position(|name| name.begins(rest))?;
        self.next += skipped + 2;
        Some(&later[skipped])
    }

    /// Replaces the expected name by the one that was found.
    pub fn learn(&mut self, text: &[u8], name: Range<usize>, watched: Option<NameId>) {
        if self.next == usize::MAX {
            return;
        }
        let name = Name::new(text, name, watched);
        if let Some(expected) = self.names.get_mut(self.next) {
            *expected = name;
        } else if self.names.len() < MOST {
            self.names.push(name);
        }
        self.next += 1;
    }
}

impl Name {
    fn new(text: &[u8], name: Range<usize>, watched: Option<NameId>) -> Self {
        let mut bytes = [0; LONGEST];
        let mut length = LONGEST;
        if let Some(place) = bytes.get_mut(..text.len()) {
            place.copy_from_slice(text);
            length = text.len();
        }
        let half = |from: usize| u8x16::new(std::array::from_fn(|i| bytes[from + i]));
        let ignored = |from: usize| u32::MAX.unbounded_shl(length.saturating_sub(from) as u32) | 0xFFFF_0000;
        Self { text: [half(0), half(16)], ignored: [ignored(0), ignored(16)], length, name, watched }
    }

    #[inline(always)]
    fn begins(&self, rest: &[u8]) -> bool {
        self.half_begins(0, rest) && (self.length <= 16 || rest.get(16..).is_some_and(|it| self.half_begins(1, it)))
    }

    #[inline(always)]
    fn half_begins(&self, half: usize, rest: &[u8]) -> bool {
        rest.first_chunk::<16>().is_some_and(|chunk| {
            let same = self.text[half].simd_eq(u8x16::new(*chunk)).to_bitmask();
            same | self.ignored[half] == u32::MAX
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A name matches exactly if its bytes do.
        #[test]
        fn compares_like_bytes(name in "[ab]{1,34}", rest in "[ab]{0,40}", same in any::<bool>()) {
            let rest = if same { format!("{name}{rest}") } else { rest } + "................................";
            let mut hints = Hints::default();
            hints.learn(name.as_bytes(), 0..0, None);
            hints.rewind();
            let want = (rest.starts_with(&name) && name.len() <= LONGEST).then_some(name.len());
            prop_assert_eq!(hints.guess(rest.as_bytes()).map(|it| it.length), want);
        }
    }

    fn learned(names: &[&str]) -> Hints {
        let mut hints = Hints::default();
        names.iter().for_each(|it| hints.learn(it.as_bytes(), 0..0, None));
        hints.rewind();
        hints
    }

    /// The length of the expected name, if the text begins with it.
    fn guessed(hints: &mut Hints, text: &str) -> Option<usize> {
        hints.guess(format!("{text:16}").as_bytes()).map(|it| it.length)
    }

    #[test]
    fn a_text_of_another_kind_changes_nothing() {
        let names = [r#""type":"#, r#""record":"#, r#""data":"#];
        let mut hints = learned(&names);
        assert_eq!(guessed(&mut hints, names[0]), Some(7));
        hints.pause();
        assert_eq!(guessed(&mut hints, names[1]), None);
        hints.learn(br#""state":"#, 0..0, None);
        hints.rewind();
        assert_eq!(names.map(|it| guessed(&mut hints, it)), [7, 9, 7].map(Some));
    }

    #[test]
    fn optional_members_may_be_missing() {
        let names = [r#""a":"#, r#""b":"#, r#""c":"#, r#""d":"#];
        let mut hints = learned(&names);
        assert_eq!([names[0], names[3], names[0]].map(|it| guessed(&mut hints, it)), [Some(4), Some(4), None]);
    }
}
