//! Levels of log lines, and the one that `LOG_LEVEL` selects.

use std::sync::OnceLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level that a word names, in the spellings of Flow, Python, Java and Airbyte.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "trace" | "finest" | "finer" => Self::Trace,
            "debug" | "fine" => Self::Debug,
            "info" | "information" | "notice" | "config" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "fatal" | "critical" | "severe" | "panic" => Self::Error,
            _ => return None,
        })
    }
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::TRACE => Self::Trace,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::INFO => Self::Info,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::ERROR => Self::Error,
        }
    }
}

/// What `LOG_LEVEL` says.
struct Setting {
    least: Level,
    unknown: Option<String>,
}

static SETTING: OnceLock<Setting> = OnceLock::new();

fn setting() -> &'static Setting {
    SETTING.get_or_init(|| {
        let word = std::env::var("LOG_LEVEL").ok().filter(|it| !it.trim().is_empty());
        let level = word.as_deref().and_then(|it| Level::named(it.trim()));
        Setting { least: level.unwrap_or(Level::Info), unknown: word.filter(|_| level.is_none()) }
    })
}

/// Selects a level in place of `LOG_LEVEL`. Has an effect only before the first line is logged.
pub fn select(level: Level) {
    let _ = SETTING.set(Setting { least: level, unknown: None });
}

/// The least level that is logged.
pub fn least() -> Level {
    setting().least
}

/// A `LOG_LEVEL` that names no level.
pub fn unknown() -> Option<&'static str> {
    setting().unknown.as_deref()
}
