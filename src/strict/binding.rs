//! A binding of a capture, as Flow's control plane builds it.

use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub struct Binding {
    pub resource: Value,
    pub key: Vec<String>,
    pub schema: Value,
    pub backfill: u32,
}

impl Binding {
    pub fn new(stream: &str, sync_mode: &str) -> Self {
        Self::of_resource(json!({"stream": stream, "syncMode": sync_mode}))
    }

    pub fn of_resource(resource: Value) -> Self {
        Self {
            resource,
            key: vec!["/_meta/row_id".to_owned()],
            schema: json!({"type": "object", "x-infer-schema": true}),
            backfill: 0,
        }
    }

    /// A discovered binding, without changes by the user.
    pub fn of_discovered(discovered: &Value) -> Self {
        let key = discovered["key"].as_array().into_iter().flatten();
        Self {
            resource: discovered["resourceConfig"].clone(),
            key: key.filter_map(Value::as_str).map(str::to_owned).collect(),
            schema: discovered["documentSchema"].clone(),
            backfill: 0,
        }
    }

    pub fn key<S: Into<String>>(mut self, key: impl IntoIterator<Item = S>) -> Self {
        self.key = key.into_iter().map(Into::into).collect();
        self
    }

    pub fn backfill(mut self, counter: u32) -> Self {
        self.backfill = counter;
        self
    }

    /// The values at `/namespace` and `/stream`, except absent and null ones (F17).
    pub fn resource_path(&self) -> Vec<&str> {
        ["namespace", "stream"].iter().filter_map(|it| self.resource[*it].as_str()).collect()
    }

    /// The values at the pointers of a Spec response.
    pub fn path_at(&self, spec: &Value) -> Vec<&str> {
        let pointers = spec["resourcePathPointers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        pointers.filter_map(|it| self.resource.pointer(it)?.as_str()).collect()
    }

    pub fn name(&self) -> String {
        self.resource_path().join(".")
    }

    /// The encoded path and the backfill counter (F19).
    pub fn state_key(&self) -> String {
        let encode = |part: &&str| {
            let bytes = part.bytes().map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => char::from(byte).to_string(),
                b' ' => "+".to_owned(),
                _ => format!("%{byte:02X}"),
            });
            bytes.collect::<String>()
        };
        format!("{}.v{}", self.resource_path().iter().map(encode).collect::<Vec<_>>().join("%2F"), self.backfill)
    }

    pub(super) fn collection(&self) -> Value {
        let projection = |pointer: &String| json!({"ptr": pointer, "field": pointer.strip_prefix('/').unwrap_or(pointer), "isPrimaryKey": true, "inference": {"types": ["string"], "exists": "MUST"}});
        json!({
            "name": format!("acmeCo/{}", self.resource_path().join("/")),
            "writeSchema": self.schema,
            "key": self.key,
            "uuidPtr": "/_meta/uuid",
            "projections": self.key.iter().map(projection).collect::<Vec<_>>(),
        })
    }
}
