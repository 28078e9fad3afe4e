//! The connector's config as a person gives it: in a JSON or YAML file, in a capture of a Flow spec, on stdin, as JSON on the
//! command line, or in the config.json or config.yaml that lies beside a shim.yaml. No message quotes from it: it holds
//! secrets.

use anyhow::{Context, Result, anyhow, bail};
use std::io::Read;
use std::path::{Path, PathBuf};
use tracing::info;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::{flow_spec, yaml};
use crate::secrets::sops::Format;

/// What it is called beside a shim.yaml.
const NAMES: [&str; 3] = ["config.json", "config.yaml", "config.yml"];

#[derive(clap::Args, Clone, Debug, Default)]
pub struct ConfigArg {
    /// The connector's config: a JSON or YAML file, the capture FLOW.YAML#NAME of a Flow spec, `-` for stdin, or JSON, which other
    /// users see in the process list [default: the config.json or config.yaml beside shim.yaml, where there is one]
    #[arg(long, value_name = "FILE|JSON")]
    config: Option<String>,
}

/// A config as it was given: it may be a sops document.
pub struct Given {
    /// What messages call it.
    pub name: String,
    pub text: String,
    pub format: Format,
    /// On one line.
    pub config: Box<RawValue>,
}

impl ConfigArg {
    pub fn of(path: &Path) -> Self {
        Self { config: Some(path.to_string_lossy().into_owned()) }
    }

    /// The file that the config is read from; `None` for JSON on the command line, stdin, or without a config.
    pub fn path(&self, folder: Option<&Path>) -> Result<Option<PathBuf>> {
        match self.config.as_deref() {
            Some(text) if is_json(text) || text == STDIN || text.is_empty() => Ok(None),
            Some(text) => {
                Ok(Some(flow_spec::capture_in(text).map_or_else(|| text.into(), |(spec, _)| spec.to_owned())))
            }
            None => beside(folder),
        }
    }

    /// The config; none where there is none anywhere.
    pub fn read(&self, folder: Option<&Path>) -> Result<Option<Given>> {
        let Some(text) = self.config.as_deref() else {
            let Some(path) = beside(folder)? else { return Ok(None) };
            info!("the config is {}", path.display());
            return read_file(&path).map(Some);
        };
        if text.is_empty() {
            bail!("--config is empty: name a file");
        }
        if is_json(text) {
            return Given::parse(text.to_owned(), "--config".to_owned(), Some(Format::Json)).map(Some);
        }
        if text == STDIN {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).context("can't read the config from stdin")?;
            return Given::decode(bytes, "the config on stdin".to_owned(), None).map(Some);
        }
        let Some((spec, capture)) = flow_spec::capture_in(text) else { return read_file(Path::new(text)).map(Some) };
        match flow_spec::config(spec, capture)? {
            flow_spec::Config::File(path) => read_file(&path).map(Some),
            flow_spec::Config::Inline(config) => {
                let name = format!("the config of {capture} in {}", spec.display());
                Given::of_value(name, &config).map(Some)
            }
        }
    }
}

const STDIN: &str = "-";

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

fn beside(folder: Option<&Path>) -> Result<Option<PathBuf>> {
    let paths = folder.into_iter().flat_map(|folder| NAMES.iter().map(|it| folder.join(it)));
    let mut found = paths.filter(|it| it.is_file());
    match (found.next(), found.next()) {
        (Some(one), Some(other)) => {
            bail!("both {} and {} exist: say which one with --config", one.display(), other.display())
        }
        (one, _) => Ok(one),
    }
}

pub(super) fn read_file(path: &Path) -> Result<Given> {
    let name = path.to_string_lossy();
    if name.contains(['"', '{', '\n']) && !path.exists() {
        // JSON without its beginning, perhaps.
        bail!("--config is neither a file nor a JSON object");
    }
    let name = format!("the config file {name}");
    let bytes = std::fs::read(path).with_context(|| format!("can't read {name}"))?;
    let extension = path.extension().and_then(|it| it.to_str());
    let format = match extension {
        Some("json") => Some(Format::Json),
        Some("yaml" | "yml") => Some(Format::Yaml),
        _ => None,
    };
    let given = Given::decode(bytes, name, format)?;
    if let Some(capture) = flow_spec::first_capture(given.config.get()) {
        let path = path.display();
        bail!("{path} is a Flow spec: name one of its captures, as in `--config {path}#{capture}`");
    }
    Ok(given)
}

impl Given {
    fn decode(bytes: Vec<u8>, name: String, format: Option<Format>) -> Result<Self> {
        let text = String::from_utf8(bytes).map_err(|_| anyhow!("{name} is not UTF-8 text"))?;
        Self::parse(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned(), name, format)
    }

    /// A config that is a JSON value already.
    pub fn of_value(name: String, config: &Value) -> Result<Self> {
        Self::parse(config.to_string(), name, Some(Format::Json))
    }

    /// Text of an unknown format is JSON if it begins like JSON. JSON is YAML, and numbers keep their text only there.
    fn parse(text: String, name: String, format: Option<Format>) -> Result<Self> {
        if text.trim().is_empty() {
            bail!("{name} is empty");
        }
        let (format, config) = match serde_json::from_str::<Box<RawValue>>(&text) {
            Ok(config) => (Format::Json, config),
            Err(error)
                if format.unwrap_or(if is_json(&text) { Format::Json } else { Format::Yaml }) == Format::Json =>
            {
                return Err(error).with_context(|| format!("{name} is not JSON"));
            }
            Err(_) => {
                let config = yaml::value(&text).with_context(|| format!("{name} is not YAML"))?;
                (Format::Yaml, to_raw_value(&config)?)
            }
        };
        if !config.get().starts_with('{') {
            let format = if format == Format::Json { "JSON" } else { "YAML" };
            bail!("{name} is {format}, but not an object");
        }
        // A line break in JSON is white space: within strings it is escaped.
        let config = RawValue::from_string(config.get().replace(['\n', '\r'], " "))
            .with_context(|| format!("{name} is not JSON"))?;
        Ok(Self { name, text, format, config })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<Option<Box<RawValue>>> {
        Ok(ConfigArg { config: Some(config.to_owned()) }.read(None)?.map(|it| it.config))
    }

    #[test]
    fn a_file_becomes_one_line_and_is_otherwise_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "\u{feff}{\n  \"a\": 1.50,\r\n \"a\": \"\\n\"}\n").unwrap();
        let found = ConfigArg::default().read(Some(folder.path())).unwrap().unwrap();
        assert_eq!(found.config.get(), r#"{   "a": 1.50,   "a": "\n"}"#);
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
            ("cut.yaml", b"api_key: [s3cret\n"),
            ("tab.yaml", b"a: 1\n\tapi_key: s3cret\n"),
            ("twice.yaml", b"s3cret: 1\ns3cret: 1\n"),
            ("two.yaml", b"a: s3cret\n---\nb: s3cret\n"),
            ("anchor.yaml", b"a: *s3cret\n"),
            ("infinite.yaml", b"a: .inf\n"),
            ("list.yaml", b"- s3cret\n"),
            ("empty.yaml", b"# s3cret\n"),
            ("no-extension", b"just s3cret\n"),
            ("flow.yaml", b"captures:\n  acmeCo/s3: {endpoint: {}}\n"),
        ] {
            std::fs::write(folder.path().join(name), content).unwrap();
            errors.push(crate::error::sentence(&read(folder.path().join(name).to_str().unwrap()).unwrap_err()));
        }
        for argument in [
            "",
            "nowhere/config.json",
            "{\"api_key\": \"s3cret\",}",
            "[1]",
            "\"api_key\": \"s3cret\"",
            "nowhere.yaml#acmeCo/s3",
        ] {
            errors.push(crate::error::sentence(&read(argument).unwrap_err()));
        }
        let errors = errors.join("\n").replace(folder.path().to_str().unwrap(), "FOLDER");
        assert!(!errors.contains("s3cret"));
        insta::assert_snapshot!(errors);
    }

    #[test]
    fn yaml_is_a_config_too() {
        let folder = tempfile::tempdir().unwrap();
        let text = "# A comment\nhost: db\nport: 5432\nbig: 9007199254740993\nwhen: 2024-01-01\nlist: [1, {a: null}]\n";
        std::fs::write(folder.path().join("config.yaml"), text).unwrap();
        let found = ConfigArg::default().read(Some(folder.path())).unwrap().unwrap();
        assert_eq!(found.format, Format::Yaml);
        let wanted = r#"{"host":"db","port":5432,"big":9007199254740993,"when":"2024-01-01","list":[1,{"a":null}]}"#;
        assert_eq!(found.config.get(), wanted);
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let both = ConfigArg::default().read(Some(folder.path())).err().unwrap().to_string();
        assert!(both.contains("say which one with --config"), "{both}");
    }
}
