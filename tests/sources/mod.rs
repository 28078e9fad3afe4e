//! The real connectors installed by `tests/setup`, and the web service that one of them reads.

// Each test binary uses only a part of this module.
#![allow(dead_code)]

mod orders;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::runtime::{Runtime, repository};
#[allow(unused_imports)]
pub use orders::{KEY, Orders};

/// Real connectors start slowly, especially on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// Some connectors order a file's columns by Python's set order.
const ENVIRONMENT: (&str, &str) = ("PYTHONHASHSEED", "0");

/// The virtual environment of a connector.
pub fn environment(name: &str) -> PathBuf {
    let path = repository().join("target/venvs").join(name);
    assert!(
        path.join(".installed").exists(),
        "{name} is not installed: see target/venvs/{name}.log, or run tests/setup"
    );
    path
}

/// The command of a tap in its virtual environment.
pub fn tap(name: &str, command: &str) -> Vec<String> {
    vec![environment(name).join("bin").join(command).display().to_string()]
}

/// A connector with a config that works.
pub struct Source {
    command: PathBuf,
    pub config: Value,
    /// Fields by stream that differ between reads; everything else except times is the same.
    pub volatile: &'static [(&'static str, &'static [&'static str])],
    folder: TempDir,
}

/// Purchases are dated up to the current time.
const FAKER: &[(&str, &[&str])] = &[
    ("products", &["updated_at"]),
    ("users", &["updated_at"]),
    ("purchases", &["created_at", "updated_at", "added_to_cart_at", "purchased_at", "returned_at"]),
];

pub fn faker(config: Value) -> Source {
    Source { volatile: FAKER, ..Source::new("faker", config) }
}

pub fn hardcoded_records(count: u32) -> Source {
    Source::new("hardcoded-records", json!({"count": count}))
}

/// A local CSV file with difficult values.
pub fn file() -> Source {
    let mut source = Source::new("file", json!({}));
    let path = source.folder.path().join("people.csv");
    let people = "id,name,born,height,note\n1,Ada,1815-12-10,1.65,\"a \"\"quote\"\", a comma\"\n2,Грейс,1906-12-09,,\n3,李,,1.80,\"two\nlines\"\n";
    fs::write(&path, people).expect("a CSV file");
    source.config = json!({"dataset_name": "people", "format": "csv", "url": path, "provider": {"storage": "local"}});
    source
}

pub fn declarative_manifest(service: &Orders) -> Source {
    Source::new("declarative-manifest", service.config())
}

impl Source {
    fn new(name: &str, config: Value) -> Self {
        Self::in_environment(name, &format!("source-{name}"), config)
    }

    /// A program of the virtual environment with that name.
    pub fn in_environment(name: &str, program: &str, config: Value) -> Self {
        let command = environment(name).join("bin").join(program);
        Self { command, config, volatile: &[], folder: TempDir::new().expect("a temporary folder") }
    }

    pub fn command(&self) -> &str {
        self.command.to_str().expect("a path of the repository's")
    }

    pub fn runtime(&self) -> Runtime {
        self.runtime_of(["--", self.command()])
    }

    fn runtime_of<S: Into<OsString>>(&self, arguments: impl IntoIterator<Item = S>) -> Runtime {
        let (name, value) = ENVIRONMENT;
        Runtime::shim(arguments).env(name, value).config(self.config.clone()).patience(PATIENCE)
    }

    /// The same connector, recorded by `fixtures/witness`.
    pub fn witnessed(&self) -> (Runtime, Witness) {
        let witness = Witness { folder: TempDir::new().expect("a temporary folder") };
        let script = repository().join("fixtures/witness");
        let parts = [Path::new("--"), &script, witness.folder.path(), &self.command];
        (self.runtime_of(parts), witness)
    }

    /// The streams that the connector discovers without the shim.
    pub fn streams(&self) -> Vec<Value> {
        let output = self.run("discover", &[]);
        let mut catalog = output.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
        let catalog = catalog.rfind(|it| it["type"] == "CATALOG").expect("a catalog");
        catalog["catalog"]["streams"].as_array().expect("streams").clone()
    }

    /// The connector's output of a read without the shim.
    pub fn read(&self, catalog: &Value, state: &Value) -> Printed {
        let files = [("catalog", catalog), ("state", state)].map(|(name, content)| (name, self.write(name, content)));
        let arguments: Vec<String> =
            files.into_iter().flat_map(|(name, path)| [format!("--{name}"), path.to_string_lossy().into()]).collect();
        Printed::parse(&self.run("read", &arguments))
    }

    fn write(&self, name: &str, content: &Value) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content.to_string()).expect("a file of the test's");
        path
    }

    fn run(&self, command: &str, arguments: &[String]) -> String {
        let config = self.write("config", &self.config);
        let output = Command::new(&self.command)
            .args([command, "--config"])
            .arg(config)
            .args(arguments)
            .envs([ENVIRONMENT])
            .output()
            .expect("the connector starts");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).expect("text")
    }

    /// A record without fields that differ between reads.
    pub fn stable(&self, record: &Record) -> (String, Value) {
        let mut data: Map<String, Value> = serde_json::from_str(record.data.get()).expect("a record");
        let volatile = self.volatile.iter().filter(|(stream, _)| *stream == record.stream);
        for name in volatile.flat_map(|(_, names)| *names) {
            data.shift_remove(*name);
        }
        (record.stream.clone(), data.into())
    }
}

/// The input and output of a connector that the shim ran.
pub struct Witness {
    folder: TempDir,
}

impl Witness {
    pub fn catalog(&self) -> Value {
        serde_json::from_str(&self.text("catalog")).expect("a catalog")
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&self.text("state")).expect("a state")
    }

    pub fn printed(&self) -> Printed {
        Printed::parse(&self.text("output"))
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_else(|e| panic!("no {name} was seen: {e}"))
    }
}

/// The relevant messages of a read.
#[derive(Default)]
pub struct Printed {
    pub records: Vec<Record>,
    /// The last state message of each stream, in the order of the streams' first state.
    pub states: Map<String, Value>,
}

pub struct Record {
    pub stream: String,
    /// The exact bytes.
    pub data: Box<RawValue>,
}

impl Printed {
    fn parse(output: &str) -> Self {
        #[derive(serde::Deserialize)]
        struct Message {
            record: Option<Inner>,
            state: Option<Value>,
        }
        #[derive(serde::Deserialize)]
        struct Inner {
            stream: String,
            data: Box<RawValue>,
        }
        let mut printed = Self::default();
        for line in output.lines() {
            let message: Message = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            if let Some(Inner { stream, data }) = message.record {
                printed.records.push(Record { stream, data });
            }
            if let Some(state) = message.state {
                let stream = state["stream"]["stream_descriptor"]["name"].as_str().expect("a stream's state");
                printed.states.insert(stream.to_owned(), state);
            }
        }
        printed
    }
}
