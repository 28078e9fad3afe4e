//! Finds secrets in texts and replaces them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use aho_corasick::AhoCorasick;
use memchr::memchr;
use serde_json::{Map, Value};

use super::forms::{Kind, SHORTEST, patterns};
use super::{LOOKAHEAD, views};

const MASK: &str = "***";

/// How many escapings of one another are undone.
const DEEPEST: usize = 3;

/// The secrets, and one automaton that finds all of their forms.
#[derive(Default)]
pub struct Redactor {
    secrets: BTreeSet<String>,
    automaton: Option<AhoCorasick>,
    kinds: Vec<Kind>,
    /// A pattern has a space, for which forms write `+`.
    has_spaces: bool,
    /// A secret may be written as a JSON number.
    has_numbers: bool,
}

impl Redactor {
    /// A redactor that knows these secrets as well; `None` if it would be the same.
    pub fn with(&self, secrets: Vec<String>) -> Option<Self> {
        let mut all = self.secrets.clone();
        all.extend(secrets);
        if all.len() == self.secrets.len() {
            return None;
        }
        let mut kinds = BTreeMap::new();
        for (pattern, kind) in all.iter().flat_map(|it| patterns(it)) {
            // The kind that redacts more wins.
            let known = kinds.entry(pattern).or_insert(kind);
            if kind == Kind::Text || *known == Kind::Word {
                *known = kind;
            }
        }
        let automaton = AhoCorasick::new(kinds.keys()).ok();
        let has_spaces = kinds.keys().any(|it| memchr(b' ', it).is_some());
        let is_number = |it: &String| it.bytes().all(|it| it.is_ascii_digit() || b"+-.eE".contains(&it));
        let has_numbers = all.iter().any(is_number);
        Some(Self { secrets: all, automaton, kinds: kinds.into_values().collect(), has_spaces, has_numbers })
    }

    /// The text with each secret replaced.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let ranges = self.ranges(text.as_bytes());
        if ranges.is_empty() {
            return text.into();
        }
        let mut redacted = String::with_capacity(text.len());
        let mut at = 0;
        for range in ranges {
            redacted += text.get(at..range.start).unwrap_or_default();
            redacted += MASK;
            at = range.end;
        }
        redacted += text.get(at..).unwrap_or_default();
        redacted.into()
    }

    /// Redacts strings, numbers, and those names of members of which `names` says so. Whether there were secrets.
    pub fn value(&self, value: &mut Value, names: fn(&str) -> bool) -> bool {
        match value {
            Value::String(text) => {
                let Cow::Owned(redacted) = self.text(text) else { return false };
                *text = redacted;
                true
            }
            Value::Number(number) if self.has_numbers => {
                let text = number.to_string();
                // A short number is more often a count than a secret.
                let is_secret = self.ranges(text.as_bytes()).iter().any(|it| it.len() >= SHORTEST);
                if is_secret {
                    *value = MASK.into();
                }
                is_secret
            }
            Value::Array(items) => items.iter_mut().fold(false, |found, it| self.value(it, names) | found),
            Value::Object(members) => {
                let shows = |name: &str| names(name) && matches!(self.text(name), Cow::Owned(_));
                let is_named = members.keys().any(|it| shows(it));
                if is_named {
                    let renamed = |name: String| if names(&name) { self.text(&name).into_owned() } else { name };
                    let old = std::mem::take(members).into_iter();
                    *members = old.map(|(name, it)| (renamed(name), it)).collect::<Map<_, _>>();
                }
                members.values_mut().fold(is_named, |found, it| self.value(it, names) | found)
            }
            _ => false,
        }
    }

    /// See [`super::safe_cut`].
    pub fn safe_cut(&self, text: &[u8], at: usize) -> usize {
        let mut at = at.min(text.len());
        let known = &text[..text.len().min(at + LOOKAHEAD)];
        if let Some(divided) = self.ranges(known).into_iter().find(|it| it.start < at && at < it.end) {
            // A text that begins with a secret is cut behind it, or the cut would get nowhere.
            at = if divided.start == 0 { divided.end } else { divided.start };
        }
        let is_continuation = |it: &u8| it & 0xc0 == 0x80;
        (0..=at).rev().find(|it| !text.get(*it).is_some_and(is_continuation)).unwrap_or_default()
    }

    /// Where a text shows secrets: in order, apart from each other, and at boundaries of characters.
    fn ranges(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.search(text, None, DEEPEST, &mut found);
        found.sort_unstable_by_key(|it| it.start);
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for range in found {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }

    /// Searches a text, and what it is once its escapes are undone.
    fn search(&self, text: &[u8], starts: Option<&[u32]>, depth: usize, found: &mut Vec<Range<usize>>) {
        let Some(automaton) = &self.automaton else { return };
        let origin = |at: usize| starts.map_or(at, |it| it[at] as usize);
        if automaton.is_match(text) {
            for it in automaton.find_overlapping_iter(text) {
                let range = self.extent(text, it.range(), self.kinds[it.pattern().as_usize()]);
                found.extend(range.map(|it| origin(it.start)..origin(it.end)));
            }
        }
        if depth == 0 {
            return;
        }
        let has_escapes = memchr(b'\\', text).is_some();
        let unescaped = has_escapes.then(|| views::unescaped(text)).flatten();
        let decoded = views::percent_decoded(text, self.has_spaces);
        for mut view in [unescaped, decoded].into_iter().flatten() {
            if starts.is_some() {
                view.starts.iter_mut().for_each(|it| *it = origin(*it as usize) as u32);
            }
            self.search(&view.text, Some(&view.starts), depth - 1, found);
        }
    }

    /// What a match covers; `None` if it is part of a longer word and must be a whole one.
    fn extent(&self, text: &[u8], mut range: Range<usize>, kind: Kind) -> Option<Range<usize>> {
        let before = range.start.checked_sub(1).map(|it| text[it]);
        let after = text.get(range.end).copied();
        match kind {
            Kind::Text => {}
            Kind::Word => {
                let in_word = |it: u8| it.is_ascii_alphanumeric() || it == b'_' || !it.is_ascii();
                if before.is_some_and(in_word) || after.is_some_and(in_word) {
                    return None;
                }
            }
            Kind::Base64 { before: has_before, after: has_after } => {
                let in_base64 = |it: u8| it.is_ascii_alphanumeric() || b"+/-_".contains(&it);
                if has_before && before.is_some_and(in_base64) {
                    range.start -= 1;
                }
                if has_after && after.is_some_and(in_base64) {
                    range.end += 1;
                }
                while text.get(range.end) == Some(&b'=') {
                    range.end += 1;
                }
            }
        }
        Some(range)
    }
}
