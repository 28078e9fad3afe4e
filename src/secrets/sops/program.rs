//! Decrypts with the `sops` program, as Flow does.

use std::process::{Output, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{CHANGED, Format, NO_KEY};
use crate::terminal::one_line;

/// Exit codes of sops.
const VALUE_NOT_DECRYPTED: i32 = 25;
const MAC_MISMATCH: i32 = 51;
const NO_KEY_FOUND: i32 = 128;

pub async fn decrypt(program: &str, text: &str, document: &Value, format: Format) -> Result<Value> {
    let format = match format {
        Format::Json => "json",
        Format::Yaml => "yaml",
    };
    let arguments = ["--decrypt", "--input-type", format, "--output-type", "json", "/dev/stdin"];
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = run(command, text).await.context("can't run sops")?;
    match output.status.code() {
        Some(0) => serde_json::from_slice::<Map<String, Value>>(&output.stdout)
            .map(Value::Object)
            .map_err(|_| anyhow!("sops printed something else than a JSON object")),
        Some(MAC_MISMATCH) => bail!(CHANGED),
        Some(VALUE_NOT_DECRYPTED) => bail!("an encrypted value was damaged or moved: encrypt it again with sops"),
        Some(NO_KEY_FOUND) if document.pointer("/sops/age/0").is_some() => bail!(NO_KEY),
        _ if output.stderr.is_empty() => bail!("sops gave no reason ({})", output.status),
        _ => bail!("sops failed: {}", one_line(&String::from_utf8_lossy(&output.stderr))),
    }
}

async fn run(mut command: Command, text: &str) -> std::io::Result<Output> {
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // What is wrong with a sops that does not read tells its exit.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
    child.wait_with_output().await
}
