//! Log lines on stderr (F6). Our own come from `tracing`; a connector's lines and Flow's events (F7) have fields that only
//! the data knows and are written directly. All of them pass through [`send`], the one place that filters by level, limits
//! repetitions and redacts secrets, and end in a [`Sink`] that formats them.

mod json;
mod layer;
mod level;
mod repeats;
mod writer;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tracing_subscriber::layer::SubscriberExt;

use crate::secrets;
use json::JsonLines;
pub use layer::{process_span, rpc_span, stream_span};
pub use level::{Level, least as least_level, select as select_level};
use repeats::{Repeats, Suppressed};
pub use writer::Priority;
use writer::WRITER;

pub type Fields = Map<String, Value>;

/// The field by which Flow tells its events from other lines, and the events that it knows.
pub const EVENT_TYPE: &str = "eventType";
pub const CONNECTOR_STATUS: &str = "connectorStatus";
const CONFIG_UPDATE: &str = "configUpdate";

/// The event by which programs learn that a connector's lines showed a secret.
pub const SECRETS_REDACTED: &str = "secretsRedacted";
static IS_REDACTED: AtomicBool = AtomicBool::new(false);

/// How long the end of the process waits for stderr to be read.
const FLUSH: Duration = Duration::from_millis(1500);

/// How much of a suppressed line its report shows.
const SAMPLE: usize = 200;

/// A line that is ready to be formatted: filtered and redacted.
pub struct Line<'a> {
    pub level: Level,
    pub message: &'a str,
    pub fields: &'a Fields,
    pub priority: Priority,
}

/// Formats log lines: for Flow, or for a person.
pub trait Sink: Send + Sync {
    fn log(&self, line: &Line);

    /// Takes an event, whatever its level, instead of having it logged.
    fn takes(&self, _event: &Line) -> bool {
        false
    }

    /// Whether Flow reads the lines: it gets its events at every level.
    fn is_for_flow(&self) -> bool {
        false
    }
}

static SINK: LazyLock<RwLock<Arc<dyn Sink>>> = LazyLock::new(|| RwLock::new(Arc::new(JsonLines)));
static REPEATS: LazyLock<Mutex<Repeats>> = LazyLock::new(|| Mutex::new(Repeats::new(Instant::now())));

/// Sends the events of `tracing` and the messages of panics where log lines go. A second call has no effect.
pub fn init() {
    if tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer::LogLayer)).is_err() {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("no message");
        let place = panic.location().map(|it| format!(" at {}:{}", it.file(), it.line())).unwrap_or_default();
        emit(Level::Error, &format!("flow-shim has failed{place}: {message}; please report this bug"), Fields::new());
        flush();
    }));
}

/// Reports an unknown `LOG_LEVEL`, once lines go where they belong.
pub fn warn_of_unknown_level() {
    if let Some(word) = level::unknown() {
        tracing::warn!("LOG_LEVEL is {word:?}, not one of trace, debug, info, warn and error: info is used");
    }
}

/// Sends all lines to another sink from now on.
pub fn redirect(sink: Arc<dyn Sink>) {
    *SINK.write().unwrap_or_else(PoisonError::into_inner) = sink;
}

/// Queues a line for stderr that is not a log line: a table, a hint.
pub fn write(line: String, priority: Priority) {
    WRITER.push(line, priority);
}

/// Where a line comes from, which decides what of it is redacted and limited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The names of fields are ours.
    Shim,
    /// The names of fields are data.
    Connector,
    /// Not limited; an event that Flow knows is written at every level.
    Event { flow: bool },
    /// A config that is encrypted: only the message is redacted.
    ConfigUpdate,
}

/// Logs a line of ours with fields that only the data knows. Without such fields, use the macros of `tracing`.
pub fn emit(level: Level, message: &str, fields: Fields) {
    send(level, message, fields, Origin::Shim);
}

/// Logs a connector's own line.
pub fn connector_line(level: Level, message: &str, mut fields: Fields) {
    // Flow would take the line for one of our events (F7): a status, or a config to publish.
    fields.shift_remove(EVENT_TYPE);
    if sink().is_for_flow() {
        fields.extend(layer::fields_of_process());
    }
    send(level, message, fields, Origin::Connector);
}

/// Logs an event that a program looks for.
pub fn event(level: Level, event_type: &str, message: &str, mut fields: Fields) {
    fields.shift_insert(0, EVENT_TYPE.to_owned(), event_type.into());
    send(level, message, fields, Origin::Event { flow: event_type == CONNECTOR_STATUS });
}

/// Tells Flow what the task is doing, to be shown as its status (F7).
pub fn connector_status(message: &str) {
    event(Level::Info, CONNECTOR_STATUS, message, Fields::new());
}

/// Gives Flow a new config for the capture (F7), which must be encrypted: it is written unchanged.
pub fn config_update(message: &str, encrypted: Value) {
    let fields = fields([(EVENT_TYPE, CONFIG_UPDATE.into()), ("config", encrypted)]);
    send(Level::Info, message, fields, Origin::ConfigUpdate);
}

/// Logs the last line: nothing is written after it.
pub fn last(level: Level, message: &str, fields: Fields) {
    report_suppressed(Repeats::report);
    report_dropped();
    if level < level::least() {
        return flush();
    }
    let (fields, _) = redact_fields(fields, Origin::Shim);
    let line = Line { level, message: &secrets::redacted(message), fields: &fields, priority: Priority::Always };
    sink().log(&line);
    WRITER.close();
    flush();
}

/// Waits until all lines are written, but not for a reader who has stopped reading.
pub fn flush() {
    report_suppressed(Repeats::report);
    report_dropped();
    WRITER.flush(FLUSH);
}

pub fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Fields {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn sink() -> Arc<dyn Sink> {
    SINK.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn send(level: Level, message: &str, fields: Fields, origin: Origin) {
    let is_shown = level >= level::least();
    match origin {
        Origin::Shim | Origin::Connector => {
            if !is_shown || is_repetition(level, message) {
                return;
            }
            report_suppressed(Repeats::due);
            report_dropped();
            write_line(level, message, fields, origin);
        }
        Origin::Event { .. } | Origin::ConfigUpdate => {
            let sink = sink();
            let (fields, _) = redact_fields(fields, origin);
            let message = secrets::redacted(message);
            let is_for_flow = sink.is_for_flow() && origin != Origin::Event { flow: false };
            let priority = if is_for_flow { Priority::Always } else { Priority::of(level) };
            let line = Line { level, message: &message, fields: &fields, priority };
            if !sink.takes(&line) && (is_shown || is_for_flow) {
                sink.log(&line);
            }
        }
    }
}

fn write_line(level: Level, message: &str, fields: Fields, origin: Origin) {
    let (fields, had_secrets) = redact_fields(fields, origin);
    let message = secrets::redacted(message);
    let is_redacted = had_secrets || matches!(message, Cow::Owned(_));
    sink().log(&Line { level, message: &message, fields: &fields, priority: Priority::of(level) });
    if is_redacted && origin == Origin::Connector && !IS_REDACTED.swap(true, Ordering::Relaxed) {
        event(
            Level::Info,
            SECRETS_REDACTED,
            "the connector's log lines show secrets: they are redacted",
            Fields::new(),
        );
    }
}

/// The fields without secrets, and whether there were any.
fn redact_fields(fields: Fields, origin: Origin) -> (Fields, bool) {
    if fields.is_empty() || origin == Origin::ConfigUpdate {
        return (fields, false);
    }
    let mut fields = Value::Object(fields);
    let had_secrets = match (&mut fields, origin) {
        (Value::Object(members), Origin::Shim | Origin::Event { .. }) => {
            let members = members.iter_mut().filter(|(name, _)| *name != EVENT_TYPE);
            members.fold(false, |found, (_, it)| secrets::redact_value(it, false) | found)
        }
        (fields, _) => secrets::redact_value(fields, true),
    };
    match fields {
        Value::Object(fields) => (fields, had_secrets),
        _ => (Fields::new(), had_secrets),
    }
}

fn repeats() -> std::sync::MutexGuard<'static, Repeats> {
    REPEATS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_repetition(level: Level, message: &str) -> bool {
    let sample = || secrets::shorten(message, SAMPLE).to_owned();
    !repeats().allows(level, message, Instant::now(), sample)
}

fn report_suppressed(which: impl FnOnce(&mut Repeats, Instant) -> Vec<Suppressed>) {
    let suppressed = which(&mut repeats(), Instant::now());
    for it in suppressed {
        let lines = if it.count == 1 { "line was" } else { "lines were" };
        let message = format!("{} similar {lines} not logged: {}", it.count, it.sample);
        write_line(it.level, &message, Fields::new(), Origin::Connector);
    }
}

fn report_dropped() {
    match WRITER.take_dropped() {
        0 => {}
        1 => write_line(Level::Warn, "1 log line was dropped: stderr is not read", Fields::new(), Origin::Shim),
        count => {
            let message = format!("{count} log lines were dropped: stderr is not read fast enough");
            write_line(Level::Warn, &message, Fields::new(), Origin::Shim);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const VARIABLE: &str = "FLOW_SHIM_TEST_PANICS";

    /// The panic hook belongs to the whole process, so a process of its own panics.
    #[test]
    fn a_panic_is_one_line_without_secrets() {
        if std::env::var_os(VARIABLE).is_some() {
            init();
            secrets::redact_text("s3cret-of-a-panic");
            panic!("it was {}", "s3cret-of-a-panic");
        }
        let name = "logging::tests::a_panic_is_one_line_without_secrets";
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--exact", name, "--nocapture"]).env(VARIABLE, "1").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<Value> = text.lines().filter_map(|it| serde_json::from_str(it).ok()).collect();
        let [line] = lines.as_slice() else { panic!("not one log line: {text}") };
        let message = line["message"].as_str().unwrap();
        assert!(message.starts_with("flow-shim has failed at src/logging/mod.rs:"), "{message}");
        assert!(message.ends_with(": it was ***; please report this bug"), "{message}");
        assert!(!output.status.success() && !text.contains("s3cret"), "{text}");
    }
}
