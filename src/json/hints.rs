//! What one text teaches about the next: the objects that one connector prints have the same member names in the same
//! order, mostly. A name that stands where it was expected needs no scan, only a comparison.

use wide::u8x16;

/// Member names in the order in which they came, each with its quotes and its colon.
#[derive(Default)]
pub struct Hints {
    names: Vec<Name>,
    next: usize,
}

/// A longer name is scanned each time.
const LONGEST: usize = 32;

/// Beyond this many names nothing is learned: such an object is not worth a second one.
const MOST: usize = 4096;

/// Where some members are optional, the expected one may come that much later.
const AHEAD: usize = 3;

struct Name {
    text: [u8x16; 2],
    /// Zero: a name that is not kept.
    length: usize,
}

impl Hints {
    /// A new text begins.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// The length of the expected name, if `rest` begins with it.
    #[inline]
    pub fn guess(&mut self, rest: &[u8]) -> Option<usize> {
        let expected = self.names.get(self.next..)?;
        let found = expected.iter().take(AHEAD).position(|name| name.begins(rest))?;
        let length = expected[found].length;
        self.next += found + 1;
        Some(length)
    }

    /// The name that was found where another was expected.
    pub fn learn(&mut self, text: &[u8]) {
        let name = Name::new(text);
        if let Some(expected) = self.names.get_mut(self.next) {
            *expected = name;
        } else if self.names.len() < MOST {
            self.names.push(name);
        }
        self.next += 1;
    }
}

impl Name {
    fn new(text: &[u8]) -> Self {
        let mut bytes = [0; LONGEST];
        let length = match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                text.len()
            }
            None => 0,
        };
        let half = |from: usize| u8x16::new(std::array::from_fn(|i| bytes[from + i]));
        Self { text: [half(0), half(16)], length }
    }

    #[inline]
    fn begins(&self, rest: &[u8]) -> bool {
        let Some(chunk) = rest.first_chunk::<16>() else { return false };
        let same = self.text[0].simd_eq(u8x16::new(*chunk)).to_bitmask();
        let wanted = u32::MAX.unbounded_shl(self.length.min(16) as u32);
        if same | wanted != u32::MAX || self.length == 0 {
            return false;
        }
        self.length <= 16 || self.ends(&rest[16..])
    }

    fn ends(&self, rest: &[u8]) -> bool {
        let Some(chunk) = rest.first_chunk::<16>() else { return false };
        let same = self.text[1].simd_eq(u8x16::new(*chunk)).to_bitmask();
        same | u32::MAX.unbounded_shl(self.length as u32 - 16) == u32::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A name begins a text if and only if its bytes do.
        #[test]
        fn compares_like_bytes(name in "[ab]{1,34}", rest in "[ab]{0,40}", same in any::<bool>()) {
            let rest = if same { format!("{name}{rest}") } else { rest } + "................................";
            let mut hints = Hints::default();
            hints.learn(name.as_bytes());
            hints.rewind();
            let want = (rest.starts_with(&name) && name.len() <= LONGEST).then_some(name.len());
            prop_assert_eq!(hints.guess(rest.as_bytes()), want);
        }
    }

    #[test]
    fn optional_members_may_be_missing() {
        let texts = ["\"a\":", "\"b\":", "\"c\":", "\"d\":"].map(|it| format!("{it:16}"));
        let mut hints = Hints::default();
        texts.iter().for_each(|it| hints.learn(it.trim_end().as_bytes()));
        hints.rewind();
        assert_eq!(hints.guess(texts[0].as_bytes()), Some(4));
        assert_eq!(hints.guess(texts[3].as_bytes()), Some(4));
        assert_eq!(hints.guess(texts[0].as_bytes()), None);
    }
}
