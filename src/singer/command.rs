//! Commands: `--about`, `--discover`, and a sync, each a run of the tap.

use crate::error::Stopped;
use anyhow::{Context, Result, anyhow, bail};
use std::io::{self, Read};
use std::process::ChildStdout;
use tracing::{info, warn};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::selection::{self, Form};
use super::{CatalogOption, Singer, about, catalog, state};
use crate::json::compact::compact;
use crate::json::hints::Hints;
use crate::json::repair::repair;
use crate::json::scan::{Kind, Scanner};
use crate::process::launch::{Files, Launcher, Prepared};
use crate::process::supervise::{Activity, Connector, End, Finished, Reading};
use crate::upstream::{ErrorLog, Stream, SyncRequest};

/// The names of the private files.
pub const CONFIG: &str = "config.json";
const CATALOG: &str = "catalog.json";
const STATE: &str = "state.json";

/// The config schema as `--about` tells it; none where the tap has no such option, or nothing to say.
pub fn about(launcher: &Launcher) -> Result<Option<Value>> {
    let run = run(launcher, launcher.prepare()?, &["--about", "--format=json"])?;
    let settings = document(&run.stdout, "settings").and_then(|it| {
        #[derive(Deserialize)]
        struct About {
            settings: Value,
        }
        Some(serde_json::from_str::<About>(it.get()).ok()?.settings)
    });
    Ok(settings.filter(Value::is_object))
}

pub fn discover(launcher: &Launcher, config: &RawValue) -> Result<Vec<Stream>> {
    let prepared = launcher.prepare()?;
    let path = prepared.write(CONFIG, config.get())?;
    let run = run(launcher, prepared, &["--config", &path, "--discover"])?;
    if run.code != 0 {
        return Err(ErrorLog::default().explain(run.code, run.last_error.as_deref()));
    }
    let Some(catalog) = document(&run.stdout, "streams") else {
        bail!("the tap printed no catalog when it was to discover its streams: is it a Singer tap?",);
    };
    if let Some(config) = rewritten(&run.files, config) {
        launcher.rotated.leave(config);
    }
    catalog::streams(&catalog)
}

pub fn read(singer: &Singer, launcher: &Launcher, sync: &SyncRequest) -> Result<Connector> {
    let prepared = launcher.prepare()?;
    let path = prepared.write(CONFIG, sync.config.get())?;
    let mut arguments = vec!["--config".to_owned(), path];
    let option = match singer.catalog {
        CatalogOption::Catalog => Some(("--catalog", Form::Metadata)),
        CatalogOption::Properties => Some(("--properties", Form::Schemas)),
        CatalogOption::None => None,
        CatalogOption::Auto => Some(taken(launcher, sync)?),
    };
    if let Some((option, form)) = option {
        let content = selection::catalog(sync, form)?;
        arguments.extend([option.to_owned(), prepared.write(CATALOG, content.get())?]);
    }
    if let Some(value) = state::join(sync) {
        arguments.extend(["--state".to_owned(), prepared.write(STATE, value.get())?]);
    }
    prepared.start(arguments)
}

/// How the tap takes its catalog. Only taps that write no metadata are old enough to be asked.
fn taken(launcher: &Launcher, sync: &SyncRequest) -> Result<(&'static str, Form)> {
    let has_metadata = |text: &RawValue| text.get().contains("\"metadata\"");
    if sync.streams.iter().any(|it| has_metadata(&it.stream.declared)) {
        return Ok(("--catalog", Form::Metadata));
    }
    let run = run(launcher, launcher.prepare()?, &["--help"])?;
    let help = String::from_utf8_lossy(&run.stdout);
    if help.contains("--properties") && !help.contains("--catalog") {
        return Ok(("--properties", Form::Schemas));
    }
    Ok(("--catalog", Form::Metadata))
}

/// The config file as the tap left it, if it says something else than before (S11).
pub fn rewritten(files: &Files, given: &RawValue) -> Option<Box<RawValue>> {
    let now: Box<RawValue> = serde_json::from_slice(&files.read(CONFIG).ok()?).ok()?;
    let value = |it: &RawValue| serde_json::from_str::<Value>(it.get()).ok();
    (value(&now) != value(given)).then_some(now)
}

/// A run of the tap whose output is one document.
struct Run {
    stdout: Vec<u8>,
    code: i32,
    last_error: Option<String>,
    files: Files,
}

fn run(launcher: &Launcher, prepared: Prepared, arguments: &[&str]) -> Result<Run> {
    let mut connector = prepared.start(arguments.iter().map(|it| (*it).to_owned()).collect())?;
    let stdout = connector.take_stdout()?;
    let read = move || read_all(stdout);
    let Finished { end, output, last_error, files } =
        connector.supervise(&launcher.stop, &Activity::default(), None, || (), read)?;
    match end {
        End::Stopped(reason) => Err(Stopped(reason).into()),
        End::Silent | End::NotExiting => Err(anyhow!("the tap does not end when it was asked about itself")),
        End::Exited(code) => {
            let stdout = output.unwrap_or(Ok(Vec::new())).context("can't read the tap's output")?;
            Ok(Run { stdout, code, last_error, files })
        }
    }
}

fn read_all(mut stdout: ChildStdout) -> (io::Result<Vec<u8>>, Reading) {
    let mut bytes = Vec::new();
    (stdout.read_to_end(&mut bytes).map(|_| bytes), Reading::Ended)
}

/// The object with this member that begins a line somewhere in an output, be it printed on one line or on many. What
/// is around it is logged.
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
        let text = String::from_utf8_lossy(line);
        if !text.trim().is_empty() {
            info!("{}", text.trim());
        }
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

/// The config schema of a tap: shim.yaml's, else its own, else one that takes anything.
pub fn config_schema(singer: &Singer, launcher: &Launcher) -> Result<Value> {
    let mut schema = match &singer.config_schema {
        Some(schema) => schema.clone(),
        None => about(launcher)?.unwrap_or_else(|| {
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
