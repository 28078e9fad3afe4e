//! Holds documents back until a checkpoint commits them: in memory, and beyond a few megabytes in a temporary file.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

/// The maximum size of what is held back in memory, in bytes.
const MEMORY: usize = 8 * 1024 * 1024;

/// The temporary file is written and read in pieces of this size, which stay in the processor's cache.
const PIECE: usize = 256 * 1024;

pub struct Spool {
    bytes: Vec<u8>,
    /// What precedes that in memory. The file has no name and the mode 0600.
    spilled: Option<File>,
    memory: usize,
}

/// A failed write.
#[derive(Debug)]
pub enum Stuck {
    Output(io::Error),
    Disk(io::Error),
}

impl From<Stuck> for io::Error {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Output(error) => error,
            Stuck::Disk(error) => Self::new(
                error.kind(),
                format!(
                    "documents can't be kept in a temporary file until their checkpoint (set TMPDIR to another directory): {error}"
                ),
            ),
        }
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self { bytes: Vec::new(), spilled: None, memory: MEMORY }
    }
}

impl Spool {
    /// Holds these parts back, one after the other.
    #[inline]
    pub fn push(&mut self, parts: &[&[u8]]) -> Result<(), Stuck> {
        parts.iter().for_each(|it| self.bytes.extend_from_slice(it));
        let most = if self.spilled.is_some() { PIECE.min(self.memory) } else { self.memory };
        if self.bytes.len() > most { self.spill().map_err(Stuck::Disk) } else { Ok(()) }
    }

    #[cold]
    fn spill(&mut self) -> io::Result<()> {
        let mut file = match self.spilled.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        file.write_all(&self.bytes)?;
        self.spilled = Some(file);
        self.bytes.clear();
        Ok(())
    }

    /// Writes everything that is held back.
    pub fn write_to(&mut self, out: &mut impl Write) -> Result<(), Stuck> {
        if let Some(mut file) = self.spilled.take() {
            file.rewind().map_err(Stuck::Disk)?;
            let mut piece = vec![0; PIECE];
            loop {
                let length = file.read(&mut piece).map_err(Stuck::Disk)?;
                if length == 0 {
                    break;
                }
                out.write_all(&piece[..length]).map_err(Stuck::Output)?;
            }
        }
        out.write_all(&self.bytes).map_err(Stuck::Output)?;
        self.bytes.clear();
        Ok(())
    }

    /// Drops everything that is held back.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spilled = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_leave_in_order() {
        for memory in [4, 10, 1000] {
            let (mut spool, mut out) = (Spool { memory, ..Spool::default() }, Vec::new());
            let push = |spool: &mut Spool, text: &str| spool.push(&[text.as_bytes(), b";"]).unwrap();
            push(&mut spool, "1");
            spool.write_to(&mut out).unwrap();
            push(&mut spool, "22");
            push(&mut spool, "333");
            assert_eq!(out, b"1;");
            push(&mut spool, "4444");
            spool.write_to(&mut out).unwrap();
            push(&mut spool, "dropped");
            spool.clear();
            push(&mut spool, "5");
            spool.write_to(&mut out).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), "1;22;333;4444;5;", "{memory}");
        }
    }
}
