//! Member names of earlier texts: a connector mostly prints objects with the same names in the same order. An expected name
//! is compared instead of scanned, and it is known whether it is watched.

use wide::u8x16;

use super::watch::{Found, NameId, Watchlist};

/// Member names in the order of their first text, each with its quotes and colon.
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

/// The text, and a mask of the bytes to ignore. A name that is too long is all zeros, which matches no text.
struct Name {
    text: [u8x16; 2],
    ignored: [u32; 2],
    length: u32,
    watched: Option<NameId>,
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

    /// The length of the expected name, and its id if it is watched, if `rest` begins with it.
    #[inline]
    pub fn guess(&mut self, rest: &[u8]) -> Option<(usize, Option<NameId>)> {
        let name = self.names.get(self.next)?;
        if name.begins(rest) {
            self.next += 1;
            return Some((name.length as usize, name.watched));
        }
        self.guess_ahead(rest)
    }

    fn guess_ahead(&mut self, rest: &[u8]) -> Option<(usize, Option<NameId>)> {
        let later = self.names.get(self.next + 1..)?;
        let skipped = later.iter().take(AHEAD).position(|name| name.begins(rest))?;
        self.next += skipped + 2;
        Some((later[skipped].length as usize, later[skipped].watched))
    }

    /// Replaces the expected name by the one that was found.
    pub fn learn(&mut self, text: &[u8], watched: Option<NameId>) {
        if self.next == usize::MAX {
            return;
        }
        let name = Name::new(text, watched);
        if let Some(expected) = self.names.get_mut(self.next) {
            *expected = name;
        } else if self.names.len() < MOST {
            self.names.push(name);
        }
        self.next += 1;
    }
}

impl Name {
    fn new(text: &[u8], watched: Option<NameId>) -> Self {
        let mut bytes = [0; LONGEST];
        let mut length = LONGEST;
        if let Some(place) = bytes.get_mut(..text.len()) {
            place.copy_from_slice(text);
            length = text.len();
        }
        let half = |from: usize| u8x16::new(std::array::from_fn(|i| bytes[from + i]));
        let ignored = |from: usize| u32::MAX.unbounded_shl(length.saturating_sub(from) as u32) | 0xFFFF_0000;
        Self { text: [half(0), half(16)], ignored: [ignored(0), ignored(16)], length: length as u32, watched }
    }

    #[inline]
    fn begins(&self, rest: &[u8]) -> bool {
        self.half_begins(0, rest) && (self.length <= 16 || rest.get(16..).is_some_and(|it| self.half_begins(1, it)))
    }

    #[inline]
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
            hints.learn(name.as_bytes(), None);
            hints.rewind();
            let want = (rest.starts_with(&name) && name.len() <= LONGEST).then_some(name.len());
            prop_assert_eq!(hints.guess(rest.as_bytes()).map(|it| it.0), want);
        }
    }

    #[test]
    fn a_text_of_another_kind_changes_nothing() {
        let texts = ["\"type\":", "\"record\":", "\"data\":"].map(|it| format!("{it:16}"));
        let mut hints = Hints::default();
        texts.iter().for_each(|it| hints.learn(it.trim_end().as_bytes(), None));
        hints.rewind();
        assert_eq!(hints.guess(texts[0].as_bytes()), Some((7, None)));
        hints.pause();
        assert_eq!(hints.guess(texts[1].as_bytes()), None);
        hints.learn(b"\"state\":", None);
        hints.rewind();
        assert_eq!(texts.each_ref().map(|it| hints.guess(it.as_bytes())), [7, 9, 7].map(|it| Some((it, None))));
    }

    #[test]
    fn optional_members_may_be_missing() {
        let texts = ["\"a\":", "\"b\":", "\"c\":", "\"d\":"].map(|it| format!("{it:16}"));
        let mut hints = Hints::default();
        texts.iter().for_each(|it| hints.learn(it.trim_end().as_bytes(), None));
        hints.rewind();
        assert_eq!(hints.guess(texts[0].as_bytes()), Some((4, None)));
        assert_eq!(hints.guess(texts[3].as_bytes()), Some((4, None)));
        assert_eq!(hints.guess(texts[0].as_bytes()), None);
    }
}
