//! The command line.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;

use clap::{Parser, Subcommand};
use rustix::event::{PollFd, PollFlags, poll};

use crate::demo;
use crate::failure::{Failure, OrFail};
use crate::process::keeper;
use crate::process::launch::PIPE;
use crate::process::stop::{Reason, Stop};
use crate::serve;
use crate::shim::{Shim, SourceArgs};

/// Runs any Airbyte source or Singer tap as an Estuary Flow capture connector
#[derive(Parser, Debug)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Speak Flow's capture protocol on stdin and stdout (what an image's ENTRYPOINT runs; the default)
    Serve(SourceArgs),
    /// The source of shims/demo
    #[command(hide = true, disable_help_flag = true)]
    DemoSource {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    #[command(name = keeper::SUBCOMMAND, hide = true)]
    Keeper(keeper::Args),
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Serve(cli.source)) {
        Command::Serve(source) => serve_stdio(&source),
        Command::DemoSource { arguments } => return demo::run(arguments.into_iter()),
        Command::Keeper(args) => return ExitCode::from(keeper::run(args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.report()),
    }
}

fn serve_stdio(source: &SourceArgs) -> Result<(), Failure> {
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let shim = Shim::resolve(source, stop.clone())?;
    // Unbuffered, past the standard library's line buffer.
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().or_fail("can't use stdout")?;
    // Where it is a pipe, a larger one wakes both ends less often.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE);
    let watched = stdout.try_clone().or_fail("can't use stdout")?;
    thread::spawn(move || stop_when_closed(watched, &stop));
    serve::serve(&shim, std::io::stdin(), std::fs::File::from(stdout))
}

/// SIGTERM and SIGINT ask for an end; a second one does not wait for it.
fn stop_on_signals(stop: &Stop) -> Result<(), Failure> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).or_fail("can't listen for signals")?;
    let stop = stop.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            let reason = if signal == SIGINT { Reason::Interrupt } else { Reason::Terminate };
            if !stop.request(reason) {
                // The keeper ends the connector and removes what we leave.
                std::process::exit(reason.exit_code().into());
            }
        }
    });
    Ok(())
}

/// Sees that nobody reads our responses any more while there is nothing to write.
fn stop_when_closed(stdout: impl AsFd, stop: &Stop) {
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
    if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
        stop.request(Reason::OutputClosed);
    }
}
