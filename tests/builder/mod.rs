//! A running `flow-shim builder`, and requests to it.

// Each test binary uses only a part of this module.
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::flow_shim;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Builder {
    process: Option<Child>,
    /// Kept open: it ends when nobody can read it any more.
    _stdout: BufReader<ChildStdout>,
    url: String,
    folder: TempDir,
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub text: String,
    /// Null if it is not JSON.
    pub body: Value,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|it| it.split_once(':').filter(|(it, _)| it.eq_ignore_ascii_case(name)));
        line.map_or("", |(_, value)| value.trim())
    }

    /// The body of a success.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.body
    }
}

impl Builder {
    /// Starts it on a free port.
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::create_dir(folder.path().join("tmp")).expect("a folder");
        let mut command = flow_shim(["builder", "--port", "0"]);
        command.args(arguments).env("TMPDIR", folder.path().join("tmp")).env("SCRIPTED_LOG", folder.path().join("log"));
        command.env_remove("AB_JWT_SIGNATURE_SECRET").envs(environment.iter().copied());
        let stderr = fs::File::create(folder.path().join("stderr")).expect("a file");
        let mut process = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("the binary runs");
        let mut url = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("its stdout"));
        stdout.read_line(&mut url).expect("a line");
        let said = || fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
        assert!(url.starts_with("http://"), "{}", said());
        Self { process: Some(process), _stdout: stdout, url: url.trim().to_owned(), folder }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its address as a Host header has it.
    pub fn host(&self) -> &str {
        let rest = self.url.trim_start_matches("http://");
        rest.split('/').next().unwrap_or_default()
    }

    pub fn token(&self) -> Option<&str> {
        self.url.split_once("#token=").map(|(_, it)| it)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its child processes, zombies included.
    pub fn children(&self) -> Vec<String> {
        let pid = self.process.as_ref().expect("it runs").id();
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
        list.split_whitespace().map(str::to_owned).collect()
    }

    /// What the scripted Pythons have done.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits for a line that begins with this word, and gives the number behind it.
    pub fn wait_for_log(&self, word: &str) -> u32 {
        let mut found = None;
        wait_until(|| {
            let log = self.log();
            let line = log.lines().find_map(|it| it.strip_prefix(word)?.split_whitespace().next()?.parse().ok());
            found = line;
            found.is_some()
        });
        found.expect("a number")
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], &body.to_string())
    }

    /// Sends a request with exactly these headers, and a Host if there is none.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = TcpStream::connect(self.host().replace("0.0.0.0", "127.0.0.1")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if headers.iter().all(|(name, _)| *name != "host") {
            head += &format!("host: {}\r\n", self.host());
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).expect("a request");
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).expect("a response");
        let reply = String::from_utf8(reply).expect("text");
        let (head, text) = reply.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        let body = serde_json::from_str(text).unwrap_or_default();
        Reply { status, head: head.to_owned(), text: text.to_owned(), body }
    }

    /// Asks it to end, and gives what is left of it.
    pub fn end(mut self) -> TempDir {
        self.terminate();
        std::mem::replace(&mut self.folder, TempDir::new().expect("a folder"))
    }

    /// Asks it to end, and gives its stderr.
    pub fn stop(mut self) -> String {
        self.terminate();
        fs::read_to_string(self.folder.path().join("stderr")).expect("its stderr")
    }

    fn terminate(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::TERM).expect("a signal");
        let status = process.wait().expect("its end");
        assert!(status.success() || std::thread::panicking(), "{status}");
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        self.terminate();
    }
}

/// Waits for a condition.
pub fn wait_until(mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "it did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}
