//! The demo connector: a small Airbyte source inside this binary, for first captures and for tests. It behaves like a source
//! built on the current CDK (compact JSON, stream statuses, estimates, STREAM states with counts) and knows nothing of Flow: the
//! shim runs it as a child process like any other connector.
//!
//! The first sync reads `count` rows per stream, each later one a tenth of that. The data depends only on the seed and the
//! state, never on the clock.

mod shop;

use std::ffi::OsString;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use shop::Shop;
use shop::{Moment, Row};

/// Rows between two states of a stream, so that an interrupted sync of a million rows resumes close to where it stopped.
const ROWS_BETWEEN_STATES: u64 = 1_000;
/// The member of a completed full refresh's state. If passed to the next sync, that sync reads nothing (A12).
const FULL_REFRESH_COMPLETE: &str = "__ab_full_refresh_sync_complete";

#[derive(Parser)]
#[command(
    name = "flow-shim demo-source",
    no_binary_name = true,
    about = "A small Airbyte source: a coffee shop with data generated from a seed"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the specification of the configuration
    Spec,
    /// Check the configuration
    Check {
        #[arg(long)]
        config: PathBuf,
    },
    /// Print the catalog of streams
    Discover {
        #[arg(long)]
        config: PathBuf,
    },
    /// Read the streams of a configured catalog, resuming from a state
    Read {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        catalog: PathBuf,
        #[arg(long)]
        state: Option<PathBuf>,
    },
}

/// Runs the demo source with the arguments that follow `demo-source`.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(usage) => {
            // An error can't be reported when stderr is closed.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let mut out = Output(BufWriter::with_capacity(256 * 1024, io::stdout().lock()));
    match args.command.run(&mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // An error can't be reported when stdout is closed.
            let _ = failure.report(&mut out);
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn run(&self, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Spec => out.emit(&parse(include_str!("spec.json"))?),
            Self::Check { config } => check(&Config::load(config)?, out),
            Self::Discover { config } => {
                Config::load(config)?;
                out.emit(&parse(include_str!("catalog.json"))?)
            }
            Self::Read { config, catalog, state } => {
                let config = Config::load(config)?;
                config.log_in().map_err(Failure::config)?;
                let catalog: Catalog = load(catalog)?;
                let given = state.as_deref().map(load::<Vec<StateMessage>>).transpose()?.unwrap_or_default();
                read(&config, &catalog, &given, out)
            }
        }
    }
}

/// Parses a message from a JSON file of this directory.
fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::system(format!("Bug in the demo source: {error}.")))
}

fn check(config: &Config, out: &mut Output) -> Result<(), Failure> {
    let status = match config.log_in() {
        Ok(()) => json!({"status": "SUCCEEDED"}),
        Err(message) => json!({"status": "FAILED", "message": message}),
    };
    out.log(&format!("Check of shop {}", config.shop.name))?;
    out.emit(&json!({"type": "CONNECTION_STATUS", "connectionStatus": status}))
}

fn read(config: &Config, catalog: &Catalog, given: &[StateMessage], out: &mut Output) -> Result<(), Failure> {
    out.log("Starting syncing the coffee shop")?;
    let mut pace = Pace::new(config.rate);
    for configured in &catalog.streams {
        let name = configured.stream.name.as_str();
        let stream =
            Stream::named(name).ok_or_else(|| Failure::of_stream(name, format!("The shop has no stream {name}.")))?;
        out.status(stream, "STARTED")?;
        let Some(cursor) =
            Cursor::resume(stream, given, catalog).map_err(|message| Failure::of_stream(name, message))?
        else {
            out.log(&format!("Stream {name} is already complete"))?;
            out.status(stream, "COMPLETE")?;
            continue;
        };
        read_stream(config, stream, configured.sync_mode == "incremental", cursor, &mut pace, out)?;
    }
    out.log("Finished syncing the coffee shop")
}

fn read_stream(
    config: &Config,
    stream: Stream,
    incremental: bool,
    start: Cursor,
    pace: &mut Pace,
    out: &mut Output,
) -> Result<(), Failure> {
    let end = stream.end_of_sync(config.count, start.sync);
    out.estimate(stream, end.saturating_sub(start.position))?;
    out.status(stream, "RUNNING")?;
    let mut since_state = 0;
    for position in start.position..end {
        pace.wait(out)?;
        out.emit(&RecordMessage {
            r#type: "RECORD",
            record: Record {
                stream: stream.name(),
                data: stream.row(&config.shop, position),
                emitted_at: Moment::of(position).as_milliseconds(),
            },
        })?;
        since_state += 1;
        if since_state == ROWS_BETWEEN_STATES && position + 1 < end {
            out.state(stream, &json!(Cursor { position: position + 1, ..start }), since_state)?;
            since_state = 0;
        }
    }
    let last = match incremental {
        true => json!(Cursor { sync: start.sync.saturating_add(1), position: end.max(start.position) }),
        false => json!({FULL_REFRESH_COMPLETE: true}),
    };
    out.state(stream, &last, since_state)?;
    out.status(stream, "COMPLETE")
}

#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Customers,
    PageViews,
    Orders,
}

impl Stream {
    const ALL: [Self; 3] = [Self::Customers, Self::PageViews, Self::Orders];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::PageViews => "page_views",
            Self::Orders => "orders",
        }
    }

    /// The end position of a sync. The change logs grow with each sync. Page views shrink over three syncs and then start over,
    /// so that a full refresh sees rows disappear.
    fn end_of_sync(self, count: u64, sync: u64) -> u64 {
        let step = (count / 10).clamp(8, 1_000);
        match self {
            Self::PageViews => count.saturating_sub(sync % 3 * step).max(1),
            Self::Customers | Self::Orders => count.saturating_add(sync.saturating_mul(step)),
        }
    }

    fn row(self, shop: &Shop, position: u64) -> Row {
        match self {
            Self::Customers => Row::Customer(shop.customer(position)),
            Self::PageViews => Row::PageView(shop.page_view(position)),
            Self::Orders => Row::Order(shop.order(position)),
        }
    }
}

/// A stream's state: the number of the current sync and the position reached in the stream.
#[derive(Clone, Copy, Default, Deserialize, Serialize)]
struct Cursor {
    sync: u64,
    position: u64,
}

impl Cursor {
    /// The cursor to resume from; `None` if the given state says that the full refresh is complete (A12).
    fn resume(stream: Stream, given: &[StateMessage], catalog: &Catalog) -> Result<Option<Self>, String> {
        match state_of(stream, given) {
            Some(state) if state.get(FULL_REFRESH_COMPLETE).is_some() => Ok(None),
            Some(state) => Self::deserialize(state)
                .map(Some)
                .map_err(|e| format!("Invalid state of stream {}: {e}.", stream.name())),
            // A full refresh starts without a state: the number of its sync is that of the syncs that all other streams have
            // completed, so that an interrupted sync finds the same page views again.
            None if stream == Stream::PageViews => {
                let logs = catalog.streams.iter().filter_map(|it| Stream::named(&it.stream.name));
                let sync_of =
                    |it| state_of(it, given).and_then(|it| Self::deserialize(it).ok()).map_or(0, |it| it.sync);
                let sync = logs.filter(|it| *it != Stream::PageViews).map(sync_of).min().unwrap_or(0);
                Ok(Some(Self { sync, position: 0 }))
            }
            None => Ok(Some(Self::default())),
        }
    }
}

fn state_of(stream: Stream, given: &[StateMessage]) -> Option<&Value> {
    let ours = given.iter().filter_map(|it| it.stream.as_ref()).rfind(|it| it.stream_descriptor.name == stream.name());
    ours.map(|it| &it.stream_state).filter(|it| !it.is_null())
}

/// The list that `--state` takes (A7). Other types of state have no `stream` and are ignored.
#[derive(Deserialize)]
struct StateMessage {
    stream: Option<StreamState>,
}

#[derive(Deserialize)]
struct StreamState {
    stream_descriptor: Named,
    #[serde(default)]
    stream_state: Value,
}

#[derive(Deserialize)]
struct Catalog {
    streams: Vec<ConfiguredStream>,
}

#[derive(Deserialize)]
struct ConfiguredStream {
    stream: Named,
    sync_mode: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

struct Config {
    shop: Shop,
    api_key: String,
    count: u64,
    rate: Option<u64>,
}

impl Config {
    fn load(path: &Path) -> Result<Self, Failure> {
        let config: Value = load(path)?;
        let text = |name: &str| match &config[name] {
            Value::String(text) => Ok(text.clone()),
            Value::Null => Err(Failure::config(format!("Config validation error: '{name}' is a required property"))),
            _ => Err(Failure::config(format!("Config validation error: '{name}' is not of type 'string'"))),
        };
        let number = |name: &str| match &config[name] {
            Value::Null => Ok(None),
            it => it
                .as_u64()
                .map(Some)
                .ok_or_else(|| Failure::config(format!("Config validation error: '{name}' is not a positive integer"))),
        };
        Ok(Self {
            shop: Shop { name: text("shop")?, seed: number("seed")?.unwrap_or(1) },
            api_key: text("api_key")?,
            count: number("count")?.unwrap_or(100).max(1),
            rate: number("rate")?.filter(|it| *it > 0),
        })
    }

    fn log_in(&self) -> Result<(), String> {
        match self.api_key.strip_prefix("demo-") {
            Some(_) => Ok(()),
            None => Err(format!("The shop {} does not know this API key. Keys start with `demo-`.", self.shop.name)),
        }
    }
}

fn load<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::system(format!("Cannot read {}: {e}.", path.display())))?;
    serde_json::from_slice(&bytes).map_err(|e| Failure::system(format!("Cannot parse {}: {e}.", path.display())))
}

/// Limits output to the configured number of records per second.
struct Pace {
    start: Instant,
    seconds_each: Option<f64>,
    records: u64,
}

impl Pace {
    fn new(rate: Option<u64>) -> Self {
        Self { start: Instant::now(), seconds_each: rate.map(|it| 1.0 / it as f64), records: 0 }
    }

    fn wait(&mut self, out: &mut Output) -> Result<(), Failure> {
        let Some(seconds_each) = self.seconds_each else {
            return Ok(());
        };
        let due = Duration::from_secs_f64(seconds_each * self.records as f64);
        self.records += 1;
        if let Some(early) = due.checked_sub(self.start.elapsed()) {
            // Records are visible when they are due, not when the buffer is full.
            out.0.flush()?;
            std::thread::sleep(early);
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct RecordMessage {
    r#type: &'static str,
    record: Record,
}

#[derive(Serialize)]
struct Record {
    stream: &'static str,
    data: Row,
    emitted_at: i64,
}

/// Writes one message per line. Everything but records is flushed at once, so that states and statuses are not delayed.
struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    fn emit(&mut self, message: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.0, message).map_err(io::Error::from)?;
        Ok(self.0.write_all(b"\n")?)
    }

    fn announce(&mut self, message: &Value) -> Result<(), Failure> {
        self.emit(message)?;
        Ok(self.0.flush()?)
    }

    fn log(&mut self, message: &str) -> Result<(), Failure> {
        self.announce(&json!({"type": "LOG", "log": {"level": "INFO", "message": message}}))
    }

    fn trace(&mut self, r#type: &str, body: Value) -> Result<(), Failure> {
        let mut trace = json!({"type": r#type, "emitted_at": Moment::of(0).as_milliseconds()});
        trace[r#type.to_lowercase()] = body;
        self.announce(&json!({"type": "TRACE", "trace": trace}))
    }

    fn status(&mut self, stream: Stream, status: &str) -> Result<(), Failure> {
        self.trace("STREAM_STATUS", json!({"stream_descriptor": {"name": stream.name()}, "status": status}))
    }

    fn estimate(&mut self, stream: Stream, rows: u64) -> Result<(), Failure> {
        self.trace("ESTIMATE", json!({"name": stream.name(), "type": "STREAM", "row_estimate": rows, "byte_estimate": rows.saturating_mul(200)}))
    }

    fn state(&mut self, stream: Stream, state: &Value, records: u64) -> Result<(), Failure> {
        self.announce(&json!({"type": "STATE", "state": {
            "type": "STREAM",
            "stream": {"stream_descriptor": {"name": stream.name()}, "stream_state": state},
            "sourceStats": {"recordCount": records as f64},
        }}))
    }
}

enum Failure {
    /// Reported in a TRACE ERROR message (A4).
    Reported { failure_type: &'static str, message: String, stream: Option<String> },
    /// stdout is closed.
    Output,
}

impl Failure {
    fn config(message: String) -> Self {
        Self::Reported { failure_type: "config_error", message, stream: None }
    }

    fn system(message: String) -> Self {
        Self::Reported { failure_type: "system_error", message, stream: None }
    }

    fn of_stream(name: &str, message: String) -> Self {
        Self::Reported { failure_type: "config_error", message, stream: Some(name.to_owned()) }
    }

    fn report(self, out: &mut Output) -> Result<(), Failure> {
        let Self::Reported { failure_type, message, stream } = self else {
            return Ok(());
        };
        let mut error = json!({"message": message, "internal_message": message, "failure_type": failure_type});
        if let Some(name) = stream {
            error["stream_descriptor"] = json!({"name": name});
        }
        out.trace("ERROR", error)
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Output
    }
}
