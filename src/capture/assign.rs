//! Which bindings a worker reads: all of them, in the shard that begins at key 0 (F20).

use std::collections::HashSet;

use anyhow::{Result, bail};

use crate::flow::request::Range;
use crate::upstream::Resource;

/// Whether the shard of this key range reads anything.
pub fn reads(range: Option<&Range>) -> bool {
    range.is_none_or(|it| it.key_begin == 0)
}

/// Whether a shard of this key range has all keys.
pub fn has_all_keys(range: Option<&Range>) -> bool {
    range.is_none_or(|it| it.key_begin == 0 && it.key_end == u32::MAX)
}

/// Fails if two bindings read the same stream: a record has one binding.
pub fn one_binding_per_stream(resources: &[Resource]) -> Result<()> {
    let mut seen = HashSet::new();
    // In a message, an empty namespace is none (A13).
    let meant = |it: &Resource| (it.id.namespace.clone().filter(|it| !it.is_empty()), it.id.name.clone());
    match resources.iter().find(|it| !seen.insert(meant(it))) {
        Some(twice) => {
            bail!("stream {} has two bindings: a stream can be captured once, so remove one of them", twice.id)
        }
        None => Ok(()),
    }
}
