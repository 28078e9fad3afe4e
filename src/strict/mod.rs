//! A strict Flow runtime: starts a capture connector once per request as Flow does, validates its answers strictly (F1, F2, F8),
//! takes documents as committed only when a checkpoint follows them, and reduces states as RFC 7396 merge patches. Broken rules are
//! collected in `broken`, one sentence each.
//!
//! It is an oracle: `flow-shim prove` and the tests judge connectors by it. So it shares no code with what it judges: it has its own
//! codec and rules, starts any command, and knows neither Airbyte nor Singer.

pub mod backfills;
mod binding;
pub mod process;
pub mod proto;
pub mod rules;
mod session;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;
use serde_json::{Value, json};

pub use binding::Binding;
pub use process::{Codec, Part};
use process::{Event, Process};
pub use session::{Opening, Session, Then, Watcher, merge_patch, reduced};
pub use wire::{Log, Response};

/// How often Flow repeats Apply (F21).
pub const APPLY_AT_MOST: usize = 3;

/// How often a watcher is asked what to do while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// The command of a connector, and the settings common to all of its starts.
pub struct Runtime {
    pub command: Vec<OsString>,
    pub codec: Codec,
    pub config: Value,
    pub env: Vec<(OsString, OsString)>,
    /// The working directory; by default its TMPDIR.
    pub folder: Option<PathBuf>,
    /// Its TMPDIR; by default a new one for each start.
    pub temporary: Option<PathBuf>,
    /// Texts that must not appear on stderr.
    pub secrets: Vec<String>,
    /// The time after which a connector is killed and the rule "ends" is broken.
    pub patience: Duration,
    /// The size of the largest document in bytes: Flow's documented limit by default, which its transport exceeds (F23).
    pub max_document: usize,
}

/// The result of a unary request.
pub struct Answer {
    pub responses: Vec<Value>,
    pub end: End,
}

/// The exit of a process, its logs and the rules that it broke.
pub struct End {
    pub exit: ExitStatus,
    pub logs: Vec<Log>,
    /// Broken rules, one sentence each.
    pub broken: Vec<String>,
    pub took: Duration,
    /// The largest observed resident set in bytes; 0 if the process ended before it was measured.
    pub peak_memory: u64,
}

impl Runtime {
    pub fn new<S: Into<OsString>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            codec: Codec::Json,
            config: json!({}),
            env: Vec::new(),
            folder: None,
            temporary: None,
            secrets: Vec::new(),
            patience: Duration::from_secs(60),
            max_document: 16 * 1024 * 1024,
        }
    }

    pub fn ask_spec(&self) -> Result<Answer> {
        self.ask(json!({"spec": {"connectorType": "IMAGE", "config": {}}}))
    }

    pub fn ask_discover(&self) -> Result<Answer> {
        self.ask(json!({"discover": {"name": "acmeCo/capture", "connectorType": "IMAGE", "config": self.config}}))
    }

    pub fn ask_validate(&self, bindings: &[Binding]) -> Result<Answer> {
        let bindings: Vec<Value> = bindings
            .iter()
            .map(|it| {
                without_zeros(
                    json!({"resourceConfig": it.resource, "collection": it.collection(), "backfill": it.backfill}),
                )
            })
            .collect();
        self.ask(json!({"validate": {"name": "acmeCo/capture", "connectorType": "IMAGE", "config": self.config, "bindings": bindings}}))
    }

    pub fn ask_apply(&self, bindings: &[Binding], state: &Value) -> Result<Answer> {
        self.ask(json!({"apply": {"capture": self.capture(bindings), "version": "1111111111111111", "state": state}}))
    }

    /// Sends one request, closes stdin, and reads to the end (F4).
    pub fn ask(&self, mut request: Value) -> Result<Answer> {
        add_news(&mut request);
        let mut process = self.start()?;
        process.send(&request)?;
        process.close_stdin();
        let mut responses = Vec::new();
        let end = self.follow(process, |event, broken, _| {
            if let Some(Event::Line(line)) = event {
                match wire::parse(line) {
                    Ok(_) => {
                        let response: Value = serde_json::from_str(line).unwrap_or(Value::Null);
                        broken.extend(rules::spec_or_discovered(&response));
                        responses.push(response);
                    }
                    Err(why) => broken.push(why),
                }
            }
        })?;
        Ok(Answer { responses, end })
    }

    /// An Open with that state, for the whole key space, with stdin kept open; `run` sends it.
    pub fn open(&self, bindings: &[Binding], state: &Value) -> Opening<'_> {
        Opening::new(self, bindings, state)
    }

    fn capture(&self, bindings: &[Binding]) -> Value {
        let bindings: Vec<Value> = bindings
            .iter()
            .map(|it| {
                without_zeros(json!({
                    "resourceConfig": it.resource,
                    "resourcePath": it.resource_path(),
                    "collection": it.collection(),
                    "backfill": it.backfill,
                    "stateKey": it.state_key(),
                }))
            })
            .collect();
        json!({"name": "acmeCo/capture", "connectorType": "IMAGE", "config": self.config, "intervalSeconds": 300, "bindings": bindings})
    }

    fn start(&self) -> Result<Process> {
        Process::start(&self.command, self.codec, &self.env, self.folder.as_deref(), self.temporary.as_deref())
    }

    /// Reads a process's output to its end, passes on each event, and None where none came for a while. Checks the rules that apply
    /// to every process.
    fn follow(
        &self,
        mut process: Process,
        mut on_event: impl FnMut(Option<&Event>, &mut Vec<String>, &mut Process),
    ) -> Result<End> {
        let start = Instant::now();
        let (mut logs, mut broken) = (Vec::new(), Vec::new());
        loop {
            let left = self.patience.saturating_sub(start.elapsed());
            let event = process.next(left.min(TICK));
            match &event {
                None if left.is_zero() => {
                    broken.push(format!("ends: the connector still ran after {:?}", self.patience));
                    process.signal(Signal::KILL);
                    break;
                }
                Some(Event::End) => break,
                Some(Event::Partial(_)) if process.was_killed() => {}
                Some(Event::Partial(text)) => {
                    broken.push(format!("F1: the output ends in a partial message: {}", cut(text)));
                }
                Some(Event::Log(line)) => {
                    for _ in self.secrets.iter().filter(|it| line.contains(it.as_str())) {
                        broken.push(format!("secrets: a log line shows one: {}", cut(line)));
                    }
                    match Log::parse(line) {
                        Ok(log) => logs.push(log),
                        Err(why) => {
                            broken.push(format!("F6: {why}: {}", cut(line)));
                            logs.push(Log::unstructured(line));
                        }
                    }
                }
                Some(Event::Invalid(why)) => broken.push(why.clone()),
                Some(Event::Line(_)) | None => {}
            }
            on_event(event.as_ref(), &mut broken, &mut process);
        }
        let exit = process.wait()?;
        let took = start.elapsed();
        broken.extend(process.leftovers());
        Ok(End { exit, logs, broken, took, peak_memory: process.peak_memory() })
    }
}

impl Answer {
    /// The body of the only response, which has to be of that kind.
    pub fn body(&self, kind: &str) -> Result<&Value, String> {
        match self.responses.as_slice() {
            [one] if one.get(kind).is_some() => Ok(&one[kind]),
            all => Err(format!("F4: wants one {kind}, got {}", cut(&json!(all).to_string()))),
        }
    }
}

impl End {
    /// The error that Flow shows for a failed task (F5).
    pub fn last_message(&self) -> &str {
        self.logs.last().map_or("", |it| it.message.as_str())
    }
}

/// Unknown fields: Flow adds fields over time, and connectors must ignore them (F2).
fn add_news(request: &mut Value) {
    let body = request.as_object_mut().and_then(|it| it.values_mut().next());
    for place in [body].into_iter().flatten() {
        place["fieldOfTheYear2031"] = json!({"nested": [1, null]});
        for name in ["capture", "bindings"] {
            let inner = if place["capture"].is_object() { &mut place["capture"] } else { &mut *place };
            match inner.get_mut(name) {
                Some(Value::Array(all)) => all.iter_mut().for_each(|it| it["fieldOfTheYear2031"] = json!(true)),
                Some(it @ Value::Object(_)) => it["fieldOfTheYear2031"] = json!("text"),
                _ => {}
            }
        }
    }
}

/// Flow's JSON omits zero and empty values.
fn without_zeros(mut it: Value) -> Value {
    if let Value::Object(fields) = &mut it {
        fields
            .retain(|_, value| !(value.is_null() || *value == json!(0) || *value == json!("") || *value == json!([])));
    }
    it
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
