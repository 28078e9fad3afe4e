//! The JSON codec: one object per line, whose only member is named after the message (F1, F2).

use std::io::{self, BufRead};

use anyhow::{Context, Result};

use super::CANNOT_READ;
use crate::flow::request::Request;
use crate::flow::response::Response;

pub(super) fn response(buffer: &mut Vec<u8>, response: &Response) -> io::Result<()> {
    serde_json::to_writer(&mut *buffer, response)?;
    buffer.push(b'\n');
    Ok(())
}

/// What precedes the document of a `captured` message. Kept, as the next document is usually of the same binding.
#[derive(Default)]
pub(super) struct Head {
    binding: usize,
    text: Vec<u8>,
}

impl Head {
    #[inline(always)]
    pub(super) fn of(&mut self, binding: usize) -> &[u8] {
        if self.text.is_empty() || self.binding != binding {
            self.change(binding);
        }
        &self.text
    }

    #[cold]
    fn change(&mut self, binding: usize) {
        self.binding = binding;
        self.text = format!(r#"{{"captured":{{"binding":{binding},"doc":"#).into_bytes();
    }
}

/// What follows the document.
pub(super) const END: &[u8] = b"}}\n";

/// The next request; `None` at the end of the input. Blank lines are skipped.
pub(super) fn request(input: &mut impl BufRead) -> Result<Option<Request>> {
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).context(CANNOT_READ)? > 0 {
        if !line.trim_ascii().is_empty() {
            return Request::parse(&line).map(Some);
        }
        line.clear();
    }
    Ok(None)
}
