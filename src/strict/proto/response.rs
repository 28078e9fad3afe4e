//! Responses, from protobuf's fields to the JSON codec's names. Zero and empty values are left out as in JSON.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Json;

#[derive(prost::Message)]
pub struct Response {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub kind: Option<Kind>,
}

#[derive(prost::Oneof, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    #[prost(message, boxed, tag = "1")]
    Spec(Box<SpecResponse>),
    #[prost(message, tag = "2")]
    Discovered(Discovered),
    #[prost(message, tag = "3")]
    Validated(Validated),
    #[prost(message, tag = "4")]
    Applied(Applied),
    #[prost(message, tag = "5")]
    Opened(Opened),
    #[prost(message, tag = "6")]
    Captured(Captured),
    #[prost(message, tag = "7")]
    Checkpoint(Checkpoint),
    #[prost(message, tag = "8")]
    SourcedSchema(SourcedSchema),
    #[prost(message, tag = "9")]
    BackfillBegin(Backfill),
    #[prost(message, tag = "10")]
    BackfillComplete(Backfill),
}

#[derive(prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecResponse {
    #[prost(uint32, tag = "1")]
    protocol: u32,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(serialize_with = "raw")]
    config_schema: Json,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(serialize_with = "raw")]
    resource_config_schema: Json,
    #[prost(string, tag = "4")]
    documentation_url: String,
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "is_zero")]
    oauth2: Option<OAuth2>,
    #[prost(string, repeated, tag = "6")]
    resource_path_pointers: Vec<String>,
}

#[derive(PartialEq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2 {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "is_zero")]
    provider: String,
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "is_zero")]
    auth_url_template: String,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "is_zero")]
    access_token_url_template: String,
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "is_zero")]
    access_token_body: String,
    #[prost(btree_map = "string, bytes", tag = "5")]
    #[serde(skip_serializing_if = "is_zero", serialize_with = "raws")]
    access_token_headers: BTreeMap<String, Json>,
    #[prost(btree_map = "string, bytes", tag = "6")]
    #[serde(skip_serializing_if = "is_zero", serialize_with = "raws")]
    access_token_response_map: BTreeMap<String, Json>,
    #[prost(string, tag = "7")]
    #[serde(skip_serializing_if = "is_zero")]
    refresh_token_url_template: String,
    #[prost(string, tag = "8")]
    #[serde(skip_serializing_if = "is_zero")]
    refresh_token_body: String,
    #[prost(btree_map = "string, bytes", tag = "9")]
    #[serde(skip_serializing_if = "is_zero", serialize_with = "raws")]
    refresh_token_headers: BTreeMap<String, Json>,
    #[prost(btree_map = "string, bytes", tag = "10")]
    #[serde(skip_serializing_if = "is_zero", serialize_with = "raws")]
    refresh_token_response_map: BTreeMap<String, Json>,
    #[prost(string, tag = "11")]
    #[serde(skip_serializing_if = "is_zero")]
    access_token_method: String,
    #[prost(string, tag = "12")]
    #[serde(skip_serializing_if = "is_zero")]
    refresh_token_method: String,
}

#[derive(prost::Message, Serialize)]
pub struct Discovered {
    #[prost(message, repeated, tag = "1")]
    bindings: Vec<DiscoveredBinding>,
}

#[derive(prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredBinding {
    #[prost(string, tag = "1")]
    recommended_name: String,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(serialize_with = "raw")]
    resource_config: Json,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(serialize_with = "raw")]
    document_schema: Json,
    #[prost(string, repeated, tag = "4")]
    key: Vec<String>,
    #[prost(bool, tag = "5")]
    #[serde(skip_serializing_if = "is_zero")]
    disable: bool,
    #[prost(string, repeated, tag = "6")]
    #[serde(skip_serializing_if = "is_zero")]
    resource_path: Vec<String>,
    #[prost(bool, tag = "7")]
    #[serde(skip_serializing_if = "is_zero")]
    is_fallback_key: bool,
}

#[derive(prost::Message, Serialize)]
pub struct Validated {
    #[prost(message, repeated, tag = "1")]
    bindings: Vec<ValidatedBinding>,
}

#[derive(prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatedBinding {
    #[prost(string, repeated, tag = "1")]
    resource_path: Vec<String>,
}

#[derive(prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "is_zero")]
    action_description: String,
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "is_zero")]
    state: Option<State>,
}

#[derive(prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    #[prost(bool, tag = "1")]
    #[serde(skip_serializing_if = "is_zero")]
    explicit_acknowledgements: bool,
}

#[derive(prost::Message, Serialize)]
pub struct Captured {
    #[prost(uint32, tag = "1")]
    #[serde(skip_serializing_if = "is_zero")]
    binding: u32,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(serialize_with = "raw")]
    doc: Json,
}

#[derive(prost::Message, Serialize)]
pub struct Checkpoint {
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "is_zero")]
    state: Option<State>,
}

#[derive(PartialEq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(serialize_with = "raw")]
    updated: Json,
    #[prost(bool, tag = "2")]
    #[serde(skip_serializing_if = "is_zero")]
    merge_patch: bool,
}

#[derive(prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourcedSchema {
    #[prost(uint32, tag = "1")]
    #[serde(skip_serializing_if = "is_zero")]
    binding: u32,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(serialize_with = "raw")]
    document_schema: Json,
}

#[derive(prost::Message, Serialize)]
pub struct Backfill {
    #[prost(uint32, tag = "1")]
    #[serde(skip_serializing_if = "is_zero")]
    binding: u32,
}

fn is_zero<T: Default + PartialEq>(it: &T) -> bool {
    *it == T::default()
}

fn raw<S: Serializer>(text: &Json, to: S) -> Result<S::Ok, S::Error> {
    to_raw(text).map_err(serde::ser::Error::custom)?.serialize(to)
}

fn raws<S: Serializer>(texts: &BTreeMap<String, Json>, to: S) -> Result<S::Ok, S::Error> {
    let raws: Result<BTreeMap<_, _>, _> = texts.iter().map(|(name, text)| to_raw(text).map(|it| (name, it))).collect();
    raws.map_err(serde::ser::Error::custom)?.serialize(to)
}

fn to_raw(text: &Json) -> Result<Box<RawValue>, String> {
    let text = String::from_utf8(text.clone()).map_err(|e| e.to_string())?;
    RawValue::from_string(text).map_err(|e| format!("a field is not JSON ({e})"))
}
