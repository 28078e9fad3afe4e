//! How a connector is started: as a command of this machine, or as a container.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::Errno;
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tracing::debug;

use super::container::{self, Container};
use super::files::{Files, KeeperHandle};
use super::keeper;
use super::kept::{Copy, KeptFiles};
use super::private::{self, FileAccess, Folder};
use super::program::{self, OURSELVES};
use super::shutdown::Shutdown;
use super::supervise::{Connector, Pipes};

/// As much as an unprivileged process may have in a pipe.
pub const PIPE: usize = 1024 * 1024;

/// Where a source puts the files that it transfers (A14). It deletes none of them, and without this variable they are in
/// a directory of all its runs. A user who sets it keeps them.
const STAGING: &str = "AIRBYTE_STAGING_DIRECTORY";

#[derive(Clone)]
pub struct Launcher {
    pub target: Target,
    pub env: Vec<(String, String)>,
    /// How long a connector may be silent.
    pub idle_timeout: Duration,
    pub shutdown: Shutdown,
    pub rotated: RotatedConfig,
    /// Where the files that connectors get are copied to.
    pub kept: Option<Arc<KeptFiles>>,
}

/// A config the connector rewrote during check or discover: usually a rotated token. It is kept here whether the command
/// succeeded or not.
#[derive(Clone, Default)]
pub struct RotatedConfig(Arc<Mutex<Option<Box<RawValue>>>>);

impl RotatedConfig {
    pub fn leave(&self, config: Box<RawValue>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }

    pub fn take(&self) -> Option<Box<RawValue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Program and arguments, to which those of the protocol are added.
    Command(Vec<String>),
    /// The image of a container whose entrypoint is the connector.
    Image(String),
}

impl Launcher {
    /// Prepares a run of the connector: a private folder for its files, and a keeper that will remove the folder.
    pub async fn prepare(&self) -> Result<Prepared> {
        self.prepare_with(None).await
    }

    /// The same for a connector that is a server: in a container it is going to listen on this port.
    pub async fn prepare_to_serve(&self, port: u16) -> Result<Prepared> {
        self.prepare_with(Some(port)).await
    }

    async fn prepare_with(&self, port: Option<u16>) -> Result<Prepared> {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(private::sweep);
        let access = match self.target {
            Target::Command(_) => FileAccess::OwnUser,
            Target::Image(_) => FileAccess::Container,
        };
        let (command, engine) = match &self.target {
            Target::Command(command) => (program::find(command)?, None),
            Target::Image(_) => (Vec::new(), Some(container::engine(&self.shutdown).await?)),
        };
        let folder =
            Folder::new(access).context("can't make a private folder for the connector's files (set TMPDIR)")?;
        let container = engine.map(|engine| Container { engine, name: container_name(&folder) });
        let command = match (&container, &self.target) {
            (Some(container), Target::Image(image)) => self.container_command(container, image, &folder, port),
            _ => command,
        };
        let (keeper, pipes) = self.start_keeper(&folder, container.as_ref()).map_err(keeper_failed)?;
        let (files, kept) = (Files::new(folder, keeper), self.kept.clone());
        Ok(Prepared { command, files, pipes, container, kept, copies: Vec::new() })
    }

    fn container_command(&self, container: &Container, image: &str, folder: &Folder, port: Option<u16>) -> Vec<String> {
        let Container { engine, name } = container;
        let mut command: Vec<String> =
            [engine, "run", "--rm", "--name", name, "--volume", &folder.volume()].map(str::to_owned).into();
        if container::has_init(engine) {
            // As the first process of its container a source would hear SIGTERM only if it listens for it.
            command.push("--init".to_owned());
        }
        // The engine chooses a port of this machine, so no other process can have it.
        command.extend(port.map(|it| format!("--publish=127.0.0.1::{it}")));
        // Names only: values must not appear in an argv.
        command.extend(self.env.iter().map(|(name, _)| format!("--env={name}")));
        command.push(image.to_owned());
        command
    }

    fn start_keeper(&self, folder: &Folder, container: Option<&Container>) -> io::Result<(KeeperHandle, Pipes)> {
        let (ours, theirs) = UnixStream::pair()?;
        let (stdout, keeper_stdout) = io::pipe()?;
        let (stderr, keeper_stderr) = io::pipe()?;
        // Fewer, larger reads; a smaller pipe works as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE);
        let mut command = Command::new(OURSELVES);
        command.arg0("flow-shim").arg(keeper::SUBCOMMAND).arg("--folder").arg(folder.root());
        if let Some(Container { engine, name }) = container {
            command.args(["--container", engine, name]);
        }
        if let Some(scratch) = folder.scratch() {
            if std::env::var_os(STAGING).is_none() {
                command.env(STAGING, &scratch);
            }
            command.env("TMPDIR", scratch);
        }
        command
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(OwnedFd::from(theirs))
            .stdout(keeper_stdout)
            .stderr(keeper_stderr)
            .process_group(0);
        let child = tokio::process::Command::from(command).spawn()?;
        let pipes = Pipes { stdout: OwnedFd::from(stdout).into(), stderr: OwnedFd::from(stderr).into() };
        Ok((KeeperHandle::new(child, ours)?, pipes))
    }
}

fn keeper_failed(error: io::Error) -> anyhow::Error {
    let what = "can't start the connector's keeper process";
    match error.kind() {
        io::ErrorKind::NotFound if !Path::new(OURSELVES).exists() => {
            anyhow::anyhow!("{what}: {OURSELVES} does not exist; mount /proc (`mount -t proc proc /proc`)")
        }
        io::ErrorKind::WouldBlock => {
            anyhow::anyhow!("{what}: {error} (raise the limit on processes: `ulimit -u`, or the container's PIDs)")
        }
        _ if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            anyhow::anyhow!("{what}: {error} (raise the limit on open files: `ulimit -n`)")
        }
        _ => anyhow::Error::new(error).context(what),
    }
}

/// A connector that is about to be started.
pub struct Prepared {
    command: Vec<String>,
    files: Files,
    pipes: Pipes,
    /// Where the connector will run, if that is a container.
    pub container: Option<Container>,
    kept: Option<Arc<KeptFiles>>,
    /// The files that are to be kept.
    copies: Vec<Copy>,
}

impl Prepared {
    /// Writes a private file and gives its path as the connector sees it.
    pub fn write(&mut self, name: &str, content: &str) -> Result<String> {
        let path = self.files.write(name, content).context("can't write the connector's files")?;
        if self.kept.is_some() {
            let (name, content) = (name.to_owned(), content.to_owned());
            self.copies.push(Copy { name, content, path: path.clone() });
        }
        Ok(path)
    }

    /// Makes a named pipe, and gives its path and our end. The connector may open its own end at any time.
    pub fn pipe(&self, name: &str) -> Result<(String, pipe::Sender)> {
        let failed = "can't make a pipe to the connector";
        let path = self.files.make_pipe(name).context(failed)?;
        // For reading as well: else it could not be opened before the connector has.
        let sender = pipe::OpenOptions::new().read_write(true).open_sender(&path).context(failed)?;
        Ok((path.to_string_lossy().into_owned(), sender))
    }

    /// Starts the connector with these arguments behind its own.
    pub async fn start(mut self, arguments: Vec<String>) -> Result<Connector> {
        self.command.extend(arguments);
        let words = shell_words::join(&self.command);
        debug!("running {words}");
        if let Some(kept) = &self.kept {
            kept.keep(words, &self.copies).context("can't keep the connector's files")?;
        }
        let command = serde_json::to_string(&self.command).context("can't start the connector")? + "\n";
        self.files.keeper.requests.write_all(command.as_bytes()).await.context("can't start the connector")?;
        let program = self.command.swap_remove(0);
        Ok(Connector::new(program, self.files, self.pipes))
    }
}

/// As unique as the private folder is.
fn container_name(folder: &Folder) -> String {
    let name = folder.root().file_name().unwrap_or_default().to_string_lossy();
    name.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').collect()
}

/// A duration as shim.yaml has it: `90s`, `15m`, `1h`.
pub fn in_words(duration: Duration) -> String {
    match duration.as_secs() {
        it if it > 0 && it % 3600 == 0 => format!("{}h", it / 3600),
        it if it > 0 && it % 60 == 0 => format!("{}m", it / 60),
        it => format!("{it}s"),
    }
}
