//! The config that a command was given, as Flow would pass it to a connector: decrypted, and with the defaults of its schema.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::Session;
use crate::error::Stopped;
use crate::json::merge::merge;
use crate::json::pointer;
use crate::process::thread;
use crate::schema;
use crate::secrets::{self, Schemas, sops};
use crate::settings::config::{ConfigArg, Given};

impl Session {
    /// Loads the config that `--config` names or that lies beside shim.yaml. The connector may be started for its schema.
    /// From now on the config's secrets are redacted. `None` without a config.
    pub async fn load_config(&self, arg: &ConfigArg) -> Result<Option<Box<RawValue>>> {
        let Some(config) = self.load_incomplete_config(arg).await? else { return Ok(None) };
        let described = self.describe().await?;
        let mut complete: Value = serde_json::from_str(config.get()).context("can't read the config")?;
        let before = complete.clone();
        schema::fill_defaults(&described.config_schema, &mut complete);
        let config =
            if complete == before { config } else { to_raw_value(&complete).context("can't write the config")? };
        self.redact(&config);
        Ok(Some(config))
    }

    /// Loads a config that need not be complete.
    pub async fn load_incomplete_config(&self, arg: &ConfigArg) -> Result<Option<Box<RawValue>>> {
        let (arg, folder) = (arg.clone(), self.settings.folder.clone());
        // stdin may take its time.
        let reading = thread::spawn("config", move || arg.read(folder.as_deref()))?;
        let given = tokio::select! {
            given = reading => given.unwrap_or_else(|| Err(anyhow!("bug in flow-shim: reading the config panicked")))?,
            reason = self.launcher.shutdown.requested() => return Err(Stopped(reason).into()),
        };
        let Some(Given { name, text, format, config }) = given else { return Ok(None) };
        let document: Value = serde_json::from_str(config.get()).with_context(|| format!("can't read {name}"))?;
        if !sops::is_document(&document) {
            self.redact(&config);
            return Ok(Some(config));
        }
        let failed = || format!("can't decrypt {name}");
        let decrypted = sops::decrypt(&text, &document, format, &self.launcher.shutdown).await.with_context(failed)?;
        secrets::redact_texts(decrypted.secrets);
        let mut config = decrypted.config;
        if let Some(overlay) = decrypted.overlay {
            self.describe().await?;
            check_overlay(&overlay, &mut Vec::new(), &Schemas::new(self.known_schema())).with_context(failed)?;
            merge(&mut config, overlay);
        }
        let config = to_raw_value(&config).with_context(failed)?;
        self.redact(&config);
        Ok(Some(config))
    }
}

/// A sops document's overlay is not covered by its checksum: it may change only what is marked as not sensitive.
fn check_overlay(overlay: &Value, path: &mut Vec<String>, schemas: &Schemas) -> Result<()> {
    if schemas.mark_nonsensitive() {
        return Ok(());
    }
    match overlay {
        Value::Object(members) if !members.is_empty() => members.iter().try_for_each(|(name, member)| {
            path.push(name.clone());
            check_overlay(member, path, &schemas.member(name))?;
            path.pop();
            Ok(())
        }),
        _ => {
            let at = pointer::from_path(path.iter().map(String::as_str));
            bail!("its overlay modifies the location {at:?}, which the config schema does not mark `nonsensitive`")
        }
    }
}
