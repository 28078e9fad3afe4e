//! The keeper: a small process between the shim and a connector. It makes sure that nothing of the connector stays
//! behind, however the shim dies: a process that is killed with SIGKILL cannot clean up itself.
//!
//! Its stdin is a socket to the shim, which carries the connector's command, then `stop` requests, and [`Report`]s in
//! the other direction. The socket closes when the shim ends. The keeper then kills everything that the connector
//! started, removes the private folder and exits. As a subreaper it inherits orphaned descendants, so that daemons and
//! new sessions do not escape. The connector dies with the keeper, by its parent-death signal.
//!
//! It has one thread and no runtime: it must start fast and work where no thread can be started.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process_group, wait};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use super::descendants::{Descendants, MARK, mark};
use super::guard;
use super::null;
use super::private;

/// The hidden subcommand that runs a keeper.
pub const SUBCOMMAND: &str = "keeper";

/// The request that the connector be asked to stop.
pub const STOP: &[u8] = b"stop\n";

/// How long a connector's worker processes may outlive it.
const GRACE: Duration = Duration::from_secs(1);

/// How long a container engine may take to remove a container.
const REMOVE: Duration = Duration::from_secs(3);

/// What the keeper tells the shim: one JSON value per line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// The connector's process id.
    Started(i32),
    /// The connector could not be started: the error's number.
    NotStarted(i32),
    /// The connector exited by itself with this code.
    Exited(i32),
    /// The connector was ended by this signal.
    Killed(i32),
    /// Processes of the connector that do not end.
    Unkillable(Vec<i32>),
    /// What could not be removed from the private folder.
    NotRemoved(String),
}

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The private folder to remove
    #[arg(long)]
    folder: PathBuf,
    /// The container to remove, and the engine that knows it
    #[arg(long, num_args = 2, value_names = ["ENGINE", "NAME"])]
    container: Vec<String>,
}

/// Runs the connector that the socket names, and stays until the shim has ended.
pub fn run(args: Args) -> u8 {
    guard::forbid_core_dumps();
    // Held until this process ends: the folder is in use.
    let _lock = private::hold(&args.folder);
    // Without a subreaper orphans go to init instead; they are then recognised by their environment.
    let is_subreaper = rustix::process::set_child_subreaper(Some(getpid())).is_ok();
    let descendants = Descendants::new((!is_subreaper).then(|| mark(&args.folder)));
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    // Before the connector exists: a signal that ended the keeper now would leave the connector alone.
    if let (Ok(socket), Ok(exits)) = (socket, take_signals()) {
        let mut keeper = Keeper { socket, exits, descendants, connector: None };
        let _ = keeper.run(&args);
        keeper.clean_up(&args);
    } else {
        let _ = private::remove(&args.folder);
    }
    0
}

/// Takes over the signals: those that ask to stop come over the socket, and SIGCHLD makes the returned pipe readable.
fn take_signals() -> io::Result<UnixStream> {
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        // A handler, as an ignored signal would stay ignored in the connector.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let (exits, theirs) = UnixStream::pair()?;
    exits.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGCHLD, theirs)?;
    Ok(exits)
}

struct Keeper {
    socket: UnixStream,
    /// Readable when a child has ended.
    exits: UnixStream,
    descendants: Descendants,
    connector: Option<Pid>,
}

impl Keeper {
    /// Returns when the shim has closed the socket.
    fn run(&mut self, args: &Args) -> io::Result<()> {
        let Some((command, mut requests)) = self.command()? else { return Ok(()) };
        let started = start(&command, args);
        null::replace_output();
        match started {
            Ok(connector) => {
                self.connector = Some(connector);
                self.report(&Report::Started(connector.as_raw_nonzero().get()));
            }
            Err(error) => self.report(&Report::NotStarted(error.raw_os_error().unwrap_or(0))),
        }
        let mut exit = None;
        let mut is_reported = self.connector.is_none();
        loop {
            if !is_reported {
                is_reported = self.reap(&mut exit);
            }
            if requests.windows(STOP.len()).any(|it| it == STOP) {
                requests.clear();
                self.signal_group(Signal::TERM);
            }
            // What the connector left behind has a moment to end; nothing else needs a look at the clock.
            let wait = (!is_reported && exit.is_some()).then_some(Timespec { tv_sec: 0, tv_nsec: 5_000_000 });
            if !self.wait_for_input(&mut requests, wait.as_ref())? {
                return Ok(());
            }
        }
    }

    /// The connector's command, and what was read behind it; none if the shim ended before it sent one.
    fn command(&mut self) -> io::Result<Option<(Vec<String>, Vec<u8>)>> {
        let mut read = Vec::new();
        loop {
            if let Some(end) = read.iter().position(|it| *it == b'\n') {
                let rest = read.split_off(end + 1);
                return Ok(Some((serde_json::from_slice(&read)?, rest)));
            }
            if !self.wait_for_input(&mut read, None)? {
                return Ok(None);
            }
        }
    }

    /// Waits until the shim has sent something, a child has ended, or the time is over; false if the shim has ended.
    fn wait_for_input(&mut self, input: &mut Vec<u8>, timeout: Option<&Timespec>) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.exits, PollFlags::IN)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has_input = !fds[0].revents().is_empty();
        let mut bytes = [0; 4096];
        while self.exits.read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        if !has_input {
            return Ok(true);
        }
        match self.socket.read(&mut bytes) {
            Ok(0) => Ok(false),
            Ok(count) => {
                input.extend_from_slice(&bytes[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Collects children that have ended. True once the connector and everything it left behind is gone and its exit
    /// was reported.
    fn reap(&mut self, exit: &mut Option<(Report, Instant)>) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if Some(pid) == self.connector => {
                    *exit = Some((exit_report(status), Instant::now()));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => {
                    if self.descendants.is_empty_without_children() {
                        // Without an exit of the connector somebody else has collected it: never seen.
                        let report = exit.take().map_or(Report::Killed(0), |(report, _)| report);
                        self.report(&report);
                        return true;
                    }
                    break;
                }
            }
        }
        if exit.as_ref().is_some_and(|(_, since)| since.elapsed() > GRACE) {
            self.kill_all();
            if let Some((report, _)) = exit.take() {
                self.report(&report);
            }
            return true;
        }
        false
    }

    /// Kills everything that the connector started, and reports what does not end.
    fn kill_all(&self) {
        self.signal_group(Signal::KILL);
        let left = self.descendants.kill();
        if !left.is_empty() {
            self.report(&Report::Unkillable(left.iter().map(|it| it.as_raw_nonzero().get()).collect()));
        }
    }

    fn signal_group(&self, signal: Signal) {
        if let Some(connector) = self.connector {
            let _ = kill_process_group(connector, signal);
        }
    }

    fn clean_up(&self, args: &Args) {
        // The container first, while the engine's own processes are alive to see it end.
        if let [engine, name] = args.container.as_slice() {
            remove_container(engine, name);
        }
        self.kill_all();
        collect_children();
        if let Err(error) = private::remove(&args.folder) {
            self.report(&Report::NotRemoved(error.to_string()));
        }
    }

    fn report(&self, report: &Report) {
        if let Ok(mut line) = serde_json::to_vec(report) {
            line.push(b'\n');
            // The shim may have ended.
            let _ = (&self.socket).write_all(&line);
        }
    }
}

/// Collects the children that were killed: they would stay with the shim as zombies, and a shim may run for long. One of several
/// threads looks like a zombie before the last of them has ended, and can only be collected then.
fn collect_children() {
    let deadline = Instant::now() + GRACE;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            Ok(None) | Err(_) => return,
        }
    }
}

fn start(command: &[String], args: &Args) -> io::Result<Pid> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).env(MARK, &args.folder).stdin(null::stdio()?).process_group(0);
    die_with_parent(&mut command);
    let child = command.spawn()?;
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Makes the kernel kill the command's process when the calling thread ends, however it does.
fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let prepare = move || {
        // A sandbox may forbid it: the keeper's own end is then the only one that is not covered.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        // The parent may have ended before the signal was set.
        if getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec only async-signal-safe functions may run. `prepare` makes two system calls, and
    // neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(prepare);
    }
}

fn exit_report(status: WaitStatus) -> Report {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Report::Exited(code),
        (None, signal) => Report::Killed(signal.unwrap_or(0)),
    }
}

/// Removes a container that the engine's client may have left running.
fn remove_container(engine: &str, name: &str) {
    let mut remove = Command::new(engine);
    remove.args(["rm", "--force"]);
    if Path::new(engine).file_name().is_some_and(|it| it == "podman") {
        // podman gives the container's program ten seconds to end; docker kills it at once.
        remove.args(["--time", "0"]);
    }
    remove.arg(name).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let Ok(stdin) = null::stdio() else { return };
    let Ok(mut child) = remove.stdin(stdin).spawn() else { return };
    let deadline = Instant::now() + REMOVE;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.try_wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    /// A shell that starts a child, tells the child's pid, and waits.
    fn parent_of(mut command: Command) -> (std::process::Child, i32) {
        command.args(["-c", "echo $$; exec sleep 100"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().parse().unwrap())
    }

    #[test]
    fn a_connector_dies_with_the_thread_that_started_it() {
        let (send, receive) = std::sync::mpsc::channel();
        let starter = std::thread::spawn(move || {
            let mut command = Command::new("sh");
            die_with_parent(&mut command);
            send.send(parent_of(command)).unwrap();
        });
        starter.join().unwrap();
        let (mut child, pid) = receive.recv().unwrap();
        assert_eq!(i32::try_from(child.id()).unwrap(), pid);
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn reports_pass_the_socket_as_they_are() {
        for report in [
            Report::Started(7),
            Report::NotStarted(2),
            Report::Exited(255),
            Report::Killed(9),
            Report::Unkillable(vec![1, 2]),
            Report::NotRemoved("x\ny".to_owned()),
        ] {
            let line = serde_json::to_string(&report).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
        }
    }
}
