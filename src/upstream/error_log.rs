//! The errors that a connector reports, and the final message they make.

use anyhow::{Error, anyhow};

use super::event::SourceError;
use crate::error::Failure;
use crate::logging::{self, Fields, Level};
use crate::process::stderr::Stderr;
use crate::process::supervise::Exit;

/// Errors reported by the connector, for the final error message.
#[derive(Default)]
pub struct ErrorLog {
    errors: Vec<SourceError>,
    last_log: Option<String>,
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

    /// The first error that the connector reported.
    pub fn reported(&self) -> Option<Error> {
        let error = self.errors.first()?;
        let sentence = match &error.stream {
            Some(stream) => format!("stream {stream}: {}", error.message),
            None => error.message.clone(),
        };
        Some(Failure { message: sentence, fields: error.fields.clone() }.into())
    }

    /// Why the connector ended, as far as is known.
    pub fn explain(&self, exit: Exit, stderr: &Stderr) -> Error {
        if let Some(failure) = self.reported() {
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
        let last_line = stderr.last_line.as_deref().filter(|_| matches!(exit, Exit::Code(_)));
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
