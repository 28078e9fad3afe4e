//! `flow-shim inspect`: reports how a connector will appear in Flow, as text or as JSON.

pub(crate) mod config;
pub(crate) mod streams;
mod text;

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Reason;
use crate::flow::response::DiscoveredBinding;
use crate::process::launch::Target;
use crate::process::shutdown::Shutdown;
use crate::schema::Change;
use crate::serve;
use crate::session::Session;
use crate::settings::config::ConfigArg;
use crate::settings::{Origin, SourceArgs};
use crate::terminal::Screen;
use crate::upstream::Stream;

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
Shows the connector's config fields, whether it declares OAuth, its streams with key, sync modes and cursor, and the \
changes to its schemas that Flow requires. Streams are listed if there is a config. Nothing is captured.

Examples:
  flow-shim inspect --shim shims/demo
  flow-shim inspect --json --config config.json -- source-faker | jq '.streams[].key'";

/// The report. Member names are stable, as programs read them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// The settings in shim.yaml.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<&'a Origin>,
    /// The documentation URL of Flow's Spec response.
    documentation_url: String,
    /// The source declares OAuth.
    advanced_auth: bool,
    /// The `oauth2` of Flow's Spec response.
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth2: Option<Value>,
    /// Why users can't sign in although the source declares OAuth.
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth2_missing: Option<String>,
    config: Config,
    /// `None` without a config or if discovery failed.
    streams: Option<Vec<streams::Stream>>,
    /// Flow's Discovered response, with the schemas of the collections.
    #[serde(skip_serializing_if = "Option::is_none")]
    discovered: Option<Discovered>,
    totals: Option<streams::Totals>,
}

#[derive(Serialize)]
struct Discovered {
    bindings: Vec<DiscoveredBinding>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    fields: Vec<config::Field>,
    rewritten: Vec<Rewrite>,
}

/// A change to a schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rewrite {
    at: String,
    change: &'static str,
    reason: String,
}

impl From<&Change> for Rewrite {
    fn from(it: &Change) -> Self {
        Self { at: it.at.clone(), change: it.what.name(), reason: it.what.to_string() }
    }
}

/// Runs `flow-shim inspect`.
pub async fn run(args: &Args, shutdown: &Shutdown, mut stdout: File) -> ExitCode {
    let screen = Screen::open();
    screen.conclude(inspect(args, shutdown, &screen, &mut stdout).await)
}

async fn inspect(args: &Args, shutdown: &Shutdown, screen: &Screen, stdout: &mut File) -> Result<()> {
    let session = Session::resolve(&args.source, shutdown.clone())?;
    screen.status("asking the connector for its spec");
    let given = session.load_config(&args.config).await?;
    let mut report = report(&session).await?;
    let mut discovery = Ok(());
    if let Some(config) = &given {
        screen.status("discovering streams");
        discovery = discover(&session, config).await.map(|found| {
            let rules = &session.settings.streams;
            report.discovered = Some(Discovered { bindings: serve::discovered(found.clone(), rules) });
            let found = streams::describe(found, rules);
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

async fn discover(session: &Session, config: &RawValue) -> Result<Vec<Stream>> {
    session.compare_with_schema(config).await?;
    session.discover(config).await
}

/// The parts of the report that need no config.
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
        discovered: None,
        totals: None,
    })
}
