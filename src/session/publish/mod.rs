//! Publishing a config that the connector changed. Usually a refresh token that can be used once was used: the new one has
//! to get into the task, or the capture fails when it starts again (A18).
//!
//! It goes where the runtime says, found anew at each attempt:
//! - [`task_update`]: the control plane, if the runtime gives `task-update.json` (F27). A task with `secrets` gets new
//!   secrets ([`stanza`]), any other an encrypted config.
//! - else a log event with the encrypted config (F7), for a task without `secrets`.
//!
//! In a preview nothing is published: there is no task.

mod change;
mod encryption;
mod marks;
mod stanza;
mod task_update;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use tracing::{debug, error, info};

use crate::flow::secret::Secret;
use crate::http::{self, Answer};
use crate::logging;
use crate::process::shutdown::Shutdown;

pub use change::Change;
use change::{Changed, Kind, names};
use stanza::Split;
use task_update::TaskUpdate;

/// The variable with the URL of the encryption service, and the service that Flow's connectors use without it.
const ENCRYPTION_URL: &str = "ENCRYPTION_URL";
const DEFAULT_ENCRYPTION_URL: &str = "https://config-encryption.estuary.dev/v1/encrypt-config";

/// The pauses between attempts to publish.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// The task that is served.
#[derive(Default)]
pub struct Task {
    pub name: String,
    pub secrets: Vec<Secret>,
    /// The config as it was published. Only Open brings it.
    pub sealed_config: Option<Box<RawValue>>,
}

/// Publishes changed configs, and remembers what it published.
#[derive(Default)]
pub struct Publisher {
    /// There is a task to publish to. A preview has none.
    pub has_task: bool,
    task: Mutex<Arc<Task>>,
    /// A config of Flow's, and what was published in its place.
    published: Mutex<Option<(Box<RawValue>, Value)>>,
}

impl Publisher {
    /// What is published from now on belongs to this task.
    pub fn serve(&self, task: Task) {
        *locked(&self.task) = Arc::new(task);
    }

    /// What Flow has in place of this config of its own: the last one published, or the config itself.
    pub fn published(&self, config: &RawValue) -> Result<Value> {
        match &*locked(&self.published) {
            Some((of, published)) if of.get() == config.get() => Ok(published.clone()),
            _ => serde_json::from_str(config.get()).map_err(|_| anyhow!("the config can't be read")),
        }
    }

    /// Publishes a change of this config of Flow's. An error means that a secret will be lost, and says what to do.
    pub async fn publish(
        &self,
        config: &RawValue,
        change: Change,
        schema: Option<&Value>,
        shutdown: &Shutdown,
    ) -> Result<()> {
        if change.members.is_empty() {
            return Ok(());
        }
        if self.has_task {
            let task = locked(&self.task).clone();
            Publication { task: &task, config, change: &change, schema, shutdown }.publish().await?;
        } else {
            let rotated = names(change.rotated());
            if !rotated.is_empty() {
                error!(
                    "the connector has rotated {rotated}, and the old value may not work any more: update the config file"
                );
            }
        }
        *locked(&self.published) = Some((config.to_owned(), change.now));
        Ok(())
    }
}

/// Encrypts the config of a new task: the values that its schema marks or does not declare, and those with secret names. A config
/// without secrets stays as it is. `schema` is the config's.
pub async fn encrypt(config: Value, schema: Option<&Value>, shutdown: &Shutdown) -> Result<Box<RawValue>> {
    let change = Change::new(Value::Object(Map::new()), config, schema);
    let marks = marks::of(&change.now, &change.before, schema);
    if marks == Value::Object(Map::new()) {
        return Ok(to_raw_value(&change.now)?);
    }
    encryption::config(&change, &marks, &encryption_url(), shutdown).await
}

/// Where configs are encrypted if the runtime says nothing else.
fn encryption_url() -> String {
    let url = std::env::var(ENCRYPTION_URL).ok().filter(|it| !it.is_empty());
    url.unwrap_or_else(|| DEFAULT_ENCRYPTION_URL.to_owned())
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The publication of one change.
struct Publication<'a> {
    task: &'a Task,
    /// Flow's, from the request.
    config: &'a RawValue,
    change: &'a Change,
    schema: Option<&'a Value>,
    shutdown: &'a Shutdown,
}

/// A part of a change that is published by itself, with its members.
struct Part<'a> {
    what: What<'a>,
    members: Vec<&'a Changed>,
}

enum What<'a> {
    /// The whole config, encrypted.
    Encrypted,
    /// The value of a secret.
    Secret(&'a Secret, Value),
    /// The config of a task with `secrets`, without their values.
    Plain(Box<RawValue>),
    /// Nothing in the task can hold it.
    Impossible(String),
}

impl<'a> Publication<'a> {
    /// The parts in order. A part without rotated secrets may fail: the connector changes it again.
    async fn publish(&self) -> Result<()> {
        let (mut lost, mut reason) = (Vec::new(), None);
        for part in self.parts() {
            let rotated: Vec<&Changed> = part.members.iter().filter(|it| it.kind == Kind::Rotated).copied().collect();
            let pauses: &[Duration] = if rotated.is_empty() { &[] } else { &PAUSES };
            let Err(failure) = self.persist(&part, pauses).await else { continue };
            if rotated.is_empty() {
                info!("{}, which is not published: {failure:#}", message(part.members));
            } else {
                lost.extend(rotated);
                reason = reason.or(Some(failure));
            }
        }
        let Some(reason) = reason else { return Ok(()) };
        let lost = names(lost.into_iter());
        bail!(
            "the connector has rotated {lost}, which could not be published ({reason:#}): the old value may not work any more, so sign in again or update the capture's config"
        );
    }

    fn parts(&self) -> Vec<Part<'a>> {
        if self.task.secrets.is_empty() {
            return vec![Part { what: What::Encrypted, members: self.change.members.iter().collect() }];
        }
        let Split { secrets, plain, uncovered } = stanza::split(self.change, &self.task.secrets, &self.task.name);
        let secret = |(secret, value, members): (&'a Secret, Option<Value>, _)| {
            let what = match value {
                Some(value) => What::Secret(secret, value),
                None => What::Impossible(format!("the config has nothing at {} any more", secret.pointer)),
            };
            Part { what, members }
        };
        let mut parts: Vec<Part> = secrets.into_iter().map(secret).collect();
        for member in uncovered {
            let what = What::Impossible(format!("the capture has no secret for {}", member.pointer()));
            parts.push(Part { what, members: vec![member] });
        }
        if !plain.is_empty() {
            let what = self.plain().map_or_else(|it| What::Impossible(format!("{it:#}")), What::Plain);
            parts.push(Part { what, members: plain });
        }
        parts
    }

    /// The config as it was published before this session, with all plain changes since.
    fn plain(&self) -> Result<Box<RawValue>> {
        let published = self.task.sealed_config.as_ref().and_then(|it| serde_json::from_str::<Value>(it.get()).ok());
        let Some(mut config) = published.filter(|it| it.is_object() && it.get("sops").is_none()) else {
            bail!("only a running capture can change its config");
        };
        let before = serde_json::from_str(self.config.get())?;
        let change = Change::new(before, self.change.now.clone(), self.schema);
        for member in stanza::split(&change, &self.task.secrets, &self.task.name).plain {
            member.apply(&mut config);
        }
        Ok(to_raw_value(&config)?)
    }

    /// Tries again after each of these pauses, as long as it fails.
    async fn persist(&self, part: &Part<'_>, pauses: &[Duration]) -> Result<()> {
        if let What::Impossible(why) = &part.what {
            bail!("{why}");
        }
        for length in pauses {
            let Err(failure) = self.attempt(part).await else { return Ok(()) };
            debug!("the connector's new config was not published: {failure:#}; trying again");
            if pause(*length, self.shutdown).await.is_err() {
                return Err(failure);
            }
        }
        self.attempt(part).await
    }

    async fn attempt(&self, part: &Part<'_>) -> Result<()> {
        let (shutdown, message) = (self.shutdown, message(part.members.iter().copied()));
        match (&part.what, TaskUpdate::read()?) {
            (What::Encrypted, Some(update)) => {
                let encrypted = self.encrypted(&update.url("/v1/encrypt-config")).await?;
                task_update::update_config(&encrypted, &[], &message, shutdown).await
            }
            (What::Encrypted, None) => {
                let encrypted = self.encrypted(&encryption_url()).await?;
                logging::config_update(&message, serde_json::from_str(encrypted.get())?);
                Ok(())
            }
            (What::Secret(secret, value), Some(update)) => {
                let url = update.url("/secret/encrypt");
                let document = encryption::secret(&secret.name, value, &url, shutdown).await?;
                task_update::set_secret(&secret.name, &document, shutdown).await
            }
            (What::Plain(config), Some(_)) => {
                task_update::update_config(config, &self.task.secrets, &message, shutdown).await
            }
            (_, None) => bail!("the capture has `secrets`, and this runtime gives no task-update.json to change them"),
            (What::Impossible(why), _) => bail!("{why}"),
        }
    }

    async fn encrypted(&self, url: &str) -> Result<Box<RawValue>> {
        let Change { before, now, .. } = self.change;
        encryption::config(self.change, &marks::of(now, before, self.schema), url, self.shutdown).await
    }
}

/// What Flow and its users are told, without any value.
fn message<'a>(members: impl IntoIterator<Item = &'a Changed>) -> String {
    format!("the connector has changed its config ({})", names(members.into_iter()))
}

async fn post(url: String, body: Vec<u8>, shutdown: &Shutdown) -> Result<Answer> {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    http::post_async(url, headers, body, shutdown).await
}

/// Waits, but not beyond a shutdown.
async fn pause(length: Duration, shutdown: &Shutdown) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(length) => Ok(()),
        () = shutdown.deadline_passed() => Err(anyhow!("the shutdown does not wait any longer")),
    }
}
