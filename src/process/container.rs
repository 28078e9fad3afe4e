//! Container engines: docker or podman, whichever works.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, anyhow};

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
    let mut version = tokio::process::Command::new(docker);
    version.args(["version", "--format", "{{.Server.Version}}"]).kill_on_drop(true);
    let Ok(stdin) = null::stdio() else { return false };
    version.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    matches!(tokio::time::timeout(LIMIT, version.output()).await, Ok(Ok(it)) if it.status.success())
}

/// Whether the engine can put an init in front of a container's program. docker brings one along.
pub fn has_init(engine: &str) -> bool {
    let is_podman = Path::new(engine).file_name().is_some_and(|it| it == "podman");
    !is_podman || PODMAN_INIT.iter().any(|it| Path::new(it).exists()) || search_path("catatonit").is_some()
}

/// Where distributions put the init that podman uses.
const PODMAN_INIT: [&str; 3] =
    ["/usr/libexec/podman/catatonit", "/usr/lib/podman/catatonit", "/usr/local/libexec/podman/catatonit"];
