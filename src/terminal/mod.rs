//! stderr for a person: log lines in plain text and, on a terminal, lines below them that change.

mod downstream;
pub mod echo;
pub mod figures;
pub mod stdout;

use anyhow::Result;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use console::{Style, strip_ansi_codes};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use tracing::warn;

use crate::error;
use crate::logging::{self, EVENT_TYPE, Fields, Level, Line, Priority, Sink};

/// The sink for a person's terminal. Clones share their state.
#[derive(Clone)]
pub struct Screen(Arc<Inner>);

struct Inner {
    live: Option<Live>,
    /// A program reads the logs: they are JSON, and nothing else is written to stderr.
    json: bool,
}

struct Live {
    lines: MultiProgress,
    /// The last line: the current activity and its duration.
    status: ProgressBar,
    stdout_shows: bool,
}

impl Screen {
    /// Formats logs for a person from now on, with lines that change if stderr is a terminal. `LOG_FORMAT=json` keeps them
    /// JSON.
    pub fn open() -> Self {
        let json = reads_json();
        let dumb = std::env::var("TERM").is_ok_and(|it| it == "dumb");
        let live = !json
            && !dumb
            && logging::least_level() <= Level::Info
            && std::io::stderr().is_terminal()
            && !downstream::shares_our_terminal();
        Self::with(live.then(Live::new), json)
    }

    /// The same without lines that change: for a server.
    pub fn plain() -> Self {
        Self::with(None, reads_json())
    }

    fn with(live: Option<Live>, json: bool) -> Self {
        let screen = Self(Arc::new(Inner { live, json }));
        if !json {
            logging::redirect(Arc::new(screen.clone()));
        }
        logging::warn_of_unknown_level();
        if let Some(format) = log_format().filter(|it| !json && !it.is_empty()) {
            warn!("LOG_FORMAT is {format:?}, not json: it has no effect");
        }
        screen
    }

    pub fn is_json(&self) -> bool {
        self.0.json
    }

    /// Shows the current activity, if there is a line for it.
    pub fn status(&self, text: &str) {
        if let Some(live) = &self.0.live {
            live.status.set_message(text.to_owned());
        }
    }

    pub fn is_live(&self) -> bool {
        self.0.live.is_some()
    }

    /// Adds a line above the status; `None` if lines can't change.
    pub fn line(&self) -> Option<ProgressBar> {
        let live = self.0.live.as_ref()?;
        let style = ProgressStyle::with_template("{wide_msg}").ok()?;
        Some(live.lines.insert_before(&live.status, ProgressBar::new_spinner().with_style(style)))
    }

    /// Hides the lines that change while something else writes to the same terminal.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0.live {
            Some(live) if live.stdout_shows => live.lines.suspend(write),
            _ => write(),
        }
    }

    /// Removes the lines that change.
    pub fn settle(&self) {
        if let Some(live) = &self.0.live {
            live.status.finish_and_clear();
            let _ = live.lines.clear();
            echo::restore();
        }
    }

    /// Ends a command. An error becomes the last line.
    pub fn conclude(&self, result: Result<()>) -> ExitCode {
        self.settle();
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) if error::stopped(&failure).is_none() && !self.is_json() => {
                // The log fields were shown with the connector's own error.
                logging::last(Level::Error, &one_line(&error::sentence(&failure)), Fields::new());
                ExitCode::FAILURE
            }
            Err(failure) => ExitCode::from(error::report(&failure)),
        }
    }

    /// Whether only warnings and errors are wanted.
    pub fn is_quiet(&self) -> bool {
        logging::least_level() > Level::Info
    }

    /// Prints lines that are not logs.
    pub fn print(&self, lines: &[String]) {
        lines.iter().for_each(|it| self.write(it, Priority::Always));
    }

    fn write(&self, line: &str, priority: Priority) {
        match &self.0.live {
            // There is nowhere to report that stderr is closed.
            Some(live) => drop(live.lines.println(line)),
            None => logging::write(format!("{line}\n"), priority),
        }
    }
}

/// Whether a program reads the logs.
fn reads_json() -> bool {
    log_format().is_some_and(|it| it.eq_ignore_ascii_case("json"))
}

fn log_format() -> Option<String> {
    std::env::var("LOG_FORMAT").ok()
}

impl Live {
    fn new() -> Self {
        echo::silence();
        let lines = MultiProgress::new();
        let status = lines.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            status.set_style(style);
        }
        status.enable_steady_tick(Duration::from_millis(125));
        Self { lines, status, stdout_shows: std::io::stdout().is_terminal() }
    }
}

impl Sink for Screen {
    fn log(&self, line: &Line) {
        let time = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
        self.write(&text(&time, line.level, line.message, line.fields), line.priority);
    }
}

/// Formats `HH:MM:SS LEVEL message key=value`. Text of several lines follows below, indented.
fn text(time: &str, level: Level, message: &str, fields: &Fields) -> String {
    let dim = Style::new().for_stderr().dim();
    let style = Style::new().for_stderr();
    let style = match level {
        Level::Error => style.red().bold(),
        Level::Warn => style.yellow(),
        Level::Info => style.green(),
        Level::Debug | Level::Trace => style.dim(),
    };
    let name = format!("{:5}", level.name().to_uppercase());
    let mut text = format!("{} {} ", dim.apply_to(time), style.apply_to(name));
    let (first, below) = split(message);
    text += &first;
    let mut blocks = vec![below];
    for (name, value) in fields.iter().filter(|(name, _)| *name != EVENT_TYPE) {
        match value {
            Value::String(it) if it.trim().contains('\n') => {
                let (first, rest) = split(it);
                blocks.push(format!("\n    {}", dim.apply_to(format!("{name}: {first}"))) + &rest);
            }
            Value::String(it) if !it.is_empty() && !it.contains([' ', '"', '=']) => {
                let _ = write!(text, " {}{}", dim.apply_to(format!("{name}=")), printable(it));
            }
            other => {
                let _ = write!(text, " {}{}", dim.apply_to(format!("{name}=")), printable(&other.to_string()));
            }
        }
    }
    text + &blocks.concat()
}

/// The first line of a text, and the others, indented.
fn split(text: &str) -> (String, String) {
    let mut lines = text.trim_end().lines().map(printable);
    let first = lines.next().unwrap_or_default();
    (first, lines.fold(String::new(), |text, line| text + "\n    " + &line))
}

/// Removes control sequences of terminals: connectors print, and name things by, whatever they read.
pub fn printable(text: &str) -> String {
    strip_ansi_codes(text).replace('\t', "    ").replace(char::is_control, " ")
}

/// One sentence on one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_readable() {
        console::set_colors_enabled_stderr(false);
        let lines = [
            (Level::Info, "Starting", logging::fields([])),
            (
                Level::Warn,
                "slow\x1b[31m red\x07",
                logging::fields([("page", 3.into()), ("url", "https://x/?a=b".into())]),
            ),
            (Level::Info, "Capturing 1 of 3 streams", logging::fields([("eventType", "connectorStatus".into())])),
            (
                Level::Error,
                "it broke:\n  badly\n",
                logging::fields([
                    ("failure_type", "system_error".into()),
                    ("stack_trace", "Traceback:\n\tFile x\nValueError: no\n".into()),
                ]),
            ),
        ]
        .map(|(level, message, fields)| text("12:34:56", level, message, &fields));
        insta::assert_snapshot!(lines.join("\n"));
    }
}
