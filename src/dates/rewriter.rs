//! Through a document along a plan, to replace the dates that are not right.

use std::ops::Range;

use super::date_schema::{PlaceId, Plan, ROOT};
use crate::json::hints::Hints;
use crate::json::scan::inside::Inside;
use crate::json::scan::{Fault, Kind, Scanner};

/// What one walk leaves for the next: room, and the names that it met.
#[derive(Default)]
pub struct Rewriter {
    hints: Hints,
    open: Vec<Container>,
    value: Vec<u8>,
    text: Vec<u8>,
    edits: Vec<Edit>,
}

struct Container {
    place: PlaceId,
    object: bool,
    /// Members or items that were met.
    count: usize,
}

struct Edit {
    /// Where the old value ended.
    end: usize,
    /// How much longer the text up to there has become.
    growth: isize,
}

impl Rewriter {
    /// The document with its dates in the wanted forms; none where that changes nothing.
    pub fn through(&mut self, plan: &Plan, document: &[u8], marks: &mut [usize]) -> Option<&[u8]> {
        self.open.clear();
        self.text.clear();
        self.edits.clear();
        // It was scanned before: there can be no fault.
        self.walk(plan, document).ok()?;
        let last = self.edits.last()?;
        self.text.extend_from_slice(&document[last.end..]);
        for mark in marks {
            if let Some(edit) = self.edits.iter().rev().find(|it| it.end <= *mark) {
                *mark = mark.saturating_add_signed(edit.growth);
            }
        }
        Some(&self.text)
    }

    fn walk(&mut self, plan: &Plan, document: &[u8]) -> Result<(), Fault> {
        let mut hints = std::mem::take(&mut self.hints);
        let mut scanner = Scanner::new(document, &mut hints);
        let mut next = Some(ROOT);
        let walked = loop {
            if let Err(fault) = self.value(plan, document, &mut scanner, next) {
                break Err(fault);
            }
            match self.step(plan, &mut scanner) {
                Ok(Some(place)) => next = place,
                Ok(None) => break Ok(()),
                Err(fault) => break Err(fault),
            }
        };
        self.hints = hints;
        walked
    }

    /// Takes the next value, or goes into it.
    fn value(
        &mut self,
        plan: &Plan,
        document: &[u8],
        scanner: &mut Scanner,
        place: Option<PlaceId>,
    ) -> Result<(), Fault> {
        let Some(id) = place else { return scanner.value().map(drop) };
        let place = plan.place(id);
        match (scanner.kind(), place.wanted) {
            (Some(Kind::Object), _) if place.has_members() => self.enter(scanner, id, true),
            (Some(Kind::Array), _) if place.has_items() => self.enter(scanner, id, false),
            (Some(Kind::String | Kind::Number), Some(wanted)) => {
                let range = scanner.value()?;
                if wanted.rewrite(&document[range.clone()], &mut self.value) {
                    self.replace(document, range);
                }
            }
            _ => {
                scanner.value()?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, scanner: &mut Scanner, place: PlaceId, object: bool) {
        scanner.enter();
        self.open.push(Container { place, object, count: 0 });
    }

    /// The place of the next value, if any is left.
    fn step(&mut self, plan: &Plan, scanner: &mut Scanner) -> Result<Option<Option<PlaceId>>, Fault> {
        while let Some(container) = self.open.last_mut() {
            let index = container.count;
            container.count += 1;
            match scanner.inside(container.object, index == 0)? {
                Inside::Member(key) => return Ok(Some(plan.place(container.place).member(&key.name()))),
                Inside::Item => return Ok(Some(plan.place(container.place).item(index))),
                Inside::End => drop(self.open.pop()),
            }
        }
        Ok(None)
    }

    fn replace(&mut self, document: &[u8], range: Range<usize>) {
        let (from, growth) = self.edits.last().map_or((0, 0), |it| (it.end, it.growth));
        self.text.extend_from_slice(&document[from..range.start]);
        self.text.extend_from_slice(&self.value);
        let growth = growth + self.value.len() as isize - range.len() as isize;
        self.edits.push(Edit { end: range.end, growth });
    }
}
