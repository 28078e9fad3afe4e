//! Records that a connector has put into files instead of its stdout (S13).

use anyhow::{Context, Result, anyhow};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::pump::{Pump, PumpError};
use crate::json::repair::repair;
use crate::json::scan::string_text;
use crate::process::lines::LONGEST;
use crate::upstream::line::bare_payload;
use crate::upstream::{Batch, Broken, Record};

impl<W: Write> Pump<W> {
    /// Takes the records out of the files, each in its turn.
    pub(super) fn batch(&mut self, batch: &Batch) -> Result<(), PumpError> {
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
                    _ => self.batched(batch, file, &line)?,
                }
            }
        }
        Ok(())
    }

    fn batched(&mut self, batch: &Batch, file: &Path, line: &[u8]) -> Result<(), PumpError> {
        let repaired: Vec<u8>;
        let mut found = Vec::new();
        let data = match bare_payload(line, &batch.deletion) {
            Err(Broken::Repairable) => {
                (repaired, found) = repair(line);
                bare_payload(&repaired, &batch.deletion)
            }
            other => other,
        };
        let data = data.map_err(|broken| {
            let reason = match broken {
                Broken::Lost { reason, .. } => reason,
                _ => "a line is no JSON object".to_owned(),
            };
            anyhow!("{}: {reason}", self.place(batch, file))
        })?;
        self.record(Record { stream: &batch.stream, namespace: None, data, changes: None, file: None, repairs: &found })
    }

    fn place(&self, batch: &Batch, file: &Path) -> String {
        format!("stream {}: the BATCH file {} can't be read", string_text(&batch.stream), file.display())
    }
}
