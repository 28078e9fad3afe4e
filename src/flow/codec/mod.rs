//! Framing: how requests and responses are laid out in bytes. Nothing else knows it. [`json`] is the one codec today.
//!
//! A writer collects messages and writes them in large pieces; nothing is sent before [`Writer::flush`]. It knows a
//! document's length before its first byte, as a length-prefixed codec needs.

mod json;

use std::io::{self, BufRead, Write};

use super::request::Request;
use super::response::Response;

/// Flow's transport rejects larger messages (F23).
pub const LONGEST_MESSAGE: usize = 64 * 1024 * 1024;

/// How many bytes of a `captured` message are not its document, at most.
pub const CAPTURED_OVERHEAD: usize = json::CAPTURED_OVERHEAD;

/// Large enough that a write costs little compared with what it carries, small enough to stay in the processor's cache.
const PIECE: usize = 128 * 1024;

/// Writes responses to Flow.
pub struct Writer<W> {
    sink: W,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub fn new(sink: W) -> Self {
        Self { sink, buffer: Vec::with_capacity(PIECE + PIECE / 8) }
    }

    /// Any response but a document.
    pub fn send(&mut self, response: &Response) -> io::Result<()> {
        let start = self.buffer.len();
        json::response(&mut self.buffer, response)?;
        let length = self.buffer.len() - start;
        if length > LONGEST_MESSAGE {
            self.buffer.truncate(start);
            return Err(too_large(response.kind(), length));
        }
        if self.buffer.len() > PIECE { self.flush() } else { Ok(()) }
    }

    /// A document of a binding, made of these parts.
    #[inline(always)]
    pub fn captured(&mut self, binding: usize, parts: &[&[u8]]) -> io::Result<()> {
        let length = parts.iter().map(|it| it.len()).sum::<usize>() + CAPTURED_OVERHEAD;
        if self.buffer.len() + length > PIECE {
            return self.overflow(binding, parts, length);
        }
        json::captured(&mut self.buffer, binding, parts);
        Ok(())
    }

    #[cold]
    fn overflow(&mut self, binding: usize, parts: &[&[u8]], length: usize) -> io::Result<()> {
        if length > LONGEST_MESSAGE {
            return Err(too_large("document", length));
        }
        if length < PIECE {
            json::captured(&mut self.buffer, binding, parts);
            let piece = PIECE.min(self.buffer.len());
            self.sink.write_all(&self.buffer[..piece])?;
            self.buffer.drain(..piece);
            return Ok(());
        }
        // A large document is written from where it is.
        self.flush()?;
        json::large_captured(&mut self.sink, binding, parts)
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

/// Reads the next request's bytes into `message`; false at the end of the input. It may be blank: [`request`] skips that.
pub fn read(input: &mut impl BufRead, message: &mut Vec<u8>) -> io::Result<bool> {
    json::read(input, message)
}

/// Parses what [`read`] gave; `None` if it holds no request. The error never quotes it: it may contain secrets.
pub fn request(message: &[u8]) -> anyhow::Result<Option<Request>> {
    if message.trim_ascii().is_empty() { Ok(None) } else { Request::parse(message).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_any_length_arrive_whole_and_in_order() {
        let mut out = Writer::new(Vec::new());
        let mut want = Vec::new();
        for (binding, length) in [(0, 10), (7, PIECE - 50), (123, 3), (4, PIECE), (5, 3 * PIECE), (6, 100)] {
            let text = vec![b'x'; length];
            out.captured(binding, &[b"{\"a\":\"", &text, b"\"}"]).unwrap();
            want.extend(format!("{{\"captured\":{{\"binding\":{binding},\"doc\":{{\"a\":\"").into_bytes());
            want.extend(text);
            want.extend(b"\"}}}\n");
        }
        out.flush().unwrap();
        assert!(out.sink == want);
    }

    #[test]
    fn messages_beyond_the_transports_limit_are_errors() {
        let mut out = Writer::new(io::sink());
        let text = vec![b'x'; LONGEST_MESSAGE];
        assert!(out.captured(0, &[&text]).unwrap_err().to_string().contains("64 MiB"));
        let schema = serde_json::Value::from(String::from_utf8(text).unwrap());
        let response = Response::SourcedSchema { binding: 0, document_schema: &schema };
        assert!(out.send(&response).unwrap_err().to_string().contains("sourcedSchema"));
        assert!(out.is_empty());
    }
}
