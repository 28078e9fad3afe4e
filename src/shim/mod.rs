//! One shim's configuration: from the command line, shim.yaml and the environment to a source that can be run.

pub mod config;
pub mod endpoint;
mod file;
mod map;
mod rotation;
pub mod secrets;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::airbyte::Airbyte;
use crate::failure::{Failure, OrFail};
use crate::oauth::Own;
use crate::process::launch::{Launcher, Leftover, Target};
use crate::process::stop::Stop;
use crate::singer::Singer;
use crate::source::{Resource, Source, Stream};

use endpoint::{Endpoint, Way};
pub use file::Protocol;
use file::{OAuth2, ShimFile, SpecChanges};
use map::ConfigMap;

/// A connector, and how it is wrapped.
pub struct Shim {
    pub source: Arc<dyn Source>,
    pub launcher: Launcher,
    pub documentation_url: Option<String>,
    /// The largest message that a document may make (F23).
    pub max_document: usize,
    /// How long a connector may say nothing.
    pub idle_timeout: Duration,
    /// The folder that shim.yaml lies in.
    pub folder: Option<PathBuf>,
    /// The config between Flow and the connector.
    pub endpoint: Endpoint,
    /// The config of the last discovery, and what it found.
    discovered: Mutex<Option<(Box<RawValue>, Vec<Stream>)>>,
}

const MAX_DOCUMENT: usize = 16 * 1024 * 1024;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Where Airbyte's images say how their connector is started.
pub const AIRBYTE_ENTRYPOINT: &str = "AIRBYTE_ENTRYPOINT";

/// Which source to run, as the command line tells it.
#[derive(clap::Args, Debug, Default)]
pub struct SourceArgs {
    /// The shim.yaml to use, or the folder it is in [default: ./shim.yaml, where there is one]
    #[arg(long, value_name = "DIR|FILE")]
    shim: Option<PathBuf>,
    /// What the connector speaks [default: what shim.yaml says, else airbyte]
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Run the connector from this image, with docker or podman
    #[arg(long, value_name = "NAME", conflicts_with = "command")]
    image: Option<String>,
    /// The connector's command [default: shim.yaml's, else what AIRBYTE_ENTRYPOINT says]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl SourceArgs {
    /// As if somebody had typed it.
    pub fn of(target: &Target, protocol: Protocol) -> Self {
        let (image, command) = match target {
            Target::Image(image) => (Some(image.clone()), Vec::new()),
            Target::Command(command) => (None, command.clone()),
        };
        Self { shim: None, protocol: Some(protocol), image, command }
    }
}

impl Shim {
    /// Finds the source: the arguments first, then ./shim.yaml, then AIRBYTE_ENTRYPOINT.
    pub fn resolve(args: &SourceArgs, stop: Stop) -> Result<Self, Failure> {
        let path = file_of(args);
        let file = path.as_deref().map(ShimFile::read).transpose()?.unwrap_or_default();
        let folder = path.as_deref().and_then(Path::parent).map(Path::to_owned);
        let target = match (args.command.as_slice(), &args.image, &file.command, &file.image) {
            ([_, ..], ..) => Target::Command(args.command.clone()),
            (_, Some(image), ..) => Target::Image(image.clone()),
            (.., Some(command), _) => Target::Command(beside(folder.as_deref(), command)),
            // Within the image, its command is to be run, and not the image once more.
            (.., Some(image)) if !is_within_image() => Target::Image(image.clone()),
            _ => Target::Command(entrypoint()?),
        };
        let source: Arc<dyn Source> = match args.protocol.or(file.protocol).unwrap_or(Protocol::Airbyte) {
            Protocol::Airbyte => Arc::new(Airbyte),
            Protocol::Singer => Arc::new(Singer {
                config_schema: file
                    .config_schema
                    .map(|it| it.read(folder.as_deref(), "the config schema"))
                    .transpose()?,
                catalog: file.catalog.unwrap_or_default(),
            }),
        };
        let endpoint = endpoint(file.spec, file.oauth2, folder.as_deref())?;
        Ok(Self {
            source,
            endpoint,
            launcher: Launcher { target, env: file.env.into_iter().collect(), stop, leftover: Leftover::default() },
            documentation_url: file.documentation_url,
            max_document: file.max_document.map_or(MAX_DOCUMENT, |it| it.0),
            idle_timeout: file.idle_timeout.map_or(IDLE_TIMEOUT, |it| it.0),
            folder,
            discovered: Mutex::default(),
        })
    }

    /// Whether these streams can be read with this config of Flow's.
    pub fn check(&self, config: &RawValue, resources: &[Resource]) -> Result<(), Failure> {
        let way = self.way(config, None)?;
        let checked = self.source.check(&self.launcher, &self.to_connector(config, &way)?, resources);
        self.heed_leftover(config, &way);
        checked
    }

    /// Asks the connector for its streams, and remembers them for [`Shim::streams`].
    pub fn discover(&self, config: &RawValue) -> Result<Vec<Stream>, Failure> {
        let streams = self.discover_by(config, &self.way(config, None)?)?;
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = Some((config.to_owned(), streams.clone()));
        Ok(streams)
    }

    /// The streams that this process has just discovered with this config; else it does so now.
    pub fn streams(&self, config: &RawValue, way: &Way) -> Result<Vec<Stream>, Failure> {
        let remembered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner).take();
        match remembered {
            Some((with, streams)) if with.get() == config.get() => Ok(streams),
            _ => self.discover_by(config, way),
        }
    }

    fn discover_by(&self, config: &RawValue, way: &Way) -> Result<Vec<Stream>, Failure> {
        let discovered = self.source.discover(&self.launcher, &self.to_connector(config, way)?);
        self.heed_leftover(config, way);
        discovered
    }

    /// As shim.yaml would say it.
    pub fn idle_timeout_text(&self) -> String {
        match self.idle_timeout.as_secs() {
            it if it > 0 && it % 3600 == 0 => format!("{}h", it / 3600),
            it if it > 0 && it % 60 == 0 => format!("{}m", it / 60),
            it => format!("{it}s"),
        }
    }
}

fn endpoint(spec: SpecChanges, oauth2: Option<OAuth2>, folder: Option<&Path>) -> Result<Endpoint, Failure> {
    let patch = spec.patch.map(|it| it.read(folder, "the patch of the spec")).transpose()?;
    let map = match spec.map.map(|it| it.read(folder, "the map of the spec")).transpose()? {
        Some(Value::Object(entries)) => ConfigMap::new(&entries).or_fail("spec.map")?,
        _ => ConfigMap::default(),
    };
    let oauth2 = match oauth2 {
        None => Own::Unsaid,
        Some(OAuth2::Never) => Own::Never,
        Some(OAuth2::Given(document)) => Own::Given(document.read(folder, "oauth2")?),
    };
    Ok(Endpoint::new(patch, map, oauth2))
}

fn file_of(args: &SourceArgs) -> Option<PathBuf> {
    match &args.shim {
        Some(path) if path.is_dir() => Some(path.join(file::NAME)),
        Some(path) => Some(path.clone()),
        None => {
            let here = PathBuf::from(file::NAME);
            (args.command.is_empty() && args.image.is_none() && here.exists()).then_some(here)
        }
    }
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

fn entrypoint() -> Result<Vec<String>, Failure> {
    let nothing =
        "there is no connector to run: say `-- COMMAND`, `--image NAME` or `--shim DIR`, or set AIRBYTE_ENTRYPOINT";
    let command = std::env::var(AIRBYTE_ENTRYPOINT).map_err(|_| Failure::new(nothing))?;
    let words = shell_words::split(&command).or_fail(format!("{AIRBYTE_ENTRYPOINT} can't be split into words"))?;
    if words.is_empty() { Err(Failure::new(nothing)) } else { Ok(words) }
}
