//! A validating scanner for one JSON text. It finds the boundaries of values and does not build them.
//!
//! Connectors do not always print valid JSON. If the boundaries of an invalid value are clear, the scanner records a flaw
//! for [`super::repair`] and continues; everything else is a [`Fault`] that ends the scan.

pub mod inside;
mod nesting;

use std::borrow::Cow;
use std::ops::Range;

use wide::u8x16;

use super::hints::Hints;
use super::lexical::{hex4, is_infinite, leading_digits, low_surrogate};
use super::watch::NameId;
use nesting::Nesting;

/// The reason why a text is not JSON, and the byte at which it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Fault {
    pub at: usize,
    pub what: &'static str,
}

/// A member's name: the text between its quotes.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    raw: &'a [u8],
    escaped: bool,
    at: usize,
    /// Its id if it is watched.
    pub watched: Option<NameId>,
}

impl<'a> Key<'a> {
    /// Whether the name is `name`, with or without escapes.
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        if self.escaped { self.text() == name } else { self.raw == name.as_bytes() }
    }

    /// False if the name can't begin with this byte.
    #[inline]
    pub fn may_begin_with(&self, byte: u8) -> bool {
        self.escaped || self.raw.first() == Some(&byte)
    }

    /// The name, unescaped.
    #[inline]
    pub fn name(&self) -> Cow<'a, [u8]> {
        unquote_bytes(self.raw, self.escaped)
    }

    /// The position of the name's opening quote in the scanned text.
    pub fn position(&self) -> usize {
        self.at
    }

    fn text(&self) -> Cow<'a, str> {
        unquote(self.raw, self.escaped)
    }
}

/// Unescapes the text between the quotes of a string; flaws become U+FFFD.
fn unquote(raw: &[u8], escaped: bool) -> Cow<'_, str> {
    if !escaped {
        return String::from_utf8_lossy(raw);
    }
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice(&quoted).map(Cow::Owned).unwrap_or_else(|_| Cow::Owned(super::repair::string(raw)))
}

/// The same; a string without escapes stays as it is, whether it is valid or not.
fn unquote_bytes(raw: &[u8], escaped: bool) -> Cow<'_, [u8]> {
    if escaped { Cow::Owned(unquote(raw, escaped).into_owned().into_bytes()) } else { Cow::Borrowed(raw) }
}

/// Unescapes a scanned string value that includes its quotes.
pub fn string_text(quoted: &[u8]) -> Cow<'_, str> {
    let raw = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    unquote(raw, memchr::memchr(b'\\', raw).is_some())
}

/// How far a text was scanned.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    pub at: usize,
    /// How many of the expected names were passed.
    names: usize,
}

/// The kind of a value, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

pub struct Scanner<'a, 'h> {
    bytes: &'a [u8],
    hints: &'h mut Hints,
    at: usize,
    flawed: bool,
}

impl<'a, 'h> Scanner<'a, 'h> {
    /// `hints` are from earlier texts of the same kind.
    pub fn new(bytes: &'a [u8], hints: &'h mut Hints) -> Self {
        hints.rewind();
        Self { bytes, hints, at: 0, flawed: false }
    }

    /// Whether anything scanned so far needs repair.
    pub fn flawed(&self) -> bool {
        self.flawed
    }

    pub fn position(&self) -> usize {
        self.at
    }

    /// Forgets the watched members that were noted so far.
    pub fn forget_found(&mut self) {
        self.hints.found.clear();
    }

    /// Notes the value of a watched member. The members of the values that [`Scanner::value`] scans are noted by themselves.
    #[inline]
    pub fn note(&mut self, name: NameId, value: Range<usize>) {
        self.hints.found.note(name, value);
    }

    /// What was noted counts from `start`.
    #[inline]
    pub fn rebase_found(&mut self, start: usize) {
        self.hints.found.rebase(start);
    }

    /// The rest of this text is of another kind than those that the hints are from.
    pub fn pause_hints(&mut self) {
        self.hints.pause();
    }

    /// Scans the members of an object; `member` has to consume each member's value.
    #[inline]
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, Key<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
        self.expect(b'{', "expected an object")?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            if !self.has_more_members()? {
                return Ok(());
            }
        }
    }

    /// Scans what follows a member of an object, up to the object's end.
    #[inline]
    pub fn rest_of_object(
        &mut self,
        mut member: impl FnMut(&mut Self, Key<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while self.has_more_members()? {
            let key = self.key()?;
            member(self, key)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn has_more_members(&mut self) -> Result<bool, Fault> {
        let more = match self.peek() {
            Some(b',') => true,
            Some(b'}') => false,
            _ => return Err(self.fault("expected ',' or '}'")),
        };
        self.at += 1;
        Ok(more)
    }

    /// How far the text was scanned.
    pub fn place(&self) -> Place {
        Place { at: self.at, names: self.hints.passed() }
    }

    /// Goes on from a place in another text that begins with the same bytes.
    #[inline]
    pub fn go_to(&mut self, place: Place) {
        self.at = place.at;
        self.hints.pass(place.names);
    }

    /// Scans one value of any kind and returns its range.
    #[inline]
    pub fn value(&mut self) -> Result<Range<usize>, Fault> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'{' | b'[') => self.container()?,
            _ => self.scalar(first)?,
        }
        Ok(start..self.at)
    }

    /// The kind of the next value.
    pub fn kind(&mut self) -> Option<Kind> {
        Some(match self.peek()? {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        })
    }

    /// Checks that only white space follows.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault("something follows the end of the message")),
        }
    }

    /// The next byte that is not white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(self.fault(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Scans a member's name and the colon after it.
    #[inline]
    fn key(&mut self) -> Result<Key<'a>, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.fault("expected a member's name"));
        }
        let at = self.at;
        match self.hints.guess(&self.bytes[at..]) {
            Some((length, watched)) => {
                self.at += length;
                Ok(Key { raw: &self.bytes[at + 1..at + length - 2], escaped: false, at, watched })
            }
            None => self.new_key(),
        }
    }

    fn new_key(&mut self) -> Result<Key<'a>, Fault> {
        let at = self.at;
        let was_flawed = std::mem::take(&mut self.flawed);
        let escaped = self.string()?;
        let end = self.at;
        self.expect(b':', "expected ':'")?;
        let raw = &self.bytes[at + 1..end - 1];
        let watched = self.hints.id(&unquote_bytes(raw, escaped));
        // Hints are compared and not scanned again, so learn only valid names that are followed directly by the colon.
        if !escaped && !self.flawed && self.at == end + 1 {
            self.hints.learn(&self.bytes[at..self.at], watched);
        }
        self.flawed |= was_flawed;
        Ok(Key { raw, escaped, at, watched })
    }

    /// Scans the name of a member of an object that is scanned as one value, and notes it if it is watched.
    #[inline]
    fn inner_key(&mut self) -> Result<(), Fault> {
        if let Some(name) = self.key()?.watched {
            self.peek();
            self.hints.found.note_inside(name, self.at);
        }
        Ok(())
    }

    /// Scans an object or array with its contents, without recursion, so the depth is not limited.
    fn container(&mut self) -> Result<(), Fault> {
        let mut open = Nesting::default();
        loop {
            // At the start of a value.
            let first = self.peek();
            match first {
                Some(b'{') => {
                    self.at += 1;
                    if self.peek() == Some(b'}') {
                        self.at += 1;
                    } else {
                        open.push(true);
                        self.inner_key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    if self.peek() == Some(b']') {
                        self.at += 1;
                    } else {
                        open.push(false);
                        continue;
                    }
                }
                _ => self.scalar(first)?,
            }
            // At the end of a value: close the containers that end here.
            loop {
                let Some(in_object) = open.top() else {
                    return Ok(());
                };
                match (self.peek(), in_object) {
                    (Some(b','), true) => {
                        self.at += 1;
                        self.inner_key()?;
                        break;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        open.pop();
                    }
                    (_, true) => return Err(self.fault("expected ',' or '}'")),
                    (_, false) => return Err(self.fault("expected ',' or ']'")),
                }
            }
        }
    }

    /// Scans a value that is not a container and begins with this byte, the next one.
    #[inline]
    fn scalar(&mut self, first: Option<u8>) -> Result<(), Fault> {
        match first {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'N') => {
                self.flawed = true;
                self.literal(b"NaN")
            }
            Some(b'I') => {
                self.flawed = true;
                self.literal(b"Infinity")
            }
            Some(_) => Err(self.fault("expected a value")),
            None => Err(self.fault("the message ends too early")),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), Fault> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.fault("expected a value"))
        }
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let count = leading_digits(&self.bytes[self.at..]);
        self.at += count;
        count
    }

    #[inline]
    fn number(&mut self) -> Result<(), Fault> {
        if self.bytes[self.at] == b'-' {
            self.at += 1;
            if self.bytes.get(self.at) == Some(&b'I') {
                self.flawed = true;
                return self.literal(b"Infinity");
            }
        }
        let start = self.at;
        let leading_zero = self.bytes.get(self.at) == Some(&b'0');
        let whole = self.digits();
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(self.fault("not a number"));
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.fault("not a number"));
            }
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            let exponent = self.digits();
            if exponent == 0 {
                return Err(self.fault("not a number"));
            }
            self.flawed |= exponent > 2 && is_infinite(&self.bytes[start..self.at]);
        }
        self.flawed |= whole > 300 && is_infinite(&self.bytes[start..self.at]);
        Ok(())
    }

    /// Scans a string including its quotes; returns whether it has escapes.
    #[inline]
    fn string(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        let start = self.at;
        while let Some(chunk) = self.bytes[self.at..].first_chunk::<16>() {
            let (quotes, others) = interruptions(chunk);
            if others | quotes == 0 {
                self.at += 16;
                continue;
            }
            // The mask has all bits up to the first quote.
            if quotes == 0 || others & (quotes ^ (quotes - 1)) != 0 {
                break;
            }
            self.at += quotes.trailing_zeros() as usize + 1;
            return Ok(false);
        }
        self.uncommon_string(start)
    }

    /// Scans a string with escapes or non-ASCII text, or near the end of the line.
    fn uncommon_string(&mut self, start: usize) -> Result<bool, Fault> {
        let mut escaped = false;
        let mut beyond_ascii = false;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..0x20) => {
                    // A control character that should have been escaped.
                    self.flawed = true;
                    self.at += 1;
                }
                Some(_) => {
                    let (length, high) = plain_run(&self.bytes[self.at..]);
                    beyond_ascii |= high;
                    self.at += length;
                }
                None => return Err(self.fault("the message ends within a string")),
            }
        }
        if beyond_ascii && std::str::from_utf8(&self.bytes[start..self.at]).is_err() {
            self.flawed = true;
        }
        self.at += 1;
        Ok(escaped)
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let Some(unit) = hex4(self.bytes, self.at + 2) else {
                    return Err(self.fault("not an escape"));
                };
                self.at += 6;
                match unit {
                    0xD800..=0xDBFF if low_surrogate(self.bytes, self.at) => self.at += 6,
                    0xD800..=0xDFFF => self.flawed = true,
                    _ => {}
                }
                Ok(())
            }
            Some(_) => Err(self.fault("not an escape")),
            None => Err(self.fault("the message ends within a string")),
        }
    }

    fn fault(&self, what: &'static str) -> Fault {
        Fault { at: self.at, what }
    }
}

/// Bit masks of the quotes in sixteen bytes, and of the other bytes that need care: backslashes, control characters,
/// non-ASCII text.
#[inline]
fn interruptions(chunk: &[u8; 16]) -> (u32, u32) {
    let bytes = u8x16::new(*chunk);
    let quotes = bytes.simd_eq(u8x16::splat(b'"'));
    let control = bytes.min(u8x16::splat(0x1F)).simd_eq(bytes);
    // The mask consists of the highest bit of each byte, which is set in non-ASCII bytes.
    let others = bytes.simd_eq(u8x16::splat(b'\\')) | control | bytes;
    (quotes.to_bitmask(), others.to_bitmask())
}

/// The length of the run before the next quote, backslash or control character, and whether it has non-ASCII bytes.
fn plain_run(bytes: &[u8]) -> (usize, bool) {
    let mut at = 0;
    let mut high = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<16>() {
        let (quotes, others) = interruptions(chunk);
        let beyond_ascii = u8x16::new(*chunk).to_bitmask();
        let ends = (quotes | others) & !beyond_ascii;
        if ends != 0 {
            let before = ends.trailing_zeros();
            high |= beyond_ascii & !(u32::MAX << before);
            return (at + before as usize, high != 0);
        }
        high |= beyond_ascii;
        at += 16;
    }
    let rest = &bytes[at..];
    let length = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20).unwrap_or(rest.len());
    (at + length, high != 0 || !rest[..length].is_ascii())
}

#[cfg(test)]
mod tests;
