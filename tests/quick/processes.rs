//! The keeper and process cleanup: no process or file of a connector remains, whichever process dies.

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use crate::command::{Run, flow_shim};
use crate::runtime::Runtime;

/// The longest time that an event may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        thread::yield_now();
    }
}

fn pid(number: i32) -> Pid {
    Pid::from_raw(number).expect("a process id")
}

/// Whether a process has ended: it does not exist, or is a zombie that was not reaped yet.
fn has_ended(number: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
    test_kill_process(pid(number)).is_err() || state.starts_with('Z')
}

fn parent_of(number: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).expect("a process");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    rest.split_whitespace().nth(1).expect("a parent").parse().expect("a number")
}

/// A keeper as the shim starts it.
struct Keeper {
    child: Child,
    socket: UnixStream,
    reports: BufReader<UnixStream>,
    folder: PathBuf,
    _around: tempfile::TempDir,
}

impl Keeper {
    fn start(command: &[&str]) -> Self {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("folder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        let (socket, theirs) = UnixStream::pair().unwrap();
        let mut keeper = flow_shim(["keeper", "--folder"]);
        keeper.arg(&folder).stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = keeper.spawn().unwrap();
        drop(keeper);
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let reports = BufReader::new(socket.try_clone().unwrap());
        let mut keeper = Self { child, socket, reports, folder, _around: around };
        keeper.send(&format!("{}\n", json!(command)));
        keeper
    }

    fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    fn report(&mut self) -> Value {
        let mut line = String::new();
        self.reports.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no report but {line:?}"))
    }

    fn started(&mut self) -> i32 {
        let report = self.report();
        report["Started"].as_i64().unwrap_or_else(|| panic!("{report}")).try_into().unwrap()
    }

    /// A line of the connector's output.
    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::with_capacity(1, self.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Ends the shim's side and waits for the keeper.
    fn end(mut self) -> ExitStatus {
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
        let status = self.child.wait().unwrap();
        assert!(!self.folder.exists());
        status
    }
}

#[test]
fn a_keeper_reports_exit_codes_and_signals_apart() {
    for (script, want) in [
        ("exit 0", json!({"Exited": 0})),
        ("exit 137", json!({"Exited": 137})),
        ("exit 255", json!({"Exited": 255})),
        ("kill -9 $$", json!({"Killed": 9})),
        ("kill -TERM $$", json!({"Killed": 15})),
    ] {
        let mut keeper = Keeper::start(&["sh", "-c", script]);
        keeper.started();
        assert_eq!(keeper.report(), want, "{script}");
        assert!(keeper.end().success());
    }
    let mut keeper = Keeper::start(&["/nowhere/connector"]);
    assert_eq!(keeper.report(), json!({"NotStarted": 2}));
    assert!(keeper.end().success());
}

#[test]
fn a_keeper_asks_the_connector_to_stop_and_does_not_stop_itself() {
    let mut keeper = Keeper::start(&["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"]);
    let connector = keeper.started();
    assert_eq!(keeper.line(), "ready");
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(pid(keeper.child.id().try_into().unwrap()), signal).unwrap();
    }
    assert!(!has_ended(connector));
    keeper.send("stop\n");
    assert_eq!(keeper.report(), json!({"Exited": 7}));
    assert!(keeper.end().success());
}

#[test]
fn a_keeper_whose_shim_has_ended_kills_daemons_too() {
    let script = "setsid sh -c 'setsid sleep 300 & echo $!' & wait; sleep 300";
    let mut keeper = Keeper::start(&["sh", "-c", script]);
    let connector = keeper.started();
    let daemon: i32 = keeper.line().parse().unwrap();
    assert!(keeper.end().success());
    assert!(has_ended(connector) && has_ended(daemon));
}

#[test]
fn a_connector_dies_with_its_keeper() {
    let mut keeper = Keeper::start(&["sh", "-c", "echo ready; exec sleep 300"]);
    let connector = keeper.started();
    assert_eq!(keeper.line(), "ready");
    keeper.child.kill().unwrap();
    wait_until("the connector dies", || has_ended(connector));
}

/// A shim that has asked a connector for its spec. The connector writes its process id to a file.
struct Asked {
    shim: Child,
    tmp: tempfile::TempDir,
    pid_file: PathBuf,
}

fn ask(script: &str) -> Asked {
    let tmp = tempfile::tempdir().unwrap();
    let pid_file = tmp.path().join("pid");
    let mut command = flow_shim(["serve", "--", "sh", "-c", script]);
    command.env("PID_FILE", &pid_file).env("TMPDIR", tmp.path()).stdin(Stdio::piped());
    let mut shim = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Its stdin stays open.
    shim.stdin.as_mut().unwrap().write_all(b"{\"spec\":{}}\n").unwrap();
    Asked { shim, tmp, pid_file }
}

impl Asked {
    fn connector(&mut self) -> i32 {
        let mut found = None;
        wait_until("the connector starts", || {
            let text = fs::read_to_string(&self.pid_file).unwrap_or_default();
            found = text.strip_suffix('\n').and_then(|it| it.parse().ok());
            found.is_some()
        });
        found.unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(self.shim.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until the shim and everything it started have ended.
    fn leaves_nothing(mut self, connector: i32) -> ExitStatus {
        let status = self.shim.wait().unwrap();
        wait_until("the connector ends", || has_ended(connector));
        wait_until("the private files are removed", || folders(self.tmp.path()).is_empty());
        status
    }
}

/// The private folders of connectors in a directory.
fn folders(tmp: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(tmp).unwrap().map(|it| it.unwrap().path());
    entries.filter(|it| it.is_dir()).collect()
}

#[test]
fn stdout_becomes_as_large_a_pipe_as_is_allowed() {
    const WANTED: usize = 1024 * 1024;
    let (ours, _writer) = std::io::pipe().unwrap();
    let allowed = fcntl_setpipe_size(&ours, WANTED).or_else(|_| fcntl_getpipe_size(&ours)).unwrap();
    let mut asked = ask("echo $$ > $PID_FILE; exec sleep 60");
    let connector = asked.connector();
    assert_eq!(fcntl_getpipe_size(asked.shim.stdout.as_ref().unwrap()).unwrap(), allowed);
    asked.signal(Signal::TERM);
    asked.leaves_nothing(connector);
}

#[test]
fn stdout_need_not_be_a_pipe() {
    let mut file = tempfile::tempfile().unwrap();
    let mut command = flow_shim(["serve", "--", "cat"]);
    command.stdin(Stdio::piped()).stdout(file.try_clone().unwrap()).stderr(Stdio::null());
    let mut shim = command.spawn().unwrap();
    shim.stdin.take().unwrap().write_all(b"{\"apply\":{}}\n").unwrap();
    assert!(shim.wait().unwrap().success());
    let mut answer = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut answer)).unwrap();
    assert_eq!(answer, "{\"applied\":{}}\n");
}

#[test]
fn a_stop_in_the_first_milliseconds_leaves_nothing_behind() {
    for round in 0..200 {
        let mut asked = ask("echo $$ >$PID_FILE; exec sleep 300");
        let connector = asked.connector();
        let stop = Instant::now() + Duration::from_micros(25 * round);
        while Instant::now() < stop {
            std::hint::spin_loop();
        }
        asked.signal(Signal::TERM);
        assert_eq!(asked.leaves_nothing(connector).code(), Some(143), "round {round}");
    }
}

#[test]
fn a_killed_shim_leaves_nothing_behind() {
    let mut asked = ask("trap '' TERM; echo $$ >$PID_FILE; sleep 300");
    let connector = asked.connector();
    asked.signal(Signal::KILL);
    assert_eq!(asked.leaves_nothing(connector).signal(), Some(9));
}

#[test]
fn files_of_a_killed_shim_and_keeper_are_removed_at_the_next_start() {
    let mut asked = ask("echo $$ >$PID_FILE; exec sleep 300");
    let connector = asked.connector();
    let keeper = parent_of(connector);
    // Stopped first, so that the keeper cannot clean up.
    kill_process(pid(keeper), Signal::STOP).unwrap();
    asked.signal(Signal::KILL);
    kill_process(pid(keeper), Signal::KILL).unwrap();
    asked.shim.wait().unwrap();
    wait_until("the connector dies", || has_ended(connector));
    assert_eq!(folders(asked.tmp.path()).len(), 1);
    let mut next = flow_shim(["serve", "--", "true"]);
    next.env("TMPDIR", asked.tmp.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut next = next.spawn().unwrap();
    next.stdin.take().unwrap().write_all(b"{\"spec\":{}}\n").unwrap();
    assert_eq!(next.wait().unwrap().code(), Some(1));
    assert_eq!(folders(asked.tmp.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_killed_keeper_is_noticed() {
    let mut asked = ask("echo $$ >$PID_FILE; exec sleep 300");
    let connector = asked.connector();
    kill_process(pid(parent_of(connector)), Signal::KILL).unwrap();
    let mut said = String::new();
    asked.shim.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("keeper process was killed"), "{said}");
    assert_eq!(asked.leaves_nothing(connector).code(), Some(1));
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut asked = ask("trap '' TERM; echo $$ >$PID_FILE; sleep 300 & wait; wait");
    let connector = asked.connector();
    asked.signal(Signal::TERM);
    // The first one must have been handled: two pending signals count as one.
    thread::sleep(Duration::from_millis(50));
    asked.signal(Signal::TERM);
    let since = Instant::now();
    assert_eq!(asked.leaves_nothing(connector).code(), Some(143));
    assert!(since.elapsed() < LIMIT);
}

fn spec(shim_yaml: &str, environment: &[(&str, &str)]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shim.yaml"), shim_yaml).unwrap();
    let mut command = flow_shim(["serve", "--shim"]);
    command.arg(folder.path()).envs(environment.iter().copied()).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"spec\":{}}\n").unwrap();
    Run::from(child.wait_with_output().unwrap())
}

const SPEC: &str = r#"{"type":"SPEC","spec":{"connectionSpecification":{"type":"object"}}}"#;

#[test]
fn a_silent_spec_is_stopped() {
    let run = spec("command: [sh, -c, exec sleep 300]\nidleTimeout: 1s\n", &[]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("the connector said nothing for 1s during spec and was stopped"), "{}", run.stderr);
}

#[test]
fn an_answer_counts_though_the_connector_fails_afterwards() {
    let script = format!("echo '{SPEC}'; echo broken >&2; exit 3");
    let run = spec(&format!("command: {}\n", json!(["sh", "-c", script, "sh"])), &[]).ok();
    assert!(run.stdout.contains("configSchema"), "{}", run.stdout);
    assert!(run.stderr.contains("the connector answered spec, but then failed"), "{}", run.stderr);
}

#[test]
fn the_last_plain_line_of_stderr_is_the_reason() {
    for (script, want) in [
        ("no-such-tool", "exit code 127: "),
        ("echo 'usage: tap [-h]' >&2; exit 2", "exit code 2: usage: tap [-h]"),
        ("exit 254", "exit code 254 and gave no reason"),
        ("kill -9 $$", "killed by signal 9"),
    ] {
        let run = spec(&format!("command: {}\n", json!(["sh", "-c", script, "sh"])), &[]);
        let last = run.stderr.lines().last().unwrap_or_default();
        assert!(last.contains(want), "{script}: {}", run.stderr);
    }
}

#[test]
fn an_entrypoint_is_a_shell_string() {
    let entrypoint = format!("GREETING=\"{}\" sh -c 'echo \"$GREETING\"'", SPEC.replace('"', "\\\""));
    let run = spec("{}\n", &[("AIRBYTE_ENTRYPOINT", &entrypoint)]).ok();
    assert!(run.stdout.contains("configSchema"), "{}", run.stdout);
}

#[test]
fn an_ignored_sigchld_changes_nothing() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' CHLD; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_flow-shim"), "serve", "--"]);
    let mut child = command
        .args(["sh", "-c", &format!("echo '{SPEC}'")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"spec\":{}}\n").unwrap();
    let run = Run::from(child.wait_with_output().unwrap()).ok();
    assert!(run.stdout.contains("configSchema"), "{}", run.stdout);
}

/// The connector tells its port and leaves it to this process to listen there.
#[test]
fn a_config_is_not_sent_to_another_process_on_the_port() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("port");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let shim = ["--protocol", "fivetran", "--", "sh", "-c", "echo $2 >$0; sleep 600", pipe.to_str().unwrap()];
    let runtime = Runtime::shim(shim).config(json!({"api_key": "k3y"}));
    let listener = thread::spawn(move || {
        let port = fs::read_to_string(pipe).unwrap().trim().parse().unwrap();
        std::net::TcpListener::bind(("127.0.0.1", port)).unwrap()
    });
    let answer = runtime.ask_discover();
    let listener = listener.join().unwrap();
    assert!(answer.end.last_message().starts_with("another process listens on port"), "{}", answer.end.last_message());
    let mut received = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
    assert!(received.starts_with(b"PRI * HTTP/2.0") && !received.windows(3).any(|it| it == b"k3y"));
}
