//! What the runtime asks. Fields that we don't know are ignored (F2): new ones appear over time.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::secret::{self, Secret};

#[cfg_attr(test, derive(Debug))]
pub enum Request {
    Spec,
    Discover(Discover),
    Validate(Validate),
    Apply(Box<Apply>),
    Open(Box<Open>),
    Acknowledge,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Debug))]
pub struct Discover {
    /// Of the capture.
    #[serde(default)]
    pub name: String,
    pub config: Box<RawValue>,
    #[serde(default, deserialize_with = "secrets")]
    pub secrets: Vec<Secret>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Debug))]
pub struct Validate {
    /// Of the capture.
    #[serde(default)]
    pub name: String,
    pub config: Box<RawValue>,
    #[serde(default, deserialize_with = "secrets")]
    pub secrets: Vec<Secret>,
    #[serde(default)]
    pub bindings: Vec<ValidateBinding>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Debug))]
pub struct ValidateBinding {
    #[serde(rename = "resourceConfig", alias = "resource_config")]
    pub resource_config: Box<RawValue>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Debug))]
pub struct Apply {
    #[serde(default)]
    pub capture: Option<CaptureSpec>,
    #[serde(default)]
    pub state: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Debug))]
pub struct Open {
    pub capture: CaptureSpec,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub range: Option<Range>,
    #[serde(default)]
    pub state: Option<Box<RawValue>>,
    /// The config as it was published: encrypted, or without the values of the task's secrets.
    #[serde(default, rename = "sealedConfig", alias = "sealed_config")]
    pub sealed_config: Option<Box<RawValue>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(Debug))]
pub struct Range {
    #[serde(default, rename = "keyBegin", alias = "key_begin")]
    pub key_begin: u32,
    /// Inclusive.
    #[serde(default, rename = "keyEnd", alias = "key_end")]
    pub key_end: u32,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Debug))]
pub struct CaptureSpec {
    #[serde(default)]
    pub name: String,
    pub config: Box<RawValue>,
    #[serde(default, deserialize_with = "secrets")]
    pub secrets: Vec<Secret>,
    #[serde(default)]
    pub bindings: Vec<Binding>,
    #[serde(default, rename = "linkedCollections", alias = "linked_collections")]
    pub(super) linked_collections: Vec<Collection>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Debug))]
pub struct Binding {
    #[serde(rename = "resourceConfig", alias = "resource_config")]
    pub resource_config: Box<RawValue>,
    #[serde(default, rename = "resourcePath", alias = "resource_path")]
    pub resource_path: Vec<String>,
    #[serde(default)]
    pub(super) collection: Option<Collection>,
    /// Into `linkedCollections`, which replace every `collection` where the runtime sends any; zero is omitted.
    #[serde(default, rename = "collectionIndex", alias = "collection_index")]
    pub(super) collection_index: usize,
    #[serde(default, rename = "stateKey", alias = "state_key")]
    pub state_key: String,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Collection {
    #[serde(default)]
    pub(super) key: Vec<String>,
    #[serde(default, rename = "writeSchema", alias = "write_schema")]
    pub(super) write_schema: Option<Box<RawValue>>,
}

impl CaptureSpec {
    /// The key of the collection that a binding writes to.
    pub fn key<'a>(&'a self, binding: &'a Binding) -> &'a [String] {
        self.collection(binding).map_or(&[], |it| &it.key)
    }

    /// The schema that the binding's documents have to match.
    pub fn write_schema<'a>(&'a self, binding: &'a Binding) -> Option<&'a RawValue> {
        self.collection(binding)?.write_schema.as_deref()
    }

    fn collection<'a>(&'a self, binding: &'a Binding) -> Option<&'a Collection> {
        if self.linked_collections.is_empty() {
            return binding.collection.as_ref();
        }
        self.linked_collections.get(binding.collection_index)
    }
}

#[derive(Deserialize)]
struct Envelope {
    spec: Option<IgnoredAny>,
    discover: Option<Discover>,
    validate: Option<Validate>,
    apply: Option<Box<Apply>>,
    open: Option<Box<Open>>,
    acknowledge: Option<IgnoredAny>,
}

impl Request {
    /// The name of its kind, for log lines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Discover(_) => "discover",
            Self::Validate(_) => "validate",
            Self::Apply(_) => "apply",
            Self::Open(_) => "open",
            Self::Acknowledge => "acknowledge",
        }
    }

    /// Parses a request. The error never quotes it: it may contain secrets.
    pub(super) fn parse(line: &[u8]) -> Result<Self> {
        let envelope: Envelope = serde_json::from_slice(line)
            .map_err(|it| anyhow!("{:?} error at column {}", it.classify(), it.column()))
            .context("the runtime sent a request that can't be read")?;
        let Envelope { spec, discover, validate, apply, open, acknowledge } = envelope;
        None.or(spec.map(|_| Self::Spec))
            .or(discover.map(Self::Discover))
            .or(validate.map(Self::Validate))
            .or(apply.map(Self::Apply))
            .or(open.map(Self::Open))
            .or(acknowledge.map(|_| Self::Acknowledge))
            .ok_or_else(unknown)
    }
}

fn secrets<'de, D: Deserializer<'de>>(it: D) -> Result<Vec<Secret>, D::Error> {
    Ok(secret::from_map(Option::<BTreeMap<String, String>>::deserialize(it)?.unwrap_or_default()))
}

pub(super) fn unknown() -> anyhow::Error {
    anyhow!("the runtime sent a request that this version of flow-shim does not know")
}
