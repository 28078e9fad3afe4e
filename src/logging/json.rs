//! The sink that Flow reads: one JSON object a line.

use serde::Serialize;

use super::writer::WRITER;
use super::{Fields, Line, Sink};

pub struct JsonLines;

#[derive(Serialize)]
struct JsonLine<'a> {
    ts: String,
    level: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    fields: &'a Fields,
}

impl Sink for JsonLines {
    fn log(&self, line: &Line) {
        let ts = jiff::Timestamp::now().to_string();
        let json = JsonLine { ts, level: line.level.name(), message: line.message, fields: line.fields };
        if let Ok(mut text) = serde_json::to_string(&json) {
            text.push('\n');
            WRITER.push(text, line.priority);
        }
    }

    fn is_for_flow(&self) -> bool {
        true
    }
}
