//! Fast path: whether all dates in a record are already RFC 3339, and which values at its top are not.
//!
//! The scan of the record found all members that have the name of a date, at any depth ([`watch`](crate::json::watch)).
//! Inconclusive records are handed to the full traversal.

use std::collections::BTreeMap;
use std::ops::Range;

use super::date_schema::{DateSchema, Node, ROOT};
use super::text::{begins_with_date, begins_with_date_time};
use super::value::{Form, Wanted};
use crate::json::watch::{Found, NameId, Watchlist};

/// Without members, every record is inconclusive.
#[derive(Default)]
pub struct FastCheck {
    /// Sorted by name.
    members: Vec<Member>,
}

struct Member {
    name: NameId,
    /// As a member of the record itself.
    top: Values,
    /// The form of that member, if it is a date.
    wanted: Option<Wanted>,
    /// As a member of whatever object in the record.
    inside: Values,
}

/// The values that need no rewrite.
#[derive(Clone)]
struct Values {
    scalar: Right,
    item: Right,
    /// In an object, all dates have names that are watched as well.
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

impl FastCheck {
    /// Adds the names of all members that hold dates to `watched`.
    pub fn of(schema: &DateSchema, watched: &mut Watchlist) -> Self {
        if schema.node(ROOT).unnamed {
            return Self::default();
        }
        let dates = |node: &'_ Node| {
            let members = node.members.iter().filter_map(|(name, id)| Some((name.clone(), schema.node((*id)?))));
            members.filter(|(_, node)| node.wanted.is_some() || node.unnamed).collect::<Vec<_>>()
        };
        let mut members = BTreeMap::new();
        for (name, node) in schema.nodes().flat_map(dates) {
            let name = watched.add(&name);
            let member =
                members.entry(name).or_insert(Member { name, top: Values::ANY, wanted: None, inside: Values::ANY });
            member.inside = member.inside.and(&Values::of(schema, node));
        }
        for (name, node) in dates(schema.node(ROOT)) {
            if let Some(member) = members.get_mut(&watched.add(&name)) {
                (member.top, member.wanted) = (Values::of(schema, node), node.wanted);
            }
        }
        Self { members: members.into_values().collect() }
    }

    /// The values in the record that have to be rewritten, added to `wrong`; false if that can't be told.
    #[inline]
    pub fn find_wrong(&self, document: &[u8], found: &Found, wrong: &mut Vec<(Range<usize>, Wanted)>) -> bool {
        let Some(all) = found.all().filter(|_| !self.members.is_empty()) else { return false };
        for it in all {
            let value = it.value();
            // What is found behind the record is not part of it.
            let Some(text) = document.get(value.start..).filter(|it| !it.is_empty()) else { break };
            let Some(member) = self.member(it.name) else { continue };
            if it.at_top {
                if member.top.are_right(text) {
                    continue;
                }
                match member.wanted {
                    Some(wanted) if is_scalar(text) => wrong.push((value, wanted)),
                    _ => return false,
                }
            } else if !member.inside.are_right(text) {
                return false;
            }
        }
        true
    }

    #[inline]
    fn member(&self, name: NameId) -> Option<&Member> {
        self.members.binary_search_by_key(&name, |it| it.name).ok().map(|it| &self.members[it])
    }
}

fn is_scalar(text: &[u8]) -> bool {
    !matches!(text.first(), Some(b'[' | b'{'))
}

impl Values {
    const ANY: Self = Self { scalar: Right::ANY, item: Right::ANY, object: true };

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

    /// Whether `text` begins with a value that needs no rewrite.
    #[inline]
    fn are_right(&self, text: &[u8]) -> bool {
        match text.first() {
            Some(b'[') => self.item == Right::ANY || self.items_are_right(&text[1..]),
            Some(b'{') => self.object,
            _ => self.scalar.takes(text),
        }
    }

    /// Whether all items need no rewrite. Items that are objects or arrays are inconclusive.
    fn items_are_right(&self, items: &[u8]) -> bool {
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
