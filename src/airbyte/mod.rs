//! The Airbyte protocol: messages, commands, catalog, state. It never writes to stdout.

mod catalog;
mod command;
mod lenient;
pub mod message;
mod state;
mod stream;

use anyhow::Result;
use async_trait::async_trait;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::json::watch::Watchlist;
use crate::process::launch::Launcher;
use crate::settings::StateFormat;
use crate::upstream::{
    Broken, Decoder, Discovery, Event, FullRefreshPolicy, Legacy, LegacyCell, LegacyState, LineFeed, Mode, Opened,
    Protocol, Resource, Rows, Spec, Stream, StreamId, SyncRequest, Upstream,
};
use message::Earlier;

#[derive(Default)]
pub struct Airbyte {
    pub state_format: StateFormat,
}

/// Decodes the messages of one sync. No message depends on an earlier one.
#[derive(Default)]
pub struct Messages {
    earlier: Earlier,
    state_format: StateFormat,
}

impl Decoder for Messages {
    fn watch(&mut self, names: &Watchlist) {
        self.earlier.hints.watch(names.clone());
    }

    #[inline(always)]
    fn decode<'a>(&'a mut self, line: &'a [u8]) -> Result<Event<'a>, Broken> {
        match message::event(line, &mut self.earlier) {
            Ok(Event::State(mut update)) if self.state_format == StateFormat::Bare => {
                state::note_format(&mut update);
                Ok(Event::State(update))
            }
            other => other,
        }
    }
}

impl Protocol for Airbyte {
    fn protocol(&self) -> &'static str {
        "airbyte"
    }

    /// It has room for what earlier wrappers wrote (F29).
    fn resource_schema(&self) -> (Value, &'static [&'static str]) {
        let schema = json!({
            "type": "object",
            "title": "Airbyte stream",
            "required": ["stream"],
            "properties": {
                "stream": {"type": "string", "title": "Stream", "description": "Name of the stream at the source.", "order": 0},
                "namespace": {"type": ["string", "null"], "title": "Namespace", "description": "Namespace of the stream, if the source has namespaces: a schema, a database.", "order": 1},
                "syncMode": {
                    "type": "string",
                    "title": "Sync mode",
                    "description": "incremental: only what is new since the last sync. full_refresh: everything in each sync. Without it: full_refresh.",
                    "enum": ["incremental", "full_refresh"],
                    "order": 2
                },
                "cursorField": {
                    "type": ["array", "null"],
                    "items": {"type": "string"},
                    "title": "Cursor field",
                    "description": "Path of the field by which the source finds new records, if you can choose it. A nested field has one item per level.",
                    "order": 3
                }
            }
        });
        (schema, &["/namespace", "/stream"])
    }

    fn resource(&self, config: &RawValue) -> Result<Resource> {
        catalog::resource(config)
    }

    /// A12; a connector that announces streams does so in statuses.
    fn full_refresh_policy(&self) -> FullRefreshPolicy {
        FullRefreshPolicy { keeps_state: false, announced: false, truncates: false }
    }

    fn is_divisible(&self, shared: &RawValue) -> bool {
        state::is_divisible(shared)
    }

    fn reads_log(&self, stream: &Stream, resource: &Resource) -> bool {
        resource.mode == Mode::Incremental && stream::reads_log(&stream.schema)
    }

    fn resumes(&self, stream: &Stream, state: &RawValue, _rows: Rows) -> bool {
        state::resumes(stream, state)
    }
}

impl Discovery for Airbyte {
    fn stream(&self, declared: Box<RawValue>) -> Result<Stream> {
        catalog::stream(declared)
    }

    fn choose_cursor(&self, stream: &mut Stream, path: &[String]) {
        catalog::choose_cursor(stream, path);
    }

    fn full_refresh_mode(&self) -> &'static str {
        stream::FULL_REFRESH
    }

    fn in_mode(&self, stream: &Stream, mode: &str) -> Option<Value> {
        catalog::in_mode(stream, mode)
    }

    /// A configured catalog contains only what is to be read (A9).
    fn unselected_entry(&self, _stream: &Stream) -> Option<Box<RawValue>> {
        None
    }
}

impl Legacy for Airbyte {
    fn legacy_cell(&self, cell: &RawValue) -> Option<LegacyCell> {
        state::legacy_cell(cell)
    }

    fn legacy_state(&self, state: &Map<String, Value>, streams: &[&StreamId]) -> Result<LegacyState> {
        state::atf_state(state, streams)
    }
}

/// A rotated config arrives in a CONTROL message (A18). The config file is not read back: migrations rewrite it (A17).
#[async_trait(?Send)]
impl Upstream for Airbyte {
    async fn spec(&self, launcher: &Launcher) -> Result<Spec> {
        command::spec(launcher).await
    }

    /// `check` decides.
    fn schema_decides(&self) -> bool {
        false
    }

    async fn check(&self, launcher: &Launcher, config: &RawValue, _resources: &[Resource]) -> Result<()> {
        command::check(launcher, config).await
    }

    async fn discover(&self, launcher: &Launcher, config: &RawValue) -> Result<Vec<Stream>> {
        command::discover(launcher, config).await
    }

    async fn open(&self, launcher: &Launcher, sync: &SyncRequest<'_>) -> Result<Opened> {
        let mut connector = command::read(launcher, sync, self.state_format).await?;
        let messages = Messages { state_format: self.state_format, ..Messages::default() };
        let feed = LineFeed::new(connector.take_stdout()?, messages, sync.activity.clone());
        Ok(Opened { connector, feed: Box::new(feed) })
    }
}
