//! The messages of a sync, as they are on the wire (V12, V14). What is not known fails: it may hold rows.

use std::ops::Range;

use super::wire::{Content, Fields, Malformed};

/// What a message of a sync says, with the parts of it that it is about.
#[derive(Debug, PartialEq)]
pub enum Operation {
    Record(Range<usize>),
    /// Several, one field each.
    Records(Range<usize>),
    SchemaChange(Range<usize>),
    /// The state, as text.
    Checkpoint(Range<usize>),
    Warning(Range<usize>),
    Task(Range<usize>),
    /// The Connector SDK's own message for it.
    Truncate(Head),
    /// A message without anything in it.
    Nothing,
}

/// A record without its values. An absent name is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    pub schema: Range<usize>,
    pub table: Range<usize>,
    pub change: Change,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// Replaces a row: what it does not have is null.
    #[default]
    Upsert,
    /// Changes the columns that it has.
    Update,
    Delete,
    Truncate,
}

/// Why a message can't be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Unusable {
    #[error("the connector sent a message that can't be read: {0}")]
    Malformed(#[from] Malformed),
    #[error(
        "the connector sent a message with a field {field} in its {within}, which flow-shim does not know: it may hold data"
    )]
    Unknown { within: &'static str, field: u32 },
    #[error("the connector sent a record of type {0}, which flow-shim does not know")]
    UnknownChange(u64),
    #[error("the connector sends files, which flow-shim does not capture")]
    Files,
    #[error(
        "the connector sends its rows as row_data, which flow-shim does not read: unset ConnectorSdkRemoveValueType"
    )]
    RowData,
}

/// What a message says. Of several operations the last one counts, as for any reader of a oneof.
pub fn operation(message: &[u8]) -> Result<Operation, Unusable> {
    let mut operation = Operation::Nothing;
    for field in Fields::of(message, 0..message.len()) {
        let (number, content) = field?;
        operation = match number {
            1 => Operation::Record(content.bytes()?),
            2 => Operation::SchemaChange(content.bytes()?),
            3 => Operation::Checkpoint(text(message, content)?),
            4 => Operation::Warning(text(message, content)?),
            5 => Operation::Task(text(message, content)?),
            6 => Operation::Records(content.bytes()?),
            7 => return Err(Unusable::Files),
            8 => Operation::Truncate(truncate(message, content.bytes()?)?),
            field => return Err(Unusable::Unknown { within: "response", field }),
        };
    }
    Ok(operation)
}

/// The first record in a list of them, and what is behind it.
pub fn first_record(message: &[u8], records: Range<usize>) -> Result<(Option<Range<usize>>, Range<usize>), Unusable> {
    let end = records.end;
    let mut fields = Fields::of(message, records);
    match fields.next().transpose()? {
        None => Ok((None, end..end)),
        Some((1, content)) => Ok((Some(content.bytes()?), fields.position()..end)),
        Some((field, _)) => Err(Unusable::Unknown { within: "records", field }),
    }
}

/// What a record is about.
pub fn head(message: &[u8], record: Range<usize>) -> Result<Head, Unusable> {
    let mut head = Head::default();
    for field in Fields::of(message, record) {
        match field? {
            (1, content) => head.schema = content.bytes()?,
            (2, content) => head.table = content.bytes()?,
            (3, content) => {
                head.change = match content.varint()? {
                    0 => Change::Upsert,
                    1 => Change::Update,
                    2 => Change::Delete,
                    3 => Change::Truncate,
                    other => return Err(Unusable::UnknownChange(other)),
                }
            }
            (4, _) => {}
            (5, _) => return Err(Unusable::RowData),
            (field, _) => return Err(Unusable::Unknown { within: "record", field }),
        }
    }
    Ok(head)
}

/// The values of a record: the parts of the message with a column's name and with its value.
pub fn values(
    message: &[u8],
    record: Range<usize>,
) -> impl Iterator<Item = Result<(Range<usize>, Range<usize>), Malformed>> {
    let entries = Fields::of(message, record).filter(|it| !matches!(it, Ok((number, _)) if *number != 4));
    entries.map(|entry| {
        let (mut name, mut value) = (0..0, 0..0);
        for field in Fields::of(message, entry?.1.bytes()?) {
            match field? {
                (1, content) => name = content.bytes()?,
                (2, content) => value = content.bytes()?,
                _ => return Err(Malformed),
            }
        }
        Ok((name, value))
    })
}

/// The only field of a message that is a text.
fn text(message: &[u8], content: Content) -> Result<Range<usize>, Malformed> {
    let mut text = 0..0;
    for field in Fields::of(message, content.bytes()?) {
        if let (1, content) = field? {
            text = content.bytes()?;
        }
    }
    Ok(text)
}

fn truncate(message: &[u8], part: Range<usize>) -> Result<Head, Malformed> {
    let mut head = Head { change: Change::Truncate, ..Head::default() };
    for field in Fields::of(message, part) {
        match field? {
            (1, content) => head.schema = content.bytes()?,
            (2, content) => head.table = content.bytes()?,
            _ => {}
        }
    }
    Ok(head)
}
