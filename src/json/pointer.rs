//! JSON pointers (RFC 6901), as text.

use std::borrow::Cow;

use serde_json::Value;

/// A member's name as one token of a pointer.
pub fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { Cow::Owned(name.replace('~', "~0").replace('/', "~1")) } else { Cow::Borrowed(name) }
}

/// The pointer that leads through these member names.
pub fn from_path<'a>(path: impl IntoIterator<Item = &'a str>) -> String {
    path.into_iter().fold(String::new(), |pointer, name| pointer + "/" + &escape(name))
}

/// The texts at these pointers; what is absent or null is skipped (F17).
pub fn path(value: &Value, pointers: &[&str]) -> Vec<String> {
    let texts = pointers.iter().filter_map(|it| value.pointer(it)).filter(|it| !it.is_null());
    texts.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)).collect()
}
