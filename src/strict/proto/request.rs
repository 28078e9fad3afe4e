//! Requests, from the JSON codec's names to protobuf's fields. `fieldOfTheYear2031` is for `add_news`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Json;

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Request {
    #[prost(message, optional, tag = "1")]
    spec: Option<Spec>,
    #[prost(message, optional, tag = "2")]
    discover: Option<Discover>,
    #[prost(message, optional, tag = "3")]
    validate: Option<Validate>,
    #[prost(message, optional, tag = "4")]
    apply: Option<Apply>,
    #[prost(message, optional, tag = "5")]
    open: Option<Open>,
    #[prost(message, optional, tag = "6")]
    acknowledge: Option<Acknowledge>,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Spec {
    #[prost(int32, tag = "1")]
    #[serde(deserialize_with = "connector_type")]
    connector_type: i32,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(deserialize_with = "text")]
    config: Json,
    #[prost(bytes = "vec", tag = "2031")]
    #[serde(deserialize_with = "text")]
    field_of_the_year2031: Json,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Discover {
    #[prost(int32, tag = "1")]
    #[serde(deserialize_with = "connector_type")]
    connector_type: i32,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(deserialize_with = "text")]
    config: Json,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    created_at: String,
    #[prost(btree_map = "string, string", tag = "5")]
    secrets: BTreeMap<String, String>,
    #[prost(bytes = "vec", tag = "2031")]
    #[serde(deserialize_with = "text")]
    field_of_the_year2031: Json,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Validate {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "connector_type")]
    connector_type: i32,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(deserialize_with = "text")]
    config: Json,
    #[prost(message, repeated, tag = "4")]
    bindings: Vec<ValidateBinding>,
    #[prost(message, optional, tag = "5")]
    last_capture: Option<CaptureSpec>,
    #[prost(string, tag = "6")]
    last_version: String,
    #[prost(message, repeated, tag = "7")]
    linked_collections: Vec<Collection>,
    #[prost(btree_map = "string, string", tag = "8")]
    secrets: BTreeMap<String, String>,
    #[prost(bytes = "vec", tag = "2031")]
    #[serde(deserialize_with = "text")]
    field_of_the_year2031: Json,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct ValidateBinding {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(deserialize_with = "text")]
    resource_config: Json,
    #[prost(message, optional, tag = "2")]
    collection: Option<Collection>,
    #[prost(uint32, tag = "3")]
    backfill: u32,
    #[prost(uint32, tag = "4")]
    collection_index: u32,
    #[prost(bytes = "vec", tag = "2031")]
    #[serde(deserialize_with = "text")]
    field_of_the_year2031: Json,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Apply {
    #[prost(message, optional, tag = "1")]
    capture: Option<CaptureSpec>,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(message, optional, tag = "4")]
    last_capture: Option<CaptureSpec>,
    #[prost(string, tag = "5")]
    last_version: String,
    #[prost(bytes = "vec", tag = "6")]
    #[serde(deserialize_with = "text")]
    state: Json,
    #[prost(bytes = "vec", tag = "2031")]
    #[serde(deserialize_with = "text")]
    field_of_the_year2031: Json,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Open {
    #[prost(message, optional, tag = "1")]
    capture: Option<CaptureSpec>,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(message, optional, tag = "3")]
    range: Option<Range>,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(deserialize_with = "text")]
    state: Json,
    #[prost(bytes = "vec", tag = "5")]
    #[serde(deserialize_with = "text")]
    sealed_config: Json,
    #[prost(bytes = "vec", tag = "2031")]
    #[serde(deserialize_with = "text")]
    field_of_the_year2031: Json,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Acknowledge {
    #[prost(uint32, tag = "1")]
    checkpoints: u32,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Range {
    #[prost(fixed32, tag = "2")]
    key_begin: u32,
    #[prost(fixed32, tag = "3")]
    key_end: u32,
    #[prost(fixed32, tag = "4")]
    r_clock_begin: u32,
    #[prost(fixed32, tag = "5")]
    r_clock_end: u32,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct CaptureSpec {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "connector_type")]
    connector_type: i32,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(deserialize_with = "text")]
    config: Json,
    #[prost(message, repeated, tag = "4")]
    bindings: Vec<Binding>,
    #[prost(uint32, tag = "5")]
    interval_seconds: u32,
    #[prost(message, repeated, tag = "9")]
    inactive_bindings: Vec<Binding>,
    #[prost(bytes = "vec", tag = "10")]
    #[serde(deserialize_with = "base64")]
    redact_salt: Vec<u8>,
    #[prost(string, tag = "11")]
    created_at: String,
    #[prost(message, repeated, tag = "12")]
    linked_collections: Vec<Collection>,
    #[prost(btree_map = "string, string", tag = "13")]
    secrets: BTreeMap<String, String>,
    #[prost(message, optional, tag = "14")]
    execution: Option<Execution>,
    #[prost(bytes = "vec", tag = "2031")]
    #[serde(deserialize_with = "text")]
    field_of_the_year2031: Json,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Execution {
    #[prost(bool, tag = "1")]
    vmm: bool,
    #[prost(message, optional, tag = "2")]
    egress: Option<Egress>,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Egress {
    #[prost(string, repeated, tag = "1")]
    hosts: Vec<String>,
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Binding {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(deserialize_with = "text")]
    resource_config: Json,
    #[prost(string, repeated, tag = "2")]
    resource_path: Vec<String>,
    #[prost(message, optional, tag = "3")]
    collection: Option<Collection>,
    #[prost(uint32, tag = "4")]
    backfill: u32,
    #[prost(string, tag = "5")]
    state_key: String,
    #[prost(uint32, tag = "6")]
    collection_index: u32,
    #[prost(bytes = "vec", tag = "2031")]
    #[serde(deserialize_with = "text")]
    field_of_the_year2031: Json,
}

/// Without `projections`, which are for the control plane.
#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Collection {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    key: Vec<String>,
    #[prost(string, tag = "4")]
    uuid_ptr: String,
    #[prost(bytes = "vec", tag = "8")]
    #[serde(deserialize_with = "text")]
    write_schema: Json,
    #[prost(bytes = "vec", tag = "11")]
    #[serde(deserialize_with = "text")]
    read_schema: Json,
}

fn text<'de, D: Deserializer<'de>>(it: D) -> Result<Json, D::Error> {
    Ok(Box::<RawValue>::deserialize(it)?.get().into())
}

fn base64<'de, D: Deserializer<'de>>(it: D) -> Result<Vec<u8>, D::Error> {
    use base64::Engine as _;
    let text = String::deserialize(it)?;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(serde::de::Error::custom)
}

fn connector_type<'de, D: Deserializer<'de>>(it: D) -> Result<i32, D::Error> {
    match String::deserialize(it)?.as_str() {
        "IMAGE" => Ok(7),
        "LOCAL" => Ok(8),
        other => Err(serde::de::Error::custom(format!("{other} is not a connector type"))),
    }
}
