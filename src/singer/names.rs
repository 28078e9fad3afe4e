//! Finds the stream that a message means: a stream's identity is its `tap_stream_id`, but messages carry its `stream`
//! name, which two streams may share (S5), or a name that the tap is configured to use instead (S14).

use anyhow::Result;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::catalog::Entry;
use crate::upstream::{Broken, SyncRequest};

pub struct Names {
    /// The bound streams, by their id.
    bound: HashSet<String>,
    /// The ids that a name may mean; empty if all messages carry ids.
    meant: HashMap<String, Vec<String>>,
    /// The stream that the tap is reading, according to its last state.
    current: Option<String>,
    last: Last,
}

/// The last record's stream and the id it was resolved to, as JSON strings: the next record usually has the same.
#[derive(Default)]
struct Last {
    said: Vec<u8>,
    meant: Vec<u8>,
}

impl Names {
    /// `all`: the tap gets no catalog, and may send records of any of its streams. `aliases` are the names that shim.yaml
    /// gives for streams in messages, by id.
    pub fn new(sync: &SyncRequest, all: bool, aliases: &BTreeMap<String, String>) -> Result<Self> {
        let mut entries = Vec::new();
        for selected in &sync.streams {
            entries.push(Entry::parse(&selected.stream.declared)?);
        }
        let bound = entries.iter().map(|it| it.id().to_owned()).collect();
        for unselected_entry in sync.others.iter().filter(|_| all) {
            entries.push(Entry::parse(unselected_entry)?);
        }
        let mut meant: HashMap<String, Vec<String>> = HashMap::new();
        if entries.iter().any(|it| it.id() != it.name()) {
            for entry in &entries {
                meant.entry(entry.id().to_owned()).or_default().push(entry.id().to_owned());
                if entry.name() != entry.id() {
                    meant.entry(entry.name().to_owned()).or_default().push(entry.id().to_owned());
                }
            }
        }
        for entry in &entries {
            if let Some(alias) = aliases.get(entry.id()) {
                meant.entry(alias.clone()).or_default().push(entry.id().to_owned());
            }
        }
        Ok(Self { bound, meant, current: None, last: Last::default() })
    }

    pub fn is_bound(&self, id: &str) -> bool {
        self.bound.contains(id)
    }

    /// The id of the stream that a name in a message means.
    pub fn resolve(&self, name: &str) -> Result<String, Broken> {
        match self.meant.get(name).map(Vec::as_slice) {
            None => Ok(name.to_owned()),
            Some([id]) => Ok(id.clone()),
            Some(several) => match &self.current {
                Some(current) if several.contains(current) => Ok(current.clone()),
                _ => Err(Broken::lost(
                    Some(name.into()),
                    format!(
                        "streams {} share this name, so messages are ambiguous: capture each in a separate task",
                        several.join(" and ")
                    ),
                )),
            },
        }
    }

    /// The same for a record's stream: a JSON string, quotes included.
    #[inline]
    pub fn resolve_quoted<'a>(&'a mut self, said: &'a [u8]) -> Result<&'a [u8], Broken> {
        if self.meant.is_empty() {
            return Ok(said);
        }
        if self.last.said != said {
            let id = self.resolve(&crate::json::scan::string_text(said))?;
            self.last = Last { said: said.to_vec(), meant: quoted(&id) };
        }
        Ok(&self.last.meant)
    }

    /// Notes which stream the tap is reading now.
    pub fn reads(&mut self, id: Option<String>) {
        if self.current != id {
            self.current = id;
            self.last = Last::default();
        }
    }
}

/// A text as a JSON string.
pub fn quoted(text: &str) -> Vec<u8> {
    Value::from(text).to_string().into_bytes()
}
