//! The messages of the protocol (`fivetran_sdk.v2`) as prost structs, written by hand (V6 to V14).
//!
//! Requests, the answers of unary calls, and schema changes. The other messages of a sync are read by [`super::update`], without
//! structs.

use std::collections::BTreeMap;

use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct ConfigurationFormRequest {}

#[derive(Clone, PartialEq, Message)]
pub struct ConfigurationFormResponse {
    #[prost(bool, tag = "1")]
    pub schema_selection_supported: bool,
    #[prost(bool, tag = "2")]
    pub table_selection_supported: bool,
    #[prost(message, repeated, tag = "3")]
    pub fields: Vec<FormField>,
    #[prost(message, repeated, tag = "4")]
    pub tests: Vec<ConfigurationTest>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FormField {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub label: String,
    #[prost(bool, optional, tag = "3")]
    pub required: Option<bool>,
    #[prost(string, optional, tag = "4")]
    pub description: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub default_value: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub placeholder: Option<String>,
    #[prost(oneof = "FieldKind", tags = "5, 6, 7, 10, 11, 12")]
    pub kind: Option<FieldKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum FieldKind {
    #[prost(enumeration = "TextField", tag = "5")]
    Text(i32),
    #[prost(message, tag = "6")]
    Dropdown(DropdownField),
    #[prost(message, tag = "7")]
    Toggle(ToggleField),
    #[prost(message, tag = "10")]
    Conditional(ConditionalFields),
    #[prost(message, tag = "11")]
    Upload(UploadField),
    #[prost(message, tag = "12")]
    DescriptiveDropdown(DescriptiveDropdownFields),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum TextField {
    Plain = 0,
    Password = 1,
    Hidden = 2,
}

#[derive(Clone, PartialEq, Message)]
pub struct DropdownField {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ToggleField {}

#[derive(Clone, PartialEq, Message)]
pub struct DescriptiveDropdownFields {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<DescriptiveDropdownField>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DescriptiveDropdownField {
    #[prost(string, tag = "1")]
    pub value: String,
    #[prost(string, tag = "2")]
    pub label: String,
    #[prost(string, tag = "3")]
    pub description: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct UploadField {
    #[prost(string, repeated, tag = "1")]
    pub allowed_file_type: Vec<String>,
    #[prost(int32, tag = "2")]
    pub max_file_size_bytes: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ConditionalFields {
    #[prost(message, optional, tag = "1")]
    pub condition: Option<VisibilityCondition>,
    #[prost(message, repeated, tag = "2")]
    pub fields: Vec<FormField>,
}

#[derive(Clone, PartialEq, Message)]
pub struct VisibilityCondition {
    #[prost(string, tag = "1")]
    pub field: String,
    #[prost(oneof = "VisibleWhen", tags = "2, 3, 4")]
    pub when: Option<VisibleWhen>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum VisibleWhen {
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Empty(bool),
}

#[derive(Clone, PartialEq, Message)]
pub struct ConfigurationTest {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub label: String,
}

/// The values of a config: all of them are text (V7).
pub type Configuration = BTreeMap<String, String>;

#[derive(Clone, PartialEq, Message)]
pub struct TestRequest {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub configuration: Configuration,
}

#[derive(Clone, PartialEq, Message)]
pub struct TestResponse {
    #[prost(oneof = "TestResult", tags = "1, 2")]
    pub result: Option<TestResult>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum TestResult {
    #[prost(bool, tag = "1")]
    Success(bool),
    #[prost(string, tag = "2")]
    Failure(String),
}

#[derive(Clone, PartialEq, Message)]
pub struct SchemaRequest {
    #[prost(btree_map = "string, string", tag = "1")]
    pub configuration: Configuration,
}

#[derive(Clone, PartialEq, Message)]
pub struct SchemaResponse {
    #[prost(bool, optional, tag = "4")]
    pub selection_not_supported: Option<bool>,
    #[prost(oneof = "SchemaResult", tags = "1, 2, 3")]
    pub result: Option<SchemaResult>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum SchemaResult {
    #[prost(bool, tag = "1")]
    NotSupported(bool),
    #[prost(message, tag = "2")]
    WithSchema(SchemaList),
    #[prost(message, tag = "3")]
    WithoutSchema(TableList),
}

#[derive(Clone, PartialEq, Message)]
pub struct SchemaList {
    #[prost(message, repeated, tag = "1")]
    pub schemas: Vec<Schema>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Schema {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub tables: Vec<Table>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TableList {
    #[prost(message, repeated, tag = "1")]
    pub tables: Vec<Table>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Table {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub columns: Vec<Column>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Column {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(enumeration = "DataType", tag = "2")]
    pub kind: i32,
    #[prost(bool, tag = "3")]
    pub primary_key: bool,
    #[prost(message, optional, tag = "4")]
    pub params: Option<DataTypeParams>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DataTypeParams {
    #[prost(oneof = "Params", tags = "1, 2")]
    pub params: Option<Params>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Params {
    #[prost(message, tag = "1")]
    Decimal(DecimalParams),
    #[prost(int32, tag = "2")]
    StringByteLength(i32),
}

#[derive(Clone, PartialEq, Message)]
pub struct DecimalParams {
    #[prost(uint32, tag = "1")]
    pub precision: u32,
    #[prost(uint32, tag = "2")]
    pub scale: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum DataType {
    Unspecified = 0,
    Boolean = 1,
    Short = 2,
    Int = 3,
    Long = 4,
    Decimal = 5,
    Float = 6,
    Double = 7,
    NaiveDate = 8,
    NaiveDatetime = 9,
    UtcDatetime = 10,
    Binary = 11,
    Xml = 12,
    String = 13,
    Json = 14,
    NaiveTime = 15,
}

#[derive(Clone, PartialEq, Message)]
pub struct UpdateRequest {
    #[prost(btree_map = "string, string", tag = "1")]
    pub configuration: Configuration,
    #[prost(message, optional, tag = "2")]
    pub selection: Option<Selection>,
    #[prost(string, optional, tag = "3")]
    pub state_json: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Selection {
    #[prost(oneof = "SelectionKind", tags = "1, 2")]
    pub kind: Option<SelectionKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum SelectionKind {
    #[prost(message, tag = "1")]
    WithoutSchema(TablesWithNoSchema),
    #[prost(message, tag = "2")]
    WithSchema(TablesWithSchema),
}

#[derive(Clone, PartialEq, Message)]
pub struct TablesWithNoSchema {
    #[prost(message, repeated, tag = "1")]
    pub tables: Vec<TableSelection>,
    #[prost(bool, tag = "2")]
    pub include_new_tables: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct TablesWithSchema {
    #[prost(message, repeated, tag = "1")]
    pub schemas: Vec<SchemaSelection>,
    #[prost(bool, tag = "2")]
    pub include_new_schemas: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct SchemaSelection {
    #[prost(bool, tag = "1")]
    pub included: bool,
    #[prost(string, tag = "2")]
    pub schema_name: String,
    #[prost(message, repeated, tag = "3")]
    pub tables: Vec<TableSelection>,
    #[prost(bool, tag = "4")]
    pub include_new_tables: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct TableSelection {
    #[prost(bool, tag = "1")]
    pub included: bool,
    #[prost(string, tag = "2")]
    pub table_name: String,
    #[prost(btree_map = "string, bool", tag = "3")]
    pub columns: BTreeMap<String, bool>,
    #[prost(bool, tag = "4")]
    pub include_new_columns: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct SchemaChange {
    #[prost(oneof = "ChangedSchema", tags = "1, 2")]
    pub change: Option<ChangedSchema>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum ChangedSchema {
    #[prost(message, tag = "1")]
    WithSchema(SchemaList),
    #[prost(message, tag = "2")]
    WithoutSchema(TableList),
}
