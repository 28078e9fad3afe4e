//! A JSON text on one line: white space between its tokens is dropped, and nothing else.

/// Drops the white space outside of strings.
pub fn compact(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for &byte in text {
        if !in_string && matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        }
        out.push(byte);
        let is_escape = in_string && !escaped && byte == b'\\';
        in_string ^= byte == b'"' && !escaped;
        escaped = is_escape;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers_stay_as_they_are() {
        let text = "{\n  \"a b\" : [1.50,\t\"x \\\" y\", \"\\\\\"\n] }";
        assert_eq!(String::from_utf8(compact(text.as_bytes())).unwrap(), r#"{"a b":[1.50,"x \" y","\\"]}"#);
    }
}
