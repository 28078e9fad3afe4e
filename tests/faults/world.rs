//! The environment of the binary: limits, users, mounts and signals, set up by tools of util-linux and a shell around it, and the
//! program that is its connector.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::session::Desk;
use crate::runtime::repository;

/// What a world takes that a machine or a user may lack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Needs {
    Nothing,
    /// Mount namespaces.
    Mounts,
    /// To become other users, who can reach the binary and a Python.
    OtherUsers,
    /// seccomp filters, with the numbers of system calls on x86_64.
    Seccomp,
    /// A clock that the test moves.
    Clock,
}

#[derive(Clone, Copy, Debug)]
pub enum Connector {
    /// The scripted one.
    Script,
    /// A file with this content and mode.
    File(&'static str, u32),
    /// This path.
    Path(&'static str),
    /// A container of this image.
    Image(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct World {
    /// A shell script that ends by running `"$@"`; `$DIR` is the try's directory.
    pub shell: &'static str,
    pub env: &'static [(&'static str, &'static str)],
    pub shim_yaml: Option<&'static str>,
    pub connector: Connector,
    pub needs: Needs,
}

pub const PLAIN: World =
    World { shell: "", env: &[], shim_yaml: None, connector: Connector::Script, needs: Needs::Nothing };

impl World {
    /// The command in this world.
    pub fn wrap(&self, command: impl Iterator<Item = String>) -> Vec<OsString> {
        let shell = ["sh", "-c", self.shell, "sh"].map(str::to_owned);
        let shell = if self.shell.is_empty() { Vec::new() } else { shell.into() };
        shell.into_iter().chain(command).map(OsString::from).collect()
    }

    pub fn env(&self, desk: &Desk) -> Vec<(OsString, OsString)> {
        let folder = desk.folder.path().to_string_lossy().into_owned();
        let own = [
            ("DIR", folder.clone()),
            ("DENY", repository().join("fixtures/deny-syscalls").to_string_lossy().into_owned()),
        ];
        let set = self.env.iter().map(|(name, value)| (*name, value.replace("$DIR", &folder)));
        own.into_iter().chain(set).map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// The end of flow-shim's arguments: the connector's command.
    pub fn connector(&self, desk: &Desk, player: &str) -> Vec<String> {
        let program = match self.connector {
            Connector::Image(name) => return vec!["--image".to_owned(), name.to_owned()],
            Connector::Script => player.to_owned(),
            Connector::Path(path) => path.to_owned(),
            Connector::File(content, mode) => {
                let path = desk.path("connector");
                fs::write(&path, content).expect("a file");
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
                path.to_string_lossy().into_owned()
            }
        };
        vec!["--".to_owned(), program]
    }
}

impl Needs {
    /// Why this machine or user can't have such a world.
    pub fn lacking(self) -> Option<&'static str> {
        static MOUNTS: LazyLock<bool> = LazyLock::new(|| works("unshare -m mount -t tmpfs none /mnt"));
        static USERS: LazyLock<bool> = LazyLock::new(|| {
            let binary = env!("CARGO_BIN_EXE_flow-shim");
            works(&format!("{AS_USER} sh -c 'PATH=/usr/bin:/bin; test -x {binary} && python3 -c 0'"))
        });
        static SECCOMP: LazyLock<bool> = LazyLock::new(|| {
            let deny = repository().join("fixtures/deny-syscalls");
            cfg!(target_arch = "x86_64") && works(&format!("{} 157 true", deny.display()))
        });
        match self {
            Self::Mounts if !*MOUNTS => Some("needs mounts in a namespace: root"),
            Self::OtherUsers if !*USERS => Some("needs root, and a binary and a Python that other users can reach"),
            Self::Seccomp if !*SECCOMP => Some("needs seccomp on x86_64"),
            Self::Clock => {
                Some("unit tests move the clock: cargo test --lib eight_hours, interval, idle_timeout, each_minute")
            }
            _ => None,
        }
    }
}

/// Runs a command as a user who owns nothing.
const AS_USER: &str = "setpriv --reuid=50123 --regid=50123 --clear-groups";

fn works(command: &str) -> bool {
    let mut command_line = Command::new("sh");
    command_line.args(["-c", command]).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    command_line.status().is_ok_and(|it| it.success())
}
