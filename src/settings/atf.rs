//! The files of airbyte-to-flow: they lie in the working directory of a connector's image, and say what shim.yaml says
//! today (docs/airbyte-to-flow.md). They are read into a [`ShimFile`]; `flow-shim init --from-atf` writes it.

use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::file::{ShimFile, SpecChanges};
use super::streams::{Component, Normalizations, Normalize, StreamOptions};
use super::values::{Document, Interval, OAuth2, SchemaMode, StateFormat};
use crate::oauth;

/// How a connector wants its state: `per_stream`, else as a bare object.
const STATE_FORMAT: &str = "AIRBYTE_TO_FLOW_STATE_FORMAT";

const SPEC_PATCH: &str = "spec.patch.json";
const SPEC_MAP: &str = "spec.map.json";
const OAUTH2: &str = "oauth2.patch.json";
const DOCUMENTATION: &str = "documentation_url.patch.json";
const SELECTED: &str = "selected_streams.json";
const OMITTED: &str = "omitted_streams.json";
const NORMALIZATIONS: &str = "schema_normalizations.json";
const RUN_INTERVAL: &str = "run_interval_minutes.json";
const FILES: [&str; 8] = [SPEC_PATCH, SPEC_MAP, OAUTH2, DOCUMENTATION, SELECTED, OMITTED, NORMALIZATIONS, RUN_INTERVAL];

const STREAMS: &str = "streams";
const STREAM_PATCH: &str = ".patch.json";
const STREAM_KEY: &str = ".pk.json";
const STREAM_NORMALIZE: &str = ".normalize.json";

/// Of a stream's file: what it is for.
const STREAM_FILES: [&str; 3] = [STREAM_PATCH, STREAM_KEY, STREAM_NORMALIZE];

/// Whether any of airbyte-to-flow's files are in a folder.
pub fn is_in(folder: &Path) -> bool {
    FILES.iter().any(|it| folder.join(it).is_file()) || stream_files(folder).is_ok_and(|it| !it.is_empty())
}

/// What the files in a folder say.
pub fn read(folder: &Path) -> Result<ShimFile> {
    // An object without anything in it means that there is no OAuth.
    let oauth2 = object(folder, OAUTH2)?.filter(|it| !oauth::is_empty(it));
    Ok(ShimFile {
        documentation_url: parse(folder, DOCUMENTATION)?.map(|it: Documentation| it.documentation_url),
        spec: SpecChanges {
            patch: object(folder, SPEC_PATCH)?.map(Document::Inline),
            map: object(folder, SPEC_MAP)?.map(Document::Inline),
        },
        oauth2: Some(oauth2.map_or(OAuth2::Never, |it| OAuth2::Given(Document::Inline(it)))),
        streams: streams(folder)?,
        schema: Some(SchemaMode::Declared),
        run_interval: parse(folder, RUN_INTERVAL)?
            .map(|minutes: f64| {
                let interval = Duration::try_from_secs_f64(minutes * 60.0).ok();
                interval.map(Interval).ok_or_else(|| anyhow!("{RUN_INTERVAL}: {minutes} is no duration"))
            })
            .transpose()?,
        state_format: (!wants_list(folder)).then_some(StateFormat::Bare),
        ..ShimFile::default()
    })
}

/// The shim.yaml that says the same as the files in a folder.
pub fn as_yaml(folder: &Path) -> Result<String> {
    if !is_in(folder) {
        let (folder, files) = (folder.display(), FILES.join(", "));
        bail!("none of airbyte-to-flow's files is in {folder}: there is no {files}");
    }
    serde_saphyr::to_string(&read(folder)?).context("can't write shim.yaml")
}

#[derive(Deserialize)]
struct Documentation {
    documentation_url: String,
}

#[derive(Deserialize)]
struct Normalization {
    pointer: String,
    normalization: StreamNormalization,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StreamNormalization {
    DatetimeToDate,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SchemaNormalization {
    DateToDatetime,
}

type Streams = BTreeMap<String, StreamOptions>;

fn streams(folder: &Path) -> Result<Streams> {
    let mut streams = Streams::new();
    fn of<'a>(streams: &'a mut Streams, name: &str) -> &'a mut StreamOptions {
        streams.entry(name.to_owned()).or_default()
    }
    for file in stream_files(folder)? {
        let path = format!("{STREAMS}/{file}");
        if let Some(name) = file.strip_suffix(STREAM_PATCH) {
            of(&mut streams, name).schema = object(folder, &path)?.map(Document::Inline);
        } else if let Some(name) = file.strip_suffix(STREAM_KEY) {
            let key: Option<Vec<String>> = parse(folder, &path)?;
            of(&mut streams, name).key = key.map(|it| it.iter().map(|it| Component::new(it)).collect());
        } else if let Some(name) = file.strip_suffix(STREAM_NORMALIZE) {
            let all: Vec<Normalization> = parse(folder, &path)?.unwrap_or_default();
            let cut = all.into_iter().map(|it| match it.normalization {
                StreamNormalization::DatetimeToDate => Component::new(&it.pointer),
            });
            let normalizations = Normalizations { cut: Some(cut.collect()), ..Normalizations::default() };
            of(&mut streams, name).normalize = Some(Normalize::Given(normalizations));
        }
    }
    let normalizations: Vec<SchemaNormalization> = parse(folder, NORMALIZATIONS)?.unwrap_or_default();
    for SchemaNormalization::DateToDatetime in normalizations {
        let normalizations = Normalizations { date_to_date_time: Some(true), ..Normalizations::default() };
        of(&mut streams, ALL).normalize = Some(Normalize::Given(normalizations));
    }
    let selected: Option<Vec<String>> = parse(folder, SELECTED)?;
    if let Some(selected) = selected {
        of(&mut streams, ALL).disable = Some(true);
        selected.iter().for_each(|name| of(&mut streams, name).disable = Some(false));
    }
    let omitted: Vec<String> = parse(folder, OMITTED)?.unwrap_or_default();
    omitted.iter().for_each(|name| of(&mut streams, name).omit = Some(true));
    Ok(streams)
}

/// The streams that have nothing of their own: the name of a file, and a glob.
const ALL: &str = "*";

/// The files of streams, by their paths below the folder of them: a stream's name may have slashes.
fn stream_files(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(within) = folders.pop() {
        let path = folder.join(STREAMS).join(&within);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("can't read {}", path.display()))?,
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("can't read {}", path.display()))?;
            let name = format!("{within}{}", entry.file_name().to_string_lossy());
            // Links to folders are not followed: they may lead round in circles.
            match entry.file_type().is_ok_and(|it| it.is_dir()) {
                true => folders.push(name + "/"),
                false if STREAM_FILES.iter().any(|it| name.ends_with(it)) => files.push(name),
                false => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

fn object(folder: &Path, name: &str) -> Result<Option<Value>> {
    let found: Option<Map<String, Value>> = parse(folder, name)?;
    Ok(found.map(Value::Object))
}

/// What a file holds; none where there is no such file.
fn parse<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path = folder.join(name);
    let failed = || format!("can't read {}", path.display());
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| failed().to_string())?,
    };
    serde_json::from_str(text.trim_start_matches('\u{feff}')).with_context(|| failed().to_string()).map(Some)
}

/// What the environment says, or would say in the image that the folder is for.
fn wants_list(folder: &Path) -> bool {
    let in_image = || {
        let dockerfile = fs::read_to_string(folder.join("Dockerfile")).unwrap_or_default();
        dockerfile.lines().any(|it| it.contains(STATE_FORMAT) && it.contains("per_stream"))
    };
    std::env::var(STATE_FORMAT).map_or_else(|_| in_image(), |it| it == "per_stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_shim_yaml_says_the_same() {
        let overlays = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/overlays");
        for folder in fs::read_dir(overlays).unwrap().map(|it| it.unwrap().path()) {
            let yaml = as_yaml(&folder).unwrap();
            assert_eq!(ShimFile::parse(&yaml).unwrap(), read(&folder).unwrap(), "{}:\n{yaml}", folder.display());
        }
    }
}
