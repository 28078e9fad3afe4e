//! How anything that goes wrong reaches the user: as one sentence (F5), with details as log fields beside it.

use crate::flow::log::{self, Fields};
use crate::process::stop::Reason;

#[derive(Debug, Clone)]
pub enum Failure {
    /// Something went wrong; `sentence` says what, and what to do.
    Failed { sentence: String, fields: Fields },
    /// The shim was asked to end before it was done.
    Stopped(Reason),
}

impl Failure {
    pub fn new(sentence: impl Into<String>) -> Self {
        Self::Failed { sentence: sentence.into(), fields: Fields::new() }
    }

    pub fn with(self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        match self {
            Self::Failed { sentence, mut fields } => {
                fields.insert(name.to_owned(), value.into());
                Self::Failed { sentence, fields }
            }
            stopped => stopped,
        }
    }

    /// Says where it went wrong, in front of the sentence.
    pub fn within(self, place: impl std::fmt::Display) -> Self {
        match self {
            Self::Failed { sentence, fields } => Self::Failed { sentence: format!("{place}: {sentence}"), fields },
            stopped => stopped,
        }
    }

    /// Writes the sentence as the last log line, and gives the exit code.
    pub fn report(&self) -> u8 {
        match self {
            Self::Failed { sentence, fields } => {
                log::emit(log::Level::Error, sentence, fields.clone());
                1
            }
            Self::Stopped(reason) => {
                log::info(&reason.to_string());
                reason.exit_code()
            }
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed { sentence, .. } => f.write_str(sentence),
            Self::Stopped(reason) => reason.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

/// `?` on a result whose error a sentence introduces: `.or_fail("can't read the config file")?`
pub trait OrFail<T> {
    fn or_fail(self, what: impl std::fmt::Display) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, what: impl std::fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}
