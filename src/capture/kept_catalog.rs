//! The discovered streams that a sync is configured with (A10), kept in the state between sessions. Open brings only Flow's spec, and a discovery at every
//! start may take minutes: so the state keeps what was discovered for the bound streams, together with the version of
//! the capture's spec. It is discovered again when a stream is missing or the spec was published anew, which the
//! control plane does whenever it sees that the source has changed. What moves the config to where the connector wants it
//! is found in the connector's spec, and kept with the streams for the same reason.

use crate::error;
use anyhow::{Context, Result, anyhow};
use std::collections::{HashMap, HashSet};
use tracing::warn;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::flow::request::Open;
use crate::session::Session;
use crate::session::mapping::ConfigMapping;
use crate::upstream::{Resource, Stream, StreamId};

#[derive(Serialize, Deserialize)]
struct KeptCatalog {
    version: String,
    streams: Vec<Box<RawValue>>,
    /// The config mapping.
    #[serde(default, skip_serializing_if = "ConfigMapping::is_nothing")]
    way: ConfigMapping,
    /// The reduced entries of the streams without a binding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Box<RawValue>>,
}

/// The streams of a capture, as discovered.
pub struct CaptureCatalog {
    /// The stream of each binding.
    pub streams: Vec<Stream>,
    /// The reduced entries of all others, if the protocol needs them.
    pub others: Vec<Box<RawValue>>,
    pub way: ConfigMapping,
    /// What to keep for later sessions, if it has changed.
    pub refreshed: Option<Box<RawValue>>,
}

/// The kept catalog if it is still valid, else a fresh discovery.
pub async fn of(
    session: &Session,
    open: &Open,
    resources: &[Resource],
    kept: Option<&RawValue>,
) -> Result<CaptureCatalog> {
    let kept = kept.and_then(|it| serde_json::from_str::<KeptCatalog>(it.get()).ok());
    let is_current = kept.as_ref().is_some_and(|it| it.version == open.version);
    let remembered = kept.and_then(|it| {
        let known: Vec<Stream> = it.streams.into_iter().filter_map(|it| session.stream(it).ok()).collect();
        Some(CaptureCatalog { streams: pick(&known, resources).ok()?, others: it.others, way: it.way, refreshed: None })
    });
    let config = &open.capture.config;
    let discover = async || -> Result<(Vec<Stream>, ConfigMapping)> {
        let way = session.mapping(config, None).await?;
        Ok((session.streams(config, &way).await?, way))
    };
    match remembered {
        Some(mut remembered) if is_current => {
            let way = session.mapping(config, Some(&remembered.way)).await?;
            if way != remembered.way {
                remembered.way = way;
                remembered.refreshed = Some(keep(open, &remembered)?);
            }
            Ok(remembered)
        }
        Some(remembered) => match discover().await {
            Ok((discovered, way)) => refreshed(session, open, resources, &discovered, way),
            Err(failure) if error::stopped(&failure).is_some() => Err(failure),
            Err(failure) => {
                warn!("can't discover the streams again ({failure:#}): going on with what is known of them");
                Ok(remembered)
            }
        },
        None => {
            let (discovered, way) = discover().await.context("can't discover the streams to read")?;
            refreshed(session, open, resources, &discovered, way)
        }
    }
}

fn refreshed(
    session: &Session,
    open: &Open,
    resources: &[Resource],
    discovered: &[Stream],
    way: ConfigMapping,
) -> Result<CaptureCatalog> {
    let streams = pick(discovered, resources)?;
    let bound: HashSet<&StreamId> = resources.iter().map(|it| &it.id).collect();
    let unbound = discovered.iter().filter(|it| !bound.contains(&it.id));
    let others: Vec<Box<RawValue>> = unbound.filter_map(|it| session.upstream.unselected_entry(it)).collect();
    let mut catalog = CaptureCatalog { streams, others, way, refreshed: None };
    catalog.refreshed = Some(keep(open, &catalog)?);
    Ok(catalog)
}

fn keep(open: &Open, catalog: &CaptureCatalog) -> Result<Box<RawValue>> {
    let kept = KeptCatalog {
        version: open.version.clone(),
        streams: catalog.streams.iter().map(|it| it.declared.clone()).collect(),
        way: catalog.way.clone(),
        others: catalog.others.clone(),
    };
    to_raw_value(&kept).context("can't keep the discovered streams")
}

fn pick(discovered: &[Stream], resources: &[Resource]) -> Result<Vec<Stream>> {
    let known: HashMap<&StreamId, &Stream> = discovered.iter().rev().map(|it| (&it.id, it)).collect();
    let find = |resource: &Resource| {
        known.get(&resource.id).map(|it| Stream::clone(it)).ok_or_else(|| {
            let id = &resource.id;
            anyhow!("stream {id} is not at the source (any more): disable its binding, or give this user access to it")
        })
    };
    resources.iter().map(find).collect()
}
