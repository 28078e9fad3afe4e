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

/// What precedes the document of a `captured` message.
#[inline(always)]
pub(super) fn head(buffer: &mut Vec<u8>, binding: usize) {
    buffer.extend_from_slice(br#"{"captured":{"binding":"#);
    buffer.extend_from_slice(itoa::Buffer::new().format(binding).as_bytes());
    buffer.extend_from_slice(br#","doc":"#);
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
