//! Members that a scan takes note of, by their names: those of a record's key, its dates.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;

/// A name in a [`Watchlist`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameId(NonZeroU32);

/// Names of members. A name keeps its id when others are added.
#[derive(Clone)]
pub struct Watchlist {
    ids: HashMap<Box<[u8]>, NameId>,
    /// The bytes that a name begins with: most members are ruled out by this table alone.
    first: [bool; 256],
}

impl Default for Watchlist {
    fn default() -> Self {
        Self { ids: HashMap::new(), first: [false; 256] }
    }
}

impl Watchlist {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of a name, which is added if it is new.
    pub fn add(&mut self, name: &str) -> NameId {
        if let Some(first) = name.bytes().next() {
            self.first[usize::from(first)] = true;
        }
        let next = NameId(NonZeroU32::MIN.saturating_add(short(self.ids.len())));
        *self.ids.entry(name.as_bytes().into()).or_insert(next)
    }

    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<NameId> {
        match name.first() {
            Some(first) if !self.first[usize::from(*first)] => None,
            _ => self.ids.get(name).copied(),
        }
    }
}

/// The watched members of one text. Positions count from the start of the text, or of the part of it that was looked for.
#[derive(Default)]
pub struct Found {
    members: Vec<Member>,
    /// Members inside of others were left out, as there are too many.
    incomplete: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub name: NameId,
    /// It is a member of the outermost object, so all of its value is known; otherwise only where it starts.
    pub at_top: bool,
    start: u32,
    end: u32,
}

impl Member {
    #[inline]
    pub fn value(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// No more members than this are noted, but for the last of each name at the top.
const MOST: usize = 4096;

impl Found {
    pub fn clear(&mut self) {
        self.members.clear();
        self.incomplete = false;
    }

    /// Notes a member of the outermost object.
    #[inline]
    pub fn note(&mut self, name: NameId, value: Range<usize>) {
        let member = Member { name, at_top: true, start: short(value.start), end: short(value.end) };
        if self.members.len() < MOST { self.members.push(member) } else { self.replace(member) }
    }

    /// Of several members with one name the last one counts.
    #[cold]
    fn replace(&mut self, member: Member) {
        match self.members.iter_mut().rev().find(|it| it.at_top && it.name == member.name) {
            Some(earlier) => *earlier = member,
            None => self.members.push(member),
        }
        self.incomplete = true;
    }

    /// Notes a member of an object inside of the outermost one.
    #[inline]
    pub fn note_inside(&mut self, name: NameId, start: usize) {
        if self.members.len() < MOST {
            self.members.push(Member { name, at_top: false, start: short(start), end: short(start) });
        } else {
            self.incomplete = true;
        }
    }

    /// Notes the members of another text, which is in this one from `start` on and inside of its outermost object.
    pub fn note_all_inside(&mut self, other: &Self, start: usize) {
        other.members.iter().for_each(|it| self.note_inside(it.name, start + it.start as usize));
        self.incomplete |= other.incomplete;
    }

    /// From now on, positions count from `start`. Members found later are not part of the text.
    #[inline]
    pub fn rebase(&mut self, start: usize) {
        let start = short(start);
        for member in &mut self.members {
            member.start = member.start.saturating_sub(start);
            member.end = member.end.saturating_sub(start);
        }
    }

    /// All watched members, in the order of the text; none if there are too many of them.
    #[inline]
    pub fn all(&self) -> Option<&[Member]> {
        if self.incomplete { None } else { Some(&self.members) }
    }

    /// Where the value of a member of the outermost object is.
    #[inline]
    pub fn at_top(&self, name: NameId) -> Option<Range<usize>> {
        // A loop, as `find` would be a call.
        for member in self.members.iter().rev() {
            if member.name == name && member.at_top {
                return Some(member.value());
            }
        }
        None
    }
}

/// Texts are shorter than 4 GiB.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
