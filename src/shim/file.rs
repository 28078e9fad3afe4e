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
    /// Of a tap that tells none.
    pub config_schema: Option<Document>,
    #[serde(default)]
    pub spec: SpecChanges,
    pub oauth2: Option<OAuth2>,
    /// How a tap is told which streams to read.
    pub catalog: Option<CatalogOption>,
}

/// What is different from the connector's own spec.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct SpecChanges {
    /// RFC 7396, for the schema of the config.
    pub patch: Option<Document>,
    /// `/target: /source`, from Flow's config to the connector's.
    pub map: Option<Document>,
}

/// A JSON object: inline, or the name of a file beside shim.yaml.
#[derive(Debug)]
pub enum Document {
    Inline(Value),
    File(PathBuf),
}

/// Flow's OAuth2 object, or that there is none.
#[derive(Debug)]
pub enum OAuth2 {
    Never,
    Given(Document),
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

impl Document {
    /// The object itself; `what` is what a failure calls it.
    pub fn read(&self, folder: Option<&Path>, what: &str) -> Result<Value, Failure> {
        match self {
            Self::Inline(object) => Ok(object.clone()),
            Self::File(path) => {
                let path = folder.map_or_else(|| path.clone(), |it| it.join(path));
                let failed = format!("can't read {what} in {}", path.display());
                let text = std::fs::read_to_string(&path).or_fail(&failed)?;
                // JSON is YAML, and numbers keep their text only there.
                let found: Value =
                    serde_json::from_str(&text).or_else(|_| serde_saphyr::from_str(&text)).or_fail(&failed)?;
                if found.is_object() { Ok(found) } else { Err(Failure::new(format!("{failed}: it is no object"))) }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(path) => Ok(Self::File(path.into())),
            object @ Value::Object(_) => Ok(Self::Inline(object)),
            _ => Err(de::Error::custom("expected an object, or the name of a file that holds one")),
        }
    }
}

impl<'de> Deserialize<'de> for OAuth2 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(false) => Ok(Self::Never),
            Value::String(path) => Ok(Self::Given(Document::File(path.into()))),
            object @ Value::Object(_) => Ok(Self::Given(Document::Inline(object))),
            _ => Err(de::Error::custom("oauth2 is Flow's OAuth2 object, the name of a file that holds it, or false")),
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
            "spec: {path: {}}\n",
            "spec:\n  patch: 1\n",
            "oauth2: true\n",
        ]
        .into_iter()
        .map(|text| format!("{}\n  {}", text.trim_end().replace('\n', "; "), ShimFile::parse(text).unwrap_err()))
        .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }
}
