//! The patterns that show a secret: the text itself, its lines, and its base64 and hex forms. Escapes (JSON, Python, URLs)
//! are not forms: [`super::views`] undoes them in the text that is searched.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

use super::views;

/// A shorter secret is redacted as a whole word only: replaced everywhere, it would leave no log readable.
pub const SHORTEST: usize = 4;

/// A longer text is searched for in pieces of at most this many bytes, which bounds what a cut can divide. Divisible by
/// three, so that the base64 forms of consecutive pieces are consecutive.
const LONGEST: usize = 768;

/// Base64 and hex forms of longer texts would cost more memory than they are worth.
const LONGEST_ENCODED: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Redacted wherever it occurs.
    Text,
    /// Redacted where neither a letter nor a digit is beside it.
    Word,
    /// The characters of base64 that a secret determines completely. Those before and after it that it determines in part
    /// belong to the secret as well.
    Base64 { before: bool, after: bool },
}

/// All patterns of a secret.
pub fn patterns(secret: &str) -> Vec<(Vec<u8>, Kind)> {
    let secret = secret.trim();
    let mut patterns = Vec::new();
    for variant in variants(secret) {
        if variant.len() < SHORTEST {
            if !variant.is_empty() {
                patterns.push((variant.into_bytes(), Kind::Word));
            }
            continue;
        }
        let lines = variant.lines().map(str::trim).filter(|it| it.len() >= SHORTEST && !it.starts_with("-----"));
        let lines: Vec<&str> = lines.filter(|it| *it != variant).collect();
        for text in std::iter::once(variant.as_str()).chain(lines) {
            let is_encoded = text.len() <= LONGEST_ENCODED;
            for piece in pieces(text) {
                patterns.push((piece.to_vec(), Kind::Text));
                // How a form leaves it that escapes other characters only: `+` reads as a space there.
                if piece.contains(&b'+') {
                    patterns.push((piece.iter().map(|it| if *it == b'+' { b' ' } else { *it }).collect(), Kind::Text));
                }
                if is_encoded {
                    encoded(piece, &mut patterns);
                }
            }
        }
    }
    patterns
}

/// The secret, and what it is once its own escapes are undone: keys are often pasted with `\n` for their line ends, and
/// passwords in URLs are percent-encoded.
fn variants(secret: &str) -> Vec<String> {
    let undone = [views::unescaped(secret.as_bytes()), views::percent_decoded(secret.as_bytes(), false)];
    let undone = undone.into_iter().flatten().filter_map(|it| String::from_utf8(it.text).ok());
    let undone = undone.map(|it| it.trim().to_owned()).filter(|it| it.len() >= SHORTEST);
    std::iter::once(secret.to_owned()).chain(undone).collect()
}

/// Consecutive pieces of about the same length.
fn pieces(text: &str) -> impl Iterator<Item = &[u8]> {
    let count = text.len().div_ceil(LONGEST).max(1);
    let length = text.len().div_ceil(count).next_multiple_of(3);
    text.as_bytes().chunks(length)
}

fn encoded(text: &[u8], patterns: &mut Vec<(Vec<u8>, Kind)>) {
    if text.len() < SHORTEST {
        return;
    }
    let hex = |digits: &[u8; 16]| -> Vec<u8> {
        text.iter().flat_map(|it| [digits[usize::from(it >> 4)], digits[usize::from(it & 15)]]).collect()
    };
    patterns.push((hex(b"0123456789abcdef"), Kind::Text));
    patterns.push((hex(b"0123456789ABCDEF"), Kind::Text));
    for alphabet in [STANDARD, URL_SAFE] {
        let engine = GeneralPurpose::new(&alphabet, NO_PAD);
        // Where the secret begins within a group of three bytes, as after the `user:` of Basic authentication.
        for skipped in 0..3 {
            let shifted = [&[0; 2][..skipped], text].concat();
            let all = engine.encode(&shifted).into_bytes();
            let determined = (skipped * 8).div_ceil(6)..shifted.len() * 8 / 6;
            let kind = Kind::Base64 { before: skipped > 0, after: determined.end < all.len() };
            patterns.push((all[determined].to_vec(), kind));
        }
    }
}
