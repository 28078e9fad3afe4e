//! How an error reaches the user: as one sentence on the last line, with details as log fields beside it.

use std::fmt;

use crate::logging::{self, Fields, Level};

/// Why the process was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// The reader of our responses is gone, so there is nobody to drain the connector for.
    OutputClosed,
    /// A preview has reached its limit.
    Enough,
}

impl Reason {
    /// The exit code that a shell would report.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 128 + 15,
            Self::Interrupt => 128 + 2,
            Self::OutputClosed => 128 + 13,
            Self::Enough => 0,
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

/// The error and its causes as one sentence.
pub fn sentence(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

/// Logs the error as the last line and returns the exit code.
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
