//! Structured logs on stderr (F6): one JSON object a line with `ts`, `level`, `message` and `fields`.
//!
//! Secrets that were made known by [`redact`] are masked in all that passes here, the connector's own lines included.

use std::fmt;
use std::io::Write;
use std::sync::{LazyLock, RwLock};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

pub type Fields = Map<String, Value>;

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

    fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::TRACE => Self::Trace,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::INFO => Self::Info,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::ERROR => Self::Error,
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

/// Where log lines go: stderr as Flow wants it, or a person's terminal.
pub trait Sink: Send + Sync {
    fn log(&self, level: Level, message: &str, fields: &Fields);
}

struct Logger {
    sink: Box<dyn Sink>,
    secrets: Vec<String>,
}

static LOGGER: LazyLock<RwLock<Logger>> =
    LazyLock::new(|| RwLock::new(Logger { sink: Box::new(JsonLines::from_env()), secrets: Vec::new() }));

/// Sends all logs elsewhere from now on.
pub fn redirect(sink: Box<dyn Sink>) {
    if let Ok(mut logger) = LOGGER.write() {
        logger.sink = sink;
    }
}

/// Masks these texts in every log line from now on.
pub fn redact(secrets: impl IntoIterator<Item = String>) {
    if let Ok(mut logger) = LOGGER.write() {
        for secret in secrets {
            if !logger.secrets.contains(&secret) {
                logger.secrets.push(secret);
            }
        }
        // A secret that contains another one is masked first.
        logger.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }
}

pub fn emit(level: Level, message: &str, mut fields: Fields) {
    let Ok(logger) = LOGGER.read() else { return };
    let mut message = std::borrow::Cow::Borrowed(message);
    for secret in &logger.secrets {
        if message.contains(secret.as_str()) {
            message = message.replace(secret.as_str(), MASK).into();
        }
        fields.values_mut().for_each(|value| mask(value, secret));
    }
    logger.sink.log(level, &message, &fields);
}

const MASK: &str = "***";

fn mask(value: &mut Value, secret: &str) {
    match value {
        Value::String(text) if text.contains(secret) => *text = text.replace(secret, MASK),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, secret)),
        Value::Object(members) => members.values_mut().for_each(|member| mask(member, secret)),
        _ => {}
    }
}

/// Tells Flow what the task is doing, to be shown as its status (F7).
pub fn connector_status(message: &str) {
    emit(Level::Info, message, fields([("eventType", "connectorStatus".into())]));
}

/// Gives Flow a new config for the capture, encrypted (F7). Masking could only harm it: nothing in it is plain.
pub fn config_update(message: &str, encrypted: Value) {
    let fields = fields([("eventType", "configUpdate".into()), ("config", encrypted)]);
    if let Ok(logger) = LOGGER.read() {
        logger.sink.log(Level::Info, message, &fields);
    }
}

pub fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Fields {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// JSON lines on stderr, from `LOG_LEVEL` upwards.
struct JsonLines {
    least: Level,
}

impl JsonLines {
    fn from_env() -> Self {
        let least = std::env::var("LOG_LEVEL").ok().and_then(|word| Level::named(&word)).unwrap_or(Level::Info);
        Self { least }
    }
}

impl Sink for JsonLines {
    fn log(&self, level: Level, message: &str, fields: &Fields) {
        if level < self.least {
            return;
        }
        let mut line = serde_json::json!({
            "ts": jiff::Timestamp::now().to_string(),
            "level": level.name(),
            "message": message,
        });
        if !fields.is_empty() {
            line["fields"] = Value::Object(fields.clone());
        }
        let mut line = line.to_string();
        line.push('\n');
        // Nobody is left to be told when stderr is closed.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// Sends the events of `tracing` where log lines go. A second call has no effect.
pub fn init() {
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(LogLayer));
}

/// Turns an event of `tracing` into a log line.
struct LogLayer;

impl<S: tracing::Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        emit(Level::of(*event.metadata().level()), &line.message, line.fields);
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: Fields,
}

impl Line {
    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => drop(self.fields.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }
}
