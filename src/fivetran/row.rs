//! Rows: the values of a record as a JSON object.

use std::collections::HashMap;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::state::TableState;
use super::table::{ID, Table, member_of};
use super::update::{self, Change};
use super::value::{self, Output, Value, ValueProblem};
use crate::json::watch::{NameId, Watchlist};
use crate::upstream::{Selected, StreamId};

/// A table that is captured, with the columns that are known of it.
pub struct BoundTable {
    pub id: StreamId,
    /// Its names as JSON strings.
    pub name: Vec<u8>,
    pub namespace: Option<Vec<u8>>,
    columns: Vec<Column>,
    indices: HashMap<Vec<u8>, usize>,
    /// The column of each value of the last record: the next one mostly has the same, in the same order.
    order: Vec<usize>,
    row_id: RowId,
    /// The columns of its primary key, if rows may need an [`ID`].
    needs_id: Option<Vec<usize>>,
    /// How many of the columns are those that discovery found.
    discovered: usize,
    /// What Flow has of it as its state.
    kept: TableState,
    /// It was warned of deletions by some of a row's values.
    has_warned: bool,
}

struct Column {
    name: String,
    /// Its name as a JSON member, with quotes and colon.
    member: Vec<u8>,
    watched: Option<NameId>,
}

impl Column {
    fn new(name: String, has_id: bool, watched: &Watchlist) -> Self {
        let called = member_of(&name, has_id);
        let mut member = Vec::new();
        value::quote(called, &mut member);
        member.push(b':');
        let watched = watched.find(called.as_bytes());
        Self { name, member, watched }
    }
}

/// What the row's [`ID`] is a hash of: columns in the order of their names.
enum RowId {
    /// It has none.
    None,
    OfKey(NameId, Vec<usize>),
    OfRow(NameId, Vec<usize>),
}

/// The row of a record, and the buffers that it is made in.
#[derive(Default)]
pub struct Row {
    pub out: Output,
    pub has_meta: bool,
    /// Where each column's value is in the message.
    given: Vec<Option<Range<usize>>>,
    /// Where each column's value is in `out`.
    written: Vec<Range<usize>>,
}

/// Why a record can't become a row.
#[derive(Debug, thiserror::Error)]
pub enum RowProblem {
    #[error("column {column:?}: {problem}")]
    Value { column: String, problem: ValueProblem },
    #[error("a record can't be read: {0}")]
    Malformed(#[from] super::wire::Malformed),
    #[error("the name of a column is not UTF-8")]
    Name,
    #[error(
        "the connector changes a row, but the table has no primary key to find it by: say its key in shim.yaml (`streams: {{{0:?}: {{key: [/id]}}}}`), discover again and backfill the binding"
    )]
    NoKey(String),
    #[error("the connector changes a row, but does not say column {0:?} of its key")]
    PartOfKey(String),
}

impl BoundTable {
    pub fn new(selected: &Selected, table: &Table, kept: TableState) -> Self {
        let id = selected.stream.id.clone();
        let text = |it: &str| {
            let mut quoted = Vec::new();
            value::quote(it, &mut quoted);
            quoted
        };
        let mut bound = Self {
            name: text(&id.name),
            namespace: id.namespace.as_deref().map(text),
            id,
            columns: Vec::new(),
            indices: HashMap::new(),
            order: Vec::new(),
            row_id: RowId::None,
            needs_id: None,
            discovered: 0,
            kept,
            has_warned: false,
        };
        let names = Watchlist::default();
        for column in &table.columns {
            bound.know(&column.name, &names);
        }
        bound.discovered = bound.columns.len();
        for name in bound.kept.columns.clone() {
            bound.know(&name, &names);
        }
        // The user may have given it another key.
        if table.needs_id() && selected.stream.key.iter().any(|it| it[..] == [ID]) {
            let key = table.primary_key().filter_map(|it| bound.indices.get(it.name.as_bytes()).copied());
            bound.needs_id = Some(key.collect());
        }
        bound
    }

    /// The members that the capture has to see from now on. A row has an [`ID`] only if that is a key.
    pub fn watch(&mut self, names: &Watchlist) {
        self.row_id = match (names.find(ID.as_bytes()), &self.needs_id) {
            (Some(id), Some(key)) if key.is_empty() => RowId::OfRow(id, Vec::new()),
            (Some(id), Some(key)) => RowId::OfKey(id, self.sorted(key.clone())),
            _ => RowId::None,
        };
        let has_id = self.has_id();
        for column in &mut self.columns {
            *column = Column::new(std::mem::take(&mut column.name), has_id, names);
        }
        self.sort();
    }

    fn has_id(&self) -> bool {
        !matches!(self.row_id, RowId::None)
    }

    /// The index of a column, which may be new.
    pub fn know(&mut self, name: &str, watched: &Watchlist) -> usize {
        if let Some(&index) = self.indices.get(name.as_bytes()) {
            return index;
        }
        let index = self.columns.len();
        self.indices.insert(name.as_bytes().to_vec(), index);
        self.columns.push(Column::new(name.to_owned(), self.has_id(), watched));
        if let RowId::OfRow(_, columns) = &mut self.row_id {
            let place = columns.partition_point(|it| self.columns[*it].name.as_str() < name);
            columns.insert(place, index);
        }
        index
    }

    /// The state to keep of it.
    pub fn state(&mut self, tables: &str) -> Option<TableState> {
        let columns = || self.columns[self.discovered..].iter().map(|it| it.name.clone()).collect();
        let new = TableState::new(tables, columns());
        (self.kept != new).then(|| {
            self.kept = new.clone();
            new
        })
    }

    fn sorted(&self, mut columns: Vec<usize>) -> Vec<usize> {
        columns.sort_by(|a, b| self.columns[*a].name.cmp(&self.columns[*b].name));
        columns
    }

    fn sort(&mut self) {
        if let RowId::OfRow(id, _) = self.row_id {
            self.row_id = RowId::OfRow(id, self.sorted((0..self.columns.len()).collect()));
        }
    }

    /// The column that the value at this place of a record is for.
    #[inline]
    fn column(&mut self, place: usize, name: &[u8], watched: &Watchlist) -> Result<usize, RowProblem> {
        if let Some(&guess) = self.order.get(place)
            && self.columns[guess].name.as_bytes() == name
        {
            return Ok(guess);
        }
        let index = match self.indices.get(name) {
            Some(index) => *index,
            None => self.know(std::str::from_utf8(name).map_err(|_| RowProblem::Name)?, watched),
        };
        if place < self.order.len() {
            self.order[place] = index;
        } else if place == self.order.len() {
            self.order.push(index);
        }
        Ok(index)
    }
}

impl Row {
    /// Makes the row of a record. An UPSERT has all known columns, as it replaces a row that may have had them (V15).
    pub fn write(
        &mut self,
        table: &mut BoundTable,
        message: &[u8],
        record: Range<usize>,
        change: Change,
        watched: &Watchlist,
    ) -> Result<(), RowProblem> {
        self.given.clear();
        self.given.resize(table.columns.len(), None);
        for (place, it) in update::values(message, record).enumerate() {
            let (name, value) = it?;
            let index = table.column(place, &message[name], watched)?;
            if index >= self.given.len() {
                self.given.resize(index + 1, None);
            }
            self.given[index] = Some(value);
        }
        if change != Change::Upsert {
            self.check_identity(table, change)?;
        }
        self.out.clear();
        self.written.clear();
        self.has_meta = false;
        self.out.json.push(b'{');
        let id_at = self.begin_id(table);
        for (index, column) in table.columns.iter().enumerate() {
            let given = self.given[index].clone();
            if given.is_none() && change != Change::Upsert {
                self.written.push(0..0);
                continue;
            }
            self.out.json.extend_from_slice(&column.member);
            let start = self.out.json.len();
            match given {
                None => self.out.json.extend_from_slice(b"null"),
                Some(part) => {
                    let value = Value::of(message, part)
                        .map_err(|problem| RowProblem::Value { column: column.name.clone(), problem })?;
                    value.write(message, &column.name, &mut self.out);
                }
            }
            let place = start..self.out.json.len();
            if let Some(name) = column.watched {
                self.out.found.note(name, place.clone());
            }
            self.has_meta |= column.name == "_meta";
            self.written.push(place);
            self.out.json.push(b',');
        }
        let json = &mut self.out.json;
        if json.len() > 1 {
            // The last comma.
            json.pop();
        }
        json.push(b'}');
        if let Some(at) = id_at {
            let id = self.id(table);
            self.out.json[at..at + id.len()].copy_from_slice(id.as_bytes());
        }
        Ok(())
    }

    /// Leaves room for the row's id, and gives its place.
    fn begin_id(&mut self, table: &BoundTable) -> Option<usize> {
        let (RowId::OfKey(name, _) | RowId::OfRow(name, _)) = table.row_id else { return None };
        let json = &mut self.out.json;
        value::quote(ID, json);
        json.push(b':');
        let start = json.len();
        json.extend_from_slice(b"\"00000000000000000000000000000000\"");
        self.out.found.note(name, start..json.len());
        json.push(b',');
        Some(start + 1)
    }

    /// The first half of the SHA-256 of the row as a JSON object with its columns in the order of their names and without
    /// nulls, or of its key likewise; in hexadecimal digits.
    fn id(&self, table: &BoundTable) -> String {
        let columns = match &table.row_id {
            RowId::None => return String::new(),
            RowId::OfKey(_, columns) | RowId::OfRow(_, columns) => columns,
        };
        let mut hash = Sha256::new();
        let mut separator = b"{";
        for &index in columns {
            let text = &self.out.json[self.written[index].clone()];
            if !text.is_empty() && text != b"null" {
                hash.update(separator);
                hash.update(&table.columns[index].member);
                hash.update(text);
                separator = b",";
            }
        }
        hash.update(if separator == b"{" { &b"{}"[..] } else { b"}" });
        super::state::hex(&hash.finalize()[..16])
    }

    /// Whether it can be told which row a change is about.
    fn check_identity(&self, table: &mut BoundTable, change: Change) -> Result<(), RowProblem> {
        match &table.row_id {
            RowId::None => return Ok(()),
            RowId::OfKey(_, key) => {
                let missing = key.iter().find(|&&it| self.given[it].is_none());
                let problem = missing.map(|&it| RowProblem::PartOfKey(table.columns[it].name.clone()));
                return problem.map_or(Ok(()), Err);
            }
            RowId::OfRow(..) => {}
        }
        if change == Change::Update {
            return Err(RowProblem::NoKey(table.id.name.clone()));
        }
        if self.given.iter().any(Option::is_none) && !std::mem::replace(&mut table.has_warned, true) {
            tracing::warn!(
                "stream {}: the connector deletes rows of a table without a primary key by some of their values: the rows are only found by all of them (say its key in shim.yaml)",
                table.id
            );
        }
        Ok(())
    }
}
