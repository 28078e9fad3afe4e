//! Container engines, docker or podman, whichever works, and the containers that they run.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::null;
use super::program::search_path;
use super::shutdown::Shutdown;
use crate::error::Stopped;

/// How long an engine's client may take to answer. A daemon may hang.
const LIMIT: Duration = Duration::from_secs(10);

/// The engine to use. If both are installed, the one that works: a docker client may be there without a daemon.
pub async fn engine(shutdown: &Shutdown) -> Result<String> {
    let engine = match (search_path("docker"), search_path("podman")) {
        (Some(docker), Some(podman)) => {
            let works = tokio::select! {
                works = has_daemon(&docker) => works,
                reason = shutdown.requested() => return Err(Stopped(reason).into()),
            };
            Some(if works { docker } else { podman })
        }
        (docker, podman) => docker.or(podman),
    };
    engine.ok_or_else(|| anyhow!("an image needs docker or podman: neither is in PATH"))
}

async fn has_daemon(docker: &str) -> bool {
    ask(docker, &["version", "--format", "{{.Server.Version}}"]).await.is_some_and(|it| it.status.success())
}

/// What an engine answers; `None` if it does not answer in time.
async fn ask(engine: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = tokio::process::Command::new(engine);
    command.args(arguments).kill_on_drop(true);
    command.stdin(null::stdio().ok()?).stdout(Stdio::piped()).stderr(Stdio::piped());
    tokio::time::timeout(LIMIT, command.output()).await.ok()?.ok()
}

/// A container that is about to run, or runs.
#[derive(Clone)]
pub struct Container {
    pub engine: String,
    pub name: String,
}

impl Container {
    /// The port of this machine on which the engine has published a port of the container; `None` while it does not run yet.
    pub async fn published(&self, port: u16) -> Result<Option<u16>> {
        let port = format!("{port}/tcp");
        let answer = ask(&self.engine, &["port", &self.name, &port]).await.filter(|it| it.status.success());
        let Some(answer) = answer else { return Ok(None) };
        // 127.0.0.1:PORT
        match String::from_utf8_lossy(&answer.stdout).trim().rsplit(':').next().and_then(|it| it.parse().ok()) {
            Some(port) => Ok(Some(port)),
            None => bail!(
                "the connector's port can't be reached, because {} gives its containers no network of their own (`netns` in containers.conf)",
                self.engine
            ),
        }
    }
}

/// Whether the engine can put an init in front of a container's program. docker brings one along.
pub fn has_init(engine: &str) -> bool {
    let is_podman = Path::new(engine).file_name().is_some_and(|it| it == "podman");
    !is_podman || PODMAN_INIT.iter().any(|it| Path::new(it).exists()) || search_path("catatonit").is_some()
}

/// Where distributions put the init that podman uses.
const PODMAN_INIT: [&str; 3] =
    ["/usr/libexec/podman/catatonit", "/usr/lib/podman/catatonit", "/usr/local/libexec/podman/catatonit"];
