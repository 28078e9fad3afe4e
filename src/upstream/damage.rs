//! Tells a damaged message from a log line.
//!
//! Lines that are not messages are noise, unless they carry a record or a state: a message that lost a byte, was
//! printed as a Python value or within quotes, or is in another encoding. To skip such a line would be to lose its
//! data (A1). A log line that only mentions the words of a protocol is noise.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::LazyLock;

use memchr::memmem;
use regex::bytes::Regex;

use super::Broken;

/// Terminal control sequences, control characters, white space and byte order marks. The final byte of a sequence is
/// never a brace, so a broken sequence can't swallow a message.
const CONTROL: &str = r"(?-u:\x1b\[[0-?]*[ -/]*[@-Z\\^-z~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-z~]|[\x00-\x20\x7f]|\xEF\xBB\xBF)";

static IN_FRONT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("^{CONTROL}+")).ok());
static ALL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("^{CONTROL}*$")).ok());

/// The message that follows terminal control codes, or a progress bar that a carriage return ends; `None` if the line
/// is unchanged by leaving them out.
fn behind_control_codes(line: &[u8]) -> Option<&[u8]> {
    let strip = |it| IN_FRONT.as_ref()?.find(it).map(|found| found.end());
    let from = match strip(line) {
        Some(length) if line.get(length) == Some(&b'{') => length,
        _ => {
            // A carriage return begins the line anew, as far as a terminal shows it.
            let brace = memchr::memchr(b'{', line)?;
            let bar = memchr::memrchr(b'\r', &line[..brace])?;
            bar + strip(&line[bar..]).filter(|it| bar + it == brace)?
        }
    };
    Some(&line[from..])
}

/// The message in a line that does not begin with one.
#[cold]
pub fn message_within(line: &[u8]) -> Result<&[u8], Broken> {
    behind_control_codes(line).ok_or_else(|| classify(line, None, "a message begins within a line"))
}

/// Whether what follows a message prints nothing.
#[cold]
pub fn is_control_codes(rest: &[u8]) -> bool {
    ALL.as_ref().is_some_and(|it| it.is_match(rest))
}

/// The error for a line that is not a message: [`Broken::Lost`] if it carries data, else [`Broken::Noise`].
#[cold]
pub fn classify(line: &[u8], stream: Option<Cow<'_, str>>, reason: impl Display) -> Broken {
    let begin = line.trim_ascii_start();
    // Every message is an object: a cheap answer for almost all log lines.
    if memchr::memchr2(b'{', b'}', line).is_none() {
        let is_type =
            (begin.starts_with(b"\"type\"") || begin.starts_with(b"'type'")) && Text::of(line).has_type_of_data();
        return match is_type {
            true => Broken::lost(None, "it is printed over several lines, and has to be on one"),
            false => Broken::Noise,
        };
    }
    let encoding = encoding(line);
    let text = Text::of(line);
    if let Some(encoding) = encoding
        && (text.has(r#""type":""#) || text.carries_data())
    {
        let reason = format!("it is {encoding}, and flow-shim reads UTF-8: set the encoding of the connector's output");
        return Broken::lost(None, reason);
    }
    if !text.carries_data() {
        return Broken::Noise;
    }
    if begin.starts_with(b"{'") {
        return Broken::lost(stream, "it is printed as a Python value, not as JSON");
    }
    if begin.starts_with(b"\"{") || begin.starts_with(b"'{") {
        return Broken::lost(stream, "it is printed within quotes, not as a JSON object");
    }
    Broken::lost(stream, reason)
}

/// The encoding of a line that is not UTF-8, by the NULs that ASCII text has in it.
fn encoding(line: &[u8]) -> Option<&'static str> {
    let nuls = memchr::memchr_iter(0, line).count();
    let is_marked = line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff");
    if nuls * 8 >= line.len() * 5 {
        Some("UTF-32")
    } else if is_marked || nuls * 5 >= line.len() {
        Some("UTF-16")
    } else {
        None
    }
}

/// A line reduced to what messages are told by: no white space, no backslashes, no NULs, and one kind of quotes.
struct Text(Vec<u8>);

impl Text {
    fn of(line: &[u8]) -> Self {
        let is_kept = |it: &u8| !it.is_ascii_whitespace() && !matches!(it, b'\\' | 0);
        Self(line.iter().copied().filter(is_kept).map(|it| if it == b'\'' { b'"' } else { it }).collect())
    }

    fn has(&self, part: &str) -> bool {
        memmem::find(&self.0, part.as_bytes()).is_some()
    }

    /// With one wrong byte anywhere, in any case.
    fn has_nearly(&self, part: &str) -> bool {
        (0..self.0.len()).any(|at| begins_nearly(&self.0[at..], part.as_bytes(), 1))
    }

    fn carries_data(&self) -> bool {
        // A message that has its type at its end, and is cut before it.
        let has_begun =
            [r#"{"record":{"#, r#"{"state":{"#, r#"{"value":"#].iter().any(|it| self.0.starts_with(it.as_bytes()));
        has_begun || self.is_cut_in_its_type() || self.carries_record() || self.carries_state() || self.carries_error()
    }

    fn has_type_of_data(&self) -> bool {
        [r#""type":"RECORD""#, r#""type":"STATE""#, r#""type":"BATCH""#].into_iter().any(|it| self.has(it))
    }

    /// Cut before it says what it is.
    fn is_cut_in_its_type(&self) -> bool {
        let is_begin = |whole: &str| self.0.len() > 2 && whole.as_bytes().starts_with(&self.0);
        [r#"{"type":"RECORD"#, r#"{"type":"STATE"#, r#"{"type":"BATCH"#].into_iter().any(is_begin)
    }

    /// One wrong byte in the type leaves the payload's members, one in those leaves the type.
    fn carries_record(&self) -> bool {
        self.has(r#""type":"RECORD""#)
            || self.has(r#""type":"BATCH""#)
            // Taps may write types in lower case, and so do Avro schemas.
            || self.has(r#""type":"record""#) && (self.has(r#""stream":""#) || self.has(r#""record":{"#))
            || self.has(r#""record":{"#) && (self.has(r#""stream":""#) || self.has(r#""data":{"#))
            || self.has(r#""manifest":["#) && self.has(r#""encoding":{"#)
    }

    fn carries_state(&self) -> bool {
        const PARTS: [&str; 5] = [
            r#""stream_descriptor":{"#,
            r#""stream_state":"#,
            r#""stream_states":["#,
            r#""shared_state":"#,
            r#""global":{"#,
        ];
        self.has(r#""type":"STATE""#)
            || self.has(r#""state":{"#) && PARTS.iter().any(|it| self.has(it))
            || (self.has(r#""value":"#) || self.has(r#""state":{"#))
                && (self.has(r#":"STATE""#) || self.has_nearly(r#""type":"STATE""#))
    }

    fn carries_error(&self) -> bool {
        (self.has(r#""type":"TRACE""#) || self.has(r#""trace":{"#))
            && (self.has(r#""type":"ERROR""#) || self.has(r#""error":{"#) || self.has(r#""status":"INCOMPLETE""#))
    }
}

/// Whether a word is another one, but for at most this number of wrong, missing or additional characters.
pub fn is_nearly(word: &str, other: &str, wrong: u8) -> bool {
    let ascii = |it: char| u8::try_from(it).ok().filter(u8::is_ascii).unwrap_or_default();
    let quoted = |it: &str| format!("\"{it}\"").chars().map(ascii).collect::<Vec<u8>>();
    begins_nearly(&quoted(word), &quoted(other), wrong)
}

/// Whether a text begins with a part, but for some wrong, missing or additional bytes.
fn begins_nearly(text: &[u8], part: &[u8], wrong: u8) -> bool {
    let same = text.iter().zip(part).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    let (text, part) = (&text[same..], &part[same..]);
    if part.is_empty() {
        return true;
    }
    let Some(wrong) = wrong.checked_sub(1) else { return false };
    let after = text.get(1..).unwrap_or_default();
    begins_nearly(after, &part[1..], wrong)
        || begins_nearly(after, part, wrong)
        || begins_nearly(text, &part[1..], wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_noise(line: &[u8]) -> bool {
        matches!(classify(line, None, "broken"), Broken::Noise)
    }

    #[test]
    fn log_lines_that_mention_messages_are_noise() {
        for line in [
            r#"INFO Wrote RECORD of stream "users": {"id": 1}"#,
            r#"DEBUG state {"users": {"id": 5}} of type STATE"#,
            r#"{"type":"struct","fields":["#,
            r#"{"type":"int64","field":"id"}"#,
            r#"INFO schema {"type":"record","name":"x","fields":[]}"#,
            r#"{"#,
            r#"["type", "RECORD"]"#,
            r#"  "type": "record","#,
            r#"  "type": "STREAM""#,
            r#""type" is missing in RECORD"#,
            r#"{"type": "LOG", "log": {"level": "INFO", "message": "line one"#,
            r#"{"type": "LOG", "log": {"level": "INFO", "message": "a "quoted" word"}}"#,
            r#"line two"}}"#,
            r#"{'type': 'struct', 'state': {'a': 1}}"#,
            r#"{"level": "info", "stream": "users", "data": {"text": "a "quoted" word"}}"#,
            r#"{"type":"TRACE","trace":{"type":"ESTIMATE","estimate":{"name":"a"#,
        ] {
            assert!(is_noise(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn damaged_messages_are_lost_data() {
        for line in [
            r#"{'type': 'RECORD', 'record': {'stream': 'a', 'data': {'id': 3}}}"#,
            r#""{\"type\": \"RECORD\", \"record\": {\"stream\": \"a\", \"data\": {\"id\": 3}}}""#,
            r#"{"tyqe":"RECORD","record":{"stream":"a","data":{"#,
            r#"{"type":"REC"ORD","stream":"a","record":{"id":1}}"#,
            r#"{"type":"STA"TE","value":{"bookmarks":{}}}"#,
            r#"  "type": "RECORD","#,
            r#"'type': 'STATE'"#,
            r#"{"ty"#,
            r#"{"type":"STA"#,
            r#"{"type":"TRACE","trace":{"type":"ERROR","error":{"message":"a "quoted" word"}}}"#,
        ] {
            assert!(!is_noise(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn another_encoding_is_named() {
        let message = r#"{"type": "LOG", "log": {"level": "INFO", "message": "hello"}}"#;
        let wide = |unit: fn(u16) -> Vec<u8>| message.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        for (line, name) in [
            (wide(|it| it.to_le_bytes().to_vec()), "UTF-16"),
            (wide(|it| it.to_be_bytes().to_vec()), "UTF-16"),
            (wide(|it| u32::from(it).to_le_bytes().to_vec()), "UTF-32"),
        ] {
            let Broken::Lost { reason, .. } = classify(&line, None, "broken") else { panic!("{name} is noise") };
            assert!(reason.contains(name), "{reason}");
        }
    }

    #[test]
    fn control_codes_are_left_out_and_nothing_else() {
        for (line, want) in [
            ("\x1b[32m{}", Some("{}")),
            ("\x1b(B\x1b[m\x1b]0;title\x07\0\x0c\u{feff} {}", Some("{}")),
            ("\r 10%|#  | 1/10\r{}", Some("{}")),
            (" 10%|#  | 1/10\r\x1b[K{}", Some("{}")),
            ("INFO \x1b[32m{}", None),
            ("\x1b[{}", None),
            ("hello", None),
        ] {
            assert_eq!(behind_control_codes(line.as_bytes()), want.map(str::as_bytes), "{line:?}");
        }
        assert!(is_control_codes(b"\x1b[0m\x00 \xef\xbb\xbf") && !is_control_codes(b"\x1b[0m{}"));
    }
}
