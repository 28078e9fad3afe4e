//! The Singer protocol: messages, commands, catalog, state, `--about`. It never writes to stdout.

mod about;
mod catalog;
mod command;
pub mod message;
mod method;
mod names;
mod resource;
mod selection;
mod state;

use std::collections::BTreeMap;

use anyhow::Result;
use async_trait::async_trait;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::json::watch::Watchlist;
use crate::logging::{Fields, Level};
use crate::process::files::Files;
use crate::process::launch::Launcher;
use crate::settings::CatalogOption;
use crate::upstream::{
    Batch, Broken, Decoder, Discovery, Event, FullRefreshPolicy, Legacy, LegacyCell, LegacyState, LineFeed, Opened,
    Protocol, Record, Resource, Rows, Spec, Stream, StreamId, StreamSchema, SyncRequest, Upstream,
};

use catalog::Entry;
use message::{DELETION, Earlier, Message};
use names::{Names, quoted};
use state::stream_id;

/// The settings of a tap in shim.yaml.
#[derive(Default)]
pub struct Singer {
    /// Replaces the schema that `--about` prints.
    pub config_schema: Option<Value>,
    pub catalog: CatalogOption,
    /// Replaces the output of `--discover`.
    pub discovered: Option<Box<RawValue>>,
    /// The names of streams in messages, by `tap_stream_id`.
    pub aliases: BTreeMap<String, String>,
}

impl Protocol for Singer {
    fn protocol(&self) -> &'static str {
        "singer"
    }

    fn resource_schema(&self) -> (Value, &'static [&'static str]) {
        (resource::schema(), resource::POINTERS)
    }

    fn resource(&self, config: &RawValue) -> Result<Resource> {
        resource::resource(config)
    }

    /// S4; a SCHEMA precedes a stream's records, even if there are none.
    fn full_refresh_policy(&self) -> FullRefreshPolicy {
        FullRefreshPolicy { keeps_state: true, announced: true, truncates: false }
    }

    fn is_divisible(&self, shared: &RawValue) -> bool {
        state::is_divisible(shared)
    }

    fn reads_log(&self, _stream: &Stream, resource: &Resource) -> bool {
        resource.method == Some(method::Method::LogBased.name())
    }

    fn resumes(&self, _stream: &Stream, _state: &RawValue, rows: Rows) -> bool {
        state::resumes(rows)
    }

    fn may_be_bookmarks(&self, shared: &RawValue, streams: &[&Stream]) -> Vec<bool> {
        let names_of = |stream: &&Stream| {
            let id = stream.id.name.clone();
            let name = Entry::parse(&stream.declared).ok().map(|it| it.name().to_owned());
            let alias = self.aliases.get(&id).cloned();
            [Some(id), name, alias].into_iter().flatten().collect()
        };
        state::may_be_bookmarks(shared, &streams.iter().map(names_of).collect::<Vec<_>>())
    }
}

impl Discovery for Singer {
    fn stream(&self, declared: Box<RawValue>) -> Result<Stream> {
        catalog::stream(declared)
    }

    fn choose_cursor(&self, stream: &mut Stream, path: &[String]) {
        catalog::choose_cursor(stream, path);
    }

    fn full_refresh_mode(&self) -> &'static str {
        method::Method::FullTable.name()
    }

    fn in_mode(&self, stream: &Stream, mode: &str) -> Option<Value> {
        catalog::in_mode(stream, mode)
    }

    fn unselected_entry(&self, stream: &Stream) -> Option<Box<RawValue>> {
        catalog::unselected_entry(stream)
    }
}

impl Legacy for Singer {
    fn legacy_cell(&self, cell: &RawValue) -> Option<LegacyCell> {
        state::legacy_cell(cell)
    }

    /// CaptureShim kept nothing but cells.
    fn legacy_state(&self, _state: &Map<String, Value>, _streams: &[&StreamId]) -> Result<LegacyState> {
        Ok(LegacyState::default())
    }
}

#[async_trait(?Send)]
impl Upstream for Singer {
    async fn spec(&self, launcher: &Launcher) -> Result<Spec> {
        Ok(Spec { config_schema: command::config_schema(self, launcher).await?, ..Spec::default() })
    }

    /// The tap's help is asked for at each sync, too.
    async fn spec_to_bake(&self, launcher: &Launcher) -> Result<Spec> {
        let options = match self.catalog {
            CatalogOption::Auto => Some(command::options(launcher).await?),
            CatalogOption::Catalog | CatalogOption::Properties | CatalogOption::None => None,
        };
        Ok(Spec { options, ..self.spec(launcher).await? })
    }

    fn schema_decides(&self) -> bool {
        true
    }

    /// Never runs `--test`: it reads a record of every stream, and reports success when it could not.
    async fn check(&self, launcher: &Launcher, config: &RawValue, resources: &[Resource]) -> Result<()> {
        resource::check(&command::discover(self, launcher, config).await?, resources)
    }

    async fn discover(&self, launcher: &Launcher, config: &RawValue) -> Result<Vec<Stream>> {
        command::discover(self, launcher, config).await
    }

    async fn open(&self, launcher: &Launcher, sync: &SyncRequest<'_>) -> Result<Opened> {
        let names = Names::new(sync, self.catalog == CatalogOption::None, &self.aliases)?;
        let mut connector = command::read(self, launcher, sync).await?;
        let messages = Messages { names, earlier: Earlier::default() };
        let feed = LineFeed::new(connector.take_stdout()?, messages, sync.activity.clone());
        Ok(Opened { connector, feed: Box::new(feed) })
    }

    fn config_after(&self, files: &Files, given: &RawValue) -> Option<Box<RawValue>> {
        command::rewritten(files, given)
    }
}

/// The messages of one sync.
struct Messages {
    names: Names,
    earlier: Earlier,
}

impl Decoder for Messages {
    fn watch(&mut self, names: &Watchlist) {
        self.earlier.hints.watch(names.clone());
    }

    #[inline]
    fn decode<'a>(&'a mut self, line: &'a [u8]) -> Result<Event<'a>, Broken> {
        match message::message(line, &mut self.earlier)? {
            Message::Record { stream, data } => {
                let stream = self.names.resolve_quoted(stream)?;
                Ok(Event::Record(Record {
                    stream,
                    namespace: None,
                    data,
                    changes: None,
                    file: None,
                    found: &self.earlier.hints.found,
                    repairs: &[],
                }))
            }
            other => self.other(other),
        }
    }
}

impl Messages {
    fn other<'a>(&mut self, message: Message<'a>) -> Result<Event<'a>, Broken> {
        Ok(match message {
            Message::State(value) => {
                self.names.reads(state::currently_syncing(&value));
                Event::State(state::split(&value, |id| self.names.is_bound(id)))
            }
            Message::Schema { stream, schema, key } => {
                let stream = stream_id(&self.names.resolve(&stream)?);
                Event::Schema(StreamSchema { stream, schema, key: catalog::paths(key) })
            }
            Message::ActivateVersion { stream } => Event::ActivateVersion(stream_id(&self.names.resolve(&stream)?)),
            Message::Batch { stream, files, gzip } => {
                let stream = quoted(&self.names.resolve(&stream)?);
                Event::Batch(Batch { stream, files, gzip, deletion: DELETION })
            }
            Message::Other(kind) => {
                let message = format!("the tap sends a message of type {kind}, which is unknown: it is ignored");
                Event::Log { level: Level::Info, message, fields: Fields::new() }
            }
            Message::Record { .. } => Event::Noise,
        })
    }
}
