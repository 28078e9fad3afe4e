//! A text with its escapes undone, and where each byte of that comes from in the original.

use memchr::memchr;

pub struct View {
    pub text: Vec<u8>,
    /// Where each byte begins in the text that was decoded, and the end of that text.
    pub starts: Vec<u32>,
}

impl View {
    fn with_capacity(length: usize) -> Self {
        Self { text: Vec::with_capacity(length), starts: Vec::with_capacity(length + 1) }
    }

    fn push(&mut self, bytes: &[u8], start: usize) {
        self.text.extend_from_slice(bytes);
        self.starts.extend(bytes.iter().map(|_| start as u32));
    }

    fn extend(&mut self, text: &[u8], from: usize, to: usize) {
        self.text.extend_from_slice(&text[from..to]);
        self.starts.extend(from as u32..to as u32);
    }

    fn end(mut self, length: usize) -> Self {
        self.starts.push(length as u32);
        self
    }
}

/// Undoes backslash escapes of JSON, Python, Rust and C once; `None` if there are none.
pub fn unescaped(text: &[u8]) -> Option<View> {
    let mut view = View::with_capacity(text.len());
    let (mut at, mut found) = (0, false);
    while let Some(offset) = memchr(b'\\', &text[at..]) {
        let start = at + offset;
        view.extend(text, at, start);
        match escape(&text[start + 1..]) {
            Some((bytes, length)) => {
                found = true;
                view.push(bytes.as_slice(), start);
                at = start + 1 + length;
            }
            None => {
                view.extend(text, start, start + 1);
                at = start + 1;
            }
        }
    }
    view.extend(text, at, text.len());
    found.then(|| view.end(text.len()))
}

/// Undoes percent-encoding, and `+` for a space where `plus` says so; `None` if there is none.
pub fn percent_decoded(text: &[u8], plus: bool) -> Option<View> {
    if memchr(b'%', text).is_none() && !(plus && memchr(b'+', text).is_some()) {
        return None;
    }
    let mut view = View::with_capacity(text.len());
    let (mut at, mut found) = (0, false);
    while at < text.len() {
        let (byte, length) = match text[at] {
            b'%' => number(&text[at + 1..], 2).map_or((b'%', 1), |it| (it as u8, 3)),
            b'+' if plus => (b' ', 1),
            other => (other, 1),
        };
        found |= byte != text[at] || length > 1;
        view.push(&[byte], at);
        at += length;
    }
    found.then(|| view.end(text.len()))
}

/// The bytes of one escape.
struct Bytes {
    bytes: [u8; 4],
    length: usize,
}

impl Bytes {
    fn byte(it: u8) -> Self {
        Self { bytes: [it, 0, 0, 0], length: 1 }
    }

    fn char(it: char) -> Self {
        let mut bytes = [0; 4];
        let length = it.encode_utf8(&mut bytes).len();
        Self { bytes, length }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What an escape stands for, and its length without the backslash.
fn escape(text: &[u8]) -> Option<(Bytes, usize)> {
    let simple = |it| Some((Bytes::byte(it), 1));
    match *text.first()? {
        b'n' => simple(b'\n'),
        b't' => simple(b'\t'),
        b'r' => simple(b'\r'),
        b'b' => simple(8),
        b'f' => simple(12),
        b'v' => simple(11),
        it @ (b'"' | b'\'' | b'\\' | b'/') => simple(it),
        b'x' => Some((Bytes::byte(number(&text[1..], 2)? as u8), 3)),
        b'U' => Some((Bytes::char(char::from_u32(number(&text[1..], 8)?)?), 9)),
        b'u' if text.get(1) == Some(&b'{') => {
            let digits = memchr(b'}', &text[2..]).filter(|it| (1..=6).contains(it))?;
            Some((Bytes::char(char::from_u32(number(&text[2..], digits)?)?), digits + 3))
        }
        b'u' => {
            let high = number(&text[1..], 4)?;
            if let Some(it) = char::from_u32(high) {
                return Some((Bytes::char(it), 5));
            }
            let low = text.get(5..).filter(|it| it.starts_with(b"\\u")).and_then(|it| number(&it[2..], 4))?;
            let pair = char::decode_utf16([high as u16, low as u16]).next()?.ok()?;
            Some((Bytes::char(pair), 11))
        }
        b'0'..=b'3' => {
            let digits = text.get(..3).filter(|it| it.iter().all(|it| (b'0'..=b'7').contains(it)))?;
            Some((Bytes::byte(digits.iter().fold(0, |sum, it| sum * 8 + (it - b'0'))), 3))
        }
        _ => None,
    }
}

/// A hexadecimal number of this many digits.
fn number(text: &[u8], digits: usize) -> Option<u32> {
    let digits = text.get(..digits)?;
    digits.iter().try_fold(0, |sum, it| Some(sum << 4 | char::from(*it).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_located() {
        let text = |view: Option<View>| view.map(|it| String::from_utf8(it.text).unwrap());
        assert_eq!(
            text(unescaped(br#"a\"b\\n\u00e9\ud83d\ude00\x41\u{e9}\101\q\ud83d."#)).unwrap(),
            "a\"b\\né😀AéA\\q\\ud83d."
        );
        assert_eq!(text(unescaped(br"\q")), None);
        assert_eq!(text(percent_decoded(b"a%20b%c3%A9%zz+", false)).unwrap(), "a bé%zz+");
        assert_eq!(text(percent_decoded(b"a+b", true)).unwrap(), "a b");
        assert!(percent_decoded(b"a+b%", false).is_none());
        assert_eq!(unescaped(br"a\nb").unwrap().starts, [0, 1, 3, 4]);
    }
}
