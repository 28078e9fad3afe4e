//! The age keys of the user, where sops looks for them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use age::x25519::Identity;
use anyhow::{Context, Result, anyhow, bail};
use tokio::process::Command;

/// All keys. Lines that are not X25519 keys are passed over: the file may have others, which only sops can use.
pub async fn find() -> Result<Vec<Identity>> {
    let mut found = Vec::new();
    if let Ok(keys) = std::env::var("SOPS_AGE_KEY") {
        parse(&keys, &mut found);
    }
    if let Some(file) = path("SOPS_AGE_KEY_FILE") {
        read(&file, &mut found)?;
    }
    if let Ok(command) = std::env::var("SOPS_AGE_KEY_CMD") {
        parse(&output(&command).await.context("SOPS_AGE_KEY_CMD gives no key")?, &mut found);
    }
    if let Some(file) = default_file().filter(|it| it.exists()) {
        read(&file, &mut found)?;
    }
    Ok(found)
}

/// The path in an environment variable.
fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from)
}

fn default_file() -> Option<PathBuf> {
    let config = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")))?;
    Some(config.join("sops/age/keys.txt"))
}

fn read(file: &Path, found: &mut Vec<Identity>) -> Result<()> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("can't read the age keys in {}", file.display()))?;
    parse(&text, found);
    Ok(())
}

fn parse(text: &str, found: &mut Vec<Identity>) {
    found.extend(text.lines().filter_map(|line| line.trim().parse::<Identity>().ok()));
}

async fn output(command: &str) -> Result<String> {
    let words = shell_words::split(command)?;
    let (program, arguments) = words.split_first().ok_or_else(|| anyhow!("it is empty"))?;
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("can't run {program}"))?;
    if !output.status.success() {
        bail!("{program} failed");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
