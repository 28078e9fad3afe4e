//! A podman for one test: no registry, a storage that is removed with it, and mostly no network.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::runtime::repository;

pub struct Podman {
    folder: TempDir,
}

impl Podman {
    /// A podman with the images that `prepare` makes.
    pub fn with(prepare: impl FnOnce(&Self) -> io::Result<()>) -> Self {
        Self::of(r#"netns = "none""#, prepare)
    }

    /// The same, with a network between this machine and the containers.
    pub fn with_network(prepare: impl FnOnce(&Self) -> io::Result<()>) -> Self {
        Self::of("[network]\nnetwork_backend = \"netavark\"", prepare)
    }

    fn of(network: &str, prepare: impl FnOnce(&Self) -> io::Result<()>) -> Self {
        let podman = Self { folder: TempDir::new().expect("a temporary folder") };
        podman.configure(network).and_then(|()| prepare(&podman)).unwrap_or_else(|e| panic!("podman failed: {e}"));
        podman
    }

    fn configure(&self, network: &str) -> io::Result<()> {
        // If both are installed, runc has fewer requirements.
        let runtime = if Path::new("/usr/sbin/runc").exists() { "runtime = \"runc\"\n" } else { "" };
        // Only features that work on any machine.
        let containers = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n{network}\n\
             [engine]\n{runtime}cgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"
        );
        fs::write(self.path("containers.conf"), containers)?;
        // vfs copies an image for each container, but works everywhere.
        self.store("overlay")?;
        if self.run(&["info"]).is_err() {
            self.store("vfs")?;
            self.run(&["info"])?;
        }
        Ok(())
    }

    fn store(&self, driver: &str) -> io::Result<()> {
        let [graph, run] = ["graph", "run"].map(|it| self.path(&format!("{driver}-{it}")));
        let storage = format!(
            "[storage]\ndriver = \"{driver}\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            graph.display(),
            run.display()
        );
        fs::write(self.path("storage.conf"), storage)
    }

    /// A temporary file or directory, removed with the images.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("CONTAINERS_CONF", self.path("containers.conf")), ("CONTAINERS_STORAGE_CONF", self.path("storage.conf"))]
    }

    /// Runs a podman command; the error is podman's output.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Output> {
        self.run_in(self.folder.path(), arguments)
    }

    pub fn run_in(&self, folder: &Path, arguments: &[&str]) -> io::Result<Output> {
        let mut command = Command::new("podman");
        let output =
            command.args(arguments).envs(self.environment()).current_dir(folder).stdin(Stdio::null()).output()?;
        match output.status.success() {
            true => Ok(output),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }

    /// Creates an image from a tar file.
    pub fn import(&self, tar: &Path, changes: &[&str], name: &str) -> io::Result<()> {
        let mut arguments = vec!["import", "--quiet"];
        changes.iter().for_each(|it| arguments.extend(["--change", it]));
        let tar = tar.to_string_lossy();
        arguments.extend([tar.as_ref(), name]);
        self.run(&arguments).map(drop)
    }

    /// Builds a Dockerfile in `folder`. Nothing is pulled.
    pub fn build(&self, folder: &Path, file: &str, name: &str, more: &[&str]) -> io::Result<()> {
        let fixed = ["build", "--pull=never", "--network=none", "--layers=false", "--quiet", "-f", file, "-t", name];
        self.run_in(folder, &[&fixed, more, &["."]].concat()).map(drop)
    }

    pub fn assert_no_container(&self) {
        let left = self.run(&["ps", "--all", "--quiet"]).expect("podman tells");
        assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "", "a container is left");
    }
}

impl Drop for Podman {
    /// Unmounts the storage, which podman keeps mounted: a mounted directory cannot be removed.
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours = mounts
            .lines()
            .filter_map(|it| it.split(' ').nth(1))
            .filter(|it| Path::new(it).starts_with(self.folder.path()));
        for mount in ours.collect::<Vec<_>>().into_iter().rev() {
            let _ = Command::new("umount").args(["--lazy", mount]).status();
        }
    }
}

/// tests/run runs this test first: if it fails, the tier is skipped with its message as the reason.
#[test]
#[ignore = "needs images: tests/run --images"]
fn containers_can_run() {
    let podman = Podman { folder: TempDir::new().expect("a temporary folder") };
    let debian = repository().join("target/images/debian.tar");
    let ran = podman.configure(r#"netns = "none""#).and_then(|()| {
        podman.import(&debian, &[], "localhost/debian")?;
        podman.run(&["run", "--rm", "localhost/debian", "true"])
    });
    if let Err(e) = ran {
        panic!("podman can't run containers here: {e}");
    }
}
