//! The errors that a connector reports, and the final message they make.

use std::collections::BTreeMap;

use anyhow::{Error, anyhow};

use super::StreamId;
use super::event::SourceError;
use crate::error::Failure;
use crate::logging::{self, Fields, Level};
use crate::process::stderr::Stderr;
use crate::process::supervise::Exit;
use crate::secrets;

/// What is said of a stream that the connector could not read completely, without a reason of the connector's.
const NO_REASON: &str = "the connector could not read all of it and gave no reason";

/// Errors reported by the connector, for the final error message.
#[derive(Default)]
pub struct ErrorLog {
    errors: Vec<SourceError>,
    last_log: Option<String>,
    /// The last line of its output that was not a message.
    last_line: Option<String>,
    incomplete: Vec<StreamId>,
}

/// How much of a line that is not a message is logged, in bytes.
pub(super) const LOGGED: usize = 4096;

/// Logs a line that is not a message, and returns what was logged; `None` if the line is blank.
pub fn log_line(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let text = secrets::shorten(text.trim(), LOGGED);
    if text.is_empty() {
        return None;
    }
    logging::connector_line(Level::Info, text, Fields::new());
    Some(text.to_owned())
}

impl ErrorLog {
    pub fn error(&mut self, error: SourceError) {
        error.log();
        self.errors.push(error);
    }

    pub fn log(&mut self, level: Level, message: String, fields: Fields) {
        logging::connector_line(level, &message, fields);
        if level == Level::Error {
            self.last_log = Some(message);
        }
    }

    /// Logs a line that is not a message.
    pub fn line(&mut self, line: &[u8]) {
        self.last_line = log_line(line).or(self.last_line.take());
    }

    /// Notes the streams that the connector could not read completely.
    pub fn incomplete(&mut self, streams: Vec<StreamId>) {
        self.incomplete = streams;
    }

    /// What failed: the errors that the connector reported and the streams that it could not read completely, sorted by
    /// stream; `None` if nothing did.
    pub fn reported(&self) -> Option<Error> {
        let mut by_stream: BTreeMap<&StreamId, &str> = self.incomplete.iter().map(|it| (it, NO_REASON)).collect();
        for error in self.errors.iter().rev() {
            if let Some(stream) = &error.stream {
                by_stream.insert(stream, &error.message);
            }
        }
        // A CDK ends with an error about all streams, which says less than those of the streams.
        let general = self.errors.iter().find(|it| it.stream.is_none());
        let by_stream: Vec<(&StreamId, &str)> = match general {
            Some(_) if by_stream.values().all(|it| *it == NO_REASON) => Vec::new(),
            _ => by_stream.into_iter().collect(),
        };
        let sentence = match (by_stream.as_slice(), general) {
            ([], None) => return None,
            ([], Some(general)) if self.incomplete.len() > 1 => {
                let names = self.incomplete.iter().map(StreamId::to_string).collect::<Vec<_>>().join(", ");
                format!("streams {names}: {}", general.message)
            }
            ([], Some(general)) => general.message.clone(),
            (several, _) => {
                let parts = several.iter().map(|(stream, message)| format!("stream {stream}: {message}"));
                parts.collect::<Vec<_>>().join("; ")
            }
        };
        let first = by_stream.first().and_then(|(id, _)| self.errors.iter().find(|it| it.stream.as_ref() == Some(id)));
        let fields = first.or(general).map(|it| it.fields.clone()).unwrap_or_default();
        Some(Failure { message: sentence, fields }.into())
    }

    /// Why the connector ended, as far as is known.
    pub fn explain(&self, exit: Exit, stderr: &Stderr) -> Error {
        if !self.errors.is_empty()
            && let Some(failure) = self.reported()
        {
            return failure;
        }
        let how = match exit {
            Exit::Signal(9) => "the connector was killed by signal 9 (often: out of memory)".to_owned(),
            Exit::Signal(signal) => format!("the connector was killed by signal {signal}"),
            Exit::KeeperKilled => {
                return anyhow!(
                    "the connector's keeper process was killed (often: out of memory), and the connector with it"
                );
            }
            // What a shell or a container reports of a killed process.
            Exit::Code(137) => "the connector ended with exit code 137 (often: killed, out of memory)".to_owned(),
            Exit::Code(code) => format!("the connector ended with exit code {code}"),
        };
        // A plain line is the reason for an exit code (sh, ld.so, argparse), but never for a signal.
        let last_line = stderr.last_line.as_deref().or(self.last_line.as_deref());
        let last_line = last_line.filter(|_| matches!(exit, Exit::Code(_)));
        let last = self.last_log.as_deref().or(stderr.last_error.as_deref()).or(last_line);
        // One sentence on one line.
        match last.map(summary) {
            Some(said) if !said.is_empty() => anyhow!("{how}: {said}"),
            _ => anyhow!("{how} and gave no reason"),
        }
    }
}

/// The most informative line of a text: the last one of a Python traceback, else the first.
fn summary(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    if first.starts_with("Traceback") { lines.next_back().unwrap_or(first) } else { first }
}
