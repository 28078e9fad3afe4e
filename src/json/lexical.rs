//! Facts about the parts of strings and numbers that scanning and repairing share.

/// Whether a number is JSON, but beyond what a double can hold: Flow's parsers reject it.
#[cold]
pub fn is_infinite(number: &[u8]) -> bool {
    std::str::from_utf8(number).ok().and_then(|it| it.parse::<f64>().ok()).is_some_and(f64::is_infinite)
}

/// The four hexadecimal digits of a `\u` escape.
pub fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

/// Whether the second half of a surrogate pair is at this position.
pub fn low_surrogate(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 2) == Some(b"\\u") && matches!(hex4(bytes, at + 2), Some(0xDC00..=0xDFFF))
}
