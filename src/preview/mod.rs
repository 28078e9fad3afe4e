//! `flow-shim preview`: a local runtime. It drives the serve loop in this process as Flow would drive it from outside, prints
//! committed documents and keeps the state in a file. It knows neither Airbyte nor Singer.

mod bindings;
mod display;
mod import;
mod receive;
mod session;
mod state;
mod table;
mod tally;
mod validate;
mod watched;

use crate::error::{self, Stopped};
use anyhow::{Context, Error, Result, anyhow, bail};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::{info, warn};

use globset::GlobMatcher;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::capture;
use crate::error::Reason;
use crate::logging::Level;
use crate::process::kept::KeptFiles;
use crate::process::shutdown::Shutdown;
use crate::process::thread;
use crate::selection;
use crate::session::Session;
use crate::settings::SourceArgs;
use crate::settings::config::ConfigArg;
use crate::terminal::figures::plural;
use crate::terminal::{self, Screen};
use crate::upstream::Stream;

use bindings::{Binding, OpenBinding, StreamMode};
use display::Display;
use receive::{Limits, Received, Receiver};
use session::Serving;
use state::State;
pub use tally::Tally;
use validate::Validator;
pub use watched::{Watched, watch};

#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Resume from the state in this file, and update it
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Capture only matching streams; can be repeated [default: all]
    #[arg(long, value_name = "GLOB", value_parser = selection::glob)]
    select: Vec<GlobMatcher>,
    /// Leave out matching streams; can be repeated
    #[arg(long, value_name = "GLOB", value_parser = selection::glob)]
    exclude: Vec<GlobMatcher>,
    /// Stop after N documents
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print at most N documents of each stream
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit_per_stream: Option<u64>,
    /// Stop after this time: 90s, 15m, 1h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Read everything from the beginning
    #[arg(long)]
    full_refresh: bool,
    /// Read matching streams in this mode, such as full_refresh or INCREMENTAL; can be repeated
    #[arg(long, value_name = "GLOB=MODE", conflicts_with = "full_refresh")]
    mode: Vec<StreamMode>,
    /// Run the connector N times, each time from the state in which the last run ended
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["limit", "limit_per_stream"])]
    sessions: u32,
    /// Print state updates between the documents, as ["connectorState",{...}]
    #[arg(long)]
    output_state: bool,
    /// Copy the files that the connector gets (config, catalog, state) to DIR, a directory for each run
    #[arg(long, value_name = "DIR")]
    keep_files: Option<PathBuf>,
    /// Print documents without validating them as Flow does
    #[arg(long)]
    no_validate: bool,
    /// Log at debug level; twice: at trace level
    #[arg(long, short, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Log only warnings and errors, without progress and table
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten, next_help_heading = "Source")]
    source: SourceArgs,
}

const HELP: &str = "\
Documents are printed to stdout as [\"<stream>\",{...}], exactly the bytes that Flow would receive, as soon as a \
checkpoint commits them. Logs, progress and a summary table go to stderr. Ctrl-C stops the connector and keeps everything \
up to the last checkpoint; a second Ctrl-C exits immediately.

--state: The file is written after each checkpoint, once the documents before it are printed. It can contain secrets: \
only its owner can read it.

The file can also contain a Singer state or a list of Airbyte states: it is converted.

--limit: The last documents are printed without waiting for their checkpoint. If the checkpoint does not follow, the next \
run with the same --state repeats them.

--limit-per-stream: Ends when every stream has N documents or the connector exits. The state does not advance past a \
document that was not printed.

If shim.yaml has `schema: declared`, documents are validated against the schema as Flow does; a violation is an error.

--sessions: The next run starts when the connector has exited. It shows whether a connector resumes, also without --state.

--keep-files: The files hold secrets, so only their owner can read them. `-v` shows the commands that read them.

--full-refresh: The state of the selected streams is ignored, like in a backfill in Flow, and replaced at the first \
checkpoint. Streams with a full refresh mode are read in that mode, others in their usual one. The next run without \
--full-refresh also starts from the beginning, as a full refresh leaves no cursor.

Examples:
  flow-shim preview --shim shims/demo
  flow-shim preview --config config.json --state state.json -- source-faker
  flow-shim preview --config config.json --select 'public/*' --limit 10 -- source-postgres";

impl Args {
    /// The log level that `-v` or `-q` selects.
    pub fn level(&self) -> Option<Level> {
        match (self.verbose, self.quiet) {
            (0, false) => None,
            (0, true) => Some(Level::Warn),
            (1, _) => Some(Level::Debug),
            _ => Some(Level::Trace),
        }
    }
}

/// Runs `flow-shim preview`.
pub async fn run(args: Args, stop: &Shutdown, stdout: File) -> ExitCode {
    let screen = Screen::open();
    let (shown, shutdown) = (screen.clone(), stop.clone());
    // The local runtime reads and writes pipes, which blocks: it has a thread of its own.
    let runtime = Handle::current();
    let previewing = thread::spawn("preview", move || preview(&args, &shutdown, &shown, stdout, &runtime));
    let previewing = match previewing {
        Ok(it) => it,
        Err(failure) => return screen.conclude(Err(failure)),
    };
    let notice = async {
        let reason = stop.requested().await;
        screen.status("stopping the connector");
        if matches!(reason, Reason::Interrupt | Reason::Terminate) {
            info!("stopping: waiting for the connector to exit (a second Ctrl-C exits immediately)");
        }
        std::future::pending::<Infallible>().await
    };
    let result = tokio::select! {
        result = previewing => result.unwrap_or_else(|| Err(anyhow!("bug in flow-shim: the preview panicked"))),
        never = notice => match never {},
    };
    screen.conclude(result)
}

fn preview(args: &Args, stop: &Shutdown, screen: &Screen, stdout: File, runtime: &Handle) -> Result<()> {
    let mut shim = Session::resolve(&args.source, stop.clone())?;
    // A preview is not restarted, so it ends after one sync.
    shim.settings.run_interval = None;
    shim.launcher.kept = args.keep_files.clone().map(KeptFiles::new).transpose()?.map(Arc::new);
    let shim = Arc::new(shim);
    let mut state = match &args.state {
        Some(path) => {
            refuse_config_as_state(path, args.config.path(shim.settings.folder.as_deref())?.as_deref())?;
            if terminal::stdout::was_closed() {
                bail!("stdout is closed: documents would be lost while the state advances");
            }
            State::open(path)?
        }
        None => State::in_memory(),
    };
    screen.status("asking the connector for its spec");
    let given = runtime.block_on(shim.load_config(&args.config))?;
    let config = match &given {
        Some(config) => {
            runtime.block_on(shim.compare_with_schema(config))?;
            config.clone()
        }
        None => runtime.block_on(shim.default_config())?,
    };

    let mut session = Serving::start(shim.clone(), runtime.clone())?;
    let Some(spec) = session.ask("spec", &json!({}), "spec") else {
        return Err(unanswered(session, None));
    };
    let streams = match find_streams(&mut session, &shim, &config, &|it| screen.status(it), runtime) {
        Ok(streams) => streams,
        Err(failure) => {
            let failure = unanswered(session, failure);
            return Err(if given.is_some() { failure } else { without_config(failure) });
        }
    };
    let found = streams.len();
    let bindings = bindings::bind(streams, &shim.settings.streams, &spec["resourcePathPointers"])?;
    state.import(&bindings, shim.upstream.protocol())?;
    let mut bindings = selection::select(bindings, &args.select, &args.exclude)?;
    if args.full_refresh {
        bindings::refresh_fully(&mut bindings, shim.upstream.as_ref());
        let keys: Vec<String> = bindings.iter().map(Binding::state_key).collect();
        state.value = capture::reset_bindings(std::mem::take(&mut state.value), &keys);
    }
    for mode in &args.mode {
        bindings::set_mode(&mut bindings, mode, shim.upstream.as_ref())?;
    }
    let from = if state.is_empty() { "" } else { ", resuming from the state" };
    let names = selection::names(&bindings, 5);
    let of = if found == bindings.len() {
        plural(found, "stream")
    } else {
        format!("{} of {}", bindings.len(), plural(found, "stream"))
    };
    info!("capturing {of}{from}: {names}");
    screen.status("waiting for the connector");
    let run = Run { args, stop, screen, stdout, runtime };
    let tally = Arc::new(tally_of(&bindings));
    let display = Display::start(screen, &tally);
    if let Some(timeout) = args.timeout {
        stop_after(timeout, stop, runtime);
    }
    let captured = capture_sessions(session, &shim, &bindings, &config, state, &tally, run);
    if let Some(it) = display {
        it.end(screen);
    }
    screen.settle();
    if !screen.is_quiet() {
        table::show(&tally, screen);
    }
    captured
}

/// Runs the sessions one after the other, each from the state of the last one.
fn capture_sessions(
    session: Serving,
    shim: &Arc<Session>,
    bindings: &[Binding],
    config: &RawValue,
    mut state: State,
    tally: &Arc<Tally>,
    run: Run,
) -> Result<()> {
    let mut first = Some(session);
    for number in 1..=run.args.sessions {
        let session = match first.take() {
            Some(it) => it,
            None => {
                info!("session {number} of {}", run.args.sessions);
                Serving::start(shim.clone(), run.runtime.clone())?
            }
        };
        match capture(session, bindings, config, state, tally, &run)? {
            Some(next) if run.stop.reason().is_none() => state = next,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Refuses to overwrite the config.
fn refuse_config_as_state(state: &Path, config: Option<&Path>) -> Result<()> {
    let file = |path: &Path| path.metadata().ok().map(|it| (it.dev(), it.ino()));
    let state_file = file(state);
    if state_file.is_some() && state_file == config.and_then(file) {
        bail!("--state {} is the config file: name another file for the state", state.display());
    }
    Ok(())
}

/// Parses `--timeout`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|it| Duration::try_from(it).ok());
    parsed.filter(|it| !it.is_zero()).ok_or_else(|| "write it like 30s, 10m or 1h".to_owned())
}

/// Stops the capture when the time is over, which is a success.
fn stop_after(timeout: Duration, stop: &Shutdown, runtime: &Handle) {
    let stop = stop.clone();
    runtime.spawn(async move {
        tokio::select! {
            _ = stop.requested() => {}
            () = tokio::time::sleep(timeout) => {
                let timeout = jiff::SignedDuration::try_from(timeout).unwrap_or_default();
                info!("stopping: the --timeout of {timeout:#} is over");
                stop.request(Reason::Enough);
            }
        }
    });
}

/// Checks the config and discovers streams. `Err(None)` is a failure of the session, which [`Serving::end`] reports.
fn find_streams(
    session: &mut Serving,
    shim: &Session,
    config: &RawValue,
    status: &dyn Fn(&str),
    runtime: &Handle,
) -> Result<Vec<Stream>, Option<Error>> {
    status("checking the config");
    session.ask("validate", &Validate { config, bindings: [] }, "validated").ok_or(None)?;
    status("discovering streams");
    // Called directly: Flow's Discovered response does not list a stream's other sync modes.
    let streams = runtime.block_on(shim.discover(config)).map_err(Some)?;
    if streams.is_empty() {
        return Err(Some(anyhow!("the connector discovered no streams with this config")));
    }
    Ok(streams)
}

/// Ends a session that gave no response: its own failure, otherwise `failure`.
fn unanswered(session: Serving, failure: Option<Error>) -> Error {
    let broken = || anyhow!("bug in flow-shim: a request had no response");
    session.end().err().or(failure).unwrap_or_else(broken)
}

/// Adds to a failure that no config was given, which may be its cause.
pub(crate) fn without_config(failure: Error) -> Error {
    error::with_hint(failure, "no config was given: use --config FILE")
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

/// The parameters and outputs of a capture.
struct Run<'a> {
    args: &'a Args,
    stop: &'a Shutdown,
    screen: &'a Screen,
    stdout: File,
    runtime: &'a Handle,
}

/// Captures until the connector exits or a limit is reached. Gives the state, if there was a capture.
fn capture(
    session: Serving,
    bindings: &[Binding],
    config: &RawValue,
    state: State,
    tally: &Arc<Tally>,
    run: &Run,
) -> Result<Option<State>> {
    let Run { args, stop, .. } = run;
    let validators: Vec<Validator> = match args.no_validate {
        true => Vec::new(),
        false => bindings.iter().map(Binding::validator).collect::<Result<_>>()?,
    };
    let stdout = run.stdout.try_clone().context("can't use stdout")?;
    let out = Documents { stdout, screen: run.screen.clone() };
    let (documents, documents_per_stream) = (args.limit, args.limit_per_stream);
    let limits = Limits { documents, documents_per_stream, prints_state: args.output_state };
    let opening = opening(bindings, config, &state.value)?;
    let receiver = Receiver::new(out, tally.clone(), state, limits, validators, Shutdown::clone(stop));
    let (received, served) = receive(session, &opening, receiver, stop);
    if let Ok(Some(received)) = &received {
        log_uncommitted(received, args.state.is_some(), stop);
    }
    verdict(received, served, stop)
}

fn tally_of(bindings: &[Binding]) -> Tally {
    Tally::new(bindings.iter().map(|it| (it.name.clone(), it.stream.id.to_string())))
}

/// The Apply and Open requests of a capture.
struct Opening {
    apply: Value,
    open: Box<RawValue>,
}

fn opening(bindings: &[Binding], config: &RawValue, state: &Value) -> Result<Opening> {
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
        state,
    };
    let apply = json!({"capture": open.capture});
    Ok(Opening { apply, open: to_raw_value(&open).context("can't write the Open request")? })
}

/// Runs a capture to its end: the receiver's result, none if the capture did not open, and the serve loop's.
fn receive<W: Write>(
    mut session: Serving,
    opening: &Opening,
    receiver: Receiver<W>,
    stop: &Shutdown,
) -> (Result<Option<Received>>, Result<()>) {
    let opened = session.ask("apply", &opening.apply, "applied").is_some()
        && session.ask("open", &opening.open, "opened").is_some();
    let received = if opened { receiver.receive(&mut session.responses).map(Some) } else { Ok(None) };
    if !matches!(received, Ok(None | Some(Received { enough: false, .. }))) {
        // The responses are no longer read, so the capture must stop.
        stop.request(Reason::Enough);
    }
    (received, session.end())
}

/// Logs what happened to the documents after the last checkpoint.
fn log_uncommitted(received: &Received, has_state: bool, stop: &Shutdown) {
    if received.omitted && has_state {
        info!("the state was not advanced past the first document that --limit-per-stream omitted");
    }
    let count = usize::try_from(received.uncommitted).unwrap_or(usize::MAX);
    match (count, received.enough) {
        (0, _) => {}
        (count, true) if has_state => {
            info!("{} had no checkpoint yet: the next run with this state repeats them", plural(count, "document"))
        }
        (_, true) => {}
        // A stopped capture has logged this itself.
        (count, false) if stop.reason().is_none() => {
            warn!("{} after the last checkpoint: not committed and not printed", plural(count, "document"))
        }
        (_, false) => {}
    }
}

/// The result of the command. A reached limit or a closed stdout is a success; a shutdown request takes precedence over the
/// failures that follow from it.
fn verdict(received: Result<Option<Received>>, served: Result<()>, stop: &Shutdown) -> Result<Option<State>> {
    let state = match received {
        Err(failure) if error::stopped(&failure).is_none() => return Err(failure),
        received => received.ok().flatten().map(|it| it.state),
    };
    match (stop.reason(), served) {
        (Some(Reason::Enough | Reason::OutputClosed), _) => Ok(state),
        (_, Err(failure)) if error::stopped(&failure).is_none() => Err(failure),
        (Some(reason), _) => Err(Stopped(reason).into()),
        (None, served) => served.map(|()| state),
    }
}

/// stdout, which may be the same terminal as the live display's.
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
