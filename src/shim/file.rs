//! shim.yaml.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::failure::{Failure, OrFail};
use crate::singer::CatalogOption;

pub const NAME: &str = "shim.yaml";

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ShimFile {
    pub protocol: Option<Protocol>,
    pub command: Option<Vec<String>>,
    pub image: Option<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub documentation_url: Option<String>,
    pub idle_timeout: Option<Interval>,
    pub max_document: Option<Size>,
    /// Of a tap that tells none: inline, or the name of a file beside this one.
    pub config_schema: Option<ConfigSchema>,
    /// How a tap is told which streams to read.
    pub catalog: Option<CatalogOption>,
}

/// A JSON schema.
#[derive(Debug)]
pub enum ConfigSchema {
    Inline(Value),
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Airbyte,
    Singer,
}

/// A duration, written `90s`, `15m`, `1h`.
#[derive(Clone, Copy, Debug)]
pub struct Interval(pub Duration);

/// A number of bytes, written `16MiB`, `500kB`.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub usize);

impl ShimFile {
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).or_fail(format!("can't read {}", path.display()))?;
        Self::parse(&text).or_fail(path.display())
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let file: Self = serde_saphyr::from_str(text).map_err(|error| one_line(&error))?;
        match (&file.command, &file.image) {
            (Some(_), Some(_)) => Err("`command` and `image` exclude each other".to_owned()),
            (Some(command), _) if command.is_empty() => Err("`command` is empty".to_owned()),
            _ => Ok(file),
        }
    }
}

/// The error without its picture of the source.
fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl ConfigSchema {
    /// The schema itself, a file of it being found beside shim.yaml.
    pub fn read(&self, folder: Option<&Path>) -> Result<Value, Failure> {
        match self {
            Self::Inline(schema) => Ok(schema.clone()),
            Self::File(path) => {
                let path = folder.map_or_else(|| path.clone(), |it| it.join(path));
                let what = format!("can't read the config schema in {}", path.display());
                let text = std::fs::read_to_string(&path).or_fail(&what)?;
                // JSON is YAML, and numbers keep their text only there.
                serde_json::from_str(&text).or_else(|_| serde_saphyr::from_str(&text)).or_fail(&what)
            }
        }
    }
}

impl<'de> Deserialize<'de> for ConfigSchema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(path) => Ok(Self::File(path.into())),
            schema @ Value::Object(_) => Ok(Self::Inline(schema)),
            _ => Err(de::Error::custom("configSchema is a JSON schema, or the name of a file that holds one")),
        }
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("{text:?} is no duration: write it like 90s, 15m or 1h"));
        let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        Duration::try_from(span).map(Self).map_err(|_| wrong())
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let size: bytesize::ByteSize = text
            .parse()
            .map_err(|_| de::Error::custom(format!("{text:?} is no size: write it like 16MiB or 500kB")))?;
        usize::try_from(size.as_u64()).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_holds() {
        let file = ShimFile::parse("command: [a, b]\nidleTimeout: 15m\nmaxDocument: 1MiB\nenv: {A: b}\n").unwrap();
        assert_eq!(file.command.unwrap(), ["a", "b"]);
        assert_eq!(file.idle_timeout.unwrap().0, Duration::from_secs(900));
        assert_eq!(file.max_document.unwrap().0, 1 << 20);
        assert_eq!(file.env["A"], "b");
        assert!(ShimFile::parse("# nothing\n").is_ok());
    }

    #[test]
    fn errors_name_the_key_and_the_line() {
        let errors: Vec<String> = [
            "protocol: airbyte\ncomand: [a]\n",
            "protocol: kafka\n",
            "command: a\n",
            "idleTimeout: soon\n",
            "maxDocument: big\n",
            "command: [a]\nimage: b\n",
            "command: []\n",
            "command: [a\n",
        ]
        .into_iter()
        .map(|text| format!("{}\n  {}", text.trim_end().replace('\n', "; "), ShimFile::parse(text).unwrap_err()))
        .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }
}
