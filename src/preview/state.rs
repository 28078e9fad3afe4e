//! The state file of a preview: reduced from checkpoints (F8) and always replaced atomically.

use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::json::merge::merge;

pub struct StateFile {
    path: PathBuf,
    pub state: Value,
}

impl StateFile {
    /// Reads the file if it exists, and reports problems before a capture begins.
    pub fn open(path: &Path) -> Result<Self> {
        let name = format!("the state file {}", path.display());
        // Replace the target of a symbolic link, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let text = match fs::metadata(&path) {
            Ok(it) if !it.is_file() => bail!("{name} is not a file"),
            Ok(_) => fs::read_to_string(&path).with_context(|| format!("can't read {name}"))?,
            Err(error) if error.kind() == ErrorKind::NotFound && folder(&path).is_dir() => String::new(),
            Err(error) => return Err(error).with_context(|| format!("can't use {name}")),
        };
        let state = match text.trim() {
            "" => Value::Object(Map::new()),
            text => serde_json::from_str(text).with_context(|| format!("{name} is not JSON"))?,
        };
        if !state.is_object() {
            bail!("{name} is not a JSON object");
        }
        Ok(Self { path, state })
    }

    pub fn is_empty(&self) -> bool {
        self.state.as_object().is_none_or(Map::is_empty)
    }

    /// Applies a checkpoint's state update.
    pub fn reduce(&mut self, updated: Value, merge_patch: bool) {
        if merge_patch { merge(&mut self.state, updated) } else { self.state = updated }
    }

    /// Replaces the file atomically. Only its owner may read it.
    pub fn write(&self) -> Result<()> {
        let what = format!("can't write the state file {}", self.path.display());
        let mut file = tempfile::Builder::new()
            .prefix(".flow-shim-")
            .tempfile_in(folder(&self.path))
            .with_context(|| what.clone())?;
        file.write_all(format!("{}\n", self.state).as_bytes()).with_context(|| what.clone())?;
        file.persist(&self.path).map_err(|it| it.error).with_context(|| what.clone())?;
        Ok(())
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
        let errors: Vec<String> = [path("cut.json"), path("list.json"), path("nowhere/state.json"), path("")]
            .iter()
            .map(|it| crate::error::sentence(&StateFile::open(it).err().unwrap()))
            .collect();
        let errors = errors.join("\n").replace(folder.path().to_str().unwrap(), "FOLDER");
        assert!(!errors.contains("s3cret"));
        insta::assert_snapshot!(errors);
    }
}
