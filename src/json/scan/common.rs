//! The values that almost all are: short strings of plain text, ordinary numbers, literals. They are recognised with few
//! instructions and without branches on their lengths; whatever is not recognised is left to the scanner.

use wide::{i8x16, u8x16};

/// So many bytes have to be there. A record's line mostly goes on behind its last value.
const WINDOW: usize = 40;

/// The end of the scalar at `at`, if it is a common one.
#[inline(always)]
pub(super) fn scalar(text: &[u8], at: usize) -> Option<usize> {
    let window = text.get(at..)?.first_chunk::<WINDOW>()?;
    let length = match window[0] {
        b'"' => {
            let length = 1 + interruption(window[1..].first_chunk()?);
            return (window[length] == b'"').then_some(at + length + 1);
        }
        b'-' | b'0'..=b'9' => number(window)?,
        b't' if window.starts_with(b"true") => 4,
        b'n' if window.starts_with(b"null") => 4,
        b'f' if window.starts_with(b"false") => 5,
        _ => return None,
    };
    matches!(window[length], b',' | b'}' | b']').then_some(at + length)
}

/// How many bytes precede the first that needs care: a quote, a backslash, a control character, non-ASCII text.
#[inline(always)]
pub(super) fn interruption(chunk: &[u8; 32]) -> usize {
    let half = |from: usize| {
        let bytes = i8x16::new(std::array::from_fn(|it| chunk[from + it] as i8));
        // Non-ASCII bytes are negative.
        let low = bytes.simd_lt(i8x16::splat(0x20));
        (low | bytes.simd_eq(i8x16::splat(b'"' as i8)) | bytes.simd_eq(i8x16::splat(b'\\' as i8))).to_bitmask()
    };
    (half(0) | half(16) << 16).trailing_zeros() as usize
}

/// The length of the run before the next quote, backslash or control character, and whether it has non-ASCII bytes.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> (usize, bool) {
    let mut at = 0;
    let mut beyond_ascii = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<32>() {
        let [(low_ends, low_beyond), (high_ends, high_beyond)] = [0, 16].map(|from| ends(&chunk[from..]));
        let (ends, beyond) = (low_ends | high_ends << 16, low_beyond | high_beyond << 16);
        if ends != 0 {
            let before = ends.trailing_zeros();
            beyond_ascii |= beyond & !(u32::MAX << before);
            return (at + before as usize, beyond_ascii != 0);
        }
        beyond_ascii |= beyond;
        at += 32;
    }
    let rest = &bytes[at..];
    let length = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20).unwrap_or(rest.len());
    (at + length, beyond_ascii != 0 || !rest[..length].is_ascii())
}

/// Bit masks of the quotes, backslashes and control characters in sixteen bytes, and of the non-ASCII ones.
#[inline(always)]
fn ends(chunk: &[u8]) -> (u32, u32) {
    let bytes = u8x16::new(std::array::from_fn(|it| chunk[it]));
    let control = bytes.min(u8x16::splat(0x1F)).simd_eq(bytes);
    let ends = bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\')) | control;
    // A mask consists of the highest bit of each byte, which is set in non-ASCII bytes.
    (ends.to_bitmask(), bytes.to_bitmask())
}

/// The length of a number without an exponent, up to 16 bytes long. What follows it is not looked at.
#[inline(always)]
fn number(window: &[u8; WINDOW]) -> Option<usize> {
    let bytes = u8x16::new(*window.first_chunk()?);
    let values = bytes - u8x16::splat(b'0');
    let others = !values.min(u8x16::splat(9)).simd_eq(values).to_bitmask();
    let sign = u32::from(window[0] == b'-');
    // Bits above the sixteenth are set, so each of these counts ends.
    let whole = (others >> sign).trailing_zeros();
    let start = sign as usize;
    if whole == 0 || window[start] == b'0' && whole > 1 {
        return None;
    }
    let end = start + whole as usize;
    if window[end] != b'.' {
        return Some(end);
    }
    let fraction = (others >> (sign + whole + 1)).trailing_zeros();
    (fraction > 0).then_some(end + 1 + fraction as usize)
}
