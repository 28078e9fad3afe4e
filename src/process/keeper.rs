//! The keeper: a process between the shim and a connector that makes sure nothing of the connector stays behind.
//!
//! Its stdin is a socket to the shim. On it comes the connector's command, and goes back its exit code. It is the
//! lifeline as well: it closes when the shim ends, however that dies. The keeper then kills all that the connector has
//! started, removes the private folder, and follows. As a subreaper it inherits every orphan, so that daemons and new
//! sessions do not get away. A process killed with SIGKILL can do none of this itself.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait};

/// The hidden subcommand that runs a keeper.
pub const SUBCOMMAND: &str = "keeper";

/// How long a connector's worker processes may outlive it.
const GRACE: Duration = Duration::from_secs(1);

/// What a shell says of a command that can't be started.
const NOT_STARTED: u8 = 127;

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
    // Without it orphans go to init instead: the connector's own group is still killed.
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
    if let Ok(socket) = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) {
        let _ = keep(socket);
    }
    clean_up(&args);
    0
}

/// Returns when the socket has closed and nothing of the connector is left.
fn keep(mut socket: UnixStream) -> std::io::Result<()> {
    let mut lifeline = BufReader::new(socket.try_clone()?);
    let mut line = Vec::new();
    if lifeline.read_until(b'\n', &mut line)? == 0 {
        return Ok(());
    }
    let command: Vec<String> = serde_json::from_slice(&line)?;
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let spawned = Command::new(program).args(arguments).stdin(Stdio::null()).process_group(0).spawn();
    if let Err(error) = &spawned {
        eprintln!("ERROR can't start `{program}`: {error}");
    }
    let connector = spawned.ok().and_then(|it| Pid::from_raw(it.id() as i32));
    let_go_of_the_pipes();
    std::thread::spawn(move || {
        if let Some(connector) = connector {
            pass_signals_on(connector);
        }
        let code = connector.map_or(NOT_STARTED, reap);
        let _ = socket.write_all(&[code]);
    });
    let _ = lifeline.read_to_end(&mut Vec::new());
    kill_all(connector);
    Ok(())
}

fn clean_up(args: &Args) {
    if let [engine, name] = args.container.as_slice() {
        let mut remove = Command::new(engine);
        remove.args(["rm", "--force", name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = remove.status();
    }
    let _ = std::fs::remove_dir_all(&args.folder);
}

/// The connector's pipes end with the connector, not with us.
fn let_go_of_the_pipes() {
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// What asks us to stop asks the connector and its group.
fn pass_signals_on(connector: Pid) {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]) else { return };
    std::thread::spawn(move || {
        for _ in signals.forever() {
            let _ = kill_process_group(connector, Signal::TERM);
        }
    });
}

/// Waits for the connector and then, for a moment, for what it left behind.
fn reap(connector: Pid) -> u8 {
    let mut exit = None;
    loop {
        match (wait(if exit.is_some() { WaitOptions::NOHANG } else { WaitOptions::empty() }), exit) {
            (Ok(Some((pid, status))), _) if pid == connector => exit = Some((exit_code(status), Instant::now())),
            (Ok(Some(_)), _) | (Err(Errno::INTR), _) => {}
            (Ok(None), Some((_, since))) => {
                if since.elapsed() > GRACE {
                    kill_all(Some(connector));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            (Ok(None), None) => {}
            (Err(_), exit) => return exit.map_or(NOT_STARTED, |(code, _)| code),
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Kills until nothing is left: what is killed may have just started another.
fn kill_all(connector: Option<Pid>) {
    if let Some(connector) = connector {
        let _ = kill_process_group(connector, Signal::KILL);
    }
    loop {
        let left = descendants();
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All living processes that descend from this one.
fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in parentheses may hold anything; what follows its end is: state, parent.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let mut rest = rest.split_whitespace();
        if let (Some(state), Some(Ok(parent))) = (rest.next(), rest.next().map(str::parse))
            && state != "Z"
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![getpid().as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let below = children.remove(parent).unwrap_or_default();
        found.extend(below);
        next += 1;
    }
    found.drain(1..).filter_map(Pid::from_raw).collect()
}
