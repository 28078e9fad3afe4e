//! The Python that runs manifests: one that the user names, or a virtual environment of our own with Airbyte's CDK.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::error::Stopped;
use crate::process::program::search_path;
use crate::process::shutdown::Shutdown;
use crate::process::thread;
use crate::terminal::Screen;

/// The version that the tests run.
const CDK: &str = "7.39.1";

/// The interpreters that this version of the CDK works with, best first.
const PYTHONS: [&str; 5] = ["python3.11", "python3.12", "python3.13", "python3.10", "python3"];

/// How long Python may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a virtual environment has once all is installed.
const COMPLETE: &str = ".flow-shim-complete";

/// A Python that has the CDK.
#[derive(Clone, Debug)]
pub struct Python {
    pub program: PathBuf,
    /// Its version: `3.11`.
    pub version: String,
    pub cdk: String,
    /// The directory of the package airbyte_cdk.
    pub package: PathBuf,
}

impl Python {
    /// The JSON schema of manifests.
    pub fn component_schema(&self) -> PathBuf {
        self.package.join("sources/declarative/declarative_component_schema.yaml")
    }
}

/// Imports nothing: the CDK takes seconds to import.
const PROBE: &str = "\
import importlib.metadata, importlib.util, json, sys
spec = importlib.util.find_spec('airbyte_cdk')
found = {'version': '%d.%d' % sys.version_info[:2]}
if spec:
    found['cdk'] = importlib.metadata.version('airbyte-cdk')
    found['package'] = list(spec.submodule_search_locations)[0]
print(json.dumps(found))";

#[derive(Deserialize)]
struct Found {
    version: String,
    cdk: Option<String>,
    package: Option<PathBuf>,
}

/// The Python that `--python` names, or that of our own environment, which is created if the user agrees.
pub async fn find(given: Option<&Path>, shutdown: &Shutdown) -> Result<Python> {
    if let Some(program) = given {
        return probe(program).await;
    }
    let folder = folder()?;
    let python = folder.join("bin/python");
    if folder.join(COMPLETE).exists()
        && let Ok(found) = probe(&python).await
    {
        return Ok(found);
    }
    let wanted = format!("airbyte-cdk=={CDK}");
    let base = PYTHONS.into_iter().find_map(search_path).ok_or_else(|| {
        anyhow!("there is no Python 3.10 to 3.13, which Airbyte's CDK needs: install one, or name it with --python")
    })?;
    let by_hand = format!("{base} -m venv venv && venv/bin/pip install {wanted}`, then say `--python venv/bin/python`");
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        bail!(
            "Airbyte's CDK is not installed: run `{by_hand}, or run flow-shim builder in a terminal, to have it installed"
        );
    }
    if !agreed(&folder, &wanted, shutdown).await? {
        bail!("Airbyte's CDK is needed: run `{by_hand}");
    }
    let screen = Screen::open();
    let created = tokio::select! {
        reason = shutdown.requested() => Err(Stopped(reason).into()),
        created = create(&base, &folder, &wanted, &screen) => created,
    };
    screen.settle();
    created?;
    probe(&python).await
}

/// Where our own environment is.
fn folder() -> Result<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|it| it.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share"));
    let data = data.or_else(home).context("HOME is not set: name a Python that has airbyte-cdk with --python")?;
    Ok(data.join("flow-shim").join(format!("airbyte-cdk-{CDK}")))
}

async fn probe(program: &Path) -> Result<Python> {
    let name = program.display();
    let mut command = Command::new(program);
    command.args(["-c", PROBE]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .map_err(|_| anyhow!("{name} does not answer: name another Python with --python"))?
        .with_context(|| format!("can't run {name}: name a Python that has airbyte-cdk with --python"))?;
    let found: Found = serde_json::from_slice(&output.stdout)
        .map_err(|_| anyhow!("{name} is not a Python of version 3.10 or newer: name another with --python"))?;
    let (Some(cdk), Some(package)) = (found.cdk, found.package) else {
        bail!("{name} has no airbyte-cdk: run `{name} -m pip install airbyte-cdk=={CDK}`");
    };
    Ok(Python { program: program.to_owned(), version: found.version, cdk, package })
}

/// Asks on the terminal.
async fn agreed(folder: &Path, wanted: &str, shutdown: &Shutdown) -> Result<bool> {
    eprintln!("Manifests are run by Airbyte's CDK, a Python package, which is not installed.");
    eprint!("Install {wanted} from PyPI into {} (about 350 MB)? [Y/n] ", folder.display());
    let _ = std::io::stderr().flush();
    let answer = thread::spawn("answer", || {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|length| (length > 0).then_some(line))
    })?;
    let answer = tokio::select! {
        reason = shutdown.requested() => return Err(Stopped(reason).into()),
        answer = answer => answer.and_then(Result::ok).flatten(),
    };
    Ok(answer.is_some_and(|it| ["", "y", "yes"].contains(&it.trim().to_lowercase().as_str())))
}

/// Creates the environment; one that is incomplete is made anew.
async fn create(base: &str, folder: &Path, wanted: &str, screen: &Screen) -> Result<()> {
    let failed = || format!("can't create a virtual environment in {}", folder.display());
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).with_context(failed)?;
    screen.status("creating a virtual environment");
    run(Command::new(base).args(["-m", "venv"]).arg(folder), |_| ()).await.with_context(failed)?;
    screen.status("asking PyPI for airbyte-cdk");
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off", wanted]);
    let mut packages = 0;
    let installed = run(&mut pip, |line| {
        if line.starts_with("Collecting ") {
            packages += 1;
        }
        if let Some(what) = step(line) {
            screen.status(&format!("{what} ({packages} packages so far)"));
        }
    });
    installed.await.with_context(|| format!("can't install {wanted}"))?;
    std::fs::write(folder.join(COMPLETE), wanted).with_context(failed)
}

/// What pip is doing, for people.
fn step(line: &str) -> Option<String> {
    let line = line.trim();
    match line.split_once(' ')? {
        ("Collecting", what) => Some(format!("resolving {}", what.split([' ', '<', '>', '=', '!', '~']).next()?)),
        ("Downloading", what) => Some(format!("downloading {}", what.rsplit('/').next()?)),
        ("Installing", _) => Some("installing the packages".to_owned()),
        _ => None,
    }
}

/// Runs a program to its end, with its lines of stdout. The error has its last line of stderr.
async fn run(command: &mut Command, mut line: impl FnMut(&str)) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().context("no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let reading = async {
        while let Ok(Some(it)) = lines.next_line().await {
            line(&it);
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), reading);
    let output = output?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().rev().find(|it| !it.trim().is_empty()).unwrap_or("it gave no reason");
    Err(anyhow!("{}", said.trim().to_owned()))
}
