//! The command line.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;

use clap::{Parser, Subcommand};
use rustix::event::{PollFd, PollFlags, poll};

use crate::demo;
use crate::error;
use crate::error::Reason;
use crate::init;
use crate::inspect;
use crate::logging;
use crate::preview;
use crate::process::keeper;
use crate::process::launch::PIPE;
use crate::process::shutdown::Stop;
use crate::serve;
use crate::shim::{Shim, SourceArgs};
use crate::signin;
use crate::terminal;

/// Runs any Airbyte source or Singer tap as an Estuary Flow capture connector
#[derive(Parser, Debug)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 110, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: SourceArgs,
}

const HELP: &str = "\
The source is found by itself, in this order: the arguments, ./shim.yaml, the environment variable AIRBYTE_ENTRYPOINT.

Environment:
  AIRBYTE_ENTRYPOINT  The connector's command, as Airbyte's images have it
  LOG_LEVEL           trace, debug, info, warn or error [default: info]
  LOG_FORMAT=json     preview and inspect log as serve does: for programs

Examples:
  flow-shim preview --shim shims/demo
  flow-shim inspect -- source-faker
  flow-shim serve --image airbyte/source-postgres";

#[derive(Subcommand, Debug)]
enum Command {
    /// Speak Flow's capture protocol on stdin and stdout: what an image runs (the default)
    Serve(SourceArgs),
    /// Capture here, without Flow, and print the documents
    Preview(preview::Args),
    /// Show what becomes of a connector in Flow
    Inspect(inspect::Args),
    /// Write a shim of your own: a folder with all that makes a connector an image for Flow
    Init(init::Args),
    /// Sign in as Flow would, to try a shim's OAuth
    Oauth(signin::Args),
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
        Command::Serve(source) => on_stdout(|stop, stdout| serve_stdio(&source, stop, stdout)),
        Command::Preview(args) => on_stdout(|stop, stdout| Ok(preview::run(&args, stop, stdout))),
        Command::Inspect(args) => on_stdout(|stop, stdout| Ok(inspect::run(&args, stop, stdout))),
        Command::Init(args) => on_stdout(|stop, stdout| Ok(init::run(&args, stop, stdout))),
        Command::Oauth(args) => on_stdout(|stop, stdout| Ok(signin::run(&args, stop, stdout))),
        Command::DemoSource { arguments } => return demo::run(arguments.into_iter()),
        Command::Keeper(args) => return ExitCode::from(keeper::run(args)),
    };
    let code = match done {
        Ok(code) => code,
        Err(failure) => ExitCode::from(error::report(&failure)),
    };
    logging::flush();
    code
}

/// Gives what stops a command: signals, and the end of whoever reads its stdout.
fn on_stdout(command: impl FnOnce(&Stop, File) -> Result<ExitCode>) -> Result<ExitCode> {
    logging::init();
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    // Unbuffered, past the standard library's line buffer.
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().context("can't use stdout")?;
    // Where it is a pipe, a larger one wakes both ends less often.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE);
    let watched = stdout.try_clone().context("can't use stdout")?;
    let watching = stop.clone();
    thread::spawn(move || stop_when_closed(watched, &watching));
    command(&stop, File::from(stdout))
}

fn serve_stdio(source: &SourceArgs, stop: &Stop, stdout: File) -> Result<ExitCode> {
    let shim = Shim::resolve(source, stop.clone())?;
    serve::serve(&shim, std::io::stdin(), stdout).map(|()| ExitCode::SUCCESS)
}

/// SIGTERM and SIGINT ask for an end; a second one does not wait for it.
fn stop_on_signals(stop: &Stop) -> Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).context("can't listen for signals")?;
    let stop = stop.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            let reason = if signal == SIGINT { Reason::Interrupt } else { Reason::Terminate };
            if !stop.request(reason) {
                terminal::echo::restore();
                logging::flush();
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
