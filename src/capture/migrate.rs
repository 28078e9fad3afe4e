//! Apply: brings the states of earlier wrappers into this version's form, so that the first Open finds them as its own (F21).
//!
//! Nothing depends on it. What can't be taken over here stays as it is: Open takes it over, or reports it as damaged.

use anyhow::Result;
use serde_json::value::RawValue;
use tracing::info;

use super::ledger::Stored;
use crate::flow::request::Apply;
use crate::upstream::{Resource, StreamId, Upstream};

/// A merge patch of the state; `None` if there is nothing to change.
pub fn migrate(apply: &Apply, upstream: &dyn Upstream) -> Result<Option<Box<RawValue>>> {
    let Some(capture) = &apply.capture else { return Ok(None) };
    let resources: Result<Vec<Resource>> =
        capture.bindings.iter().map(|it| upstream.resource(&it.resource_config)).collect();
    let (Ok(mut stored), Ok(resources)) = (Stored::parse(apply.state.as_deref()), resources) else { return Ok(None) };
    let keys = capture.bindings.iter().map(|it| it.state_key.as_str());
    let bindings: Vec<(&str, &StreamId)> = keys.zip(resources.iter().map(|it| &it.id)).collect();
    // Cells are taken over even if the state at the top is damaged.
    let _ = stored.take_over(&bindings, upstream);
    let taken_over = stored.into_taken_over();
    if taken_over.is_nothing() {
        return Ok(None);
    }
    info!("the state of an earlier wrapper is converted to this version's form");
    taken_over.patch().map(Some)
}
