//! A connector's private files and the shim's handle on its keeper.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::time::timeout_at;
use tracing::warn;

use super::descendants::{Descendants, mark};
use super::keeper::{Report, STOP};
use super::private::Folder;

/// How long a keeper may take to clean up while no shutdown is requested: 5 s for processes, 3 s for a container.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// How long a process may take to end once the kernel was told to kill it.
const KILL: Duration = Duration::from_millis(500);

/// A connector's private files and the keeper that removes them. Dropped without [`Files::close`], the keeper cleans up
/// by itself, and nobody waits for it.
pub struct Files {
    // Dropped first: the keeper still cleans up when the folder is removed here.
    pub(super) keeper: KeeperHandle,
    folder: Folder,
}

impl Files {
    pub(super) fn new(folder: Folder, keeper: KeeperHandle) -> Self {
        Self { keeper, folder }
    }

    pub(super) fn write(&self, name: &str, content: &str) -> io::Result<String> {
        self.folder.write(name, content.as_bytes())
    }

    pub(super) fn make_pipe(&self, name: &str) -> io::Result<PathBuf> {
        self.folder.make_pipe(name)
    }

    /// The present content of a file: a connector may rewrite its config (A17, S11).
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.folder.read(name)
    }

    /// Kills what is left of a connector whose keeper was killed.
    pub(super) fn kill_orphans(&self) {
        self.keeper.kill_connector();
        warn_of_unkillable(&Descendants::new(Some(mark(self.folder.root()))).kill());
    }

    /// Ends whatever is left of the connector and removes its files. It takes 10 s at most, and ends before `deadline`.
    pub async fn close(mut self, deadline: Option<Instant>) {
        let limit = Instant::now() + CLEAN_UP;
        if !self.keeper.close(deadline.map_or(limit, |it| it.min(limit))).await {
            self.kill_orphans();
        }
    }
}

/// The shim's end of a keeper's socket.
pub(super) struct KeeperHandle {
    child: Child,
    pid: Option<Pid>,
    pub(super) requests: OwnedWriteHalf,
    reports: Lines<BufReader<OwnedReadHalf>>,
    /// The connector's process, while the keeper has not reported its end.
    connector: Option<Pid>,
}

impl KeeperHandle {
    pub(super) fn new(child: Child, socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (reports, requests) = tokio::net::UnixStream::from_std(socket)?.into_split();
        let pid = child.id().and_then(|it| Pid::from_raw(i32::try_from(it).ok()?));
        Ok(Self { child, pid, requests, reports: BufReader::new(reports).lines(), connector: None })
    }

    /// The next report; none when the keeper has ended.
    pub(super) async fn report(&mut self) -> Option<Report> {
        loop {
            let line = self.reports.next_line().await.ok().flatten()?;
            let report = serde_json::from_str(&line).ok()?;
            match report {
                Report::Started(pid) => self.connector = Pid::from_raw(pid),
                Report::Exited(_) | Report::Killed(_) => self.connector = None,
                Report::Unkillable(pids) => {
                    warn_of_unkillable(&pids.into_iter().filter_map(Pid::from_raw).collect::<Vec<_>>());
                    continue;
                }
                Report::NotRemoved(what) => {
                    warn!("can't remove the connector's private files: {what}");
                    continue;
                }
                Report::NotStarted(_) => {}
            }
            return Some(report);
        }
    }

    /// Asks the connector to stop.
    pub(super) async fn stop(&mut self) {
        // A keeper that is gone has taken the connector with it.
        let _ = self.requests.write_all(STOP).await;
    }

    /// Has everything killed that the connector started.
    pub(super) async fn shutdown(&mut self) {
        let _ = self.requests.shutdown().await;
    }

    /// Kills the connector from here, for a keeper that does not answer.
    pub(super) fn kill_connector(&self) {
        if let Some(connector) = self.connector {
            let _ = kill_process_group(connector, Signal::KILL);
            let _ = kill_process(connector, Signal::KILL);
        }
    }

    /// Waits for the keeper's end; at the limit it is killed. Whether it ended by itself.
    async fn close(&mut self, limit: Instant) -> bool {
        self.shutdown().await;
        let ended = async {
            while self.report().await.is_some() {}
            let _ = self.child.wait().await;
        };
        if timeout_at(limit.into(), ended).await.is_ok() {
            return true;
        }
        warn!("the connector's keeper process does not end: it is killed");
        self.kill_connector();
        if let Some(keeper) = self.pid {
            // With the container engine's client that it may wait for.
            let _ = kill_process_group(keeper, Signal::KILL);
        }
        let _ = tokio::time::timeout(KILL, self.child.wait()).await;
        false
    }
}

fn warn_of_unkillable(pids: &[Pid]) {
    if !pids.is_empty() {
        let pids = pids.iter().map(|it| it.as_raw_nonzero().to_string()).collect::<Vec<_>>().join(", ");
        warn!("can't kill processes that the connector started: {pids} (do they belong to another user?)");
    }
}
