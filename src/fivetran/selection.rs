//! The selection that a sync is started with (V11, V21): always sent, in the shape of the source's schema, with every known
//! table.

use std::collections::BTreeMap;

use anyhow::Result;

use super::messages::{
    SchemaSelection, Selection, SelectionKind, TableSelection, TablesWithNoSchema, TablesWithSchema,
};
use super::table::Table;
use crate::upstream::SyncRequest;

/// Tables without a binding are not included: when one is bound later, everything is read again (see [`super::state`]), so the
/// connector need not read it before.
pub fn selection(sync: &SyncRequest) -> Result<Selection> {
    let mut tables: Vec<(Table, bool)> = Vec::new();
    for it in &sync.streams {
        tables.push((Table::parse(&it.stream.declared)?, true));
    }
    for other in sync.others {
        tables.push((Table::parse(other)?, false));
    }
    let kind = if tables.iter().any(|(table, _)| table.schema.is_some()) {
        let mut schemas: BTreeMap<String, Vec<TableSelection>> = BTreeMap::new();
        for (table, included) in tables {
            let schema = table.schema.clone().unwrap_or_default();
            schemas.entry(schema).or_default().push(selected(table, included));
        }
        let schema = |(schema_name, tables): (String, Vec<TableSelection>)| SchemaSelection {
            included: tables.iter().any(|it| it.included),
            schema_name,
            tables,
            include_new_tables: true,
        };
        let schemas = schemas.into_iter().map(schema).collect();
        SelectionKind::WithSchema(TablesWithSchema { schemas, include_new_schemas: true })
    } else {
        let tables = tables.into_iter().map(|(table, included)| selected(table, included)).collect();
        SelectionKind::WithoutSchema(TablesWithNoSchema { tables, include_new_tables: true })
    };
    Ok(Selection { kind: Some(kind) })
}

fn selected(table: Table, included: bool) -> TableSelection {
    let columns = table.columns.into_iter().map(|it| (it.name, included)).collect();
    TableSelection { included, table_name: table.table, columns, include_new_columns: included }
}
