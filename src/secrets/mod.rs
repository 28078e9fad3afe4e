//! Keeps secrets out of everything that leaves the process: which values of a config are secret, in which forms a text
//! may show them, and where a text shows one. Knows nothing about log lines or about Flow.

mod config;
mod forms;
mod names;
pub mod redactor;
mod schemas;
pub mod sops;
mod views;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use serde_json::Value;
use serde_json::value::RawValue;

pub use config::find;
pub use names::is_secret_name;
use redactor::Redactor;
pub use schemas::Schemas;

/// How far behind a cut a text must be known to find every secret that the cut divides.
pub const LOOKAHEAD: usize = 16 * 1024;

static REDACTOR: LazyLock<RwLock<Arc<Redactor>>> = LazyLock::new(RwLock::default);

fn redactor() -> Arc<Redactor> {
    REDACTOR.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Redacts the secrets of a config from now on. The schema adds the values that it marks as secret to those whose names
/// look secret.
pub fn redact_config(config: &RawValue, schema: Option<&Value>) {
    if let Ok(config) = serde_json::from_str::<Value>(config.get()) {
        add(find(&config, schema));
    }
}

/// Redacts these texts from now on.
pub fn redact_texts(secrets: Vec<String>) {
    add(secrets);
}

/// Redacts one text from now on.
pub fn redact_text(secret: &str) {
    add(vec![secret.to_owned()]);
}

fn add(secrets: Vec<String>) {
    let mut current = REDACTOR.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(extended) = current.with(secrets) {
        *current = Arc::new(extended);
    }
}

/// The text with `***` for each secret.
pub fn redacted(text: &str) -> Cow<'_, str> {
    redactor().text(text)
}

/// Redacts the strings and numbers in a value, and the names of its members where `names` says so. Whether there were
/// secrets.
pub fn redact_value(value: &mut Value, names: bool) -> bool {
    redactor().value(value, if names { |_| true } else { |_| false })
}

/// The last position up to `at` where the text can be cut without dividing a secret or a character. What follows `at` is
/// considered as far as [`LOOKAHEAD`].
pub fn safe_cut(text: &[u8], at: usize) -> usize {
    redactor().safe_cut(text, at)
}

/// The beginning of a text, at most this many bytes, cut where no secret is.
pub fn shorten(text: &str, limit: usize) -> &str {
    if text.len() <= limit { text } else { text.get(..safe_cut(text.as_bytes(), limit)).unwrap_or_default() }
}
