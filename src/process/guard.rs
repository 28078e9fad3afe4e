//! The guard: one thread that turns signals and a closed stdout into a shutdown request, and ends the process when the
//! shutdown's deadline has passed. It never logs and waits for nobody: every other thread may hang, in a write to a
//! stderr that nobody reads for example.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};

use super::shutdown::Shutdown;
use super::thread::NO_THREAD;
use crate::error::Reason;

/// What a process that has finished in time still needs to exit by itself.
const MARGIN: Duration = Duration::from_millis(300);

/// Makes what was inherited harmless: an ignored SIGCHLD would hide the exit of every child. What we execute gets the
/// default disposition again, as handlers do not survive `exec`.
pub fn reset_signals() -> Result<()> {
    signal_hook::flag::register(SIGCHLD, Arc::new(AtomicBool::new(false))).context("can't handle signals")?;
    Ok(())
}

/// Makes this process the parent of whatever a killed keeper leaves behind. Best effort: a sandbox may forbid it.
pub fn adopt_orphans() {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Keeps secrets in memory out of core files. The limit is inherited by the connector; the flag is not.
pub fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit};
    let mut limit = getrlimit(Resource::Core);
    limit.current = Some(0);
    // Best effort: a sandbox may forbid either.
    let _ = setrlimit(Resource::Core, limit);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Starts the guard. `stdout` is what Flow reads; `last_words` runs before the guard ends the process.
pub fn start(shutdown: &Shutdown, stdout: OwnedFd, last_words: fn()) -> Result<()> {
    let listen = |signal| -> std::io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal, theirs)?;
        Ok(ours)
    };
    let failed = "can't listen for signals";
    let signals =
        [(Reason::Terminate, listen(SIGTERM).context(failed)?), (Reason::Interrupt, listen(SIGINT).context(failed)?)];
    let shutdown = shutdown.clone();
    let watch = move || {
        let reason = watch(&shutdown, &signals, stdout.as_fd());
        last_words();
        let _ = std::io::stdout().lock().flush();
        // The keeper ends the connector and removes its files.
        std::process::exit(reason.exit_code().into());
    };
    thread::Builder::new().name("guard".to_owned()).spawn(watch).context(NO_THREAD)?;
    Ok(())
}

/// Returns when the process has to end now: at a second signal, or at the deadline.
fn watch(shutdown: &Shutdown, signals: &[(Reason, UnixStream); 2], stdout: BorrowedFd) -> Reason {
    let mut is_open = true;
    loop {
        let mut fds: Vec<PollFd> = signals.iter().map(|(_, it)| PollFd::new(it, PollFlags::IN)).collect();
        if is_open {
            fds.push(PollFd::from_borrowed_fd(stdout, PollFlags::empty()));
        }
        let left = shutdown.deadline().map_or(LOOK, |it| (it + MARGIN).saturating_duration_since(Instant::now()));
        let timeout = Timespec::try_from(left.min(LOOK)).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let _ = poll(&mut fds, Some(&timeout));
        let is_closed = fds.get(2).is_some_and(|it| it.revents().intersects(PollFlags::ERR | PollFlags::HUP));
        if is_closed {
            is_open = false;
            shutdown.request(Reason::OutputClosed);
        }
        for (reason, pipe) in signals {
            let mut bytes = [0; 64];
            let mut pipe: &UnixStream = pipe;
            let count = pipe.read(&mut bytes).unwrap_or(0);
            // The second signal ends the process at once, also if both come together.
            if count > 1 || count > 0 && !shutdown.request(*reason) {
                return *reason;
            }
        }
        if let (Some(reason), Some(deadline)) = (shutdown.reason(), shutdown.deadline())
            && deadline + MARGIN <= Instant::now()
        {
            return reason;
        }
    }
}

/// How often the guard looks whether somebody else requested the shutdown.
const LOOK: Duration = Duration::from_secs(1);
