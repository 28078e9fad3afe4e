//! A baked spec: the connector's answer to spec in a file beside shim.yaml, so that nothing has to be started for it.
//!
//! Flow asks for the spec before every session. `flow-shim bake` stores it when an image is built, together with a
//! fingerprint of the connector. A baked spec whose fingerprint is no longer right is reported and not used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Session;
use super::fingerprint::Fingerprint;
use crate::process::launch::Target;
use crate::settings::Settings;
use crate::upstream::Spec;

/// The name of the file.
const NAME: &str = "shim.baked.json";

#[derive(Serialize, Deserialize)]
struct Baked<S> {
    fingerprint: Fingerprint,
    spec: S,
}

fn path(settings: &Settings) -> PathBuf {
    settings.folder.as_deref().unwrap_or(Path::new("")).join(NAME)
}

/// The baked spec, if there is one for this connector as it is now.
pub fn read(settings: &Settings) -> Option<Spec> {
    let Target::Command(command) = &settings.target else { return None };
    let path = path(settings);
    let text = match fs::read(&path) {
        Ok(it) => it,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!("can't read the baked spec {}: {error}", path.display());
            return None;
        }
    };
    let baked: Baked<Spec> = match serde_json::from_slice(&text) {
        Ok(it) => it,
        Err(_) => {
            warn!("{} is not a baked spec: run `flow-shim bake` again", path.display());
            return None;
        }
    };
    match Fingerprint::of(settings, command).difference(&baked.fingerprint) {
        None => Some(baked.spec),
        Some(what) => {
            warn!("the baked spec {} is not used, as {what} has changed: run `flow-shim bake` again", path.display());
            None
        }
    }
}

/// Asks the connector for its spec, and stores it. Returns the path of the file.
pub async fn write(session: &Session) -> Result<PathBuf> {
    let settings = &session.settings;
    let Target::Command(command) = &settings.target else {
        bail!(
            "the spec of an image is baked when the image is built: add `RUN [\"flow-shim\", \"bake\"]` to its Dockerfile"
        )
    };
    let spec = session.upstream.spec_to_bake(&session.launcher).await?;
    // After the start, which may compile the connector's files.
    let baked = Baked { fingerprint: Fingerprint::of(settings, command), spec };
    let path = path(settings);
    let mut text = serde_json::to_vec_pretty(&baked).context("can't write the spec as JSON")?;
    text.push(b'\n');
    fs::write(&path, text).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => anyhow!(
            "can't write {}: {error} (in a Dockerfile, say `USER root` before, and the image's user again after it)",
            path.display()
        ),
        _ => anyhow!("can't write {}: {error}", path.display()),
    })?;
    Ok(path)
}
