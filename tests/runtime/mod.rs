//! A strict Flow runtime for tests: starts a capture connector once per request as Flow does, validates its answers strictly
//! (F1, F2, F8), commits documents only when a checkpoint follows them, and reduces states as RFC 7396 merge patches. Broken
//! rules are collected in `broken`, so that a test can name its case first; `expect_clean` asserts that there are none.
//!
//! It is independent of Airbyte, and of the shim except for its command.

// Each test binary uses only a part of this module.
#![allow(dead_code)]

pub mod backfills;
mod process;
pub mod proto;
pub mod rules;
mod wire;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use regex::Regex;
use rustix::process::Signal;
use serde_json::{Map, Value, json};

use backfills::{Backfill, Backfills, Step};
pub use process::Codec;
use process::{Event, Process};
pub use wire::{Log, Response};

/// How often Flow repeats Apply (F21).
pub const APPLY_AT_MOST: usize = 3;

/// The command of a connector, and the settings common to all of its starts.
pub struct Runtime {
    command: Vec<OsString>,
    codec: Codec,
    config: Value,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    secrets: Vec<String>,
    patience: Duration,
}

/// A binding of a capture, as Flow's control plane builds it.
#[derive(Clone, Debug)]
pub struct Binding {
    pub resource: Value,
    pub key: Vec<String>,
    pub schema: Value,
    pub backfill: u32,
}

/// The result of a unary request.
pub struct Answer {
    pub responses: Vec<Value>,
    pub end: End,
}

/// The result of a capture.
pub struct Session {
    /// Documents followed by a checkpoint.
    pub documents: Vec<Document>,
    pub uncommitted: Vec<Document>,
    /// The state after the last checkpoint.
    pub state: Value,
    pub checkpoints: usize,
    pub sourced_schemas: Vec<(usize, Value)>,
    pub backfills: Vec<Backfill>,
    /// Bindings whose backfill has begun and is not complete.
    pub begun: HashSet<usize>,
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

#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub binding: usize,
    /// The exact bytes.
    pub text: String,
}

/// The condition of a hook.
pub enum When {
    /// This many documents have arrived, committed or not.
    Documents(usize),
    Checkpoints(usize),
    /// A line of stderr matches.
    Log(Regex),
}

pub enum Then {
    Signal(Signal),
    /// Closes the connector's stdout, as if the runtime had died.
    CloseStdout,
}

/// An Open before it is sent.
pub struct Opening<'a> {
    runtime: &'a Runtime,
    request: Value,
    collections: Vec<rules::Collection>,
    state: Value,
    hooks: Vec<(When, Then)>,
    close_stdin: bool,
    has_all_keys: bool,
    begun: HashSet<usize>,
}

impl Runtime {
    pub fn new<S: Into<OsString>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            codec: if std::env::var_os("CODEC").is_some_and(|it| it == "proto") { Codec::Proto } else { Codec::Json },
            config: json!({}),
            env: Vec::new(),
            folder: None,
            secrets: Vec::new(),
            patience: Duration::from_secs(60),
        }
    }

    /// This crate's shim around a source; `arguments` follow `flow-shim serve`.
    pub fn shim<S: Into<OsString>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let shim = [OsString::from(env!("CARGO_BIN_EXE_flow-shim")), "serve".into()];
        Self::new(shim.into_iter().chain(arguments.into_iter().map(Into::into)))
    }

    /// How it talks to the connector: in JSON by default, or in protobuf if the environment has `CODEC=proto`.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// A text that must not appear on stderr.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// The time after which a connector is killed and the rule "ends" is broken.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The response's body; panics on failure.
    pub fn spec(&self) -> Value {
        self.ask_spec().expect_clean("spec")
    }

    pub fn discover(&self) -> Value {
        self.ask_discover().expect_clean("discovered")
    }

    pub fn validate(&self, bindings: &[Binding]) -> Value {
        self.ask_validate(bindings).expect_clean("validated")
    }

    /// Repeats Apply until it leaves the state as it is (F21).
    pub fn apply(&self, bindings: &[Binding], mut state: Value) -> Value {
        for _ in 0..APPLY_AT_MOST {
            let applied = self.ask_apply(bindings, &state).expect_clean("applied");
            match applied.get("state") {
                Some(patch) => state = reduced(state, patch),
                None => return state,
            }
        }
        panic!("F21: Apply changed the state {APPLY_AT_MOST} times");
    }

    pub fn ask_spec(&self) -> Answer {
        self.ask(json!({"spec": {"connectorType": "IMAGE", "config": {}}}))
    }

    pub fn ask_discover(&self) -> Answer {
        self.ask(json!({"discover": {"name": "acmeCo/capture", "connectorType": "IMAGE", "config": self.config}}))
    }

    pub fn ask_validate(&self, bindings: &[Binding]) -> Answer {
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

    pub fn ask_apply(&self, bindings: &[Binding], state: &Value) -> Answer {
        self.ask(json!({"apply": {"capture": self.capture(bindings), "version": "1111111111111111", "state": state}}))
    }

    /// Sends one request, closes stdin, and reads to the end (F4).
    pub fn ask(&self, mut request: Value) -> Answer {
        add_news(&mut request);
        let mut process = self.start();
        process.send(&request);
        process.close_stdin();
        let mut responses = Vec::new();
        let end = self.follow(process, |event, broken, _| {
            if let Event::Line(line) = event {
                match wire::parse(line) {
                    Ok(_) => {
                        let response: Value = serde_json::from_str(line).unwrap_or(Value::Null);
                        broken.extend(rules::spec_or_discovered(&response));
                        responses.push(response);
                    }
                    Err(why) => broken.push(why),
                }
            }
        });
        Answer { responses, end }
    }

    /// An Open with that state, for the whole key space, with stdin kept open; `run` sends it.
    pub fn open(&self, bindings: &[Binding], state: &Value) -> Opening<'_> {
        let request = json!({"open": {
            "capture": self.capture(bindings),
            "version": "1111111111111111",
            "range": {"keyEnd": u32::MAX, "rClockEnd": u32::MAX},
            "state": state,
        }});
        Opening {
            runtime: self,
            request,
            collections: bindings.iter().map(rules::Collection::of).collect(),
            state: state.clone(),
            hooks: Vec::new(),
            close_stdin: false,
            has_all_keys: true,
            begun: HashSet::new(),
        }
    }

    /// Drives a connector as Flow does, from the first Spec through `sessions` captures of all discovered streams. Panics if
    /// it breaks a rule; returns the sessions.
    pub fn full_capture(&self, sessions: usize) -> Vec<Session> {
        let spec = self.spec();
        let discovered = self.discover();
        assert_eq!(rules::resource_configs(&discovered, &spec["resourceConfigSchema"]), [""; 0]);
        let found = discovered["bindings"].as_array().into_iter().flatten();
        let bindings: Vec<Binding> = found.filter(|it| it["disable"] != true).map(Binding::of_discovered).collect();
        assert!(!bindings.is_empty(), "nothing was discovered");
        let paths: Vec<Value> = bindings.iter().map(|it| json!({"resourcePath": it.path_at(&spec)})).collect();
        assert_eq!(self.validate(&bindings)["bindings"], json!(paths), "F17");
        let mut state = self.apply(&bindings, json!({}));
        (0..sessions)
            .map(|_| {
                let session = self.open(&bindings, &state).run().expect_clean();
                state = session.state.clone();
                session
            })
            .collect()
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

    fn start(&self) -> Process {
        Process::start(&self.command, self.codec, &self.env, self.folder.as_deref())
    }

    /// Reads a process's output to its end, passes on each event, and checks the rules that apply to every process.
    fn follow(&self, mut process: Process, mut on_event: impl FnMut(&Event, &mut Vec<String>, &mut Process)) -> End {
        let start = Instant::now();
        let (mut logs, mut broken) = (Vec::new(), Vec::new());
        loop {
            let left = self.patience.saturating_sub(start.elapsed());
            let Some(event) = process.next(left) else {
                broken.push(format!("ends: the connector still ran after {:?}", self.patience));
                process.signal(Signal::KILL);
                break;
            };
            match &event {
                Event::End => break,
                Event::Partial(_) if process.was_killed() => {}
                Event::Partial(text) => broken.push(format!("F1: the output ends in a partial message: {}", cut(text))),
                Event::Log(line) => {
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
                Event::Invalid(why) => broken.push(why.clone()),
                Event::Line(_) => {}
            }
            on_event(&event, &mut broken, &mut process);
        }
        let exit = process.wait();
        let took = start.elapsed();
        broken.extend(process.leftovers());
        End { exit, logs, broken, took, peak_memory: process.peak_memory() }
    }
}

impl Opening<'_> {
    pub fn when(mut self, when: When, then: Then) -> Self {
        self.hooks.push((when, then));
        self
    }

    /// Closes stdin after the request, which must not stop the capture (F4).
    pub fn close_stdin(mut self) -> Self {
        self.close_stdin = true;
        self
    }

    /// The `index`-th of `count` shards, which share the key space evenly (F20).
    pub fn shard(mut self, index: u32, count: u32) -> Self {
        let width = u64::from(u32::MAX) + 1;
        self.has_all_keys = count == 1;
        let at = |it: u32| width * u64::from(it) / u64::from(count);
        self.request["open"]["range"] =
            without_zeros(json!({"keyBegin": at(index), "keyEnd": at(index + 1) - 1, "rClockEnd": u32::MAX}));
        self
    }

    /// The bindings whose backfill an earlier session has begun.
    pub fn begun(mut self, begun: HashSet<usize>) -> Self {
        self.begun = begun;
        self
    }

    pub fn run(mut self) -> Session {
        add_news(&mut self.request);
        let mut process = self.runtime.start();
        process.send(&self.request);
        if self.close_stdin {
            process.close_stdin();
        }
        let mut it = Capturing {
            session: Reduced { state: self.state, ..Reduced::default() },
            collections: self.collections,
            backfills: Backfills::new(self.has_all_keys, self.begun),
            opened: false,
            seen: 0,
        };
        let mut hooks = self.hooks;
        let mut end = self.runtime.follow(process, |event, broken, process| {
            if let Event::Line(line) = event
                && let Err(why) = wire::parse(line).and_then(|response| it.take(response, line))
            {
                broken.push(why);
            }
            if matches!(event, Event::Line(line) if line.starts_with(r#"{"checkpoint"#)) {
                process.look_at_memory();
            }
            hooks.retain(|(when, then)| {
                let now = match when {
                    When::Documents(n) => it.seen >= *n,
                    When::Checkpoints(n) => it.session.checkpoints >= *n,
                    When::Log(regex) => matches!(event, Event::Log(line) if regex.is_match(line)),
                };
                if now {
                    match then {
                        Then::Signal(signal) => process.signal(*signal),
                        Then::CloseStdout => process.close_stdout(),
                    }
                }
                !now
            });
        });
        let Reduced { documents, uncommitted, state, checkpoints, sourced_schemas, dirty } = it.session;
        for (when, _) in hooks {
            let what = match when {
                When::Documents(n) => format!("{n} documents"),
                When::Checkpoints(n) => format!("{n} checkpoints"),
                When::Log(regex) => format!("a log line that matches {regex}"),
            };
            end.broken.push(format!("hook: there never were {what}"));
        }
        if end.exit.success() {
            if !it.opened {
                end.broken.push("Open: it ended well and never said opened".to_owned());
            }
            if dirty {
                end.broken.push(format!(
                    "F8: a clean exit with {} documents and schemas that no checkpoint follows",
                    uncommitted.len()
                ));
            }
        }
        let Backfills { committed: backfills, begun, .. } = it.backfills;
        Session { documents, uncommitted, state, checkpoints, sourced_schemas, backfills, begun, end }
    }
}

/// The accumulated responses of a capture.
#[derive(Default)]
struct Reduced {
    documents: Vec<Document>,
    uncommitted: Vec<Document>,
    state: Value,
    checkpoints: usize,
    sourced_schemas: Vec<(usize, Value)>,
    /// Something was sent after the last checkpoint.
    dirty: bool,
}

struct Capturing {
    session: Reduced,
    collections: Vec<rules::Collection>,
    backfills: Backfills,
    opened: bool,
    seen: usize,
}

impl Capturing {
    fn take(&mut self, response: Response<'_>, line: &str) -> Result<(), String> {
        if !std::mem::replace(&mut self.opened, true) {
            return match response {
                Response::Opened(opened) if !opened.explicit_acknowledgements => Ok(()),
                Response::Opened(_) => Err("F10: asks for acknowledgements, which are not sent".to_owned()),
                _ => Err(format!("Open: the first response is not opened: {}", cut(line))),
            };
        }
        let it = &mut self.session;
        match response {
            Response::Captured(captured) => {
                let binding = known(captured.binding, self.collections.len())?;
                let text = captured.doc.get();
                wire::check_document(text)?;
                it.uncommitted.push(Document { binding, text: text.to_owned() });
                it.dirty = true;
                self.seen += 1;
                self.backfills.other()?;
                self.collections[binding].check(text)?;
            }
            Response::SourcedSchema(sourced) => {
                let binding = known(sourced.binding, self.collections.len())?;
                let wrong = rules::sourced(&sourced.document_schema);
                it.sourced_schemas.push((binding, sourced.document_schema));
                it.dirty = true;
                self.backfills.other()?;
                if !wrong.is_empty() {
                    return Err(wrong.join("\n"));
                }
            }
            Response::Checkpoint(checkpoint) => {
                if let Some(state) = checkpoint.state {
                    if !state.updated.is_object() {
                        return Err(format!("F8: a checkpoint whose state is not an object: {}", cut(line)));
                    }
                    let before = if state.merge_patch { std::mem::take(&mut it.state) } else { Value::Null };
                    it.state = merge_patch(before, state.updated);
                }
                it.documents.append(&mut it.uncommitted);
                it.checkpoints += 1;
                it.dirty = false;
                self.backfills.commit(it.documents.len());
            }
            Response::BackfillBegin(it) => self.backfill(Step::Begin, it.binding)?,
            Response::BackfillComplete(it) => self.backfill(Step::Complete, it.binding)?,
            _ => return Err(format!("Open: not a response of a capture: {}", cut(line))),
        }
        Ok(())
    }
}

impl Capturing {
    fn backfill(&mut self, step: Step, binding: u64) -> Result<(), String> {
        self.session.dirty = true;
        self.backfills.message(step, known(binding, self.collections.len())?)
    }
}

impl Answer {
    /// The body of the only response, of that kind; panics if there is another one or a rule was broken.
    pub fn expect_clean(self, kind: &str) -> Value {
        self.end.expect_clean();
        match self.body(kind) {
            Ok(body) => body.clone(),
            Err(why) => panic!("{why}"),
        }
    }

    pub fn body(&self, kind: &str) -> Result<&Value, String> {
        match self.responses.as_slice() {
            [one] if one.get(kind).is_some() => Ok(&one[kind]),
            all => Err(format!("F4: wants one {kind}, got {}", cut(&json!(all).to_string()))),
        }
    }
}

impl Session {
    pub fn expect_clean(self) -> Self {
        self.end.expect_clean();
        self
    }

    pub fn documents_of(&self, binding: usize) -> impl Iterator<Item = &str> {
        self.documents.iter().filter(move |it| it.binding == binding).map(|it| it.text.as_str())
    }
}

impl End {
    /// Panics if the exit code was not 0 or a rule was broken.
    pub fn expect_clean(&self) {
        assert!(self.broken.is_empty(), "rules were broken: {:#?}", self.broken);
        assert!(self.exit.success(), "{}; the last log says: {}", self.exit, self.last_message());
    }

    /// The error that Flow shows for a failed task (F5).
    pub fn last_message(&self) -> &str {
        self.logs.last().map_or("", |it| it.message.as_str())
    }
}

impl Binding {
    pub fn new(stream: &str, sync_mode: &str) -> Self {
        Self::of_resource(json!({"stream": stream, "syncMode": sync_mode}))
    }

    pub fn of_resource(resource: Value) -> Self {
        Self {
            resource,
            key: vec!["/_meta/row_id".to_owned()],
            schema: json!({"type": "object", "x-infer-schema": true}),
            backfill: 0,
        }
    }

    /// A discovered binding, without changes by the user.
    pub fn of_discovered(discovered: &Value) -> Self {
        let key = discovered["key"].as_array().into_iter().flatten();
        Self {
            resource: discovered["resourceConfig"].clone(),
            key: key.filter_map(Value::as_str).map(str::to_owned).collect(),
            schema: discovered["documentSchema"].clone(),
            backfill: 0,
        }
    }

    pub fn key<S: Into<String>>(mut self, key: impl IntoIterator<Item = S>) -> Self {
        self.key = key.into_iter().map(Into::into).collect();
        self
    }

    pub fn backfill(mut self, counter: u32) -> Self {
        self.backfill = counter;
        self
    }

    /// The values at `/namespace` and `/stream`, except absent and null ones (F17).
    pub fn resource_path(&self) -> Vec<&str> {
        ["namespace", "stream"].iter().filter_map(|it| self.resource[*it].as_str()).collect()
    }

    /// The values at the pointers of a Spec response.
    fn path_at(&self, spec: &Value) -> Vec<&str> {
        let pointers = spec["resourcePathPointers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        pointers.filter_map(|it| self.resource.pointer(it)?.as_str()).collect()
    }

    pub fn name(&self) -> String {
        self.resource_path().join(".")
    }

    /// The encoded path and the backfill counter (F19).
    pub fn state_key(&self) -> String {
        let encode = |part: &&str| {
            let bytes = part.bytes().map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => char::from(byte).to_string(),
                b' ' => "+".to_owned(),
                _ => format!("%{byte:02X}"),
            });
            bytes.collect::<String>()
        };
        format!("{}.v{}", self.resource_path().iter().map(encode).collect::<Vec<_>>().join("%2F"), self.backfill)
    }

    fn collection(&self) -> Value {
        let projection = |pointer: &String| json!({"ptr": pointer, "field": &pointer[1..], "isPrimaryKey": true, "inference": {"types": ["string"], "exists": "MUST"}});
        json!({
            "name": format!("acmeCo/{}", self.resource_path().join("/")),
            "writeSchema": self.schema,
            "key": self.key,
            "uuidPtr": "/_meta/uuid",
            "projections": self.key.iter().map(projection).collect::<Vec<_>>(),
        })
    }
}

/// A state after a `ConnectorState` of an answer.
pub fn reduced(state: Value, change: &Value) -> Value {
    let before = if change["mergePatch"] == true { state } else { Value::Null };
    merge_patch(before, change["updated"].clone())
}

/// RFC 7396, as Flow reduces the states of checkpoints.
pub fn merge_patch(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch;
    };
    let mut target = match target {
        Value::Object(it) => it,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.shift_remove(&name);
        } else {
            let before = target.get_mut(&name).map_or(Value::Null, Value::take);
            target.insert(name, merge_patch(before, value));
        }
    }
    Value::Object(target)
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

fn known(binding: u64, bindings: usize) -> Result<usize, String> {
    usize::try_from(binding)
        .ok()
        .filter(|it| *it < bindings)
        .ok_or_else(|| format!("Open: there is no binding {binding}"))
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// A path in the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
