//! Reads the metadata of a connector image from the container engine.

use anyhow::{Context, Result, bail};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use serde::Deserialize;

use crate::process::container;
use crate::process::shutdown::Shutdown;
use crate::settings::AIRBYTE_ENTRYPOINT;

/// The base image of a shim's image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub name: String,
    /// The image's user; empty for root.
    pub user: String,
    /// The image's entrypoint, if the image does not set AIRBYTE_ENTRYPOINT.
    pub command: Option<Vec<String>>,
    /// The connector's version, license and source, from the image's labels.
    pub version: Option<String>,
    pub license: Option<String>,
    pub source: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    config: Config,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    labels: Option<std::collections::BTreeMap<String, String>>,
}

/// How long the engine may take to answer.
const LIMIT: Duration = Duration::from_secs(30);

/// Inspects a local image; the connector in it has just run.
pub async fn inspect(name: &str, shutdown: &Shutdown) -> Result<Image> {
    let engine = container::engine(shutdown).await?;
    let failed = || format!("can't inspect the image {name}");
    let answer = Command::new(engine).args(["image", "inspect", name]).kill_on_drop(true).output();
    let output = timeout(LIMIT, answer).await.with_context(failed)?.with_context(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", failed(), crate::terminal::one_line(&said));
    }
    read(name, &output.stdout)
}

fn read(name: &str, answer: &[u8]) -> Result<Image> {
    let found: Vec<Inspected> = serde_json::from_slice(answer)
        .with_context(|| format!("can't parse the container engine's description of the image {name}"))?;
    let found = found.into_iter().next().with_context(|| format!("the container engine describes no image {name}"))?;
    let (tags, config) = (found.repo_tags.unwrap_or_default(), found.config);
    let mut labels = config.labels.unwrap_or_default();
    let sets_entrypoint = config.env.iter().flatten().any(|it| it.split('=').next() == Some(AIRBYTE_ENTRYPOINT));
    Ok(Image {
        name: qualified(name, &tags),
        user: config.user.unwrap_or_default(),
        command: config.entrypoint.filter(|it| !sets_entrypoint && !it.is_empty()),
        version: labels.remove("io.airbyte.version"),
        license: labels.remove("org.opencontainers.image.licenses"),
        source: labels.remove("org.opencontainers.image.source"),
    })
}

/// The name with its registry, as Flow requires it: from the engine's tags of the image, otherwise Docker Hub's.
fn qualified(name: &str, tags: &[String]) -> String {
    let has_registry =
        |name: &str| name.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost");
    if has_registry(name) {
        return name.to_owned();
    }
    let mut prefixes = tags.iter().filter(|it| has_registry(it)).filter_map(|tag| {
        let prefix = tag.strip_suffix(name).or_else(|| tag.strip_suffix(":latest")?.strip_suffix(name));
        prefix.filter(|it| it.ends_with('/'))
    });
    let default = if name.contains('/') { "docker.io/" } else { "docker.io/library/" };
    format!("{}{name}", prefixes.next().unwrap_or(default))
}

impl Image {
    /// The last part of the name, without tag and digest: `source-x`.
    pub fn short_name(name: &str) -> &str {
        let name = name.split('@').next().unwrap_or(name);
        let name = name.rsplit('/').next().unwrap_or(name);
        name.split(':').next().unwrap_or(name)
    }

    /// Whether the name has a digest or a tag other than `latest`.
    pub fn is_pinned(&self) -> bool {
        let last = self.name.rsplit('/').next().unwrap_or_default();
        last.contains('@') || last.split_once(':').is_some_and(|(_, tag)| tag != "latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        for (name, short, pinned) in [
            ("airbyte/source-x:1.2", "source-x", true),
            ("localhost:5000/airbyte/source-x", "source-x", false),
            ("source-x:latest", "source-x", false),
            ("a/source-x@sha256:12", "source-x", true),
        ] {
            let image = Image { name: name.to_owned(), ..Image::default() };
            assert_eq!((Image::short_name(name), image.is_pinned()), (short, pinned), "{name}");
        }
    }

    #[test]
    fn names_are_qualified_by_the_engines_tags_or_docker_hub() {
        for (name, tags, qualified_name) in [
            ("airbyte/source-x:1.2", vec!["airbyte/source-x:1.2"], "docker.io/airbyte/source-x:1.2"),
            ("source-x", vec![], "docker.io/library/source-x"),
            ("source-x", vec!["localhost/source-x:latest"], "localhost/source-x"),
            ("source-x:2", vec!["ghcr.io/a/other-source-x:2", "ghcr.io/a/source-x:2"], "ghcr.io/a/source-x:2"),
            ("localhost:5000/x", vec!["docker.io/x:latest"], "localhost:5000/x"),
        ] {
            let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
            assert_eq!(qualified(name, &tags), qualified_name);
        }
    }

    #[test]
    fn an_image_without_airbytes_variable_runs_its_entrypoint() {
        let image = |env: &str| {
            let answer = format!(
                r#"[{{"Config": {{"Env": [{env}], "Entrypoint": ["/base.sh"], "User": "airbyte", "Labels": null}}}}]"#
            );
            read("x", answer.as_bytes()).unwrap()
        };
        assert_eq!(image("\"A=b\"").command.unwrap(), ["/base.sh"]);
        assert_eq!(image("\"AIRBYTE_ENTRYPOINT=/base.sh\"").command, None);
        assert!(read("x", b"no").is_err());
    }
}
