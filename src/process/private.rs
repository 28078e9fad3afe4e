//! A folder for what a connector is told in files: config, catalog and state, secrets among them.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::{Builder, TempDir};

/// Where a container finds the folder: not at a place that an image may have a file at, this binary least of all.
const MOUNT: &str = "/run/flow-shim";

/// Where a connector puts what it needs for a while.
const SCRATCH: &str = "tmp";

/// A folder that only its owner may enter, removed when dropped (and by the keeper, should the shim be killed).
pub struct Folder {
    root: TempDir,
    access: FileAccess,
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
        let root = make_root()?;
        let folder = Self { root, access };
        match access {
            FileAccess::OwnUser => fs::create_dir(folder.root().join(SCRATCH))?,
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

    /// What a file holds now.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.files().join(name))
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The connector's own TMPDIR: one that is killed leaves copies of its config there. A container has a /tmp that goes
    /// with it.
    pub fn scratch(&self) -> Option<PathBuf> {
        (self.access == FileAccess::OwnUser).then(|| self.root().join(SCRATCH))
    }

    /// The mount that shows a container its files, as `docker run --volume` takes it.
    pub fn volume(&self) -> String {
        format!("{}:{MOUNT}", self.files().display())
    }

    fn files(&self) -> PathBuf {
        match self.access {
            FileAccess::OwnUser => self.root.path().to_owned(),
            FileAccess::Container => self.root.path().join("files"),
        }
    }
}

/// In TMPDIR, or in shared memory where an image's root is read-only.
fn make_root() -> io::Result<TempDir> {
    let mut builder = Builder::new();
    builder.prefix("flow-shim-").permissions(Permissions::from_mode(0o700));
    builder.tempdir().or_else(|error| builder.tempdir_in("/dev/shm").map_err(|_| error))
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
}
