//! Tables: what Schema says of them, as streams (V9, V10, V16, V17).

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::messages::{self, DataType, Params, SchemaList, TableList};
use crate::upstream::{Mode, Stream, StreamId};

/// The column that flow-shim adds to tables without a key that Flow can use: the hash of a row or of its key.
pub const ID: &str = "_fivetran_id";

/// What a column of the source's own is called where a row has an [`ID`], if it has that name.
const SOURCES_ID: &str = "_fivetran_id_source";

/// The member of a row that a column becomes. `has_id` is whether rows get an [`ID`].
pub fn member_of(column: &str, has_id: bool) -> &str {
    if has_id && column == ID { SOURCES_ID } else { column }
}

/// A table of the source: a stream's [`Stream::declared`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Absent if the source has no schemas; empty if it has, but this table is in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    pub table: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "is_false")]
    pub key: bool,
    /// For people: `(10,2)` of a decimal, or the bytes of a text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub size: String,
}

fn is_false(it: &bool) -> bool {
    !it
}

/// A column's type. One that is not known may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    Boolean,
    Short,
    Int,
    Long,
    Decimal,
    Float,
    Double,
    NaiveDate,
    NaiveDatetime,
    UtcDatetime,
    Binary,
    Xml,
    String,
    Json,
    NaiveTime,
    #[serde(other)]
    Unspecified,
}

impl Kind {
    fn of(number: i32) -> Self {
        match DataType::try_from(number) {
            Ok(DataType::Boolean) => Self::Boolean,
            Ok(DataType::Short) => Self::Short,
            Ok(DataType::Int) => Self::Int,
            Ok(DataType::Long) => Self::Long,
            Ok(DataType::Decimal) => Self::Decimal,
            Ok(DataType::Float) => Self::Float,
            Ok(DataType::Double) => Self::Double,
            Ok(DataType::NaiveDate) => Self::NaiveDate,
            Ok(DataType::NaiveDatetime) => Self::NaiveDatetime,
            Ok(DataType::UtcDatetime) => Self::UtcDatetime,
            Ok(DataType::Binary) => Self::Binary,
            Ok(DataType::Xml) => Self::Xml,
            Ok(DataType::String) => Self::String,
            Ok(DataType::Json) => Self::Json,
            Ok(DataType::NaiveTime) => Self::NaiveTime,
            Ok(DataType::Unspecified) | Err(_) => Self::Unspecified,
        }
    }

    /// The type of its JSON values, and the format of its text; none if they may be anything.
    pub fn schema(self) -> Option<(&'static str, Option<&'static str>)> {
        Some(match self {
            Self::Boolean => ("boolean", None),
            Self::Short | Self::Int | Self::Long => ("integer", None),
            Self::Float | Self::Double => ("number", None),
            Self::Decimal => ("string", Some("number")),
            Self::NaiveDate => ("string", Some("date")),
            Self::UtcDatetime => ("string", Some("date-time")),
            // Without an offset they are neither `date-time` nor `time`.
            Self::NaiveDatetime | Self::NaiveTime | Self::Binary | Self::Xml | Self::String => ("string", None),
            Self::Json | Self::Unspecified => return None,
        })
    }

    /// Whether Flow can take it as a key: fractional numbers and objects are none (F14).
    fn can_be_key(self) -> bool {
        !matches!(self, Self::Float | Self::Double | Self::Json)
    }
}

impl Column {
    fn of(column: messages::Column) -> Self {
        let size = match column.params.and_then(|it| it.params) {
            Some(Params::Decimal(it)) => format!("({},{})", it.precision, it.scale),
            Some(Params::StringByteLength(bytes)) => format!("{bytes} bytes"),
            None => String::new(),
        };
        Self { name: column.name, kind: Kind::of(column.kind), key: column.primary_key, size }
    }

    fn schema(&self) -> Value {
        let mut schema = Map::new();
        if let Some((name, format)) = self.kind.schema() {
            schema.insert("type".into(), if self.key { name.into() } else { json!([name, "null"]) });
            if let Some(format) = format {
                schema.insert("format".into(), format.into());
            }
        }
        if self.kind == Kind::Binary {
            schema.insert("contentEncoding".into(), "base64".into());
        }
        Value::Object(schema)
    }
}

impl Table {
    fn of(schema: Option<&str>, table: messages::Table) -> Self {
        let columns = table.columns.into_iter().map(Column::of).collect();
        Self { schema: schema.map(str::to_owned), table: table.name, columns }
    }

    /// The tables of a source with schemas.
    pub fn with_schema(list: SchemaList) -> Vec<Self> {
        let of_schema = |schema: messages::Schema| {
            let name = schema.name;
            schema.tables.into_iter().map(move |it| Self::of(Some(&name), it))
        };
        list.schemas.into_iter().flat_map(of_schema).collect()
    }

    /// The tables of a source without schemas.
    pub fn without_schema(list: TableList) -> Vec<Self> {
        list.tables.into_iter().map(|it| Self::of(None, it)).collect()
    }

    pub fn parse(declared: &RawValue) -> Result<Self> {
        serde_json::from_str(declared.get()).context("a table can't be read as it was discovered")
    }

    /// A schema without a name is none.
    pub fn id(&self) -> StreamId {
        StreamId { namespace: self.schema.clone().filter(|it| !it.is_empty()), name: self.table.clone() }
    }

    /// The names of the columns of its primary key.
    pub fn primary_key(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|it| it.key)
    }

    /// Whether rows get an [`ID`], because the table has no primary key that Flow can use.
    pub fn needs_id(&self) -> bool {
        self.primary_key().next().is_none() || self.primary_key().any(|it| !it.kind.can_be_key())
    }

    /// The paths of the key.
    pub fn key(&self) -> Vec<Vec<String>> {
        if self.needs_id() {
            return vec![vec![ID.to_owned()]];
        }
        self.primary_key().map(|it| vec![it.name.clone()]).collect()
    }

    /// The schema of its rows.
    pub fn schema(&self) -> Value {
        let mut properties = Map::new();
        if self.needs_id() {
            let what = match self.primary_key().next() {
                None => "A hash of the row, as the table has no primary key.",
                Some(_) => "A hash of the row's primary key.",
            };
            properties.insert(ID.into(), json!({"type": "string", "description": what}));
        }
        let has_id = self.needs_id();
        properties.extend(self.columns.iter().map(|it| (member_of(&it.name, has_id).to_owned(), it.schema())));
        json!({"type": "object", "properties": properties})
    }

    pub fn stream(&self) -> Result<Stream> {
        let id = self.id();
        let mut resource = json!({"stream": id.name});
        if let Some(namespace) = &id.namespace {
            resource["namespace"] = namespace.as_str().into();
        }
        Ok(Stream {
            id,
            schema: self.schema(),
            key: self.key(),
            resource,
            mode: Mode::Incremental,
            partial: true,
            modes: vec!["incremental".to_owned()],
            cursor: None,
            declared: to_raw_value(self).context("a table can't be written as JSON")?,
        })
    }
}
