//! A session: the settings, the protocol and the launcher of one connector. It runs spec, check and discover, and maps
//! configs between Flow and the connector. It does not know Flow's requests.

pub mod baked;
pub mod config;
mod fingerprint;
pub mod mapping;
pub mod publish;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::warn;

use crate::airbyte::Airbyte;
use crate::error;
use crate::fivetran::Fivetran;
use crate::oauth;
use crate::process::launch::{Launcher, RotatedConfig, Target};
use crate::process::shutdown::Shutdown;
use crate::schema::{self, Change};
use crate::secrets;
use crate::settings::streams::CursorField;
use crate::settings::{Protocol, Settings, SourceArgs};
use crate::singer::Singer;
use crate::upstream::{Resource, Spec, Stream, Upstream};
use tokio::sync::OnceCell;

use mapping::{ConfigMapping, Endpoint, SKIP_INTERVAL};
use publish::Publisher;

pub struct Session {
    pub settings: Settings,
    pub upstream: Arc<dyn Upstream>,
    pub launcher: Launcher,
    /// Maps configs between Flow and the connector.
    pub endpoint: Endpoint,
    pub publisher: Publisher,
    /// The config of the last discovery, and what it found.
    discovered: Mutex<Option<(Box<RawValue>, Vec<Stream>)>>,
    /// The spec that `flow-shim bake` stored, if it is still right.
    baked: OnceLock<Option<Spec>>,
    /// The spec that this process has asked the connector for.
    fetched: OnceCell<Spec>,
    /// The config schema as Flow has it.
    config_schema: OnceLock<Value>,
    /// The last config that was compared with it.
    compared: Mutex<Option<Box<RawValue>>>,
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

    pub fn new(mut settings: Settings, shutdown: Shutdown) -> Self {
        let upstream: Arc<dyn Upstream> = match settings.protocol {
            Protocol::Airbyte => Arc::new(Airbyte { state_format: settings.state_format }),
            Protocol::Singer => Arc::new(Singer {
                config_schema: settings.config_schema.clone(),
                catalog: settings.catalog,
                discovered: settings.discovered.take(),
                aliases: std::mem::take(&mut settings.aliases),
            }),
            Protocol::Fivetran => Arc::new(Fivetran { config_schema: settings.config_schema.clone() }),
        };
        let (patch, map, oauth2) = (settings.config_patch.take(), settings.config_map.clone(), settings.oauth2.clone());
        let launcher = Launcher {
            target: settings.target.clone(),
            env: settings.env.clone(),
            idle_timeout: settings.idle_timeout.0,
            shutdown,
            rotated: RotatedConfig::default(),
            kept: None,
        };
        Self {
            settings,
            upstream,
            launcher,
            endpoint: Endpoint::new(patch, map, oauth2),
            publisher: Publisher::default(),
            discovered: Mutex::default(),
            baked: OnceLock::new(),
            fetched: OnceCell::new(),
            config_schema: OnceLock::new(),
            compared: Mutex::default(),
        }
    }

    /// The connector's spec, if that takes no start of the connector.
    pub fn known_spec(&self) -> Option<&Spec> {
        self.fetched.get().or_else(|| self.baked.get_or_init(|| baked::read(&self.settings)).as_ref())
    }

    /// The connector's spec. The connector is asked for it once.
    async fn spec(&self) -> Result<&Spec> {
        match self.known_spec() {
            Some(it) => Ok(it),
            None => self.fetched.get_or_try_init(|| self.upstream.spec(&self.launcher)).await,
        }
    }

    /// Derives what Flow is told from the connector's spec.
    pub async fn describe(&self) -> Result<Described> {
        let found = self.spec().await?;
        let derived = self.derive(found);
        let rewritten = schema::config(&derived.schema);
        Ok(Described {
            config_schema: rewritten.schema,
            changes: rewritten.changes,
            declares_oauth: found.advanced_auth.is_some() || found.auth_specification.is_some(),
            oauth2: derived.oauth2,
            missing: derived.missing,
            documentation_url: found.documentation_url.clone(),
        })
    }

    fn derive(&self, found: &Spec) -> oauth::Derived {
        let derived = self.endpoint.derive(found);
        let _ = self.config_schema.set(derived.schema.clone());
        derived
    }

    /// The config schema as Flow has it, if that takes no start of the connector.
    fn known_schema(&self) -> Option<&Value> {
        if self.config_schema.get().is_none() {
            self.derive(self.known_spec()?);
        }
        self.config_schema.get()
    }

    /// Redacts the secrets of a config of Flow's from now on: those that the connector's schema marks, if this process
    /// knows it, and those whose names look secret.
    pub fn redact(&self, config: &RawValue) {
        secrets::redact_config(config, self.known_schema());
    }

    /// Warns of fields that the connector does not know, as most connectors ignore a mistyped field.
    fn warn_of_unknown_fields(&self, config: &Value) {
        let Some(schema) = self.known_schema() else { return };
        for (name, similar) in schema::unknown_fields(schema, config).into_iter().filter(|it| it.0 != SKIP_INTERVAL) {
            let hint = similar.map_or(String::new(), |it| format!(" (did you mean `{it}`?)"));
            warn!("the connector has no config field `{name}`{hint}");
        }
    }

    /// Compares a config of Flow's with the connector's schema. Only taps have no other check: for them a violation is an
    /// error. Each config is warned of once.
    pub async fn compare_with_schema(&self, config: &RawValue) -> Result<()> {
        let parsed = |it: &RawValue| serde_json::from_str::<Value>(it.get()).unwrap_or_default();
        if self.upstream.schema_decides() {
            let given = self.endpoint.to_connector(config, &self.mapping(config, None).await?)?;
            // Rewritten as for Flow: taps use any draft.
            let schema = schema::config(&self.spec().await?.config_schema).schema;
            let wrong = schema::violations(&schema, &parsed(&given));
            if !wrong.is_empty() {
                bail!("the config is not valid for this tap: {}", wrong.join("; "));
            }
        }
        let last = self.compared.lock().unwrap_or_else(PoisonError::into_inner).replace(config.to_owned());
        if last.is_some_and(|it| it.get() == config.get()) {
            return Ok(());
        }
        let config = parsed(config);
        if let Some(schema) = self.known_schema().filter(|_| !self.upstream.schema_decides()) {
            schema::violations(schema, &config).iter().for_each(|it| warn!("the config may not be valid: {it}"));
        }
        self.warn_of_unknown_fields(&config);
        Ok(())
    }

    /// The config mapping for this config; reuses the one stored by an earlier session if it is still valid.
    pub async fn mapping(&self, config: &RawValue, kept: Option<&ConfigMapping>) -> Result<ConfigMapping> {
        // What is known without a start is certain, and what was kept may be older.
        self.known_schema();
        if let Some(mapping) = self.endpoint.mapping(config, kept)? {
            return Ok(mapping);
        }
        self.spec().await.context("can't fetch the connector's spec, which the config mapping needs")?;
        self.known_schema();
        Ok(self.endpoint.mapping(config, None)?.unwrap_or_default())
    }

    /// Checks that these streams can be read with this config of Flow's.
    pub async fn check(&self, config: &RawValue, resources: &[Resource]) -> Result<()> {
        let mapping = self.mapping(config, None).await?;
        self.redact(config);
        self.compare_with_schema(config).await?;
        let given = self.endpoint.to_connector(config, &mapping)?;
        let checked = self.upstream.check(&self.launcher, &given, resources).await;
        let published = self.apply_rotated(config, &mapping, checked.is_ok()).await;
        error::both(checked, published)
    }

    /// Discovers the streams, and remembers them for [`Session::streams`]. Omitted streams are left out.
    pub async fn discover(&self, config: &RawValue) -> Result<Vec<Stream>> {
        let mapping = self.mapping(config, None).await?;
        let mut streams = self.discover_mapped(config, &mapping).await?;
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = Some((config.to_owned(), streams.clone()));
        self.warn_of_settings_without_effect(&streams)?;
        streams.retain(|it| !self.settings.streams.of(&it.id).is_omitted());
        Ok(streams)
    }

    fn warn_of_settings_without_effect(&self, streams: &[Stream]) -> Result<()> {
        if self.settings.streams.is_empty() {
            return Ok(());
        }
        let declared = streams.iter().map(|it| self.upstream.stream(it.declared.clone()));
        let declared = declared.collect::<Result<Vec<_>>>()?;
        for problem in self.settings.streams.without_effect(streams, &declared) {
            warn!("check `streams` in shim.yaml: {problem}");
        }
        Ok(())
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
        let published = self.apply_rotated(config, mapping, discovered.is_ok()).await;
        let mut streams = error::both(discovered, published)?;
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

    /// Takes over a config that the connector rotated during check or discover: this process uses it from now on, and Flow
    /// gets it. Of a command that failed, only rotated secrets are published.
    async fn apply_rotated(&self, config: &RawValue, mapping: &ConfigMapping, has_succeeded: bool) -> Result<()> {
        let Some(rotated) = self.launcher.rotated.take() else { return Ok(()) };
        self.redact(&rotated);
        self.endpoint.keep_rotated(config, &rotated);
        let Some((change, schema)) = self.change(&rotated, config, mapping).await else { return Ok(()) };
        let change = if has_succeeded { change } else { change.only_rotated() };
        self.publisher.publish(config, change, schema.as_ref(), &self.launcher.shutdown).await
    }

    /// Publishes a config that the connector rotated. `before` is Flow's config. An error means that a secret will be lost.
    pub async fn publish(&self, rotated: &RawValue, before: &RawValue, mapping: &ConfigMapping) -> Result<()> {
        self.redact(rotated);
        let Some((change, schema)) = self.change(rotated, before, mapping).await else { return Ok(()) };
        self.publisher.publish(before, change, schema.as_ref(), &self.launcher.shutdown).await
    }

    /// What a rotated config changes in what Flow has, and the config's schema if it is known.
    async fn change(
        &self,
        rotated: &RawValue,
        before: &RawValue,
        mapping: &ConfigMapping,
    ) -> Option<(publish::Change, Option<Value>)> {
        let now = self.endpoint.to_flow(rotated, before, mapping);
        let (Ok(now), Ok(published)) = (now, self.publisher.published(before)) else {
            warn!("the connector has sent a new config that can't be read");
            return None;
        };
        if now == published {
            return None;
        }
        if self.known_schema().is_none() {
            // The spec is not worth the time of a shutdown.
            tokio::select! {
                biased;
                _ = self.launcher.shutdown.requested() => {}
                _ = self.describe() => {}
            }
        }
        let schema = self.known_schema().cloned();
        Some((publish::Change::new(published, now, schema.as_ref()), schema))
    }
}
