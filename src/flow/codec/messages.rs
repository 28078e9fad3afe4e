//! The messages of Flow's protobuf codec, with the fields that we read or write, and their conversions.
//!
//! Fields that are JSON in the other codec are JSON text here; an empty one is absent (Q11).

use std::collections::BTreeMap;
use std::io;

use anyhow::{Error, Result, anyhow};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::flow::{request, response, secret};

#[derive(prost::Message)]
pub(super) struct Request {
    #[prost(oneof = "RequestKind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<RequestKind>,
}

#[derive(prost::Oneof)]
enum RequestKind {
    #[prost(message, tag = "1")]
    Spec(()),
    #[prost(message, tag = "2")]
    Discover(Discover),
    #[prost(message, tag = "3")]
    Validate(Validate),
    #[prost(message, tag = "4")]
    Apply(Apply),
    #[prost(message, tag = "5")]
    Open(Open),
    #[prost(message, tag = "6")]
    Acknowledge(()),
}

#[derive(prost::Message)]
struct Discover {
    #[prost(bytes = "vec", tag = "2")]
    config: Vec<u8>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(btree_map = "string, string", tag = "5")]
    secrets: BTreeMap<String, String>,
}

#[derive(prost::Message)]
struct Validate {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "3")]
    config: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    bindings: Vec<ValidateBinding>,
    #[prost(btree_map = "string, string", tag = "8")]
    secrets: BTreeMap<String, String>,
}

#[derive(prost::Message)]
struct ValidateBinding {
    #[prost(bytes = "vec", tag = "1")]
    resource_config: Vec<u8>,
}

#[derive(prost::Message)]
struct Apply {
    #[prost(message, optional, tag = "1")]
    capture: Option<CaptureSpec>,
    #[prost(bytes = "vec", tag = "6")]
    state: Vec<u8>,
}

#[derive(prost::Message)]
struct Open {
    #[prost(message, optional, tag = "1")]
    capture: Option<CaptureSpec>,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(message, optional, tag = "3")]
    range: Option<Range>,
    #[prost(bytes = "vec", tag = "4")]
    state: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    sealed_config: Vec<u8>,
}

#[derive(prost::Message)]
struct Range {
    #[prost(fixed32, tag = "2")]
    key_begin: u32,
    #[prost(fixed32, tag = "3")]
    key_end: u32,
}

#[derive(prost::Message)]
struct CaptureSpec {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "3")]
    config: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    bindings: Vec<Binding>,
    #[prost(message, repeated, tag = "12")]
    linked_collections: Vec<Collection>,
    #[prost(btree_map = "string, string", tag = "13")]
    secrets: BTreeMap<String, String>,
}

#[derive(prost::Message)]
struct Binding {
    #[prost(bytes = "vec", tag = "1")]
    resource_config: Vec<u8>,
    #[prost(string, repeated, tag = "2")]
    resource_path: Vec<String>,
    #[prost(message, optional, tag = "3")]
    collection: Option<Collection>,
    #[prost(string, tag = "5")]
    state_key: String,
    #[prost(uint32, tag = "6")]
    collection_index: u32,
}

#[derive(prost::Message)]
struct Collection {
    #[prost(string, repeated, tag = "3")]
    key: Vec<String>,
    #[prost(bytes = "vec", tag = "8")]
    write_schema: Vec<u8>,
}

impl TryFrom<Request> for request::Request {
    type Error = Error;

    fn try_from(it: Request) -> Result<Self> {
        Ok(match it.kind.ok_or_else(request::unknown)? {
            RequestKind::Spec(()) => Self::Spec,
            RequestKind::Discover(it) => Self::Discover(request::Discover {
                name: it.name,
                config: required("config", it.config)?,
                secrets: secret::from_map(it.secrets),
            }),
            RequestKind::Validate(it) => Self::Validate(request::Validate {
                name: it.name,
                config: required("config", it.config)?,
                secrets: secret::from_map(it.secrets),
                bindings: converted(it.bindings)?,
            }),
            RequestKind::Apply(it) => Self::Apply(Box::new(request::Apply {
                capture: it.capture.map(TryInto::try_into).transpose()?,
                state: json("state", it.state)?,
            })),
            RequestKind::Open(it) => Self::Open(Box::new(request::Open {
                capture: it.capture.ok_or_else(|| missing("capture"))?.try_into()?,
                version: it.version,
                range: it.range.map(|it| request::Range { key_begin: it.key_begin, key_end: it.key_end }),
                state: json("state", it.state)?,
                sealed_config: json("sealedConfig", it.sealed_config)?,
            })),
            RequestKind::Acknowledge(()) => Self::Acknowledge,
        })
    }
}

impl TryFrom<ValidateBinding> for request::ValidateBinding {
    type Error = Error;

    fn try_from(it: ValidateBinding) -> Result<Self> {
        Ok(Self { resource_config: required("resourceConfig", it.resource_config)? })
    }
}

impl TryFrom<CaptureSpec> for request::CaptureSpec {
    type Error = Error;

    fn try_from(it: CaptureSpec) -> Result<Self> {
        Ok(Self {
            name: it.name,
            config: required("config", it.config)?,
            secrets: secret::from_map(it.secrets),
            bindings: converted(it.bindings)?,
            linked_collections: converted(it.linked_collections)?,
        })
    }
}

impl TryFrom<Binding> for request::Binding {
    type Error = Error;

    fn try_from(it: Binding) -> Result<Self> {
        Ok(Self {
            resource_config: required("resourceConfig", it.resource_config)?,
            resource_path: it.resource_path,
            collection: it.collection.map(TryInto::try_into).transpose()?,
            collection_index: it.collection_index as usize,
            state_key: it.state_key,
        })
    }
}

impl TryFrom<Collection> for request::Collection {
    type Error = Error;

    fn try_from(it: Collection) -> Result<Self> {
        Ok(Self { key: it.key, write_schema: json("writeSchema", it.write_schema)? })
    }
}

fn converted<T, U: TryFrom<T, Error = Error>>(all: Vec<T>) -> Result<Vec<U>> {
    all.into_iter().map(U::try_from).collect()
}

fn required(name: &str, text: Vec<u8>) -> Result<Box<RawValue>> {
    json(name, text)?.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Error {
    anyhow!("the runtime sent a request without {name}")
}

/// The error never quotes the text: it may contain secrets.
fn json(name: &str, text: Vec<u8>) -> Result<Option<Box<RawValue>>> {
    if text.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(text).ok().and_then(|it| RawValue::from_string(it).ok());
    text.map(Some).ok_or_else(|| anyhow!("the runtime sent a request whose {name} is not JSON"))
}

#[derive(prost::Message)]
pub(super) struct Response {
    #[prost(oneof = "ResponseKind", tags = "1, 2, 3, 4, 5, 7, 8, 9, 10")]
    kind: Option<ResponseKind>,
}

/// `captured` is not among them: [`super::proto::head`].
#[derive(prost::Oneof)]
enum ResponseKind {
    #[prost(message, boxed, tag = "1")]
    Spec(Box<Spec>),
    #[prost(message, tag = "2")]
    Discovered(Discovered),
    #[prost(message, tag = "3")]
    Validated(Validated),
    #[prost(message, tag = "4")]
    Applied(Applied),
    #[prost(message, tag = "5")]
    Opened(()),
    #[prost(message, tag = "7")]
    Checkpoint(Checkpoint),
    #[prost(message, tag = "8")]
    SourcedSchema(SourcedSchema),
    #[prost(message, tag = "9")]
    BackfillBegin(Backfill),
    #[prost(message, tag = "10")]
    BackfillComplete(Backfill),
}

#[derive(prost::Message)]
struct Spec {
    #[prost(uint32, tag = "1")]
    protocol: u32,
    #[prost(bytes = "vec", tag = "2")]
    config_schema: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    resource_config_schema: Vec<u8>,
    #[prost(string, tag = "4")]
    documentation_url: String,
    #[prost(message, optional, tag = "5")]
    oauth2: Option<OAuth2>,
    #[prost(string, repeated, tag = "6")]
    resource_path_pointers: Vec<String>,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct OAuth2 {
    #[prost(string, tag = "1")]
    provider: String,
    #[prost(string, tag = "2")]
    auth_url_template: String,
    #[prost(string, tag = "3")]
    access_token_url_template: String,
    #[prost(string, tag = "4")]
    access_token_body: String,
    #[prost(btree_map = "string, bytes", tag = "5")]
    #[serde(deserialize_with = "texts")]
    access_token_headers: BTreeMap<String, Vec<u8>>,
    #[prost(btree_map = "string, bytes", tag = "6")]
    #[serde(deserialize_with = "texts")]
    access_token_response_map: BTreeMap<String, Vec<u8>>,
    #[prost(string, tag = "7")]
    refresh_token_url_template: String,
    #[prost(string, tag = "8")]
    refresh_token_body: String,
    #[prost(btree_map = "string, bytes", tag = "9")]
    #[serde(deserialize_with = "texts")]
    refresh_token_headers: BTreeMap<String, Vec<u8>>,
    #[prost(btree_map = "string, bytes", tag = "10")]
    #[serde(deserialize_with = "texts")]
    refresh_token_response_map: BTreeMap<String, Vec<u8>>,
    #[prost(string, tag = "11")]
    access_token_method: String,
    #[prost(string, tag = "12")]
    refresh_token_method: String,
}

#[derive(prost::Message)]
struct Discovered {
    #[prost(message, repeated, tag = "1")]
    bindings: Vec<DiscoveredBinding>,
}

#[derive(prost::Message)]
struct DiscoveredBinding {
    #[prost(string, tag = "1")]
    recommended_name: String,
    #[prost(bytes = "vec", tag = "2")]
    resource_config: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    document_schema: Vec<u8>,
    #[prost(string, repeated, tag = "4")]
    key: Vec<String>,
    #[prost(bool, tag = "5")]
    disable: bool,
    #[prost(bool, tag = "7")]
    is_fallback_key: bool,
}

#[derive(prost::Message)]
struct Validated {
    #[prost(message, repeated, tag = "1")]
    bindings: Vec<ValidatedBinding>,
}

#[derive(prost::Message)]
struct ValidatedBinding {
    #[prost(string, repeated, tag = "1")]
    resource_path: Vec<String>,
}

#[derive(prost::Message)]
struct Applied {
    #[prost(message, optional, tag = "2")]
    state: Option<ConnectorState>,
}

#[derive(prost::Message)]
struct Checkpoint {
    #[prost(message, optional, tag = "1")]
    state: Option<ConnectorState>,
}

#[derive(prost::Message)]
struct ConnectorState {
    #[prost(bytes = "vec", tag = "1")]
    updated: Vec<u8>,
    #[prost(bool, tag = "2")]
    merge_patch: bool,
}

#[derive(prost::Message)]
struct SourcedSchema {
    #[prost(uint32, tag = "1")]
    binding: u32,
    #[prost(bytes = "vec", tag = "2")]
    document_schema: Vec<u8>,
}

#[derive(prost::Message)]
struct Backfill {
    #[prost(uint32, tag = "1")]
    binding: u32,
}

impl TryFrom<&response::Response<'_>> for Response {
    type Error = io::Error;

    fn try_from(it: &response::Response) -> io::Result<Self> {
        use response::Response as From;
        let kind = match it {
            From::Spec(it) => ResponseKind::Spec(Box::new(Spec {
                protocol: it.protocol,
                config_schema: text(&it.config_schema)?,
                resource_config_schema: text(&it.resource_config_schema)?,
                documentation_url: it.documentation_url.clone(),
                oauth2: it.oauth2.as_ref().map(oauth2).transpose()?,
                resource_path_pointers: it.resource_path_pointers.clone(),
            })),
            From::Discovered { bindings } => ResponseKind::Discovered(Discovered {
                bindings: bindings.iter().map(DiscoveredBinding::try_from).collect::<io::Result<_>>()?,
            }),
            From::Validated { bindings } => ResponseKind::Validated(Validated {
                bindings: bindings
                    .iter()
                    .map(|it| ValidatedBinding { resource_path: it.resource_path.clone() })
                    .collect(),
            }),
            From::Applied { state } => ResponseKind::Applied(Applied { state: state.as_ref().map(Into::into) }),
            From::Opened {} => ResponseKind::Opened(()),
            From::SourcedSchema { binding, document_schema } => ResponseKind::SourcedSchema(SourcedSchema {
                binding: *binding as u32,
                document_schema: text(document_schema)?,
            }),
            From::BackfillBegin { binding } => ResponseKind::BackfillBegin(Backfill { binding: *binding as u32 }),
            From::BackfillComplete { binding } => ResponseKind::BackfillComplete(Backfill { binding: *binding as u32 }),
            From::Checkpoint { state } => ResponseKind::Checkpoint(Checkpoint { state: Some(state.into()) }),
        };
        Ok(Self { kind: Some(kind) })
    }
}

impl From<&response::ConnectorState<'_>> for ConnectorState {
    fn from(it: &response::ConnectorState) -> Self {
        Self { updated: it.updated.get().into(), merge_patch: it.merge_patch }
    }
}

impl TryFrom<&response::DiscoveredBinding> for DiscoveredBinding {
    type Error = io::Error;

    fn try_from(it: &response::DiscoveredBinding) -> io::Result<Self> {
        Ok(Self {
            recommended_name: it.recommended_name.clone(),
            resource_config: text(&it.resource_config)?,
            document_schema: text(&it.document_schema)?,
            key: it.key.clone(),
            disable: it.disable,
            is_fallback_key: it.is_fallback_key,
        })
    }
}

fn text(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

/// Through text, which keeps numbers as they are.
fn oauth2(value: &Value) -> io::Result<OAuth2> {
    Ok(serde_json::from_slice(&text(value)?)?)
}

/// A map's values as JSON text.
fn texts<'de, D: Deserializer<'de>>(it: D) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
    let values = BTreeMap::<String, Box<RawValue>>::deserialize(it)?;
    Ok(values.into_iter().map(|(name, value)| (name, value.get().into())).collect())
}
