//! Commands: spec, check, discover, read, each a run of the connector.

use crate::error::Stopped;
use anyhow::{Context, Error, Result, anyhow};
use std::process::ChildStdout;
use tracing::info;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::message::{self, Message};
use super::{StateFormat, catalog, state};
use crate::json::repair::repair;
use crate::process::launch::Launcher;
use crate::process::lines::{Line, Lines};
use crate::process::supervise::{Activity, Connector, End, Reading};
use crate::upstream::{Broken, ErrorLog, Spec, Stream, SyncRequest};

/// The names of the private files.
const CONFIG: &str = "config.json";
const CATALOG: &str = "catalog.json";
const STATE: &str = "state.json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConnectorSpecification {
    connection_specification: Option<Value>,
    documentation_url: Option<String>,
    /// How users log in by OAuth, in the newer form and in the older one.
    #[serde(rename = "advanced_auth")]
    advanced_auth: Option<Value>,
    auth_specification: Option<Value>,
}

pub fn spec(launcher: &Launcher) -> Result<Spec> {
    let answers = ask(launcher, "spec", None)?;
    let raw = answers.spec.as_deref().ok_or_else(|| answers.nothing("spec"))?;
    let spec: ConnectorSpecification = serde_json::from_str(raw.get()).context("the connector's SPEC can't be read")?;
    let config_schema =
        spec.connection_specification.ok_or_else(|| anyhow!("the connector's SPEC has no connectionSpecification"))?;
    Ok(Spec {
        config_schema,
        documentation_url: spec.documentation_url,
        advanced_auth: spec.advanced_auth,
        auth_specification: spec.auth_specification,
    })
}

/// A3: FAILED is the user's error, anything else that is no SUCCEEDED the connector's.
pub fn check(launcher: &Launcher, config: &RawValue) -> Result<()> {
    let answers = ask(launcher, "check", Some(config))?;
    match answers.status {
        Some((true, _)) => Ok(()),
        Some((false, Some(ref message))) => Err(anyhow!("the connector can't use this config: {message}")),
        Some((false, None)) => Err(anyhow!("the connector can't use this config, and doesn't say why")),
        None => Err(answers.nothing("check")),
    }
}

pub fn discover(launcher: &Launcher, config: &RawValue) -> Result<Vec<Stream>> {
    let answers = ask(launcher, "discover", Some(config))?;
    catalog::streams(answers.catalog.as_deref().ok_or_else(|| answers.nothing("discover"))?)
}

pub fn read(launcher: &Launcher, sync: &SyncRequest, state_format: StateFormat) -> Result<Connector> {
    let configured = catalog::configured(&sync.streams)?;
    let state = state::input(sync, state_format)?;
    let prepared = launcher.prepare()?;
    let mut arguments = vec!["read".to_owned()];
    for (option, name, content) in [
        ("--config", CONFIG, sync.config.get()),
        ("--catalog", CATALOG, configured.get()),
        ("--state", STATE, state.get()),
    ] {
        arguments.push(option.to_owned());
        arguments.push(prepared.write(name, content)?);
    }
    prepared.start(arguments)
}

/// What a connector answered to a command, read to the end of its output (A2).
#[derive(Default)]
struct Answers {
    spec: Option<Box<RawValue>>,
    catalog: Option<Box<RawValue>>,
    status: Option<(bool, Option<String>)>,
    errors: ErrorLog,
    /// What the connector has made of its config (A18).
    config: Option<Box<RawValue>>,
    /// A message of the connector's that can't be read.
    unreadable: Option<String>,
    code: i32,
    last_error: Option<String>,
}

impl Answers {
    /// Why there is no answer.
    fn nothing(&self, command: &str) -> Error {
        match &self.unreadable {
            Some(reason) => anyhow!("the connector's answer to {command} can't be read: {reason}"),
            None if self.code == 0 && self.errors.reported().is_none() => {
                anyhow!("the connector gave no answer to {command}: is it an Airbyte source?")
            }
            None => self.errors.explain(self.code, self.last_error.as_deref()),
        }
    }

    fn take(&mut self, line: &[u8]) {
        let message = match message::answer(line) {
            Err(Broken::Repairable) => message::answer(&repair(line).0),
            other => other,
        };
        match message {
            Ok(Message::Spec(it)) => self.spec = Some(it),
            Ok(Message::Catalog(it)) => self.catalog = Some(it),
            Ok(Message::ConnectionStatus { succeeded, message }) => self.status = Some((succeeded, message)),
            Ok(Message::Log { level, message, fields }) => self.errors.log(level, message, fields),
            Ok(Message::Error(error)) => self.errors.error(error),
            Ok(Message::Config(config)) => self.config = Some(config),
            Ok(_) => {}
            Err(Broken::Lost { reason, .. }) => self.unreadable = Some(reason),
            Err(_) => info!("{}", String::from_utf8_lossy(line).trim()),
        }
    }
}

fn ask(launcher: &Launcher, command: &str, config: Option<&RawValue>) -> Result<Answers> {
    let prepared = launcher.prepare()?;
    let mut arguments = vec![command.to_owned()];
    if let Some(config) = config {
        arguments.push("--config".to_owned());
        arguments.push(prepared.write(CONFIG, config.get())?);
    }
    let mut connector = prepared.start(arguments)?;
    let stdout = connector.take_stdout()?;
    let read = move || read_answers(stdout);
    let finished = connector.supervise(&launcher.stop, &Activity::default(), None, || (), read)?;
    match finished.end {
        End::Stopped(reason) => Err(Stopped(reason).into()),
        End::Silent | End::NotExiting => Err(anyhow!("the connector does not end after {command}")),
        End::Exited(code) => {
            let mut answers = finished.output.unwrap_or_default();
            answers.code = code;
            answers.last_error = finished.last_error;
            if let Some(config) = answers.config.take() {
                launcher.rotated.leave(config);
            }
            if code != 0 && command != "check" { Err(answers.nothing(command)) } else { Ok(answers) }
        }
    }
}

fn read_answers(stdout: ChildStdout) -> (Answers, Reading) {
    let mut answers = Answers::default();
    let mut lines = Lines::new(stdout);
    loop {
        while let Some(line) = lines.take() {
            match line {
                Line::Whole(line) | Line::Cut(line) => answers.take(line),
                Line::TooLong { length, .. } => answers.unreadable = Some(format!("a message of {length} bytes")),
            }
        }
        match lines.fill() {
            Ok(true) => {}
            // One more look for a last line without its newline.
            Ok(false) => match lines.take() {
                Some(Line::Whole(line) | Line::Cut(line)) => {
                    answers.take(line);
                    return (answers, Reading::Ended);
                }
                _ => return (answers, Reading::Ended),
            },
            Err(error) => {
                answers.unreadable = Some(error.to_string());
                return (answers, Reading::Ended);
            }
        }
    }
}
