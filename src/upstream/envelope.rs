//! What is around the payload in a record's line. It is mostly the same as in the line of the record before, so it is compared
//! instead of scanned.

use wide::u8x16;

use crate::json::scan::{Fault, Place, Scanner};

/// How the line of the last record began, up to its payload.
#[derive(Default)]
pub struct Opening<P> {
    /// Up to the payload's brace, which is included.
    text: Vec<u8>,
    place: Place,
    /// What was found in it.
    parts: P,
}

impl<P> Opening<P> {
    /// What a line's opening has in it, if it is the same. The scanner goes on with the payload.
    #[inline]
    pub fn of(&self, line: &[u8], scanner: &mut Scanner) -> Option<&P> {
        if self.text.is_empty() || !line.starts_with(&self.text) {
            return None;
        }
        scanner.go_to(self.place);
        Some(&self.parts)
    }

    /// Learns the opening of a line whose payload is at `place`.
    pub fn learn(&mut self, line: &[u8], place: Place, parts: P) {
        self.text.clear();
        self.text.extend_from_slice(line.get(..=place.at).unwrap_or_default());
        (self.place, self.parts) = (place, parts);
    }
}

/// No longer closing is learnt.
const LONGEST: usize = 64;

/// How the line of the last record ended, from behind its payload on, if nothing in it is of interest. Most digits may differ:
/// they are those of a time.
#[derive(Default)]
pub struct Closing {
    length: usize,
    /// The lines in a row that ended in other ways. Endings that always differ are learnt ever more rarely.
    misses: u32,
    /// The bytes at the end of a line, from the last on, of which the first ones are not part of it.
    parts: [Part; LONGEST / 16],
}

#[derive(Default)]
struct Part {
    text: u8x16,
    /// Where any digit may be.
    digits: u8x16,
    /// Where anything may be.
    ignored: u8x16,
}

impl Closing {
    /// Scans the rest of a line, unless it is the same. `scan` tells whether there was nothing of interest in it.
    #[inline]
    pub fn scan<'a, 'h>(
        &mut self,
        line: &'a [u8],
        scanner: &mut Scanner<'a, 'h>,
        scan: impl FnOnce(&mut Scanner<'a, 'h>) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        if self.is_rest_of(line, scanner) {
            return Ok(());
        }
        let start = scanner.position();
        if scan(scanner)? && scanner.position() == line.len() && !scanner.flawed() {
            self.learn(&line[start..]);
        }
        Ok(())
    }

    /// Whether the rest of a line is the same. The scanner goes on at its end.
    #[inline]
    fn is_rest_of(&mut self, line: &[u8], scanner: &mut Scanner) -> bool {
        if self.length == 0 || line.len() - scanner.position() != self.length {
            return false;
        }
        let Some(end) = line.last_chunk::<LONGEST>() else { return false };
        let (chunks, _) = end.as_chunks::<16>();
        let is_same = chunks.iter().zip(&self.parts).all(|(chunk, part)| part.is_same(u8x16::new(*chunk)));
        if is_same {
            self.misses = 0;
            scanner.skip(self.length);
        }
        is_same
    }

    /// Learns the rest of a line.
    #[cold]
    fn learn(&mut self, rest: &[u8]) {
        self.misses = self.misses.wrapping_add(1);
        if !self.misses.is_power_of_two() {
            return;
        }
        *self = Self { misses: self.misses, ..Self::default() };
        // Other digits in an escape or an exponent may mean something that needs repair.
        let is_exponent = |it: &[u8]| it[0].is_ascii_digit() && it[1].eq_ignore_ascii_case(&b'e');
        if rest.len() > LONGEST || rest.contains(&b'\\') || rest.windows(2).any(is_exponent) {
            return;
        }
        self.length = rest.len();
        let start = LONGEST - rest.len();
        let at = |index: usize| index.checked_sub(start).map(|it| rest[it]);
        // The first digit stays: a number must not begin with a zero.
        let is_digit = |index: usize| at(index).is_some_and(|it| it.is_ascii_digit());
        let any_digit = |index: usize| is_digit(index) && index > start && is_digit(index - 1);
        let mask = |it: bool| if it { 0xFF } else { 0 };
        for (part, from) in self.parts.iter_mut().zip((0..).step_by(16)) {
            part.text = u8x16::new(std::array::from_fn(|it| at(from + it).unwrap_or_default()));
            part.digits = u8x16::new(std::array::from_fn(|it| mask(any_digit(from + it))));
            part.ignored = u8x16::new(std::array::from_fn(|it| mask(from + it < start)));
        }
    }
}

impl Part {
    #[inline(always)]
    fn is_same(&self, bytes: u8x16) -> bool {
        let values = bytes - u8x16::splat(b'0');
        let digits = values.min(u8x16::splat(9)).simd_eq(values);
        (bytes.simd_eq(self.text) | digits & self.digits | self.ignored).to_bitmask() == 0xFFFF
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::hints::Hints;

    fn is_rest(learnt: &str, rest: &str) -> bool {
        let mut closing = Closing::default();
        closing.learn(learnt.as_bytes());
        let line = format!("{:64}{rest}", "");
        let mut hints = Hints::default();
        let mut scanner = Scanner::new(line.as_bytes(), &mut hints);
        scanner.skip(64);
        let is_same = closing.is_rest_of(line.as_bytes(), &mut scanner);
        assert_eq!(scanner.position(), if is_same { line.len() } else { 64 });
        is_same
    }

    #[test]
    fn endings_that_always_differ_are_not_learnt_each_time() {
        let mut closing = Closing::default();
        let learnt = (0..1000).filter(|it| {
            let ending = format!(",\"{it:010b}\":null}}").replace('0', "a").replace('1', "b");
            closing.learn(ending.as_bytes());
            let line = format!("{:64}{ending}", "");
            let mut hints = Hints::default();
            let mut scanner = Scanner::new(line.as_bytes(), &mut hints);
            scanner.skip(64);
            let misses = closing.misses;
            let is_known = closing.is_rest_of(line.as_bytes(), &mut scanner);
            closing.misses = misses;
            is_known
        });
        assert!(learnt.count() < 20);
    }

    #[test]
    fn only_digits_may_differ() {
        let closing = r#","emitted_at":1795254898752}}"#;
        assert!(is_rest(closing, closing));
        assert!(is_rest(closing, r#","emitted_at":1795254898999}}"#));
        for other in [
            r#","emitted_at":0795254898752}}"#,
            r#","emitted_at":17952548987522}}"#,
            r#","emitted_at":179525489875.}}"#,
            r#","emitted_as":1795254898752}}"#,
            "}}",
        ] {
            assert!(!is_rest(closing, other), "{other}");
        }
        assert!(!is_rest(r#","a":1e10}}"#, r#","a":1e10}}"#));
        assert!(!is_rest(r#","a":"\u0041"}}"#, r#","a":"\u0041"}}"#));
    }

    proptest! {
        #[test]
        fn a_closing_is_compared_byte_by_byte(learnt in "[,a1-3]{0,70}", rest in "[,a0-3]{0,70}", change in any::<bool>()) {
            let rest = if change { learnt.replace('3', "2") } else { rest };
            let mut earlier = None;
            let is_same = |(one, other): (u8, u8)| {
                let is_inner = earlier.is_some_and(|it: u8| it.is_ascii_digit());
                earlier = Some(one);
                one == other || is_inner && one.is_ascii_digit() && other.is_ascii_digit()
            };
            let want = (1..=64).contains(&learnt.len()) && learnt.len() == rest.len() && learnt.bytes().zip(rest.bytes()).all(is_same);
            prop_assert_eq!(is_rest(&learnt, &rest), want);
        }
    }
}
