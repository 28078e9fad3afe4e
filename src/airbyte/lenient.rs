//! Members of messages that hold no data are read whatever their JSON type is: one of an unexpected type must not end
//! the capture (A1).

use serde_json::Value;

/// A text; a value of another type as JSON. `None` if it is null or empty.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A number, or a text that is one.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    }
    .filter(|it| it.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_other_types_are_read() {
        for (value, want_text, want_number) in [
            (json!("12"), Some("12"), Some(12.0)),
            (json!(12.5), Some("12.5"), Some(12.5)),
            (json!(null), None, None),
            (json!(""), None, None),
            (json!({"a": [1]}), Some(r#"{"a":[1]}"#), None),
            (json!("NaN"), Some("NaN"), None),
        ] {
            assert_eq!(text(&value).as_deref(), want_text, "{value}");
            assert_eq!(number(&value), want_number, "{value}");
        }
    }
}
