//! The only interface to a connector. Implementations speak Airbyte, Singer or Fivetran's protocol; their users (capture, RPCs,
//! preview) know none of them.
//!
//! - [`Protocol`], [`Discovery`] and [`Legacy`] are pure: they interpret configs, streams and states.
//! - [`Upstream`] runs the connector. [`Upstream::open`] starts a sync.
//! - [`Feed`] yields the sync's events, wherever they come from. [`line_feed::LineFeed`] reads lines from a stdout.

pub mod damage;
pub mod envelope;
mod error_log;
mod event;
pub mod line;
mod line_feed;
mod pace;
mod stream;

use std::io;

use anyhow::{Error, Result};
use async_trait::async_trait;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::json::watch::Watchlist;
use crate::process::files::Files;
use crate::process::launch::Launcher;
use crate::process::supervise::Connector;

pub use error_log::{ErrorLog, log_line};
pub use event::{Batch, Broken, Event, Payload, Phase, Record, SourceError, StateUpdate, Status, StreamSchema};
pub use line_feed::{Decoder, LineFeed};
pub use stream::{
    FullRefreshPolicy, LegacyCell, LegacyState, Mode, Resource, Rows, Selected, Spec, Stream, StreamId, SyncRequest,
};

/// What a protocol means by its configs and states. Runs nothing.
pub trait Protocol: Send + Sync {
    /// The protocol's name, for people.
    fn protocol(&self) -> &'static str;

    /// The schema of a resource config, and the pointers that make its resource path (F17).
    fn resource_schema(&self) -> (Value, &'static [&'static str]);

    /// What a binding's resource config asks for. Legacy forms are accepted (F18).
    fn resource(&self, config: &RawValue) -> Result<Resource>;

    fn full_refresh_policy(&self) -> FullRefreshPolicy;

    /// Whether an interrupted full refresh continues from this state instead of starting over.
    fn resumes(&self, stream: &Stream, state: &RawValue, rows: Rows) -> bool;

    /// Whether several processes, each with some of the streams, may each continue from this shared state: the streams have
    /// states of their own beside it.
    fn is_divisible(&self, shared: &RawValue) -> bool;

    /// Whether a stream is read from a log of all changes at the source: one process has to read it for all streams.
    fn reads_log(&self, stream: &Stream, resource: &Resource) -> bool;

    /// Of each stream of a capture, whether the shared state may be, or contain, its bookmark.
    fn may_be_bookmarks(&self, _shared: &RawValue, streams: &[&Stream]) -> Vec<bool> {
        vec![false; streams.len()]
    }
}

/// What can be made of a discovered stream. Runs nothing.
pub trait Discovery {
    /// Parses a stream from its [`Stream::declared`].
    fn stream(&self, declared: Box<RawValue>) -> Result<Stream>;

    /// Makes discovery recommend this cursor field, if the stream lets users choose one.
    fn choose_cursor(&self, stream: &mut Stream, path: &[String]);

    /// The name of the mode that reads everything.
    fn full_refresh_mode(&self) -> &'static str;

    /// The resource config that reads a stream in one of its [`Stream::modes`]; `None` if it has no such mode.
    fn in_mode(&self, stream: &Stream, mode: &str) -> Option<Value>;

    /// The reduced catalog entry for an unselected stream, if the protocol needs one.
    fn unselected_entry(&self, stream: &Stream) -> Option<Box<RawValue>>;
}

/// What earlier wrappers of the same connectors left in Flow's state.
pub trait Legacy {
    /// What is in a binding's cell; `None` if no earlier wrapper writes such a cell.
    fn legacy_cell(&self, cell: &RawValue) -> Option<LegacyCell>;

    /// The states at the top of Flow's state, by stream. The error says which of them is damaged.
    fn legacy_state(&self, state: &Map<String, Value>, streams: &[&StreamId]) -> Result<LegacyState>;
}

/// Runs a connector.
#[async_trait(?Send)]
pub trait Upstream: Protocol + Discovery + Legacy {
    async fn spec(&self, launcher: &Launcher) -> Result<Spec>;

    /// The spec, with all that can be known of the connector without a config: it will be asked for none of it any more.
    async fn spec_to_bake(&self, launcher: &Launcher) -> Result<Spec> {
        self.spec(launcher).await
    }

    /// Whether a config that does not match the connector's schema can't be right. Taps leave that check to their users.
    fn schema_decides(&self) -> bool;

    /// Whether these streams can be read with this config; the error is for the user.
    async fn check(&self, launcher: &Launcher, config: &RawValue, resources: &[Resource]) -> Result<()>;

    async fn discover(&self, launcher: &Launcher, config: &RawValue) -> Result<Vec<Stream>>;

    /// Starts a sync.
    async fn open(&self, launcher: &Launcher, sync: &SyncRequest<'_>) -> Result<Opened>;

    /// The config file as the connector left it, if it differs from the given config and has to be used from now on.
    fn config_after(&self, _files: &Files, _given: &RawValue) -> Option<Box<RawValue>> {
        None
    }
}

/// A sync that was started.
pub struct Opened {
    pub connector: Connector,
    pub feed: Box<dyn Feed>,
}

/// The events of one sync. A feed blocks, so its reader runs on a thread of its own.
pub trait Feed: Send {
    /// The names of the members that the capture has to see in each record from now on ([`Record::found`]).
    fn watch(&mut self, names: &Watchlist);

    /// The next event; `None` at the end. The event borrows from the feed's buffer. `idle` is called before the feed waits
    /// for the connector.
    fn next(&mut self, idle: &mut dyn FnMut() -> io::Result<()>) -> Result<Option<Event<'_>>, FeedError>;
}

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The feed can't go on.
    #[error("{0:#}")]
    Failed(Error),
    /// The output ended within a message. The connector's exit code may explain that better.
    #[error("{0:#}")]
    Truncated(Error),
    /// What the reader does while the connector is silent has failed.
    #[error("{0}")]
    Idle(io::Error),
}
