//! The commands `--about`, `--discover` and a sync: each is one run of the tap.

use crate::error::{self, Stopped};
use anyhow::{Context, Result, anyhow, bail};
use std::io::{self, Read};
use std::process::ChildStdout;
use tracing::warn;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::selection::{self, Form};
use super::{Singer, about, catalog, state};
use crate::json::compact::compact;
use crate::json::hints::Hints;
use crate::json::repair::repair;
use crate::json::scan::{Kind, Scanner};
use crate::process::activity::Activity;
use crate::process::files::Files;
use crate::process::launch::{Launcher, Prepared, in_words};
use crate::process::stderr::Stderr;
use crate::process::supervise::{Connector, End, Exit, Finished, Reading};
use crate::process::thread;
use crate::settings::CatalogOption;
use crate::upstream::{ErrorLog, Stream, SyncRequest, log_line};

/// Names of the private files.
pub const CONFIG: &str = "config.json";
const CATALOG: &str = "catalog.json";
const PROPERTIES: &str = "properties.json";
const STATE: &str = "state.json";

/// The config schema that `--about` prints; none if the tap has no such option or prints no settings.
pub async fn about(launcher: &Launcher) -> Result<Option<Value>> {
    let run = run(launcher, launcher.prepare().await?, &["--about", "--format=json"], usize::MAX).await?;
    let settings = document(&run.stdout, "settings").and_then(|it| {
        #[derive(Deserialize)]
        struct About {
            settings: Value,
        }
        Some(serde_json::from_str::<About>(it.get()).ok()?.settings)
    });
    Ok(settings.filter(Value::is_object))
}

pub async fn discover(singer: &Singer, launcher: &Launcher, config: &RawValue) -> Result<Vec<Stream>> {
    if let Some(catalog) = &singer.discovered {
        return catalog::streams(catalog);
    }
    let mut prepared = launcher.prepare().await?;
    let path = prepared.write(CONFIG, config.get())?;
    let run = run(launcher, prepared, &["--config", &path, "--discover"], usize::MAX).await?;
    if let Some(config) = run.config.as_deref().and_then(|it| changed(it, config)) {
        launcher.rotated.leave(config);
    }
    let failure = || ErrorLog::default().explain(run.exit, &run.stderr);
    match document(&run.stdout, "streams") {
        Some(catalog) => {
            if run.exit != Exit::Code(0) {
                warn!("the tap printed its catalog, but then failed: {:#}", failure());
            }
            catalog::streams(&catalog)
        }
        None => {
            let help = help(launcher).await?;
            if AIRBYTE_COMMANDS.iter().all(|it| help.contains(it)) {
                Err(error::with_hint(failure(), "if it is an Airbyte source, leave out `--protocol singer`"))
            } else if run.exit == Exit::Code(0) {
                bail!("the tap printed no catalog with --discover: if it is a Singer tap, {NO_DISCOVERY}")
            } else if help.contains("--config") && !help.contains("--discover") {
                Err(failure().context(NO_DISCOVERY))
            } else {
                Err(failure())
            }
        }
    }
}

pub async fn read(singer: &Singer, launcher: &Launcher, sync: &SyncRequest<'_>) -> Result<Connector> {
    let mut prepared = launcher.prepare().await?;
    let path = prepared.write(CONFIG, sync.config.get())?;
    let mut arguments = vec!["--config".to_owned(), path];
    let forms = match singer.catalog {
        CatalogOption::Catalog => vec![Form::Metadata],
        CatalogOption::Properties => vec![Form::Schemas],
        CatalogOption::None => Vec::new(),
        CatalogOption::Auto => match sync.spec.and_then(|it| it.options.as_ref()) {
            Some(known) => accepted_forms(known),
            None => accepted_forms(&options(launcher).await?),
        },
    };
    for form in forms {
        let (option, file) = match form {
            Form::Metadata => (CATALOG_OPTION, CATALOG),
            Form::Schemas => (PROPERTIES_OPTION, PROPERTIES),
        };
        let content = selection::catalog(sync, form)?;
        arguments.extend([option.to_owned(), prepared.write(file, content.get())?]);
    }
    if let Some(value) = state::join(sync) {
        arguments.extend(["--state".to_owned(), prepared.write(STATE, value.get())?]);
    }
    prepared.start(arguments).await
}

/// The options that take the catalog, of those that the tap's help lists. singer-python's parser lists both for every
/// tap, and some taps read only `--properties`.
fn accepted_forms(options: &[String]) -> Vec<Form> {
    let has = |name: &str| options.iter().any(|it| it == name);
    match (has(CATALOG_OPTION), has(PROPERTIES_OPTION)) {
        (true, true) => vec![Form::Metadata, Form::Schemas],
        (false, true) => vec![Form::Schemas],
        (_, false) => vec![Form::Metadata],
    }
}

const CATALOG_OPTION: &str = "--catalog";
const PROPERTIES_OPTION: &str = "--properties";

const NO_DISCOVERY: &str =
    "it has no --discover: write its catalog to a file and name that file as `catalogFile` in shim.yaml";

/// What the help of an Airbyte source lists.
const AIRBYTE_COMMANDS: [&str; 4] = ["spec", "check", "discover", "read"];

/// What the tap's `--help` prints. `--about` is for taps that look for the options they know and sync if there is none: with
/// it, they do not take this for a sync. Parsers answer the first option.
async fn help(launcher: &Launcher) -> Result<String> {
    let run = run(launcher, launcher.prepare().await?, &["--help", "--about"], LONGEST_HELP).await?;
    Ok(String::from_utf8_lossy(&run.stdout).into_owned())
}

/// Those of a tap's options that its help mentions and that matter here.
pub async fn options(launcher: &Launcher) -> Result<Vec<String>> {
    let help = help(launcher).await?;
    let known = ["--config", "--discover", CATALOG_OPTION, PROPERTIES_OPTION];
    Ok(known.into_iter().filter(|it| help.contains(it)).map(str::to_owned).collect())
}

/// A tap that takes `--help` for a sync may print anything.
const LONGEST_HELP: usize = 1024 * 1024;

/// The config file as the tap left it, if it differs from what it was given (S11).
pub fn rewritten(files: &Files, given: &RawValue) -> Option<Box<RawValue>> {
    changed(&files.read(CONFIG).ok()?, given)
}

fn changed(left: &[u8], given: &RawValue) -> Option<Box<RawValue>> {
    let value = |it: &[u8]| serde_json::from_slice::<Value>(it).ok().filter(Value::is_object);
    let Some(now) = value(left) else {
        warn!("the tap left a config file that is not a JSON object: it is ignored");
        return None;
    };
    (Some(now) != value(given.get().as_bytes())).then(|| serde_json::from_slice(left).ok()).flatten()
}

/// A run of the tap whose output is one document.
struct Run {
    stdout: Vec<u8>,
    exit: Exit,
    stderr: Stderr,
    /// The config file after the run.
    config: Option<Vec<u8>>,
}

/// Keeps so much of its output.
async fn run(launcher: &Launcher, prepared: Prepared, arguments: &[&str], most: usize) -> Result<Run> {
    let mut connector = prepared.start(arguments.iter().map(|it| (*it).to_owned()).collect()).await?;
    let (stdout, activity) = (connector.take_stdout()?, Activity::default());
    let seen = activity.clone();
    let reader = thread::spawn("output", move || read_all(stdout, &seen, most))?;
    let limit = Some(launcher.idle_timeout);
    let Finished { end, output, stderr, files } =
        connector.supervise(&launcher.shutdown, &activity, limit, || (), reader).await?;
    let config = files.read(CONFIG).ok();
    files.close(launcher.shutdown.deadline()).await;
    let options = || arguments.iter().filter(|it| it.starts_with("--")).copied().collect::<Vec<_>>().join(" ");
    match end {
        End::Stopped(reason) => Err(Stopped(reason).into()),
        End::Silent => {
            let limit = in_words(launcher.idle_timeout);
            Err(anyhow!("the tap said nothing for {limit} when it was run with {} and was stopped", options()))
        }
        End::NotExiting => Err(anyhow!(
            "the tap closed its output but did not exit when it was run with {}, and was killed",
            options()
        )),
        End::Exited(exit) => {
            let stdout = output.unwrap_or(Ok(Vec::new())).context("can't read the tap's output")?;
            Ok(Run { stdout, exit, stderr, config })
        }
    }
}

fn read_all(mut stdout: ChildStdout, activity: &Activity, most: usize) -> (io::Result<Vec<u8>>, Reading) {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match activity.while_waiting(|| stdout.read(&mut piece)) {
            Ok(0) => return (Ok(bytes), Reading::Ended),
            Ok(count) => bytes.extend_from_slice(&piece[..count.min(most - bytes.len())]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), Reading::Ended),
        }
    }
}

/// The object with this member that begins at the start of a line of the output. It may span lines. The text around it
/// is logged.
fn document(output: &[u8], member: &str) -> Option<Box<RawValue>> {
    let mut found = None;
    let mut at = 0;
    while at < output.len() {
        let line = output[at..].split(|it| *it == b'\n').next().unwrap_or_default();
        let indent = line.len() - line.trim_ascii_start().len();
        if found.is_none()
            && line.trim_ascii_start().starts_with(b"{")
            && let Some((text, length)) = object_with(&output[at + indent..], member)
        {
            found = Some(text);
            at += indent + length;
            continue;
        }
        log_line(line);
        at += line.len() + 1;
    }
    found
}

/// The object at the beginning of a text, and its length there, if it has the member.
fn object_with(text: &[u8], member: &str) -> Option<(Box<RawValue>, usize)> {
    let mut hints = Hints::default();
    let mut scanner = Scanner::new(text, &mut hints);
    let mut has = false;
    scanner
        .object(|it, key| {
            has |= key.is(member) && matches!(it.kind(), Some(Kind::Object | Kind::Array));
            it.value().map(|_| ())
        })
        .ok()?;
    let object = &text[..scanner.position()];
    // On one line, as everything that goes into Flow's state has to be.
    let object = if scanner.flawed() { compact(&repair(object).0) } else { compact(object) };
    let raw = RawValue::from_string(String::from_utf8(object).ok()?).ok()?;
    has.then_some((raw, scanner.position()))
}

/// The config schema of a tap: from shim.yaml, else from the tap, else one that accepts anything.
pub async fn config_schema(singer: &Singer, launcher: &Launcher) -> Result<Value> {
    let mut schema = match &singer.config_schema {
        Some(schema) => schema.clone(),
        None => about(launcher).await?.unwrap_or_else(|| {
            warn!("{}", "the tap does not tell what its config looks like (no --about): say it as configSchema in shim.yaml, to have a form and a check of it",);
            about::permissive()
        }),
    };
    about::mark_secrets(&mut schema);
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_document_among_noise() {
        for output in [
            &b"{\"streams\": []}"[..],
            b"INFO starting\n{\"level\":\"info\"}\n{\n  \"streams\": [\n  ]\n}\nbye {\n",
            b"{not json\n  {\"a\": NaN, \"streams\": []}",
        ] {
            let found = document(output, "streams").expect("a catalog");
            assert!(catalog::streams(&found).unwrap().is_empty());
        }
        assert!(document(b"{\"streams\": 5}\n{}\nnothing", "streams").is_none());
    }
}
