//! Fast path: checks with one SIMD search whether every date in a record is already RFC 3339.
//!
//! The search finds the names of all members that hold dates, at any depth, and the value after each name is compared
//! with the form of a date. Quotes within strings are escaped in JSON, so a name in quotes with a colon behind it is a
//! member. Inconclusive records are handed to the full traversal.

use std::collections::BTreeMap;

use aho_corasick::packed::{Config, Searcher};

use super::date_schema::{DateSchema, Node, ROOT};
use super::text::{begins_with_date, begins_with_date_time};
use super::value::{Form, Wanted};

/// Without passes, every record is inconclusive.
#[derive(Default)]
pub struct FastCheck {
    passes: Vec<Pass>,
}

struct Pass {
    /// The names in their quotes, then [`ESCAPE`].
    searcher: Searcher,
    members: Vec<Member>,
}

/// The number of short names that one SIMD search distinguishes well, besides [`ESCAPE`].
const MOST_NAMES: usize = 31;

/// Beyond this many passes the fast path costs more than the full traversal.
const MOST_PASSES: usize = 16;

/// The values that need no rewrite after a name, wherever in the document it is.
struct Member {
    scalar: Right,
    item: Right,
    /// In an object, all dates have names that are searched for as well.
    object: bool,
}

/// A set of forms that need no rewrite.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Right(u8);

impl Right {
    const DATE_TIME: Self = Self(1);
    const DATE: Self = Self(2);
    const NUMBER: Self = Self(4);
    const ANY: Self = Self(15);
    const NONE: Self = Self(0);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn of(wanted: Option<Wanted>) -> Self {
        let Some(wanted) = wanted else { return Self::ANY };
        let forms = match wanted.form {
            Form::DateTime => Self::DATE_TIME.0,
            Form::Date | Form::Cut => Self::DATE.0,
            Form::Either => Self::DATE_TIME.0 | Self::DATE.0,
        };
        Self(if wanted.numbers { forms } else { forms | Self::NUMBER.0 })
    }
}

/// The start of an escaped ASCII letter or digit. The search would not find a name that is written with escapes.
const ESCAPE: &[u8] = b"\\u00";

impl FastCheck {
    pub fn of(schema: &DateSchema) -> Self {
        let mut members: BTreeMap<&str, Member> = BTreeMap::new();
        for (name, id) in schema.nodes().flat_map(|it| &it.members) {
            let Some(node) = id.map(|it| schema.node(it)).filter(|it| it.wanted.is_some() || it.unnamed) else {
                continue;
            };
            let found = Member::of(schema, node);
            let both = members.remove(&**name).map_or(Member { ..found }, |it| it.and(&found));
            members.insert(name, both);
        }
        let is_searchable = !schema.node(ROOT).unnamed && members.keys().all(|it| is_plain(it));
        if !is_searchable || members.len() > MOST_NAMES * MOST_PASSES {
            return Self::default();
        }
        let mut members = members.into_iter().peekable();
        let mut passes = Vec::new();
        while members.peek().is_some() {
            let (names, members) = members.by_ref().take(MOST_NAMES).unzip();
            // The processor may lack the instructions.
            let Some(pass) = Pass::of(names, members) else { return Self::default() };
            passes.push(pass);
        }
        Self { passes }
    }

    #[inline]
    pub fn is_right(&self, document: &[u8]) -> bool {
        !self.passes.is_empty() && self.passes.iter().all(|it| it.is_right(document))
    }
}

impl Pass {
    fn of(names: Vec<&str>, members: Vec<Member>) -> Option<Self> {
        let names = names.into_iter().map(|it| format!("\"{it}\"").into_bytes());
        let searcher = Config::new().builder().extend(names.chain([ESCAPE.to_vec()])).build()?;
        Some(Self { searcher, members })
    }

    #[inline]
    fn is_right(&self, document: &[u8]) -> bool {
        self.searcher.find_iter(document).all(|found| {
            let rest = &document[found.end()..];
            match self.members.get(found.pattern().as_usize()) {
                Some(member) => member.is_right_before(rest),
                None => !matches!(rest, [b'2'..=b'7', ..]),
            }
        })
    }
}

/// Whether JSON writes a name in one way only, apart from [`ESCAPE`]. It must not contain what separates two strings
/// either: then the text between two strings would look like a name in quotes.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|it| matches!(it, b' '..=b'~') && !matches!(it, b'"' | b'\\' | b'/' | b',' | b':'))
}

impl Member {
    fn of(schema: &DateSchema, node: &Node) -> Self {
        let (mut item, mut object) = (Right::ANY, true);
        if node.unnamed {
            let items = node.items.map(|it| schema.node(it)).filter(|it| !it.unnamed && node.tuple.is_empty());
            object = node.others.is_none() && node.patterns.is_empty();
            item = items.map_or(if node.has_items() { Right::NONE } else { Right::ANY }, |it| Right::of(it.wanted));
        }
        Self { scalar: Right::of(node.wanted), item, object }
    }

    fn and(&self, other: &Self) -> Self {
        Self {
            scalar: self.scalar.and(other.scalar),
            item: self.item.and(other.item),
            object: self.object && other.object,
        }
    }

    /// Whether `rest`, the text after a name or after a string that equals one, begins with a value that needs no rewrite.
    #[inline]
    fn is_right_before(&self, rest: &[u8]) -> bool {
        let Some(value) = trim_start(rest).strip_prefix(b":") else { return true };
        let value = trim_start(value);
        match value.first() {
            Some(b'[') => self.item == Right::ANY || self.are_right(&value[1..]),
            Some(b'{') => self.object,
            _ => self.scalar.takes(value),
        }
    }

    /// Whether all items need no rewrite. Items that are objects or arrays are inconclusive.
    fn are_right(&self, items: &[u8]) -> bool {
        let mut rest = trim_start(items);
        while self.item.takes(rest) {
            let Some(end) = rest.iter().position(|it| matches!(it, b',' | b']')) else { return false };
            if rest[end] == b']' {
                return true;
            }
            rest = trim_start(&rest[end + 1..]);
        }
        rest.first() == Some(&b']')
    }
}

impl Right {
    /// Whether the scalar at the start of `value` needs no rewrite.
    #[inline]
    fn takes(self, value: &[u8]) -> bool {
        if self == Self::ANY {
            return true;
        }
        match value.first() {
            Some(b'"') => {
                self.has(Self::DATE_TIME) && begins_with_date_time(value)
                    || self.has(Self::DATE) && begins_with_date(value)
                    || value.get(1) == Some(&b'"')
            }
            Some(b'-' | b'0'..=b'9') => self.has(Self::NUMBER),
            Some(b'n' | b't' | b'f') => true,
            _ => false,
        }
    }
}

#[inline]
fn trim_start(text: &[u8]) -> &[u8] {
    match text.first() {
        Some(b' ' | b'\t' | b'\n' | b'\r') => text.trim_ascii_start(),
        _ => text,
    }
}
