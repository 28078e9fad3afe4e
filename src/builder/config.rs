//! Configs as the CDK gets them: in plain text, and with the defaults of the manifest's spec.

use std::future::ready;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::Server;
use super::vault::Mask;
use crate::process::shutdown::Shutdown;
use crate::schema;
use crate::secrets;
use crate::session::config::{Plain, decrypt, with_defaults};
use crate::settings::config::Given;

/// A config, and which of its values are secret: those that were encrypted, those that the page has placeholders for, those
/// that the schema marks, and those whose names look secret.
pub struct Config {
    pub value: Value,
    pub secrets: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { value: Value::Object(Map::new()), secrets: Vec::new() }
    }
}

impl Config {
    /// Takes a config out of a request. Secrets that the page has placeholders for come back.
    pub async fn of_request(server: &Server, mut config: Value, schema: Option<&Value>) -> Result<Self> {
        let revealed = server.vault.reveal(&mut config);
        let given = Given::of_value("the config".to_owned(), &config)?;
        let mut config = Self::load(given, schema, &server.shutdown).await?;
        config.secrets.extend(revealed);
        Ok(config)
    }

    /// Decrypts and completes a config, as [`crate::session::Session::load_config`] does.
    pub async fn load(given: Given, schema: Option<&Value>, shutdown: &Shutdown) -> Result<Self> {
        let Plain { mut config, encrypted: mut secrets } = decrypt(given, ready(Ok(schema)), shutdown).await?;
        if let Some(schema) = schema {
            config = with_defaults(config, &schema::config(schema).schema)?;
        }
        let value = serde_json::from_str(config.get()).context("can't read the config")?;
        secrets.extend(secrets::find(&value, schema));
        Ok(Self { value, secrets })
    }

    pub fn mask(&self) -> Mask {
        Mask::new(self.secrets.clone())
    }
}
