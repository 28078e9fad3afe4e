//! What was strange about a connector's records, and how often: a warning is printed once, and the count at the end.

use std::collections::{BTreeMap, HashMap};

use tracing::warn;

use crate::json::repair::{Repair, What};
use crate::logging;
use crate::upstream::StreamId;

/// How many streams without a binding are counted by name.
const MOST_UNBOUND: usize = 100;

#[derive(Default)]
pub struct Oddities {
    /// Records of streams without a binding.
    unbound: BTreeMap<StreamId, u64>,
    /// Records of further ones.
    more_unbound: u64,
    repaired: HashMap<StreamId, HashMap<Repair, u64>>,
}

impl Oddities {
    pub fn count_unbound(&mut self, id: StreamId) {
        if let Some(count) = self.unbound.get_mut(&id) {
            *count += 1;
        } else if self.unbound.len() < MOST_UNBOUND {
            let _stream = logging::stream_span(&id);
            warn!("the connector sends records of stream {id}, which has no binding: they are ignored");
            self.unbound.insert(id, 1);
        } else {
            self.more_unbound += 1;
        }
    }

    pub fn count_repaired(&mut self, id: &StreamId, repaired: &Repair) {
        if let Some(count) = self.repaired.get_mut(id).and_then(|it| it.get_mut(repaired)) {
            *count += 1;
            return;
        }
        self.repaired.entry(id.clone()).or_default().insert(repaired.clone(), 1);
        let field = field_in_record(&repaired.field);
        let what = match repaired.what {
            What::NotANumber => {
                "NaN or Infinity, which JSON does not have, or a number too large for Flow: it becomes null"
            }
            What::Text => "text that is not Unicode (a lone surrogate or invalid UTF-8): that part becomes U+FFFD",
            What::Control => "a raw control character: it is escaped",
        };
        let _stream = logging::stream_span(id);
        warn!("stream {id}: {field} contains {what}");
    }

    /// Logs how often each of these warnings would have been printed.
    pub fn log(&self) {
        for (id, count) in &self.unbound {
            warn!("{count} records of stream {id}, which has no binding, were ignored");
        }
        if self.more_unbound > 0 {
            warn!("{} records of further streams without a binding were ignored", self.more_unbound);
        }
        for (id, repaired) in &self.repaired {
            for (repaired, count) in repaired {
                let field = field_in_record(&repaired.field);
                warn!("stream {id}: {field} was repaired in {count} records");
            }
        }
    }

    /// Warns if a sync that has ended well read others than the `unread` streams, or said nothing of any.
    pub fn warn_of_silence(&self, unread: &[String], is_silent: bool) {
        if !self.unbound.is_empty() && !unread.is_empty() {
            let sent: Vec<String> = self.unbound.keys().map(StreamId::to_string).collect();
            warn!(
                "the connector sent nothing of the captured {} but records of {}, which has no binding: if the connector renames streams, give the new name as `streams: NAME: {{alias: ...}}` in shim.yaml and backfill the binding, as its state may have moved past these records",
                some_of(unread),
                some_of(&sent)
            );
        } else if is_silent {
            warn!(
                "the connector ended without a record, state, schema or status of any captured stream ({}): it may not have understood what to read",
                some_of(unread)
            );
        }
    }
}

/// The first of some names, for a message.
pub fn some_of(names: &[String]) -> String {
    const MOST: usize = 5;
    let shown = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A field of a message as a field of its record, in either protocol.
fn field_in_record(field: &str) -> &str {
    field.strip_prefix("/record/data").or(field.strip_prefix("/record")).unwrap_or(field)
}
