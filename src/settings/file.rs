//! shim.yaml.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::suggest;

use super::map::ConfigMap;
use super::streams::StreamOptions;
use super::values::{
    CatalogOption, Document, FullRefresh, Interval, OAuth2, Parallel, SchemaMode, Size, StateFormat, Words,
    idle_timeout, max_document,
};

pub const NAME: &str = "shim.yaml";

/// How a connector becomes a capture of Flow. All of it is optional.
#[derive(Deserialize, Serialize, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", rename = "shim.yaml")]
pub struct ShimFile {
    /// What the connector speaks [default: airbyte].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The connector's command. A relative path is relative to this file [default: what AIRBYTE_ENTRYPOINT says].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Words>,
    /// Or the image to run it from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Environment variables for the connector.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Shown in Flow's form [default: the connector's own].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation_url: Option<String>,
    /// Singer, Fivetran: the config's JSON schema [default: what `--about` says, or the connector's form].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Document>,
    /// Singer: how the tap is told which streams to read [default: as the tap takes it].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogOption>,
    /// Singer: a file with the catalog of a tap that has no `--discover`. A relative path is relative to this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_file: Option<PathBuf>,
    /// What is different in the config from the connector's own spec.
    #[serde(default, skip_serializing_if = "SpecChanges::is_nothing")]
    pub spec: SpecChanges,
    /// Flow's OAuth2 object; false: users don't sign in [default: what the connector declares, where it translates].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
    /// Where discovered collections have their schemas from [default: inferred].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaMode>,
    /// What happens to the rows that a completed full refresh did not bring again, or that a Fivetran connector truncates [default:
    /// tombstones].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_refresh: Option<FullRefresh>,
    /// What is different for the streams of a name or a glob; the most specific one wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<String, StreamOptions>,
    /// How many processes of the connector read at the same time, each some of the streams [default: 1].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Parallel>,
    /// How long a capture stays up at least, once it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_interval: Option<Interval>,
    /// How long a connector may say nothing before it is stopped, to be started again [default: 1h].
    #[serde(default, deserialize_with = "idle_timeout", skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Interval>,
    /// The largest document; Flow takes 64MiB at the most [default: 16MiB].
    #[serde(default, deserialize_with = "max_document", skip_serializing_if = "Option::is_none")]
    pub max_document: Option<Size>,
    /// Airbyte: how the connector takes its state [default: list].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_format: Option<StateFormat>,
}

#[derive(Deserialize, Serialize, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SpecChanges {
    /// An RFC 7396 merge patch for the config's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<Document>,
    /// Where the connector wants values of Flow's config: `/its/place: /ours`. The place "" only removes.
    #[serde(default, deserialize_with = "map", skip_serializing_if = "Option::is_none")]
    pub map: Option<Document>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Airbyte,
    Singer,
    Fivetran,
}

impl Protocol {
    /// The name in shim.yaml.
    pub fn name(self) -> &'static str {
        match self {
            Self::Airbyte => "airbyte",
            Self::Singer => "singer",
            Self::Fivetran => "fivetran",
        }
    }
}

impl SpecChanges {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl ShimFile {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        Self::parse(&text).map_err(anyhow::Error::msg).with_context(|| path.display().to_string())
    }

    /// The settings that only connectors of another protocol have.
    pub fn of_other_protocols(&self, protocol: Protocol) -> Vec<&'static str> {
        let (is_airbyte, is_singer) = (protocol == Protocol::Airbyte, protocol == Protocol::Singer);
        let has_alias = self.streams.values().any(|it| it.alias.is_some());
        let settings = [
            ("configSchema", self.config_schema.is_some() && is_airbyte),
            ("catalog", self.catalog.is_some() && !is_singer),
            ("catalogFile", self.catalog_file.is_some() && !is_singer),
            ("alias", has_alias && !is_singer),
            ("stateFormat", self.state_format.is_some() && !is_airbyte),
        ];
        settings.into_iter().filter(|(_, is_other)| *is_other).map(|(name, _)| name).collect()
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let file: Self = serde_saphyr::from_str(text).map_err(|error| one_line(&error))?;
        if file.command.is_some() && file.image.is_some() {
            let line = text.lines().position(|it| it.starts_with("image")).map_or(1, |it| it + 1);
            return Err(format!("line {line}: `command` and `image` exclude each other"));
        }
        Ok(file)
    }
}

/// The error without its picture of the source, in words of YAML's users.
pub fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line).to_owned();
    let plain = [
        ("expected sequence start", "expected a list"),
        ("expected mapping start", "expected an object"),
        ("expected string key for externally tagged enum", "expected a word"),
        ("invalid boolean", "expected true or false"),
        ("cannot deserialize null into string; use Option<String>", "expected text, not null"),
        ("unknown variant", "unknown value"),
        (", set DuplicateKeyPolicy in Options if acceptable", ""),
    ];
    let line = plain.iter().fold(line, |line, (from, to)| line.replace(from, to));
    let hint = did_you_mean(&line);
    line + &hint
}

/// A suggestion for the name that the parser does not know: "unknown field `x`, expected one of a, b".
fn did_you_mean(line: &str) -> String {
    let unknown = line.split_once("unknown ").and_then(|(_, it)| it.split('`').nth(1));
    let known = line.split_once("expected one of ").map(|(_, it)| it.split(", "));
    unknown.zip(known).map_or_else(String::new, |(unknown, known)| suggest::hint(unknown, known))
}

/// A map's entries are looked at where their lines are known.
fn map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Document>, D::Error> {
    let document = Document::deserialize(deserializer)?;
    if let Document::Inline(Value::Object(entries)) = &document {
        ConfigMap::new(entries).map_err(de::Error::custom)?;
    }
    Ok(Some(document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const EVERYTHING: &str = "\
protocol: airbyte
command: [a, b]
env: {A: b}
documentationUrl: https://example.com
configSchema: schema.json
catalog: properties
spec: {patch: {a: null, b: [1, 2.5]}, map: {'': /c}}
oauth2: false
schema: declared
streams: {'*': {key: [/id], schema: {type: object}, disable: true, omit: false, cursorField: [a, b], normalize: false},
  a: {key: [id], schema: a.json, cursorField: c, normalize: {cut: [/d], dateToDateTime: true}}}
runInterval: 90s
idleTimeout: 15m
maxDocument: 1MiB
stateFormat: bare
";

    #[test]
    fn reads_every_setting() {
        let file = ShimFile::parse(EVERYTHING).unwrap();
        assert_eq!(file.command.as_ref().unwrap().0, ["a", "b"]);
        assert_eq!(file.idle_timeout.unwrap().0, Duration::from_secs(900));
        assert_eq!(file.run_interval.unwrap().0, Duration::from_secs(90));
        assert_eq!(file.max_document.unwrap().0, 1 << 20);
        assert_eq!(file.env["A"], "b");
        assert!(ShimFile::parse("# nothing\n").is_ok());
    }

    #[test]
    fn a_written_file_reads_back_unchanged() {
        let mut file = ShimFile::parse(EVERYTHING).unwrap();
        let mut again = ShimFile::parse(&serde_saphyr::to_string(&file).unwrap()).unwrap();
        // The lines of files that are named.
        for it in [&mut file, &mut again] {
            it.config_schema = None;
            it.streams.get_mut("a").unwrap().schema = None;
        }
        assert_eq!(file, again);
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
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
            "spec:\n  map: {a: /b}\n",
            "oauth2: true\n",
            "oauth2:\n  providr: acme\n",
            "schema: strict\n",
            "stateFormat: {}\n",
            "streams: [a]\n",
            "streams:\n  a:\n    keys: [id]\n",
            "streams:\n  a:\n    key: id\n",
            "streams:\n  a:\n    schema: 7\n",
            "streams:\n  a:\n    disable: maybe\n",
            "streams:\n  a:\n    cursorField: []\n",
            "streams:\n  a:\n    normalize: dates\n",
            "streams:\n  a:\n    normalize: {trim: true}\n",
            "streams:\n  a: {}\n  a: {}\n",
            "idleTimeout: 0s\n",
            "idleTimeout: 1000h\n",
            "maxDocument: 0\n",
            "maxDocument: 1GiB\n",
        ]
        .into_iter()
        .map(|text| format!("{}\n  {}", text.trim_end().replace('\n', "; "), ShimFile::parse(text).unwrap_err()))
        .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }
}
