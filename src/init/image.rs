//! What a container engine tells of a source's image.

use anyhow::{Context, Result, bail};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use serde::Deserialize;

use crate::process::container;
use crate::settings::AIRBYTE_ENTRYPOINT;

/// An image that a shim can be put on top of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub name: String,
    /// Who runs in it; empty where that is root.
    pub user: String,
    /// What runs in it, where it does not say so in AIRBYTE_ENTRYPOINT.
    pub command: Option<Vec<String>>,
    /// The connector's version, by the image's label.
    pub version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
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

/// Asks of an image that is on this machine: it has just run.
pub async fn inspect(name: &str) -> Result<Image> {
    let engine = container::engine().await?;
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
        .with_context(|| format!("can't read what the engine says of the image {name}"))?;
    let config = found.into_iter().next().map(|it| it.config).unwrap_or_default();
    let says_so = config.env.iter().flatten().any(|it| it.split('=').next() == Some(AIRBYTE_ENTRYPOINT));
    Ok(Image {
        name: name.to_owned(),
        user: config.user.unwrap_or_default(),
        command: config.entrypoint.filter(|it| !says_so && !it.is_empty()),
        version: config.labels.and_then(|mut it| it.remove("io.airbyte.version")),
    })
}

impl Image {
    /// The last part of the name: `source-x`.
    pub fn short_name(name: &str) -> &str {
        let name = name.split('@').next().unwrap_or(name);
        let name = name.rsplit('/').next().unwrap_or(name);
        name.split(':').next().unwrap_or(name)
    }

    /// Another image may have this name tomorrow.
    pub fn is_pinned(&self) -> bool {
        let last = self.name.rsplit('/').next().unwrap_or_default();
        last.contains('@') || last.split_once(':').is_some_and(|(_, tag)| tag != "latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
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
