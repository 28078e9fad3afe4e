//! What a sync is going to read: the streams of this shard's bindings, their settings and their states.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Write;

use anyhow::Result;
use serde_json::value::RawValue;
use tracing::{info, warn};

use super::assign;
use super::bound_stream::BoundStream;
use super::committer::Committer;
use super::kept_catalog;
use super::ledger::{Entry, Ledger, Stored};
use super::oddities::some_of;
use super::record_key::RecordKey;
use super::refresh;
use super::worker::Worker;
use crate::flow::codec::{LONGEST_MESSAGE, Writer};
use crate::flow::request::{Binding, Open};
use crate::json::watch::Watchlist;
use crate::logging;
use crate::process::activity::Activity;
use crate::session::Session;
use crate::session::mapping::ConfigMapping;
use crate::upstream::{Opened, Resource, Selected, Stream, StreamId, SyncRequest};

pub struct Plan {
    pub config: Box<RawValue>,
    /// What moved the config to where the connector wants it.
    pub way: ConfigMapping,
    /// The bindings that this shard reads, and their streams.
    pub resources: Vec<Resource>,
    pub streams: Vec<Stream>,
    /// The reduced entries of all other streams, if the protocol needs them.
    others: Vec<Box<RawValue>>,
    /// Processes of the connector may each read some of the streams; if not, why not.
    divisible: Result<(), &'static str>,
    /// Other shards read other bindings.
    is_partial: bool,
}

const ONE_STATE: &str = "the connector keeps one state for all its streams";
const ONE_LOG: &str = "it reads the log of a database, which one process has to do for all streams";

/// What a session has to do.
pub enum Task<W> {
    /// The capture has no bindings.
    Nothing,
    /// Other shards read everything.
    Idle,
    /// The worker has everything that is to be read.
    Read(Box<(Plan, Worker<Committer<W>>)>),
}

impl Plan {
    /// Finds the streams to read.
    pub async fn find<W: Write>(session: &Session, open: &Open, out: Writer<W>) -> Result<Task<W>> {
        let spec = &open.capture;
        if spec.bindings.is_empty() {
            warn!("the capture has no bindings: there is nothing to do");
            return Ok(Task::Nothing);
        }
        let upstream = session.upstream.as_ref();
        let resources: Vec<Resource> =
            spec.bindings.iter().map(|it| upstream.resource(&it.resource_config)).collect::<Result<_, _>>()?;
        assign::one_binding_per_stream(&resources)?;
        let mut stored = Stored::parse(open.state.as_deref())?;
        let range = open.range.as_ref();
        if !assign::begins_at_zero(range) && !stored.is_divisible(upstream) {
            return Ok(idle(Err(ONE_STATE)));
        }
        if !assign::begins_at_zero(range) && assign::of_range(range, &resources, true).is_empty() {
            return Ok(idle(Ok(())));
        }
        let mut catalog = kept_catalog::of(session, open, &resources, stored.catalog()).await?;
        let all = spec.bindings.iter().zip(&resources).map(|(binding, it)| (binding.state_key.as_str(), &it.id));
        stored.take_over(&all.collect::<Vec<(&str, &StreamId)>>(), upstream)?;
        let divisible = if !stored.is_divisible(upstream) {
            Err(ONE_STATE)
        } else if catalog.streams.iter().zip(&resources).any(|(stream, it)| upstream.reads_log(stream, it)) {
            Err(ONE_LOG)
        } else {
            Ok(())
        };
        let numbers = assign::of_range(range, &resources, divisible.is_ok());
        if numbers.is_empty() {
            return Ok(idle(divisible));
        }
        let is_partial = !assign::has_all_keys(range);
        if is_partial {
            let (count, total) = (numbers.len(), resources.len());
            logging::connector_status(&match divisible {
                Ok(()) => format!("this shard reads {count} of {total} streams"),
                Err(why) => format!("this shard reads all {total} streams, and the others stay idle, as {why}"),
            });
        }

        let refreshed = catalog.refreshed.take();
        let truncating = refresh::truncating(&session.settings, upstream.full_refresh_policy(), range, &resources);
        let read: HashSet<usize> = numbers.iter().copied().collect();
        let mut others = catalog.others;
        let (mut bindings, mut streams, mut kept): (Vec<&Binding>, _, _) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (stream, resource)) in catalog.streams.into_iter().zip(resources).enumerate() {
            if read.contains(&number) {
                bindings.push(&spec.bindings[number]);
                streams.push(stream);
                kept.push(resource);
            } else {
                others.extend(upstream.unselected_entry(&stream));
            }
        }
        let resources = kept;

        let mut watched = Watchlist::default();
        let rules = &session.settings.streams;
        let bound = |(binding, resource): (&&Binding, &Resource)| {
            let (key, options) = (spec.key(binding), rules.of(&resource.id).as_ref().clone());
            let record_key = RecordKey::new(key, &mut watched, spec.write_schema(binding));
            BoundStream::new(resource.id.clone(), resource.mode, key, record_key, rules.schema, options)
        };
        let bound_streams: Vec<BoundStream> = bindings.iter().zip(&resources).map(bound).collect();
        let entry = |it: usize| Entry {
            state_key: &bindings[it].state_key,
            mode: resources[it].mode,
            method: resources[it].method,
            rows: bound_streams[it].rows,
            truncates: truncating[numbers[it]],
            stream: &streams[it],
        };
        let entries: Vec<Entry> = (0..bindings.len()).map(entry).collect();
        let mut ledger = Ledger::open(stored, &entries, upstream)?;
        if let Some(catalog) = refreshed {
            ledger.keep_catalog(catalog);
        }
        let max_document = session.settings.max_document.min(LONGEST_MESSAGE);
        let committer = Committer::new(out, ledger, numbers);
        let worker = Worker::new(committer, bound_streams, watched, max_document, Activity::default());
        let config = session.endpoint.to_connector(&spec.config, &catalog.way)?;
        let plan = Self { config, way: catalog.way, resources, streams, others, divisible, is_partial };
        Ok(Task::Read(Box::new((plan, worker))))
    }

    /// How the streams are divided among processes; none if one process reads them all and need not be held back.
    pub fn shares(&self, session: &Session, ledger: &Ledger) -> Option<Vec<Vec<usize>>> {
        let processes = session.settings.parallel.processes();
        if let Err(why) = self.divisible {
            if processes > 1 {
                info!("`parallel` has no effect, as {why}");
            }
            return None;
        }
        let sizes: Vec<u64> = (0..self.resources.len()).map(|it| ledger.size(it)).collect();
        // Where nothing is known of the sizes, a process that had little to read takes another share.
        let count = if sizes.iter().all(|it| *it == 0) && processes > 1 { 2 * processes } else { processes };
        let shares = assign::shares(&sizes, count);
        (shares.len() > 1 || self.is_partial).then_some(shares)
    }

    /// The names of these streams, for people.
    pub fn names(&self, share: &[usize]) -> String {
        some_of(&share.iter().map(|&it| self.streams[it].id.to_string()).collect::<Vec<_>>())
    }

    /// Starts a process that reads these streams.
    pub async fn open(
        &self,
        session: &Session,
        share: &[usize],
        ledger: &Ledger,
        activity: &Activity,
    ) -> Result<Opened> {
        let selected = |(index, &it): (usize, &usize)| Selected {
            stream: &self.streams[it],
            resource: &self.resources[it],
            state: ledger.state(index),
            fresh: ledger.cells[index].fresh,
        };
        // One process reads them all, mostly: then nothing is left out, and nothing copied.
        let others = if share.len() == self.streams.len() {
            Cow::Borrowed(&self.others)
        } else {
            let read: HashSet<usize> = share.iter().copied().collect();
            let left_out = (0..self.streams.len()).filter(|it| !read.contains(it));
            let left_out = left_out.filter_map(|it| session.upstream.unselected_entry(&self.streams[it]));
            Cow::Owned(self.others.iter().cloned().chain(left_out).collect())
        };
        let request = SyncRequest {
            config: &self.config,
            streams: share.iter().enumerate().map(selected).collect(),
            others: &others,
            shared_state: ledger.shared(),
            spec: session.known_spec(),
            activity: activity.clone(),
        };
        session.upstream.open(&session.launcher, &request).await
    }
}

fn idle<W>(divisible: Result<(), &'static str>) -> Task<W> {
    logging::connector_status(&match divisible {
        Ok(()) => "this shard stays idle: no stream is in its key range".to_owned(),
        Err(why) => format!("this shard stays idle: the one that begins at key 0 reads all streams, as {why}"),
    });
    Task::Idle
}
