//! Config mapping: from Flow's config to the connector's and back.
//!
//! Flow's users fill in a form that is derived from the connector's spec, changed by shim.yaml (`spec.patch`, `oauth2`),
//! with the OAuth fields in `/credentials` ([`crate::oauth`]). The connector wants these fields where its spec declares
//! them, and other fields where `spec.map` says.
//!
//! What OAuth moves follows from the connector's spec. If that was not baked, it takes a second or two to fetch, so it is
//! fetched only for a config that OAuth may have filled in, and once per process; a capture stores the result in its state,
//! beside the discovered catalog ([`ConfigMapping`]).

use anyhow::{Context, Result, anyhow};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::fingerprint;
use crate::json::merge::merge;
use crate::oauth::{self, Declaration, OAuthSetting, Remap};
use crate::settings::ConfigMap;
use crate::upstream;

/// What shim.yaml says about the config, and what this process has learned.
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
    /// Flow's config, and the config to which the connector rotated it (A18).
    rotated: Option<(Box<RawValue>, Box<RawValue>)>,
}

/// What OAuth moves, and a hash of the settings from which that was derived.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigMapping {
    #[serde(default)]
    basis: String,
    #[serde(default)]
    remap: Remap,
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

    /// Whether the OAuth mapping may apply to this config.
    fn may_concern(&self, config: &Value) -> bool {
        // No mapping is derived if shim.yaml already adds the OAuth annotation.
        let by_hand = self.patch.as_ref().is_some_and(|it| it.to_string().contains("\"x-oauth2-provider\""));
        self.oauth2 != OAuthSetting::Never && !by_hand && config.get("credentials").is_some_and(Value::is_object)
    }

    /// Whether the mapping is worth a start of the connector, which is to tell whether it declares OAuth at all. Flow adds
    /// the client to the credentials of everybody who signs in.
    fn is_worth_a_start(&self, config: &Value) -> bool {
        let has = |name: &str| config["credentials"].get(name).is_some();
        matches!(self.oauth2, OAuthSetting::Given(_)) || has("client_id") || has("client_secret")
    }

    /// A hash of what a [`ConfigMapping`] is derived from, apart from the connector's spec.
    fn basis(&self) -> String {
        let said = format!("{:?} {:?} {}", self.oauth2, self.patch, env!("CARGO_PKG_VERSION"));
        fingerprint::hash(said.as_bytes())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this process uses in place of this config of Flow's, since the connector rotated it.
    pub fn rotated(&self, config: &RawValue) -> Option<Box<RawValue>> {
        let known = self.known();
        known.rotated.as_ref().filter(|(given, _)| given.get() == config.get()).map(|it| it.1.clone())
    }

    /// This process uses `rotated` in place of `config` from now on.
    pub fn keep_rotated(&self, config: &RawValue, rotated: &RawValue) {
        self.known().rotated = Some((config.to_owned(), rotated.to_owned()));
    }
}

impl Endpoint {
    /// Derives what Flow is told about the config from the connector's spec.
    pub fn derive(&self, found: &upstream::Spec) -> oauth::Derived {
        let mut schema = found.config_schema.clone();
        if let Some(patch) = &self.patch {
            merge(&mut schema, patch.clone());
        }
        let declaration = Declaration {
            schema: &schema,
            advanced_auth: found.advanced_auth.as_ref(),
            auth_specification: found.auth_specification.as_ref(),
        };
        let derived = oauth::derive(&declaration, &self.oauth2);
        self.known().remap = Some(derived.remap.clone());
        derived
    }

    /// The config mapping for this config, if it is known without the connector's spec; else [`Endpoint::derive`] has to be
    /// called first. `kept` is the mapping that an earlier session stored.
    pub fn mapping(&self, config: &RawValue, kept: Option<&ConfigMapping>) -> Result<Option<ConfigMapping>> {
        let config = parsed(config)?;
        if !self.may_concern(&config) {
            return Ok(Some(ConfigMapping::default()));
        }
        let basis = self.basis();
        if let Some(remap) = self.known().remap.clone() {
            return Ok(Some(ConfigMapping { basis, remap }));
        }
        if let Some(kept) = kept.filter(|it| it.basis == basis) {
            self.known().remap = Some(kept.remap.clone());
            return Ok(Some(kept.clone()));
        }
        Ok((!self.is_worth_a_start(&config)).then(ConfigMapping::default))
    }

    /// The config as the connector wants it: the same text if nothing has to be moved.
    pub fn to_connector(&self, config: &RawValue, mapping: &ConfigMapping) -> Result<Box<RawValue>> {
        if let Some(rotated) = self.rotated(config) {
            return Ok(rotated);
        }
        if mapping.remap.is_nothing() && self.map.is_empty() && !config.get().contains(SKIP_INTERVAL) {
            return Ok(config.to_owned());
        }
        let flow = parsed(config)?;
        let mut connector = self.map.apply(&mapping.remap.apply(&flow));
        if let Some(members) = connector.as_object_mut() {
            members.shift_remove(SKIP_INTERVAL);
        }
        if connector == flow {
            return Ok(config.to_owned());
        }
        to_raw_value(&connector).context("can't write the connector's config")
    }

    /// A config that the connector rotated, as Flow keeps it; `before` is Flow's present config.
    pub fn to_flow(&self, rotated: &RawValue, before: &RawValue, mapping: &ConfigMapping) -> Result<Value> {
        let (rotated, before) = (parsed(rotated)?, parsed(before)?);
        let between = mapping.remap.apply(&before);
        let mut flow = mapping.remap.undo(&self.map.undo(&rotated, &between), &before);
        if let (Some(members), Some(skip)) = (flow.as_object_mut(), before.get(SKIP_INTERVAL)) {
            members.insert(SKIP_INTERVAL.into(), skip.clone());
        }
        Ok(flow)
    }
}

/// Whether a user's config turns `runInterval` off.
pub fn skips_interval(config: &RawValue) -> bool {
    parsed(config).is_ok_and(|it| it.get(SKIP_INTERVAL) == Some(&Value::Bool(true)))
}

/// The member of Flow's config that does. It is not passed to the connector.
pub const SKIP_INTERVAL: &str = "_atf_skip_interval";

/// The error does not quote the config, as it holds secrets.
fn parsed(config: &RawValue) -> Result<Value> {
    serde_json::from_str(config.get()).map_err(|_| anyhow!("the config can't be read"))
}
