//! The config on its way from Flow to the connector and back.
//!
//! Flow's users fill in a form that the shim derives: from the connector's own spec, changed by shim.yaml (`spec.patch`,
//! `oauth2`) and with its OAuth fields in `/credentials` ([`crate::oauth`]). The connector wants them where it declares
//! them, and the rest where `spec.map` says.
//!
//! What OAuth moves follows from the connector's spec, and to ask for that takes a second or two. So it is asked for only
//! where a config has `/credentials` and nothing in shim.yaml makes the answer plain; within one process once; and a
//! capture keeps the answer in its state, beside the discovered catalog and as long as that ([`ConfigMapping`]).

use anyhow::{Context, Result, anyhow};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::Shim;
use super::map::ConfigMap;
use crate::json::merge::merge;
use crate::oauth::{self, Declaration, OAuthSetting, Remap};
use crate::schema::{self, Change};
use crate::upstream;

/// What shim.yaml says of the config.
#[derive(Default)]
pub struct Endpoint {
    /// RFC 7396, for the connector's config schema.
    pub patch: Option<Value>,
    pub map: ConfigMap,
    pub oauth2: OAuthSetting,
    known: Mutex<Known>,
}

/// What this process has learned.
#[derive(Default)]
struct Known {
    remap: Option<Remap>,
    /// A config as Flow has it, and the one that the connector has made of it (A18).
    rotated: Option<(Box<RawValue>, Box<RawValue>)>,
}

/// What OAuth moves, and what that was derived from on this side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigMapping {
    #[serde(default)]
    basis: String,
    #[serde(default)]
    remap: Remap,
}

/// The connector as Flow sees it.
pub struct Described {
    pub config_schema: Value,
    /// What had to be changed for Flow's parser.
    pub changes: Vec<Change>,
    /// The connector says how users may sign in.
    pub declares_oauth: bool,
    pub oauth2: Option<Value>,
    /// Why users can't sign in, where they could.
    pub missing: Option<String>,
    pub documentation_url: Option<String>,
}

impl ConfigMapping {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Endpoint {
    pub fn new(patch: Option<Value>, map: ConfigMap, oauth2: OAuthSetting) -> Self {
        Self { patch, map, oauth2, known: Mutex::default() }
    }

    /// Whether the connector's spec has a say in where this config's values go.
    fn concerns(&self, config: &Value) -> bool {
        // Who patches the sign-in button in has no remap derived.
        let by_hand = self.patch.as_ref().is_some_and(|it| it.to_string().contains("\"x-oauth2-provider\""));
        self.oauth2 != OAuthSetting::Never && !by_hand && config.get("credentials").is_some_and(Value::is_object)
    }

    /// Changes with what a [`ConfigMapping`] is derived from, the connector apart.
    fn basis(&self) -> String {
        let said = format!("{:?} {:?} {}", self.oauth2, self.patch, env!("CARGO_PKG_VERSION"));
        // FNV-1a: a hash that is the same tomorrow.
        let hash = said
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The config that this process uses in place of `config` from now on.
    pub fn keep_rotated(&self, config: &RawValue, rotated: &RawValue) {
        self.known().rotated = Some((config.to_owned(), rotated.to_owned()));
    }
}

impl Shim {
    /// Asks the connector, and derives what Flow is told.
    pub async fn describe(&self) -> Result<Described> {
        let found = self.source.spec(&self.launcher).await?;
        let derived = self.derive(&found);
        self.endpoint.known().remap = Some(derived.remap);
        let rewritten = schema::config(&derived.schema);
        Ok(Described {
            config_schema: rewritten.schema,
            changes: rewritten.changes,
            declares_oauth: found.advanced_auth.is_some() || found.auth_specification.is_some(),
            oauth2: derived.oauth2,
            missing: derived.missing,
            documentation_url: found.documentation_url,
        })
    }

    fn derive(&self, found: &upstream::Spec) -> oauth::Derived {
        let mut schema = found.config_schema.clone();
        if let Some(patch) = &self.endpoint.patch {
            merge(&mut schema, patch.clone());
        }
        let declaration = Declaration {
            schema: &schema,
            advanced_auth: found.advanced_auth.as_ref(),
            auth_specification: found.auth_specification.as_ref(),
        };
        oauth::derive(&declaration, &self.endpoint.oauth2)
    }

    /// How this config gets to the connector; `kept` is what an earlier session found, if that still holds.
    pub async fn way(&self, config: &RawValue, kept: Option<&ConfigMapping>) -> Result<ConfigMapping> {
        if !self.endpoint.concerns(&parsed(config)?) {
            return Ok(ConfigMapping::default());
        }
        let basis = self.endpoint.basis();
        let known = self.endpoint.known().remap.clone();
        let remap = match (known, kept) {
            (Some(remap), _) => remap,
            (None, Some(kept)) if kept.basis == basis => return Ok(kept.clone()),
            _ => {
                let found = self.source.spec(&self.launcher).await;
                self.derive(&found.context("can't ask the connector for its config's form")?).remap
            }
        };
        self.endpoint.known().remap = Some(remap.clone());
        Ok(ConfigMapping { basis, remap })
    }

    /// The config as the connector wants it: the same text, where nothing is to be moved.
    pub fn to_connector(&self, config: &RawValue, way: &ConfigMapping) -> Result<Box<RawValue>> {
        if let Some((given, rotated)) = &self.endpoint.known().rotated
            && given.get() == config.get()
        {
            return Ok(rotated.clone());
        }
        if way.remap.is_nothing() && self.endpoint.map.is_empty() && !config.get().contains(SKIP_INTERVAL) {
            return Ok(config.to_owned());
        }
        let flow = parsed(config)?;
        let mut connector = self.endpoint.map.apply(&way.remap.apply(&flow));
        if let Some(members) = connector.as_object_mut() {
            members.shift_remove(SKIP_INTERVAL);
        }
        if connector == flow {
            return Ok(config.to_owned());
        }
        to_raw_value(&connector).context("can't write the connector's config")
    }

    /// A config that the connector has changed, as Flow keeps it; `before` is what Flow has now.
    pub fn to_flow(&self, changed: &RawValue, before: &RawValue, way: &ConfigMapping) -> Result<Value> {
        let (changed, before) = (parsed(changed)?, parsed(before)?);
        let between = way.remap.apply(&before);
        let mut flow = way.remap.undo(&self.endpoint.map.undo(&changed, &between), &before);
        if let (Some(members), Some(skip)) = (flow.as_object_mut(), before.get(SKIP_INTERVAL)) {
            members.insert(SKIP_INTERVAL.into(), skip.clone());
        }
        Ok(flow)
    }
}

/// Whether a user's config says that a capture is not to stay up for its `runInterval`.
pub fn skips_interval(config: &RawValue) -> bool {
    parsed(config).is_ok_and(|it| it.get(SKIP_INTERVAL) == Some(&Value::Bool(true)))
}

/// The member of Flow's config that says so. No connector gets it.
const SKIP_INTERVAL: &str = "_atf_skip_interval";

/// The error does not quote: it is about secrets.
fn parsed(config: &RawValue) -> Result<Value> {
    serde_json::from_str(config.get()).map_err(|_| anyhow!("the config can't be read"))
}
