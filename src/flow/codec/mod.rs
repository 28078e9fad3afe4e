//! Framing: how requests and responses are laid out in bytes. Nothing else knows it. There are two codecs, [`json`] and
//! [`proto`]; which of them a runtime speaks shows in its first request, and the answers are in the same one.
//!
//! A writer collects messages and writes them in large pieces; nothing is sent before [`Writer::flush`]. It knows a
//! document's length before its first byte, as a length-prefixed codec needs.

mod json;
mod messages;
mod proto;
#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Chain, Cursor, Read, Write};

use anyhow::{Context, Result};

use super::request::Request;
use super::response::Response;

/// Flow's transport rejects larger messages (F23).
pub const LONGEST_MESSAGE: usize = 64 * 1024 * 1024;

/// How many bytes of a `captured` message are not its document, at most and in either codec: JSON has more of them.
pub const CAPTURED_OVERHEAD: usize = b"{\"captured\":{\"binding\":18446744073709551615,\"doc\":}}\n".len();

/// Large enough that a write costs little compared with what it carries, small enough to stay in the processor's cache.
const PIECE: usize = 128 * 1024;

/// What a failed read is called.
const CANNOT_READ: &str = "can't read the runtime's requests";

/// How messages are laid out in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Json,
    Proto,
}

/// Reads Flow's requests, up to the first that can't be read.
pub struct Reader<R> {
    codec: Codec,
    input: BufReader<Chain<Cursor<Vec<u8>>, R>>,
}

impl<R: Read> Reader<R> {
    /// Waits for the first four bytes: the fourth shows the codec (Q6). It is a character of a JSON text, or the highest
    /// byte of a length.
    pub fn new(mut input: R) -> Result<Self> {
        let mut first = Vec::new();
        input.by_ref().take(4).read_to_end(&mut first).context(CANNOT_READ)?;
        let codec = if first.get(3).is_some_and(|it| *it < b' ') { Codec::Proto } else { Codec::Json };
        Ok(Self { codec, input: BufReader::new(Cursor::new(first).chain(input)) })
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The next request; `None` at the end of the input.
    pub fn request(&mut self) -> Result<Option<Request>> {
        match self.codec {
            Codec::Json => json::request(&mut self.input),
            Codec::Proto => proto::request(&mut self.input),
        }
    }
}

/// Writes responses to Flow.
pub struct Writer<W> {
    sink: W,
    buffer: Vec<u8>,
    codec: Codec,
    head: json::Head,
}

impl<W: Write> Writer<W> {
    pub fn new(sink: W) -> Self {
        Self { sink, buffer: Vec::with_capacity(PIECE + PIECE / 8), codec: Codec::Json, head: json::Head::default() }
    }

    /// A writer to another sink, in the same codec. Nothing may be left to flush.
    pub fn to<V>(self, sink: impl FnOnce(W) -> V) -> Writer<V> {
        Writer { sink: sink(self.sink), buffer: self.buffer, codec: self.codec, head: self.head }
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    pub fn sink(&mut self) -> &mut W {
        &mut self.sink
    }

    /// What is not flushed is lost.
    pub fn into_sink(self) -> W {
        self.sink
    }

    /// The codec of what is sent from now on.
    pub fn set_codec(&mut self, codec: Codec) {
        self.codec = codec;
    }

    /// Any response but a document.
    pub fn send(&mut self, response: &Response) -> io::Result<()> {
        let start = self.buffer.len();
        let written = match self.codec {
            Codec::Json => json::response(&mut self.buffer, response),
            Codec::Proto => proto::response(&mut self.buffer, response),
        };
        let length = self.buffer.len() - start;
        if written.is_err() || length > LONGEST_MESSAGE {
            self.buffer.truncate(start);
            return written.and_then(|()| Err(too_large(response.kind(), length)));
        }
        if self.buffer.len() > PIECE { self.flush() } else { Ok(()) }
    }

    /// A document of a binding, made of these parts.
    #[inline(always)]
    pub fn captured(&mut self, binding: usize, parts: &[&[u8]]) -> io::Result<()> {
        let length = parts.iter().map(|it| it.len()).sum::<usize>();
        if self.buffer.len() + length + CAPTURED_OVERHEAD > PIECE {
            return self.overflow(binding, parts, length);
        }
        self.append(binding, parts, length);
        Ok(())
    }

    #[inline(always)]
    fn append(&mut self, binding: usize, parts: &[&[u8]], length: usize) {
        self.head(binding, length);
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        if self.codec == Codec::Json {
            self.buffer.extend_from_slice(json::END);
        }
    }

    #[cold]
    fn overflow(&mut self, binding: usize, parts: &[&[u8]], length: usize) -> io::Result<()> {
        if length + CAPTURED_OVERHEAD < PIECE {
            self.append(binding, parts, length);
            let piece = PIECE.min(self.buffer.len());
            self.sink.write_all(&self.buffer[..piece])?;
            self.buffer.drain(..piece);
            return Ok(());
        }
        let start = self.buffer.len();
        self.head(binding, length);
        let end = if self.codec == Codec::Json { json::END } else { b"" };
        let message = self.buffer.len() - start + length + end.len();
        if message > LONGEST_MESSAGE {
            self.buffer.truncate(start);
            return Err(too_large("document", message));
        }
        // A large document is written from where it is.
        self.flush()?;
        for part in parts {
            self.sink.write_all(part)?;
        }
        self.sink.write_all(end)
    }

    /// What precedes the document of a `captured` message.
    #[inline(always)]
    fn head(&mut self, binding: usize, length: usize) {
        match self.codec {
            Codec::Json => self.buffer.extend_from_slice(self.head.of(binding)),
            Codec::Proto => proto::head(&mut self.buffer, binding, length),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub fn flush(&mut self) -> io::Result<()> {
        let written = self.sink.write_all(&self.buffer);
        self.buffer.clear();
        written
    }
}

fn too_large(what: &str, length: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a {what} of {length} bytes is more than Flow takes (64 MiB)"))
}
