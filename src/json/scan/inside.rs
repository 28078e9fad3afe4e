//! Traverses a value step by step. The caller keeps the stack of open containers, so there is no recursion.

use super::{Fault, Key, Scanner, What};

/// The next element of an open container.
pub enum Inside<'a> {
    /// A member; its value is next.
    Member(Key<'a>),
    Item,
    End,
}

impl<'a> Scanner<'a, '_> {
    /// Enters the object or array that is next.
    pub fn enter(&mut self) {
        self.peek();
        self.at += 1;
    }

    /// The next element of the open container. `first`: directly after its start.
    pub fn inside(&mut self, object: bool, first: bool) -> Result<Inside<'a>, Fault> {
        match (self.peek(), object) {
            (Some(b'}'), true) | (Some(b']'), false) => {
                self.at += 1;
                return Ok(Inside::End);
            }
            (Some(b','), _) if !first => self.at += 1,
            (Some(_), _) if first => {}
            _ => return Err(self.fault(What::NoCommaOrEnd)),
        }
        if object { self.key().map(Inside::Member) } else { Ok(Inside::Item) }
    }
}
