//! Going through a value container by container, in steps: the caller keeps what is open, so that nothing recurses.

use super::{Fault, Key, Scanner};

/// What comes next in an open container.
pub enum Inside<'a> {
    /// A member; its value is next.
    Member(Key<'a>),
    Item,
    End,
}

impl<'a> Scanner<'a, '_> {
    /// Goes into the object or array that comes next.
    pub fn enter(&mut self) {
        self.peek();
        self.at += 1;
    }

    /// The next thing in the container that is open. `first` is said right behind its beginning.
    pub fn inside(&mut self, object: bool, first: bool) -> Result<Inside<'a>, Fault> {
        match (self.peek(), object) {
            (Some(b'}'), true) | (Some(b']'), false) => {
                self.at += 1;
                return Ok(Inside::End);
            }
            (Some(b','), _) if !first => self.at += 1,
            (Some(_), _) if first => {}
            _ => return Err(self.fault("expected ',' or the end of what is open")),
        }
        if object { self.key().map(Inside::Member) } else { Ok(Inside::Item) }
    }
}
