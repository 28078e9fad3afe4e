//! The processes that descend from this one, by /proc. Without /proc none is found.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};

/// The variable by which a connector's descendants are recognised where they have another parent now. It holds the path
/// of the private folder.
pub const MARK: &str = "FLOW_SHIM_CONNECTOR";

/// The entry of the environment of everything that a connector with this private folder has started.
pub fn mark(folder: &Path) -> String {
    format!("{MARK}={}", folder.display())
}

/// How long killed processes may take to end. One that belongs to another user, or hangs in the kernel, never does.
const LIMIT: Duration = Duration::from_secs(5);

/// How long a process may have no environment while it executes a program.
const IN_EXEC: Duration = Duration::from_millis(20);

pub struct Descendants {
    /// The entry `NAME=VALUE` of the environment that marks descendants which have another parent now.
    mark: Option<String>,
    /// This process, if its own descendants count.
    ourselves: Option<i32>,
}

impl Descendants {
    pub fn new(mark: Option<String>) -> Self {
        Self { mark, ourselves: Some(getpid().as_raw_nonzero().get()) }
    }

    /// Those with a mark, whoever started them.
    pub fn marked(mark: String) -> Self {
        Self { mark: Some(mark), ourselves: None }
    }

    /// All descendants that have not ended.
    pub fn find(&self) -> Vec<Pid> {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        let mut found: HashSet<i32> = HashSet::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            // The name in parentheses may hold anything; what follows it is: state, parent.
            let Some((_, rest)) = stat.rsplit_once(')') else { continue };
            let mut rest = rest.split_whitespace();
            if let (Some(state), Some(Ok(parent))) = (rest.next(), rest.next().map(str::parse))
                && !matches!(state, "Z" | "X")
            {
                children.entry(parent).or_default().push(pid);
                if Some(pid) != self.ourselves && self.is_marked(&entry.path().join("environ")) {
                    found.insert(pid);
                }
            }
        }
        let mut next: Vec<i32> = self.ourselves.iter().chain(&found).copied().collect();
        while let Some(parent) = next.pop() {
            for child in children.remove(&parent).unwrap_or_default() {
                found.insert(child);
                next.push(child);
            }
        }
        found.into_iter().filter_map(Pid::from_raw).collect()
    }

    /// Whether nothing is left once the kernel says that this process has no children.
    pub fn is_empty_without_children(&self) -> bool {
        self.mark.is_none() || self.find().is_empty()
    }

    fn is_marked(&self, environment: &std::path::Path) -> bool {
        let Some(mark) = &self.mark else { return false };
        fs::read(environment).is_ok_and(|it| it.split(|it| *it == 0).any(|it| it == mark.as_bytes()))
    }

    /// Kills until nothing is left, as what is killed may just have started another process. Returns what does not end.
    pub fn kill(&self) -> Vec<Pid> {
        let deadline = Instant::now() + LIMIT;
        let mut was_empty = false;
        loop {
            let left = self.find();
            // A process that is just executing a program has no environment for a moment, and so no mark.
            let is_sure = left.is_empty() && (was_empty || self.mark.is_none());
            if is_sure || Instant::now() > deadline {
                return left;
            }
            was_empty = left.is_empty();
            for pid in left {
                let _ = kill_process(pid, Signal::KILL);
            }
            thread::sleep(if was_empty { IN_EXEC } else { Duration::from_millis(2) });
        }
    }
}
