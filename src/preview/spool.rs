//! Buffers documents until a checkpoint commits them: in memory, and beyond a few megabytes in a temporary file.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

/// The maximum size of uncommitted documents in memory, in bytes.
const MEMORY: usize = 8 * 1024 * 1024;

/// Released documents are written in chunks of about this size, or on [`Spool::flush`].
const PIECE: usize = 128 * 1024;

pub struct Spool<W> {
    out: W,
    /// Released but unwritten documents, followed by uncommitted ones.
    bytes: Vec<u8>,
    released: usize,
    /// Uncommitted documents that precede those in memory.
    spilled: Option<File>,
    memory: usize,
}

/// A failed write.
#[derive(Debug)]
pub enum Stuck {
    Output(io::Error),
    Disk(io::Error),
}

impl<W: Write> Spool<W> {
    pub fn new(out: W) -> Self {
        Self::with_memory(out, MEMORY)
    }

    fn with_memory(out: W, memory: usize) -> Self {
        Self { out, bytes: Vec::new(), released: 0, spilled: None, memory }
    }

    /// Adds a document's line.
    #[inline]
    pub fn push(&mut self, parts: [&[u8]; 3]) -> Result<(), Stuck> {
        parts.iter().for_each(|it| self.bytes.extend_from_slice(it));
        if self.bytes.len() > self.memory { self.spill() } else { Ok(()) }
    }

    #[cold]
    fn spill(&mut self) -> Result<(), Stuck> {
        self.flush()?;
        let mut file = match self.spilled.take() {
            Some(file) => file,
            None => tempfile::tempfile().map_err(Stuck::Disk)?,
        };
        file.write_all(&self.bytes).map_err(Stuck::Disk)?;
        self.spilled = Some(file);
        self.bytes.clear();
        Ok(())
    }

    /// Releases everything added so far.
    pub fn release(&mut self) -> Result<(), Stuck> {
        if let Some(mut file) = self.spilled.take() {
            // Documents released before were written when the first of these was spilled.
            file.rewind().map_err(Stuck::Disk)?;
            let mut piece = vec![0; 8 * PIECE];
            loop {
                let length = file.read(&mut piece).map_err(Stuck::Disk)?;
                if length == 0 {
                    break;
                }
                self.out.write_all(&piece[..length]).map_err(Stuck::Output)?;
            }
        }
        self.released = self.bytes.len();
        if self.released >= PIECE { self.flush() } else { Ok(()) }
    }

    /// Writes the released documents.
    pub fn flush(&mut self) -> Result<(), Stuck> {
        if self.released > 0 {
            self.out.write_all(&self.bytes[..self.released]).map_err(Stuck::Output)?;
            self.bytes.drain(..self.released);
            self.released = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_leave_in_order_once_released() {
        for memory in [4, 10, 1000] {
            let mut spool = Spool::with_memory(Vec::new(), memory);
            let push = |spool: &mut Spool<_>, text: &str| spool.push([text.as_bytes(), b"", b";"]).unwrap();
            push(&mut spool, "1");
            spool.release().unwrap();
            push(&mut spool, "22");
            push(&mut spool, "333");
            spool.flush().unwrap();
            assert_eq!(spool.out, b"1;");
            push(&mut spool, "4444");
            spool.release().unwrap();
            push(&mut spool, "never");
            spool.flush().unwrap();
            assert_eq!(String::from_utf8_lossy(&spool.out), "1;22;333;4444;", "{memory}");
        }
    }
}
