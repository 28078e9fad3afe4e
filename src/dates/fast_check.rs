//! The look: whether all dates of a record are right, told without walking through it.
//!
//! A search by SIMD finds the names of all members that hold dates, at whatever depth, and what stands behind each is compared
//! with the form that a date has. A quote within a string is escaped, so that a name between quotes with a colon behind
//! it is a member's. What it can't tell, it calls wrong: the walk knows.

use std::collections::BTreeMap;

use aho_corasick::packed::{Config, Searcher};

use super::date_schema::{Place, Plan, ROOT};
use super::text::{begins_with_date, begins_with_date_time};
use super::value::{Form, Wanted};

/// Empty where no look tells.
#[derive(Default)]
pub struct FastCheck {
    passes: Vec<Pass>,
}

struct Pass {
    /// The names with their quotes, and behind them [`ESCAPE`].
    searcher: Searcher,
    members: Vec<Member>,
}

/// As many names as one search by SIMD can well tell apart, be they short, with [`ESCAPE`] beside them.
const MOST_NAMES: usize = 31;

/// With more passes a look is not worth it.
const MOST_PASSES: usize = 16;

/// What is right behind a name, wherever in the document it stands.
struct Member {
    scalar: Right,
    item: Right,
    /// An object holds no dates but under other names.
    object: bool,
}

/// A set of forms.
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

/// How an ASCII character that needs no escape is escaped all the same: such a name would not be found.
const ESCAPE: &[u8] = b"\\u00";

impl FastCheck {
    pub fn of(plan: &Plan) -> Self {
        let mut members: BTreeMap<&str, Member> = BTreeMap::new();
        for (name, id) in plan.places().flat_map(|it| &it.members) {
            let Some(place) = id.map(|it| plan.place(it)).filter(|it| it.wanted.is_some() || it.unnamed) else {
                continue;
            };
            let found = Member::of(plan, place);
            let both = members.remove(&**name).map_or(Member { ..found }, |it| it.and(&found));
            members.insert(name, both);
        }
        let can_tell = !plan.place(ROOT).unnamed && members.keys().all(|it| is_plain(it));
        if !can_tell || members.len() > MOST_NAMES * MOST_PASSES {
            return Self::default();
        }
        let mut members = members.into_iter().peekable();
        let mut passes = Vec::new();
        while members.peek().is_some() {
            let (names, members) = members.by_ref().take(MOST_NAMES).unzip();
            // Not every processor can.
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

/// A name that JSON writes in one way, but for [`ESCAPE`]. It has nothing in it that stands between two strings either,
/// so that no text between quotes begins with the end of a string and ends with the beginning of the next.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|it| matches!(it, b' '..=b'~') && !matches!(it, b'"' | b'\\' | b'/' | b',' | b':'))
}

impl Member {
    fn of(plan: &Plan, place: &Place) -> Self {
        let (mut item, mut object) = (Right::ANY, true);
        if place.unnamed {
            let items = place.items.map(|it| plan.place(it)).filter(|it| !it.unnamed && place.tuple.is_empty());
            object = place.others.is_none() && place.patterns.is_empty();
            item = items.map_or(if place.has_items() { Right::NONE } else { Right::ANY }, |it| Right::of(it.wanted));
        }
        Self { scalar: Right::of(place.wanted), item, object }
    }

    fn and(&self, other: &Self) -> Self {
        Self {
            scalar: self.scalar.and(other.scalar),
            item: self.item.and(other.item),
            object: self.object && other.object,
        }
    }

    /// `rest` is what follows a name, or a string that looks like one.
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

    /// Items, and among them none that hold others.
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
    /// Whether the scalar that `value` begins with is right as it is.
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
