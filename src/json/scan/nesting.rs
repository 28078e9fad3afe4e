//! The stack of open containers of a scanner.

/// One bit for each open container, set for objects; levels beyond 64 are on the heap.
#[derive(Default)]
pub(super) struct Nesting {
    bits: u64,
    depth: u32,
    spilled: Vec<u64>,
}

impl Nesting {
    #[inline]
    pub(super) fn push(&mut self, object: bool) {
        if self.depth == 64 {
            self.spilled.push(self.bits);
            self.depth = 0;
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    #[inline]
    pub(super) fn pop(&mut self) {
        self.bits >>= 1;
        self.depth -= 1;
        if self.depth == 0
            && let Some(bits) = self.spilled.pop()
        {
            self.bits = bits;
            self.depth = 64;
        }
    }

    #[inline]
    pub(super) fn top(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }
}
