//! Runs the built binary on the command line, with its output as text.

// Each test binary uses only a part of this module.
#![allow(dead_code)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

/// In place of Flow's own encryption service, which no test may reach.
pub const NO_ENCRYPTION: &str = "http://127.0.0.1:9/encryption";

/// The binary with these arguments, in the repository's root, without environment variables that affect its output.
pub fn flow_shim<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flow-shim"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    for name in ["LOG_LEVEL", "LOG_FORMAT", "COLUMNS", "AIRBYTE_ENTRYPOINT", "CLICOLOR_FORCE", "CONNECTOR_MOUNT"] {
        command.env_remove(name);
    }
    command.env("TZ", "UTC").env("ENCRYPTION_URL", NO_ENCRYPTION);
    command
}

/// The result of a run.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    Run::from(flow_shim(arguments).output().expect("the binary runs"))
}

impl From<Output> for Run {
    fn from(it: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { code: it.status.code(), stdout: text(it.stdout), stderr: text(it.stderr) }
    }
}

impl Run {
    /// Panics unless the exit code is 0.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// The documents with their stream names.
    pub fn documents(&self) -> Vec<(String, Value)> {
        documents(&self.stdout)
    }

    /// The number of documents of a stream.
    pub fn count(&self, stream: &str) -> usize {
        self.documents().iter().filter(|(name, _)| name == stream).count()
    }

    /// The last line of stderr without its time.
    pub fn last_line(&self) -> String {
        timeless(self.stderr.lines().last().unwrap_or_default())
    }
}

pub fn documents(stdout: &str) -> Vec<(String, Value)> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// A text without times of day and durations.
pub fn timeless(text: &str) -> String {
    let time = Regex::new(r"(?m)^\d\d:\d\d:\d\d").expect("a regex");
    let took = Regex::new(r"in \d+\.\d s").expect("a regex");
    took.replace_all(&time.replace_all(text, "HH:MM:SS"), "in N s").into_owned()
}

/// The arguments of a connector that plays a case; the case is written to a file in `folder`.
pub fn scripted(folder: &std::path::Path, case: &str) -> [String; 3] {
    let path = folder.join("test.case");
    let mut file = std::fs::File::create(&path).expect("a case file");
    file.write_all(case.as_bytes()).expect("a case file");
    let player = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/scripted-source");
    ["--".to_owned(), player.to_owned(), path.to_string_lossy().into_owned()]
}

/// The files that `flow-shim init` writes.
const FILES: [&str; 5] = ["shim.yaml", "Dockerfile", "flow.yaml", "README.md", ".github/workflows/ci.yml"];

/// A working directory.
pub struct Desk(TempDir);

impl Desk {
    pub fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let mut command = flow_shim(arguments);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        Run::from(command.output().expect("the binary runs"))
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    pub fn yaml(&self, name: &str) -> Value {
        serde_saphyr::from_str(&self.read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// All files that `init` wrote, as one text.
    pub fn all(&self, folder: &str) -> String {
        let texts = FILES.map(|name| format!("──── {name}\n{}", self.read(&format!("{folder}/{name}"))));
        texts.join("\n")
    }

    /// Uncomments the block that starts with `key`.
    pub fn uncomment(&self, name: &str, key: &str) {
        let mut inside = false;
        let mut lines = Vec::new();
        for line in self.read(name).lines() {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            inside = bare.starts_with(key) || inside && bare.starts_with(' ');
            lines.push(if inside { bare } else { line }.to_owned());
        }
        self.write(name, &(lines.join("\n") + "\n"));
    }
}

/// A `PATH` without a `sops` of this machine.
pub fn path_without_sops() -> String {
    let path = std::env::var("PATH").unwrap();
    path.split(':').filter(|it| !Path::new(it).join("sops").exists()).collect::<Vec<_>>().join(":")
}
