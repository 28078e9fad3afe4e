//! How an error reaches the user: as one sentence on the last line (F5), with details in log fields.

use std::fmt;

use serde_json::error::Category;

use crate::logging::{self, Fields, Level};

/// Why the process was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// The reader of our responses is gone: what the connector still sends can't be committed.
    OutputClosed,
    /// A preview has reached its limit.
    Enough,
    /// Another process of the same capture has failed.
    OtherFailed,
}

impl Reason {
    /// The exit code that a shell would report.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 128 + 15,
            Self::Interrupt => 128 + 2,
            Self::OutputClosed => 128 + 13,
            Self::Enough => 0,
            // What has failed is reported instead.
            Self::OtherFailed => 1,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "stopped by SIGTERM",
            Self::Interrupt => "stopped by SIGINT",
            Self::OutputClosed => "stopped: nobody reads the responses any more",
            Self::Enough => "stopped: the limit is reached",
            Self::OtherFailed => "stopped, as another process of the connector has failed",
        })
    }
}

/// The process was asked to stop before its work was done.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Stopped(pub Reason);

/// A failure that carries log fields beside its message.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub message: String,
    pub fields: Fields,
}

/// Whether the error is a [`Stopped`], whatever context it has.
pub fn stopped(error: &anyhow::Error) -> Option<Reason> {
    error.downcast_ref::<Stopped>().map(|it| it.0)
}

/// The log fields that an error carries.
pub fn fields(error: &anyhow::Error) -> Fields {
    error.downcast_ref::<Failure>().map(|it| it.fields.clone()).unwrap_or_default()
}

/// The failure with what its cause may be in brackets behind it. A shutdown has no other cause.
pub fn with_hint(failure: anyhow::Error, hint: &str) -> anyhow::Error {
    if stopped(&failure).is_some() {
        return failure;
    }
    let message = format!("{} ({hint})", sentence(&failure).trim_end());
    Failure { message, fields: fields(&failure) }.into()
}

/// One result of two steps that were both taken. What failed in both is one sentence; a shutdown is not worth a mention
/// beside a failure.
pub fn both<T>(first: anyhow::Result<T>, second: anyhow::Result<()>) -> anyhow::Result<T> {
    match (first, second) {
        (first, Ok(())) => first,
        (Err(first), Err(second)) if stopped(&first).is_none() => {
            let message = format!("{}; {}", sentence(&first).trim_end(), sentence(&second));
            Err(Failure { message, fields: fields(&first) }.into())
        }
        (_, Err(second)) => Err(second),
    }
}

/// A JSON error without the input that it may quote: states and configs hold secrets.
pub fn without_input(error: &serde_json::Error) -> anyhow::Error {
    let kind = match error.classify() {
        Category::Data => "a value of an unexpected type or a missing member",
        Category::Syntax if error.to_string().starts_with("recursion limit") => "JSON that is nested too deeply",
        Category::Syntax | Category::Eof | Category::Io => "invalid JSON",
    };
    anyhow::anyhow!("{kind} at line {}, column {}", error.line(), error.column())
}

/// The error and its causes as one sentence.
pub fn sentence(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

/// Logs the error as the last line, its causes at debug level before it, and returns the exit code.
pub fn report(error: &anyhow::Error) -> u8 {
    match stopped(error) {
        Some(reason) => {
            logging::last(Level::Info, &reason.to_string(), Fields::new());
            reason.exit_code()
        }
        None => {
            for cause in error.chain().skip(1) {
                tracing::debug!("caused by: {cause}");
            }
            logging::last(Level::Error, &sentence(error), fields(error));
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_errors_are_reported_without_the_input() {
        for text in [r#""s3cret""#, r#"{"s3cret": "#, r#"{"a": "s3cret"}"#] {
            let error = serde_json::from_str::<std::collections::BTreeMap<String, u8>>(text).unwrap_err();
            assert!(!without_input(&error).to_string().contains("s3cret"), "{text}");
        }
    }
}
