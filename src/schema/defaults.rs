//! The defaults that a config's schema has for its fields.

use serde_json::{Map, Value};

use super::refs;

/// References may go round in circles.
const DEEPEST: usize = 32;

/// Adds the defaults of the fields that a config lacks, as Flow's form does: those of `properties` in objects that are there.
/// Branches (`oneOf`, `anyOf`) are left to the person who chooses one.
pub fn fill_defaults(schema: &Value, config: &mut Value) {
    fill(schema, schema, config, DEEPEST);
}

fn fill(root: &Value, schema: &Value, value: &mut Value, depth: usize) {
    if depth == 0 {
        return;
    }
    if let Some(target) = schema["$ref"].as_str().and_then(|it| refs::find(root, it)) {
        fill(root, target, value, depth - 1);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fill(root, part, value, depth - 1);
    }
    match value {
        Value::Object(members) => {
            for (name, property) in schema["properties"].as_object().into_iter().flat_map(Map::iter) {
                if let Some(default) = property.get("default").filter(|it| !it.is_null()) {
                    members.entry(name.as_str()).or_insert_with(|| default.clone());
                }
                if let Some(member) = members.get_mut(name) {
                    fill(root, property, member, depth - 1);
                }
            }
        }
        Value::Array(items) if schema["items"].is_object() => {
            items.iter_mut().for_each(|it| fill(root, &schema["items"], it, depth - 1));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_fields_get_their_defaults_as_in_flows_form() {
        let schema = json!({
            "$defs": {"page": {"properties": {"size": {"default": 100}}}},
            "properties": {
                "count": {"default": 1000}, "seed": {"default": -1}, "none": {"default": null}, "plain": {},
                "paging": {"$ref": "#/$defs/page"}, "absent": {"properties": {"x": {"default": 1}}},
                "tunnel": {"default": {}, "allOf": [{"properties": {"port": {"default": 22}}}]},
                "tables": {"items": {"properties": {"limit": {"default": 5}}}},
                "login": {"oneOf": [{"properties": {"kind": {"const": "a", "default": "a"}}}]},
            },
        });
        let mut config = json!({"seed": 7, "paging": {}, "tables": [{"limit": 1}, {}], "login": {}});
        fill_defaults(&schema, &mut config);
        let want = json!({
            "seed": 7, "paging": {"size": 100}, "tables": [{"limit": 1}, {"limit": 5}], "login": {}, "count": 1000,
            "tunnel": {"port": 22},
        });
        assert_eq!(config, want);
        // It ends.
        fill_defaults(&json!({"properties": {"a": {"$ref": "#", "default": {}}}}), &mut json!({}));
    }
}
