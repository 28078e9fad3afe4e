//! Which bindings are read by whom: by this shard of the capture (F20), and by which of its processes.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::RangeInclusive;

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};

use crate::flow::request::Range;
use crate::upstream::Resource;

pub fn begins_at_zero(range: Option<&Range>) -> bool {
    *keys(range).start() == 0
}

/// Whether a shard of this key range has all keys.
pub fn has_all_keys(range: Option<&Range>) -> bool {
    keys(range) == (0..=u32::MAX)
}

/// The keys of a shard. A range without an end, or none, is that of all keys.
fn keys(range: Option<&Range>) -> RangeInclusive<u32> {
    match range {
        Some(range) if range.key_end > 0 => range.key_begin..=range.key_end,
        Some(range) => range.key_begin..=u32::MAX,
        None => 0..=u32::MAX,
    }
}

/// The bindings that the shard of this key range reads. A connector that keeps one state for all its streams (`is_divisible`
/// is false) is read by the shard that begins at key 0.
pub fn of_range(range: Option<&Range>, resources: &[Resource], is_divisible: bool) -> Vec<usize> {
    let keys = keys(range);
    let is_read = |it: &Resource| keys.contains(&if is_divisible { point(&it.path) } else { 0 });
    (0..resources.len()).filter(|&it| is_read(&resources[it])).collect()
}

/// Where a binding is in the key space: the first four bytes of the SHA-256 of its resource path, as a compact JSON array.
/// Documented, and must never change: states are in the shards.
fn point(path: &[String]) -> u32 {
    let text = serde_json::Value::from(path).to_string();
    let hash = Sha256::digest(text.as_bytes());
    hash.first_chunk().map_or(0, |it| u32::from_be_bytes(*it))
}

/// Divides bindings among processes: the largest first, each to the process that has least so far. `sizes` are how many rows
/// each binding is expected to have. The shares are in the order of their sizes, the largest first.
pub fn shares(sizes: &[u64], processes: usize) -> Vec<Vec<usize>> {
    let mut sorted: Vec<usize> = (0..sizes.len()).collect();
    sorted.sort_by_key(|&it| Reverse(sizes[it]));
    let mut shares: Vec<(u64, Vec<usize>)> = vec![(0, Vec::new()); processes.clamp(1, sizes.len().max(1))];
    for binding in sorted {
        if let Some(least) = shares.iter_mut().min_by_key(|it| it.0) {
            // A binding without rows costs something, too.
            least.0 += sizes[binding] + 1;
            least.1.push(binding);
        }
    }
    shares.sort_by_key(|it| Reverse(it.0));
    shares.into_iter().map(|(_, share)| share).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Mode, StreamId};
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn a_binding_stays_at_its_point() {
        let point = |path: &[&str]| point(&path.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        // printf '["users"]' | sha256sum | cut -c-8
        assert_eq!(point(&["users"]), 0xea44_5426);
        assert_eq!(point(&["public", "users"]), 0xb5e5_52ed);
    }

    #[test]
    fn a_range_without_an_end_has_all_keys() {
        for (key_begin, key_end, all) in
            [(0, 0, true), (0, u32::MAX, true), (0, 1, false), (1, 0, false), (1, u32::MAX, false)]
        {
            assert_eq!(has_all_keys(Some(&Range { key_begin, key_end })), all, "{key_begin} to {key_end}");
        }
        assert!(has_all_keys(None));
    }

    proptest! {
        #[test]
        fn each_binding_is_in_one_share(sizes in prop::collection::vec(0..1000u64, 1..40), processes in 1..9usize) {
            let shares = shares(&sizes, processes);
            prop_assert!(shares.len() == processes.min(sizes.len()) && shares.iter().all(|it| !it.is_empty()));
            let mut all: Vec<usize> = shares.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>());
            // The first is the largest, by no more than one binding.
            let size = |share: &Vec<usize>| share.iter().map(|&it| sizes[it] + 1).sum::<u64>();
            let least = shares.iter().map(size).min().unwrap_or(0);
            let largest = sizes.iter().max().map_or(0, |it| it + 1);
            prop_assert!(shares.iter().all(|it| size(it) <= size(&shares[0])) && size(&shares[0]) <= least + largest);
        }

        /// Whatever the shards are, each binding is in one of them.
        #[test]
        fn each_binding_is_in_one_shard(names in prop::collection::hash_set("[a-z]{1,8}", 1..50), cuts in prop::collection::btree_set(1..u32::MAX, 0..8)) {
            let resource = |name: String| Resource {
                id: StreamId { namespace: None, name: name.clone() },
                path: vec![name],
                mode: Mode::Incremental,
                method: None,
                config: Value::Null,
            };
            let resources: Vec<Resource> = names.into_iter().map(resource).collect();
            let begins = std::iter::once(0).chain(cuts.iter().copied());
            let ends = cuts.iter().map(|it| it - 1).chain([u32::MAX]);
            for is_divisible in [true, false] {
                let shards = begins.clone().zip(ends.clone()).map(|(key_begin, key_end)| {
                    of_range(Some(&Range { key_begin, key_end }), &resources, is_divisible)
                });
                let mut all: Vec<usize> = shards.collect::<Vec<_>>().concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..resources.len()).collect::<Vec<_>>());
            }
        }
    }
}
