//! JSON schemas of a source, rewritten so that Flow takes them.
//!
//! Flow's schema parser knows a fixed set of keywords and formats and rejects the rest
//! (flow-capture.md, "Flow's JSON-schema parser"); the schemas that sources print are written for
//! laxer readers, in every draft since 2010. Three outputs are made of them: the endpoint config
//! schema ([`config`]), the write schema of a collection ([`write_permissive`], [`write_declared`])
//! and the sourced schema ([`sourced`]). What the source wrote is repaired where its meaning is plain
//! and dropped where it is not, and each such [`Change`] has a name. What Flow accepts as it is
//! stays as it is, but for these, which are by design:
//!
//! - a root's type becomes exactly `object`;
//! - `$schema` of a draft before 2019-09, tuples in `items` and `additionalItems` take their
//!   present form;
//! - an `$id` below the root goes where there are references, which it would redirect;
//! - `multipleOf` goes where no double could tell it from none, in documents also if it is fractional;
//! - config schemas get discriminators, documents lose their enums.
//!
//! A `$ref` by URL counts as external even if the same document holds that `$id`: no source was
//! seen to write one.
//!
//! This module knows JSON schema, and Flow's reading of it. It knows nothing of Airbyte, of Singer,
//! or of streams.

mod change;
mod discriminator;
mod key;
mod keywords;
mod modernise;
mod refs;
mod rewrite;
mod shape;
mod sourced;
mod values;
mod write;

#[cfg(test)]
mod tests;

pub use change::{Change, What};
pub use key::{Key, KeyProblem, declare_path, key};
pub(crate) use refs::find as find_ref;
pub use sourced::{DateFormats, sourced};
pub use write::{write_declared, write_permissive};

use rewrite::Mode;
use serde_json::{Map, Value};

/// A schema as Flow takes it, and what had to be changed for that.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewritten {
    pub schema: Value,
    pub changes: Vec<Change>,
}

/// The endpoint config schema, as Flow's strict parser and its web form take it.
pub fn config(schema: &Value) -> Rewritten {
    let (mut root, mut changes) = rewrite::rewrite(schema, Mode::Config);
    make_object(&mut root, &mut changes);
    let mut schema = Value::Object(root);
    discriminator::derive(&mut schema, &mut changes);
    Rewritten { schema, changes }
}

/// Makes date-times of what is declared as dates.
pub fn date_to_date_time(schema: &mut Value) {
    let mut places = Vec::new();
    refs::visit(schema, &mut String::new(), &mut |at, map| {
        if map.get("format").is_some_and(|it| it == "date") {
            places.push(at.to_owned());
        }
    });
    for at in places {
        if let Some(schema) = schema.pointer_mut(&at) {
            schema["format"] = "date-time".into();
        }
    }
}

/// F13: the root's type is exactly `object`.
fn make_object(root: &mut Map<String, Value>, changes: &mut Vec<Change>) {
    let nullable = root.get("nullable") == Some(&Value::Bool(true));
    if nullable {
        root.shift_remove("nullable");
    }
    let before = root.get("type").cloned();
    if !nullable && before.as_ref().is_some_and(|it| it == "object") {
        return;
    }
    if before.is_some() {
        root.insert("type".into(), "object".into());
    } else {
        root.shift_insert(0, "type".into(), "object".into());
    }
    changes.push(Change::new("", What::RootMadeObject));
}
