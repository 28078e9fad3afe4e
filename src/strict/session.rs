//! An Open and the capture that answers it.

use std::collections::HashSet;

use anyhow::Result;
use rustix::process::Signal;
use serde_json::{Map, Value, json};

use super::backfills::{Backfill, Backfills, Step};
use super::process::{Event, Part, Process};
use super::wire::{self, Response};
use super::{Binding, End, Runtime, add_news, cut, rules, without_zeros};

/// Sees what a capture sends, and decides what the runtime does. Documents are kept by nobody else.
pub trait Watcher {
    /// A document, which is committed by the next checkpoint.
    fn document(&mut self, binding: usize, text: &str);

    /// A checkpoint.
    fn checkpoint(&mut self);

    fn sourced_schema(&mut self, _binding: usize, _schema: &Value) {}

    fn log(&mut self, _line: &str) {}

    /// What to do now; asked after each event, and several times per second.
    fn next(&mut self) -> Option<Then>;
}

/// What a runtime does to a connector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    Signal(Signal),
    /// Closes the connector's stdout, as if the runtime had died.
    CloseStdout,
    /// A signal to parts of flow-shim.
    SignalParts(&'static [Part], Signal),
    /// Kills these parts with SIGKILL and takes nothing that flow-shim has sent after that, as a runtime that drops a capture
    /// (F11).
    Drop(&'static [Part]),
}

/// An Open before it is sent.
pub struct Opening<'a> {
    runtime: &'a Runtime,
    request: Value,
    collections: Vec<rules::Collection>,
    state: Value,
    close_stdin: bool,
    has_all_keys: bool,
    begun: HashSet<usize>,
}

/// The result of a capture.
pub struct Session {
    /// The state after the last checkpoint.
    pub state: Value,
    pub checkpoints: usize,
    pub sourced_schemas: Vec<(usize, Value)>,
    pub backfills: Vec<Backfill>,
    /// Bindings whose backfill has begun and is not complete.
    pub begun: HashSet<usize>,
    /// [`Then::SignalParts`] found each of them.
    pub parts_found: bool,
    pub end: End,
}

impl<'a> Opening<'a> {
    pub(super) fn new(runtime: &'a Runtime, bindings: &[Binding], state: &Value) -> Self {
        let request = json!({"open": {
            "capture": runtime.capture(bindings),
            "version": "1111111111111111",
            "range": {"keyEnd": u32::MAX, "rClockEnd": u32::MAX},
            "state": state,
        }});
        Self {
            runtime,
            request,
            collections: bindings.iter().map(rules::Collection::of).collect(),
            state: state.clone(),
            close_stdin: false,
            has_all_keys: true,
            begun: HashSet::new(),
        }
    }

    /// Closes stdin after the request, which must not stop the capture (F4).
    pub fn close_stdin(mut self) -> Self {
        self.close_stdin = true;
        self
    }

    /// The `index`-th of `count` shards, which share the key space evenly (F20).
    pub fn shard(mut self, index: u32, count: u32) -> Self {
        let width = u64::from(u32::MAX) + 1;
        self.has_all_keys = count == 1;
        let at = |it: u32| width * u64::from(it) / u64::from(count);
        self.request["open"]["range"] =
            without_zeros(json!({"keyBegin": at(index), "keyEnd": at(index + 1) - 1, "rClockEnd": u32::MAX}));
        self
    }

    /// The bindings whose backfill an earlier session has begun.
    pub fn begun(mut self, begun: HashSet<usize>) -> Self {
        self.begun = begun;
        self
    }

    pub fn run(mut self, watcher: &mut dyn Watcher) -> Result<Session> {
        add_news(&mut self.request);
        let mut process = self.runtime.start()?;
        process.send(&self.request)?;
        if self.close_stdin {
            process.close_stdin();
        }
        let mut it = Capturing {
            max_document: self.runtime.max_document,
            state: self.state,
            checkpoints: 0,
            sourced_schemas: Vec::new(),
            backfills: Backfills::new(self.has_all_keys, self.begun),
            committed: 0,
            pending: 0,
            is_dirty: false,
            collections: self.collections,
            opened: false,
            parts_found: false,
            dropped: false,
        };
        let mut end =
            self.runtime.follow(process, |event, broken, process| it.on_event(event, broken, process, watcher))?;
        // A process that is killed may have ended just before.
        if end.exit.success() && !it.dropped {
            if !it.opened {
                end.broken.push("Open: it ended well and never said opened".to_owned());
            }
            if it.is_dirty {
                end.broken.push(format!(
                    "F8: a clean exit with {} documents and schemas that no checkpoint follows",
                    it.pending
                ));
            }
        }
        let Capturing { state, checkpoints, sourced_schemas, parts_found, backfills, .. } = it;
        let Backfills { committed: backfills, begun, .. } = backfills;
        Ok(Session { state, checkpoints, sourced_schemas, backfills, begun, parts_found, end })
    }
}

/// The accumulated responses of a capture.
struct Capturing {
    max_document: usize,
    state: Value,
    checkpoints: usize,
    sourced_schemas: Vec<(usize, Value)>,
    backfills: Backfills,
    /// Documents before the last checkpoint, and after it.
    committed: usize,
    pending: usize,
    /// Something was sent after the last checkpoint.
    is_dirty: bool,
    collections: Vec<rules::Collection>,
    opened: bool,
    parts_found: bool,
    /// Nothing is taken any more.
    dropped: bool,
}

impl Capturing {
    fn on_event(
        &mut self,
        event: Option<&Event>,
        broken: &mut Vec<String>,
        process: &mut Process,
        watcher: &mut dyn Watcher,
    ) {
        match event {
            Some(Event::Line(line)) if !self.dropped => {
                if let Err(why) = wire::parse(line).and_then(|response| self.take(response, line, watcher)) {
                    broken.push(why);
                }
                if line.starts_with(r#"{"checkpoint"#) {
                    process.look_at_memory();
                }
            }
            Some(Event::Log(line)) => watcher.log(line),
            _ => {}
        }
        while !self.dropped
            && let Some(then) = watcher.next()
        {
            match then {
                Then::Signal(signal) => process.signal(signal),
                Then::CloseStdout => process.close_stdout(),
                Then::SignalParts(parts, signal) => self.parts_found |= process.signal_parts(parts, signal),
                Then::Drop(parts) => {
                    process.signal_parts(parts, Signal::KILL);
                    self.dropped = true;
                }
            }
        }
    }

    fn take(&mut self, response: Response<'_>, line: &str, watcher: &mut dyn Watcher) -> Result<(), String> {
        if !std::mem::replace(&mut self.opened, true) {
            return match response {
                Response::Opened(opened) if !opened.explicit_acknowledgements => Ok(()),
                Response::Opened(_) => Err("F10: asks for acknowledgements, which are not sent".to_owned()),
                _ => Err(format!("Open: the first response is not opened: {}", cut(line))),
            };
        }
        match response {
            Response::Captured(captured) => {
                let binding = known(captured.binding, self.collections.len())?;
                let text = captured.doc.get();
                wire::check_document(text, self.max_document)?;
                watcher.document(binding, text);
                self.pending += 1;
                self.is_dirty = true;
                self.backfills.other()?;
                self.collections[binding].check(text)?;
            }
            Response::SourcedSchema(sourced) => {
                let binding = known(sourced.binding, self.collections.len())?;
                let wrong = rules::sourced(&sourced.document_schema);
                watcher.sourced_schema(binding, &sourced.document_schema);
                self.sourced_schemas.push((binding, sourced.document_schema));
                self.is_dirty = true;
                self.backfills.other()?;
                if !wrong.is_empty() {
                    return Err(wrong.join("\n"));
                }
            }
            Response::Checkpoint(checkpoint) => {
                if let Some(state) = checkpoint.state {
                    if !state.updated.is_object() {
                        return Err(format!("F8: a checkpoint whose state is not an object: {}", cut(line)));
                    }
                    let before = if state.merge_patch { std::mem::take(&mut self.state) } else { Value::Null };
                    self.state = merge_patch(before, state.updated);
                }
                watcher.checkpoint();
                self.checkpoints += 1;
                self.committed += std::mem::take(&mut self.pending);
                self.is_dirty = false;
                self.backfills.commit(self.committed);
            }
            Response::BackfillBegin(it) => self.backfill(Step::Begin, it.binding)?,
            Response::BackfillComplete(it) => self.backfill(Step::Complete, it.binding)?,
            _ => return Err(format!("Open: not a response of a capture: {}", cut(line))),
        }
        Ok(())
    }
}

impl Capturing {
    fn backfill(&mut self, step: Step, binding: u64) -> Result<(), String> {
        self.is_dirty = true;
        self.backfills.message(step, known(binding, self.collections.len())?)
    }
}

fn known(binding: u64, bindings: usize) -> Result<usize, String> {
    usize::try_from(binding)
        .ok()
        .filter(|it| *it < bindings)
        .ok_or_else(|| format!("Open: there is no binding {binding}"))
}

/// A state after a `ConnectorState` of an answer.
pub fn reduced(state: Value, change: &Value) -> Value {
    let before = if change["mergePatch"] == true { state } else { Value::Null };
    merge_patch(before, change["updated"].clone())
}

/// RFC 7396, as Flow reduces the states of checkpoints.
pub fn merge_patch(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch;
    };
    let mut target = match target {
        Value::Object(it) => it,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.shift_remove(&name);
        } else {
            let before = target.get_mut(&name).map_or(Value::Null, Value::take);
            target.insert(name, merge_patch(before, value));
        }
    }
    Value::Object(target)
}
