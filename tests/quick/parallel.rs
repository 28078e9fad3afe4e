//! Several processes of a connector (`parallel`), and several shards of a capture (F20).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use regex::Regex;
use rustix::process::Signal;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use flow_shim::strict::Part;

use crate::runtime::{Binding, Runtime, Session, Then, When};

const MANY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/many-source");

/// A capture of the streams of `many-source`.
struct Capture {
    folder: TempDir,
    config: Value,
    bindings: Vec<Binding>,
    /// The committed documents of each stream, in order.
    committed: BTreeMap<String, Vec<Value>>,
}

impl Capture {
    /// `streams` and how many records each has; `shim` is a shim.yaml.
    fn new(streams: &[(&str, u64)], more: Value) -> Self {
        let counts: Map<String, Value> =
            streams.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        let mut config = json!({"streams": counts, "every": 3});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let binding = |(name, _): &(&str, u64)| match name.starts_with("full") {
            true => Binding::new(name, "full_refresh"),
            false => Binding::new(name, "incremental").key(["/n"]),
        };
        let bindings = streams.iter().map(binding).collect();
        Self { folder: tempfile::tempdir().unwrap(), config, bindings, committed: BTreeMap::new() }
    }

    fn runtime(&self, parallel: &str) -> Runtime {
        let shim = format!("command: [{MANY}]\nparallel: {parallel}\n");
        std::fs::write(self.folder.path().join("shim.yaml"), shim).unwrap();
        Runtime::shim(["--shim".as_ref(), self.folder.path()]).config(self.config.clone())
    }

    /// Adds what a session has committed.
    fn keep(&mut self, session: &Session) {
        for document in &session.documents {
            let name = self.bindings[document.binding].name();
            self.committed.entry(name).or_default().push(serde_json::from_str(&document.text).unwrap());
        }
    }

    /// The state of each stream.
    fn states(&self, state: &Value) -> BTreeMap<String, Value> {
        let cells = state["bindingStateV1"].as_object().unwrap();
        cells.iter().map(|(key, cell)| (key.clone(), cell.clone())).collect()
    }

    /// Each record of each incremental stream was committed once, in order.
    fn assert_complete(&self) {
        for (name, count) in self.config["streams"].as_object().unwrap() {
            let found = self.committed.get(name).map_or(&[][..], Vec::as_slice);
            let numbers: Vec<u64> = found.iter().map(|it| it["n"].as_u64().unwrap()).collect();
            let wanted: Vec<u64> = (1..=count.as_u64().unwrap()).collect();
            assert_eq!(numbers, wanted, "{name}");
            let row_ids: Vec<u64> = found.iter().map(|it| it["_meta"]["row_id"].as_u64().unwrap()).collect();
            assert_eq!(row_ids, wanted, "row ids of {name}");
        }
    }
}

fn logs(session: &Session) -> String {
    session.end.logs.iter().map(|it| format!("{}\n", it.message)).collect()
}

const STREAMS: &[(&str, u64)] =
    &[("a", 40), ("b", 300), ("c", 7), ("d", 0), ("e", 120), ("full_f", 31), ("g", 64), ("full_h", 5)];

/// The processes wait for each other, so it ends only if they run at the same time.
#[test]
fn streams_are_divided_among_processes() {
    let mut one = Capture::new(STREAMS, json!({}));
    let serial = one.runtime("1").open(&one.bindings, &json!({})).run().expect_clean();
    one.keep(&serial);
    one.assert_complete();
    for processes in ["2", "4", "8"] {
        let count: u64 = processes.parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut it = Capture::new(STREAMS, json!({"meet": count, "folder": folder.path()}));
        let session = it.runtime(processes).open(&it.bindings, &json!({})).run().expect_clean();
        it.keep(&session);
        it.assert_complete();
        assert_eq!(it.states(&session.state), one.states(&serial.state), "the union of the states");
        // A second session, with the sizes of the first: as many shares as processes.
        let again = it.runtime(processes).open(&it.bindings, &session.state).run().expect_clean();
        let names: BTreeSet<String> =
            again.documents.iter().map(|document| it.bindings[document.binding].name()).collect();
        assert_eq!(names, BTreeSet::from(["full_f", "full_h"].map(str::to_owned)));
    }
}

#[test]
fn whatever_is_killed_nothing_is_lost() {
    assert_kills_lose_nothing(10);
}

#[test]
#[ignore = "needs faults: tests/run --faults"]
fn fifty_kills_lose_nothing() {
    assert_kills_lose_nothing(50);
}

/// A kill at any point of a session of eight processes loses nothing and doubles nothing, as the source resumes exactly.
fn assert_kills_lose_nothing(kills: usize) {
    let size = kills as u64 / 10;
    let streams: Vec<(String, u64)> = (0..12).map(|it| (format!("s{it}"), size * (20 + 13 * it))).collect();
    let streams: Vec<(&str, u64)> = streams.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let mut it = Capture::new(&streams, json!({}));
    let mut state = json!({});
    for kill in 0..kills {
        let then = [Then::Drop(&[Part::Shim]), Then::Signal(Signal::TERM), Then::Signal(Signal::KILL)][kill % 3];
        let documents = kill * 101 % 150 + 1;
        let session = it.runtime("8").open(&it.bindings, &state).when(When::Documents(documents), then).run();
        it.keep(&session);
        state = session.state.clone();
    }
    let session = it.runtime("8").open(&it.bindings, &state).run().expect_clean();
    it.keep(&session);
    it.assert_complete();
    let serial = it.runtime("1").open(&it.bindings, &json!({})).run().expect_clean();
    assert_eq!(it.states(&session.state), it.states(&serial.state));
}

#[test]
fn a_failing_process_stops_the_others_after_their_states() {
    let folder = tempfile::tempdir().unwrap();
    let it = Capture::new(&[("a", 600), ("b", 90)], json!({"fails": "b", "waits": "a", "folder": folder.path()}));
    let session = it.runtime("2").open(&it.bindings, &json!({})).run();
    assert_eq!(session.end.exit.code(), Some(1), "{}", logs(&session));
    assert!(session.end.last_message().contains("b can't be read"), "{}", session.end.last_message());
    assert_eq!(session.end.broken, [""; 0]);
    assert_eq!(session.state["bindingStateV1"]["b.v0"]["state"], json!([{"n": 45}]));
    assert_eq!(session.state["bindingStateV1"]["a.v0"]["state"], json!([{"n": 300}]));
    assert_eq!(session.documents_of(0).count(), 300);
}

#[test]
fn a_stop_commits_what_the_states_cover() {
    let folder = tempfile::tempdir().unwrap();
    let it = Capture::new(&[("a", 600), ("b", 90)], json!({"waits": "a", "folder": folder.path()}));
    let runtime = it.runtime("2");
    let opening = runtime.open(&it.bindings, &json!({})).when(When::Documents(390), Then::Signal(Signal::TERM));
    let session = opening.run().expect_clean();
    assert_eq!((session.documents_of(0).count(), session.documents_of(1).count()), (300, 90));
}

/// That a source keeps one state for all streams may only show when it sends one.
#[test]
fn a_source_with_a_global_state_runs_as_one_process() {
    let mut it = Capture::new(&[("a", 40), ("b", 30), ("c", 20)], json!({"global": true}));
    let first = it.runtime("3").open(&it.bindings, &json!({})).run().expect_clean();
    assert_eq!(first.documents, []);
    assert!(logs(&first).contains("one process reads them all"), "{}", logs(&first));
    let second = it.runtime("3").open(&it.bindings, &first.state).run().expect_clean();
    assert!(logs(&second).contains("`parallel` has no effect"), "{}", logs(&second));
    it.keep(&second);
    it.assert_complete();
    // Without the note, the state itself says so.
    let mut state = second.state;
    state.as_object_mut().unwrap().remove("oneStateV1");
    let third = it.runtime("3").open(&it.bindings, &state).run().expect_clean();
    assert!(logs(&third).contains("`parallel` has no effect"), "{}", logs(&third));
}

/// The shards of a capture. Flow keeps a state for each of them.
struct Shards {
    capture: Capture,
    /// The state of each shard.
    states: Vec<Value>,
}

impl Shards {
    /// Runs all shards side by side.
    fn run(&mut self) {
        let count = self.states.len() as u32;
        let runtime = self.capture.runtime("2");
        let sessions: Vec<Session> = std::thread::scope(|scope| {
            let run = |(index, state): (usize, &Value)| {
                let (runtime, bindings, state) = (&runtime, &self.capture.bindings, state.clone());
                scope.spawn(move || runtime.open(bindings, &state).shard(index as u32, count).run().expect_clean())
            };
            let running: Vec<_> = self.states.iter().enumerate().map(run).collect();
            running.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let mut read = HashSet::new();
        for (state, session) in self.states.iter_mut().zip(sessions) {
            let of_session: HashSet<usize> = session.documents.iter().map(|it| it.binding).collect();
            assert!(read.is_disjoint(&of_session), "a binding was read by two shards");
            read.extend(of_session);
            self.capture.keep(&session);
            *state = session.state;
        }
    }

    /// Each shard is split in two, which begin with a copy of its state.
    fn split(&mut self) {
        self.states = self.states.iter().flat_map(|it| [it.clone(), it.clone()]).collect();
    }

    /// Each two shards become one, which has the state of both.
    fn join(&mut self) {
        let advanced = |it: &Value| it["state"][0]["n"].as_u64().unwrap_or(0);
        self.states = self
            .states
            .chunks(2)
            .map(|pair| {
                let mut joined = pair[0].clone();
                for (key, cell) in pair[1]["bindingStateV1"].as_object().unwrap() {
                    let mine = &mut joined["bindingStateV1"][key];
                    if advanced(cell) > advanced(mine) {
                        *mine = cell.clone();
                    }
                }
                joined
            })
            .collect();
    }
}

#[test]
fn shards_share_the_streams() {
    let names: Vec<String> = (0..64).map(|it| format!("stream_{it}")).collect();
    let streams: Vec<(&str, u64)> = names.iter().map(|it| (it.as_str(), 10)).collect();
    let mut shards = Shards { capture: Capture::new(&streams, json!({})), states: vec![json!({})] };
    let steps: [fn(&mut Shards); 5] = [Shards::split, Shards::split, Shards::split, Shards::join, Shards::join];
    shards.run();
    for (step, change) in steps.into_iter().enumerate() {
        change(&mut shards);
        // Each stream has ten more records.
        let count = json!(10 * (step + 2));
        for it in shards.capture.config["streams"].as_object_mut().unwrap().values_mut() {
            *it = count.clone();
        }
        shards.run();
    }
    shards.capture.assert_complete();
}

#[test]
fn with_a_global_state_one_shard_reads_everything() {
    let mut it = Capture::new(&[("a", 40), ("b", 30), ("c", 20), ("d", 20)], json!({"global": true}));
    let whole = it.runtime("1").open(&it.bindings, &json!({})).run().expect_clean();
    it.keep(&whole);
    for stream in ["a", "b", "c", "d"] {
        it.config["streams"][stream] = json!(50);
    }
    let runtime = it.runtime("1");
    let first = runtime.open(&it.bindings, &whole.state).shard(0, 2).run().expect_clean();
    assert!(logs(&first).contains("reads all 4 streams, and the others stay idle"), "{}", logs(&first));
    let idle = When::Log(Regex::new("stays idle: the one that begins at key 0 reads all streams").unwrap());
    let opening = runtime.open(&it.bindings, &whole.state).shard(1, 2).when(idle, Then::Signal(Signal::TERM));
    assert_eq!(opening.run().expect_clean().documents, []);
    it.keep(&first);
    it.assert_complete();
}
