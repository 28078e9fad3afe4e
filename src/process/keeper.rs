//! The keeper: a process between the shim and a connector that makes sure nothing of the connector stays behind.
//!
//! Its stdin is a lifeline. It ends when the shim does, however that dies; the keeper then kills all that the
//! connector has started, removes the private folder, and follows. As a subreaper it inherits every orphan, so that
//! daemons and new sessions do not get away. A process killed with SIGKILL can do none of this itself.

use std::collections::HashMap;
use std::io::Read;
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

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The private folder to remove
    #[arg(long)]
    folder: Option<PathBuf>,
    /// The container to remove, and the engine that knows it
    #[arg(long, num_args = 2, value_names = ["ENGINE", "NAME"])]
    container: Vec<String>,
    /// The connector
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the connector to its end and gives its exit code; 128 + N where signal N ended it.
pub fn run(args: Args) -> u8 {
    let Some((program, arguments)) = args.command.split_first() else { return 127 };
    // Without it orphans go to init instead: the connector's own group is still killed.
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
    let spawned = Command::new(program).args(arguments).stdin(Stdio::null()).process_group(0).spawn();
    let connector = match spawned.map(|it| Pid::from_raw(it.id() as i32)) {
        Ok(Some(pid)) => pid,
        Ok(None) => return 127,
        Err(error) => {
            eprintln!("ERROR can't start `{program}`: {error}");
            return 127;
        }
    };
    let_go_of_the_pipes();
    pass_signals_on(connector);
    end_with_the_lifeline(connector, args.folder, args.container);
    reap(connector)
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

fn end_with_the_lifeline(connector: Pid, folder: Option<PathBuf>, container: Vec<String>) {
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        kill_all(connector);
        if let [engine, name] = container.as_slice() {
            let _ = Command::new(engine)
                .args(["rm", "--force", name])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
        if let Some(folder) = folder {
            let _ = std::fs::remove_dir_all(folder);
        }
        std::process::exit(128 + Signal::KILL.as_raw());
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
                    kill_all(connector);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            (Ok(None), None) => {}
            (Err(_), exit) => return exit.map_or(127, |(code, _)| code),
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Kills until nothing is left: what is killed may have just started another.
fn kill_all(connector: Pid) {
    let _ = kill_process_group(connector, Signal::KILL);
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
