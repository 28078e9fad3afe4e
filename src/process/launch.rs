//! How a connector is started: as a command of this machine, or as a container.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::keeper;
use super::private::{Audience, Folder};
use super::stop::Stop;
use super::supervise::Connector;
use crate::failure::{Failure, OrFail};

/// This binary, whatever path it has or once had.
const OURSELVES: &str = "/proc/self/exe";

/// As much as an unprivileged process may have in a pipe.
pub const PIPE: usize = 1024 * 1024;

#[derive(Clone)]
pub struct Launcher {
    pub target: Target,
    pub env: Vec<(String, String)>,
    pub stop: Stop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Program and arguments, to which those of the protocol are added.
    Command(Vec<String>),
    /// The image of a container whose entrypoint is the connector.
    Image(String),
}

impl Launcher {
    /// A private folder that this connector will be able to read.
    pub fn folder(&self) -> Result<Folder, Failure> {
        let audience = match self.target {
            Target::Command(_) => Audience::OwnUser,
            Target::Image(_) => Audience::Container,
        };
        Folder::new(audience).or_fail("can't make a private folder for the connector's files (set TMPDIR)")
    }

    /// Starts the connector with `arguments` after its own, the folder's files at hand.
    pub fn start<I: AsRef<OsStr>>(&self, arguments: &[I], folder: Folder) -> Result<Connector, Failure> {
        let mut keeper = Command::new(OURSELVES);
        keeper.arg0("flow-shim").arg(keeper::SUBCOMMAND).arg("--folder").arg(folder.root());
        match &self.target {
            Target::Command(command) => {
                let (program, own) =
                    command.split_first().ok_or_else(|| Failure::new("the connector's command is empty"))?;
                keeper.arg("--").arg(find_program(program)?).args(own);
            }
            Target::Image(image) => {
                let engine = container_engine()?;
                let name = container_name(&folder);
                keeper.arg("--container").arg(&engine).arg(&name);
                keeper.arg("--").arg(&engine).args(["run", "--rm", "--name", &name, "--volume", &folder.volume()]);
                // Names only: what the variables hold is nobody's business in an argv.
                keeper.args(self.env.iter().map(|(name, _)| format!("--env={name}")));
                keeper.arg(image);
            }
        }
        keeper
            .args(arguments)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = spawn(keeper).or_fail("can't start the connector")?;
        Ok(Connector::new(child, folder))
    }
}

fn spawn(mut command: Command) -> io::Result<Child> {
    let child = command.spawn()?;
    if let Some(stdout) = &child.stdout {
        // Fewer, larger reads; a smaller pipe works as well.
        let _ = rustix::pipe::fcntl_setpipe_size(stdout, PIPE);
    }
    Ok(child)
}

/// The file to execute, looked up here because a keeper could only tell by an exit code that there is none.
/// A command named `flow-shim` is this binary itself.
fn find_program(program: &str) -> Result<OsString, Failure> {
    if program == "flow-shim" {
        return Ok(OURSELVES.into());
    }
    let missing =
        || Failure::new(format!("there is no program `{program}`: install the connector, or correct its command"));
    if program.contains('/') {
        return if Path::new(program).exists() { Ok(program.into()) } else { Err(missing()) };
    }
    search_path(program).map(PathBuf::into_os_string).ok_or_else(missing)
}

fn search_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn container_engine() -> Result<OsString, Failure> {
    ["docker", "podman"]
        .into_iter()
        .find_map(search_path)
        .map(PathBuf::into_os_string)
        .ok_or_else(|| Failure::new("an image needs docker or podman: neither is in PATH"))
}

/// As unique as the private folder is.
fn container_name(folder: &Folder) -> String {
    let name = folder.root().file_name().unwrap_or_default().to_string_lossy();
    name.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').collect()
}
