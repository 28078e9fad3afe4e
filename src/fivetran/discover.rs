//! Discovery: from Schema, or where the connector has no Schema, from the rows and schema changes of a sync (V9, V19).

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, anyhow};
use prost::bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::client::Client;
use super::feed;
use super::messages::{
    Configuration, SchemaRequest, SchemaResult, Selection, SelectionKind, TablesWithNoSchema, UpdateRequest,
};
use super::state;
use super::table::{Column, Kind, Table};
use super::update::{self, Change, Operation};
use super::value::Value;
use crate::process::launch::Launcher;
use crate::upstream::Stream;

/// How much of a sync is read to find its tables.
const MOST_RECORDS: usize = 100_000;
const LONGEST: Duration = Duration::from_secs(60);

pub async fn discover(launcher: &Launcher, configuration: Configuration) -> Result<Vec<Stream>> {
    let request = SchemaRequest { configuration: configuration.clone() };
    let answer = super::server::ask(launcher, "its schema", async |mut client| client.schema(&request).await).await?;
    let tables = match answer.result {
        Some(SchemaResult::WithSchema(list)) => Table::with_schema(list),
        Some(SchemaResult::WithoutSchema(list)) => Table::without_schema(list),
        Some(SchemaResult::NotSupported(_)) | None => {
            info!("the connector does not tell its tables: they are found in the rows that it sends");
            let sample = async |client| sample(client, configuration).await;
            super::server::ask(launcher, "the beginning of a sync", sample).await?
        }
    };
    let mut found = HashSet::new();
    let mut streams = Vec::new();
    for table in &tables {
        if found.insert(table.id()) {
            streams.push(table.stream()?);
        } else {
            warn!("table {}: the connector's schema names it twice; the first entry counts", table.id());
        }
    }
    Ok(streams)
}

/// Starts a sync without a state and reads the beginning of it.
async fn sample(mut client: Client, configuration: Configuration) -> Result<Vec<Table>> {
    let everything = SelectionKind::WithoutSchema(TablesWithNoSchema { tables: Vec::new(), include_new_tables: true });
    let request = UpdateRequest {
        configuration,
        selection: Some(Selection { kind: Some(everything) }),
        state_json: Some(state::NOTHING.to_owned()),
    };
    let until = Instant::now() + LONGEST;
    let mut messages = client.update(&request).await?;
    let mut sample = Sample::default();
    loop {
        match timeout_at(until, messages.next()).await {
            Ok(message) => match message? {
                Some(message) => sample.read(&message)?,
                None => return Ok(sample.tables),
            },
            Err(_) => break,
        }
        if sample.records >= MOST_RECORDS {
            break;
        }
    }
    warn!("the sync was not read to its end: tables that come later were not found");
    Ok(sample.tables)
}

/// The tables in the rows that were read.
#[derive(Default)]
struct Sample {
    tables: Vec<Table>,
    records: usize,
}

impl Sample {
    fn read(&mut self, message: &Bytes) -> Result<()> {
        match update::operation(message)? {
            Operation::Record(record) => self.record(message, record),
            Operation::Records(mut rest) => {
                while let (Some(record), after) = update::first_record(message, rest)? {
                    self.record(message, record)?;
                    rest = after;
                }
                Ok(())
            }
            Operation::SchemaChange(part) => {
                for table in feed::changed_tables(message.slice(part))? {
                    self.change(table);
                }
                Ok(())
            }
            Operation::Task(text) => Err(anyhow!(feed::said(&String::from_utf8_lossy(&message[text])).0)),
            _ => Ok(()),
        }
    }

    /// A table, which may be new.
    fn table(&mut self, schema: Option<String>, table: String) -> &mut Table {
        let found = self.tables.iter().position(|it| it.table == table && it.schema == schema);
        let index = found.unwrap_or_else(|| {
            self.tables.push(Table { schema, table, columns: Vec::new() });
            self.tables.len() - 1
        });
        &mut self.tables[index]
    }

    /// A table has another shape, and perhaps a key (V19). Other columns were in its rows.
    fn change(&mut self, changed: Table) {
        let known = self.table(changed.schema.filter(|it| !it.is_empty()), changed.table);
        let in_rows = std::mem::replace(&mut known.columns, changed.columns);
        let new = |it: &Column| known.columns.iter().all(|known| known.name != it.name);
        let others: Vec<Column> = in_rows.into_iter().filter(new).collect();
        known.columns.extend(others);
    }

    fn record(&mut self, message: &[u8], record: std::ops::Range<usize>) -> Result<()> {
        self.records += 1;
        let head = update::head(message, record.clone())?;
        if head.change == Change::Truncate {
            return Ok(());
        }
        let text = |it: &std::ops::Range<usize>| String::from_utf8_lossy(&message[it.clone()]).into_owned();
        let schema = Some(text(&head.schema)).filter(|it| !it.is_empty());
        let table = text(&head.table);
        let columns = &mut self.table(schema, table).columns;
        for it in update::values(message, record) {
            let (name, value) = it?;
            let (name, value) = (text(&name), Value::of(message, value)?);
            let Some(kind) = value.kind() else { continue };
            match columns.iter_mut().find(|it| it.name == name) {
                Some(column) if column.kind.schema() == kind.schema() => {}
                Some(column) => column.kind = Kind::Unspecified,
                None => columns.push(Column { name, kind, key: false, size: String::new() }),
            }
        }
        Ok(())
    }
}
