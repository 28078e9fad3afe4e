//! `flow-shim prove`: runs a connector through the strict runtime, kills it, and compares what is committed with undisturbed
//! runs. It starts this binary as `serve`, once per request as Flow does, so that the whole path is proven.

mod compare;
mod kills;
mod report;
mod run;
mod stream;
mod text;

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use globset::GlobMatcher;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tracing::info;

use crate::error::{Reason, Stopped};
use crate::preview;
use crate::process::launch::Target;
use crate::process::shutdown::Shutdown;
use crate::process::thread;
use crate::secrets;
use crate::selection;
use crate::session::Session;
use crate::session::mapping::SKIP_INTERVAL;
use crate::settings::SourceArgs;
use crate::settings::config::ConfigArg;
use crate::strict::{Answer, Codec, Runtime, rules};
use crate::terminal::Screen;
use crate::terminal::figures::plural;

use report::{Connector, Killed, Proof, Report, Verdict};
use run::{Ended, Plan, Run, Runs, Victim};
use stream::Stream;

/// How much longer than a run the strict runtime waits for the process to end.
const MARGIN: Duration = Duration::from_secs(60);

/// The shortest secret that is searched in logs: shorter ones appear in other words.
const SHORTEST_SECRET: usize = 8;

#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Prove only matching streams; can be repeated [default: all]
    #[arg(long, value_name = "GLOB", value_parser = selection::glob)]
    select: Vec<GlobMatcher>,
    /// Kill N runs, in turns flow-shim, the connector, and flow-shim with its keeper
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    kills: u32,
    /// End each run at the first checkpoint after N documents
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// End each run after this time: 90s, 15m, 1h
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = preview::duration)]
    timeout: Duration,
    /// Print one JSON object, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Source")]
    source: SourceArgs,
}

const HELP: &str = "\
Shows before production whether a connector loses data in Flow: it is asked for its spec, its streams and a check, then read \
twice without disturbance, once more from its final state, and N times with a kill (SIGKILL) of flow-shim, the connector, or \
flow-shim with its keeper, and a run that resumes from what was committed. All answers are checked against Flow's rules. The result is compared by \
key; documents are kept as hashes only. Exit code 0 means that nothing was lost.

The connector only reads, but it reads everything several times: use --select and --limit for a large source. Do not prove a \
connector that replaces its refresh token at each start: the config would be used up. Ctrl-C prints what is known so far.

Examples:
  flow-shim prove --shim shims/demo
  flow-shim prove --config config.json --select 'public/*' --kills 8 -- source-postgres
  flow-shim prove --json --config config.json -- source-faker | jq .verdict";

impl Args {
    /// A proof of all streams that ends soon.
    pub fn short(config: ConfigArg, source: SourceArgs, kills: u32, limit: u64) -> Self {
        let timeout = Duration::from_secs(120);
        Self { config, select: Vec::new(), kills, limit, timeout, json: false, source }
    }
}

/// Runs `flow-shim prove`.
pub async fn run(args: Args, shutdown: &Shutdown, stdout: File) -> ExitCode {
    let screen = Screen::open();
    let result = print_proof(args, shutdown, &screen, stdout).await;
    screen.conclude(result)
}

/// Proves a connector and prints the report. An error means that documents were lost, or that it could not be told.
pub async fn print_proof(args: Args, shutdown: &Shutdown, screen: &Screen, stdout: File) -> Result<()> {
    let (screen, stop, handle) = (screen.clone(), shutdown.clone(), Handle::current());
    // The strict runtime blocks: it has a thread of its own.
    let proving = thread::spawn("prove", move || prove(&args, &stop, &screen, stdout, &handle))?;
    proving.await.unwrap_or_else(|| Err(anyhow!("bug in flow-shim: the proof panicked")))
}

fn prove(args: &Args, shutdown: &Shutdown, screen: &Screen, mut stdout: File, handle: &Handle) -> Result<()> {
    let session = Session::resolve(&args.source, shutdown.clone())?;
    screen.status("asking the connector for its spec");
    let given = handle.block_on(session.load_config(&args.config))?;
    let mut runtime = runtime(args, &session, given.as_deref(), handle)?;
    // All runs share it: what a killed keeper leaves, the next start removes.
    let temporary = TempDir::new().context("can't make a temporary directory")?;
    runtime.temporary = Some(temporary.path().to_owned());
    let mut proof = Proof::default();
    let streams = match discover(args, &session, &mut runtime, screen, &mut proof) {
        Err(_) if shutdown.reason().is_some() => return Err(stopped(shutdown)),
        Err(failure) if given.is_none() => return Err(preview::without_config(failure)),
        other => other?,
    };
    info!("proving {}: {}", plural(streams.len(), "stream"), selection::names(&streams, 5));
    let runs =
        Runs { runtime: &runtime, streams: &streams, limit: args.limit, timeout: args.timeout, shutdown, screen };
    prove_streams(&runs, args.kills, &mut proof)?;
    screen.settle();
    let protocol = session.upstream.protocol();
    let connector = match &session.launcher.target {
        Target::Command(command) => Connector { protocol, command: Some(command.clone()), image: None },
        Target::Image(image) => Connector { protocol, command: None, image: Some(image.clone()) },
    };
    let mut report = proof.report(connector, &streams, args.limit);
    report.broken_rules.iter_mut().for_each(|it| *it = secrets::redacted(it).into_owned());
    let output = match args.json {
        true => serde_json::to_string_pretty(&report).context("can't print the report")? + "\n",
        false => text::render(&report),
    };
    match stdout.write_all(output.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => drop(shutdown.request(Reason::OutputClosed)),
        written => written.context("can't write to stdout")?,
    }
    if proof.is_stopped { Err(stopped(shutdown)) } else { conclude(&report) }
}

fn stopped(shutdown: &Shutdown) -> anyhow::Error {
    Stopped(shutdown.reason().unwrap_or(Reason::Interrupt)).into()
}

/// The strict runtime around `flow-shim serve` with the same source.
fn runtime(args: &Args, session: &Session, given: Option<&RawValue>, handle: &Handle) -> Result<Runtime> {
    let ourselves = ["/proc/self/exe", "serve"].map(OsString::from);
    let mut runtime = Runtime::new(ourselves.into_iter().chain(args.source.to_arguments()));
    // What images get.
    runtime.codec = Codec::Proto;
    runtime.folder = Some(std::env::current_dir().context("can't find the working directory")?);
    runtime.patience = args.timeout + MARGIN;
    let config = match given {
        Some(config) => {
            handle.block_on(session.compare_with_schema(config))?;
            config.to_owned()
        }
        None => handle.block_on(session.default_config())?,
    };
    runtime.config = serde_json::from_str(config.get()).context("can't read the config")?;
    // A run that stays up for its interval tells nothing more.
    if session.settings.run_interval.is_some() {
        runtime.config[SKIP_INTERVAL] = json!(true);
    }
    Ok(runtime)
}

/// Asks for the spec, the streams and a check, as Flow does before the first capture.
fn discover(
    args: &Args,
    session: &Session,
    runtime: &mut Runtime,
    screen: &Screen,
    proof: &mut Proof,
) -> Result<Vec<Stream>> {
    screen.status("asking the connector for its spec");
    let spec = body(runtime.ask_spec()?, "spec", proof)?;
    let schema = spec.get("configSchema");
    secrets::redact_config(&serde_json::value::to_raw_value(&runtime.config)?, schema);
    runtime.secrets = secrets::find(&runtime.config, schema);
    runtime.secrets.retain(|it| it.len() >= SHORTEST_SECRET);
    screen.status("discovering streams");
    let discovered = body(runtime.ask_discover()?, "discovered", proof)?;
    proof.broken.extend(rules::resource_configs(&discovered, &spec["resourceConfigSchema"]));
    let found = discovered["bindings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let streams: Vec<Stream> =
        found.iter().map(|it| Stream::of(it, session.upstream.as_ref())).collect::<Result<_>>()?;
    if streams.is_empty() {
        bail!("the connector discovered no streams with this config");
    }
    let streams = selection::select(streams, &args.select, &[])?;
    screen.status("checking the config");
    let bindings: Vec<_> = streams.iter().map(|it| it.binding.clone()).collect();
    let validated = body(runtime.ask_validate(&bindings)?, "validated", proof)?;
    let paths: Vec<Value> = bindings.iter().map(|it| json!({"resourcePath": it.path_at(&spec)})).collect();
    if validated["bindings"] != json!(paths) {
        proof.broken.push("F17: Validate gives other resource paths than Discover".to_owned());
    }
    body(runtime.ask_apply(&bindings, &json!({}))?, "applied", proof)?;
    Ok(streams)
}

/// The body of a response. The error is what Flow would show.
fn body(answer: Answer, kind: &str, proof: &mut Proof) -> Result<Value> {
    if !answer.end.exit.success() {
        bail!("{}", answer.end.last_message());
    }
    let body = answer.body(kind).map_err(anyhow::Error::msg)?.clone();
    proof.broken.extend(answer.end.broken);
    Ok(body)
}

/// Makes the runs, until one fails or Ctrl-C.
fn prove_streams(runs: &Runs, kills: u32, proof: &mut Proof) -> Result<()> {
    let titled = |title: &str| Plan { title: title.to_owned(), ..Plan::default() };
    let run = make(runs, Plan { validates: true, ..titled("undisturbed run 1 of 2") })?;
    proof.first = proof.note(run);
    if proof.is_over() {
        return Ok(());
    }
    let run = make(runs, titled("undisturbed run 2 of 2"))?;
    proof.second = proof.note(run);
    if proof.is_over() {
        return Ok(());
    }
    let run = make(runs, Plan { after: proof.first.as_ref(), ..titled("run from the final state") })?;
    proof.continued = proof.note(run);
    let (Some(first), Some(references)) = (&proof.first, proof.references(runs.streams)) else { return Ok(()) };
    for (index, kill) in kills::spread(kills, first.documents(), &first.checkpoints).into_iter().enumerate() {
        if proof.is_over() {
            return Ok(());
        }
        let number = format!("{} of {kills}", index + 1);
        let victim = match kill.victim {
            Victim::Shim => "flow-shim",
            Victim::Connector => "the connector",
            Victim::ShimAndKeeper => "flow-shim and its keeper",
        };
        let run = make(runs, Plan { kill: Some(kill), ..titled(&format!("kill {number}, of {victim}")) })?;
        let Some(run) = proof.note(run) else { return Ok(()) };
        let mut resumed = None;
        if run.ended == Ended::Killed {
            let missing = || references.iter().zip(&run.committed).map(|(it, killed)| it.missing(killed)).collect();
            let until = references.iter().any(|it| it.is_cut).then(missing);
            let next = make(runs, Plan { until, after: Some(&run), ..titled(&format!("run after kill {number}")) })?;
            resumed = proof.note(next);
            if resumed.is_none() {
                return Ok(());
            }
        }
        proof.killed.push(Killed { kill, run, resumed });
    }
    if !proof.is_over() && proof.seems_to_lose(runs.streams) {
        let run = make(runs, titled("undisturbed run to confirm the loss"))?;
        proof.confirmed = proof.note(run);
    }
    Ok(())
}

fn make(runs: &Runs, plan: Plan) -> Result<Run> {
    let title = plan.title.clone();
    let run = runs.run(plan)?;
    let (documents, checkpoints) = (run.documents() as usize, run.checkpoints.len());
    info!("{title}: {} in {}", plural(documents, "document"), plural(checkpoints, "checkpoint"));
    Ok(run)
}

/// The verdict as the command's result.
fn conclude(report: &Report) -> Result<()> {
    let lost = report.lost();
    match report.verdict {
        Verdict::NothingLost => Ok(()),
        Verdict::Lost if lost > 0 => bail!("{} were lost", plural(lost, "document")),
        Verdict::Lost => bail!("documents ended out of order"),
        Verdict::Failed => bail!("{}", report.failure.as_deref().unwrap_or("the capture failed and gave no reason")),
        Verdict::RulesBroken => bail!("rules of Flow were broken"),
        Verdict::Unproven => bail!("not all streams are proven"),
        Verdict::Empty => bail!("nothing is proven: there were no documents"),
    }
}
