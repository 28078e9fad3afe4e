//! Truncation: a backfill message stands alone in its checkpoint (Q14), comes from a shard with all keys (Q15), and completes
//! only what has begun.

use std::collections::HashSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Begin,
    Complete,
}

/// A committed message.
#[derive(Clone, Debug, PartialEq)]
pub struct Backfill {
    pub step: Step,
    pub binding: usize,
    /// Number of documents committed before it.
    pub after: usize,
}

/// The backfills of a capture.
#[derive(Default)]
pub struct Backfills {
    has_all_keys: bool,
    /// Bindings that have begun, also in an earlier session, and are not complete.
    pub begun: HashSet<usize>,
    pub committed: Vec<Backfill>,
    /// The message since the last checkpoint.
    message: Option<(Step, usize)>,
    /// There is something else since the last checkpoint.
    is_mixed: bool,
}

impl Backfills {
    pub fn new(has_all_keys: bool, begun: HashSet<usize>) -> Self {
        Self { has_all_keys, begun, ..Self::default() }
    }

    /// A document or a schema.
    pub fn other(&mut self) -> Result<(), String> {
        self.is_mixed = true;
        match self.message {
            Some((step, binding)) => {
                Err(format!("Q14: a document or schema after the backfill {step:?} of binding {binding}"))
            }
            None => Ok(()),
        }
    }

    pub fn message(&mut self, step: Step, binding: usize) -> Result<(), String> {
        let is_first = self.message.replace((step, binding)).is_none();
        let what = format!("the backfill {step:?} of binding {binding}");
        if !self.has_all_keys {
            return Err(format!("Q15: {what} comes from a shard without all keys"));
        }
        if !is_first || self.is_mixed {
            return Err(format!("Q14: {what} does not stand alone in its checkpoint"));
        }
        if step == Step::Complete && !self.begun.contains(&binding) {
            return Err(format!("{what} completes what has not begun"));
        }
        Ok(())
    }

    /// A checkpoint, with this number of documents in it and before it.
    pub fn commit(&mut self, after: usize) {
        self.is_mixed = false;
        let Some((step, binding)) = self.message.take() else { return };
        match step {
            Step::Begin => self.begun.insert(binding),
            Step::Complete => self.begun.remove(&binding),
        };
        self.committed.push(Backfill { step, binding, after });
    }
}
