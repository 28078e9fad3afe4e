//! JSON pointers (RFC 6901), as text.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// A member's name as one token of a pointer.
pub fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { Cow::Owned(name.replace('~', "~0").replace('/', "~1")) } else { Cow::Borrowed(name) }
}

/// The pointer with these member names.
pub fn from_path<'a>(path: impl IntoIterator<Item = &'a str>) -> String {
    path.into_iter().fold(String::new(), |pointer, name| pointer + "/" + &escape(name))
}

/// The texts at these pointers; absent and null values are skipped (F17).
pub fn path(value: &Value, pointers: &[&str]) -> Vec<String> {
    let texts = pointers.iter().filter_map(|it| value.pointer(it)).filter(|it| !it.is_null());
    texts.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)).collect()
}

/// The member names of a pointer; empty if it is not a pointer.
pub fn steps(pointer: &str) -> Vec<String> {
    pointer
        .strip_prefix('/')
        .map_or_else(Vec::new, |it| it.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

/// The member at a pointer; none if an array is on the path.
pub fn member<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    let steps = steps(pointer);
    let (last, parents) = steps.split_last()?;
    parents.iter().try_fold(value, |it, step| it.as_object()?.get(step))?.as_object()?.get(last)
}

/// Removes and returns the member at a pointer.
pub fn take(value: &mut Value, pointer: &str) -> Option<Value> {
    let steps = steps(pointer);
    let (last, parents) = steps.split_last()?;
    let parent = parents.iter().try_fold(value, |it, step| it.as_object_mut()?.get_mut(step))?;
    parent.as_object_mut()?.shift_remove(last)
}

/// Inserts a member at a pointer and creates missing objects on the path. Returns the member if a value on the path is not
/// an object.
pub fn put(value: &mut Value, pointer: &str, member: Value) -> Result<(), Value> {
    let steps = steps(pointer);
    let Some((last, parents)) = steps.split_last() else { return Err(member) };
    let mut holder = value;
    for step in parents {
        let Some(members) = holder.as_object_mut() else { return Err(member) };
        holder = members.entry(step.as_str()).or_insert_with(|| Value::Object(Map::new()));
    }
    let Some(members) = holder.as_object_mut() else { return Err(member) };
    members.insert(last.clone(), member);
    Ok(())
}

/// Removes the objects above a pointer that are empty and were absent in `before`, the deepest first.
pub fn prune(value: &mut Value, pointer: &str, before: &Value) {
    let mut pointer = pointer;
    while let Some((parent, _)) = pointer.rsplit_once('/') {
        let is_empty = member(value, parent).and_then(Value::as_object).is_some_and(Map::is_empty);
        if !is_empty || member(before, parent).is_some() {
            return;
        }
        take(value, parent);
        pointer = parent;
    }
}
