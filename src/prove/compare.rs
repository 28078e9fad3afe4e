//! Compares what a killed and a resumed run have committed together with what undisturbed runs have, by key. Rows that the
//! shim counts have no key of the source's: they are compared by their content.

use std::collections::{HashMap, HashSet};

use super::run::Seen;

/// One stream in the undisturbed runs.
pub struct Reference {
    by_row_id: bool,
    /// The identities of the first run in their order.
    order: Vec<u64>,
    /// The last position of an identity in `order`.
    position: HashMap<u64, usize>,
    /// How often a document comes.
    counts: HashMap<(u64, u64), usize>,
    /// The contents of a key in their order.
    contents: HashMap<u64, Vec<u64>>,
    /// Identities that all runs have, as often as all have them.
    common: HashMap<u64, usize>,
    /// Keys that end with the same content in both runs.
    stable: HashSet<u64>,
    /// The number of different keys.
    keys: usize,
    /// The runs were ended before the connector was done.
    pub is_cut: bool,
    pub same_order: Option<bool>,
    pub same_values: Option<bool>,
}

/// The result for one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Difference {
    pub lost: usize,
    /// Rows of which can't be told whether they are lost.
    pub unknown: usize,
    /// Documents that were committed once more, unchanged. By row id, these are rows that the collection has twice.
    pub repeated: usize,
    /// Keys that end with an older document than in the undisturbed runs.
    pub out_of_order: usize,
}

impl Reference {
    /// `is_cut`: the runs were ended before the connector was done.
    pub fn new(first: &[Seen], second: &[Seen], by_row_id: bool, is_cut: bool) -> Self {
        let identities = |all: &[Seen]| all.iter().map(|it| it.identity(by_row_id)).collect::<Vec<_>>();
        let (order, other) = (identities(first), identities(second));
        let counted = |all: &[u64]| {
            let mut counts = HashMap::new();
            all.iter().for_each(|it| *counts.entry(*it).or_insert(0) += 1);
            counts
        };
        let (ours, theirs) = (counted(&order), counted(&other));
        let common: HashMap<u64, usize> =
            ours.iter().filter_map(|(it, n)| Some((*it, *n.min(theirs.get(it)?)))).collect();
        let (contents, others) = (contents(first), contents(second));
        let is_stable = |it: &&u64| others.get(it).and_then(|it| it.last()) == contents[*it].last();
        let stable: HashSet<u64> = contents.keys().filter(is_stable).copied().collect();
        let of_both = |it: &Vec<u64>| it.iter().filter(|it| common.contains_key(it)).count();
        let shortest = order.len().min(other.len());
        // The content of counted rows is their identity: if that changes, the order can't be told.
        let is_comparable = !by_row_id || of_both(&order) == order.len();
        let same_order = (shortest > 0 && is_comparable)
            .then(|| if is_cut { order[..shortest] == other[..shortest] } else { order == other });
        let same_values = match by_row_id {
            true if is_cut => (shortest > 0).then(|| of_both(&order) > 0),
            true => (shortest > 0).then(|| ours == theirs),
            false => (!common.is_empty()).then(|| common.keys().all(|it| stable.contains(it))),
        };
        let mut counts = HashMap::new();
        first.iter().for_each(|it| *counts.entry(pair(it, by_row_id)).or_insert(0) += 1);
        Self {
            by_row_id,
            position: order.iter().enumerate().map(|(at, it)| (*it, at)).collect(),
            keys: contents.len(),
            order,
            counts,
            contents,
            common,
            stable,
            is_cut,
            same_order,
            same_values,
        }
    }

    /// Leaves out what the run that continued from the final state of the first one has deleted: the source has dropped it.
    pub fn drop_deleted(&mut self, continued: &[Seen]) {
        for deleted in continued.iter().filter(|it| it.is_deletion) {
            let last = self.contents.get(&deleted.key).and_then(|it| it.last());
            match last.and_then(|it| self.common.get_mut(if self.by_row_id { it } else { &deleted.key })) {
                Some(count) if self.by_row_id => *count = count.saturating_sub(1),
                Some(count) => *count = 0,
                None => {}
            }
        }
        self.common.retain(|_, count| *count > 0);
        self.keys = self.keys.saturating_sub(continued.iter().filter(|it| it.is_deletion).count());
    }

    /// Leaves out what a later undisturbed run does not have: the source has dropped it.
    pub fn confirm(&mut self, third: &[Seen]) {
        let mut counts: HashMap<u64, usize> = HashMap::new();
        third.iter().for_each(|it| *counts.entry(it.identity(self.by_row_id)).or_insert(0) += 1);
        self.common.retain(|it, n| {
            *n = (*n).min(counts.get(it).copied().unwrap_or(0));
            *n > 0
        });
        self.keys = self.keys.min(contents(third).len());
    }

    /// The documents that a resumed run has yet to commit.
    pub fn missing(&self, killed: &[Seen]) -> HashSet<u64> {
        let seen: HashSet<u64> = killed.iter().map(|it| it.identity(self.by_row_id)).collect();
        self.common.keys().filter(|it| !seen.contains(it)).copied().collect()
    }

    /// How many different documents of the first run a later run has sent again.
    pub fn resent(&self, before: &[Seen], after: &[Seen]) -> (usize, usize) {
        let identities = |all: &[Seen]| all.iter().map(|it| it.identity(self.by_row_id)).collect::<HashSet<_>>();
        let (before, after) = (identities(before), identities(after));
        (before.len(), before.intersection(&after).count())
    }

    pub fn is_complete(&self, committed: &[Seen]) -> bool {
        !self.is_cut && committed.len() >= self.order.len()
    }

    /// `is_whole`: the resumed run ended by itself, so that what is missing does not come any more.
    pub fn compare(&self, killed: &[Seen], resumed: &[Seen], is_whole: bool) -> Difference {
        let all: Vec<&Seen> = killed.iter().chain(resumed).collect();
        let mut came: HashMap<u64, usize> = HashMap::new();
        all.iter().for_each(|it| *came.entry(it.identity(self.by_row_id)).or_insert(0) += 1);
        // In a run that was ended, only what lies before something that came later is missing for good.
        let last = resumed.iter().filter_map(|it| self.position.get(&it.identity(self.by_row_id))).max();
        let mut difference = Difference::default();
        for (identity, wanted) in &self.common {
            let wanted = if self.by_row_id { *wanted } else { 1 };
            let short = wanted.saturating_sub(came.get(identity).copied().unwrap_or(0));
            let is_passed = self.same_order == Some(true) && last.is_some_and(|it| self.position[identity] < *it);
            if is_whole && !(self.is_cut && self.same_order == Some(false)) || is_passed {
                difference.lost += short;
            } else {
                difference.unknown += short;
            }
        }
        if self.by_row_id {
            self.compare_rows(&all, is_whole, &mut difference);
        } else {
            self.compare_keys(&all, &mut difference);
        }
        difference
    }

    fn compare_keys(&self, all: &[&Seen], difference: &mut Difference) {
        let mut counts: HashMap<(u64, u64), usize> = HashMap::new();
        let mut last: HashMap<u64, u64> = HashMap::new();
        for it in all {
            *counts.entry(pair(it, false)).or_insert(0) += 1;
            last.insert(it.key, it.content);
        }
        let extra = |(it, n): (&(u64, u64), &usize)| self.counts.get(it).map_or(0, |wanted| n.saturating_sub(*wanted));
        difference.repeated = counts.iter().map(extra).sum();
        let is_older = |(key, content): &(&u64, &u64)| {
            self.stable.contains(key)
                && self.contents.get(key).and_then(|it| it.split_last()).is_some_and(|(newest, older)| {
                    // Another content is newer: the source has gone on.
                    newest != *content && older.contains(content)
                })
        };
        difference.out_of_order = last.iter().filter(is_older).count();
    }

    /// The rows of the collection after the shim's row ids have replaced each other.
    fn compare_rows(&self, all: &[&Seen], is_whole: bool, difference: &mut Difference) {
        let rows: HashMap<u64, &Seen> = all.iter().map(|it| (it.key, *it)).collect();
        let mut counts: HashMap<(u64, u64), usize> = HashMap::new();
        rows.values().filter(|it| !it.is_deletion).for_each(|it| *counts.entry(pair(it, true)).or_insert(0) += 1);
        let extra = |(it, n): (&(u64, u64), &usize)| self.counts.get(it).map_or(0, |wanted| n.saturating_sub(*wanted));
        difference.repeated = counts.iter().map(extra).sum();
        // A row id that was given twice has replaced a row.
        if is_whole && !self.is_cut {
            difference.lost = difference.lost.max(self.keys.saturating_sub(rows.len()));
        }
    }
}

/// A document: of a key or, for counted rows, whatever its row id is.
fn pair(it: &Seen, by_row_id: bool) -> (u64, u64) {
    (if by_row_id { 0 } else { it.key }, it.content)
}

fn contents(all: &[Seen]) -> HashMap<u64, Vec<u64>> {
    let mut contents: HashMap<u64, Vec<u64>> = HashMap::new();
    all.iter().for_each(|it| contents.entry(it.key).or_default().push(it.content));
    contents
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Documents as `key:content`.
    fn of(text: &str) -> Vec<Seen> {
        let parse = |it: &str| {
            let (key, content) = it.split_once(':').unwrap();
            Seen { key: key.parse().unwrap(), content: content.parse().unwrap(), is_deletion: content == "0" }
        };
        text.split_whitespace().map(parse).collect()
    }

    fn keyed(reference: &str, killed: &str, resumed: &str) -> Difference {
        Reference::new(&of(reference), &of(reference), false, false).compare(&of(killed), &of(resumed), true)
    }

    fn by_row_id(reference: &str, killed: &str, resumed: &str) -> Difference {
        Reference::new(&of(reference), &of(reference), true, false).compare(&of(killed), &of(resumed), true)
    }

    const NONE: Difference = Difference { lost: 0, unknown: 0, repeated: 0, out_of_order: 0 };

    #[test]
    fn keys_that_never_come_are_lost() {
        assert_eq!(keyed("1:1 2:2 3:3", "1:1", "2:2 3:3"), NONE);
        assert_eq!(keyed("1:1 2:2 3:3", "1:1", "3:3"), Difference { lost: 1, ..NONE });
        assert_eq!(keyed("1:1 2:2 3:3", "1:1 2:2", "1:1 2:2 3:3"), Difference { repeated: 2, ..NONE });
    }

    #[test]
    fn a_key_must_not_end_with_an_older_document() {
        assert_eq!(keyed("1:1 1:2", "1:1", "1:2"), NONE);
        assert_eq!(keyed("1:1 1:2", "1:1 1:2", "1:1 1:2"), Difference { repeated: 2, ..NONE });
        assert_eq!(keyed("1:1 1:2", "1:2", "1:1"), Difference { out_of_order: 1, ..NONE });
        // The source has changed the row once more.
        assert_eq!(keyed("1:1 1:2", "1:1 1:2", "1:3"), NONE);
    }

    #[test]
    fn counted_rows_are_compared_by_content() {
        assert_eq!(by_row_id("1:7 2:8 3:8", "1:7", "2:8 3:8"), NONE);
        assert_eq!(by_row_id("1:7 2:8 3:8", "1:7", "2:8"), Difference { lost: 1, ..NONE });
        assert_eq!(by_row_id("1:7 2:8 3:9", "1:7 2:8", "3:7 4:8 5:9"), Difference { repeated: 2, ..NONE });
        // A full refresh replaces its rows; one that the source has deleted is not lost.
        assert_eq!(by_row_id("1:7 2:8", "1:7", "1:7 2:8"), NONE);
        assert_eq!(by_row_id("1:7 2:8", "1:7 2:8", "1:7 2:0"), NONE);
        // The row ids of the second run replace the first run's rows.
        assert_eq!(by_row_id("1:7 2:8 3:9", "1:7 2:8", "1:9").lost, 1);
    }

    #[test]
    fn a_source_that_changes_has_lost_nothing() {
        let reference = Reference::new(&of("1:1 2:2 4:4"), &of("1:9 2:2 3:3"), false, false);
        assert_eq!((reference.same_order, reference.same_values), (Some(false), Some(false)));
        assert_eq!(reference.compare(&of("1:5"), &of("2:2 3:3"), true), NONE);
        let counted = Reference::new(&of("1:1 2:2"), &of("1:3 2:4"), true, false);
        assert_eq!((counted.same_order, counted.same_values), (None, Some(false)));
        assert_eq!(counted.compare(&of("1:5"), &of("2:6"), true), NONE);
        for by_row_id in [false, true] {
            let mut before = Reference::new(&of("1:1 2:2 3:3"), &of("1:1 2:2 3:3"), by_row_id, false);
            before.drop_deleted(&of("1:1 2:0"));
            assert_eq!(before.compare(&of("1:1"), &of("3:3"), true), NONE);
            assert_eq!(before.compare(&of("1:1"), &of(""), true), Difference { lost: 1, ..NONE });
            let mut before = Reference::new(&of("1:1 2:2 3:3"), &of("1:1 2:2 3:3"), by_row_id, false);
            assert_eq!(before.compare(&of("1:1"), &of("3:3"), true), Difference { lost: 1, ..NONE });
            before.confirm(&of("1:1 3:3"));
            assert_eq!(before.compare(&of("1:1"), &of("3:3"), true), NONE);
        }
    }

    #[test]
    fn what_a_run_did_not_get_to_is_not_lost() {
        let reference = Reference::new(&of("1:1 2:2 3:3 4:4"), &of("1:1 2:2 3:3 4:4"), false, true);
        assert_eq!(reference.compare(&of("1:1"), &of("3:3"), false), Difference { lost: 1, unknown: 1, ..NONE });
        let disordered = Reference::new(&of("1:1 2:2 3:3"), &of("3:3 2:2 1:1"), false, true);
        assert_eq!(disordered.same_order, Some(false));
        assert_eq!(disordered.compare(&of("1:1"), &of("3:3"), false), Difference { unknown: 1, ..NONE });
    }
}
