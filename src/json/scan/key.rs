//! Members' names, and what strings say.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::repair;
use crate::json::watch::NameId;

/// A member's name: the text between its quotes.
#[derive(Clone, Debug)]
pub struct Key<'a> {
    pub(super) text: &'a [u8],
    pub(super) name: Range<usize>,
    pub(super) escaped: bool,
    /// Its id if it is watched.
    pub watched: Option<NameId>,
}

impl<'a> Key<'a> {
    /// Whether the name is `name`, with or without escapes.
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        if self.escaped { unquote(self.raw(), true) == name } else { self.raw() == name.as_bytes() }
    }

    /// False if the name can't begin with this byte.
    #[inline]
    pub fn may_begin_with(&self, byte: u8) -> bool {
        self.escaped || self.text.get(self.name.start) == Some(&byte)
    }

    /// The name, unescaped.
    #[inline]
    pub fn name(&self) -> Cow<'a, [u8]> {
        unquote_bytes(self.raw(), self.escaped)
    }

    /// The position of the name's opening quote in the scanned text.
    pub fn position(&self) -> usize {
        self.name.start - 1
    }

    #[inline]
    fn raw(&self) -> &'a [u8] {
        self.text.get(self.name.clone()).unwrap_or_default()
    }
}

/// Unescapes the text between the quotes of a string; flaws become U+FFFD.
fn unquote(raw: &[u8], escaped: bool) -> Cow<'_, str> {
    if !escaped {
        return String::from_utf8_lossy(raw);
    }
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice(&quoted).map(Cow::Owned).unwrap_or_else(|_| Cow::Owned(repair::string(raw)))
}

/// The same; a string without escapes stays as it is, whether it is valid or not.
pub(super) fn unquote_bytes(raw: &[u8], escaped: bool) -> Cow<'_, [u8]> {
    if escaped { Cow::Owned(unquote(raw, escaped).into_owned().into_bytes()) } else { Cow::Borrowed(raw) }
}

/// Unescapes a scanned string value that includes its quotes.
pub fn string_text(quoted: &[u8]) -> Cow<'_, str> {
    let raw = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    unquote(raw, memchr::memchr(b'\\', raw).is_some())
}
