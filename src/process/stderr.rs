//! Forwards a connector's stderr, and the stdout of a server, to our logs, line by line, each at the level that it seems to
//! have.

use std::io::{BufRead, BufReader, Read};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::logging::{self, Fields, Level};
use crate::secrets;

/// A longer line is logged in pieces.
const LONGEST: usize = 64 * 1024;

/// What a connector's stderr may tell about its end.
#[derive(Clone, Debug, Default)]
pub struct Stderr {
    /// The last message that was logged as an error.
    pub last_error: Option<String>,
    /// The last line of any level.
    pub last_line: Option<String>,
}

impl Stderr {
    /// With what another output told, where this one told nothing.
    pub fn or(self, other: Self) -> Self {
        let last_error = self.last_error.or(other.last_error);
        Self { last_error, last_line: self.last_line.or(other.last_line) }
    }
}

/// Forwards all lines until the pipe closes, and calls `touch` for each. Once nobody `listens` to the connector any more, its
/// errors are consequences of that (a broken pipe) and are logged as debug lines.
pub fn forward(stderr: impl Read, touch: impl Fn(), listens: impl Fn() -> bool) -> Stderr {
    let mut said = Stderr::default();
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    let mut levels = Levels::default();
    loop {
        let room = (LONGEST + secrets::LOOKAHEAD).saturating_sub(line.len());
        match reader.by_ref().take(room as u64).read_until(b'\n', &mut line) {
            Ok(0) if line.is_empty() => return said,
            Err(_) => return said,
            Ok(_) => touch(),
        }
        // A secret must not be divided between two pieces: neither would show it as a whole.
        let is_piece = line.len() >= LONGEST + secrets::LOOKAHEAD && !line.ends_with(b"\n");
        let end = if is_piece { secrets::safe_cut(&line, LONGEST) } else { line.len() };
        let text = String::from_utf8_lossy(&line[..end]);
        let text = text.trim_end();
        if !text.is_empty() {
            let (level, message, fields) = structured(text)
                .or_else(|| metric(text))
                .unwrap_or_else(|| (levels.of(text), text.to_owned(), Fields::new()));
            let shown = if level >= Level::Warn && !listens() { Level::Debug } else { level };
            logging::connector_line(shown, &message, fields);
            // Not the rest of an exception's message, which is indented.
            if level == Level::Error && (said.last_error.is_none() || !message.starts_with([' ', '\t'])) {
                said.last_error = Some(message.clone());
            }
            said.last_line = Some(message);
        }
        line.drain(..end);
    }
}

/// Reads a line that is a structured log: a JSON object with a message.
fn structured(line: &str) -> Option<(Level, String, Fields)> {
    if !line.starts_with('{') {
        return None;
    }
    let mut fields: Fields = serde_json::from_str(line).ok()?;
    let mut take = |names: [&str; 2]| {
        let name = names.into_iter().find(|name| matches!(fields.get(*name), Some(Value::String(_))))?;
        match fields.shift_remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    };
    let message = take(["message", "msg"])?;
    let level = take(["level", "lvl"]).and_then(|word| Level::named(&word)).unwrap_or(Level::Info);
    Some((level, message, fields))
}

/// Reads a metric that a tap logs as JSON within a plain line (S15): `INFO METRIC: {"type": "counter", ...}`.
fn metric(line: &str) -> Option<(Level, String, Fields)> {
    let (_, metric) = line.split_once("METRIC: ")?;
    let fields: Fields = serde_json::from_str(metric).ok()?;
    let message = match fields.get("metric") {
        Some(Value::String(name)) => format!("metric {name}"),
        _ => "metric".to_owned(),
    };
    Some((Level::Debug, message, fields))
}

/// The levels of plain lines: the one that a line names, or that of the line before for a continuation.
struct Levels {
    last: Level,
    in_traceback: bool,
}

impl Default for Levels {
    fn default() -> Self {
        Self { last: Level::Info, in_traceback: false }
    }
}

static LEVEL_WORD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"^(?:Error|error|fatal|Warning|warning): |(?:^|[\s\[(|:])(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL|SEVERE)(?:$|[\s\]):|])|\blevel=["']?\w+"#).ok()
});

/// What the line begins with that tells why no connector was started, or why its runtime ends it.
const LAST_WORDS: [&str; 5] = ["docker: ", "Fatal Python error: ", "terminate called ", "panic: ", "fatal error: "];

impl Levels {
    fn of(&mut self, line: &str) -> Level {
        // Only where a level is usually written: a message may speak of an ERROR.
        let head = line.char_indices().nth(80).map_or(line, |(end, _)| &line[..end]);
        // Without groups, which would cost more than all else that is done with a line.
        let found = LEVEL_WORD.as_ref().and_then(|regex| regex.find(head)).map_or("", |it| it.as_str());
        let word = found.trim_start_matches("level=").trim_matches(|it: char| !it.is_ascii_alphanumeric());
        let named = Level::named(word);
        let is_reason = LAST_WORDS.iter().any(|it| line.starts_with(it));
        let named = named.or(is_reason.then_some(Level::Error));
        let continues = line.starts_with([' ', '\t']);
        self.last = if line.starts_with("Traceback (most recent call last)") {
            self.in_traceback = true;
            Level::Error
        } else if continues {
            self.last
        } else if std::mem::take(&mut self.in_traceback) {
            // The exception itself, which ends a traceback.
            Level::Error
        } else {
            named.unwrap_or(Level::Info)
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_recognised() {
        let mut levels = Levels::default();
        for (line, want) in [
            ("INFO Starting sync", Level::Info),
            ("2024-01-02 03:04:05,678 - tap - WARNING - slow", Level::Warn),
            ("time=2024 name=tap level=DEBUG message=x", Level::Debug),
            ("[ERROR] no", Level::Error),
            ("  continued", Level::Error),
            ("ts=1 level=\"error\" msg=x", Level::Error),
            ("ts=1 level='warning' msg=x", Level::Warn),
            ("a (WARN) b", Level::Warn),
            ("a plain line", Level::Info),
            ("Traceback (most recent call last):", Level::Error),
            ("  File \"x.py\", line 1, in <module>", Level::Error),
            ("    raise INFO", Level::Error),
            ("ValueError: no", Level::Error),
            ("CRITICAL:root:gone", Level::Error),
            ("no errors were found", Level::Info),
            ("Error: no such image", Level::Error),
            ("Error rates are fine", Level::Info),
            ("docker: Cannot connect to the Docker daemon", Level::Error),
            ("Fatal Python error: Segmentation fault", Level::Error),
            ("Python runtime state: finalizing (tstate=0x0000000000a2d348)", Level::Info),
            ("terminate called without an active exception", Level::Error),
            ("panic: runtime error: index out of range", Level::Error),
        ] {
            assert_eq!(levels.of(line), want, "{line}");
        }
    }

    #[test]
    fn the_last_error_is_the_exception_and_not_the_rest_of_its_message() {
        let text = "Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n\
                    OperationalError: connection to port 9 failed: Connection refused\n\tIs the server running?\n(Background: x)\n";
        let said = forward(text.as_bytes(), || (), || true);
        assert_eq!(
            said.last_error.as_deref(),
            Some("OperationalError: connection to port 9 failed: Connection refused")
        );
    }

    #[test]
    fn metrics_become_fields() {
        for line in [
            r#"INFO METRIC: {"type": "counter", "metric": "record_count", "value": 5, "tags": {"endpoint": "users"}}"#,
            r#"2024-01-02 03:04:05 | INFO | tap.users | METRIC: {"type": "counter", "metric": "record_count", "value": 5, "tags": {}}"#,
        ] {
            let (level, message, fields) = metric(line).unwrap();
            assert_eq!((level, message.as_str()), (Level::Debug, "metric record_count"));
            assert_eq!(fields["value"].to_string(), "5");
        }
        assert!(metric("INFO METRIC: none").is_none());
    }

    #[test]
    fn structured_lines_keep_level_and_fields() {
        let (level, message, fields) = structured(r#"{"level":"WARNING","message":"slow","page":3}"#).unwrap();
        assert_eq!((level, message.as_str(), fields["page"].to_string().as_str()), (Level::Warn, "slow", "3"));
        assert!(structured(r#"{"page":3}"#).is_none());
        assert!(structured("{no").is_none());
    }
}
