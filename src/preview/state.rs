//! The state file of a preview: reduced from checkpoints (F8) and always replaced atomically.

use anyhow::{Context, Result, bail};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tracing::info;

use super::bindings::Binding;
use super::import::{self, Format};
use crate::json::merge::merge;

/// A state file. It is locked as long as this exists, so that no other preview uses it.
pub struct StateFile {
    path: PathBuf,
    pub state: Value,
    format: Format,
    /// The file at `path`, with the lock on it.
    locked: File,
    /// The file did not exist before, and nothing was written to it.
    is_placeholder: bool,
}

impl StateFile {
    /// Reads the file if it exists, and reports problems before a capture begins.
    pub fn open(path: &Path) -> Result<Self> {
        let name = format!("the state file {}", path.display());
        // Replace the target of a symbolic link, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let exists = match fs::metadata(&path) {
            Ok(it) if !it.is_file() => bail!("{name} is not a file"),
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::NotFound && folder(&path).is_dir() => false,
            Err(error) => return Err(error).with_context(|| format!("can't use {name}")),
        };
        let locked = lock(&path, &name)?;
        // From here on, a file that was created for the lock is removed again.
        let empty = Value::Object(Map::new());
        let mut file = Self { path, state: empty, format: Format::Flow, locked, is_placeholder: !exists };
        let text = fs::read_to_string(&file.path).with_context(|| format!("can't read {name}"))?;
        if !text.trim().is_empty() {
            file.state = serde_json::from_str(text.trim()).with_context(|| format!("{name} is not JSON"))?;
        }
        file.format =
            import::format(&file.state).with_context(|| format!("{name} is not a state: it is left unchanged"))?;
        Ok(file)
    }

    /// Converts another tool's state for these bindings.
    pub fn import(&mut self, bindings: &[Binding], protocol: &str) -> Result<()> {
        let state = std::mem::take(&mut self.state);
        self.state = import::convert(state, self.format, bindings, protocol)
            .with_context(|| format!("can't use the state file {}, which is left unchanged", self.path.display()))?;
        match self.format {
            Format::Singer => info!("the Singer state in {} is converted to Flow's state", self.path.display()),
            Format::Airbyte => info!("the Airbyte states in {} are converted to Flow's state", self.path.display()),
            Format::Flow | Format::ByStream => {}
        }
        self.format = Format::Flow;
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.state.as_object().is_none_or(Map::is_empty)
    }

    /// Applies a checkpoint's state update.
    pub fn reduce(&mut self, updated: Value, merge_patch: bool) {
        if merge_patch { merge(&mut self.state, updated) } else { self.state = updated }
    }

    /// Replaces the file atomically. Only its owner may read it.
    pub fn write(&mut self) -> Result<()> {
        let what = format!("can't write the state file {}", self.path.display());
        let mut file = tempfile::Builder::new()
            .prefix(".flow-shim-")
            .tempfile_in(folder(&self.path))
            .with_context(|| what.clone())?;
        file.write_all(format!("{}\n", self.state).as_bytes()).with_context(|| what.clone())?;
        // The new file is locked before it replaces the old one.
        file.as_file().try_lock().with_context(|| what.clone())?;
        self.locked = file.persist(&self.path).map_err(|it| it.error).with_context(|| what.clone())?;
        self.is_placeholder = false;
        Ok(())
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        if self.is_placeholder {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens or creates the file and locks it.
fn lock(path: &Path, name: &str) -> Result<File> {
    loop {
        let opened = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
            }
            opened => opened,
        };
        let file = match opened {
            // Another preview has just created it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            opened => opened.with_context(|| format!("can't use {name}"))?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another preview is using {name}"),
            // Some file systems have no locks.
            Err(TryLockError::Error(_)) => return Ok(file),
        }
        // Another preview may have replaced the file between opening and locking.
        let id = |it: fs::Metadata| (it.dev(), it.ino());
        if file.metadata().map(id).ok() == fs::metadata(path).map(id).ok() {
            return Ok(file);
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn checkpoints_are_reduced_into_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let link = folder.path().join("link.json");
        symlink(&path, &link).unwrap();
        fs::write(&path, r#"{"a": {"n": 1.50, "gone": 1}}"#).unwrap();
        let mut file = StateFile::open(&link).unwrap();
        file.reduce(json!({"a": {"gone": null, "new": [null]}}), true);
        file.write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":{\"n\":1.50,\"new\":[null]}}\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        file.reduce(json!({"b": 2}), false);
        assert_eq!(file.state, json!({"b": 2}));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_absent_file_and_an_empty_one_are_an_empty_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert!(StateFile::open(&path).unwrap().is_empty());
        fs::write(&path, "\n").unwrap();
        assert!(StateFile::open(&path).unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_file_and_quote_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("cut.json"), "{\n\"token\": \"s3cret").unwrap();
        fs::write(path("list.json"), "[\"s3cret\"]").unwrap();
        fs::write(path("config.json"), "{\"token\": \"s3cret\"}").unwrap();
        let used = StateFile::open(&path("used.json")).unwrap();
        let names = ["cut.json", "list.json", "config.json", "used.json", "nowhere/state.json", ""];
        let errors: Vec<String> = names
            .iter()
            .map(|it| path(it))
            .map(|it| crate::error::sentence(&StateFile::open(&it).err().unwrap()))
            .collect();
        let errors = errors.join("\n").replace(folder.path().to_str().unwrap(), "FOLDER");
        assert!(!errors.contains("s3cret"));
        drop(used);
        assert!(!path("used.json").exists(), "an unused state file is removed");
        assert_eq!(fs::read_to_string(path("config.json")).unwrap(), "{\"token\": \"s3cret\"}");
        insta::assert_snapshot!(errors);
    }
}
