//! The connector's config as a person gives it: in a file, as JSON on the command line, or as the config.json that
//! lies beside a shim.yaml. No message quotes from it: it holds secrets.

use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use tracing::info;

use serde_json::value::RawValue;

/// What it is called beside a shim.yaml.
const NAME: &str = "config.json";

#[derive(clap::Args, Debug, Default)]
pub struct ConfigArg {
    /// The connector's config [default: the config.json beside shim.yaml, where there is one]
    #[arg(long, value_name = "FILE|JSON")]
    config: Option<String>,
}

impl ConfigArg {
    /// The file that the config is read from; `None` for JSON on the command line or without a config.
    pub fn path(&self, folder: Option<&Path>) -> Option<PathBuf> {
        match self.config.as_deref() {
            Some(text) if text.trim_start().starts_with(['{', '[']) => None,
            Some(path) => Some(PathBuf::from(path)),
            None => beside(folder),
        }
    }

    /// The config on one line; none where there is none anywhere.
    pub fn read(&self, folder: Option<&Path>) -> Result<Option<Box<RawValue>>> {
        match self.config.as_deref() {
            Some(text) if text.trim_start().starts_with(['{', '[']) => parse(text, "--config").map(Some),
            Some(path) => read_file(Path::new(path)).map(Some),
            None => match beside(folder) {
                Some(path) => {
                    info!("the config is {}", path.display());
                    read_file(&path).map(Some)
                }
                None => Ok(None),
            },
        }
    }
}

fn beside(folder: Option<&Path>) -> Option<PathBuf> {
    folder.map(|it| it.join(NAME)).filter(|it| it.is_file())
}

fn read_file(path: &Path) -> Result<Box<RawValue>> {
    let name = path.to_string_lossy();
    if name.contains(['"', '{', '\n']) && !path.exists() {
        // JSON without its beginning, perhaps.
        bail!("--config is neither a file nor a JSON object");
    }
    let name = format!("the config file {name}");
    let bytes = std::fs::read(path).with_context(|| format!("can't read {name}"))?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{name} is not UTF-8 text"))?;
    parse(text.strip_prefix('\u{feff}').unwrap_or(&text), &name)
}

fn parse(text: &str, name: &str) -> Result<Box<RawValue>> {
    let config: Box<RawValue> = serde_json::from_str(text).with_context(|| format!("{name} is not JSON"))?;
    if !config.get().starts_with('{') {
        bail!("{name} is JSON, but not an object");
    }
    // A line break in JSON is white space: within strings it is escaped.
    RawValue::from_string(config.get().replace(['\n', '\r'], " ")).with_context(|| format!("{name} is not JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<Option<Box<RawValue>>> {
        ConfigArg { config: Some(config.to_owned()) }.read(None)
    }

    #[test]
    fn a_file_becomes_one_line_and_is_otherwise_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "\u{feff}{\n  \"a\": 1.50,\r\n \"a\": \"\\n\"}\n").unwrap();
        let found = ConfigArg::default().read(Some(folder.path())).unwrap().unwrap();
        assert_eq!(found.get(), r#"{   "a": 1.50,   "a": "\n"}"#);
        assert_eq!(read(r#" {"a":1}"#).unwrap().unwrap().get(), r#"{"a":1}"#);
        assert!(ConfigArg::default().read(None).unwrap().is_none());
    }

    #[test]
    fn errors_name_the_place_and_quote_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut errors = Vec::new();
        for (name, content) in [
            ("comma.json", &b"{\n  \"api_key\": \"s3cret\"\n  \"b\": 1\n}"[..]),
            ("cut.json", b"{\"api_key\": \"s3cret"),
            ("word.json", b"{\"api_key\": s3cret}"),
            ("list.json", b"[\"s3cret\"]"),
            ("empty.json", b""),
            ("latin1.json", b"{\"api_key\": \"s3cret\xe9\"}"),
        ] {
            std::fs::write(folder.path().join(name), content).unwrap();
            errors.push(crate::error::sentence(&read(folder.path().join(name).to_str().unwrap()).unwrap_err()));
        }
        for argument in ["nowhere/config.json", "{\"api_key\": \"s3cret\",}", "[1]", "\"api_key\": \"s3cret\""] {
            errors.push(crate::error::sentence(&read(argument).unwrap_err()));
        }
        let errors = errors.join("\n").replace(folder.path().to_str().unwrap(), "FOLDER");
        assert!(!errors.contains("s3cret"));
        insta::assert_snapshot!(errors);
    }
}
