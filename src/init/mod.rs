//! `flow-shim init`: writes a directory with everything that turns a connector into a Flow capture, filled in from the
//! connector's spec and, with a config, from its streams.

mod ci;
mod dockerfile;
pub mod flow_yaml;
mod from_atf;
mod image;
mod license;
mod origin;
mod package;
mod readme;
mod shim_yaml;
mod skeleton;
#[cfg(test)]
mod tests;
mod vendor;
pub mod yaml;

use anyhow::{Context, Result, anyhow, bail};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tracing::warn;

use crate::flow::response::DiscoveredBinding;
use crate::inspect::{self, config::Field};
use crate::process::launch::Target;
use crate::process::shutdown::Shutdown;
use crate::serve;
use crate::session::Described;
use crate::session::Session;
use crate::settings::Protocol;
use crate::settings::config::ConfigArg;
use crate::terminal::Screen;

use origin::{Base, Found, Origin};
pub use package::Package;
use vendor::VendorArgs;

#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The directory to write; created if missing
    dir: PathBuf,
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten, next_help_heading = "Source")]
    origin: OriginArgs,
    /// Convert the airbyte-to-flow files in DIR to an equivalent shim.yaml
    #[arg(long, conflicts_with_all = ["config", "image", "airbyte", "singer", "fivetran", "command"], help_heading = "Source")]
    from_atf: bool,
    #[command(flatten)]
    vendor: VendorArgs,
}

/// Which connector a shim is written for.
#[derive(clap::Args, Debug)]
pub struct OriginArgs {
    /// Image of an Airbyte source, run with docker or podman
    #[arg(long, value_name = "NAME", conflicts_with_all = ["airbyte", "singer", "fivetran", "command"])]
    image: Option<String>,
    /// Name of an Airbyte source on PyPI: source-x
    #[arg(long, value_name = "NAME", conflicts_with_all = ["singer", "fivetran"])]
    airbyte: Option<String>,
    /// Name of a Singer tap on PyPI: tap-x
    #[arg(long, value_name = "NAME", conflicts_with = "fivetran")]
    singer: Option<String>,
    /// A name for a Fivetran connector, whose command follows
    #[arg(long, value_name = "NAME", requires = "command")]
    fivetran: Option<String>,
    /// The connector's command [default: the program of that name in PATH]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

const HELP: &str = "\
Writes shim.yaml (with its schema for editors), Dockerfile, flow.yaml, README.md and a workflow for GitHub, filled in from the connector's spec. With a config, streams are \
discovered and flow.yaml gets a binding and a collection for each; no config values are written. --from-atf writes \
shim.yaml only and runs no connector. Existing files are never overwritten.

Examples:
  flow-shim init --image airbyte/source-faker:7.2.1 shims/faker
  flow-shim init --airbyte source-faker --config config.json shims/faker -- venv/bin/source-faker
  flow-shim init --singer tap-github shims/github
  flow-shim init --fivetran shop shims/shop -- python shop/main.py
  flow-shim init --from-atf source-hubspot
  flow-shim init --vendor --from https://github.com/acmeco/tap-x vendor/tap-x
  flow-shim init --vendor vendor/tap-x";

impl OriginArgs {
    fn origin(&self) -> Option<Origin> {
        let package =
            |protocol, name: &String| Origin::Package { protocol, name: name.clone(), command: self.command.clone() };
        let image = self.image.clone().map(Origin::Image);
        let airbyte = || self.airbyte.as_ref().map(|it| package(Protocol::Airbyte, it));
        let singer = || self.singer.as_ref().map(|it| package(Protocol::Singer, it));
        let fivetran =
            || self.fivetran.as_ref().map(|it| Origin::Fivetran { name: it.clone(), command: self.command.clone() });
        image.or_else(airbyte).or_else(singer).or_else(fivetran)
    }
}

/// The input of the generated files. It contains no config values.
struct Subject {
    name: String,
    protocol: Protocol,
    base: Base,
    /// The command or image for shim.yaml.
    target: Target,
    /// The directory, relative to the one that the image is built in.
    folder: String,
    documentation_url: Option<String>,
    /// The config's fields.
    fields: Vec<Field>,
    resource_schema: Value,
    /// The OAuth provider, if users can sign in.
    provider: Option<String>,
    /// Why users can't sign in although the connector declares OAuth.
    oauth2_missing: Option<String>,
    /// A proposed config schema for a connector that describes none.
    undescribed: Option<Value>,
    bindings: Option<Vec<DiscoveredBinding>>,
}

impl Subject {
    /// The directory that its image is built in, for a sentence.
    fn build_directory(&self) -> String {
        match self.folder.as_str() {
            "." => "this directory".to_owned(),
            folder => format!("the directory that contains {folder}"),
        }
    }

    /// The path of one of the generated files, from the build directory.
    fn path_of(&self, file: &str) -> String {
        match self.folder.as_str() {
            "." => file.to_owned(),
            folder => format!("{folder}/{file}"),
        }
    }

    /// The name of the image that the Dockerfile builds.
    fn image_name(&self) -> String {
        format!("{}-flow", self.name.to_lowercase())
    }
}

/// Runs `flow-shim init`.
pub async fn run(args: &Args, shutdown: &Shutdown, mut stdout: File) -> ExitCode {
    let screen = Screen::open();
    screen.conclude(init(args, shutdown, &screen).await.and_then(|text| {
        screen.settle();
        stdout.write_all(text.as_bytes()).context("can't write to stdout")
    }))
}

async fn init(args: &Args, shutdown: &Shutdown, screen: &Screen) -> Result<String> {
    if args.from_atf {
        return from_atf::write(&args.dir);
    }
    if args.vendor.vendor {
        screen.status("asking git");
        return vendor::run(&args.dir, &args.vendor);
    }
    let (place, subject) = write(&args.dir, &args.origin, &args.config, shutdown, screen).await?;
    Ok(summary(&args.dir, &place, &subject, &FILES))
}

/// Writes the shim of a connector.
async fn write(
    dir: &Path,
    origin: &OriginArgs,
    config: &ConfigArg,
    shutdown: &Shutdown,
    screen: &Screen,
) -> Result<(Place, Subject)> {
    let place = Place::of(dir)?;
    // Checked before the connector starts, which takes a while.
    expect_none(dir, &FILES)?;
    let origin = origin.origin().ok_or_else(|| anyhow!("say --image, --airbyte, --singer or --fivetran"))?;
    let subject = ask(origin.find()?, dir, config, &place, shutdown, screen).await?;
    let texts = [
        shim_yaml::text(&subject),
        SCHEMA.to_owned(),
        dockerfile::text(&subject),
        flow_yaml::text(&subject),
        readme::text(&subject),
        ci::text(&subject),
    ];
    write_all(dir, &FILES.into_iter().zip(texts).collect::<Vec<_>>())?;
    match subject.base.license_and_source().0 {
        Some(license) => {
            license::remark(license).into_iter().for_each(|it| warn!("the connector's license is {license}. {it}"))
        }
        None if matches!(subject.base, Base::Command) => {}
        None => warn!("the connector's metadata names no license: find out whether you may use it"),
    }
    Ok((place, subject))
}

/// The directory that the image of a shim is built in.
pub fn build_context(dir: &Path) -> Result<String> {
    Place::of(dir).map(|it| it.context)
}

/// Writes the shim of a connector, unless there is one.
pub async fn write_if_missing(
    dir: &Path,
    origin: &OriginArgs,
    config: &ConfigArg,
    shutdown: &Shutdown,
    screen: &Screen,
) -> Result<()> {
    match (dir.join(FILES[0]).exists(), origin.origin()) {
        (true, None) => Ok(()),
        (true, Some(_)) => bail!("{} has a shim.yaml already: leave out where the connector comes from", dir.display()),
        (false, None) => bail!(
            "{} has no shim.yaml: say what to write one for, with --image, --airbyte, --singer or --fivetran",
            dir.display()
        ),
        (false, Some(_)) => write(dir, origin, config, shutdown, screen).await.map(drop),
    }
}

/// What is written, in this order.
const FILES: [&str; 6] =
    ["shim.yaml", "shim.schema.json", "Dockerfile", "flow.yaml", "README.md", ".github/workflows/ci.yml"];

/// For editors: what shim.yaml may contain.
const SCHEMA: &str = include_str!("../../shim.schema.json");

/// Runs the connector's spec and, with a config, its discovery.
async fn ask(
    found: Found,
    dir: &Path,
    config: &ConfigArg,
    place: &Place,
    shutdown: &Shutdown,
    screen: &Screen,
) -> Result<Subject> {
    let mut session = Session::bare(found.target.clone(), found.protocol, shutdown.clone())?;
    session.settings.folder = Some(dir.to_owned());
    screen.status("asking the connector for its spec");
    let given = session.load_config(config).await?;
    let given = given.as_deref();
    let described = session.describe().await?;
    let base = match found.base {
        Base::Image(image) => Base::Image(image::inspect(&image.name, shutdown).await?),
        other => other,
    };
    let bindings = match given {
        Some(config) => {
            screen.status("discovering streams");
            session.compare_with_schema(config).await?;
            let streams = session.discover(config).await.context("can't discover the streams")?;
            Some(serve::discovered(streams, &session.settings.streams))
        }
        None => None,
    };
    let Described { config_schema, oauth2, missing, documentation_url, .. } = described;
    let mut fields = inspect::config::fields(&config_schema);
    let undescribed = (found.protocol != Protocol::Airbyte && fields.is_empty()).then(|| proposed(given));
    if let (Some(schema), Some(_)) = (&undescribed, given) {
        fields = inspect::config::fields(schema);
    }
    Ok(Subject {
        name: found.name,
        protocol: found.protocol,
        target: match found.target {
            Target::Command(command) => Target::Command(origin::seen_from(dir, &command)),
            // With its registry, which the container engine has added.
            Target::Image(name) => Target::Image(match &base {
                Base::Image(image) => image.name.clone(),
                Base::Package(_) | Base::Manifest { .. } | Base::Command => name,
            }),
        },
        base,
        folder: place.folder.clone(),
        documentation_url: documentation_url.filter(|it| is_link(it)),
        fields,
        resource_schema: session.upstream.resource_schema().0,
        provider: provider(oauth2),
        oauth2_missing: missing,
        undescribed,
        bindings,
    })
}

fn is_link(url: &str) -> bool {
    url.starts_with("http") && !url.contains(char::is_whitespace)
}

fn provider(oauth2: Option<Value>) -> Option<String> {
    oauth2.map(|it| it["provider"].as_str().unwrap_or("the provider").to_owned())
}

/// The files of a shim that runs a low-code manifest, with their names: to be put beside its `manifest.yaml`. `session` runs
/// the manifest here.
pub async fn of_manifest(
    name: &str,
    cdk: Package,
    session: &Session,
    bindings: Option<Vec<DiscoveredBinding>>,
) -> Result<Vec<(&'static str, String)>> {
    let Described { config_schema, oauth2, missing, documentation_url, .. } = session.describe().await?;
    let subject = Subject {
        name: name.to_owned(),
        protocol: Protocol::Airbyte,
        base: Base::Manifest { cdk },
        target: Target::Command(vec![format!("./{MANIFEST_SOURCE}")]),
        folder: ".".to_owned(),
        documentation_url: documentation_url.filter(|it| is_link(it)),
        fields: inspect::config::fields(&config_schema),
        resource_schema: session.upstream.resource_schema().0,
        provider: provider(oauth2),
        oauth2_missing: missing,
        undescribed: None,
        bindings,
    };
    Ok(vec![
        ("shim.yaml", shim_yaml::text(&subject)),
        ("Dockerfile", dockerfile::text(&subject)),
        ("flow.yaml", flow_yaml::text(&subject)),
        ("README.md", readme::text(&subject)),
        ("shim.schema.json", SCHEMA.to_owned()),
        (MANIFEST_SOURCE, MANIFEST_SOURCE_TEXT.to_owned()),
    ])
}

/// The program that runs the manifest.yaml beside it as an Airbyte source.
pub const MANIFEST_SOURCE: &str = "source";
pub const MANIFEST_SOURCE_TEXT: &str = include_str!("../../shims/declarative-manifest/source");

/// Proposes a config schema for a connector without one: the given config's fields with their types, all required.
fn proposed(given: Option<&RawValue>) -> Value {
    let given = given.and_then(|it| serde_json::from_str(it.get()).ok());
    let example = || Map::from_iter(["start_date", "api_token"].map(|it| (it.to_owned(), Value::from(""))));
    shim_yaml::schema_of(&given.unwrap_or_else(example))
}

/// The target directory relative to the build context of its image.
struct Place {
    folder: String,
    context: String,
}

impl Place {
    fn of(dir: &Path) -> Result<Self> {
        let here = std::env::current_dir().context("can't read the current directory")?;
        let below = dir.strip_prefix(&here).unwrap_or(dir);
        let plain: PathBuf = below.components().filter(|it| *it != Component::CurDir).collect();
        let folder = match plain.components().all(|it| matches!(it, Component::Normal(_))) {
            true => (plain, PathBuf::from(".")),
            // Outside of the working directory, the build context is the parent directory.
            false => (dir.file_name().unwrap_or_default().into(), dir.parent().unwrap_or(dir).to_owned()),
        };
        let (folder, context) = (text_of(&folder.0)?, text_of(&folder.1)?);
        Ok(match (folder.is_empty(), context.as_str()) {
            (true, ".") => Self { folder: ".".to_owned(), context },
            (true, _) => {
                bail!("the directory {} has no name: give its full path", dir.display());
            }
            _ => Self { folder, context },
        })
    }
}

fn text_of(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(it) if !it.contains(char::is_control) => Ok(it.to_owned()),
        _ => Err(anyhow!("the directory's name {path:?} is not valid in the generated files")),
    }
}

/// A word quoted for a shell.
fn quoted(word: &str) -> String {
    shell_words::quote(word).into_owned()
}

fn expect_none(dir: &Path, names: &[&str]) -> Result<()> {
    if dir.exists() && !dir.is_dir() {
        bail!("{} is not a directory: name a new one", dir.display());
    }
    match names.iter().map(|it| dir.join(it)).find(|it| it.symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(there) => Err(anyhow!("{} already exists: nothing was written", there.display())),
    }
}

/// Writes all files or none.
fn write_all(dir: &Path, files: &[(&str, String)]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("can't create the directory {}", dir.display()))?;
    let mut written: Vec<PathBuf> = Vec::new();
    for (name, text) in files {
        let path = dir.join(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let result = folder.and_then(|()| File::create_new(&path)).and_then(|mut file| {
            written.push(path.clone());
            file.write_all(text.as_bytes())
        });
        if let Err(error) = result {
            written.iter().for_each(|it| drop(fs::remove_file(it)));
            return Err(error).with_context(|| format!("can't write {}", path.display()));
        }
    }
    Ok(())
}

fn summary(dir: &Path, place: &Place, subject: &Subject, names: &[&str]) -> String {
    let mut lines = vec!["Written:".to_owned()];
    lines.extend(names.iter().map(|it| format!("  {}", dir.join(it).display())));
    lines.extend([String::new(), "Next:".to_owned()]);
    let dir = dir.to_string_lossy();
    lines.push(format!("  flow-shim preview --shim {} --config config.json --limit 20", quoted(&dir)));
    lines.push(format!(
        "  docker build --platform linux/amd64 -t {} -f {} {}",
        subject.image_name(),
        quoted(&format!("{}/Dockerfile", dir.trim_end_matches('/'))),
        quoted(&place.context)
    ));
    lines.join("\n") + "\n"
}
