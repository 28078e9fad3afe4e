//! A session: the settings, the protocol and the launcher of one connector. It runs spec, check and discover, and maps
//! configs between Flow and the connector. It does not know Flow's requests.

pub mod mapping;
mod rotation;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::{debug, error, warn};

use crate::airbyte::Airbyte;
use crate::logging;
use crate::oauth;
use crate::process::launch::{Launcher, RotatedConfig, Target};
use crate::process::shutdown::Shutdown;
use crate::schema::{self, Change};
use crate::secrets;
use crate::settings::streams::CursorField;
use crate::settings::{Protocol, Settings, SourceArgs};
use crate::singer::Singer;
use crate::upstream::{Resource, Spec, Stream, Upstream};

use mapping::{ConfigMapping, Endpoint, SKIP_INTERVAL};
use rotation::ENCRYPTION_URL;

pub struct Session {
    pub settings: Settings,
    pub upstream: Arc<dyn Upstream>,
    pub launcher: Launcher,
    /// Maps configs between Flow and the connector.
    pub endpoint: Endpoint,
    /// The config of the last discovery, and what it found.
    discovered: Mutex<Option<(Box<RawValue>, Vec<Stream>)>>,
    /// The config schema as Flow has it, once this process has fetched the connector's spec.
    config_schema: OnceLock<Value>,
}

/// The connector as Flow sees it.
pub struct Described {
    pub config_schema: Value,
    /// What had to be changed for Flow's parser.
    pub changes: Vec<Change>,
    /// The connector declares how users may sign in.
    pub declares_oauth: bool,
    pub oauth2: Option<Value>,
    /// Why users can't sign in, although the connector declares it.
    pub missing: Option<String>,
    pub documentation_url: Option<String>,
}

impl Session {
    /// The connector that the command line, shim.yaml or the environment names.
    pub fn resolve(args: &SourceArgs, shutdown: Shutdown) -> Result<Self> {
        Ok(Self::new(Settings::resolve(args)?, shutdown))
    }

    /// A connector without any settings.
    pub fn bare(target: Target, protocol: Protocol, shutdown: Shutdown) -> Result<Self> {
        Ok(Self::new(Settings::bare(target, protocol)?, shutdown))
    }

    fn new(mut settings: Settings, shutdown: Shutdown) -> Self {
        let upstream: Arc<dyn Upstream> = match settings.protocol {
            Protocol::Airbyte => Arc::new(Airbyte { state_format: settings.state_format }),
            Protocol::Singer => Arc::new(Singer {
                config_schema: settings.config_schema.take(),
                catalog: settings.catalog,
                discovered: settings.discovered.take(),
                aliases: std::mem::take(&mut settings.aliases),
            }),
        };
        let (patch, map, oauth2) = (settings.config_patch.take(), settings.config_map.clone(), settings.oauth2.clone());
        let launcher = Launcher {
            target: settings.target.clone(),
            env: settings.env.clone(),
            idle_timeout: settings.idle_timeout.0,
            shutdown,
            rotated: RotatedConfig::default(),
        };
        Self {
            settings,
            upstream,
            launcher,
            endpoint: Endpoint::new(patch, map, oauth2),
            discovered: Mutex::default(),
            config_schema: OnceLock::new(),
        }
    }

    /// Fetches the connector's spec, and derives what Flow is told.
    pub async fn describe(&self) -> Result<Described> {
        let found = self.upstream.spec(&self.launcher).await?;
        let derived = self.derive(&found);
        let Spec { advanced_auth, auth_specification, documentation_url, .. } = found;
        let rewritten = schema::config(&derived.schema);
        Ok(Described {
            config_schema: rewritten.schema,
            changes: rewritten.changes,
            declares_oauth: advanced_auth.is_some() || auth_specification.is_some(),
            oauth2: derived.oauth2,
            missing: derived.missing,
            documentation_url,
        })
    }

    fn derive(&self, found: &Spec) -> oauth::Derived {
        let derived = self.endpoint.derive(found);
        let _ = self.config_schema.set(derived.schema.clone());
        derived
    }

    /// Redacts the secrets of a config of Flow's from now on: those that the connector's schema marks, if this process
    /// knows it, and those whose names look secret.
    pub fn redact(&self, config: &RawValue) {
        secrets::redact_config(config, self.config_schema.get());
    }

    /// Warns of fields that the connector does not know and of values that its schema does not allow, if the schema is known:
    /// most connectors ignore a mistyped field.
    fn warn_of_problems(&self, config: &RawValue) {
        let Some(schema) = self.config_schema.get() else { return };
        let Ok(config) = serde_json::from_str::<Value>(config.get()) else { return };
        for (name, similar) in schema::unknown_fields(schema, &config).into_iter().filter(|it| it.0 != SKIP_INTERVAL) {
            let hint = similar.map_or(String::new(), |it| format!(" (did you mean `{it}`?)"));
            warn!("the connector has no config field `{name}`{hint}");
        }
        // Taps are checked by the protocol, with an error.
        if self.settings.protocol == Protocol::Airbyte {
            schema::violations(schema, &config).iter().for_each(|it| warn!("the config may not be valid: {it}"));
        }
    }

    /// The config mapping for this config; reuses the one stored by an earlier session if it is still valid.
    pub async fn mapping(&self, config: &RawValue, kept: Option<&ConfigMapping>) -> Result<ConfigMapping> {
        if let Some(mapping) = self.endpoint.mapping(config, kept)? {
            return Ok(mapping);
        }
        let found = self.upstream.spec(&self.launcher).await;
        self.derive(&found.context("can't fetch the connector's spec, which the config mapping needs")?);
        Ok(self.endpoint.mapping(config, None)?.unwrap_or_default())
    }

    /// Checks that these streams can be read with this config of Flow's.
    pub async fn check(&self, config: &RawValue, resources: &[Resource]) -> Result<()> {
        let mapping = self.mapping(config, None).await?;
        self.redact(config);
        self.warn_of_problems(config);
        let given = self.endpoint.to_connector(config, &mapping)?;
        let checked = self.upstream.check(&self.launcher, &given, resources).await;
        self.apply_rotated(config, &mapping).await;
        checked
    }

    /// Discovers the streams, and remembers them for [`Session::streams`]. Omitted streams are left out.
    pub async fn discover(&self, config: &RawValue) -> Result<Vec<Stream>> {
        let mapping = self.mapping(config, None).await?;
        let mut streams = self.discover_mapped(config, &mapping).await?;
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = Some((config.to_owned(), streams.clone()));
        for name in self.settings.streams.unused(&streams) {
            debug!("the source has no stream {name}: what shim.yaml says about it has no effect");
        }
        streams.retain(|it| !self.settings.streams.of(&it.id).is_omitted());
        Ok(streams)
    }

    /// The streams that this process has just discovered with this config; else it discovers them now.
    pub async fn streams(&self, config: &RawValue, mapping: &ConfigMapping) -> Result<Vec<Stream>> {
        let remembered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner).take();
        match remembered {
            Some((with, streams)) if with.get() == config.get() => Ok(streams),
            _ => self.discover_mapped(config, mapping).await,
        }
    }

    async fn discover_mapped(&self, config: &RawValue, mapping: &ConfigMapping) -> Result<Vec<Stream>> {
        let given = self.endpoint.to_connector(config, mapping)?;
        let discovered = self.upstream.discover(&self.launcher, &given).await;
        self.apply_rotated(config, mapping).await;
        let mut streams = discovered?;
        streams.iter_mut().for_each(|it| self.apply_rules(it));
        Ok(streams)
    }

    /// A stream that was discovered before, from its [`Stream::declared`].
    pub fn stream(&self, declared: Box<RawValue>) -> Result<Stream> {
        let mut stream = self.upstream.stream(declared)?;
        self.apply_rules(&mut stream);
        Ok(stream)
    }

    /// Changes a discovered stream as shim.yaml says.
    fn apply_rules(&self, stream: &mut Stream) {
        let options = self.settings.streams.of(&stream.id);
        options.change(&mut stream.schema, &mut stream.key);
        if let Some(CursorField(path)) = &options.cursor_field {
            self.upstream.choose_cursor(stream, path);
        }
    }

    /// Takes over a config that the connector rotated during check or discover: this process uses it from now on.
    async fn apply_rotated(&self, config: &RawValue, mapping: &ConfigMapping) {
        if let Some(rotated) = self.launcher.rotated.take() {
            self.redact(&rotated);
            self.endpoint.keep_rotated(config, &rotated);
            self.publish(&rotated, config, mapping).await;
        }
    }

    /// Publishes a config that the connector rotated, or tells the user what to do. `before` is Flow's config. False if
    /// the encryption service failed.
    pub async fn publish(&self, rotated: &RawValue, before: &RawValue, mapping: &ConfigMapping) -> bool {
        let now = self.endpoint.to_flow(rotated, before, mapping);
        let (Ok(now), Ok(before)) = (now, serde_json::from_str::<Value>(before.get())) else {
            warn!("the connector has sent a new config that can't be read");
            return true;
        };
        let names = rotation::changed_names(&now, &before).join(", ");
        if names.is_empty() {
            return true;
        }
        let update = "update the capture's config before the old one expires";
        let Some(url) = std::env::var(ENCRYPTION_URL).ok().filter(|it| !it.is_empty()) else {
            let why = format!("it can't be published without {ENCRYPTION_URL}");
            error!("the connector has changed its config ({names}); {why}: {update}");
            return true;
        };
        // During shutdown the spec cannot be fetched, so every field is treated as secret.
        let schema = self.describe().await.map_or_else(|_| rotation::all_secret(&now), |it| it.config_schema);
        match rotation::encrypt(&now, &schema, &url, &self.launcher.shutdown).await {
            Ok(encrypted) => {
                logging::config_update(&format!("the connector has changed its config ({names})"), encrypted);
                true
            }
            Err(failure) => {
                error!(
                    "the connector has changed its config ({names}), which can't be published ({failure:#}): {update}"
                );
                false
            }
        }
    }
}
