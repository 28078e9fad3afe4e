//! A feed over the lines of a connector's stdout: repairs what is almost JSON, logs what is not a message, and fails on
//! lines that carry data but can't be read.

use anyhow::{Error, anyhow};
use std::io::{self, Read};
use std::os::fd::AsFd;
use tracing::warn;

use super::error_log::LOGGED;
use super::event::{Broken, Event};
use super::pace::Pace;
use super::{Feed, FeedError};
use crate::json::repair::{Repair, What, repair};
use crate::json::watch::Watchlist;
use crate::process::activity::Activity;
use crate::process::lines::{Line, Lines};
use crate::secrets;

/// Decodes the lines of one sync, and remembers what it needs for the following ones.
pub trait Decoder: Send {
    /// [`Feed::watch`].
    fn watch(&mut self, names: &Watchlist);

    fn decode<'a>(&'a mut self, line: &'a [u8]) -> Result<Event<'a>, Broken>;
}

pub struct LineFeed<R, D> {
    lines: Lines<R>,
    decoder: D,
    activity: Activity,
    pace: Pace,
    /// A line that has to be decoded again. An event borrows from the decoder, so the same call of `next` can't use the
    /// decoder twice: it returns [`Event::Noise`], and the following call decodes this.
    pending: Option<Repaired>,
}

struct Repaired {
    line: Vec<u8>,
    repairs: Vec<Repair>,
    /// Whether it was decoded, so that only the event still borrows from it.
    decoded: bool,
    truncated: bool,
}

impl<R: Read + AsFd, D: Decoder> LineFeed<R, D> {
    pub fn new(stdout: R, decoder: D, activity: Activity) -> Self {
        // What is not a pipe is read without pauses.
        let pipe_size = rustix::pipe::fcntl_getpipe_size(&stdout).unwrap_or(0);
        Self { lines: Lines::new(stdout), decoder, activity, pace: Pace::new(pipe_size), pending: None }
    }

    /// Reads until there is a line, or the output has ended.
    fn fill(&mut self, idle: &mut dyn FnMut() -> io::Result<()>) -> Result<(), FeedError> {
        if self.lines.fill_ready() {
            return Ok(());
        }
        idle().map_err(FeedError::Idle)?;
        self.pace.before_wait(self.lines.read);
        while !self.lines.has_next() {
            let filled = self.activity.while_waiting(|| self.lines.fill());
            filled.map_err(|error| FeedError::Failed(anyhow!("can't read the connector's output: {error}")))?;
        }
        Ok(())
    }

    #[cold]
    fn next_repaired(&mut self) -> Result<Option<Event<'_>>, FeedError> {
        let Some(Repaired { line, repairs, decoded, truncated }) = &mut self.pending else { return Ok(None) };
        *decoded = true;
        match self.decoder.decode(line) {
            Ok(Event::Record(mut record)) => {
                record.repairs = repairs;
                Ok(Some(Event::Record(record)))
            }
            // A state has to come back exactly as it was.
            Ok(Event::State(_)) if repairs.iter().any(|it| it.what != What::Control) => {
                let fields: Vec<&str> = repairs.iter().map(|it| it.field.as_str()).collect();
                let reason = "the connector's STATE contains what JSON can't represent (NaN, Infinity or invalid text)";
                Err(FeedError::Failed(anyhow!("{reason} at {}", fields.join(", "))))
            }
            Ok(event) => Ok(Some(event)),
            Err(broken) => unusable(broken, line, *truncated),
        }
    }

    /// What becomes of a line that is longer than any message that Flow takes. Only its beginning is known.
    #[cold]
    fn too_long(decoder: &mut D, head: &[u8], length: usize) -> Result<(), FeedError> {
        let stream = match decoder.decode(head) {
            Err(Broken::Noise) => None,
            Err(Broken::Lost { stream, .. }) => Some(stream),
            Ok(_) | Err(Broken::Repairable) => Some(None),
        };
        let Some(stream) = stream.filter(|_| !is_harmless(head)) else {
            let text = String::from_utf8_lossy(head);
            warn!(
                "the connector printed a line of {length} bytes that holds no data: it is skipped ({}...)",
                secrets::shorten(text.trim(), LOGGED)
            );
            return Ok(());
        };
        let stream = stream.map_or(String::new(), |it| format!("stream {it}: "));
        Err(FeedError::Failed(anyhow!(
            "{stream}the connector printed a message of {length} bytes, more than Flow can take (64 MiB)"
        )))
    }
}

impl<R: Read + AsFd + Send, D: Decoder> Feed for LineFeed<R, D> {
    fn watch(&mut self, names: &Watchlist) {
        self.decoder.watch(names);
    }

    #[inline]
    fn next(&mut self, idle: &mut dyn FnMut() -> io::Result<()>) -> Result<Option<Event<'_>>, FeedError> {
        if let Some(pending) = &self.pending {
            if !pending.decoded {
                return self.next_repaired();
            }
            self.pending = None;
        }
        if !self.lines.has_next() {
            self.fill(idle)?;
        }
        let (line, truncated) = match self.lines.take() {
            None => return Ok(None),
            Some(Line::Whole(line)) => (line, false),
            Some(Line::Cut(line)) => (line, true),
            Some(Line::TooLong { head, length }) => {
                return Self::too_long(&mut self.decoder, head, length).map(|()| Some(Event::Noise));
            }
        };
        match self.decoder.decode(line) {
            Ok(event) => Ok(Some(event)),
            Err(Broken::Repairable) => {
                let (line, repairs) = repair(line);
                self.pending = Some(Repaired { line, repairs, decoded: false, truncated });
                Ok(Some(Event::Noise))
            }
            Err(broken) => unusable(broken, line, truncated),
        }
    }
}

/// What becomes of a line that no event can be made of.
#[cold]
fn unusable(broken: Broken, line: &[u8], truncated: bool) -> Result<Option<Event<'_>>, FeedError> {
    match broken {
        Broken::Lost { stream, reason } => {
            let error = lost(stream.as_deref(), &reason);
            Err(if truncated { FeedError::Truncated(error) } else { FeedError::Failed(error) })
        }
        // The connector ended within a message, perhaps before anything of it could be told.
        Broken::Repairable | Broken::Noise if truncated && line.trim_ascii_start().starts_with(b"{") => {
            Err(FeedError::Truncated(lost(None, "the output ends within it")))
        }
        Broken::Repairable | Broken::Noise => Ok(Some(Event::Line(line))),
    }
}

/// Whether a line begins like a message that holds no data: losing it loses nothing.
fn is_harmless(head: &[u8]) -> bool {
    const HARMLESS: &[&str] = &["LOG", "TRACE", "CONTROL", "DEBUG"];
    let text = head.trim_ascii_start();
    let Some(value) = text.strip_prefix(b"{").and_then(|it| it.trim_ascii_start().strip_prefix(b"\"type\"")) else {
        return false;
    };
    let value = value.trim_ascii_start().strip_prefix(b":").unwrap_or_default().trim_ascii_start();
    HARMLESS.iter().any(|it| {
        let after = value.strip_prefix(b"\"").and_then(|value| value.strip_prefix(it.as_bytes()));
        after.is_some_and(|it| it.starts_with(b"\""))
    })
}

fn lost(stream: Option<&str>, reason: &str) -> Error {
    let of = stream.map_or(String::new(), |it| format!(" of stream {it}"));
    anyhow!(
        "the connector printed a message{of} that can't be read: {reason}; skipping it would lose data, so the capture stops here"
    )
}
