//! Whatever is killed when: after a `backfillComplete`, the collection holds what the source had in that refresh.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::airbyte::Airbyte;
use crate::capture::CaptureError;
use crate::capture::committer::Committer;
use crate::capture::document::Added;
use crate::capture::ledger::{BindingStates, Entry, Ledger, Stored};
use crate::capture::worker::Segments;
use crate::flow::codec::Writer;
use crate::json::merge::merge;
use crate::upstream::{Discovery, Mode, Payload, Rows, Stream};

const NAMES: [&str; 2] = ["resumable", "plain"];
const KEYS: [&str; 2] = ["resumable.v0", "plain.v0"];

/// The rows that the source has in its n-th refresh of a binding.
fn rows(refresh: u64) -> Vec<u64> {
    (0..5).filter(|it| !(refresh * 7 + it * 3).is_multiple_of(4)).collect()
}

/// Flow, as far as truncation concerns it.
#[derive(Default)]
struct Flow {
    state: Value,
    /// The documents of each binding: when they were written, and their rows.
    collections: [Vec<(usize, u64)>; 2],
    marks: [Option<usize>; 2],
    now: usize,
    completed: usize,
}

impl Flow {
    /// Reads a session's output up to this message; what no checkpoint follows is dropped.
    fn read(&mut self, output: &[u8], killed: Option<&Index>, refreshes: [u64; 2]) {
        let lines: Vec<Value> =
            output.split(|it| *it == b'\n').filter_map(|it| serde_json::from_slice(it).ok()).collect();
        let mut pending: Vec<Value> = Vec::new();
        for line in lines.iter().take(killed.map_or(lines.len(), |it| it.index(lines.len() + 1))) {
            let Some(state) = line.pointer("/checkpoint/state") else {
                pending.push(line.clone());
                continue;
            };
            merge(&mut self.state, state["updated"].clone());
            let is_marked = pending.iter().any(|it| it.get("captured").is_none());
            assert!(!is_marked || pending.len() == 1, "Q14: {pending:?}");
            for message in pending.drain(..) {
                self.take(&message, refreshes);
            }
        }
    }

    fn take(&mut self, message: &Value, refreshes: [u64; 2]) {
        self.now += 1;
        let (kind, body) = message.as_object().and_then(|it| it.iter().next()).unwrap();
        let binding = body["binding"].as_u64().unwrap() as usize;
        let collection = &mut self.collections[binding];
        match kind.as_str() {
            "captured" => collection.push((self.now, body["doc"]["row"].as_u64().unwrap())),
            "backfillBegin" => self.marks[binding] = Some(self.now),
            "backfillComplete" => {
                let mark = self.marks[binding].take().expect("a begin before the complete");
                collection.retain(|(at, _)| *at > mark);
                let found: BTreeSet<u64> = collection.iter().map(|it| it.1).collect();
                let wanted: BTreeSet<u64> = rows(refreshes[binding]).into_iter().collect();
                assert_eq!(found, wanted, "after refresh {} of {}", refreshes[binding], NAMES[binding]);
                self.completed += 1;
            }
            other => panic!("{other}"),
        }
    }
}

fn streams() -> [Stream; 2] {
    [true, false].map(|is_resumable| {
        let name = NAMES[usize::from(!is_resumable)];
        let declared = json!({"name": name, "supported_sync_modes": ["full_refresh"], "is_resumable": is_resumable});
        Airbyte::default().stream(RawValue::from_string(declared.to_string()).unwrap()).unwrap()
    })
}

#[derive(Clone, Debug)]
enum Step {
    Record,
    State,
    /// The rest of the rows, and that these were all.
    Complete,
}

/// A session: what the source does with which binding, whether it then reads the rest and exits with 0, and how much of the
/// output there is when the shim is killed.
type Session = (Vec<(usize, Step)>, bool, Option<Index>);

/// A refresh of the source: which one, and how many of its rows were read. Its state is this.
#[derive(Clone, Copy)]
struct Refresh {
    number: u64,
    read: usize,
    is_complete: bool,
}

impl Refresh {
    /// Reads a row; false if there are no more.
    fn read(&mut self, binding: usize, out: &mut Committer<&mut Vec<u8>>) -> bool {
        let Some(row) = rows(self.number).get(self.read).copied() else { return false };
        self.read += 1;
        let text = json!({"row": row}).to_string();
        let payload = Payload { bytes: text.as_bytes(), has_meta: false, deleted: false };
        out.document(binding, &Added::NOTHING, &payload).unwrap();
        true
    }

    fn state(&self, binding: usize) -> BindingStates {
        let state = RawValue::from_string(json!([self.number, self.read]).to_string()).unwrap();
        BindingStates { streams: vec![(binding, Some(state))], ..BindingStates::default() }
    }
}

/// Runs a session. Gives its output, and which refresh of each binding it was.
fn run(flow: &Flow, (steps, ends_well, _): &Session, started: &mut u64) -> (Vec<u8>, [u64; 2]) {
    let (streams, airbyte) = (streams(), Airbyte::default());
    let entry = |it: usize| {
        let (state_key, mode, rows) = (KEYS[it], Mode::FullRefresh, Rows::Keyed);
        Entry { state_key, mode, method: None, rows, truncates: true, stream: &streams[it] }
    };
    let state = RawValue::from_string(flow.state.to_string()).unwrap();
    let ledger = Ledger::open(Stored::parse(Some(&state)).unwrap(), &[entry(0), entry(1)], &airbyte).unwrap();
    let mut refreshes = [0, 1].map(|it| {
        let state = ledger.state(it).map(|it| serde_json::from_str(it.get()).unwrap());
        let (number, read) = state.unwrap_or_else(|| {
            *started += 1;
            (*started, 0)
        });
        Refresh { number, read, is_complete: false }
    });
    let mut output = Vec::new();
    let mut out = Committer::new(Writer::new(&mut output), ledger, vec![0, 1]);
    let fine = |it: Result<(), CaptureError>| assert!(it.is_ok(), "memory can be written");
    fine(out.begin_full_refreshes());
    for (binding, step) in steps {
        let refresh = &mut refreshes[*binding];
        match step {
            Step::Record if !refresh.is_complete => drop(refresh.read(*binding, &mut out)),
            Step::Complete if !refresh.is_complete => {
                while refresh.read(*binding, &mut out) {}
                refresh.is_complete = true;
                fine(out.full_refresh_completed(*binding));
            }
            // Also after its completion.
            Step::State => fine(out.close(refresh.state(*binding))),
            _ => {}
        }
    }
    if *ends_well {
        for (binding, refresh) in refreshes.iter_mut().enumerate() {
            while refresh.read(binding, &mut out) {}
        }
        fine(out.finish(0..2));
    }
    fine(out.flush().map_err(CaptureError::from));
    drop(out);
    (output, refreshes.map(|it| it.number))
}

fn any_session() -> impl Strategy<Value = Session> {
    let step = prop_oneof![4 => Just(Step::Record), 2 => Just(Step::State), 1 => Just(Step::Complete)];
    (proptest::collection::vec((0..2usize, step), 0..16), any::<bool>(), proptest::option::of(any::<Index>()))
}

proptest! {
    #[test]
    fn a_completed_refresh_is_all_that_is_left(sessions in proptest::collection::vec(any_session(), 1..6)) {
        let mut flow = Flow { state: json!({}), ..Flow::default() };
        let mut started = 0;
        for session in &sessions {
            let (output, refreshes) = run(&flow, session, &mut started);
            flow.read(&output, session.2.as_ref(), refreshes);
        }
        // A session that nobody kills completes both.
        let completed = flow.completed;
        let (output, refreshes) = run(&flow, &(Vec::new(), true, None), &mut started);
        flow.read(&output, None, refreshes);
        prop_assert_eq!(flow.completed, completed + 2);
    }
}
