//! Converts airbyte-to-flow's files to a shim.yaml in the same directory.

use anyhow::{Result, bail};
use std::path::Path;

use super::{expect_none, write_all};
use crate::settings::atf;

const NAME: &str = "shim.yaml";

const HEAD: &str = "\
# Converted from airbyte-to-flow's files in this directory. They are no longer used and can be deleted.
";

/// Writes shim.yaml and returns the message for the user.
pub fn write(dir: &Path) -> Result<String> {
    if !dir.is_dir() {
        bail!("there is no directory {}", dir.display());
    }
    let yaml = atf::as_yaml(dir)?;
    expect_none(dir, &[NAME])?;
    write_all(dir, &[(NAME, format!("{HEAD}{yaml}"))])?;
    let mut message = format!("Written:\n  {}\n", dir.join(NAME).display());
    if yaml.lines().any(|it| it == "stateFormat: bare") {
        message += "\nAIRBYTE_TO_FLOW_STATE_FORMAT is set neither in the environment nor in this directory's Dockerfile, so the connector\n\
                 receives one bare state object. If the image sets it to per_stream, remove the line `stateFormat: bare`.\n";
    }
    Ok(message)
}
