//! Values by a table, schemas by cases, and both by chance.

mod properties;
mod schemas;
mod values;

use serde_json::{Value, json};

use super::{Dates, Typed};

fn dates(schema: &Value) -> Option<Dates> {
    Dates::of(schema, Typed::Key(&[]), &[])
}

/// The document as it is sent.
fn normalized(dates: &mut Dates, document: &str) -> String {
    let given = document.as_bytes();
    let text = dates.normalize(given, &mut []).unwrap_or(given).to_vec();
    String::from_utf8(text).unwrap()
}

/// The same without a look before.
fn walked(dates: &mut Dates, document: &str) -> Option<String> {
    let walked = dates.walk.through(&dates.plan, document.as_bytes(), &mut []);
    walked.map(|it| String::from_utf8(it.to_vec()).unwrap())
}

fn is_right(dates: &Dates, document: &str) -> bool {
    dates.look.is_right(document.as_bytes())
}

fn at(schema: &Value) -> Value {
    json!({"properties": {"at": schema}})
}
