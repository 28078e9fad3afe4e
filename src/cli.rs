//! The command line.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::builder;
use crate::demo;
use crate::error;
use crate::init;
use crate::inspect;
use crate::logging;
use crate::manual;
use crate::preview;
use crate::process::guard;
use crate::process::keeper;
use crate::process::launch::PIPE;
use crate::process::shutdown::Shutdown;
use crate::prove;
use crate::publish_kit;
use crate::serve;
use crate::session::{Session, baked};
use crate::settings::SourceArgs;
use crate::signin;
use crate::terminal;
use crate::tips;

/// Runs any Airbyte source, Singer tap or Fivetran connector as an Estuary Flow capture connector
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
  LOG_FORMAT=json     preview, inspect and prove log as serve does: for programs

Examples:
  flow-shim preview --shim shims/demo
  flow-shim inspect -- source-faker
  flow-shim prove --shim shims/demo
  flow-shim serve --image airbyte/source-postgres";

#[derive(Subcommand, Debug)]
enum Command {
    /// Speak Flow's capture protocol on stdin and stdout: what an image runs (the default)
    Serve(SourceArgs),
    /// Capture here, without Flow, and print the documents
    Preview(preview::Args),
    /// Show what becomes of a connector in Flow
    Inspect(inspect::Args),
    /// Show whether a connector loses data when it is killed, before it goes into production
    Prove(prove::Args),
    /// Write a shim of your own: a folder with all that makes a connector an image for Flow
    Init(init::Args),
    /// Write what it takes to publish a connector: an encrypted config, flow.yaml, and the commands
    PublishKit(publish_kit::Args),
    /// Store the connector's spec beside shim.yaml, so that Flow's runtime gets it without a start of the connector: for images
    Bake(SourceArgs),
    /// Sign in as Flow would, to try a shim's OAuth
    Oauth(signin::Args),
    /// Edit and try a low-code manifest in the browser, with Airbyte's API and Flow's view
    Builder(builder::Args),
    /// Print the completions for a shell: bash, zsh, fish, elvish or powershell
    Completions { shell: clap_complete::Shell },
    /// Print the man page
    Man,
    /// The source of shims/demo
    #[command(hide = true, disable_help_flag = true)]
    DemoSource {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    #[command(name = keeper::SUBCOMMAND, hide = true)]
    Keeper(keeper::Args),
}

/// Runs the command that the command line names.
pub fn run() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| tips::improve(error, &Cli::command()).exit());
    if cli.command.is_none() && std::env::args_os().len() == 1 && std::io::stdin().is_terminal() {
        // A person, not Flow's runtime.
        eprint!("{}", Cli::command().render_help());
        return ExitCode::from(2);
    }
    let done = match cli.command.unwrap_or(Command::Serve(cli.source)) {
        Command::Completions { shell } => manual::completions(shell, Cli::command(), &mut std::io::stdout()),
        Command::Man => manual::man(Cli::command(), &mut std::io::stdout()),
        Command::DemoSource { arguments } => return demo::run(arguments.into_iter()),
        Command::Keeper(args) => return ExitCode::from(keeper::run(args)),
        command => run_async(command),
    };
    let code = match done {
        Ok(code) => code,
        Err(failure) => ExitCode::from(error::report(&failure)),
    };
    logging::flush();
    code
}

/// Runs a command on the runtime, guarded: signals and the end of whoever reads its stdout request a shutdown.
fn run_async(command: Command) -> Result<ExitCode> {
    if let Command::Preview(args) = &command
        && let Some(level) = args.level()
    {
        logging::select_level(level);
    }
    logging::init();
    guard::reset_signals()?;
    guard::forbid_core_dumps();
    guard::adopt_orphans();
    let shutdown = Shutdown::default();
    // Unbuffered, past the standard library's line buffer.
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().context("can't use stdout")?;
    // A larger pipe wakes both ends less often.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE);
    let watched = stdout.try_clone().context("can't use stdout")?;
    guard::start(&shutdown, watched, || {
        terminal::echo::restore();
        logging::flush();
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_io().enable_time().build().context("can't start the async runtime")?;
    let stdout = File::from(stdout);
    let result = runtime.block_on(async {
        match command {
            Command::Serve(source) => serve_stdio(&source, &shutdown, stdout).await,
            Command::Preview(args) => Ok(preview::run(args, &shutdown, stdout).await),
            Command::Inspect(args) => Ok(inspect::run(&args, &shutdown, stdout).await),
            Command::Prove(args) => Ok(prove::run(args, &shutdown, stdout).await),
            Command::Init(args) => Ok(init::run(&args, &shutdown, stdout).await),
            Command::PublishKit(args) => Ok(publish_kit::run(args, &shutdown, stdout).await),
            Command::Bake(source) => bake(&source, &shutdown, stdout).await,
            Command::Builder(args) => Ok(builder::run(&args, &shutdown, stdout).await),
            Command::Oauth(args) => Ok(signin::run(&args, &shutdown, stdout).await),
            Command::Completions { .. } | Command::Man | Command::DemoSource { .. } | Command::Keeper(_) => {
                Ok(ExitCode::FAILURE)
            }
        }
    });
    runtime.shutdown_background();
    result
}

async fn serve_stdio(source: &SourceArgs, shutdown: &Shutdown, stdout: File) -> Result<ExitCode> {
    logging::warn_of_unknown_level();
    let mut session = Session::resolve(source, shutdown.clone())?;
    session.publisher.has_task = true;
    serve::serve(&session, std::io::stdin(), stdout).await.map(|()| ExitCode::SUCCESS)
}

async fn bake(source: &SourceArgs, shutdown: &Shutdown, mut stdout: File) -> Result<ExitCode> {
    logging::warn_of_unknown_level();
    let session = Session::resolve(source, shutdown.clone())?;
    let path = baked::write(&session).await?;
    writeln!(stdout, "the connector's spec is in {}", path.display()).context("can't write to stdout")?;
    Ok(ExitCode::SUCCESS)
}
