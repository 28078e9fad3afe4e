//! Rewrites the JSON schemas of a source so that Flow accepts them.
//!
//! Flow's schema parser knows a fixed set of keywords and formats and rejects all others; sources write schemas for more
//! tolerant readers, in every draft since 2010. There are three results: the endpoint config schema ([`config`]), the
//! write schema of a collection ([`write_permissive`], [`write_declared`]) and the sourced schema ([`sourced`]). What is
//! invalid is repaired if its meaning is clear, and dropped otherwise; each such [`Change`] has a name. What Flow accepts
//! is not changed, with these intended exceptions:
//!
//! - the root's type becomes exactly `object`;
//! - `$schema` of a draft before 2019-09 is dropped, and tuples in `items` and `additionalItems` become `prefixItems` and
//!   `items`;
//! - an `$id` below the root is dropped if there are references, because it would redirect them;
//! - `multipleOf` is dropped if it is too small for doubles, and in documents also if it is fractional;
//! - config schemas get discriminators, and documents lose their enums.
//!
//! A `$ref` by URL counts as external even if the same document has that `$id`: no known source writes one.
//!
//! This module knows JSON schema and how Flow reads it, but not Airbyte, Singer or streams.

mod change;
mod defaults;
mod discriminator;
mod key;
mod keywords;
mod modernise;
mod refs;
mod rewrite;
mod shape;
mod sourced;
mod values;
mod violations;
mod write;

#[cfg(test)]
mod tests;

pub use change::{Change, What};
pub use defaults::fill_defaults;
pub use key::{Key, KeyProblem, declare_path, key};
pub(crate) use refs::find as find_ref;
pub use sourced::{DateFormats, sourced};
pub use violations::{unknown_fields, violations};
pub use write::{write_declared, write_permissive};

use serde_json::{Map, Value};
use values::Mode;

/// A schema that Flow accepts, and the changes that were necessary.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewritten {
    pub schema: Value,
    pub changes: Vec<Change>,
}

/// The endpoint config schema, for Flow's strict parser and its web form.
pub fn config(schema: &Value) -> Rewritten {
    let (mut root, mut changes) = rewrite::rewrite(schema, Mode::Config);
    make_object(&mut root, &mut changes);
    let mut schema = Value::Object(root);
    discriminator::derive(&mut schema, &mut changes);
    Rewritten { schema, changes }
}

/// Changes the format `date` to `date-time`.
pub fn date_to_date_time(schema: &mut Value) {
    let mut dates = Vec::new();
    refs::visit(schema, &mut String::new(), &mut |at, map| {
        if map.get("format").is_some_and(|it| it == "date") {
            dates.push(at.to_owned());
        }
    });
    for at in dates {
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
