//! How a connector is started: as a command of this machine, or as a container.

use anyhow::{Context, Result, anyhow};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;

use super::keeper;
use super::private::{FileAccess, Folder};
use super::shutdown::Stop;
use super::supervise::Connector;

/// This binary, whatever path it has or once had.
const OURSELVES: &str = "/proc/self/exe";

/// As much as an unprivileged process may have in a pipe.
pub const PIPE: usize = 1024 * 1024;

#[derive(Clone)]
pub struct Launcher {
    pub target: Target,
    pub env: Vec<(String, String)>,
    pub stop: Stop,
    pub rotated: RotatedConfig,
}

/// The config of a connector that has changed it while it did something else: a rotated token, mostly. It is left here
/// whether that went well or not.
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
    /// Makes ready for a connector: a private folder for its files, and a keeper that will remove it.
    pub fn prepare(&self) -> Result<Prepared> {
        let access = match self.target {
            Target::Command(_) => FileAccess::OwnUser,
            Target::Image(_) => FileAccess::Container,
        };
        let folder =
            Folder::new(access).context("can't make a private folder for the connector's files (set TMPDIR)")?;
        let (command, container) = match &self.target {
            Target::Command(command) => (find_command(command)?, None),
            Target::Image(image) => {
                let container = Container { engine: container_engine()?, name: container_name(&folder) };
                (self.container_command(&container, image, &folder), Some(container))
            }
        };
        let keeper = self.start_keeper(&folder, container.as_ref()).context("can't start the connector's keeper")?;
        Ok(Prepared { command, files: Files { folder, keeper } })
    }

    fn container_command(&self, container: &Container, image: &str, folder: &Folder) -> Vec<String> {
        let Container { engine, name } = container;
        let mut command: Vec<String> =
            [engine, "run", "--rm", "--name", name, "--volume", &folder.volume()].map(str::to_owned).into();
        if has_init(engine) {
            // As the first process of its container a source would hear SIGTERM only if it listens for it.
            command.push("--init".to_owned());
        }
        // Names only: what the variables hold is nobody's business in an argv.
        command.extend(self.env.iter().map(|(name, _)| format!("--env={name}")));
        command.push(image.to_owned());
        command
    }

    fn start_keeper(&self, folder: &Folder, container: Option<&Container>) -> io::Result<Keeper> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(OURSELVES);
        command.arg0("flow-shim").arg(keeper::SUBCOMMAND).arg("--folder").arg(folder.root());
        if let Some(Container { engine, name }) = container {
            command.args(["--container", engine, name]);
        }
        if let Some(scratch) = folder.scratch() {
            command.env("TMPDIR", scratch);
        }
        command
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = command.spawn()?;
        if let Some(stdout) = &child.stdout {
            // Fewer, larger reads; a smaller pipe works as well.
            let _ = rustix::pipe::fcntl_setpipe_size(stdout, PIPE);
        }
        Ok(Keeper { child, socket: ours })
    }
}

struct Container {
    engine: String,
    name: String,
}

/// A connector that is about to be started.
pub struct Prepared {
    command: Vec<String>,
    files: Files,
}

impl Prepared {
    /// Writes a private file and gives its path as the connector sees it.
    pub fn write(&self, name: &str, content: &str) -> Result<String> {
        self.files.folder.write(name, content.as_bytes()).context("can't write the connector's files")
    }

    /// Starts the connector with these arguments behind its own.
    pub fn start(mut self, arguments: Vec<String>) -> Result<Connector> {
        self.command.extend(arguments);
        let command = serde_json::to_string(&self.command).context("can't start the connector")? + "\n";
        self.files.keeper.socket.write_all(command.as_bytes()).context("can't start the connector")?;
        Ok(Connector::new(self.files))
    }
}

/// A connector's private files, and the keeper that removes them, should the shim be killed before it does.
pub struct Files {
    folder: Folder,
    pub(super) keeper: Keeper,
}

impl Files {
    /// What a file holds now: a connector may rewrite its config (A17, S11).
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.folder.read(name)
    }
}

/// The keeper of a connector; it ends with this value.
pub struct Keeper {
    pub(super) child: Child,
    pub(super) socket: UnixStream,
}

impl Keeper {
    /// Has everything killed that the connector has started.
    pub(super) fn shutdown(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shutdown();
        let _ = self.child.wait();
    }
}

/// The command with the file to execute, looked up here because a keeper could only tell by an exit code that there is
/// none. A command named `flow-shim` is this binary itself.
fn find_command(command: &[String]) -> Result<Vec<String>> {
    let (program, arguments) = command.split_first().ok_or_else(|| anyhow!("the connector's command is empty"))?;
    let found = match program.as_str() {
        "flow-shim" => Some(OURSELVES.to_owned()),
        path if path.contains('/') => Path::new(path).exists().then(|| path.to_owned()),
        name => search_path(name),
    };
    let program = found
        .ok_or_else(|| anyhow!("there is no program `{program}`: install the connector, or correct its command"))?;
    Ok(std::iter::once(program).chain(arguments.iter().cloned()).collect())
}

/// The file of a program in PATH.
pub fn search_path(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let file = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())?;
    file.into_os_string().into_string().ok()
}

/// docker or podman; of both, the one that works: a docker client may be there without a daemon.
pub fn container_engine() -> Result<String> {
    let (docker, podman) = (search_path("docker"), search_path("podman"));
    let engine = match podman {
        Some(podman) => docker.filter(|it| has_daemon(it)).or(Some(podman)),
        None => docker,
    };
    engine.ok_or_else(|| anyhow!("an image needs docker or podman: neither is in PATH"))
}

fn has_daemon(docker: &str) -> bool {
    let mut version = Command::new(docker);
    version.args(["version", "--format", "{{.Server.Version}}"]);
    version.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|it| it.success())
}

/// Whether the engine can put an init in front of a container's program. docker brings one along.
fn has_init(engine: &str) -> bool {
    let is_podman = Path::new(engine).file_name().is_some_and(|it| it == "podman");
    !is_podman || PODMAN_INIT.iter().any(|it| Path::new(it).exists()) || search_path("catatonit").is_some()
}

/// Where distributions put the init that podman uses.
const PODMAN_INIT: [&str; 3] =
    ["/usr/libexec/podman/catatonit", "/usr/lib/podman/catatonit", "/usr/local/libexec/podman/catatonit"];

/// As unique as the private folder is.
fn container_name(folder: &Folder) -> String {
    let name = folder.root().file_name().unwrap_or_default().to_string_lossy();
    name.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').collect()
}
