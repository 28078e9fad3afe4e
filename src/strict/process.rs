//! One start of a connector: its pipes as a stream of events, signals, and the files and processes left after its exit.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::proto;

/// Environment variable by which all processes of a start are found.
const MARK: &str = "FLOW_SHIM_STRICT_START";
/// The time that a connector's child processes have to exit after it.
const GRACE: Duration = Duration::from_secs(3);
/// How often the files in the connector's TMPDIR are checked while it runs.
const LOOK: Duration = Duration::from_millis(20);
const NO_FOLDER: &str = "can't make a temporary directory";
static STARTS: AtomicU64 = AtomicU64::new(0);

/// A part of a running flow-shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The process that talks to the runtime.
    Shim,
    /// Its child, which watches over the connector.
    Keeper,
    Connector,
}

/// How messages are laid out on stdin and stdout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Codec {
    Json,
    Proto,
}

pub enum Event {
    /// A message on stdout, as a line of the JSON codec without its newline.
    Line(String),
    /// The last message of stdout, if it is incomplete, or a line that is not UTF-8.
    Partial(String),
    /// A message that is not valid in its codec: the broken rule.
    Invalid(String),
    /// A line of stderr.
    Log(String),
    /// Stdout and stderr have ended.
    End,
}

pub struct Process {
    child: Child,
    codec: Codec,
    stdin: Option<ChildStdin>,
    events: Receiver<Option<Event>>,
    open_pipes: usize,
    deaf: Arc<AtomicBool>,
    killed: bool,
    /// Nobody was left to remove the files: the next start does.
    may_leave_files: bool,
    peak_memory: u64,
    mark: String,
    /// Its TMPDIR, which must be empty after its exit.
    temporary: PathBuf,
    _own: Option<TempDir>,
    looked: Instant,
    /// Files in it that other users could read.
    exposed: BTreeSet<PathBuf>,
}

impl Process {
    pub fn start(
        command: &[OsString],
        codec: Codec,
        env: &[(OsString, OsString)],
        folder: Option<&Path>,
        temporary: Option<&Path>,
    ) -> Result<Self> {
        let (program, arguments) = command.split_first().ok_or_else(|| anyhow!("there is no command to start"))?;
        let own = if temporary.is_none() { Some(TempDir::new().context(NO_FOLDER)?) } else { None };
        let temporary = own.as_ref().map(TempDir::path).or(temporary).context(NO_FOLDER)?.to_owned();
        let mark = format!("{}-{}", std::process::id(), STARTS.fetch_add(1, Ordering::Relaxed));
        let mut child = Command::new(program)
            .args(arguments)
            .env("LOG_FORMAT", "json")
            .env("LOG_LEVEL", "info")
            // In place of Flow's own service, which neither a test nor a proof may reach.
            .env("ENCRYPTION_URL", "http://127.0.0.1:9/encryption")
            .env_remove("CONNECTOR_MOUNT")
            .env("TMPDIR", &temporary)
            .env(MARK, &mark)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .current_dir(folder.unwrap_or(&temporary))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        // Bounded, for the same backpressure as in Flow.
        let (sender, events) = sync_channel(1024);
        let deaf = Arc::new(AtomicBool::new(false));
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(anyhow!("can't read the output of {}", program.display()));
        };
        let (out, err, stop) = (sender.clone(), sender, Arc::clone(&deaf));
        thread::spawn(move || match codec {
            Codec::Json => read_lines(stdout, &out, &stop, Event::Line, Event::Partial),
            Codec::Proto => read_frames(stdout, &out, &stop),
        });
        thread::spawn(move || read_lines(stderr, &err, &AtomicBool::new(false), Event::Log, Event::Log));
        Ok(Self {
            stdin: child.stdin.take(),
            child,
            codec,
            events,
            open_pipes: 2,
            deaf,
            killed: false,
            may_leave_files: false,
            peak_memory: 0,
            mark,
            temporary,
            _own: own,
            looked: Instant::now(),
            exposed: BTreeSet::new(),
        })
    }

    pub fn send(&mut self, request: &Value) -> Result<()> {
        let message = match self.codec {
            Codec::Json => format!("{request}\n").into_bytes(),
            Codec::Proto => proto::frame(request)?,
        };
        // A connector may exit before it has read everything: its exit code is more useful than the broken pipe.
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(&message).and_then(|()| stdin.flush());
        }
        Ok(())
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Stops reading stdout after the next line.
    pub fn close_stdout(&mut self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// The next event, or None after a timeout. If another process holds the pipes open after
    /// the connector's exit, that counts as the end; `leftovers` finds that process.
    pub fn next(&mut self, patience: Duration) -> Option<Event> {
        let deadline = Instant::now() + patience;
        let mut gone_since = None;
        while self.open_pipes > 0 {
            if self.looked.elapsed() > LOOK {
                find_exposed(&self.temporary, &mut self.exposed);
                self.looked = Instant::now();
            }
            match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(Some(event)) => return Some(event),
                Ok(None) => self.open_pipes -= 1,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if matches!(self.child.try_wait(), Ok(Some(_))) => {
                    if gone_since.get_or_insert_with(Instant::now).elapsed() > GRACE {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Some(Event::End)
    }

    pub fn signal(&mut self, signal: Signal) {
        self.killed |= signal == Signal::KILL;
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Sends a signal to these parts of flow-shim, as nearly at once as it can be done. Returns whether there was one of each.
    pub fn signal_parts(&mut self, parts: &[Part], signal: Signal) -> bool {
        let keepers = children_of(self.child.id());
        let connectors: Vec<i32> = keepers.iter().flat_map(|it| children_of(it.unsigned_abs())).collect();
        let mut found = true;
        for part in parts {
            let pids = match part {
                Part::Shim => {
                    self.killed |= signal == Signal::KILL;
                    i32::try_from(self.child.id()).into_iter().collect()
                }
                Part::Keeper => keepers.clone(),
                Part::Connector => connectors.clone(),
            };
            let reached = |pid: &i32| Pid::from_raw(*pid).is_some_and(|it| kill_process(it, signal).is_ok());
            found &= pids.iter().filter(|it| reached(it)).count() > 0;
        }
        self.may_leave_files |= [Part::Shim, Part::Keeper].iter().all(|it| parts.contains(it));
        found
    }

    pub fn was_killed(&self) -> bool {
        self.killed
    }

    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().context("can't wait for the connector")
    }

    pub fn look_at_memory(&mut self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|it| it.strip_prefix(name)?.trim().strip_suffix(" kB"));
            line.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0)
        };
        // Without the pages of the binary, which is large if it is not optimised.
        let peak = kilobytes("VmHWM:").saturating_sub(kilobytes("RssFile:"));
        self.peak_memory = self.peak_memory.max(peak * 1024);
    }

    pub fn peak_memory(&self) -> u64 {
        self.peak_memory
    }

    /// Processes and files that outlive the connector. They have a short grace period, as the kernel's signals take time.
    pub fn leftovers(&self) -> Vec<String> {
        let deadline = Instant::now() + GRACE;
        let (mut broken, files) = loop {
            let left = (self.processes(), self.files());
            if (left.0.is_empty() && left.1.is_empty()) || Instant::now() > deadline {
                break left;
            }
            thread::sleep(Duration::from_millis(10));
        };
        for (pid, _) in &broken {
            // Whoever checks a connector must leave nothing running.
            if let Some(pid) = Pid::from_raw(*pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let mut broken: Vec<String> =
            broken.drain(..).map(|(_, name)| format!("orphans: a process outlives the connector: {name}")).collect();
        broken.extend(self.exposed.iter().map(|it| format!("files: others can read {}", it.display())));
        broken.extend(files.iter().map(|it| format!("files: left behind: {}", it.display())));
        broken
    }

    fn files(&self) -> Vec<PathBuf> {
        if self.may_leave_files { Vec::new() } else { files_below(&self.temporary) }
    }

    /// The processes with this start's mark, and those of other users that name its TMPDIR in their arguments.
    fn processes(&self) -> Vec<(i32, String)> {
        let mark = format!("{MARK}={}", self.mark);
        let temporary = self.temporary.to_string_lossy();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
        let ours = pids.filter_map(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ"));
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let is_ours = match environment {
                Ok(it) => it.split(|it| *it == 0).any(|it| it == mark.as_bytes()),
                // A keeper hides its environment.
                Err(_) => command.contains(&*temporary),
            };
            is_ours.then_some((pid, command))
        });
        ours.collect()
    }
}

/// The children of a process that have not ended.
fn children_of(parent: u32) -> Vec<i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may hold anything; what follows it is: state, parent.
        let mut fields = stat.rsplit_once(')').map_or("", |it| it.1).split_whitespace();
        !matches!(fields.next(), Some("Z" | "X") | None) && fields.next() == Some(&parent.to_string())
    };
    pids.filter(is_child).collect()
}

fn read_lines(
    pipe: impl Read,
    to: &SyncSender<Option<Event>>,
    stop: &AtomicBool,
    whole: fn(String) -> Event,
    partial: fn(String) -> Event,
) {
    let mut pipe = BufReader::with_capacity(1 << 16, pipe);
    let mut line = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        line.clear();
        match pipe.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let is_whole = line.pop_if(|it| *it == b'\n').is_some();
        let event = match String::from_utf8(std::mem::take(&mut line)) {
            Ok(text) if is_whole => whole(text),
            Ok(text) => partial(text),
            Err(e) => partial(String::from_utf8_lossy(e.as_bytes()).into_owned()),
        };
        if to.send(Some(event)).is_err() {
            break;
        }
    }
    // Closes the pipe before the event is sent.
    drop(pipe);
    let _ = to.send(None);
}

fn read_frames(pipe: impl Read, to: &SyncSender<Option<Event>>, stop: &AtomicBool) {
    let mut pipe = BufReader::with_capacity(1 << 16, pipe);
    while !stop.load(Ordering::Relaxed) {
        let (mut prefix, mut message) = (Vec::new(), Vec::new());
        let _ = pipe.by_ref().take(4).read_to_end(&mut prefix);
        let length = <[u8; 4]>::try_from(prefix.as_slice()).map(u32::from_le_bytes);
        let _ = pipe.by_ref().take(length.map_or(0, u64::from)).read_to_end(&mut message);
        let event = match length {
            Err(_) if prefix.is_empty() => break,
            Ok(length) if length as usize == message.len() => {
                proto::line(&message).map_or_else(Event::Invalid, Event::Line)
            }
            _ => Event::Partial(format!("{} bytes of {length:?}", message.len())),
        };
        if to.send(Some(event)).is_err() {
            break;
        }
    }
    // Closes the pipe before the event is sent.
    drop(pipe);
    let _ = to.send(None);
}

/// Files that other users can read, in directories that other users can enter.
fn find_exposed(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.permissions().mode() & 0o077 == 0 {
            continue;
        }
        if metadata.is_dir() {
            find_exposed(&entry.path(), found);
        } else if metadata.is_file() {
            found.insert(entry.path());
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.append(&mut files_below(&path));
        }
        found.push(path);
    }
    found
}
