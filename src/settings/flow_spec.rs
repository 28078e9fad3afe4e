//! The config of a capture in a Flow spec, as `flowctl` reads it: inline, or in a file that the spec names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::yaml;
use crate::suggest;

/// Where a capture's config is.
#[derive(Debug, PartialEq)]
pub enum Config {
    File(PathBuf),
    Inline(Value),
}

/// The spec and the name in `flow.yaml#acmeCo/capture`; none if that is the name of a file.
pub fn capture_in(text: &str) -> Option<(&Path, &str)> {
    let (spec, capture) = text.split_once('#')?;
    (!Path::new(text).exists()).then_some((Path::new(spec), capture))
}

/// The name of the first capture, if a text is a Flow spec.
pub fn first_capture(json: &str) -> Option<String> {
    let spec: Value = serde_json::from_str(json).ok()?;
    let (name, capture) = spec["captures"].as_object()?.iter().next()?;
    capture["endpoint"].is_object().then(|| name.clone())
}

/// Finds the config of a capture in a spec or in one that it imports.
pub fn config(spec: &Path, capture: &str) -> Result<Config> {
    let mut captures = BTreeSet::new();
    let found = find(spec, capture, &mut captures, &mut BTreeSet::new())?;
    found.ok_or_else(|| {
        let hint = suggest::hint(capture, captures.iter().map(String::as_str));
        let known = match captures.len() {
            0 => "no captures at all".to_owned(),
            _ => captures.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        };
        anyhow!("{} has no capture {capture:?}{hint}: it has {known}", spec.display())
    })
}

fn find(
    spec: &Path,
    capture: &str,
    captures: &mut BTreeSet<String>,
    read: &mut BTreeSet<PathBuf>,
) -> Result<Option<Config>> {
    let name = format!("the Flow spec {}", spec.display());
    if !read.insert(spec.canonicalize().with_context(|| format!("can't read {name}"))?) {
        return Ok(None);
    }
    let text = std::fs::read_to_string(spec).with_context(|| format!("can't read {name}"))?;
    let parsed: Value = match serde_json::from_str(&text) {
        Ok(it) => it,
        Err(_) => yaml::value(&text).with_context(|| format!("{name} is not YAML"))?,
    };
    let folder = spec.parent().unwrap_or(Path::new(""));
    if let Some(found) = parsed["captures"].get(capture) {
        return of_capture(found, folder, capture).map(Some);
    }
    captures.extend(parsed["captures"].as_object().into_iter().flat_map(|it| it.keys().cloned()));
    for import in parsed["import"].as_array().into_iter().flatten() {
        let Some(path) = import.as_str().or(import["url"].as_str()).filter(|it| !it.contains("://")) else { continue };
        if let Some(found) = find(&folder.join(path), capture, captures, read)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn of_capture(spec: &Value, folder: &Path, capture: &str) -> Result<Config> {
    let endpoint = &spec["endpoint"];
    let config = ["connector", "local"].iter().find_map(|it| endpoint[*it].get("config"));
    match config {
        Some(Value::String(url)) if url.contains("://") => {
            bail!("the config of {capture} is at a URL: download it, and name its file with --config")
        }
        Some(Value::String(path)) => Ok(Config::File(folder.join(path))),
        Some(config @ Value::Object(_)) => Ok(Config::Inline(config.clone())),
        _ => bail!("the capture {capture} has no config at endpoint.connector.config or endpoint.local.config"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn configs_are_found_inline_in_files_and_in_imports() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "flow.yaml",
            "import: [more/other.flow.yaml]\ncaptures:\n  acmeCo/a: {endpoint: {connector: {image: x, config: {host: h}}}}\n  \
             acmeCo/b: {endpoint: {local: {command: [x], config: b.config.yaml}}}\n  acmeCo/c: {endpoint: {}}\n  acmeCo/e: {endpoint: {local: {config: 'https://example.com/c.yaml'}}}\n",
        );
        std::fs::create_dir(folder.path().join("more")).unwrap();
        // Imports may go round in circles.
        write(
            "more/other.flow.yaml",
            "import: [../flow.yaml]\ncaptures:\n  acmeCo/d: {endpoint: {connector: {config: d.json}}}\n",
        );
        let find = |capture: &str| config(&folder.path().join("flow.yaml"), capture);
        assert_eq!(find("acmeCo/a").unwrap(), Config::Inline(json!({"host": "h"})));
        assert_eq!(find("acmeCo/b").unwrap(), Config::File(folder.path().join("b.config.yaml")));
        assert_eq!(find("acmeCo/d").unwrap(), Config::File(folder.path().join("more/d.json")));
        let errors =
            ["acmeCo/c", "acmeCo/e", "acmeCo/bb", "x"].map(|it| crate::error::sentence(&find(it).unwrap_err()));
        let mut errors = errors.to_vec();
        write("none.yaml", "collections: {}\n");
        let none = config(&folder.path().join("none.yaml"), "x").unwrap_err();
        errors.push(crate::error::sentence(&none));
        insta::assert_snapshot!(errors.join("\n").replace(folder.path().to_str().unwrap(), "FOLDER"));
    }
}
