//! Which bound stream a message means (A13).
//!
//! One rule for records, states, statuses, errors, estimates and schemas: a message means the stream with its name and
//! namespace. Without a namespace (absent, null or empty) and with no such stream, it means the only bound stream of that
//! name; Airbyte's Python CDK leaves the namespace out of records. If there are several, the message is ambiguous.

use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::json::lexical::same;
use crate::json::scan::string_text;
use crate::upstream::{Record, StreamId};

#[derive(Default)]
pub struct StreamNames {
    exact: HashMap<StreamId, usize>,
    by_name: HashMap<String, Vec<usize>>,
    ids: Vec<StreamId>,
    last: Option<Last>,
}

/// The stream of the last record, as its line had it: the next record usually has the same.
struct Last {
    stream: Vec<u8>,
    namespace: Option<Vec<u8>>,
    binding: usize,
}

/// What a message means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    Binding {
        index: usize,
        /// The message names the stream without its namespace.
        without_namespace: bool,
    },
    /// A stream without a binding.
    Unbound,
}

impl StreamNames {
    pub fn new(ids: impl Iterator<Item = StreamId>) -> Self {
        let mut names = Self::default();
        for (index, id) in ids.enumerate() {
            names.by_name.entry(id.name.clone()).or_default().push(index);
            names.exact.insert(id.clone(), index);
            names.ids.push(id);
        }
        names
    }

    /// What a message means by this id. The error names the streams that it may mean.
    pub fn resolve(&self, id: &StreamId) -> Result<Meant> {
        if let Some(&index) = self.exact.get(id) {
            return Ok(Meant::Binding { index, without_namespace: false });
        }
        if id.namespace.as_deref().is_some_and(|it| !it.is_empty()) {
            return Ok(Meant::Unbound);
        }
        match self.by_name.get(&id.name).map(Vec::as_slice) {
            None | Some([]) => Ok(Meant::Unbound),
            Some(&[index]) => Ok(Meant::Binding { index, without_namespace: true }),
            Some(several) => {
                let mut names: Vec<String> = several.iter().map(|&it| self.ids[it].to_string()).collect();
                names.sort();
                let mut sentence =
                    format!("the connector names stream {} without its namespace, which may be ", id.name);
                let _ = write!(sentence, "{}", names.join(" or "));
                bail!("{sentence}: capture each in a separate task");
            }
        }
    }

    /// The binding that a message means, if any.
    pub fn binding_of(&self, id: &StreamId) -> Result<Option<usize>> {
        Ok(match self.resolve(id)? {
            Meant::Binding { index, .. } => Some(index),
            Meant::Unbound => None,
        })
    }

    /// The binding of a record, if its stream is the last record's.
    #[inline]
    pub fn last(&self, record: &Record) -> Option<usize> {
        let last = self.last.as_ref()?;
        let is_same = same(&last.stream, record.stream)
            && match (&last.namespace, record.namespace) {
                (None, None) => true,
                (Some(last), Some(namespace)) => same(last, namespace),
                _ => false,
            };
        is_same.then_some(last.binding)
    }

    /// Remembers the binding of a record.
    pub fn remember(&mut self, record: &Record, binding: usize) {
        let namespace = record.namespace.map(<[u8]>::to_vec);
        self.last = Some(Last { stream: record.stream.to_vec(), namespace, binding });
    }
}

/// The stream that a record names.
pub fn id_of(record: &Record) -> StreamId {
    let text = |it: &[u8]| string_text(it).into_owned();
    StreamId { namespace: record.namespace.map(text), name: text(record.stream) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: Option<&str>, name: &str) -> StreamId {
        StreamId { namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }

    #[test]
    fn a_missing_namespace_is_that_of_the_only_stream() {
        let bound = [id(Some("a"), "u"), id(Some("b"), "v"), id(Some("c"), "v"), id(None, "w"), id(Some("a"), "w")];
        let names = StreamNames::new(bound.into_iter());
        let binding = |index, without_namespace| Some(Meant::Binding { index, without_namespace });
        for (wanted, want) in [
            (id(Some("a"), "u"), binding(0, false)),
            (id(None, "u"), binding(0, true)),
            (id(Some(""), "u"), binding(0, true)),
            (id(Some("x"), "u"), Some(Meant::Unbound)),
            (id(None, "x"), Some(Meant::Unbound)),
            (id(None, "v"), None),
            (id(None, "w"), binding(3, false)),
            (id(Some(""), "w"), None),
        ] {
            assert_eq!(names.resolve(&wanted).ok(), want, "{wanted:?}");
        }
        let error = names.resolve(&id(None, "v")).unwrap_err().to_string();
        assert!(error.contains("b/v or c/v"), "{error}");
    }
}
