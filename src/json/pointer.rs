//! JSON pointers (RFC 6901), as text.

use std::borrow::Cow;

/// A member's name as one token of a pointer.
pub fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { Cow::Owned(name.replace('~', "~0").replace('/', "~1")) } else { Cow::Borrowed(name) }
}

/// The pointer that leads through these member names.
pub fn from_path<'a>(path: impl IntoIterator<Item = &'a str>) -> String {
    path.into_iter().fold(String::new(), |pointer, name| pointer + "/" + &escape(name))
}
