//! A sync's messages as prost structs: what the reader of their bytes is compared with, here, by `fuzz/` and by `tests/faults`.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct UpdateResponse {
    #[prost(oneof = "Operation", tags = "1, 3, 6")]
    pub operation: Option<Operation>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Operation {
    #[prost(message, tag = "1")]
    Record(Record),
    #[prost(message, tag = "3")]
    Checkpoint(Checkpoint),
    #[prost(message, tag = "6")]
    Records(Records),
}

#[derive(Clone, PartialEq, Message)]
pub struct Checkpoint {
    #[prost(string, tag = "1")]
    pub state_json: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Records {
    #[prost(message, repeated, tag = "1")]
    pub records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Record {
    #[prost(string, optional, tag = "1")]
    pub schema_name: Option<String>,
    #[prost(string, tag = "2")]
    pub table_name: String,
    #[prost(int32, tag = "3")]
    pub kind: i32,
    #[prost(btree_map = "string, message", tag = "4")]
    pub data: BTreeMap<String, ValueType>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueType {
    #[prost(oneof = "Inner", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16")]
    pub inner: Option<Inner>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Inner {
    #[prost(bool, tag = "1")]
    Null(bool),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int32, tag = "3")]
    Short(i32),
    #[prost(int32, tag = "4")]
    Int(i32),
    #[prost(int64, tag = "5")]
    Long(i64),
    #[prost(float, tag = "6")]
    Float(f32),
    #[prost(double, tag = "7")]
    Double(f64),
    #[prost(message, tag = "8")]
    Date(Timestamp),
    #[prost(message, tag = "9")]
    NaiveDatetime(Timestamp),
    #[prost(message, tag = "10")]
    UtcDatetime(Timestamp),
    #[prost(string, tag = "11")]
    Decimal(String),
    #[prost(bytes, tag = "12")]
    Binary(Vec<u8>),
    #[prost(string, tag = "13")]
    Text(String),
    #[prost(string, tag = "14")]
    Json(String),
    #[prost(string, tag = "15")]
    Xml(String),
    #[prost(message, tag = "16")]
    Time(Timestamp),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}
