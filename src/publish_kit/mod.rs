//! `flow-shim publish-kit`: all that it takes to publish a connector as a Flow capture. It writes a shim where there is none,
//! proves the connector, encrypts the config, and prints the commands that build, push and publish.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::error;
use crate::flow::response::DiscoveredBinding;
use crate::init::{self, flow_yaml, yaml};
use crate::process::shutdown::Shutdown;
use crate::prove;
use crate::serve;
use crate::session::{Session, publish};
use crate::settings::SourceArgs;
use crate::settings::config::ConfigArg;
use crate::terminal::Screen;

#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The directory of the shim; written first if it has no shim.yaml
    dir: PathBuf,
    #[command(flatten)]
    config: ConfigArg,
    /// The image to build and push, with its registry and tag: ghcr.io/acmeco/source-x-flow:v1
    #[arg(long, value_name = "NAME:TAG", value_parser = image_name)]
    push: String,
    /// The Flow prefix of the capture and its collections [default: acmeCo/ and the directory's name]
    #[arg(long, value_name = "PREFIX", value_parser = flow_name)]
    prefix: Option<String>,
    /// Do not run `prove` first: for a connector that gets a new refresh token at each start, which would use up the config's
    #[arg(long)]
    no_prove: bool,
    #[command(flatten, next_help_heading = "Source")]
    origin: init::OriginArgs,
}

const HELP: &str = "\
Writes DIR/publish with a flow.yaml and the encrypted config, and prints the commands that build the image, push it, and \
publish the capture. Before that, `prove` shows whether the connector loses data. The values that the connector's config \
schema marks as secret are encrypted by Flow's service, or by the one that ENCRYPTION_URL names, and are never written in clear.

Examples:
  flow-shim publish-kit --config config.yaml --push ghcr.io/acmeco/source-faker-flow:v1 shims/faker
  flow-shim publish-kit --config config.yaml --push ghcr.io/acmeco/tap-x-flow:v1 --singer tap-x shims/x -- venv/bin/tap-x";

/// A short proof: as many documents per run, and as many kills.
const DOCUMENTS: u64 = 1000;
const KILLS: u32 = 2;

/// The names of the files in DIR/publish.
const FLOW: &str = "flow.yaml";
const CONFIG: &str = "config.sops.json";

pub async fn run(args: Args, shutdown: &Shutdown, mut stdout: File) -> ExitCode {
    let screen = Screen::open();
    screen.conclude(publish_kit(&args, shutdown, &screen, &mut stdout).await)
}

async fn publish_kit(args: &Args, shutdown: &Shutdown, screen: &Screen, stdout: &mut File) -> Result<()> {
    let folder = args.dir.join("publish");
    if let Some(there) = [FLOW, CONFIG].iter().map(|it| folder.join(it)).find(|it| it.exists()) {
        bail!("{} already exists: nothing was written", there.display());
    }
    init::write_if_missing(&args.dir, &args.origin, &args.config, shutdown, screen).await?;
    let source = SourceArgs::of_shim(&args.dir);
    let session = Session::resolve(&source, shutdown.clone())?;
    screen.status("asking the connector for its spec");
    let Some(config) = session.load_config(&args.config).await? else {
        bail!("the capture needs a config: use --config FILE");
    };
    session.compare_with_schema(&config).await?;
    screen.status("discovering streams");
    let streams = session.discover(&config).await.context("can't discover the streams")?;
    let mut bindings = serve::discovered(streams, &session.settings.streams);
    bindings.retain(|it| !it.disable);
    if bindings.is_empty() {
        bail!("the connector discovered no streams with this config");
    }
    if !args.no_prove {
        let proof = prove::Args::short(args.config.clone(), source, KILLS, DOCUMENTS);
        let report = stdout.try_clone().context("can't use stdout")?;
        prove::print_proof(proof, shutdown, screen, report).await.context("the connector is not proven")?;
    }
    screen.status("encrypting the config");
    let config: Value = serde_json::from_str(config.get()).context("can't read the config")?;
    let schema = session.describe().await?.config_schema;
    let encrypted = publish::encrypt(config, Some(&schema), shutdown).await.map_err(|failure| {
        let hint = "try again later, or name another service with ENCRYPTION_URL";
        error::with_hint(failure.context("can't encrypt the config"), hint)
    })?;
    let name = args.dir.canonicalize().unwrap_or_default();
    let name = name.file_name().and_then(|it| it.to_str()).unwrap_or("capture");
    let prefix = args.prefix.clone().unwrap_or_else(|| flow_yaml::prefix(name));
    fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
    write(&folder.join(CONFIG), &format!("{}\n", encrypted.get()))?;
    write(&folder.join(FLOW), &flow(&prefix, &args.push, &bindings))?;
    screen.settle();
    stdout.write_all(commands(args, &folder, &prefix).as_bytes()).context("can't write to stdout")
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut it| it.write_all(text.as_bytes())).with_context(|| format!("can't write {}", path.display()))
}

/// The Flow spec: the image with the encrypted config.
fn flow(prefix: &str, image: &str, bindings: &[DiscoveredBinding]) -> String {
    let mut lines = vec![
        "captures:".to_owned(),
        format!("  {}:", yaml::text(&format!("{prefix}/capture"))),
        "    endpoint:".to_owned(),
        "      connector:".to_owned(),
        format!("        image: {}", yaml::text(image)),
        format!("        config: {CONFIG}"),
    ];
    lines.extend(flow_yaml::AUTO_DISCOVER.map(str::to_owned));
    flow_yaml::with_bindings(&mut lines, prefix, bindings);
    lines.join("\n") + "\n"
}

fn commands(args: &Args, folder: &Path, prefix: &str) -> String {
    let quoted = |path: &Path| shell_words::quote(&path.to_string_lossy()).into_owned();
    let context = init::build_context(&args.dir).unwrap_or_else(|_| ".".to_owned());
    let (flow, config) = (folder.join(FLOW), folder.join(CONFIG));
    format!(
        "\nWritten:\n  {}\n  {}\n\nNext, to publish {prefix}/capture:\n  cp \"$(command -v flow-shim)\" {context}/\n  \
         docker build --platform linux/amd64 -t {image} -f {dockerfile} {context}\n  docker push {image}\n  \
         flowctl catalog publish --source {flow}\n",
        config.display(),
        flow.display(),
        image = args.push,
        dockerfile = quoted(&args.dir.join("Dockerfile")),
        context = shell_words::quote(&context),
        flow = quoted(&flow),
    )
}

/// Parses `--push`: Flow takes lower-case names with a registry and a tag.
fn image_name(text: &str) -> Result<String, String> {
    let (repository, tag) =
        text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).ok_or("it needs a tag: NAME:v1")?;
    if tag.is_empty() || !repository.split_once('/').is_some_and(|(registry, _)| registry.contains(['.', ':'])) {
        return Err("it needs its registry and a tag: ghcr.io/acmeco/source-x-flow:v1".to_owned());
    }
    if repository.contains(|it: char| it.is_ascii_uppercase()) {
        return Err(format!("image names are lower case: {}:{tag}", repository.to_lowercase()));
    }
    if !text.chars().all(|it| it.is_ascii_alphanumeric() || "-_./:".contains(it)) {
        return Err("image names have letters, digits and -_./: only".to_owned());
    }
    Ok(text.to_owned())
}

fn flow_name(text: &str) -> Result<String, String> {
    let prefix = text.trim_end_matches('/');
    let is_name = |it: &str| !it.is_empty() && it.chars().all(|it| it.is_alphanumeric() || "-_.".contains(it));
    match prefix.split('/').all(is_name) {
        true => Ok(prefix.to_owned()),
        false => Err("names in Flow have letters, digits, -, _ and ., with a / between them: acmeCo/shop".to_owned()),
    }
}
