//! Bodies of requests: their members by type and range. A wrong one is described as Airbyte's server does (B13), but never
//! quoted: it may hold secrets.

use serde_json::{Map, Value, json};

const NOT_AN_OBJECT: &str = "Input should be a valid dictionary or object to extract fields from";

/// What is wrong with a body.
#[derive(Debug, Default, PartialEq)]
pub struct Problems(pub Vec<Value>);

impl Problems {
    fn add(&mut self, kind: &str, name: &str, message: impl Into<String>, context: Option<Value>) {
        let mut problem = json!({"type": kind, "loc": ["body", name], "msg": message.into()});
        if let Some(context) = context {
            problem["ctx"] = context;
        }
        self.0.push(problem);
    }
}

/// The members of a body, and what is wrong with those that were asked for.
pub struct Body {
    members: Map<String, Value>,
    problems: Problems,
}

impl Body {
    pub fn parse(bytes: &[u8]) -> Result<Self, Problems> {
        let wrong = |problem: Value| Err(Problems(vec![problem]));
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => Ok(Self { members, problems: Problems::default() }),
            Ok(_) => wrong(json!({"type": "model_attributes_type", "loc": ["body"], "msg": NOT_AN_OBJECT})),
            Err(_) if bytes.is_empty() => wrong(json!({"type": "missing", "loc": ["body"], "msg": "Field required"})),
            Err(error) => {
                let context = json!({"error": format!("line {}, column {}", error.line(), error.column())});
                let place = json!(["body", error.column().saturating_sub(1)]);
                wrong(json!({"type": "json_invalid", "loc": place, "msg": "JSON decode error", "ctx": context}))
            }
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.shift_remove(name)
    }

    /// A member that has to be there.
    fn required(&mut self, name: &str) -> Value {
        let found = self.take(name);
        if found.is_none() {
            self.problems.add("missing", name, "Field required", None);
        }
        found.unwrap_or_default()
    }

    pub fn object(&mut self, name: &str) -> Map<String, Value> {
        let before = self.problems.0.len();
        match self.required(name) {
            Value::Object(members) => members,
            _ => {
                if self.problems.0.len() == before {
                    self.problems.add("model_attributes_type", name, NOT_AN_OBJECT, None);
                }
                Map::new()
            }
        }
    }

    pub fn text(&mut self, name: &str) -> String {
        let before = self.problems.0.len();
        match self.required(name) {
            Value::String(text) => text,
            _ => {
                if self.problems.0.len() == before {
                    self.problems.add("string_type", name, "Input should be a valid string", None);
                }
                String::new()
            }
        }
    }

    /// A text that may be absent or null.
    pub fn optional_text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            Value::Null => None,
            _ => {
                self.problems.add("string_type", name, "Input should be a valid string", None);
                None
            }
        }
    }

    /// A list that may be absent.
    pub fn list(&mut self, name: &str) -> Vec<Value> {
        match self.take(name) {
            Some(Value::Array(items)) => items,
            None => Vec::new(),
            Some(_) => {
                self.problems.add("list_type", name, "Input should be a valid list", None);
                Vec::new()
            }
        }
    }

    /// A whole number from 1 to `most`.
    pub fn limit(&mut self, name: &str, most: u64, default: u64) -> u64 {
        let Some(given) = self.take(name) else { return default };
        let number = match &given {
            Value::Number(it) => it.as_f64().filter(|it| it.fract() == 0.0),
            Value::String(it) => it.trim().parse::<i64>().ok().map(|it| it as f64),
            _ => None,
        };
        match number {
            None => self.problems.add("int_type", name, "Input should be a valid integer", None),
            Some(it) if it < 1.0 => {
                let message = "Input should be greater than or equal to 1";
                self.problems.add("greater_than_equal", name, message, Some(json!({"ge": 1})));
            }
            Some(it) if it > most as f64 => {
                let message = format!("Input should be less than or equal to {most}");
                self.problems.add("less_than_equal", name, message, Some(json!({"le": most})));
            }
            Some(it) => return it as u64,
        }
        default
    }

    /// Whatever else the body has is ignored.
    pub fn finish(self) -> Result<(), Problems> {
        if self.problems.0.is_empty() { Ok(()) } else { Err(self.problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_name_the_member_and_quote_nothing() {
        let body = json!({"manifest": "s3cret", "record_limit": 0, "page_limit": 21, "slice_limit": "s3cret", "state": {"a": "s3cret"}, "code": 7});
        let mut body = Body::parse(body.to_string().as_bytes()).unwrap();
        body.object("manifest");
        body.object("config");
        body.text("stream_name");
        body.optional_text("code");
        body.list("state");
        for (name, most) in [("record_limit", 5000), ("page_limit", 20), ("slice_limit", 20)] {
            body.limit(name, most, 5);
        }
        let problems = body.finish().unwrap_err();
        let lines: Vec<String> = problems.0.iter().map(Value::to_string).collect();
        let invalid = [&b"{\"a\": s3cret"[..], b"[\"s3cret\"]", b""].map(|it| Body::parse(it).err().unwrap().0);
        let lines =
            lines.join("\n") + "\n" + &invalid.concat().iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        assert!(!lines.contains("s3cret"));
        insta::assert_snapshot!(lines);
    }

    #[test]
    fn whole_numbers_are_taken_in_any_notation() {
        let mut body = Body::parse(br#"{"a": 3, "b": 3.0, "c": "3", "d": 3}"#).unwrap();
        assert_eq!(["a", "b", "c", "d", "e"].map(|it| body.limit(it, 5, 4)), [3, 3, 3, 3, 4]);
        body.finish().unwrap();
    }
}
