//! Facts about the parts of strings and numbers that scanning and repairing share.

/// How many decimal digits a text begins with. Looks at eight bytes at once.
#[inline(always)]
pub fn leading_digits(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = text[at..].first_chunk::<8>() {
        let bytes = u64::from_le_bytes(*chunk);
        // The high half of a digit is 3, also after 6 is added. A byte that carries into the next one is no digit itself.
        let others = (bytes ^ 0x3030_3030_3030_3030
            | bytes.wrapping_add(0x0606_0606_0606_0606) ^ 0x3030_3030_3030_3030)
            & 0xF0F0_F0F0_F0F0_F0F0;
        if others != 0 {
            return at + others.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + text[at..].iter().position(|it| !it.is_ascii_digit()).unwrap_or(text.len() - at)
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
        fn leading_digits_are_counted(digits in "[0-9]{0,40}", rest in prop::collection::vec(any::<u8>(), 0..20)) {
            let text = [digits.as_bytes(), &rest].concat();
            let want = text.iter().take_while(|it| it.is_ascii_digit()).count();
            prop_assert_eq!(leading_digits(&text), want);
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
