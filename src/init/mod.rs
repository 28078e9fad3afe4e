//! `flow-shim init`: a folder with all that a connector needs to become a Flow capture, filled in by what it says of
//! itself.

mod dockerfile;
mod flow_yaml;
mod from_atf;
mod image;
mod origin;
mod package;
mod readme;
mod shim_yaml;
mod skeleton;
#[cfg(test)]
mod tests;
mod yaml;

use anyhow::{Context, Result, anyhow, bail};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::flow::name::normalise;
use crate::flow::response::DiscoveredBinding;
use crate::inspect::config::{self, Field};
use crate::process::launch::Target;
use crate::process::shutdown::Shutdown;
use crate::secrets;
use crate::serve;
use crate::session::Described;
use crate::session::Session;
use crate::settings::Protocol;
use crate::settings::config::ConfigArg;
use crate::terminal::Screen;

use origin::{Base, Found, Origin};

#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
#[group(id = "origin", required = true, args = ["image", "airbyte", "singer", "from_atf"])]
pub struct Args {
    /// The folder to write; it is made where there is none
    dir: PathBuf,
    #[command(flatten)]
    config: ConfigArg,
    /// An Airbyte source's image, run with docker or podman
    #[arg(long, value_name = "NAME", conflicts_with = "command", help_heading = "Source")]
    image: Option<String>,
    /// An Airbyte source from PyPI, by its name: source-x
    #[arg(long, value_name = "NAME", help_heading = "Source")]
    airbyte: Option<String>,
    /// A Singer tap from PyPI, by its name: tap-x
    #[arg(long, value_name = "NAME", help_heading = "Source")]
    singer: Option<String>,
    /// The files of airbyte-to-flow that lie in DIR: its shim.yaml will say the same
    #[arg(long, conflicts_with_all = ["config", "command"], help_heading = "Source")]
    from_atf: bool,
    /// The connector's command [default: the program of that name in PATH]
    #[arg(last = true, value_name = "COMMAND", help_heading = "Source")]
    command: Vec<String>,
}

const HELP: &str = "\
Written are shim.yaml, Dockerfile, flow.yaml and README.md, filled in with what the connector says of itself. With a \
config its streams are discovered, and flow.yaml has a binding and a collection for each; no value of the config is \
written anywhere. With --from-atf it is shim.yaml alone, and no connector is run. Nothing is overwritten.

Examples:
  flow-shim init --image airbyte/source-faker:7.2.1 shims/faker
  flow-shim init --airbyte source-faker --config config.json shims/faker -- venv/bin/source-faker
  flow-shim init --singer tap-github shims/github
  flow-shim init --from-atf source-hubspot";

impl Args {
    fn origin(&self) -> Option<Origin> {
        let package =
            |protocol, name: &String| Origin::Package { protocol, name: name.clone(), command: self.command.clone() };
        let image = self.image.clone().map(Origin::Image);
        let airbyte = || self.airbyte.as_ref().map(|it| package(Protocol::Airbyte, it));
        let singer = || self.singer.as_ref().map(|it| package(Protocol::Singer, it));
        image.or_else(airbyte).or_else(singer)
    }
}

/// All that the written texts are made of. No value of a config that was given is among it.
struct Subject {
    name: String,
    protocol: Protocol,
    base: Base,
    /// As shim.yaml says it.
    target: Target,
    /// The folder, from where one builds its image.
    folder: String,
    documentation_url: Option<String>,
    /// Of the config.
    fields: Vec<Field>,
    resource_schema: Value,
    /// With whom users sign in.
    provider: Option<String>,
    /// Why they can't, where they could.
    oauth2_missing: Option<String>,
    /// Of a tap that does not describe its config: what it might say.
    undescribed: Option<Value>,
    bindings: Option<Vec<DiscoveredBinding>>,
}

impl Subject {
    /// The capture, or a collection of it.
    fn catalog_name(&self, last: &str) -> String {
        format!("acmeCo/{}/{last}", normalise(&self.name))
    }

    /// Of the image that is built.
    fn image_name(&self) -> String {
        format!("{}-flow", self.name.to_lowercase())
    }
}

/// Writes the folder, and says how it went.
pub async fn run(args: &Args, shutdown: &Shutdown, mut stdout: File) -> ExitCode {
    let screen = Screen::open();
    screen.conclude(init(args, shutdown, &screen).await.and_then(|said| {
        screen.settle();
        stdout.write_all(said.as_bytes()).context("can't write to stdout")
    }))
}

async fn init(args: &Args, shutdown: &Shutdown, screen: &Screen) -> Result<String> {
    if args.from_atf {
        return from_atf::write(&args.dir);
    }
    let place = Place::of(&args.dir)?;
    let names = ["shim.yaml", "Dockerfile", "flow.yaml", "README.md"];
    // Before a connector is asked, which takes its time.
    expect_none(&args.dir, &names)?;
    let config = args.config.read(Some(&args.dir))?;
    let origin = args.origin().ok_or_else(|| anyhow!("say --image, --airbyte or --singer"))?;
    let subject = ask(origin.find()?, config.as_deref(), &args.dir, &place, shutdown, screen).await?;
    let texts =
        [shim_yaml::text(&subject), dockerfile::text(&subject), flow_yaml::text(&subject), readme::text(&subject)];
    write_all(&args.dir, &names.into_iter().zip(texts).collect::<Vec<_>>())?;
    Ok(said(&args.dir, &place, &subject, &names))
}

/// Asks the connector about itself.
async fn ask(
    found: Found,
    given: Option<&RawValue>,
    dir: &Path,
    place: &Place,
    shutdown: &Shutdown,
    screen: &Screen,
) -> Result<Subject> {
    let session = Session::bare(found.target.clone(), found.protocol, shutdown.clone())?;
    screen.status("asking the connector for its spec");
    let Described { config_schema, oauth2, missing, documentation_url, .. } = session.describe().await?;
    let base = match found.base {
        Base::Image(image) => Base::Image(image::inspect(&image.name).await?),
        package @ Base::Package(_) => package,
    };
    let bindings = match given {
        Some(config) => {
            secrets::redact_config(config, None);
            screen.status("discovering streams");
            let streams = session.discover(config).await.context("can't discover the streams")?;
            Some(serve::discovered(streams, &session.settings.streams))
        }
        None => None,
    };
    let mut fields = config::fields(&config_schema);
    let undescribed = (found.protocol == Protocol::Singer && fields.is_empty()).then(|| proposed(given));
    if let (Some(schema), Some(_)) = (&undescribed, given) {
        fields = config::fields(schema);
    }
    Ok(Subject {
        name: found.name,
        protocol: found.protocol,
        base,
        target: match found.target {
            Target::Command(command) => Target::Command(origin::seen_from(dir, &command)),
            image @ Target::Image(_) => image,
        },
        folder: place.folder.clone(),
        documentation_url: documentation_url.filter(|it| it.starts_with("http") && !it.contains(char::is_whitespace)),
        fields,
        resource_schema: session.upstream.resource_schema().0,
        provider: oauth2.map(|it| it["provider"].as_str().unwrap_or("the provider").to_owned()),
        oauth2_missing: missing,
        undescribed,
        bindings,
    })
}

/// The schema that a tap without one might have: what was given as its config must be in it, whatever its value was.
fn proposed(given: Option<&RawValue>) -> Value {
    let given = given.and_then(|it| serde_json::from_str(it.get()).ok());
    let example = || Map::from_iter(["start_date", "api_token"].map(|it| (it.to_owned(), Value::from(""))));
    shim_yaml::schema_of(&given.unwrap_or_else(example))
}

/// Where the folder is, seen from the one that its image is built in.
struct Place {
    folder: String,
    context: String,
}

impl Place {
    fn of(dir: &Path) -> Result<Self> {
        let here = std::env::current_dir().context("can't tell which folder this is")?;
        let below = dir.strip_prefix(&here).unwrap_or(dir);
        let plain: PathBuf = below.components().filter(|it| *it != Component::CurDir).collect();
        let folder = match plain.components().all(|it| matches!(it, Component::Normal(_))) {
            true => (plain, PathBuf::from(".")),
            // Elsewhere, it is built in the folder that it lies in.
            false => (dir.file_name().unwrap_or_default().into(), dir.parent().unwrap_or(dir).to_owned()),
        };
        let (folder, context) = (text_of(&folder.0)?, text_of(&folder.1)?);
        Ok(match (folder.is_empty(), context.as_str()) {
            (true, ".") => Self { folder: ".".to_owned(), context },
            (true, _) => {
                bail!("the folder {} has no name of its own: name it", dir.display());
            }
            _ => Self { folder, context },
        })
    }
}

fn text_of(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(it) if !it.contains(char::is_control) => Ok(it.to_owned()),
        _ => Err(anyhow!("the folder's name {path:?} can't be written into files")),
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    shell_words::quote(word).into_owned()
}

fn expect_none(dir: &Path, names: &[&str]) -> Result<()> {
    match names.iter().map(|it| dir.join(it)).find(|it| it.symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(there) => {
            Err(anyhow!("{} is there already: nothing is overwritten, and nothing was written", there.display()))
        }
    }
}

/// All of it or nothing.
fn write_all(dir: &Path, files: &[(&str, String)]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("can't make the folder {}", dir.display()))?;
    let mut written: Vec<PathBuf> = Vec::new();
    for (name, text) in files {
        let path = dir.join(name);
        let result = File::create_new(&path).and_then(|mut file| {
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

fn said(dir: &Path, place: &Place, subject: &Subject, names: &[&str]) -> String {
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
