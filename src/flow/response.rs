//! What flow-shim answers. [`super::codec`] writes it.

use serde::Serialize;
use serde_json::{Value, value::RawValue};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Response<'a> {
    Spec(&'a Spec),
    Discovered {
        bindings: Vec<DiscoveredBinding>,
    },
    Validated {
        bindings: Vec<ValidatedBinding>,
    },
    Applied {
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<ConnectorState<'a>>,
    },
    Opened {},
    #[serde(rename_all = "camelCase")]
    SourcedSchema {
        binding: usize,
        document_schema: &'a Value,
    },
    Checkpoint {
        state: ConnectorState<'a>,
    },
    /// A refresh begins: its completion drops the binding's documents from before this.
    BackfillBegin {
        binding: usize,
    },
    BackfillComplete {
        binding: usize,
    },
}

impl Response<'_> {
    /// The message's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Spec(_) => "spec",
            Self::Discovered { .. } => "discovered",
            Self::Validated { .. } => "validated",
            Self::Applied { .. } => "applied",
            Self::Opened {} => "opened",
            Self::SourcedSchema { .. } => "sourcedSchema",
            Self::Checkpoint { .. } => "checkpoint",
            Self::BackfillBegin { .. } => "backfillBegin",
            Self::BackfillComplete { .. } => "backfillComplete",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    pub protocol: u32,
    pub config_schema: Value,
    pub resource_config_schema: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<Value>,
    pub documentation_url: String,
    pub resource_path_pointers: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredBinding {
    pub recommended_name: String,
    pub resource_config: Value,
    pub document_schema: Value,
    pub key: Vec<String>,
    /// F18.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_fallback_key: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatedBinding {
    pub resource_path: Vec<String>,
}

/// A merge patch of the state (F8), already as text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorState<'a> {
    pub updated: &'a RawValue,
    pub merge_patch: bool,
}
