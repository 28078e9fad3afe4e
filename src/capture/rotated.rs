//! Configs that the connector rotates while it runs: the newest is published until that has worked.

use std::time::Duration;

use anyhow::Result;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tracing::error;

use super::worker::Rotations;
use crate::flow::request::Open;
use crate::session::Session;
use crate::session::mapping::ConfigMapping;

/// When a rotated config that could not be published is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Publishes the configs that the connector rotates, until it has ended.
pub async fn publish(
    session: &Session,
    open: &Open,
    way: &ConfigMapping,
    rotations: &Rotations,
    ended: &Notify,
) -> Result<()> {
    let config = &open.capture.config;
    // One that discovery left may not have been published.
    let left = || session.endpoint.rotated(config);
    let publish = async |rotated: &RawValue| session.publish(rotated, config, way).await;
    keep_published(rotations, ended, left, publish).await
}

/// Publishes the newest config whenever there is another one. One that could not be published is tried again, also once
/// more at the end. Only the newest counts: it replaces those before it.
async fn keep_published(
    rotations: &Rotations,
    ended: &Notify,
    left: impl Fn() -> Option<Box<RawValue>>,
    mut publish: impl AsyncFnMut(&RawValue) -> Result<()>,
) -> Result<()> {
    let mut rotations = rotations.subscribe();
    // A config may have been rotated before this.
    rotations.mark_changed();
    let (mut published, mut has_ended) = (Ok(()), false);
    while !has_ended {
        tokio::select! {
            biased;
            () = ended.notified() => has_ended = true,
            _ = rotations.changed() => {}
            () = tokio::time::sleep(AGAIN), if published.is_err() => {}
        }
        let newest = rotations.borrow_and_update().clone().or_else(&left);
        // Nothing happens if it has been published.
        if let Some(config) = newest {
            published = publish(&config).await;
        }
        if let Err(failure) = &published
            && !has_ended
        {
            error!("{failure:#}; it is tried again while the connector runs");
        }
    }
    published
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use anyhow::bail;
    use serde_json::value::to_raw_value;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// When which config was tried, in seconds, if publishing works from then on, and the result.
    async fn tried(works_after: u64, left: Option<&str>) -> (Vec<(u64, String)>, bool) {
        let (rotations, ended, start) = (Rotations::new(None), Notify::new(), Instant::now());
        let tries = RefCell::new(Vec::new());
        let publish = async |config: &RawValue| {
            let now = start.elapsed().as_secs();
            tries.borrow_mut().push((now, config.get().to_owned()));
            if now < works_after { bail!("no") } else { Ok(()) }
        };
        let connector = async {
            sleep(Duration::from_secs(10)).await;
            rotations.send_replace(Some(to_raw_value("one").unwrap()));
            sleep(Duration::from_secs(90)).await;
            rotations.send_replace(Some(to_raw_value("two").unwrap()));
            sleep(Duration::from_secs(200)).await;
            ended.notify_one();
        };
        let left = || left.map(|it| to_raw_value(it).unwrap());
        let (result, ()) = tokio::join!(keep_published(&rotations, &ended, left, publish), connector);
        (tries.into_inner(), result.is_ok())
    }

    fn at(all: &[(u64, &str)]) -> Vec<(u64, String)> {
        all.iter().map(|(time, config)| (*time, format!("{config:?}"))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_config_that_is_not_published_is_tried_again_each_minute_and_at_the_end() {
        let all = [(10, "one"), (70, "one"), (100, "two"), (160, "two"), (220, "two"), (280, "two"), (300, "two")];
        assert_eq!(tried(1000, None).await, (at(&all), false));
        // The last try may still succeed.
        assert_eq!(tried(300, None).await, (at(&all), true));
        // Once it has worked, only the end tries again; the session knows that nothing has changed.
        assert_eq!(tried(60, None).await, (at(&[(10, "one"), (70, "one"), (100, "two"), (300, "two")]), true));
    }

    #[tokio::test(start_paused = true)]
    async fn what_discovery_left_is_published_first() {
        let all = [(0, "left"), (60, "left"), (70, "one"), (100, "two"), (300, "two")];
        let (found, is_published) = tried(65, Some("left")).await;
        assert!(is_published);
        assert_eq!(found.first(), at(&all).first());
        assert_eq!(found.last(), at(&all).last());
    }
}
