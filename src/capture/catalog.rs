//! The discovered streams that a sync is configured with (A10). Open brings only Flow's spec, and a discovery at every
//! start may take minutes: so the state keeps what was discovered for the bound streams, together with the version of
//! the capture's spec. It is discovered again when a stream is missing or the spec was published anew, which the
//! control plane does whenever it sees that the source has changed.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::failure::{Failure, OrFail};
use crate::flow::log;
use crate::flow::request::Open;
use crate::shim::Shim;
use crate::source::{Resource, Stream};

#[derive(Serialize, Deserialize)]
struct Kept {
    version: String,
    streams: Vec<Box<RawValue>>,
}

/// The stream of each binding, and what is to be kept for later sessions where that is new.
pub fn of(
    shim: &Shim,
    open: &Open,
    resources: &[Resource],
    kept: Option<&RawValue>,
) -> Result<(Vec<Stream>, Option<Box<RawValue>>), Failure> {
    let kept = kept.and_then(|it| serde_json::from_str::<Kept>(it.get()).ok());
    let is_current = kept.as_ref().is_some_and(|it| it.version == open.version);
    let remembered =
        kept.map(|it| it.streams.into_iter().filter_map(|it| shim.source.stream(it).ok()).collect::<Vec<_>>());
    let remembered = remembered.and_then(|it| pick(&it, resources).ok());
    if let (Some(streams), true) = (&remembered, is_current) {
        return Ok((streams.clone(), None));
    }
    let streams = match (shim.streams(&open.capture.config), remembered) {
        (Ok(discovered), _) => pick(&discovered, resources)?,
        (Err(failure @ Failure::Failed { .. }), Some(remembered)) => {
            log::warn(&format!("can't discover the streams again ({failure}): going on with what is known of them"));
            return Ok((remembered, None));
        }
        (Err(failure), _) => return Err(failure.within("can't discover the streams to read")),
    };
    let kept = Kept { version: open.version.clone(), streams: streams.iter().map(|it| it.declared.clone()).collect() };
    Ok((streams, Some(to_raw_value(&kept).or_fail("can't keep the discovered streams")?)))
}

fn pick(discovered: &[Stream], resources: &[Resource]) -> Result<Vec<Stream>, Failure> {
    let find = |resource: &Resource| {
        discovered.iter().find(|it| it.id == resource.id).cloned().ok_or_else(|| {
            let id = &resource.id;
            Failure::new(format!(
                "stream {id} is not at the source (any more): disable its binding, or give this user access to it"
            ))
        })
    };
    resources.iter().map(find).collect()
}
