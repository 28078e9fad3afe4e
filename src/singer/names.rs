//! Which stream a message means: a stream's identity is its `tap_stream_id`, but some taps call it by `stream` in their
//! messages, and two may share that (S5).

use anyhow::Result;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::catalog::Entry;
use crate::upstream::{Broken, SyncRequest};

pub struct Names {
    /// The bound streams, by their id.
    bound: HashSet<String>,
    /// The streams that a name may mean; empty where each is called by its id and nothing else.
    meant: HashMap<String, Vec<String>>,
    /// The stream that the tap's last state says it reads.
    pub current: Option<String>,
    last: Last,
}

/// What a record's stream was last resolved to, both as JSON strings: the next record mostly has the same.
#[derive(Default)]
struct Last {
    said: Vec<u8>,
    meant: Vec<u8>,
}

impl Names {
    /// `all`: the tap was not told what to read, and may send records of any of its streams.
    pub fn new(sync: &SyncRequest, all: bool) -> Result<Self> {
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
        Ok(Self { bound, meant, current: None, last: Last::default() })
    }

    pub fn is_bound(&self, id: &str) -> bool {
        self.bound.contains(id)
    }

    /// The id of the stream that a message means by a name.
    pub fn resolve(&self, name: &str) -> Result<String, Broken> {
        match self.meant.get(name).map(Vec::as_slice) {
            None => Ok(name.to_owned()),
            Some([id]) => Ok(id.clone()),
            Some(several) => match &self.current {
                Some(current) if several.contains(current) => Ok(current.clone()),
                _ => Err(Broken::lost(
                    Some(name.into()),
                    format!(
                        "the tap calls the streams {} by the same name, so nobody can tell which of them it is: bind them in captures of their own",
                        several.join(" and ")
                    ),
                )),
            },
        }
    }

    /// The same for a record, whose stream is a JSON string as it stands in its line.
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

    /// The tap says what it reads now.
    pub fn reads(&mut self, id: Option<String>) {
        if self.current != id {
            self.current = id;
            self.last = Last::default();
        }
    }
}

/// A text as JSON.
pub fn quoted(text: &str) -> Vec<u8> {
    Value::from(text).to_string().into_bytes()
}
