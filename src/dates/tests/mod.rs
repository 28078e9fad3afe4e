//! Values by a table, schemas by cases, and both at random.

mod properties;
mod schemas;
mod values;

use serde_json::{Value, json};

use super::{Dates, Typed};

fn dates(schema: &Value) -> Option<Dates> {
    Dates::of(schema, Typed::Key(&[]), &[])
}

/// The document after [`Dates::normalize`].
fn normalized(dates: &mut Dates, document: &str) -> String {
    let given = document.as_bytes();
    let text = dates.normalize(given, &mut []).unwrap_or(given).to_vec();
    String::from_utf8(text).unwrap()
}

/// The same by the full traversal alone.
fn rewritten(dates: &mut Dates, document: &str) -> Option<String> {
    let text = dates.rewriter.rewrite(&dates.schema, document.as_bytes(), &mut []);
    text.map(|it| String::from_utf8(it.to_vec()).unwrap())
}

fn is_right(dates: &Dates, document: &str) -> bool {
    dates.fast_check.is_right(document.as_bytes())
}

fn at(schema: &Value) -> Value {
    json!({"properties": {"at": schema}})
}
