//! The full traversal: follows a document and its [`DateSchema`] side by side and replaces the dates that are not RFC 3339.

use std::ops::Range;

use super::date_schema::{DateSchema, NodeId, ROOT};
use super::value::Wanted;
use crate::json::hints::Hints;
use crate::json::scan::inside::Inside;
use crate::json::scan::{Fault, Kind, Scanner};

/// Buffers and member names that one traversal leaves for the next.
#[derive(Default)]
pub struct Rewriter {
    hints: Hints,
    open: Vec<Container>,
    value: Vec<u8>,
    text: Vec<u8>,
    /// Where the last value that was replaced ends in the document; none if none was.
    replaced: Option<usize>,
}

struct Container {
    node: NodeId,
    object: bool,
    /// Members or items so far.
    count: usize,
}

impl Rewriter {
    /// The document with its dates in the wanted forms; none if that changes nothing.
    pub fn rewrite(&mut self, schema: &DateSchema, document: &[u8]) -> Option<&[u8]> {
        self.start();
        self.open.clear();
        // The document was scanned before, so this does not fail.
        self.traverse(schema, document).ok()?;
        self.end(document)
    }

    /// The same, where these are the values that may not be in the wanted forms, in the order of the text.
    pub fn rewrite_values(&mut self, values: &[(Range<usize>, Wanted)], document: &[u8]) -> Option<&[u8]> {
        self.start();
        for (range, wanted) in values {
            self.rewrite_value(*wanted, document, range.clone());
        }
        self.end(document)
    }

    fn start(&mut self) {
        self.text.clear();
        self.replaced = None;
    }

    fn end(&mut self, document: &[u8]) -> Option<&[u8]> {
        self.text.extend_from_slice(&document[self.replaced?..]);
        Some(&self.text)
    }

    fn traverse(&mut self, schema: &DateSchema, document: &[u8]) -> Result<(), Fault> {
        let mut hints = std::mem::take(&mut self.hints);
        let mut scanner = Scanner::new(document, &mut hints);
        let mut next = Some(ROOT);
        let result = loop {
            if let Err(fault) = self.value(schema, document, &mut scanner, next) {
                break Err(fault);
            }
            match self.step(schema, &mut scanner) {
                Ok(Some(node)) => next = node,
                Ok(None) => break Ok(()),
                Err(fault) => break Err(fault),
            }
        };
        self.hints = hints;
        result
    }

    /// Reads the next value, or enters it if a date may be inside.
    fn value(
        &mut self,
        schema: &DateSchema,
        document: &[u8],
        scanner: &mut Scanner,
        node: Option<NodeId>,
    ) -> Result<(), Fault> {
        let Some(id) = node else { return scanner.value().map(drop) };
        let node = schema.node(id);
        match (scanner.kind(), node.wanted) {
            (Some(Kind::Object), _) if node.has_members() => self.enter(scanner, id, true),
            (Some(Kind::Array), _) if node.has_items() => self.enter(scanner, id, false),
            (Some(Kind::String | Kind::Number), Some(wanted)) => {
                let range = scanner.value()?;
                self.rewrite_value(wanted, document, range);
            }
            _ => {
                scanner.value()?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, scanner: &mut Scanner, node: NodeId, object: bool) {
        scanner.enter();
        self.open.push(Container { node, object, count: 0 });
    }

    /// The place of the next value, if any is left.
    fn step(&mut self, schema: &DateSchema, scanner: &mut Scanner) -> Result<Option<Option<NodeId>>, Fault> {
        while let Some(container) = self.open.last_mut() {
            let index = container.count;
            container.count += 1;
            match scanner.inside(container.object, index == 0)? {
                Inside::Member(key) => return Ok(Some(schema.node(container.node).member(&key.name()))),
                Inside::Item => return Ok(Some(schema.node(container.node).item(index))),
                Inside::End => drop(self.open.pop()),
            }
        }
        Ok(None)
    }

    fn rewrite_value(&mut self, wanted: Wanted, document: &[u8], range: Range<usize>) {
        if wanted.rewrite(&document[range.clone()], &mut self.value) {
            self.text.extend_from_slice(&document[self.replaced.unwrap_or(0)..range.start]);
            self.text.extend_from_slice(&self.value);
            self.replaced = Some(range.end);
        }
    }
}
