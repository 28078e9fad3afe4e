//! Which values of a document are encrypted, by the names on their paths.

use anyhow::{Result, anyhow};
use regex::Regex;
use serde_json::Value;

pub struct Rules {
    unencrypted_suffix: Option<String>,
    encrypted_suffix: Option<String>,
    unencrypted_regex: Option<Regex>,
    encrypted_regex: Option<Regex>,
}

impl Rules {
    pub fn of(sops: &Value) -> Result<Self> {
        let text = |name: &str| sops.get(name).and_then(Value::as_str).filter(|it| !it.is_empty()).map(str::to_owned);
        let regex = |name: &str| {
            let compiled = text(name).map(|it| Regex::new(&it));
            compiled.transpose().map_err(|_| anyhow!("`sops.{name}` is not a regular expression"))
        };
        Ok(Self {
            unencrypted_suffix: text("unencrypted_suffix"),
            encrypted_suffix: text("encrypted_suffix"),
            unencrypted_regex: regex("unencrypted_regex")?,
            encrypted_regex: regex("encrypted_regex")?,
        })
    }

    /// Whether the value at this path is encrypted. The last rule that is set decides.
    pub fn encrypt(&self, path: &[String]) -> bool {
        let ends = |suffix: &String| path.iter().any(|it| it.ends_with(suffix));
        let matches = |regex: &Regex| path.iter().any(|it| regex.is_match(it));
        let mut encrypted = true;
        if let Some(suffix) = &self.unencrypted_suffix {
            encrypted = !ends(suffix);
        }
        if let Some(suffix) = &self.encrypted_suffix {
            encrypted = ends(suffix);
        }
        if self.unencrypted_regex.as_ref().is_some_and(matches) {
            encrypted = false;
        }
        if let Some(regex) = &self.encrypted_regex {
            encrypted = matches(regex);
        }
        encrypted
    }
}
