//! A private folder for the files that a connector reads: config, catalog and state, secrets among them.
//!
//! The shim and the keeper hold a lock on it while they live. A folder that nobody holds belongs to processes that were
//! killed, and is removed by the next shim of the same user ([`sweep`]).

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, mknodat};
use tempfile::Builder;
use tracing::warn;

use super::descendants::{Descendants, mark};

/// Where a container finds the folder: not at a place that an image may have a file at, this binary least of all.
const MOUNT: &str = "/run/flow-shim";

/// The connector's TMPDIR.
const SCRATCH: &str = "tmp";

/// The files of a connector in a container.
const FILES: &str = "files";

/// What the names of all folders begin with.
const PREFIX: &str = "flow-shim-run-";

/// Where folders are made if TMPDIR is read-only.
const SHARED_MEMORY: &str = "/dev/shm";

/// A folder that only its owner may enter. It is removed when dropped, if the keeper has not done it by then.
pub struct Folder {
    root: PathBuf,
    access: FileAccess,
    _lock: Option<File>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FileAccess {
    /// The connector runs as this user.
    OwnUser,
    /// The connector runs as whoever its image says: inside the folder that nobody else may enter lies a second one,
    /// open to all, and only that one is mounted.
    Container,
}

impl Folder {
    pub fn new(access: FileAccess) -> io::Result<Self> {
        let (root, lock) = make_root()?;
        let folder = Self { root, access, _lock: lock };
        match access {
            FileAccess::OwnUser => DirBuilder::new().mode(0o700).create(folder.root().join(SCRATCH))?,
            FileAccess::Container => {
                fs::create_dir(folder.files())?;
                fs::set_permissions(folder.files(), Permissions::from_mode(0o777))?;
            }
        }
        Ok(folder)
    }

    /// Writes a file and gives its path as the connector sees it. The connector may rewrite it (A17, S11).
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<String> {
        let path = self.files().join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(content)?;
        if self.access == FileAccess::Container {
            fs::set_permissions(&path, Permissions::from_mode(0o666))?;
            return Ok(format!("{MOUNT}/{name}"));
        }
        Ok(path.to_string_lossy().into_owned())
    }

    /// Makes a named pipe, through which a connector gets what must not be in a file.
    pub fn make_pipe(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.files().join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        Ok(path)
    }

    /// What a file holds now.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.files().join(name))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The connector's own TMPDIR: a connector that is killed leaves copies of its config there. A container's files are
    /// removed with it.
    pub fn scratch(&self) -> Option<PathBuf> {
        (self.access == FileAccess::OwnUser).then(|| self.root().join(SCRATCH))
    }

    /// The mount that shows a container its files, as `docker run --volume` takes it.
    pub fn volume(&self) -> String {
        format!("{}:{MOUNT}", self.files().display())
    }

    fn files(&self) -> PathBuf {
        match self.access {
            FileAccess::OwnUser => self.root.clone(),
            FileAccess::Container => self.root.join(FILES),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.root) {
            warn!("can't remove the connector's private files: {error}");
        }
    }
}

/// In TMPDIR, or in shared memory where an image's root is read-only.
fn make_root() -> io::Result<(PathBuf, Option<File>)> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).permissions(Permissions::from_mode(0o700));
    loop {
        let root = builder.tempdir().or_else(|error| builder.tempdir_in(SHARED_MEMORY).map_err(|_| error))?.keep();
        let lock = hold(&root);
        // Another shim's sweep may have been faster than the lock.
        if root.exists() {
            return Ok((root, lock));
        }
    }
}

/// Marks a folder as being in use for as long as the result lives. None where the file system has no locks.
pub fn hold(root: &Path) -> Option<File> {
    let folder = File::open(root).ok()?;
    flock(&folder, FlockOperation::LockShared).ok()?;
    Some(folder)
}

/// Removes the folders of this user's shims that were killed together with their keepers, and ends what their connectors
/// have left running. Errors are ignored: the next start tries again.
pub fn sweep() {
    let user = rustix::process::geteuid().as_raw();
    for place in [std::env::temp_dir(), PathBuf::from(SHARED_MEMORY)] {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let is_ours = entry.file_name().to_str().is_some_and(|it| it.starts_with(PREFIX))
                && entry.metadata().is_ok_and(|it| it.is_dir() && it.uid() == user);
            let Some(folder) = is_ours.then(|| File::open(entry.path()).ok()).flatten() else { continue };
            if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // A daemon of the connector's may have survived them, too.
                Descendants::marked(mark(&entry.path())).kill();
                let _ = remove(&entry.path());
            }
        }
    }
}

/// Removes a folder and everything in it. Our own files go first: they hold secrets. What a connector made read-only is
/// made writable on the way down. The error names what remains.
pub fn remove(root: &Path) -> io::Result<()> {
    for folder in [root, &root.join(FILES)] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            // A directory is refused, and its turn comes below.
            let _ = fs::remove_file(entry.path());
        }
    }
    // Empty directories need no file descriptor to be removed, and there may be none.
    for folder in [SCRATCH, FILES] {
        let _ = fs::remove_dir(root.join(folder));
    }
    if absent(fs::remove_dir(root)).is_ok() || absent(fs::remove_dir_all(root)).is_ok() {
        return Ok(());
    }
    make_writable(root);
    absent(fs::remove_dir_all(root))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", root.display())))
}

/// What is gone already is removed.
fn absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Lets the owner enter and change a directory and all below it. Symbolic links are not followed.
fn make_writable(folder: &Path) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_gets_in() {
        let folder = Folder::new(FileAccess::OwnUser).unwrap();
        let path = folder.write("config.json", b"{}").unwrap();
        assert_eq!((mode(folder.root()), mode(Path::new(&path))), (0o700, 0o600));
        assert_eq!(folder.scratch().map(|it| mode(&it)), Some(0o700));
        let root = folder.root().to_owned();
        drop(folder);
        assert!(!root.exists());
    }

    #[test]
    fn a_container_sees_an_open_folder_inside_a_closed_one() {
        let folder = Folder::new(FileAccess::Container).unwrap();
        assert_eq!(folder.write("config.json", b"{}").unwrap(), "/run/flow-shim/config.json");
        assert_eq!(mode(folder.root()), 0o700);
        assert_eq!(mode(&folder.root().join("files")), 0o777);
        assert_eq!(mode(&folder.root().join("files/config.json")), 0o666);
    }

    #[test]
    fn a_read_only_directory_of_the_connector_is_removed_too() {
        let folder = Folder::new(FileAccess::OwnUser).unwrap();
        folder.write("config.json", b"{}").unwrap();
        let inner = folder.scratch().unwrap().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        for path in [inner.clone(), inner.parent().unwrap().to_owned()] {
            fs::set_permissions(path, Permissions::from_mode(0o500)).unwrap();
        }
        let root = folder.root().to_owned();
        drop(folder);
        assert!(!root.exists());
    }

    #[test]
    fn an_abandoned_directory_is_removed() {
        let (held, dead) = (make_root().unwrap(), make_root().unwrap());
        fs::write(dead.0.join("config.json"), "{}").unwrap();
        drop(dead.1);
        sweep();
        assert!(!dead.0.exists() && held.0.exists());
        remove(&held.0).unwrap();
    }
}
