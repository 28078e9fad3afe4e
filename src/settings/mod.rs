//! Settings: what shim.yaml, the files of airbyte-to-flow and the command line say about a connector. Plain data: nothing
//! here starts a process or knows how a protocol works.

pub mod atf;
mod command;
pub mod config;
pub mod file;
mod flow_spec;
#[cfg(test)]
mod json_schema;
mod map;
pub mod streams;
mod values;
mod yaml;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::{info, warn};

use crate::oauth::OAuthSetting;
use crate::process::launch::Target;

pub use file::Protocol;
use file::{ShimFile, SpecChanges};
pub use map::ConfigMap;
use streams::StreamRules;
use values::OAuth2;
pub use values::{CatalogOption, FullRefresh, Interval, Parallel, SchemaMode, StateFormat};

/// Everything that is set for a connector.
pub struct Settings {
    pub protocol: Protocol,
    pub target: Target,
    /// Environment variables for the connector.
    pub env: Vec<(String, String)>,
    pub documentation_url: Option<String>,
    /// The size limit of a message that contains a document (F23).
    pub max_document: usize,
    /// How long a connector may be silent.
    pub idle_timeout: Interval,
    /// How many processes of the connector read at the same time.
    pub parallel: Parallel,
    /// How long a capture stays up at least.
    pub run_interval: Option<Interval>,
    /// What ends a full refresh, where `streams` does not say otherwise.
    pub full_refresh: FullRefresh,
    pub streams: StreamRules,
    /// An RFC 7396 merge patch for the connector's config schema.
    pub config_patch: Option<Value>,
    pub config_map: ConfigMap,
    pub oauth2: OAuthSetting,
    /// Airbyte: how the connector takes its state.
    pub state_format: StateFormat,
    /// Singer, Fivetran: the config schema, if it is not to come from the connector.
    pub config_schema: Option<Value>,
    /// Singer: how the tap is told which streams to read.
    pub catalog: CatalogOption,
    /// Singer: the catalog of a tap without discovery.
    pub discovered: Option<Box<RawValue>>,
    /// Singer: names of streams in messages, by `tap_stream_id`.
    pub aliases: BTreeMap<String, String>,
    /// The directory of shim.yaml.
    pub folder: Option<PathBuf>,
    /// Where the settings come from, for people.
    pub origin: Option<Origin>,
}

const MAX_DOCUMENT: usize = 16 * 1024 * 1024;
const IDLE_TIMEOUT: Interval = Interval(Duration::from_secs(60 * 60));

/// The variable by which Airbyte's images say how their connector is started.
pub const AIRBYTE_ENTRYPOINT: &str = "AIRBYTE_ENTRYPOINT";

/// Which connector to run, according to the command line.
#[derive(clap::Args, Debug, Default)]
pub struct SourceArgs {
    /// The shim.yaml to use, or the folder it is in [default: the working directory, where there is one in it]
    #[arg(long, value_name = "DIR|FILE")]
    shim: Option<PathBuf>,
    /// What the connector speaks [default: what shim.yaml says, else airbyte]
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Run the connector from this image, with docker or podman
    #[arg(long, value_name = "NAME", conflicts_with = "command")]
    image: Option<String>,
    /// The connector's command in one string, as a shell takes it
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["command", "image"])]
    connector_entrypoint: Option<String>,
    /// The connector's command [default: shim.yaml's, else what AIRBYTE_ENTRYPOINT says]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl SourceArgs {
    /// The connector of a shim.
    pub fn of_shim(folder: &Path) -> Self {
        Self { shim: Some(folder.to_owned()), ..Self::default() }
    }

    /// The same arguments for another flow-shim.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let protocol = self.protocol.and_then(|it| it.to_possible_value()).map(|it| it.get_name().into());
        let options = [
            ("--shim", self.shim.clone().map(PathBuf::into_os_string)),
            ("--protocol", protocol),
            ("--image", self.image.clone().map(OsString::from)),
            ("--connector-entrypoint", self.connector_entrypoint.clone().map(OsString::from)),
        ];
        for (name, value) in options {
            arguments.extend(value.into_iter().flat_map(|it| [name.into(), it]));
        }
        if !self.command.is_empty() {
            arguments.push("--".into());
            arguments.extend(self.command.iter().map(OsString::from));
        }
        arguments
    }
}

impl Settings {
    /// Finds the connector: the arguments first, then shim.yaml, then AIRBYTE_ENTRYPOINT.
    pub fn resolve(args: &SourceArgs) -> Result<Self> {
        let found = find(args)?;
        let target = target(args, &found.file, found.folder.as_deref())?;
        Self::new(found, target, args.protocol)
    }

    /// A connector without any settings.
    pub fn bare(target: Target, protocol: Protocol) -> Result<Self> {
        Self::new(Found::default(), target, Some(protocol))
    }

    /// Reads the files that shim.yaml names.
    fn new(found: Found, target: Target, protocol: Option<Protocol>) -> Result<Self> {
        let Found { file, folder, origin } = found;
        let dir = folder.as_deref();
        let protocol = protocol.or(file.protocol).unwrap_or(Protocol::Airbyte);
        for name in file.of_other_protocols(protocol) {
            warn!("`{name}` in shim.yaml has no effect: it is for another protocol than {}", protocol.name());
        }
        if let Some(url) = file.documentation_url.as_deref().filter(|it| !it.starts_with("http")) {
            warn!("`documentationUrl` in shim.yaml has no effect: {url:?} is not an address that begins with http");
        }
        let SpecChanges { patch, map } = file.spec;
        let config_schema = file.config_schema.map(|it| it.read(dir, "the config schema")).transpose()?;
        let discovered = file.catalog_file.map(|it| read_catalog(dir, &it)).transpose()?;
        let aliases = file.streams.iter().filter_map(|(id, it)| Some((id.clone(), it.alias.clone()?))).collect();
        Ok(Self {
            protocol,
            target,
            env: file.env.into_iter().collect(),
            documentation_url: file.documentation_url,
            max_document: file.max_document.map_or(MAX_DOCUMENT, |it| it.0),
            idle_timeout: file.idle_timeout.unwrap_or(IDLE_TIMEOUT),
            parallel: file.parallel.unwrap_or_default(),
            run_interval: file.run_interval,
            full_refresh: file.full_refresh.unwrap_or_default(),
            streams: StreamRules::new(file.schema.unwrap_or_default(), file.streams, dir)?,
            config_patch: patch.map(|it| it.read(dir, "the patch of the spec")).transpose()?,
            config_map: match map {
                None => ConfigMap::default(),
                Some(document) => {
                    let what = "the map of the spec";
                    let read = document.read(dir, what)?;
                    let map = ConfigMap::new(read.as_object().into_iter().flatten());
                    map.map_err(Error::msg).with_context(|| document.name(dir, what))?
                }
            },
            oauth2: match file.oauth2 {
                None => OAuthSetting::Unsaid,
                Some(OAuth2::Never) => OAuthSetting::Never,
                Some(OAuth2::Given(document)) => OAuthSetting::Given(document.read(dir, "oauth2")?),
            },
            state_format: file.state_format.unwrap_or_default(),
            config_schema,
            catalog: file.catalog.unwrap_or_default(),
            discovered,
            aliases,
            folder,
            origin,
        })
    }
}

/// Where settings come from, and what they say.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    pub from: PathBuf,
    /// In the form of shim.yaml. The values of `env` are masked: they may be secrets.
    pub shim: Value,
}

#[derive(Default)]
struct Found {
    file: ShimFile,
    folder: Option<PathBuf>,
    origin: Option<Origin>,
}

impl Found {
    fn new(file: ShimFile, from: PathBuf, folder: PathBuf) -> Result<Self> {
        let mut shim = serde_json::to_value(&file).context("can't write the settings as JSON")?;
        if let Some(env) = shim.get_mut("env").and_then(Value::as_object_mut) {
            env.values_mut().for_each(|it| *it = "***".into());
        }
        Ok(Self { file, folder: Some(folder), origin: Some(Origin { from, shim }) })
    }
}

/// Finds shim.yaml, or the files of airbyte-to-flow if there is none.
fn find(args: &SourceArgs) -> Result<Found> {
    let path = args.shim.as_deref().map_or_else(|| PathBuf::from(file::NAME), shim_path);
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
    match (path.exists(), atf::is_in(here)) {
        (false, true) => {
            info!("settings are airbyte-to-flow's files in {}", here.display());
            Found::new(atf::read(here)?, here.to_owned(), folder)
        }
        (false, false) if args.shim.is_none() => Ok(Found::default()),
        (_, has_atf_files) => {
            if has_atf_files {
                info!("settings are those of {}: airbyte-to-flow's files beside it are not used", path.display());
            }
            Found::new(ShimFile::read(&path)?, path, folder)
        }
    }
}

/// The file that `--shim` names, by itself or by its directory.
fn shim_path(given: &Path) -> PathBuf {
    if given.is_dir() { given.join(file::NAME) } else { given.to_owned() }
}

fn target(args: &SourceArgs, file: &ShimFile, folder: Option<&Path>) -> Result<Target> {
    Ok(match (args.command.as_slice(), &args.image, &args.connector_entrypoint, &file.command, &file.image) {
        ([_, ..], ..) => Target::Command(args.command.clone()),
        (_, Some(image), ..) => Target::Image(image.clone()),
        (_, _, Some(entrypoint), ..) => Target::Command(command_line(entrypoint, "--connector-entrypoint")?),
        (.., Some(command), _) => Target::Command(beside(folder, &command.0)),
        // Inside the image its command runs, not the image once more.
        (.., Some(image)) if !is_within_image() => Target::Image(image.clone()),
        _ => {
            let entrypoint = std::env::var(AIRBYTE_ENTRYPOINT).map_err(|_| match &args.shim {
                None => anyhow!(NOTHING),
                Some(shim) => anyhow!(
                    "{} does not say which connector to run: add `command` or `image` to it, or append `-- COMMAND` or `--image NAME`",
                    shim_path(shim).display()
                ),
            })?;
            Target::Command(command_line(&entrypoint, AIRBYTE_ENTRYPOINT)?)
        }
    })
}

fn command_line(text: &str, from: &str) -> Result<Vec<String>> {
    command::of_string(text)
        .with_context(|| format!("{from} can't be split into words"))?
        .ok_or_else(|| anyhow!(NOTHING))
}

const NOTHING: &str =
    "there is no connector to run: say `-- COMMAND`, `--image NAME` or `--shim DIR`, or set AIRBYTE_ENTRYPOINT";

/// The command with a relative path of its program taken as relative to shim.yaml.
fn beside(folder: Option<&Path>, command: &[String]) -> Vec<String> {
    let mut command = command.to_vec();
    if let (Some(program), Some(folder)) = (command.first_mut(), folder)
        && program.contains('/')
    {
        // An absolute path replaces the folder.
        *program = folder.join(&*program).to_string_lossy().into_owned();
    }
    command
}

fn is_within_image() -> bool {
    std::env::var(AIRBYTE_ENTRYPOINT).is_ok_and(|it| !it.trim().is_empty())
}

/// Reads the catalog of a tap without discovery; its path is relative to shim.yaml.
fn read_catalog(dir: Option<&Path>, path: &Path) -> Result<Box<RawValue>> {
    let path = dir.unwrap_or(Path::new("")).join(path);
    let text = std::fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
    let catalog: Value = serde_json::from_slice(&text)
        .map_err(|error| anyhow!("{} is not JSON: line {}", path.display(), error.line()))?;
    serde_json::value::to_raw_value(&catalog).with_context(|| path.display().to_string())
}
