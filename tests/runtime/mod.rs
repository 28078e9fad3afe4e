//! `flow_shim::strict`, a strict Flow runtime, as tests use it: a connector that can't be started is a panic, documents are kept,
//! hooks wait for a condition, and `expect_clean` asserts that no rule was broken. Broken rules are collected in `broken`, so that
//! a test can name its case first.

// Each test binary uses only a part of this module.
#![allow(dead_code)]

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use flow_shim::strict::backfills::Backfill;
use flow_shim::strict::{self, APPLY_AT_MOST, Watcher, reduced};
use regex::Regex;
use serde_json::{Value, json};

pub use flow_shim::strict::{Answer, Binding, Codec, End, Then, rules};

/// The command of a connector, and the settings common to all of its starts.
pub struct Runtime(strict::Runtime);

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

/// An Open before it is sent.
pub struct Opening<'a> {
    opening: strict::Opening<'a>,
    hooks: Vec<(When, Then)>,
}

impl Runtime {
    pub fn new<S: Into<OsString>>(command: impl IntoIterator<Item = S>) -> Self {
        let mut runtime = strict::Runtime::new(command);
        if std::env::var_os("CODEC").is_some_and(|it| it == "proto") {
            runtime.codec = Codec::Proto;
        }
        runtime.env.push(("PATH".into(), search_path().into()));
        Self(runtime)
    }

    /// This crate's shim around a source; `arguments` follow `flow-shim serve`.
    pub fn shim<S: Into<OsString>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let shim = [OsString::from(env!("CARGO_BIN_EXE_flow-shim")), "serve".into()];
        Self::new(shim.into_iter().chain(arguments.into_iter().map(Into::into)))
    }

    /// How it talks to the connector: in JSON by default, or in protobuf if the environment has `CODEC=proto`.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.0.codec = codec;
        self
    }

    pub fn config(mut self, config: Value) -> Self {
        self.0.config = config;
        self
    }

    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.0.env.push((name.into(), value.into()));
        self
    }

    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.0.folder = Some(folder.into());
        self
    }

    /// A text that must not appear on stderr.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.0.secrets.push(secret.into());
        self
    }

    /// The time after which a connector is killed and the rule "ends" is broken.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.0.patience = patience;
        self
    }

    /// The response's body; panics on failure.
    pub fn spec(&self) -> Value {
        clean(self.ask_spec(), "spec")
    }

    pub fn discover(&self) -> Value {
        clean(self.ask_discover(), "discovered")
    }

    pub fn validate(&self, bindings: &[Binding]) -> Value {
        clean(self.ask_validate(bindings), "validated")
    }

    /// Repeats Apply until it leaves the state as it is (F21).
    pub fn apply(&self, bindings: &[Binding], mut state: Value) -> Value {
        for _ in 0..APPLY_AT_MOST {
            let applied = clean(self.ask_apply(bindings, &state), "applied");
            match applied.get("state") {
                Some(patch) => state = reduced(state, patch),
                None => return state,
            }
        }
        panic!("F21: Apply changed the state {APPLY_AT_MOST} times");
    }

    pub fn ask_spec(&self) -> Answer {
        started(self.0.ask_spec())
    }

    pub fn ask_discover(&self) -> Answer {
        started(self.0.ask_discover())
    }

    pub fn ask_validate(&self, bindings: &[Binding]) -> Answer {
        started(self.0.ask_validate(bindings))
    }

    pub fn ask_apply(&self, bindings: &[Binding], state: &Value) -> Answer {
        started(self.0.ask_apply(bindings, state))
    }

    /// Sends one request, closes stdin, and reads to the end (F4).
    pub fn ask(&self, request: Value) -> Answer {
        started(self.0.ask(request))
    }

    /// An Open with that state, for the whole key space, with stdin kept open; `run` sends it.
    pub fn open(&self, bindings: &[Binding], state: &Value) -> Opening<'_> {
        Opening { opening: self.0.open(bindings, state), hooks: Vec::new() }
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
}

impl Opening<'_> {
    pub fn when(mut self, when: When, then: Then) -> Self {
        self.hooks.push((when, then));
        self
    }

    /// Closes stdin after the request, which must not stop the capture (F4).
    pub fn close_stdin(mut self) -> Self {
        self.opening = self.opening.close_stdin();
        self
    }

    /// The `index`-th of `count` shards, which share the key space evenly (F20).
    pub fn shard(mut self, index: u32, count: u32) -> Self {
        self.opening = self.opening.shard(index, count);
        self
    }

    /// The bindings whose backfill an earlier session has begun.
    pub fn begun(mut self, begun: HashSet<usize>) -> Self {
        self.opening = self.opening.begun(begun);
        self
    }

    pub fn run(self) -> Session {
        let mut keeper = Documents { hooks: self.hooks, ..Documents::default() };
        let strict::Session { state, checkpoints, sourced_schemas, backfills, begun, mut end, .. } =
            started(self.opening.run(&mut keeper));
        for (when, _) in keeper.hooks {
            let what = match when {
                When::Documents(n) => format!("{n} documents"),
                When::Checkpoints(n) => format!("{n} checkpoints"),
                When::Log(regex) => format!("a log line that matches {regex}"),
            };
            end.broken.push(format!("hook: there never were {what}"));
        }
        let Documents { committed, uncommitted, .. } = keeper;
        Session { documents: committed, uncommitted, state, checkpoints, sourced_schemas, backfills, begun, end }
    }
}

/// Keeps all documents of a capture and triggers hooks.
#[derive(Default)]
struct Documents {
    committed: Vec<Document>,
    uncommitted: Vec<Document>,
    checkpoints: usize,
    hooks: Vec<(When, Then)>,
    /// The line of stderr that was the last event.
    log: Option<String>,
}

impl Watcher for Documents {
    fn document(&mut self, binding: usize, text: &str) {
        self.uncommitted.push(Document { binding, text: text.to_owned() });
    }

    fn checkpoint(&mut self) {
        self.committed.append(&mut self.uncommitted);
        self.checkpoints += 1;
    }

    fn log(&mut self, line: &str) {
        self.log = Some(line.to_owned());
    }

    fn next(&mut self) -> Option<Then> {
        let seen = self.committed.len() + self.uncommitted.len();
        let due = self.hooks.iter().position(|(when, _)| match when {
            When::Documents(n) => seen >= *n,
            When::Checkpoints(n) => self.checkpoints >= *n,
            When::Log(regex) => self.log.as_ref().is_some_and(|it| regex.is_match(it)),
        });
        match due {
            Some(index) => Some(self.hooks.remove(index).1),
            None => {
                self.log = None;
                None
            }
        }
    }
}

/// The body of the only response, of that kind; panics if there is another one or a rule was broken.
fn clean(answer: Answer, kind: &str) -> Value {
    expect_clean(&answer.end);
    answer.body(kind).unwrap_or_else(|why| panic!("{why}")).clone()
}

impl Session {
    pub fn expect_clean(self) -> Self {
        expect_clean(&self.end);
        self
    }

    pub fn documents_of(&self, binding: usize) -> impl Iterator<Item = &str> {
        self.documents.iter().filter(move |it| it.binding == binding).map(|it| it.text.as_str())
    }
}

fn started<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|e| panic!("{e:#}"))
}

/// Panics if the exit code was not 0 or a rule was broken.
fn expect_clean(end: &End) {
    assert!(end.broken.is_empty(), "rules were broken: {:#?}", end.broken);
    let logs = end.logs.iter().skip(end.logs.len().saturating_sub(30)).map(|it| it.line.as_str()).collect::<Vec<_>>();
    assert!(end.exit.success(), "{}; the last logs:\n{}", end.exit, logs.join("\n"));
}

/// PATH with the directory of the real Python first. A version manager's script in its place takes 0.2 s for each start.
pub fn search_path() -> &'static OsStr {
    static PATH: LazyLock<OsString> = LazyLock::new(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let asked =
            Command::new("python3").args(["-c", "import os, sys; print(os.path.dirname(sys.executable))"]).output();
        let found = asked.ok().and_then(|it| String::from_utf8(it.stdout).ok()).unwrap_or_default();
        let folders = [PathBuf::from(found.trim())].into_iter().filter(|it| it.is_absolute());
        std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap_or(path)
    });
    &PATH
}

/// A path in the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
