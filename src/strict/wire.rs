//! A connector's output: responses on stdout and logs on stderr, parsed as strictly as by Flow.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// One line of stdout. Unknown kinds, a second key, unknown and duplicate fields are errors (F2).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response<'a> {
    Spec(Spec),
    Discovered(Discovered),
    Validated(Validated),
    Applied(Applied),
    Opened(Opened),
    #[serde(borrow)]
    Captured(Captured<'a>),
    SourcedSchema(SourcedSchema),
    Checkpoint(Checkpoint),
    BackfillBegin(Backfill),
    BackfillComplete(Backfill),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    pub protocol: u32,
    pub config_schema: Value,
    pub resource_config_schema: Value,
    #[serde(default)]
    pub documentation_url: String,
    #[serde(default)]
    pub oauth2: Option<Value>,
    pub resource_path_pointers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discovered {
    #[serde(default)]
    pub bindings: Vec<DiscoveredBinding>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiscoveredBinding {
    pub recommended_name: String,
    pub resource_config: Value,
    pub document_schema: Value,
    pub key: Vec<String>,
    #[serde(default)]
    pub disable: bool,
    #[serde(default)]
    pub resource_path: Vec<String>,
    #[serde(default)]
    pub is_fallback_key: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validated {
    #[serde(default)]
    pub bindings: Vec<ValidatedBinding>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidatedBinding {
    pub resource_path: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Applied {
    #[serde(default)]
    pub action_description: String,
    #[serde(default)]
    pub state: Option<State>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Opened {
    #[serde(default)]
    pub explicit_acknowledgements: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Captured<'a> {
    #[serde(default)]
    pub binding: u64,
    #[serde(borrow)]
    pub doc: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourcedSchema {
    #[serde(default)]
    pub binding: u64,
    pub document_schema: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    #[serde(default)]
    pub binding: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    #[serde(default)]
    pub state: Option<State>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    pub updated: Value,
    #[serde(default)]
    pub merge_patch: bool,
}

/// A line of stderr (F6).
#[derive(Clone, Debug)]
pub struct Log {
    pub level: String,
    pub message: String,
    pub fields: Value,
    /// The complete line.
    pub line: String,
}

pub fn parse(line: &str) -> Result<Response<'_>, String> {
    serde_json::from_str(line).map_err(|e| format!("F2: {e}: {}", super::cut(line)))
}

/// Checks the size limit of documents (F23) and that strings are Unicode, without lone surrogates.
pub fn check_document(text: &str, max_document: usize) -> Result<(), String> {
    if text.len() > max_document {
        return Err(format!("F23: a document of {} bytes", text.len()));
    }
    if !text.starts_with('{') {
        return Err(format!("a document is not an object: {}", super::cut(text)));
    }
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        rest = &rest[at + 1..];
        match unit(rest) {
            Some(0xd800..=0xdbff)
                if rest.get(5..6) == Some("\\") && matches!(unit(&rest[6..]), Some(0xdc00..=0xdfff)) =>
            {
                rest = &rest[11..]
            }
            Some(0xd800..=0xdfff) => {
                return Err(format!("a document has a lone surrogate: {}", super::cut(text)));
            }
            // Skips the escaped character, so that `\\u` is not taken for an escape.
            _ => rest = &rest[1..],
        }
    }
    Ok(())
}

/// The UTF-16 unit of `uXXXX`.
fn unit(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix('u')?.get(..4)?, 16).ok()
}

impl Log {
    pub fn parse(line: &str) -> Result<Self, String> {
        let it: Value = serde_json::from_str(line).map_err(|e| format!("a log line is not JSON ({e})"))?;
        let text = |name: &str| it[name].as_str().map(str::to_owned).ok_or_else(|| format!("a log line has no {name}"));
        let level = text("level")?;
        if !["trace", "debug", "info", "warn", "error"].contains(&level.as_str()) {
            return Err(format!("{level} is no level"));
        }
        let fields = it.get("fields").cloned().unwrap_or_default();
        if !(fields.is_object() || fields.is_null()) {
            return Err("a log line's fields are not an object".to_owned());
        }
        text("ts")?;
        Ok(Self { level, message: text("message")?, fields, line: line.to_owned() })
    }

    pub fn unstructured(line: &str) -> Self {
        Self { level: "warn".to_owned(), message: line.to_owned(), fields: Value::Null, line: line.to_owned() }
    }
}
