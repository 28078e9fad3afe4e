//! One session of a try: the built binary between the strict runtime and a scripted connector, and what was seen of it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use flow_shim::strict::backfills::Backfill;
use flow_shim::strict::{self, Binding, Codec, Part, Then, Watcher};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::oracle::Document;
use super::script::{Mode, STREAMS, Script};
use super::world::{Connector, PLAIN, World};
use crate::runtime::{repository, search_path};

pub const SECRET: &str = "k3y-of-the-tests";

/// The message that a connector logs where it waits for the runtime.
pub const HELD: &str = "the connector waits";

/// What the runtime does when its moment has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// A signal to parts of flow-shim.
    Signal(&'static [Part], Signal),
    /// Reads nothing for this many seconds.
    Stall(u64),
    CloseStdout,
    /// Kills parts of flow-shim, and takes nothing of what was sent after that.
    Drop(&'static [Part]),
}

/// When the runtime acts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// After this many documents.
    Documents(usize),
    /// After this many documents, when the connector has logged that it waits.
    Held(usize),
    /// After this many checkpoints, if there are so many.
    Checkpoints(usize),
}

/// Where a try keeps its files.
pub struct Desk {
    pub folder: tempfile::TempDir,
    pub temporary: PathBuf,
}

impl Desk {
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a temporary directory");
        let temporary = folder.path().join("tmp");
        fs::create_dir(&temporary).expect("a directory");
        // Other users run flow-shim, too.
        for (path, mode) in [(folder.path(), 0o755), (temporary.as_path(), 0o1777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
        }
        Self { folder, temporary }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a conversation with one act, in which the connector plays these lines.
    pub fn case(&self, mode: &'static Mode, lines: &[String]) -> PathBuf {
        let path = self.path("own.case");
        let prologue = Script::short(mode).prologue("A try.");
        fs::write(&path, format!("{prologue}\n=== open\n== read\n{}\n", lines.join("\n"))).expect("a file");
        path
    }

    /// The files that are left in TMPDIR.
    pub fn left(&self) -> usize {
        fs::read_dir(&self.temporary).map_or(0, Iterator::count)
    }
}

pub struct Setup<'a> {
    pub mode: &'static Mode,
    /// The conversation, and which of its acts this is.
    pub case: &'a Path,
    pub act: usize,
    pub desk: &'a Desk,
    pub world: &'a World,
    pub state: &'a Value,
    /// The bindings whose backfill an earlier session has begun.
    pub begun: HashSet<usize>,
    pub hook: Option<(When, &'a [Act])>,
    pub config: &'a Value,
    /// Texts that no log line may have.
    pub secrets: Vec<String>,
    pub env: Vec<(String, String)>,
    pub patience: Duration,
    /// What shim.yaml's `maxDocument` is.
    pub max_document: usize,
}

pub struct Seen {
    pub documents: Vec<Document>,
    /// The committed begins and ends of truncations.
    pub backfills: Vec<Backfill>,
    /// The bindings whose backfill has begun and is not complete.
    pub begun: HashSet<usize>,
    pub state: Value,
    /// The positions that the connector was given, if it was started.
    pub given: Option<Vec<u64>>,
    pub exit: ExitStatus,
    pub last: String,
    pub logs: Vec<String>,
    /// From the runtime's act, or else from the start, to the end.
    pub took: Duration,
    pub peak_memory: u64,
    pub processes: usize,
    pub files: usize,
    /// Other broken rules.
    pub wrong: Vec<String>,
}

impl<'a> Setup<'a> {
    /// A first session in a plain world, from no state.
    pub fn new(mode: &'static Mode, desk: &'a Desk, case: &'a Path) -> Self {
        static NOTHING: LazyLock<Value> = LazyLock::new(|| json!({}));
        static CONFIG: LazyLock<Value> = LazyLock::new(|| json!({"api_key": SECRET}));
        Self {
            mode,
            case,
            act: 1,
            desk,
            world: &PLAIN,
            state: &NOTHING,
            begun: HashSet::new(),
            hook: None,
            config: &CONFIG,
            secrets: vec![SECRET.to_owned()],
            env: Vec::new(),
            patience: Duration::from_secs(60),
            max_document: 16 * 1024 * 1024,
        }
    }

    pub fn run(&self) -> Seen {
        let bindings = STREAMS.map(|stream| {
            let binding = Binding::of_resource(self.mode.wire.resource(stream, self.mode));
            match self.mode.key {
                Some(key) => binding.key([key]),
                None => binding,
            }
        });
        self.run_with(&bindings)
    }

    pub fn run_with(&self, bindings: &[Binding]) -> Seen {
        let received = self.desk.path(&format!("received-{}", self.act));
        // Another user's connector writes there.
        fs::create_dir(&received).expect("a directory");
        fs::set_permissions(&received, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("permissions");
        let mut runtime = self.runtime(&received);
        runtime.codec = if self.act.is_multiple_of(2) { Codec::Proto } else { Codec::Json };
        let mut watch = Watch { hook: self.hook, ..Watch::default() };
        let start = Instant::now();
        let session =
            runtime.open(bindings, self.state).begun(self.begun.clone()).run(&mut watch).expect("flow-shim starts");
        let end = session.end;
        let took = watch.acted.map_or(end.took, |it| (start + end.took).saturating_duration_since(it));
        let mut seen = Seen {
            documents: watch.committed,
            backfills: session.backfills,
            begun: session.begun,
            state: session.state,
            given: given(&received.join("read")),
            last: end.last_message().to_owned(),
            logs: end.logs.into_iter().map(|it| it.line).collect(),
            exit: end.exit,
            took,
            peak_memory: end.peak_memory,
            processes: 0,
            files: 0,
            wrong: Vec::new(),
        };
        for rule in end.broken {
            match rule.split(':').next() {
                Some("orphans") => seen.processes += 1,
                Some("files") => seen.files += 1,
                // What was killed may have stopped within a message.
                Some("F1") if seen.exit.code().is_none() => continue,
                _ => {}
            }
            seen.wrong.push(rule);
        }
        if let (true, Some((when, _))) = (watch.acted.is_none(), self.hook)
            && !matches!(when, When::Checkpoints(_))
        {
            seen.wrong.push(format!("the runtime's moment never came: {when:?}"));
        }
        seen
    }

    fn runtime(&self, received: &Path) -> strict::Runtime {
        let player = repository().join("fixtures/scripted-source");
        let shim = [env!("CARGO_BIN_EXE_flow-shim").to_owned(), "serve".to_owned()];
        let arguments = self.mode.wire.arguments().iter().map(|it| (*it).to_owned());
        let shim_yaml = self.mode.shim_yaml().into_iter().chain(self.world.shim_yaml).collect::<String>();
        let shim_yaml = (!shim_yaml.is_empty()).then(|| {
            let folder = self.desk.path("shim");
            fs::create_dir_all(&folder).expect("a directory");
            fs::write(folder.join("shim.yaml"), shim_yaml).expect("a file");
            ["--shim".to_owned(), folder.to_string_lossy().into_owned()]
        });
        let connector = self.world.connector(self.desk, &player.to_string_lossy());
        let script =
            ["--act", &self.act.to_string(), "--received", &received.to_string_lossy(), &self.case.to_string_lossy()]
                .map(str::to_owned);
        let command = shim.into_iter().chain(arguments).chain(shim_yaml.into_iter().flatten());
        let script = if matches!(self.world.connector, Connector::Image(_)) { Vec::new() } else { script.into() };
        let command = command.chain(connector).chain(script);
        let mut runtime = strict::Runtime::new(self.world.wrap(command));
        runtime.env.push(("PATH".into(), search_path().into()));
        runtime.env.extend(self.world.env(self.desk));
        runtime.env.extend(self.env.iter().map(|(name, value)| (name.into(), value.into())));
        runtime.config = self.config.clone();
        runtime.secrets = self.secrets.clone();
        runtime.temporary = Some(self.desk.temporary.clone());
        runtime.patience = self.patience;
        runtime.max_document = self.max_document;
        runtime
    }
}

/// The positions in the state that the scripted connector has received.
fn given(folder: &Path) -> Option<Vec<u64>> {
    let read = |name: &str| fs::read_to_string(folder.join(name));
    let text = match read("request") {
        // A Fivetran connector's.
        Ok(request) => serde_json::from_str::<Value>(&request).ok()?["state_json"].as_str()?.to_owned(),
        Err(_) if !folder.join("call").exists() => return None,
        Err(_) => read("state").unwrap_or_else(|_| "null".to_owned()),
    };
    let state: Value = serde_json::from_str(&text).ok()?;
    Some(STREAMS.map(|stream| position(&state, stream).unwrap_or(0)).into())
}

/// The `pos` of a stream, wherever a state has it.
fn position(it: &Value, stream: &str) -> Option<u64> {
    let found = match it {
        Value::Array(all) => all.iter().find_map(|it| position(it, stream)),
        Value::Object(all) => all.iter().find_map(|(name, it)| match name.as_str() {
            "stream_state" => None,
            name if name == stream => it["pos"].as_u64(),
            _ => position(it, stream),
        }),
        _ => None,
    };
    found.or_else(|| it["stream_state"]["pos"].as_u64().filter(|_| it["stream_descriptor"]["name"] == stream))
}

/// Keeps the documents of a session, and acts when it is time.
#[derive(Default)]
struct Watch<'a> {
    committed: Vec<Document>,
    pending: Vec<Document>,
    hook: Option<(When, &'a [Act])>,
    is_held: bool,
    checkpoints: usize,
    acted: Option<Instant>,
    next: usize,
}

impl Watch<'_> {
    fn is_due(&self, when: When) -> bool {
        let seen = self.committed.len() + self.pending.len();
        match when {
            When::Documents(count) => seen >= count,
            When::Held(count) => seen >= count && self.is_held,
            When::Checkpoints(count) => self.checkpoints >= count,
        }
    }
}

impl Watcher for Watch<'_> {
    fn document(&mut self, binding: usize, text: &str) {
        let document: Value = serde_json::from_str(text).unwrap_or_default();
        self.pending.push(Document {
            stream: binding,
            row_id: document["_meta"]["row_id"].as_u64().unwrap_or(0),
            id: document["id"].as_u64(),
            is_deletion: document["_meta"]["op"] == "d",
        });
    }

    fn checkpoint(&mut self) {
        self.committed.append(&mut self.pending);
        self.checkpoints += 1;
    }

    fn log(&mut self, line: &str) {
        if line.contains(HELD) {
            self.is_held = true;
        }
    }

    fn next(&mut self) -> Option<Then> {
        let (when, acts) = self.hook?;
        if self.acted.is_none() && !self.is_due(when) {
            return None;
        }
        let act = acts.get(self.next)?;
        self.next += 1;
        self.acted = Some(Instant::now());
        match *act {
            Act::Signal(parts, signal) => Some(Then::SignalParts(parts, signal)),
            Act::CloseStdout => Some(Then::CloseStdout),
            Act::Drop(parts) => Some(Then::Drop(parts)),
            Act::Stall(seconds) => {
                std::thread::sleep(Duration::from_secs(seconds));
                self.acted = Some(Instant::now());
                self.next()
            }
        }
    }
}
