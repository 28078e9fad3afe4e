//! Builds a config template from the fields of the connector's spec. It contains no values of a given config.

use serde_json::{Map, Value, json};

use crate::inspect::config::{Branch, Field};

use super::yaml;

/// The placeholder for strings.
const TODO: &str = "TODO";

/// A config with the required fields only.
pub fn required(fields: &[Field]) -> Value {
    object(fields).into()
}

fn object(fields: &[Field]) -> Map<String, Value> {
    fields.iter().filter(|it| it.required).map(|it| (it.name.clone(), sample(it))).collect()
}

fn sample(field: &Field) -> Value {
    if let Some(known) = field.default.as_ref().or(field.values.first()) {
        return known.clone();
    }
    if let Some(items) = field.kind.strip_prefix("array") {
        return if items.is_empty() || field.fields.is_empty() { json!([]) } else { json!([object(&field.fields)]) };
    }
    match (field.kind.as_str(), field.branches.first()) {
        (_, Some(Branch { chosen_by, fields, .. })) => {
            let mut chosen = object(&field.fields);
            chosen.extend(chosen_by.clone());
            chosen.extend(object(fields));
            chosen.into()
        }
        ("object", None) => object(&field.fields).into(),
        ("string (date-time)", _) => json!("2024-01-01T00:00:00Z"),
        ("string (date)", _) => json!("2024-01-01"),
        ("integer" | "number", _) => json!(0),
        ("boolean", _) => json!(false),
        _ => json!(TODO),
    }
}

/// `config:` with all top-level fields, the optional ones commented out.
pub fn config(lines: &mut Vec<String>, indent: usize, fields: &[Field]) {
    let space = " ".repeat(indent);
    let nothing = !fields.iter().any(|it| it.required);
    if nothing && !fields.is_empty() {
        yaml::comment(lines, indent, "No field is required. Remove the braces before setting one.");
    }
    lines.push(format!("{space}config:{}", if nothing { " {}" } else { "" }));
    for field in fields {
        yaml::comment(lines, indent + 2, &remark(field));
        let mut written = Vec::new();
        yaml::member(&mut written, if field.required { indent + 2 } else { 0 }, &field.name, &sample(field));
        if !field.required {
            written.iter_mut().for_each(|it| *it = format!("{space}  # {it}"));
        }
        lines.extend(written);
    }
}

fn remark(field: &Field) -> String {
    let mut remark = match (field.required, field.secret) {
        (true, true) => "Required, secret.",
        (true, false) => "Required.",
        (false, true) => "Secret.",
        (false, false) => "",
    }
    .to_owned();
    if let [_, .., _] = field.branches.as_slice() {
        let titles: Vec<&str> = field.branches.iter().map(|it| it.title.as_str()).filter(|it| !it.is_empty()).collect();
        remark += &format!(" One of {}: {}.", field.branches.len(), titles.join(", "));
    }
    if field.values.len() > 1 {
        let values: Vec<String> = field.values.iter().map(yaml::flow).collect();
        remark += &format!(" One of {}.", values.join(", "));
    }
    remark += &format!(" {}", field.gist());
    remark
}
