//! From the older wrapper's files to a shim.yaml beside them.

use anyhow::Result;
use std::path::Path;

use super::{expect_none, write_all};
use crate::settings::atf;

const NAME: &str = "shim.yaml";

const HEAD: &str = "\
# What airbyte-to-flow's files in this folder said. They are not looked at any more: delete them when you like.
";

/// Writes it, and says so.
pub fn write(dir: &Path) -> Result<String> {
    let yaml = atf::as_yaml(dir)?;
    expect_none(dir, &[NAME])?;
    write_all(dir, &[(NAME, format!("{HEAD}{yaml}"))])?;
    let mut said = format!("Written:\n  {}\n", dir.join(NAME).display());
    if yaml.lines().any(|it| it == "stateFormat: bare") {
        said += "\nAs AIRBYTE_TO_FLOW_STATE_FORMAT is set neither here nor in the folder's Dockerfile, the connector gets the bare object of\n\
                 its states. If the image sets it to per_stream, take the line stateFormat out.\n";
    }
    Ok(said)
}
