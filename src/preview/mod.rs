//! A local runtime, for people without Flow at hand: it drives the serve loop of this very process as Flow would from
//! another one, prints what is committed, and keeps the state in a file. It knows neither Airbyte nor Singer.

mod bindings;
mod display;
mod receive;
mod session;
mod spool;
mod state;
mod table;
mod tally;

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use globset::GlobMatcher;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::capture;
use crate::failure::{Failure, OrFail};
use crate::flow::log;
use crate::process::stop::{Reason, Stop};
use crate::shim::config::ConfigArg;
use crate::shim::{Shim, SourceArgs, secrets};
use crate::source::Stream;
use crate::terminal::Screen;

use bindings::{Binding, OpenBinding};
use display::Display;
use receive::{Received, Receiver};
use session::Session;
use state::StateFile;
use tally::Tally;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    config: ConfigArg,
    /// Go on from the state in this file, and keep it there; it never passes what was printed
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Capture the streams whose names match; may be repeated [default: all streams]
    #[arg(long, value_name = "GLOB", value_parser = bindings::glob)]
    select: Vec<GlobMatcher>,
    /// Stop after N documents, whether or not their checkpoint has come
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Read the streams from the beginning and in full, whatever the state says
    ///
    /// The state of the captured streams is left aside, as if each had been backfilled in Flow, and replaced by the
    /// first checkpoint; streams that --select leaves out keep theirs. Streams that have a full refresh mode are read
    /// in it, the others as ever. A later run without --full-refresh reads streams incrementally again, from the
    /// beginning at first: a full refresh leaves no position to go on from.
    #[arg(long)]
    full_refresh: bool,
}

const EXAMPLES: &str = "\
Each document is printed as [\"<stream>\",{...}] once a checkpoint has committed it, byte for byte as Flow would get it.
Logs, progress and a table of what was captured go to stderr. Ctrl-C stops the connector and keeps what it has
checkpointed; a second Ctrl-C does not wait.

Examples:
  flow-shim preview --shim shims/demo
  flow-shim preview --config config.json --state state.json -- source-faker
  flow-shim preview --config config.json --select 'public/*' --limit 10 --image airbyte/source-postgres | jq .";

/// Captures, and says how it went.
pub fn run(args: &Args, stop: &Stop, stdout: File) -> ExitCode {
    let screen = Screen::take_over();
    let shown = screen.clone();
    stop.listen(move |reason| match reason {
        Reason::Terminate | Reason::Interrupt => shown.status("stopping the connector (Ctrl-C does not wait for it)"),
        Reason::OutputClosed | Reason::Enough => shown.status("stopping the connector"),
    });
    screen.conclude(preview(args, stop, &screen, stdout))
}

fn preview(args: &Args, stop: &Stop, screen: &Screen, stdout: File) -> Result<(), Failure> {
    let shim = Arc::new(Shim::resolve(&args.source, stop.clone())?);
    let given = args.config.read(shim.folder.as_deref())?;
    let mut state = args.state.as_deref().map(StateFile::open).transpose()?;
    let config = match &given {
        Some(config) => config.clone(),
        None => RawValue::from_string("{}".to_owned()).or_fail("can't make a config")?,
    };
    secrets::conceal(&config);

    let mut session = Session::start(shim.clone())?;
    let (streams, pointers) = match prepare(&mut session, &shim, &config, screen) {
        Ok(prepared) => prepared,
        Err(failure) => {
            let failure = session.end().err().or(failure).unwrap_or_else(|| Failure::new(NO_ANSWER));
            return Err(if given.is_some() { failure } else { without_config(failure) });
        }
    };
    let found = streams.len();
    let mut bindings = bindings::select(bindings::bind(streams, &pointers)?, &args.select)?;
    if args.full_refresh {
        bindings::refresh_fully(&mut bindings, shim.source.as_ref());
        if let Some(file) = &mut state {
            let keys: Vec<String> = bindings.iter().map(Binding::state_key).collect();
            file.state = capture::forget(std::mem::take(&mut file.state), &keys);
        }
    }
    let of = if found == bindings.len() { String::new() } else { format!(" of {found}") };
    let from = if state.as_ref().is_some_and(|it| !it.is_empty()) { ", from the state on" } else { "" };
    let names = bindings::names(&bindings, 5);
    log::info(&format!("capturing {}{of} streams{from}: {names}", bindings.len()));
    screen.status("waiting for the connector");
    capture(session, &bindings, &config, state, Run { args, stop, screen, stdout })
}

const NO_ANSWER: &str = "flow-shim is broken: a request had no answer";

/// Spec, check and discover. What fails within the session is told at its end.
fn prepare(
    session: &mut Session,
    shim: &Shim,
    config: &RawValue,
    screen: &Screen,
) -> Result<(Vec<Stream>, Vec<String>), Option<Failure>> {
    screen.status("asking the connector for its spec");
    let spec = session.ask("spec", &json!({}), "spec").ok_or(None)?;
    let pointers = spec["resourcePathPointers"].as_array().into_iter().flatten();
    let pointers = pointers.filter_map(|it| it.as_str().map(str::to_owned)).collect();
    screen.status("checking the config");
    session.ask("validate", &Validate { config, bindings: [] }, "validated").ok_or(None)?;
    screen.status("discovering streams");
    // Asked directly: the wire does not tell in which other modes a stream can be read.
    let streams = shim.discover(config).map_err(Some)?;
    if streams.is_empty() {
        return Err(Some(Failure::new("the connector discovers no streams with this config")));
    }
    Ok((streams, pointers))
}

/// A failure that the absence of a config may explain.
fn without_config(failure: Failure) -> Failure {
    match failure {
        Failure::Failed { sentence, fields } => {
            let sentence = format!("{} (no config was given: say --config FILE)", sentence.trim_end());
            Failure::Failed { sentence, fields }
        }
        stopped => stopped,
    }
}

#[derive(Serialize)]
struct Validate<'a> {
    config: &'a RawValue,
    bindings: [Value; 0],
}

#[derive(Serialize)]
struct Open<'a> {
    capture: CaptureSpec<'a>,
    version: String,
    range: Value,
    state: &'a Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CaptureSpec<'a> {
    name: &'a str,
    connector_type: &'a str,
    config: &'a RawValue,
    interval_seconds: u32,
    bindings: Vec<OpenBinding<'a>>,
}

/// What a capture runs with.
struct Run<'a> {
    args: &'a Args,
    stop: &'a Stop,
    screen: &'a Screen,
    stdout: File,
}

fn capture(
    mut session: Session,
    bindings: &[Binding],
    config: &RawValue,
    state: Option<StateFile>,
    run: Run,
) -> Result<(), Failure> {
    let Run { args, stop, screen, stdout } = run;
    let none = Value::Object(Map::new());
    let open = Open {
        capture: CaptureSpec {
            name: "preview/capture",
            connector_type: "IMAGE",
            config,
            interval_seconds: 300,
            bindings: bindings.iter().map(Binding::open).collect(),
        },
        version: bindings::version(bindings),
        range: json!({"keyEnd": u32::MAX, "rClockEnd": u32::MAX}),
        state: state.as_ref().map_or(&none, |it| &it.state),
    };
    let tally = Arc::new(Tally::new(bindings.iter().map(|it| (it.name.clone(), it.stream.id.to_string()))));
    let display = Display::start(screen, &tally);
    let opened = session.ask("apply", &json!({"capture": open.capture}), "applied").is_some()
        && session.ask("open", &open, "opened").is_some();
    let has_state = state.is_some();
    let out = Documents { stdout, screen: screen.clone() };
    let receiver = Receiver::new(out, tally.clone(), state, args.limit, stop.clone());
    let received = if opened { receiver.receive(&mut session.responses).map(Some) } else { Ok(None) };
    if !matches!(received, Ok(None | Some(Received { enough: false, .. }))) {
        // Nobody reads any more.
        stop.request(Reason::Enough);
    }
    let served = session.end();
    if let Some(it) = display {
        it.end(screen);
    }
    screen.settle();
    if let Ok(Some(received)) = &received {
        tell_uncommitted(received, has_state, stop);
    }
    table::show(&tally, screen);
    verdict(received, served, stop)
}

/// Says what became of the documents that no checkpoint followed.
fn tell_uncommitted(received: &Received, has_state: bool, stop: &Stop) {
    match (received.uncommitted, received.enough) {
        (0, _) => {}
        (count, true) if has_state => log::info(&format!(
            "the last {count} documents came before their checkpoint: the next run with this state brings them again"
        )),
        (_, true) => {}
        // The capture has said so itself where it was stopped.
        (count, false) if stop.reason().is_none() => log::warn(&format!(
            "{count} documents came after the last checkpoint: they are not committed, and not printed"
        )),
        (_, false) => {}
    }
}

/// How it all went: what the user wanted is no failure, and what they asked for goes before what followed from it.
fn verdict(
    received: Result<Option<Received>, Failure>,
    served: Result<(), Failure>,
    stop: &Stop,
) -> Result<(), Failure> {
    if let Err(failure @ Failure::Failed { .. }) = received {
        return Err(failure);
    }
    match (stop.reason(), served) {
        (Some(Reason::Enough | Reason::OutputClosed), _) => Ok(()),
        (_, Err(failure @ Failure::Failed { .. })) => Err(failure),
        (Some(reason), _) => Err(Failure::Stopped(reason)),
        (None, served) => served,
    }
}

/// stdout, which may be the terminal that the display is on.
struct Documents {
    stdout: File,
    screen: Screen,
}

impl Write for Documents {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.screen.aside(|| self.stdout.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}
