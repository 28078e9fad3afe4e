//! Copies of the files that a connector gets, for somebody who debugs it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

/// A directory with a numbered one for each run of the connector. Only its owner may read it: configs hold secrets.
pub struct KeptFiles {
    folder: PathBuf,
    runs: AtomicUsize,
}

/// A file that a connector gets.
pub struct Copy {
    pub name: String,
    pub content: String,
    /// Where the connector finds it.
    pub path: String,
}

impl KeptFiles {
    /// The directory must be empty, or absent.
    pub fn new(folder: PathBuf) -> Result<Self> {
        let what = || format!("can't keep files in {}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(what)?;
        if folder.read_dir().with_context(what)?.next().is_some() {
            bail!("{}: it is not empty (name a new directory)", what());
        }
        Ok(Self { folder, runs: AtomicUsize::new(0) })
    }

    /// Writes the files of one run, and its command with their paths.
    pub fn keep(&self, mut command: String, files: &[Copy]) -> io::Result<()> {
        let run = self.folder.join((self.runs.fetch_add(1, Ordering::Relaxed) + 1).to_string());
        DirBuilder::new().mode(0o700).create(&run)?;
        let write = |name: &str, content: &str| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(run.join(name))?;
            file.write_all(content.as_bytes())
        };
        for file in files {
            write(&file.name, &file.content)?;
            command = command.replace(&file.path, &run.join(&file.name).to_string_lossy());
        }
        write("command", &(command + "\n"))
    }
}
