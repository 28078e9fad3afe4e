//! What the shim makes of a connector: for a person, who has to decide what to do with it, and for programs.

pub(crate) mod config;
mod streams;
mod text;

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use crate::error::Reason;
use crate::process::launch::Target;
use crate::process::shutdown::Shutdown;
use crate::schema::Change;
use crate::secrets;
use crate::serve;
use crate::session::Session;
use crate::settings::config::ConfigArg;
use crate::settings::{Origin, SourceArgs};
use crate::terminal::Screen;

#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print one JSON object, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Source")]
    source: SourceArgs,
}

const HELP: &str = "\
Shown are the connector's config fields, whether it declares OAuth, its streams with key, sync modes and cursor, and \
what is rewritten in its schemas so that Flow takes them. Streams are discovered where there is a config. Nothing is \
captured.

Examples:
  flow-shim inspect --shim shims/demo
  flow-shim inspect --json --config config.json -- source-faker | jq '.streams[].key'";

/// What there is to tell. The names are stable: programs read them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// What shim.yaml changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<&'a Origin>,
    /// As Flow is told.
    documentation_url: String,
    /// The source declares how users may sign in by OAuth.
    advanced_auth: bool,
    /// As Flow is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth2: Option<Value>,
    /// Why users can't sign in, where they could.
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth2_missing: Option<String>,
    config: Config,
    /// None without a config to discover them with, or where the discovery failed.
    streams: Option<Vec<streams::Stream>>,
    totals: Option<streams::Totals>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    fields: Vec<config::Field>,
    rewritten: Vec<Rewrite>,
}

/// One thing that was changed in a schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rewrite {
    at: String,
    change: &'static str,
    reason: String,
}

impl From<&Change> for Rewrite {
    fn from(it: &Change) -> Self {
        Self { at: it.at.clone(), change: it.what.name(), reason: it.what.to_string() }
    }
}

/// Inspects, and says how it went.
pub async fn run(args: &Args, shutdown: &Shutdown, mut stdout: File) -> ExitCode {
    let screen = Screen::open();
    screen.conclude(inspect(args, shutdown, &screen, &mut stdout).await)
}

async fn inspect(args: &Args, shutdown: &Shutdown, screen: &Screen, stdout: &mut File) -> Result<()> {
    let session = Session::resolve(&args.source, shutdown.clone())?;
    let given = args.config.read(session.settings.folder.as_deref())?;
    screen.status("asking the connector for its spec");
    let mut report = report(&session).await?;
    let mut discovery = Ok(());
    if let Some(config) = &given {
        secrets::redact_config(config, None);
        screen.status("discovering streams");
        discovery = session.discover(config).await.map(|found| {
            let found = streams::describe(found, &session.settings.streams);
            report.totals = Some(streams::Totals::of(&found));
            report.streams = Some(found);
        });
    }
    screen.settle();
    let output = match args.json {
        true => serde_json::to_string_pretty(&report).context("can't print the report")? + "\n",
        false => text::render(&report, given.is_some()),
    };
    match stdout.write_all(output.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => drop(shutdown.request(Reason::OutputClosed)),
        written => written.context("can't write to stdout")?,
    }
    discovery.context("can't discover the streams")
}

/// All that needs no config.
async fn report(session: &Session) -> Result<Report<'_>> {
    let found = session.describe().await?;
    let (command, image) = match &session.launcher.target {
        Target::Command(command) => (Some(command.clone()), None),
        Target::Image(image) => (None, Some(image.clone())),
    };
    Ok(Report {
        protocol: session.upstream.protocol(),
        command,
        image,
        settings: session.settings.origin.as_ref(),
        documentation_url: serve::documentation_url(session, found.documentation_url),
        advanced_auth: found.declares_oauth,
        oauth2: found.oauth2,
        oauth2_missing: found.missing,
        config: Config {
            fields: config::fields(&found.config_schema),
            rewritten: found.changes.iter().map(Rewrite::from).collect(),
        },
        streams: None,
        totals: None,
    })
}
