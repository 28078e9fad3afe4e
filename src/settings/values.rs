//! The forms that values have in shim.yaml: documents inline or in files, durations, sizes, choices. Each is parsed with an
//! error that says what was expected, and is written in the form in which it is read.

use anyhow::{Context, Result, anyhow};
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::oauth;

/// A JSON object: inline, or the name of a file beside shim.yaml.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    Inline(Value),
    File {
        path: PathBuf,
        /// Of shim.yaml.
        line: u64,
    },
}

/// Flow's OAuth2 object, or that there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum OAuth2 {
    Never,
    Given(Document),
}

/// The words of a command: at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Words(pub Vec<String>);

/// A duration, written `90s`, `15m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval(pub Duration);

/// A number of bytes, written `16MiB`, `500kB`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size(pub usize);

/// Limits of `idleTimeout`: with a shorter one no connector gets to start, and a longer one never ends a hanging connector.
const IDLE_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);

/// Limits of `maxDocument`: no document is smaller, and Flow takes none that is larger (F23).
const MAX_DOCUMENT: RangeInclusive<usize> = 1000..=64 * 1024 * 1024;

pub(super) fn idle_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Interval>, D::Error> {
    let interval: Option<Interval> = Deserialize::deserialize(deserializer)?;
    match interval.is_none_or(|it| IDLE_TIMEOUT.contains(&it.0)) {
        true => Ok(interval),
        false => Err(de::Error::custom("idleTimeout must be between 1s and 168h")),
    }
}

pub(super) fn max_document<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Size>, D::Error> {
    let size: Option<Size> = Deserialize::deserialize(deserializer)?;
    match size.is_none_or(|it| MAX_DOCUMENT.contains(&it.0)) {
        true => Ok(size),
        false => Err(de::Error::custom("maxDocument must be between 1kB and 64MiB, which is Flow's limit")),
    }
}

/// How many processes of a connector read at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallel {
    Processes(NonZeroUsize),
    /// As many as there are cores.
    Auto,
}

impl Default for Parallel {
    fn default() -> Self {
        Self::Processes(NonZeroUsize::MIN)
    }
}

impl Parallel {
    /// The number of processes on this machine.
    pub fn processes(self) -> usize {
        match self {
            Self::Processes(count) => count.get(),
            Self::Auto => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }
}

/// What a collection's schema is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SchemaMode {
    /// Flow infers it from the documents and from what the source declares: no document fails.
    #[default]
    Inferred,
    /// What the source declares: a document that breaks it fails the capture.
    Declared,
}

/// What happens to the rows that a completed full refresh did not bring again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FullRefresh {
    /// They are deleted one by one if the collection is keyed by the row id, and stay otherwise.
    #[default]
    Tombstones,
    /// Flow drops all rows from before the refresh, or before the connector's TRUNCATE.
    Truncate,
}

/// What a connector's `--state` file holds (A7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StateFormat {
    /// A list of STATE messages.
    #[default]
    List,
    /// An object with each stream's state by its name, for connectors older than 2022; those that send STREAM states get
    /// a list regardless.
    Bare,
}

/// The option by which a tap is given the catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CatalogOption {
    /// All that its `--help` lists.
    #[default]
    Auto,
    Catalog,
    Properties,
    /// None: it reads everything, and records without a binding are ignored.
    None,
}

impl Document {
    fn of(it: Spanned<Value>) -> Option<Self> {
        match it.value {
            Value::String(path) => Some(Self::File { path: path.into(), line: it.referenced.line() }),
            object @ Value::Object(_) => Some(Self::Inline(object)),
            _ => None,
        }
    }

    /// What a failure calls it.
    pub fn name(&self, folder: Option<&Path>, what: &str) -> String {
        match self {
            Self::Inline(_) => what.to_owned(),
            Self::File { path, line } => {
                format!("{what} in {} (line {line} of shim.yaml)", within(folder, path).display())
            }
        }
    }

    /// The object itself; `what` is what a failure calls it.
    pub fn read(&self, folder: Option<&Path>, what: &str) -> Result<Value> {
        match self {
            Self::Inline(object) => Ok(object.clone()),
            Self::File { path, .. } => {
                let failed = format!("can't read {}", self.name(folder, what));
                let text = std::fs::read_to_string(within(folder, path)).with_context(|| failed.clone())?;
                // JSON is YAML, and numbers keep their text only there.
                let found: Value = serde_json::from_str(&text)
                    .or_else(|_| serde_saphyr::from_str(&text))
                    .with_context(|| failed.clone())?;
                if found.is_object() { Ok(found) } else { Err(anyhow!("{failed}: it is not an object")) }
            }
        }
    }
}

fn within(folder: Option<&Path>, path: &Path) -> PathBuf {
    folder.map_or_else(|| path.to_owned(), |it| it.join(path))
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = || de::Error::custom("expected an object, or the name of a file that holds one");
        Self::of(Spanned::deserialize(deserializer)?).ok_or_else(expected)
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inline(object) => Plain(object).serialize(serializer),
            Self::File { path, .. } => path.serialize(serializer),
        }
    }
}

/// A JSON value for other formats than JSON, which don't know how serde_json keeps the text of numbers.
struct Plain<'a>(&'a Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(it) => match (it.as_i64(), it.as_u64(), it.as_f64()) {
                (Some(it), ..) => serializer.serialize_i64(it),
                (_, Some(it), _) => serializer.serialize_u64(it),
                (.., Some(it)) => serializer.serialize_f64(it),
                _ => serializer.serialize_str(&it.to_string()),
            },
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|it| list.serialize_element(&Plain(it)))?;
                list.end()
            }
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, it)| map.serialize_entry(name, &Plain(it)))?;
                map.end()
            }
            other => other.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OAuth2 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "oauth2 is Flow's OAuth2 object, the name of a file that holds it, or false";
        let it = Spanned::<Value>::deserialize(deserializer)?;
        if it.value == Value::Bool(false) {
            return Ok(Self::Never);
        }
        let document = Document::of(it).ok_or_else(|| de::Error::custom(expected))?;
        if let Document::Inline(Value::Object(members)) = &document {
            oauth::check_names(members).map_err(de::Error::custom)?;
        }
        Ok(Self::Given(document))
    }
}

impl Serialize for OAuth2 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => false.serialize(serializer),
            Self::Given(document) => document.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::deserialize(deserializer)?;
        if words.is_empty() { Err(de::Error::custom("expected a program and its arguments")) } else { Ok(Self(words)) }
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            it if it > 0 && it % 3600 == 0 => write!(f, "{}h", it / 3600),
            it if it > 0 && it % 60 == 0 => write!(f, "{}m", it / 60),
            it => write!(f, "{it}s"),
        }
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("{text:?} is not a duration: write it like 90s, 15m or 1h"));
        let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        Duration::try_from(span).map(Self).map_err(|_| wrong())
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let size: bytesize::ByteSize = text
            .parse()
            .map_err(|_| de::Error::custom(format!("{text:?} is not a size: write it like 16MiB or 500kB")))?;
        usize::try_from(size.as_u64()).map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Parallel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("parallel is a number of processes, at least 1, or auto");
        match Value::deserialize(deserializer)? {
            Value::String(text) if text == "auto" => Ok(Self::Auto),
            Value::Number(number) => {
                let count = number.as_u64().and_then(|it| usize::try_from(it).ok()).and_then(NonZeroUsize::new);
                count.map(Self::Processes).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}

impl Serialize for Parallel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Processes(count) => count.serialize(serializer),
            Self::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}B", self.0))
    }
}
