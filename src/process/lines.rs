//! Lines from a pipe, borrowed from one buffer that grows to the longest of them.

use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const BUFFER: usize = 512 * 1024;

/// The longest line that is kept. Flow's transport takes no message beyond 64 MiB (F23); there has to be room for
/// what an upstream message has around its payload.
pub const LONGEST: usize = 72 * 1024 * 1024;

/// What is kept of a line longer than that, to tell what it was.
const HEAD: usize = 64 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Without its newline.
    Whole(&'a [u8]),
    /// What the input ended with, where no newline did.
    Cut(&'a [u8]),
    /// A line too long to keep: how it began, and how long it was.
    TooLong { head: &'a [u8], length: usize },
}

pub struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// The unread bytes: `start..end`, with no newline before `searched`.
    start: usize,
    searched: usize,
    end: usize,
    /// Where the next newline is, once it has been found.
    newline: Option<usize>,
    longest: usize,
    /// Bytes already dropped of a line that is too long.
    dropped: usize,
    /// All bytes read so far.
    pub read: u64,
    ended: bool,
}

impl<R: Read + AsFd> Lines<R> {
    pub fn new(input: R) -> Self {
        Self::with_limits(input, BUFFER, LONGEST)
    }

    fn with_limits(input: R, size: usize, longest: usize) -> Self {
        let buffer = vec![0; size];
        Self { input, buffer, start: 0, searched: 0, end: 0, newline: None, longest, dropped: 0, read: 0, ended: false }
    }

    /// The next line out of the buffer; none: [`Lines::fill`] it.
    #[inline(always)]
    pub fn take(&mut self) -> Option<Line<'_>> {
        if self.newline.is_none() {
            self.search();
        }
        let Some(newline) = self.newline.take() else { return self.rest() };
        let from = self.start;
        self.start = newline + 1;
        self.searched = self.start;
        let line = &self.buffer[from..newline];
        if self.dropped > 0 {
            let length = std::mem::take(&mut self.dropped) + line.len();
            return Some(Line::TooLong { head: &line[..line.len().min(HEAD)], length });
        }
        Some(Line::Whole(line))
    }

    #[inline]
    fn search(&mut self) {
        let offset = memchr::memchr(b'\n', &self.buffer[self.searched..self.end]);
        self.newline = offset.map(|it| self.searched + it);
        self.searched = self.newline.unwrap_or(self.end);
    }

    /// Whether [`Lines::take`] gives a line, or the input has ended: there is nothing to wait for.
    #[inline]
    pub fn has_next(&mut self) -> bool {
        if self.newline.is_none() {
            self.search();
        }
        self.newline.is_some() || self.ended
    }

    /// Reads what can be read without waiting, up to the end of the next line. Whether there is nothing to wait for.
    pub fn fill_ready(&mut self) -> bool {
        while !self.has_next() {
            if !self.ready() {
                return false;
            }
            if self.fill().is_err() {
                // The next read reports it.
                return true;
            }
        }
        true
    }

    #[cold]
    fn rest(&mut self) -> Option<Line<'_>> {
        let from = self.start;
        if !self.ended || from == self.end {
            return None;
        }
        self.start = self.end;
        let line = &self.buffer[from..self.end];
        if self.dropped > 0 {
            let length = std::mem::take(&mut self.dropped) + line.len();
            return Some(Line::TooLong { head: &line[..line.len().min(HEAD)], length });
        }
        Some(Line::Cut(line))
    }

    /// Reads more; false at the end of the input, when the last line may still be in the buffer.
    pub fn fill(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched -= self.start;
            self.newline = self.newline.map(|it| it - self.start);
            self.start = 0;
        }
        if self.end >= self.longest {
            // Keep how the line began, drop the rest as it comes.
            self.dropped += self.end - HEAD;
            self.end = HEAD;
            self.searched = HEAD;
        }
        if self.end == self.buffer.len() {
            // By a quarter: memory stays close to the longest line.
            let size = (self.end + self.end / 4).min(self.longest);
            self.buffer.resize(size.max(self.end + 1), 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(false);
                }
                Ok(count) => {
                    self.end += count;
                    self.read += count as u64;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether [`Lines::fill`] would return at once.
    pub fn ready(&self) -> bool {
        let mut fds = [PollFd::new(&self.input, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        !matches!(poll(&mut fds, Some(&now)), Ok(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines_of(text: &[u8], size: usize, longest: usize) -> Vec<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut lines = Lines::with_limits(file, size, longest);
        let mut found = Vec::new();
        loop {
            while let Some(line) = lines.take() {
                found.push(match line {
                    Line::Whole(it) => String::from_utf8_lossy(it).into_owned(),
                    Line::Cut(it) => format!("cut {}", String::from_utf8_lossy(it)),
                    Line::TooLong { head, length } => format!("long {} {length}", head.len()),
                });
            }
            if lines.ended {
                return found;
            }
            lines.fill().unwrap();
        }
    }

    #[test]
    fn lines_come_whole_whatever_the_buffer() {
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(
                lines_of(b"one\n\nthree and more\nx\nend", size, 1000),
                ["one", "", "three and more", "x", "cut end"]
            );
            assert_eq!(lines_of(b"one\n", size, 1000), ["one"]);
            assert!(lines_of(b"", size, 1000).is_empty());
        }
    }

    #[test]
    fn lines_not_yet_taken_survive_further_reads() {
        let (output, mut input) = io::pipe().unwrap();
        let mut lines = Lines::new(output);
        input.write_all(b"1\n2\n3\n").unwrap();
        lines.fill().unwrap();
        assert_eq!(lines.take(), Some(Line::Whole(b"1")));
        input.write_all(b"4\n").unwrap();
        lines.fill().unwrap();
        for line in [b"2", b"3", b"4"] {
            assert_eq!(lines.take(), Some(Line::Whole(line)));
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_counted_not_kept() {
        let long = [&vec![b'x'; 500_000][..], b"\nshort\n"].concat();
        assert_eq!(lines_of(&long, 16, 100_000), ["long 65536 500000", "short"]);
        assert_eq!(lines_of(&long[..500_000], 16, 100_000), ["long 65536 500000"]);
    }
}
