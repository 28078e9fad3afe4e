//! One shim's configuration: from the command line, shim.yaml and the environment to a source that can be run.

pub mod atf;
pub mod config;
pub mod endpoint;
mod file;
#[cfg(test)]
mod json_schema;
mod map;
mod rotation;
pub mod streams;
mod values;

use anyhow::{Context, Result, anyhow};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::{debug, info};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::airbyte::Airbyte;
use crate::oauth::OAuthSetting;
use crate::process::launch::{Launcher, RotatedConfig, Target};
use crate::process::shutdown::Shutdown;
use crate::singer::Singer;
use crate::upstream::{Resource, Stream, Upstream};

use endpoint::{ConfigMapping, Endpoint};
pub use file::Protocol;
use file::{ShimFile, SpecChanges};
use map::ConfigMap;
use streams::StreamRules;
pub use values::SchemaMode;
use values::{Interval, OAuth2};

/// A connector, and how it is wrapped.
pub struct Shim {
    pub source: Arc<dyn Upstream>,
    pub launcher: Launcher,
    pub documentation_url: Option<String>,
    /// The largest message that a document may make (F23).
    pub max_document: usize,
    /// How long a connector may say nothing.
    pub idle_timeout: Interval,
    /// How long a capture stays up at least.
    pub run_interval: Option<Interval>,
    pub streams: StreamRules,
    /// The folder that shim.yaml lies in.
    pub folder: Option<PathBuf>,
    /// What shim.yaml says, or the older wrapper's files; for people.
    pub settings: Option<Settings>,
    /// The config between Flow and the connector.
    pub endpoint: Endpoint,
    /// The config of the last discovery, and what it found.
    discovered: Mutex<Option<(Box<RawValue>, Vec<Stream>)>>,
}

const MAX_DOCUMENT: usize = 16 * 1024 * 1024;
const IDLE_TIMEOUT: Interval = Interval(Duration::from_secs(60 * 60));

/// Where Airbyte's images say how their connector is started.
pub const AIRBYTE_ENTRYPOINT: &str = "AIRBYTE_ENTRYPOINT";

/// Which source to run, as the command line tells it.
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
    /// The connector's command in one string, as airbyte-to-flow takes it
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["command", "image"])]
    connector_entrypoint: Option<String>,
    /// The connector's command [default: shim.yaml's, else what AIRBYTE_ENTRYPOINT says]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Shim {
    /// Finds the source: the arguments first, then shim.yaml, then AIRBYTE_ENTRYPOINT.
    pub fn resolve(args: &SourceArgs, shutdown: Shutdown) -> Result<Self> {
        let found = find(args)?;
        let target = target(args, &found.file, found.folder.as_deref())?;
        Self::build(found, target, args.protocol, shutdown)
    }

    /// A connector about which nothing is said.
    pub fn bare(target: Target, protocol: Protocol, shutdown: Shutdown) -> Result<Self> {
        Self::build(Found::nothing(), target, Some(protocol), shutdown)
    }

    fn build(found: Found, target: Target, protocol: Option<Protocol>, shutdown: Shutdown) -> Result<Self> {
        let Found { file, folder, settings } = found;
        let source: Arc<dyn Upstream> = match protocol.or(file.protocol).unwrap_or(Protocol::Airbyte) {
            Protocol::Airbyte => Arc::new(Airbyte { state_format: file.state_format.unwrap_or_default() }),
            Protocol::Singer => Arc::new(Singer {
                config_schema: file
                    .config_schema
                    .map(|it| it.read(folder.as_deref(), "the config schema"))
                    .transpose()?,
                catalog: file.catalog.unwrap_or_default(),
            }),
        };
        Ok(Self {
            source,
            endpoint: endpoint(file.spec, file.oauth2, folder.as_deref())?,
            launcher: Launcher {
                target,
                env: file.env.into_iter().collect(),
                idle_timeout: file.idle_timeout.unwrap_or(IDLE_TIMEOUT).0,
                shutdown,
                rotated: RotatedConfig::default(),
            },
            documentation_url: file.documentation_url,
            max_document: file.max_document.map_or(MAX_DOCUMENT, |it| it.0),
            idle_timeout: file.idle_timeout.unwrap_or(IDLE_TIMEOUT),
            run_interval: file.run_interval,
            streams: StreamRules::new(file.schema.unwrap_or_default(), file.streams, folder.as_deref())?,
            folder,
            settings,
            discovered: Mutex::default(),
        })
    }

    /// Whether these streams can be read with this config of Flow's.
    pub async fn check(&self, config: &RawValue, resources: &[Resource]) -> Result<()> {
        let way = self.way(config, None).await?;
        let checked = self.source.check(&self.launcher, &self.to_connector(config, &way)?, resources).await;
        self.apply_rotated(config, &way).await;
        checked
    }

    /// Asks the connector for its streams, and remembers them for [`Shim::streams`]. Those that are to be omitted are left
    /// out.
    pub async fn discover(&self, config: &RawValue) -> Result<Vec<Stream>> {
        let mut streams = self.discover_by(config, &self.way(config, None).await?).await?;
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = Some((config.to_owned(), streams.clone()));
        for name in self.streams.unused(&streams) {
            debug!("there is no stream {name} at the source: what shim.yaml says of it has no effect");
        }
        streams.retain(|it| !self.streams.of(&it.id).is_omitted());
        Ok(streams)
    }

    /// The streams that this process has just discovered with this config; else it does so now.
    pub async fn streams(&self, config: &RawValue, way: &ConfigMapping) -> Result<Vec<Stream>> {
        let remembered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner).take();
        match remembered {
            Some((with, streams)) if with.get() == config.get() => Ok(streams),
            _ => self.discover_by(config, way).await,
        }
    }

    async fn discover_by(&self, config: &RawValue, way: &ConfigMapping) -> Result<Vec<Stream>> {
        let discovered = self.source.discover(&self.launcher, &self.to_connector(config, way)?).await;
        self.apply_rotated(config, way).await;
        let mut streams = discovered?;
        streams.iter_mut().for_each(|it| self.streams.apply(self.source.as_ref(), it));
        Ok(streams)
    }

    /// A stream that was discovered before, from its own [`Stream::declared`].
    pub fn stream(&self, declared: Box<RawValue>) -> Result<Stream> {
        let mut stream = self.source.stream(declared)?;
        self.streams.apply(self.source.as_ref(), &mut stream);
        Ok(stream)
    }
}

/// Where a shim's settings are, and what they say.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    pub from: PathBuf,
    /// As shim.yaml would say it, but for the values of `env`: those may be secrets.
    pub shim: Value,
}

struct Found {
    file: ShimFile,
    folder: Option<PathBuf>,
    settings: Option<Settings>,
}

impl Found {
    fn nothing() -> Self {
        Self { file: ShimFile::default(), folder: None, settings: None }
    }

    fn new(file: ShimFile, from: PathBuf, folder: PathBuf) -> Result<Self> {
        let mut shim = serde_json::to_value(&file).context("can't tell what shim.yaml says")?;
        if let Some(env) = shim.get_mut("env").and_then(Value::as_object_mut) {
            env.values_mut().for_each(|it| *it = "***".into());
        }
        Ok(Self { file, folder: Some(folder), settings: Some(Settings { from, shim }) })
    }
}

/// Finds shim.yaml, or the older wrapper's files where there is none.
fn find(args: &SourceArgs) -> Result<Found> {
    let path = match &args.shim {
        Some(path) if path.is_dir() => path.join(file::NAME),
        Some(path) => path.clone(),
        None => PathBuf::from(file::NAME),
    };
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
    match (path.exists(), atf::is_in(here)) {
        (false, true) => {
            info!("settings are the older wrapper's files in {}", here.display());
            Found::new(atf::read(here)?, here.to_owned(), folder)
        }
        (false, false) if args.shim.is_none() => Ok(Found::nothing()),
        (_, has_older) => {
            if has_older {
                let path = path.display();
                info!("settings are those of {path}: the older wrapper's files beside it are not used");
            }
            Found::new(ShimFile::read(&path)?, path, folder)
        }
    }
}

fn target(args: &SourceArgs, file: &ShimFile, folder: Option<&Path>) -> Result<Target> {
    Ok(match (args.command.as_slice(), &args.image, &args.connector_entrypoint, &file.command, &file.image) {
        ([_, ..], ..) => Target::Command(args.command.clone()),
        (_, Some(image), ..) => Target::Image(image.clone()),
        (_, _, Some(entrypoint), ..) => Target::Command(words(entrypoint, "--connector-entrypoint")?),
        (.., Some(command), _) => Target::Command(beside(folder, &command.0)),
        // Within the image, its command is to be run, and not the image once more.
        (.., Some(image)) if !is_within_image() => Target::Image(image.clone()),
        _ => {
            let entrypoint = std::env::var(AIRBYTE_ENTRYPOINT).map_err(|_| anyhow!(NOTHING))?;
            Target::Command(words(&entrypoint, AIRBYTE_ENTRYPOINT)?)
        }
    })
}

/// A command in one string, as a shell would split it.
fn words(text: &str, from: &str) -> Result<Vec<String>> {
    let words = shell_words::split(text).with_context(|| format!("{from} can't be split into words"))?;
    if words.is_empty() { Err(anyhow!(NOTHING)) } else { Ok(words) }
}

const NOTHING: &str =
    "there is no connector to run: say `-- COMMAND`, `--image NAME` or `--shim DIR`, or set AIRBYTE_ENTRYPOINT";

fn endpoint(spec: SpecChanges, oauth2: Option<OAuth2>, folder: Option<&Path>) -> Result<Endpoint> {
    let patch = spec.patch.map(|it| it.read(folder, "the patch of the spec")).transpose()?;
    let map = match spec.map {
        None => ConfigMap::default(),
        Some(document) => {
            let what = "the map of the spec";
            let read = document.read(folder, what)?;
            let entries = read.as_object().into_iter().flatten();
            ConfigMap::new(entries)
                .map_err(anyhow::Error::msg)
                .with_context(|| document.name(folder, what).to_string())?
        }
    };
    let oauth2 = match oauth2 {
        None => OAuthSetting::Unsaid,
        Some(OAuth2::Never) => OAuthSetting::Never,
        Some(OAuth2::Given(document)) => OAuthSetting::Given(document.read(folder, "oauth2")?),
    };
    Ok(Endpoint::new(patch, map, oauth2))
}

/// A program with a relative path lies beside its shim.yaml.
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
