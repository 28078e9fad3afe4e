//! What the shim answers: one JSON object a line, each written whole (F1).

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, value::RawValue};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Response<'a> {
    Spec(&'a Spec),
    Discovered {
        bindings: Vec<DiscoveredBinding>,
    },
    Validated {
        bindings: Vec<ValidatedBinding>,
    },
    Applied {},
    Opened {},
    #[serde(rename_all = "camelCase")]
    SourcedSchema {
        binding: usize,
        document_schema: &'a Value,
    },
    Checkpoint {
        state: StateUpdate<'a>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    pub protocol: u32,
    pub config_schema: Value,
    pub resource_config_schema: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<Value>,
    pub documentation_url: String,
    pub resource_path_pointers: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredBinding {
    pub recommended_name: String,
    pub resource_config: Value,
    pub document_schema: Value,
    pub key: Vec<String>,
    /// F18.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_fallback_key: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatedBinding {
    pub resource_path: Vec<String>,
}

/// A merge patch of the state (F8), already as text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateUpdate<'a> {
    pub updated: &'a RawValue,
    pub merge_patch: bool,
}

/// Collects responses and writes them in large pieces; nothing is on its way before [`Output::flush`].
pub struct Output<W> {
    sink: W,
    buffer: Vec<u8>,
}

/// Enough that a write costs little beside what it carries, and small enough to stay in the processor's cache.
const PIECE: usize = 128 * 1024;

impl<W: Write> Output<W> {
    pub fn new(sink: W) -> Self {
        Self { sink, buffer: Vec::with_capacity(PIECE + PIECE / 8) }
    }

    pub fn send(&mut self, response: &Response) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, response)?;
        self.buffer.push(b'\n');
        if self.buffer.len() > PIECE { self.flush() } else { Ok(()) }
    }

    /// Appends a part of a message. A large part is written from where it lies.
    #[inline]
    pub fn text(&mut self, part: &[u8]) -> io::Result<()> {
        if self.buffer.len() + part.len() <= PIECE {
            self.buffer.extend_from_slice(part);
            return Ok(());
        }
        self.overflow(part)
    }

    #[cold]
    fn overflow(&mut self, part: &[u8]) -> io::Result<()> {
        if part.len() < PIECE {
            let (now, later) = part.split_at(PIECE - self.buffer.len());
            self.buffer.extend_from_slice(now);
            self.flush()?;
            self.buffer.extend_from_slice(later);
            return Ok(());
        }
        self.flush()?;
        self.sink.write_all(part)
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
