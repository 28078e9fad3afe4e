//! The protobuf codec: each message follows its length, a `u32` in little-endian order (Q1).

use std::io::{self, Read};

use anyhow::{Context, Result, bail};
use prost::Message;

use super::{CANNOT_READ, messages};
use crate::flow::request::Request;
use crate::flow::response::Response;

/// Longer requests would be taken for JSON (Q6).
const LONGEST_REQUEST: u32 = 0x2000_0000;

pub(super) fn response(buffer: &mut Vec<u8>, response: &Response) -> io::Result<()> {
    let message = messages::Response::try_from(response)?;
    buffer.extend_from_slice(&prefix(message.encoded_len()));
    message.encode(buffer)?;
    Ok(())
}

/// What precedes the document of a `captured` message: at most 20 bytes (Q12). Nothing follows it.
#[inline(always)]
pub(super) fn head(buffer: &mut Vec<u8>, binding: usize, length: usize) {
    // A field is its number and type in one byte, then its value or the length of its value. Zero is left out (Q8).
    let binding_length = if binding == 0 { 0 } else { 1 + varint_length(binding) };
    let captured_length = binding_length + 1 + varint_length(length) + length;
    buffer.extend_from_slice(&prefix(1 + varint_length(captured_length) + captured_length));
    buffer.push(6 << 3 | LENGTH_DELIMITED);
    varint(buffer, captured_length);
    if binding != 0 {
        buffer.push(1 << 3);
        varint(buffer, binding);
    }
    buffer.push(2 << 3 | LENGTH_DELIMITED);
    varint(buffer, length);
}

/// The wire type of text and messages.
const LENGTH_DELIMITED: u8 = 2;

/// The writer rejects messages whose length is cut here, as they are far beyond the transport's limit.
fn prefix(length: usize) -> [u8; 4] {
    (length as u32).to_le_bytes()
}

/// Seven bits per byte, the lowest first; the high bit says that more follow.
#[inline]
fn varint(buffer: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

#[inline]
fn varint_length(value: usize) -> usize {
    1 + (value | 1).ilog2() as usize / 7
}

/// The next request; `None` at the end of the input.
pub(super) fn request(input: &mut impl Read) -> Result<Option<Request>> {
    let mut prefix = Vec::new();
    let length = match input.take(4).read_to_end(&mut prefix).context(CANNOT_READ)? {
        0 => return Ok(None),
        _ => u32::from_le_bytes(prefix.as_slice().try_into().context("the input ends within a request's length")?),
    };
    if length >= LONGEST_REQUEST {
        bail!("the runtime announced a request of {length} bytes");
    }
    // It grows with what arrives: a wrong length costs no memory.
    let mut message = Vec::new();
    let read = input.take(length.into()).read_to_end(&mut message).context(CANNOT_READ)?;
    if read < length as usize {
        bail!("the input ends after {read} of a request's {length} bytes");
    }
    let message =
        messages::Request::decode(message.as_slice()).context("the runtime sent a request that can't be read")?;
    Request::try_from(message).map(Some)
}
