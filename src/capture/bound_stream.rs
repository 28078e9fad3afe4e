//! What a worker knows about the stream that a binding reads: its key, where its dates are, what Flow knows of its schema.

use serde_json::Value;

use super::record_key::RecordKey;
use crate::dates::{Dates, Normalize, Typed};
use crate::json::pointer;
use crate::json::watch::Watchlist;
use crate::schema::{self, DateFormats};
use crate::settings::SchemaMode;
use crate::settings::streams::StreamOptions;
use crate::upstream::{Mode, Rows, StreamId, StreamSchema};

/// Where a collection keyed by row id has its key.
const ROW_ID: &str = "/_meta/row_id";

pub struct BoundStream {
    pub id: StreamId,
    pub mode: Mode,
    pub rows: Rows,
    pub record_key: RecordKey,
    pub dates: Option<Dates>,
    /// Records, states, schemas or statuses of it have arrived in this session.
    pub heard: bool,
    /// Records or schemas of it have arrived in this session.
    pub read: bool,
    /// The connector names it without its namespace, so it miscounts its records.
    pub miscounted: bool,
    /// The warnings that are printed once.
    pub warned: Warned,
    /// The collection's key, as pointers.
    key: Vec<String>,
    /// What shim.yaml says about the stream.
    options: StreamOptions,
    /// Where the collection has its schema from.
    schema: SchemaMode,
    /// The sourced schema that was sent last.
    sourced: Option<Value>,
}

#[derive(Default)]
pub struct Warned {
    pub count: bool,
    pub file: bool,
    pub truncate: bool,
    pub key: bool,
}

impl BoundStream {
    pub fn new(
        id: StreamId,
        mode: Mode,
        key: &[String],
        record_key: RecordKey,
        schema: SchemaMode,
        options: StreamOptions,
    ) -> Self {
        let rows = if key == [ROW_ID] { Rows::ByRowId } else { Rows::Keyed };
        Self {
            id,
            mode,
            rows,
            record_key,
            dates: None,
            heard: false,
            read: false,
            miscounted: false,
            warned: Warned::default(),
            key: key.to_vec(),
            options,
            schema,
            sourced: None,
        }
    }

    /// Learns from a SCHEMA message. Gives the sourced schema if it is new.
    pub fn announced(&mut self, it: StreamSchema, watched: &mut Watchlist) -> Option<&Value> {
        let StreamSchema { mut schema, mut key, .. } = it;
        self.options.change(&mut schema, &mut key);
        self.warn_of_another_key(&key);
        self.declared(&schema, &key, watched)
    }

    /// Learns from a declared schema where dates are, and adds their names to `watched`. Gives the sourced schema (F12) if it
    /// is new.
    pub fn declared(&mut self, declared: &Value, key: &[Vec<String>], watched: &mut Watchlist) -> Option<&Value> {
        let (typed, kept) = match self.schema {
            SchemaMode::Inferred => (Typed::Key(&self.key), DateFormats::Kept),
            SchemaMode::Declared => (Typed::All, DateFormats::KeptByStrings),
        };
        let date_formats = match self.options.normalize() {
            Normalize::Off => DateFormats::Dropped,
            Normalize::On { cut } => {
                // A schema that is not an object does not say where dates are.
                if declared.is_object() {
                    self.dates = Dates::of(declared, typed, &cut, watched);
                }
                kept
            }
        };
        let key = schema::key(declared, key).unwrap_or_else(|_| schema::Key::row_id());
        let sourced = Some(schema::sourced(declared, &key, date_formats).schema);
        if self.sourced == sourced {
            return None;
        }
        self.sourced = sourced;
        self.sourced.as_ref()
    }

    /// Rows with the same collection key overwrite each other, so another key of the source's is worth a warning.
    fn warn_of_another_key(&mut self, announced: &[Vec<String>]) {
        if self.rows == Rows::ByRowId || announced.is_empty() || self.warned.key {
            return;
        }
        let mut pointers: Vec<String> =
            announced.iter().map(|path| pointer::from_path(path.iter().map(String::as_str))).collect();
        let mut own = self.key.clone();
        pointers.sort();
        own.sort();
        if pointers != own {
            self.warned.key = true;
            let (id, announced, own) = (&self.id, pointers.join(", "), own.join(", "));
            tracing::warn!(
                "stream {id}: the connector announces the key {announced}, but the collection's is {own}: rows that have the same {own} overwrite each other (discover the stream again to change the collection's key)"
            );
        }
    }

    /// The collection's key, as pointers.
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// Whether the collection's rows are told apart by a key of the source's.
    pub fn is_keyed(&self) -> bool {
        self.rows == Rows::Keyed
    }
}
