//! A validating scanner for one JSON text. It finds the boundaries of values and does not build them.
//!
//! Connectors do not always print valid JSON. If the boundaries of an invalid value are clear, the scanner records a flaw
//! for [`super::repair`] and continues; everything else is a [`Fault`] that ends the scan.

mod common;
mod fault;
pub mod inside;
mod key;
mod nesting;

use std::ops::Range;

use super::hints::Hints;
use super::lexical::{hex4, is_infinite, leading_digits, low_surrogate};
use super::watch::NameId;
pub use fault::Fault;
use fault::What;
pub use key::{Key, string_text};
use nesting::Nesting;

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
    /// Some of it is not ASCII. That it is UTF-8 is checked at once for all of it.
    beyond_ascii: bool,
}

impl<'a, 'h> Scanner<'a, 'h> {
    /// `hints` are from earlier texts of the same kind.
    pub fn new(bytes: &'a [u8], hints: &'h mut Hints) -> Self {
        hints.rewind();
        Self { bytes, hints, at: 0, flawed: false, beyond_ascii: false }
    }

    /// Whether anything scanned so far needs repair.
    #[inline]
    pub fn flawed(&self) -> bool {
        self.flawed || self.beyond_ascii && simdutf8::basic::from_utf8(&self.bytes[..self.at]).is_err()
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
        self.expect(b'{', What::NoObject)?;
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
        if self.bytes.get(self.at) != Some(&b',') {
            match self.peek() {
                Some(b',') => {}
                Some(b'}') => {
                    self.at += 1;
                    return Ok(false);
                }
                _ => return Err(self.fault(What::NoCommaOrBrace)),
            }
        }
        self.at += 1;
        Ok(true)
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

    /// Goes on behind bytes that need no scan.
    #[inline]
    pub fn skip(&mut self, length: usize) {
        self.at += length;
    }

    /// Scans one value of any kind and returns its range.
    #[inline(always)]
    pub fn value(&mut self) -> Result<Range<usize>, Fault> {
        let start = self.at;
        match common::scalar(self.bytes, start) {
            Some(end) => {
                self.at = end;
                Ok(start..end)
            }
            None => self.other_value(),
        }
    }

    #[inline(never)]
    fn other_value(&mut self) -> Result<Range<usize>, Fault> {
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
            Some(_) => Err(self.fault(What::SomethingFollows)),
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
    fn expect(&mut self, byte: u8, what: What) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(self.fault(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Scans a member's name, from the comma or brace before it up to its value.
    #[inline(always)]
    fn key(&mut self) -> Result<Key<'a>, Fault> {
        let rest = &self.bytes[self.at..];
        let Some(it) = self.hints.guess(rest) else { return self.new_key() };
        let name = self.at + it.name.start..self.at + it.name.end;
        self.at += it.length;
        Ok(Key { text: self.bytes, name, escaped: false, watched: it.watched })
    }

    #[inline(never)]
    fn new_key(&mut self) -> Result<Key<'a>, Fault> {
        let from = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.fault(What::NoName));
        }
        let start = self.at + 1;
        let was_flawed = std::mem::take(&mut self.flawed);
        let escaped = self.string()?;
        let name = start..self.at - 1;
        self.expect(b':', What::NoColon)?;
        self.peek();
        let watched = self.hints.id(&key::unquote_bytes(&self.bytes[name.clone()], escaped));
        // Hints are compared and not scanned again, so learn only valid names.
        let text = &self.bytes[from..self.at];
        if !escaped && !self.flawed && std::str::from_utf8(text).is_ok() {
            self.hints.learn(text, name.start - from..name.end - from, watched);
        }
        self.flawed |= was_flawed;
        Ok(Key { text: self.bytes, name, escaped, watched })
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
            if let Some(end) = common::scalar(self.bytes, self.at) {
                self.at = end;
            } else if self.starts_container(&mut open)? {
                continue;
            }
            // At the end of a value: close the containers that end here.
            loop {
                let Some(in_object) = open.top() else {
                    return Ok(());
                };
                if self.bytes.get(self.at) == Some(&b',') {
                    self.at += 1;
                    if in_object {
                        self.inner_key()?;
                    }
                    break;
                }
                match (self.peek(), in_object) {
                    // After white space.
                    (Some(b','), _) => {}
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        open.pop();
                    }
                    (_, true) => return Err(self.fault(What::NoCommaOrBrace)),
                    (_, false) => return Err(self.fault(What::NoCommaOrBracket)),
                }
            }
        }
    }

    /// Scans a value that is not a common scalar, or the start of a container up to its first value. Whether it is that.
    #[inline]
    fn starts_container(&mut self, open: &mut Nesting) -> Result<bool, Fault> {
        let first = self.peek();
        let is_object = first == Some(b'{');
        if !is_object && first != Some(b'[') {
            return self.scalar(first).map(|()| false);
        }
        self.at += 1;
        if self.peek() == Some(if is_object { b'}' } else { b']' }) {
            self.at += 1;
            return Ok(false);
        }
        open.push(is_object);
        if is_object {
            self.inner_key()?;
        }
        Ok(true)
    }

    /// Scans a value that is not a container and begins with this byte, the next one.
    #[inline(never)]
    fn scalar(&mut self, first: Option<u8>) -> Result<(), Fault> {
        match first {
            Some(b'"') => self.string().map(drop),
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
            Some(_) => Err(self.fault(What::NoValue)),
            None => Err(self.fault(What::EndsTooEarly)),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), Fault> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.fault(What::NoValue))
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
            return Err(self.fault(What::NotANumber));
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.fault(What::NotANumber));
            }
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            let exponent = self.digits();
            if exponent == 0 {
                return Err(self.fault(What::NotANumber));
            }
            self.flawed |= exponent > 2 && is_infinite(&self.bytes[start..self.at]);
        }
        self.flawed |= whole > 300 && is_infinite(&self.bytes[start..self.at]);
        Ok(())
    }

    /// Scans a string including its quotes; returns whether it has escapes.
    #[inline(never)]
    fn string(&mut self) -> Result<bool, Fault> {
        let mut escaped = false;
        self.at += 1;
        loop {
            let (length, beyond_ascii) = common::plain_run(&self.bytes[self.at..]);
            self.at += length;
            self.beyond_ascii |= beyond_ascii;
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => {
                    // A control character that should have been escaped.
                    self.flawed = true;
                    self.at += 1;
                }
                None => return Err(self.fault(What::EndsWithinString)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let Some(unit) = hex4(self.bytes, self.at + 2) else {
                    return Err(self.fault(What::NotAnEscape));
                };
                self.at += 6;
                match unit {
                    0xD800..=0xDBFF if low_surrogate(self.bytes, self.at) => self.at += 6,
                    0xD800..=0xDFFF => self.flawed = true,
                    _ => {}
                }
                Ok(())
            }
            Some(_) => Err(self.fault(What::NotAnEscape)),
            None => Err(self.fault(What::EndsWithinString)),
        }
    }

    #[cold]
    fn fault(&self, what: What) -> Fault {
        Fault { at: u32::try_from(self.at).unwrap_or(u32::MAX), what }
    }
}

#[cfg(test)]
mod tests;
