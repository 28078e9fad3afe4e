//! The events of a sync, from the messages that a task receives.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;

use anyhow::{Context, Error, Result, anyhow};
use prost::Message as _;
use prost::bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;
use tracing::{info, warn};

use super::messages::{ChangedSchema, SchemaChange};
use super::row::{BoundTable, Row, RowProblem};
use super::state::{self, TableState};
use super::table::Table;
use super::update::{self, Change, Head, Operation};
use crate::json::watch::Watchlist;
use crate::logging::{Fields, Level};
use crate::process::activity::Activity;
use crate::upstream::{
    Event, Feed, FeedError, Payload, Record, SourceError, StateUpdate, StreamId, StreamSchema, SyncRequest,
};

/// What the task that receives a sync's messages hands over.
pub enum Received {
    /// Messages, and what they hold of the memory that messages may take before they are read.
    Messages(Vec<Bytes>, OwnedSemaphorePermit),
    Ended(Ending),
}

/// How a sync's messages ended.
pub enum Ending {
    /// The connector has sent everything.
    Complete,
    /// The connector says that it failed.
    Failed(SourceError),
    /// The connection broke.
    Broken(String),
}

pub struct UpdateFeed {
    received: Receiver<Received>,
    activity: Activity,
    tables: Tables,
    watched: Watchlist,
    messages: std::vec::IntoIter<Bytes>,
    /// Held until the messages are read.
    _memory: Option<OwnedSemaphorePermit>,
    message: Bytes,
    /// The records of `message` that are to be read.
    records: Range<usize>,
    row: Row,
    /// Events that are to follow the last one.
    queue: VecDeque<Event<'static>>,
    has_ended: bool,
}

/// The tables of a source, as far as they are known.
struct Tables {
    bound: Vec<BoundTable>,
    known: HashMap<StreamId, Meant>,
    /// The namespaces in which there is a table of a name.
    namespaces: HashMap<String, Vec<Option<String>>>,
    /// A hash of the bound tables' names.
    hash: String,
    /// The names of the last record's table, and what they mean.
    last: Option<(Vec<u8>, Vec<u8>, Meant)>,
}

/// What the names of a record mean.
#[derive(Clone, Copy)]
enum Meant {
    /// The index of a table.
    Bound(usize),
    Unbound,
}

/// What the next event is. A record borrows from the feed.
enum Step {
    Record { table: usize, deleted: bool },
    Event(Event<'static>),
    End,
}

impl UpdateFeed {
    pub fn new(received: Receiver<Received>, sync: &SyncRequest) -> Result<Self> {
        Ok(Self {
            received,
            activity: sync.activity.clone(),
            tables: Tables::new(sync)?,
            watched: Watchlist::default(),
            messages: Vec::new().into_iter(),
            _memory: None,
            message: Bytes::new(),
            records: 0..0,
            row: Row::default(),
            queue: VecDeque::new(),
            has_ended: false,
        })
    }

    fn step(&mut self, idle: &mut dyn FnMut() -> io::Result<()>) -> Result<Step, FeedError> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Step::Event(event));
            }
            let step = if self.records.is_empty() {
                if !self.next_message(idle)? {
                    return Ok(Step::End);
                }
                self.operation()
            } else {
                self.next_record()
            };
            if let Some(step) = step.map_err(FeedError::Failed)? {
                return Ok(step);
            }
        }
    }

    /// Goes on to the next message; false if there is none, or only what is in the queue.
    fn next_message(&mut self, idle: &mut dyn FnMut() -> io::Result<()>) -> Result<bool, FeedError> {
        loop {
            if let Some(message) = self.messages.next() {
                self.message = message;
                return Ok(true);
            }
            if self.has_ended {
                return Ok(false);
            }
            // What was read is given back before more is waited for.
            (self.message, self._memory) = (Bytes::new(), None);
            let received = match self.received.try_recv() {
                Ok(it) => Some(it),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    idle().map_err(FeedError::Idle)?;
                    self.activity.while_waiting(|| self.received.blocking_recv())
                }
            };
            match received {
                Some(Received::Messages(messages, memory)) => {
                    (self.messages, self._memory) = (messages.into_iter(), Some(memory));
                }
                Some(Received::Ended(ending)) => {
                    self.has_ended = true;
                    match ending {
                        Ending::Complete => {}
                        Ending::Failed(error) => self.queue.push_back(Event::Error(error)),
                        Ending::Broken(how) => return Err(FeedError::Truncated(anyhow!(how))),
                    }
                    return Ok(false);
                }
                None => {
                    self.has_ended = true;
                    return Err(FeedError::Truncated(anyhow!("the connection to the connector was given up")));
                }
            }
        }
    }

    fn operation(&mut self) -> Result<Option<Step>> {
        match update::operation(&self.message)? {
            Operation::Record(record) => self.record(record),
            Operation::Records(records) => {
                self.records = records;
                Ok(None)
            }
            Operation::SchemaChange(part) => self.schema_change(part).map(|()| None),
            Operation::Checkpoint(text) => self.checkpoint(text).map(Some),
            Operation::Warning(text) => {
                let (message, fields) = self.said(text);
                Ok(Some(Step::Event(Event::Log { level: Level::Warn, message, fields })))
            }
            Operation::Task(text) => {
                let (message, fields) = self.said(text);
                Ok(Some(Step::Event(Event::Error(SourceError { message, stream: None, fields }))))
            }
            Operation::Truncate(head) => self.truncate(&head),
            Operation::Nothing => Ok(None),
        }
    }

    fn next_record(&mut self) -> Result<Option<Step>> {
        let (record, rest) = update::first_record(&self.message, self.records.clone())?;
        self.records = rest;
        record.map_or(Ok(None), |it| self.record(it))
    }

    #[inline]
    fn record(&mut self, record: Range<usize>) -> Result<Option<Step>> {
        let head = update::head(&self.message, record.clone())?;
        if head.change == Change::Truncate {
            return self.truncate(&head);
        }
        let Meant::Bound(index) = self.tables.meant(&self.message, &head)? else { return Ok(None) };
        let table = &mut self.tables.bound[index];
        let written = self.row.write(table, &self.message, record, head.change, &self.watched);
        written.map_err(|problem| unusable(table, problem))?;
        Ok(Some(Step::Record { table: index, deleted: head.change == Change::Delete }))
    }

    fn truncate(&mut self, head: &Head) -> Result<Option<Step>> {
        let Meant::Bound(index) = self.tables.meant(&self.message, head)? else { return Ok(None) };
        Ok(Some(Step::Event(Event::Truncate(self.tables.bound[index].id.clone()))))
    }

    fn checkpoint(&mut self, text: Range<usize>) -> Result<Step> {
        let state = std::str::from_utf8(&self.message[text]).context("the connector's state is not UTF-8")?;
        let shared = Some(state::share(state, &self.tables.hash)?);
        let mut streams: Vec<(StreamId, Option<Box<RawValue>>)> = Vec::new();
        for table in &mut self.tables.bound {
            if let Some(state) = table.state(&self.tables.hash) {
                streams.push((table.id.clone(), Some(state.to_raw()?)));
            }
        }
        let update = StateUpdate { streams, shared, indivisible: true, ..StateUpdate::default() };
        Ok(Step::Event(Event::State(update)))
    }

    /// Tables have another shape from here on (V19).
    fn schema_change(&mut self, part: Range<usize>) -> Result<()> {
        for table in changed_tables(self.message.slice(part))? {
            let stream = table.id();
            if let Some(Meant::Bound(index)) = self.tables.known.get(&stream) {
                let bound = &mut self.tables.bound[*index];
                for column in &table.columns {
                    bound.know(&column.name, &self.watched);
                }
                let (schema, key) = (table.schema(), table.key());
                self.queue.push_back(Event::Schema(StreamSchema { stream, schema, key }));
            }
        }
        Ok(())
    }

    /// What a message says to people. The Connector SDK writes it as JSON, with a Python traceback beside it (V20).
    fn said(&self, text: Range<usize>) -> (String, Fields) {
        said(&String::from_utf8_lossy(&self.message[text]))
    }
}

/// The tables of a schema change.
pub fn changed_tables(message: Bytes) -> Result<Vec<Table>> {
    let change =
        SchemaChange::decode(message).map_err(|_| anyhow!("the connector sent a schema that can't be read"))?;
    Ok(match change.change {
        Some(ChangedSchema::WithSchema(list)) => Table::with_schema(list),
        Some(ChangedSchema::WithoutSchema(list)) => Table::without_schema(list),
        None => Vec::new(),
    })
}

fn unusable(table: &BoundTable, problem: RowProblem) -> Error {
    Error::new(problem).context(format!("stream {}", table.id))
}

/// A text for people, which may be JSON with a `message` and a `trace`, or empty; of several lines, the first one and all of
/// them.
pub fn said(text: &str) -> (String, Fields) {
    let mut members = serde_json::from_str::<Fields>(text).unwrap_or_default();
    let text = match members.shift_remove("message") {
        Some(Value::String(message)) => message,
        _ => text.to_owned(),
    };
    let mut fields = Fields::new();
    if let Some(trace) = members.shift_remove("trace").filter(|it| !it.is_null()) {
        fields.insert("stack_trace".to_owned(), trace);
    }
    let text = text.trim();
    let line = text.lines().next().unwrap_or("the connector gave no reason");
    if line != text && !text.is_empty() {
        fields.insert("details".to_owned(), text.into());
    }
    (line.to_owned(), fields)
}

impl Feed for UpdateFeed {
    fn watch(&mut self, names: &Watchlist) {
        self.tables.bound.iter_mut().for_each(|it| it.watch(names));
        self.row.out.watch(names);
        self.watched = names.clone();
    }

    #[inline]
    fn next(&mut self, idle: &mut dyn FnMut() -> io::Result<()>) -> Result<Option<Event<'_>>, FeedError> {
        match self.step(idle)? {
            Step::Event(event) => Ok(Some(event)),
            Step::Record { table, deleted } => {
                let table = &self.tables.bound[table];
                Ok(Some(Event::Record(Record {
                    stream: &table.name,
                    namespace: table.namespace.as_deref(),
                    data: Payload { bytes: &self.row.out.json, has_meta: self.row.has_meta, deleted },
                    changes: None,
                    file: None,
                    found: &self.row.out.found,
                    repairs: &self.row.out.repairs,
                })))
            }
            Step::End => Ok(self.queue.pop_front()),
        }
    }
}

impl Tables {
    fn new(sync: &SyncRequest) -> Result<Self> {
        let mut tables = Self {
            bound: Vec::new(),
            known: HashMap::new(),
            namespaces: HashMap::new(),
            hash: state::hash_of(sync.streams.iter().map(|it| &it.stream.id)),
            last: None,
        };
        for it in &sync.streams {
            let kept = it.state.map(TableState::parse).transpose()?.unwrap_or_default();
            let index = tables.bound.len();
            tables.bound.push(BoundTable::new(it, &Table::parse(&it.stream.declared)?, kept));
            tables.know(&it.stream.id, Meant::Bound(index));
        }
        for other in sync.others {
            tables.know(&Table::parse(other)?.id(), Meant::Unbound);
        }
        Ok(tables)
    }

    fn know(&mut self, id: &StreamId, meant: Meant) {
        self.known.insert(id.clone(), meant);
        self.namespaces.entry(id.name.clone()).or_default().push(id.namespace.clone());
    }

    /// The table that a record is about.
    #[inline]
    fn meant(&mut self, message: &[u8], head: &Head) -> Result<Meant> {
        let (schema, table) = (&message[head.schema.clone()], &message[head.table.clone()]);
        if let Some((last_schema, last_table, meant)) = &self.last
            && last_table == table
            && last_schema == schema
        {
            return Ok(*meant);
        }
        self.find(schema, table)
    }

    /// A record without a schema means the only table of its name.
    #[cold]
    fn find(&mut self, schema: &[u8], table: &[u8]) -> Result<Meant> {
        let text = |it: &[u8]| String::from_utf8(it.to_vec()).context("the name of a table is not UTF-8");
        let mut id = StreamId { namespace: Some(text(schema)?).filter(|it| !it.is_empty()), name: text(table)? };
        let found = match (self.known.get(&id), self.namespaces.get(&id.name).map(Vec::as_slice)) {
            (Some(meant), _) => *meant,
            (None, Some([only])) if id.namespace.is_none() => {
                id.namespace = only.clone();
                self.known.get(&id).copied().unwrap_or(Meant::Unbound)
            }
            (None, Some([_, _, ..])) if id.namespace.is_none() => {
                return Err(anyhow!(
                    "the connector sends records of table {id} without its schema, and there are several of that name"
                ));
            }
            // The table of that name may be meant: a binding that gets no rows.
            (None, Some(_)) => {
                warn!(
                    "the connector sends records of table {id}, which it did not have in its schema: they are ignored until the table is discovered again and bound"
                );
                self.know(&id, Meant::Unbound);
                Meant::Unbound
            }
            // New since discovery.
            (None, None) => {
                info!("the connector sends records of table {id}, which has no binding: they are ignored");
                self.know(&id, Meant::Unbound);
                Meant::Unbound
            }
        };
        self.last = Some((schema.to_vec(), table.to_vec(), found));
        Ok(found)
    }
}
