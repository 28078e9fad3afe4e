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

const NOT_A_STATE: &str =
    "is not a state: name a new file, or one of flow-shim's, a Singer state or a list of Airbyte states";

/// The state of a capture: in memory, or in a file as well.
pub struct State {
    pub value: Value,
    format: Format,
    file: Option<StateFile>,
}

/// A state file. It is locked as long as this exists, so that no other preview uses it.
struct StateFile {
    path: PathBuf,
    /// The file at `path`, with the lock on it.
    locked: File,
    /// The file did not exist before, and nothing was written to it.
    is_placeholder: bool,
}

impl State {
    pub fn in_memory() -> Self {
        Self { value: Value::Object(Map::new()), format: Format::Flow, file: None }
    }

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
        let file = StateFile { path, locked, is_placeholder: !exists };
        let text = fs::read_to_string(&file.path).with_context(|| format!("can't read {name}"))?;
        let mut state = Self { file: Some(file), ..Self::in_memory() };
        if !text.trim().is_empty() {
            if text.lines().any(|it| it.starts_with("[\"connectorState\",")) {
                bail!(
                    "{name} has lines that preview printed: those of --output-state are changes of a state; \
                     use --state in the same run to keep the whole"
                );
            }
            state.value = serde_json::from_str(text.trim()).with_context(|| format!("{name} is not JSON"))?;
        }
        state.format =
            import::format(&state.value).with_context(|| format!("{name}, which is left unchanged, {NOT_A_STATE}"))?;
        Ok(state)
    }

    /// Converts another tool's state for these bindings.
    pub fn import(&mut self, bindings: &[Binding], protocol: &str) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let (state, path) = (std::mem::take(&mut self.value), file.path.display());
        self.value = import::convert(state, self.format, bindings, protocol)
            .with_context(|| format!("can't use the state file {path}, which is left unchanged"))?;
        match self.format {
            Format::Singer => info!("the Singer state in {path} is converted to Flow's state"),
            Format::Airbyte => info!("the Airbyte states in {path} are converted to Flow's state"),
            Format::Flow | Format::ByStream => {}
        }
        self.format = Format::Flow;
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.value.as_object().is_none_or(Map::is_empty)
    }

    /// Applies a checkpoint's state update.
    pub fn reduce(&mut self, updated: Value, merge_patch: bool) {
        if merge_patch { merge(&mut self.value, updated) } else { self.value = updated }
    }

    /// Writes the file, if there is one.
    pub fn write(&mut self) -> Result<()> {
        match &mut self.file {
            Some(file) => file.write(&self.value),
            None => Ok(()),
        }
    }
}

impl StateFile {
    /// Replaces the file atomically. Only its owner may read it.
    fn write(&mut self, state: &Value) -> Result<()> {
        let what = format!("can't write the state file {}", self.path.display());
        let mut file = tempfile::Builder::new()
            .prefix(".flow-shim-")
            .tempfile_in(folder(&self.path))
            .with_context(|| what.clone())?;
        file.write_all(format!("{state}\n").as_bytes()).with_context(|| what.clone())?;
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
        let mut file = State::open(&link).unwrap();
        file.reduce(json!({"a": {"gone": null, "new": [null]}}), true);
        file.write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":{\"n\":1.50,\"new\":[null]}}\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        file.reduce(json!({"b": 2}), false);
        assert_eq!(file.value, json!({"b": 2}));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_absent_file_and_an_empty_one_are_an_empty_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert!(State::open(&path).unwrap().is_empty());
        fs::write(&path, "\n").unwrap();
        assert!(State::open(&path).unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_file_and_quote_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("cut.json"), "{\n\"token\": \"s3cret").unwrap();
        fs::write(path("list.json"), "[\"s3cret\"]").unwrap();
        fs::write(path("config.json"), "{\"token\": \"s3cret\"}").unwrap();
        let used = State::open(&path("used.json")).unwrap();
        let names = ["cut.json", "list.json", "config.json", "used.json", "nowhere/state.json", ""];
        let errors: Vec<String> = names
            .iter()
            .map(|it| path(it))
            .map(|it| crate::error::sentence(&State::open(&it).err().unwrap()))
            .collect();
        let errors = errors.join("\n").replace(folder.path().to_str().unwrap(), "FOLDER");
        assert!(!errors.contains("s3cret"));
        drop(used);
        assert!(!path("used.json").exists(), "an unused state file is removed");
        assert_eq!(fs::read_to_string(path("config.json")).unwrap(), "{\"token\": \"s3cret\"}");
        insta::assert_snapshot!(errors);
    }
}
