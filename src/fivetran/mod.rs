//! Fivetran's Partner SDK protocol (`fivetran_sdk.v2`): connectors are gRPC servers. It never writes to stdout.
//!
//! The connector is started for each command and stopped when it has answered ([`server`]). Rules are in docs/protocols.md (V).

mod client;
mod discover;
pub mod feed;
mod form;
pub mod messages;
mod row;
mod selection;
mod server;
mod state;
mod table;
mod update;
mod value;
mod wire;

#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tracing::info;

use crate::process::launch::Launcher;
use crate::upstream::{
    Discovery, FullRefreshPolicy, Legacy, LegacyCell, LegacyState, Mode, Opened, Protocol, Resource, Rows, Spec,
    Stream, StreamId, SyncRequest, Upstream,
};

use feed::UpdateFeed;
use messages::{TestRequest, TestResult, UpdateRequest};
use table::Table;

/// The settings of a connector in shim.yaml.
#[derive(Default)]
pub struct Fivetran {
    /// Replaces the schema of the connector's form.
    pub config_schema: Option<Value>,
}

impl Protocol for Fivetran {
    fn protocol(&self) -> &'static str {
        "fivetran"
    }

    fn resource_schema(&self) -> (Value, &'static [&'static str]) {
        let schema = json!({
            "type": "object",
            "title": "Table",
            "required": ["stream"],
            "properties": {
                "stream": {"type": "string", "title": "Table", "description": "Name of the table at the source.", "order": 0},
                "namespace": {"type": ["string", "null"], "title": "Schema", "description": "The table's schema, if the source has schemas.", "order": 1},
            }
        });
        (schema, &["/namespace", "/stream"])
    }

    fn resource(&self, config: &RawValue) -> Result<Resource> {
        #[derive(Deserialize)]
        struct Config {
            stream: String,
            namespace: Option<String>,
        }
        let Config { stream, namespace } = serde_json::from_str(config.get())
            .context("a binding's resource config can't be read (it takes stream and namespace)")?;
        let path = namespace.iter().chain([&stream]).cloned().collect();
        let id = StreamId { namespace: namespace.filter(|it| !it.is_empty()), name: stream };
        Ok(Resource { id, path, mode: Mode::Incremental, method: None, config: Value::Null })
    }

    /// The connector decides what it sends: no table is read by full refresh, but a table may be truncated.
    fn full_refresh_policy(&self) -> FullRefreshPolicy {
        FullRefreshPolicy { keeps_state: true, announced: false, truncates: true }
    }

    /// V18.
    fn is_divisible(&self, _shared: &RawValue) -> bool {
        false
    }

    fn reads_log(&self, _stream: &Stream, _resource: &Resource) -> bool {
        false
    }

    fn resumes(&self, _stream: &Stream, _state: &RawValue, _rows: Rows) -> bool {
        true
    }
}

impl Discovery for Fivetran {
    fn stream(&self, declared: Box<RawValue>) -> Result<Stream> {
        Table::parse(&declared)?.stream()
    }

    fn choose_cursor(&self, _stream: &mut Stream, _path: &[String]) {}

    fn full_refresh_mode(&self) -> &'static str {
        ""
    }

    fn in_mode(&self, _stream: &Stream, _mode: &str) -> Option<Value> {
        None
    }

    /// The selection names every table (V21).
    fn unselected_entry(&self, stream: &Stream) -> Option<Box<RawValue>> {
        let table = Table::parse(&stream.declared).ok()?;
        to_raw_value(&Table { columns: Vec::new(), ..table }).ok()
    }
}

/// There are no earlier wrappers.
impl Legacy for Fivetran {
    fn legacy_cell(&self, _cell: &RawValue) -> Option<LegacyCell> {
        None
    }

    fn legacy_state(&self, _state: &Map<String, Value>, _streams: &[&StreamId]) -> Result<LegacyState> {
        Ok(LegacyState::default())
    }
}

#[async_trait(?Send)]
impl Upstream for Fivetran {
    async fn spec(&self, launcher: &Launcher) -> Result<Spec> {
        let config_schema = match &self.config_schema {
            Some(schema) => schema.clone(),
            None => {
                let ask = async |mut client: client::Client| client.configuration_form().await;
                form::schema(&server::ask(launcher, "its form", ask).await?.fields)
            }
        };
        Ok(Spec { config_schema, ..Spec::default() })
    }

    /// The form's tests decide.
    fn schema_decides(&self) -> bool {
        false
    }

    /// Runs each of the form's tests (V8).
    async fn check(&self, launcher: &Launcher, config: &RawValue, _resources: &[Resource]) -> Result<()> {
        let configuration = form::configuration(config)?;
        let test = async |mut client: client::Client| {
            for test in client.configuration_form().await?.tests {
                let label = if test.label.trim().is_empty() { test.name.clone() } else { test.label };
                let request = TestRequest { name: test.name, configuration: configuration.clone() };
                let answer = client.test(&request).await.with_context(|| format!("test {label:?}"))?;
                match answer.result {
                    Some(TestResult::Success(true)) => {}
                    Some(TestResult::Failure(reason)) => {
                        let (reason, _) = feed::said(&reason);
                        bail!("the connector can't use this config: test {label:?} failed: {reason}");
                    }
                    Some(TestResult::Success(false)) | None => {
                        bail!("the connector can't use this config: test {label:?} failed, and gave no reason");
                    }
                }
            }
            Ok(())
        };
        server::ask(launcher, "its tests", test).await
    }

    async fn discover(&self, launcher: &Launcher, config: &RawValue) -> Result<Vec<Stream>> {
        discover::discover(launcher, form::configuration(config)?).await
    }

    async fn open(&self, launcher: &Launcher, sync: &SyncRequest<'_>) -> Result<Opened> {
        let (state_json, uncovered) = state::resume(sync.shared_state, &sync.streams)?;
        if !uncovered.is_empty() {
            let names = uncovered.iter().map(StreamId::to_string).collect::<Vec<_>>().join(", ");
            info!(
                "all tables are read from their start, because the connector's state does not cover {names}: it has one state for all of them"
            );
        }
        let request = UpdateRequest {
            configuration: form::configuration(sync.config)?,
            selection: Some(selection::selection(sync)?),
            state_json: Some(state_json),
        };
        let (connector, server) = server::start(launcher).await?;
        let feed = UpdateFeed::new(server::receive(server, request), sync)?;
        Ok(Opened { connector, feed: Box::new(feed) })
    }
}
