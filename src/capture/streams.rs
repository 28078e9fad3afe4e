//! What a connector says of its streams beside their records: schemas, statuses, sizes, the ends of sweeps.

use std::io::Write;
use std::sync::PoisonError;
use tracing::{debug, info};

use serde_json::Value;

use super::document;
use super::pump::{Pump, PumpError};
use super::status::StreamStatuses;
use crate::dates::{Dates, Normalize, Typed};
use crate::flow::response::Response;
use crate::logging::{self, Level};
use crate::schema::{self, DateFormats};
use crate::settings::SchemaMode;
use crate::upstream::{Mode, Phase, Rows, Status, StreamId, StreamSchema};

impl<W: Write> Pump<W> {
    /// The source begins to read a stream, and says what its records look like from here on.
    pub(super) fn announced(&mut self, it: StreamSchema) -> Result<(), PumpError> {
        let Some(index) = self.ledger.index_of(&it.stream) else { return Ok(()) };
        self.ledger.announce(index);
        let StreamSchema { mut schema, mut key, .. } = it;
        self.bindings[index].options.change(&mut schema, &mut key);
        self.schema(index, &schema, &key)
    }

    /// Learns from what the source declares where dates are, and tells Flow (F12), where that is new.
    pub fn schema(&mut self, index: usize, declared: &Value, key: &[Vec<String>]) -> Result<(), PumpError> {
        let binding = &mut self.bindings[index];
        let (typed, kept) = match binding.schema {
            SchemaMode::Inferred => (Typed::Key(&binding.key), DateFormats::Kept),
            SchemaMode::Declared => (Typed::All, DateFormats::KeptByStrings),
        };
        let date_formats = match binding.options.normalize() {
            Normalize::Off => DateFormats::Dropped,
            Normalize::On { cut } => {
                // One that can't be read says nothing of where dates are.
                if declared.is_object() {
                    binding.dates = Dates::of(declared, typed, &cut);
                }
                kept
            }
        };
        let key = schema::key(declared, key).unwrap_or_else(|_| schema::Key::row_id());
        let sourced = Some(schema::sourced(declared, &key, date_formats).schema);
        if binding.sourced == sourced {
            return Ok(());
        }
        binding.sourced = sourced;
        if let Some(document_schema) = &binding.sourced {
            self.out.send(&Response::SourcedSchema { binding: index, document_schema })?;
            self.pending += 1;
        }
        Ok(())
    }

    /// What a sweep does not bring again is gone: of rows that only their numbers tell apart it is known which that are
    /// when the sweep is complete, of others it never is.
    pub(super) fn activate_version(&self, id: &StreamId) {
        let Some(index) = self.ledger.index_of(id) else { return };
        if self.bindings[index].rows == Rows::Keyed && self.ledger.cells[index].high_row_id > 0 {
            info!(
                "stream {id} was read anew: rows that were deleted at the source since it was read before stay in the collection, as nothing tells which they are (its binding's backfill counter or the key /_meta/row_id removes them)"
            );
        }
    }

    pub(super) fn status(&mut self, status: Status) -> Result<(), PumpError> {
        if let Some(pause) = status.pause {
            self.activity.touch_until(pause);
        }
        let Some(index) = self.ledger.index_of(&status.stream) else { return Ok(()) };
        debug!("{}", format!("stream {} is {:?}", status.stream, status.phase).to_lowercase());
        self.on_board(|statuses| statuses.phase(index, status.phase));
        if status.phase == Phase::Complete && self.ledger.cells[index].mode() == Mode::FullRefresh {
            self.complete_full_refresh(index)?;
        }
        Ok(())
    }

    /// Rows of earlier sweeps that a complete one did not bring again are gone.
    pub(super) fn complete_full_refresh(&mut self, index: usize) -> Result<(), PumpError> {
        let surplus = self.ledger.complete_full_refresh(index);
        let binding = &self.bindings[index];
        if binding.rows == Rows::ByRowId {
            for row_id in surplus {
                document::write_tombstone(&mut self.out, &binding.head, row_id)?;
                self.pending += 1;
            }
        }
        Ok(())
    }

    pub(super) fn estimate(&mut self, stream: Option<StreamId>, rows: Option<f64>, bytes: Option<f64>) {
        let Some((id, index)) = stream.and_then(|id| self.ledger.index_of(&id).map(|index| (id, index))) else {
            return;
        };
        let number = |it: Option<f64>| it.map_or(Value::Null, |it| (it as u64).into());
        let fields =
            logging::fields([("stream", id.to_string().into()), ("rows", number(rows)), ("bytes", number(bytes))]);
        logging::event(Level::Debug, "estimate", &format!("the connector estimates the size of stream {id}"), fields);
        if let Some(rows) = rows {
            self.on_board(|statuses| statuses.estimate(index, rows));
        }
    }

    pub(super) fn on_board(&self, change: impl FnOnce(&mut StreamStatuses)) {
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut statuses);
        statuses.show();
    }
}
