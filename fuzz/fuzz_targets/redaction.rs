//! Redaction: the first line is a secret, the rest a text. A long secret is not in what is left of the text, not even after
//! a second look.
#![no_main]

use flow_shim::secrets::redactor::Redactor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (secret, text) = input.split_once('\n').unwrap_or((input, input));
    let secret = secret.trim();
    let Some(redactor) = Redactor::default().with(vec![secret.to_owned()]) else { return };
    let redacted = redactor.text(text);
    // Shorter ones are redacted as whole words only; the mask itself is no secret.
    if secret.len() >= 8 && !secret.contains('*') {
        assert!(!redacted.contains(secret), "the secret is visible");
    }
    // A text that begins with a secret is cut behind it.
    let cut = redactor.safe_cut(text.as_bytes(), text.len() / 2);
    assert!(text.is_char_boundary(cut));
});
