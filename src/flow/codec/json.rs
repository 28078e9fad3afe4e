//! The JSON codec: one object per line, whose only member is named after the message (F1, F2).

use std::io::{self, BufRead, Write};

use crate::flow::response::Response;

const HEAD: &[u8] = br#"{"captured":{"binding":"#;
const DOCUMENT: &[u8] = br#","doc":"#;
const END: &[u8] = b"}}\n";

/// With the longest possible binding.
pub(super) const CAPTURED_OVERHEAD: usize = HEAD.len() + 20 + DOCUMENT.len() + END.len();

pub(super) fn response(buffer: &mut Vec<u8>, response: &Response) -> io::Result<()> {
    serde_json::to_writer(&mut *buffer, response)?;
    buffer.push(b'\n');
    Ok(())
}

#[inline(always)]
pub(super) fn captured(buffer: &mut Vec<u8>, binding: usize, parts: &[&[u8]]) {
    buffer.extend_from_slice(HEAD);
    buffer.extend_from_slice(itoa::Buffer::new().format(binding).as_bytes());
    buffer.extend_from_slice(DOCUMENT);
    for part in parts {
        buffer.extend_from_slice(part);
    }
    buffer.extend_from_slice(END);
}

pub(super) fn large_captured(sink: &mut impl Write, binding: usize, parts: &[&[u8]]) -> io::Result<()> {
    let mut head = Vec::with_capacity(CAPTURED_OVERHEAD);
    head.extend_from_slice(HEAD);
    head.extend_from_slice(itoa::Buffer::new().format(binding).as_bytes());
    head.extend_from_slice(DOCUMENT);
    sink.write_all(&head)?;
    for part in parts {
        sink.write_all(part)?;
    }
    sink.write_all(END)
}

pub(super) fn read(input: &mut impl BufRead, message: &mut Vec<u8>) -> io::Result<bool> {
    message.clear();
    Ok(input.read_until(b'\n', message)? > 0)
}
