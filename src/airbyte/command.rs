//! The commands spec, check, discover and read: each is one run of the connector.

use crate::error::{self, Stopped};
use anyhow::{Context, Error, Result, anyhow};
use std::process::ChildStdout;
use tracing::warn;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::message::{self, Message};
use super::{catalog, state};
use crate::json::repair::repair;
use crate::process::activity::Activity;
use crate::process::launch::{Launcher, Target, in_words};
use crate::process::lines::{Line, Lines};
use crate::process::stderr::Stderr;
use crate::process::supervise::{Connector, End, Exit, Finished, Reading};
use crate::process::thread;
use crate::secrets;
use crate::settings::StateFormat;
use crate::upstream::{Broken, ErrorLog, Event, Spec, Stream, SyncRequest};

/// How docker and podman exit if they could not start the container.
const ENGINE_FAILED: Exit = Exit::Code(125);

/// Names of the private files.
const CONFIG: &str = "config.json";
const CATALOG: &str = "catalog.json";
const STATE: &str = "state.json";

/// Its optional members may have any type: what can't be used is ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConnectorSpecification {
    connection_specification: Option<Value>,
    documentation_url: Option<Value>,
    /// How users sign in with OAuth, in the newer form and in the older one.
    #[serde(rename = "advanced_auth")]
    advanced_auth: Option<Value>,
    auth_specification: Option<Value>,
}

pub async fn spec(launcher: &Launcher) -> Result<Spec> {
    let (answers, run) = ask(launcher, "spec", None).await?;
    let raw = answers.spec.as_deref().ok_or_else(|| match (answers.is_airbyte, &launcher.target) {
        (true, _) => answers.nothing(&run),
        (false, Target::Image(image)) if run.exit == ENGINE_FAILED => {
            answers.nothing(&run).context(format!("can't run the image {image}"))
        }
        (false, _) => error::with_hint(
            answers.nothing(&run),
            "if it is a Singer tap, use `--protocol singer`, or `--singer NAME` with init",
        ),
    })?;
    let spec: ConnectorSpecification = serde_json::from_str(raw.get()).context("the connector's SPEC can't be read")?;
    let config_schema =
        spec.connection_specification.ok_or_else(|| anyhow!("the connector's SPEC has no connectionSpecification"))?;
    Ok(Spec {
        config_schema,
        documentation_url: spec.documentation_url.and_then(|it| it.as_str().map(str::to_owned)),
        advanced_auth: spec.advanced_auth,
        auth_specification: spec.auth_specification,
        options: None,
    })
}

/// A3: FAILED is the user's error; anything else that is not SUCCEEDED is the connector's.
pub async fn check(launcher: &Launcher, config: &RawValue) -> Result<()> {
    let (answers, run) = ask(launcher, "check", Some(config)).await?;
    match answers.status {
        Some((true, _)) => Ok(()),
        Some((false, Some(ref message))) => Err(anyhow!("the connector can't use this config: {message}")),
        Some((false, None)) => Err(anyhow!("the connector can't use this config, and gave no reason")),
        None => Err(answers.nothing(&run)),
    }
}

pub async fn discover(launcher: &Launcher, config: &RawValue) -> Result<Vec<Stream>> {
    let (answers, run) = ask(launcher, "discover", Some(config)).await?;
    catalog::streams(answers.catalog.as_deref().ok_or_else(|| answers.nothing(&run))?)
}

pub async fn read(launcher: &Launcher, sync: &SyncRequest<'_>, state_format: StateFormat) -> Result<Connector> {
    let configured = catalog::configured(&sync.streams)?;
    let state = state::input(sync, state_format)?;
    let mut prepared = launcher.prepare().await?;
    let mut arguments = vec!["read".to_owned()];
    for (option, name, content) in [
        ("--config", CONFIG, sync.config.get()),
        ("--catalog", CATALOG, configured.get()),
        ("--state", STATE, state.get()),
    ] {
        arguments.push(option.to_owned());
        arguments.push(prepared.write(name, content)?);
    }
    prepared.start(arguments).await
}

/// What a connector answered to a command. Its output is read to the end (A2).
#[derive(Default)]
struct Answers {
    /// There was a message of the protocol.
    is_airbyte: bool,
    spec: Option<Box<RawValue>>,
    catalog: Option<Box<RawValue>>,
    status: Option<(bool, Option<String>)>,
    errors: ErrorLog,
    /// The config as the connector rewrote it (A18).
    config: Option<Box<RawValue>>,
    /// Why a message could not be read.
    unreadable: Option<String>,
}

impl Answers {
    /// Why there is no answer.
    fn nothing(&self, run: &Ended) -> Error {
        let command = run.command;
        match &self.unreadable {
            Some(reason) => anyhow!("the connector's answer to {command} can't be read: {reason}"),
            None if run.exit == Exit::Code(0) && self.errors.reported().is_none() => {
                anyhow!("the connector gave no answer to {command}: is it an Airbyte source?")
            }
            None => self.errors.explain(run.exit, &run.stderr),
        }
    }

    fn has_answer(&self, command: &str) -> bool {
        match command {
            "spec" => self.spec.is_some(),
            "check" => self.status.is_some(),
            _ => self.catalog.is_some(),
        }
    }

    fn take(&mut self, line: &[u8]) {
        let message = match message::answer(line) {
            Err(Broken::Repairable) => message::answer(&repair(line).0),
            other => other,
        };
        self.is_airbyte |= message.is_ok();
        match message {
            Ok(Message::Spec(it)) => self.spec = Some(it),
            Ok(Message::Catalog(it)) => self.catalog = Some(it),
            Ok(Message::ConnectionStatus { succeeded, message }) => self.status = Some((succeeded, message)),
            Ok(Message::Event(Event::Log { level, message, fields })) => self.errors.log(level, message, fields),
            Ok(Message::Event(Event::Error(error))) => self.errors.error(error),
            Ok(Message::Event(Event::Config(config))) => {
                secrets::redact_config(&config, None);
                self.config = Some(config);
            }
            Ok(_) => {}
            Err(Broken::Lost { reason, .. }) => self.unreadable = Some(reason),
            Err(_) => self.errors.line(line),
        }
    }
}

/// How the run that gave the answers ended.
struct Ended {
    command: &'static str,
    exit: Exit,
    stderr: Stderr,
}

async fn ask(launcher: &Launcher, command: &'static str, config: Option<&RawValue>) -> Result<(Answers, Ended)> {
    let mut prepared = launcher.prepare().await?;
    let mut arguments = vec![command.to_owned()];
    if let Some(config) = config {
        arguments.push("--config".to_owned());
        arguments.push(prepared.write(CONFIG, config.get())?);
    }
    let mut connector = prepared.start(arguments).await?;
    let (stdout, activity) = (connector.take_stdout()?, Activity::default());
    let seen = activity.clone();
    let answers = thread::spawn("answers", move || read_answers(stdout, &seen))?;
    let limit = Some(launcher.idle_timeout);
    let Finished { end, output, stderr, files } =
        connector.supervise(&launcher.shutdown, &activity, limit, || (), answers).await?;
    files.close(launcher.shutdown.deadline()).await;
    let mut answers: Answers = output.unwrap_or_default();
    if let Some(config) = answers.config.take() {
        launcher.rotated.leave(config);
    }
    match end {
        End::Stopped(reason) => Err(Stopped(reason).into()),
        End::Silent => Err(anyhow!(
            "the connector said nothing for {} during {command} and was stopped",
            in_words(launcher.idle_timeout)
        )),
        End::NotExiting => {
            Err(anyhow!("the connector closed its output after {command} but did not exit, and was killed"))
        }
        End::Exited(exit) => {
            let run = Ended { command, exit, stderr };
            if answers.has_answer(command) && exit != Exit::Code(0) {
                let failure = answers.errors.explain(exit, &run.stderr);
                warn!("the connector answered {command}, but then failed: {failure:#}");
            }
            Ok((answers, run))
        }
    }
}

fn read_answers(stdout: ChildStdout, activity: &Activity) -> (Answers, Reading) {
    let mut answers = Answers::default();
    let mut lines = Lines::new(stdout);
    let mut more = true;
    while more {
        match activity.while_waiting(|| lines.fill()) {
            Ok(it) => more = it,
            Err(error) => {
                answers.unreadable = Some(error.to_string());
                more = false;
            }
        }
        // At the end of the output the last line may lack its newline.
        while let Some(line) = lines.take() {
            match line {
                Line::Whole(line) | Line::Cut(line) => answers.take(line),
                Line::TooLong { length, .. } => answers.unreadable = Some(format!("a message of {length} bytes")),
            }
        }
    }
    (answers, Reading::Ended)
}
