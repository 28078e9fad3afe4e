//! Facts about the parts of strings and numbers that scanning and repairing share.

use wide::u8x16;

/// How many decimal digits a text begins with.
#[inline(always)]
pub fn leading_digits(text: &[u8]) -> usize {
    if let Some(chunk) = text.first_chunk::<16>() {
        let above_zero = u8x16::new(*chunk) - u8x16::splat(b'0');
        let count = above_zero.min(u8x16::splat(9)).simd_eq(above_zero).to_bitmask().trailing_ones() as usize;
        if count < 16 {
            return count;
        }
    }
    text.iter().position(|it| !it.is_ascii_digit()).unwrap_or(text.len())
}

/// Whether two texts are the same. For short ones, a call of memcmp would cost more than the comparison.
#[inline(always)]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        0..4 => one.iter().zip(other).all(|(one, other)| one == other),
        4..=8 => one.first_chunk::<4>() == other.first_chunk::<4>() && one.last_chunk::<4>() == other.last_chunk::<4>(),
        9..=16 => {
            one.first_chunk::<8>() == other.first_chunk::<8>() && one.last_chunk::<8>() == other.last_chunk::<8>()
        }
        _ => one == other,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn leading_digits_are_counted(digits in "[0-9]{0,40}", rest in "([^0-9].{0,20})?") {
            let text = format!("{digits}{rest}");
            prop_assert_eq!(leading_digits(text.as_bytes()), digits.len());
        }

        #[test]
        fn the_same_texts_are_the_same(one in "[ab]{0,20}", other in "[ab]{0,20}", at in 0..20usize) {
            prop_assert_eq!(same(one.as_bytes(), other.as_bytes()), one == other);
            prop_assert!(same(one.as_bytes(), one.clone().as_bytes()));
            let mut changed = one.clone().into_bytes();
            if let Some(byte) = changed.get_mut(at) {
                *byte = b'c';
                prop_assert!(!same(one.as_bytes(), &changed));
            }
        }
    }
}
