//! Reads records that a connector has put into files instead of its stdout (S13).

use anyhow::{Context, Result, anyhow};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::CaptureError;
use super::worker::{Segments, Worker};
use crate::json::repair::repair;
use crate::json::scan::string_text;
use crate::upstream::line::bare_payload;
use crate::upstream::{Batch, Broken, Record};

/// The longest line that is read: Flow takes no longer document (F23).
const LONGEST: usize = crate::flow::codec::LONGEST_MESSAGE;

impl<S: Segments> Worker<S> {
    /// Reads the records of the files, one file after the other.
    pub(super) fn batch(&mut self, batch: &Batch) -> Result<(), CaptureError> {
        for file in &batch.files {
            let opened = File::open(file).with_context(|| self.place(batch, file).to_string())?;
            let mut reader: Box<dyn BufRead> = if batch.gzip {
                Box::new(BufReader::new(MultiGzDecoder::new(opened)))
            } else {
                Box::new(BufReader::new(opened))
            };
            let mut line = Vec::new();
            loop {
                line.clear();
                self.activity.touch();
                let read = reader.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line);
                match read.map_err(|error| anyhow!("{}: {error}", self.place(batch, file)))? {
                    0 => break,
                    _ if line.trim_ascii().is_empty() => {}
                    LONGEST => {
                        return Err(anyhow!("{}: it has a line of more than 64 MiB", self.place(batch, file)).into());
                    }
                    // A file may begin with a BOM, as what a connector prints may.
                    _ => self.batched(batch, file, line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line))?,
                }
            }
        }
        Ok(())
    }

    fn batched(&mut self, batch: &Batch, file: &Path, line: &[u8]) -> Result<(), CaptureError> {
        let repaired: Vec<u8>;
        let mut repairs = Vec::new();
        let mut hints = std::mem::take(&mut self.hints);
        let data = match bare_payload(line, &mut hints, &batch.deletion) {
            Err(Broken::Repairable) => {
                (repaired, repairs) = repair(line);
                bare_payload(&repaired, &mut hints, &batch.deletion)
            }
            other => other,
        };
        let data = data.map_err(|broken| {
            let reason = match broken {
                Broken::Lost { reason, .. } => reason,
                _ => "a line is not a JSON object".to_owned(),
            };
            anyhow!("{}: {reason}", self.place(batch, file))
        })?;
        let (stream, found, repairs) = (&batch.stream, &hints.found, &repairs[..]);
        self.record(&Record { stream, namespace: None, data, changes: None, file: None, found, repairs })?;
        self.hints = hints;
        Ok(())
    }

    fn place(&self, batch: &Batch, file: &Path) -> String {
        format!("stream {}: the BATCH file {} can't be read", string_text(&batch.stream), file.display())
    }
}
