//! The report: a verdict, from the runs that have been made so far.

use std::collections::HashSet;
use std::ops::Not;

use serde::Serialize;

use super::compare::{Difference, Reference};
use super::run::{Ended, Kill, Point, Run, Victim};
use super::stream::{ROW_ID, Stream};
use crate::secrets;
use crate::terminal::figures::plural;
use crate::upstream::Mode;

/// The runs that have been made.
#[derive(Default)]
pub struct Proof {
    pub first: Option<Run>,
    pub second: Option<Run>,
    /// From the state that the first one ended with.
    pub continued: Option<Run>,
    pub killed: Vec<Killed>,
    /// Made only if documents seem to be lost: the source itself may have dropped them.
    pub confirmed: Option<Run>,
    /// Why a run that nobody disturbed failed.
    pub failure: Option<String>,
    /// Ctrl-C.
    pub is_stopped: bool,
    /// Rules that the answers to unary requests broke.
    pub broken: Vec<String>,
}

/// A run that was to be killed, and the one that resumed from what it had committed.
pub struct Killed {
    pub kill: Kill,
    pub run: Run,
    /// `None` if the kill came too late.
    pub resumed: Option<Run>,
}

/// Member names are stable, as programs read them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    #[serde(flatten)]
    pub connector: Connector,
    pub verdict: Verdict,
    /// Why a run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub runs: Made,
    pub streams: Vec<StreamReport>,
    /// What can be expected of a connector.
    pub promises: Vec<Promise>,
    /// What flow-shim made up for.
    pub made_up_for: Vec<String>,
    pub kills: Vec<KillReport>,
    /// Rules of Flow that were broken.
    pub broken_rules: Vec<String>,
}

#[derive(Serialize)]
pub struct Connector {
    pub protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    NothingLost,
    Lost,
    /// The capture fails.
    Failed,
    /// Nothing was lost, but a rule of Flow was broken.
    RulesBroken,
    /// Too little was read, or nothing was disturbed.
    Unproven,
    /// No documents.
    Empty,
}

/// The runs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    pub undisturbed: usize,
    pub continued: usize,
    pub killed: usize,
    /// Documents after which a run was ended.
    pub limit: u64,
    /// What ended the undisturbed runs, if they did not end by themselves: `limit` or `timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Not::not")]
    pub stopped: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamReport {
    pub name: String,
    pub key: Vec<String>,
    pub verdict: Verdict,
    /// Committed by the first undisturbed run.
    pub documents: usize,
    pub lost: usize,
    pub unknown: usize,
    pub repeated: usize,
    pub out_of_order: usize,
    /// It continues from its state. A completed full refresh starts over, and tells nothing.
    pub resumes: Option<bool>,
    pub same_order: Option<bool>,
    pub same_values: Option<bool>,
    /// Where a document differs from the schema that the source declares.
    pub differs_from_schema: Option<String>,
}

#[derive(Serialize)]
pub struct Promise {
    pub name: &'static str,
    /// `null` if it can't be told.
    pub kept: Option<bool>,
    /// The streams that do not keep it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KillReport {
    /// `flow-shim` or `connector`.
    pub killed: &'static str,
    pub after_documents: u64,
    /// Right after a checkpoint.
    pub at_checkpoint: bool,
    /// False if the run had ended before.
    pub took_effect: bool,
    pub committed: u64,
    pub uncommitted: u64,
    /// Documents of the run that resumed.
    pub resumed: u64,
    pub lost: usize,
}

impl Report {
    /// Documents that were lost in all runs together.
    pub fn lost(&self) -> usize {
        self.streams.iter().map(|it| it.lost).sum()
    }

    /// Rows that a collection has more than once.
    pub fn duplicated(&self) -> usize {
        self.streams.iter().filter(|it| it.is_by_row_id()).map(|it| it.repeated).sum()
    }
}

impl StreamReport {
    pub fn is_by_row_id(&self) -> bool {
        self.key == [ROW_ID]
    }
}

impl Killed {
    fn report(&self, lost: usize) -> KillReport {
        let (committed, uncommitted) = (self.run.documents(), self.run.uncommitted);
        KillReport {
            killed: match self.kill.victim {
                Victim::Shim => "flow-shim",
                Victim::Connector => "connector",
                Victim::ShimAndKeeper => "flow-shim and its keeper",
            },
            after_documents: self.kill.documents,
            at_checkpoint: matches!(self.kill.after, Point::Checkpoints(_)),
            took_effect: self.resumed.is_some(),
            committed,
            uncommitted,
            resumed: self.resumed.as_ref().map_or(0, Run::documents),
            lost,
        }
    }
}

impl Proof {
    /// Notes that a run failed; `None` after Ctrl-C.
    pub fn note(&mut self, run: Run) -> Option<Run> {
        match &run.ended {
            Ended::Stopped => {
                self.is_stopped = true;
                return None;
            }
            Ended::Failed(reason) => self.failure = Some(secrets::redacted(reason).into_owned()),
            _ => {}
        }
        Some(run)
    }

    /// No further run is of use.
    pub fn is_over(&self) -> bool {
        self.is_stopped || self.failure.is_some()
    }

    /// The undisturbed runs as the others are compared with them.
    pub fn references(&self, streams: &[Stream]) -> Option<Vec<Reference>> {
        let (first, second) = (self.first.as_ref()?, self.second.as_ref()?);
        let is_cut = [first, second].iter().any(|it| it.ended != Ended::ByItself);
        let each = streams.iter().zip(first.committed.iter().zip(&second.committed));
        let mut all: Vec<_> =
            each.map(|(it, (first, second))| Reference::new(first, second, it.by_row_id, is_cut)).collect();
        if let Some(continued) = &self.continued {
            all.iter_mut().zip(&continued.committed).for_each(|(it, continued)| it.drop_deleted(continued));
        }
        if let Some(third) = &self.confirmed {
            all.iter_mut().zip(&third.committed).for_each(|(it, third)| it.confirm(third));
        }
        Some(all)
    }

    pub fn report(&self, connector: Connector, streams: &[Stream], limit: u64) -> Report {
        let references = self.references(streams);
        let mut lost_by_kill = vec![0; self.killed.len()];
        let stream_reports: Vec<StreamReport> = streams
            .iter()
            .enumerate()
            .map(|(index, stream)| {
                let reference = references.as_ref().map(|it| &it[index]);
                self.stream(stream, index, reference, &mut lost_by_kill)
            })
            .collect();
        let broken_rules = self.broken_rules();
        let first_end = self.first.as_ref().map(|it| &it.ended);
        Report {
            connector,
            verdict: self.verdict(&stream_reports, &broken_rules),
            failure: self.failure.clone(),
            runs: Made {
                undisturbed: [&self.first, &self.second, &self.confirmed].iter().filter(|it| it.is_some()).count(),
                continued: usize::from(self.continued.is_some()),
                killed: self.killed.len(),
                limit,
                ended_by: match first_end {
                    Some(Ended::Enough) => Some("limit"),
                    Some(Ended::Time) => Some("timeout"),
                    _ => None,
                },
                stopped: self.is_stopped,
            },
            promises: self.promises(&stream_reports),
            made_up_for: self.made_up_for(streams, &stream_reports, &broken_rules),
            kills: self.killed.iter().zip(lost_by_kill).map(|(it, lost)| it.report(lost)).collect(),
            streams: stream_reports,
            broken_rules,
        }
    }

    /// Whether a killed run and its successor lack documents of the undisturbed runs.
    pub fn seems_to_lose(&self, streams: &[Stream]) -> bool {
        let mut lost = vec![0; self.killed.len()];
        let references = self.references(streams).unwrap_or_default();
        for (index, (stream, reference)) in streams.iter().zip(&references).enumerate() {
            self.stream(stream, index, Some(reference), &mut lost);
        }
        lost.iter().any(|it| *it > 0)
    }

    fn stream(
        &self,
        stream: &Stream,
        index: usize,
        reference: Option<&Reference>,
        lost_by_kill: &mut [usize],
    ) -> StreamReport {
        let mut total = Difference::default();
        let mut is_disturbed = false;
        // (documents committed before, sent again after)
        let mut resent = Vec::new();
        let first = self.first.as_ref().map(|it| it.committed[index].as_slice()).unwrap_or_default();
        for (killed, lost) in self.killed.iter().zip(lost_by_kill) {
            let (Some(reference), Some(resumed)) = (reference, &killed.resumed) else { continue };
            let (before, after) = (&killed.run.committed[index], &resumed.committed[index]);
            let it = reference.compare(before, after, resumed.ended == Ended::ByItself);
            is_disturbed = true;
            *lost += it.lost;
            total.lost += it.lost;
            total.unknown += it.unknown;
            total.repeated += it.repeated;
            total.out_of_order += it.out_of_order;
            if stream.mode == Mode::Incremental || !reference.is_complete(before) {
                resent.push(reference.resent(before, after));
            }
        }
        if let (Some(reference), Some(continued), Mode::Incremental) = (reference, &self.continued, stream.mode) {
            resent.push(reference.resent(first, &continued.committed[index]));
        }
        // Sources may send the last document once more, so one alone tells nothing.
        resent.retain(|(committed, _)| *committed > 1);
        StreamReport {
            name: stream.name.clone(),
            key: stream.binding.key.clone(),
            verdict: match (first.len(), total) {
                (_, Difference { lost: 1.., .. } | Difference { out_of_order: 1.., .. }) => Verdict::Lost,
                (0, _) if self.first.is_some() => Verdict::Empty,
                (_, Difference { unknown: 1.., .. }) => Verdict::Unproven,
                _ if !is_disturbed => Verdict::Unproven,
                _ => Verdict::NothingLost,
            },
            documents: first.len(),
            lost: total.lost,
            unknown: total.unknown,
            repeated: total.repeated,
            out_of_order: total.out_of_order,
            resumes: resent.is_empty().not().then(|| resent.iter().any(|(committed, again)| again < committed)),
            same_order: reference.and_then(|it| it.same_order),
            same_values: reference.and_then(|it| it.same_values),
            differs_from_schema: self.first.as_ref().and_then(|it| it.violations[index].clone()),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Run> {
        let killed = self.killed.iter().flat_map(|it| [Some(&it.run), it.resumed.as_ref()]);
        let others = [&self.first, &self.second, &self.continued, &self.confirmed].map(Option::as_ref);
        others.into_iter().chain(killed).flatten()
    }

    fn broken_rules(&self) -> Vec<String> {
        let mut all = self.broken.clone();
        all.extend(self.all().flat_map(|it| it.broken.iter().cloned()));
        let mut seen = HashSet::new();
        all.retain(|it| seen.insert(it.clone()));
        all
    }

    fn verdict(&self, streams: &[StreamReport], broken: &[String]) -> Verdict {
        let any = |verdict| streams.iter().any(|it| it.verdict == verdict);
        if any(Verdict::Lost) {
            Verdict::Lost
        } else if self.failure.is_some() {
            Verdict::Failed
        } else if !broken.is_empty() {
            Verdict::RulesBroken
        } else if self.is_stopped || any(Verdict::Unproven) {
            Verdict::Unproven
        } else if any(Verdict::NothingLost) {
            Verdict::NothingLost
        } else {
            Verdict::Empty
        }
    }

    fn promises(&self, streams: &[StreamReport]) -> Vec<Promise> {
        let each = |name, kept: &dyn Fn(&StreamReport) -> Option<bool>| {
            let failing = streams.iter().filter(|it| kept(it) == Some(false)).map(|it| it.name.clone());
            let failing: Vec<String> = failing.collect();
            let is_known = streams.iter().any(|it| kept(it).is_some());
            Promise { name, kept: is_known.then_some(failing.is_empty()), streams: failing }
        };
        let whole = |name, kept| Promise { name, kept, streams: Vec::new() };
        let first = self.first.as_ref();
        vec![
            each("stateAfterRecords", &|it| match it.verdict {
                Verdict::NothingLost => Some(true),
                Verdict::Lost => Some(false),
                _ => None,
            }),
            each("resumesFromItsState", &|it| it.resumes),
            each("sameOrder", &|it| it.same_order),
            each("sameValues", &|it| it.same_values),
            each("matchesItsSchema", &|it| (it.documents > 0).then_some(it.differs_from_schema.is_none())),
            whole(
                "endsByItself",
                first.and_then(|it| match it.ended {
                    Ended::ByItself => Some(true),
                    Ended::Time => Some(false),
                    _ => None,
                }),
            ),
            whole("noSecretsInLogs", first.map(|_| !self.all().any(|it| it.secrets_redacted))),
        ]
    }

    fn made_up_for(&self, streams: &[Stream], reports: &[StreamReport], broken: &[String]) -> Vec<String> {
        let mut all = Vec::new();
        let row_ids: Vec<&str> = streams.iter().filter(|it| it.by_row_id).map(|it| it.name.as_str()).collect();
        if !row_ids.is_empty() {
            all.push(format!("no key that Flow can use: row ids ({})", names(&row_ids)));
        }
        let uncommitted = self.killed.iter().map(|it| it.run.uncommitted).sum::<u64>();
        if uncommitted > 0 {
            let documents = plural(uncommitted as usize, "document");
            all.push(format!(
                "{documents} that no state had followed at a kill: not committed, so that they come again"
            ));
        }
        let repeated: usize = reports.iter().filter(|it| !it.is_by_row_id()).map(|it| it.repeated).sum();
        if repeated > 0 {
            all.push(format!("{} repeated after a kill: merged by key", plural(repeated, "document")));
        }
        if self.all().any(|it| it.secrets_redacted) {
            all.push("secrets in the connector's log lines: redacted".to_owned());
        }
        let is_left = |it: &String| it.starts_with("files:") || it.starts_with("orphans:");
        if self.killed.iter().any(|it| it.resumed.is_some()) && !broken.iter().any(is_left) {
            all.push("private files and processes of killed runs: removed".to_owned());
        }
        all
    }
}

/// The first names.
pub fn names<T: AsRef<str>>(all: &[T]) -> String {
    let mut text = all.iter().take(3).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if all.len() > 3 {
        text += &format!(" and {} more", all.len() - 3);
    }
    text
}
