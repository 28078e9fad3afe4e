//! The connector's form as a config schema, and a config as the connector wants it (V6, V7).

use anyhow::{Result, anyhow};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::messages::{ConditionalFields, Configuration, FieldKind, FormField, TextField, UploadField, VisibleWhen};

/// The schema of a form. One without fields takes any config: a connector may use what it does not ask for.
pub fn schema(fields: &[FormField]) -> Value {
    let mut form = Form::default();
    form.add(fields, None);
    let mut schema = json!({"type": "object", "title": "Config of the connector", "properties": form.properties});
    if !form.required.is_empty() {
        schema["required"] = form.required.into();
    }
    if fields.is_empty() {
        schema["additionalProperties"] = true.into();
    }
    schema
}

#[derive(Default)]
struct Form {
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl Form {
    /// Adds fields, which are only shown under a condition if there is one.
    fn add(&mut self, fields: &[FormField], condition: Option<&str>) {
        for field in fields {
            // Its own name and label mean nothing (V6).
            if let Some(FieldKind::Conditional(conditional)) = &field.kind {
                let own = condition_of(conditional);
                let condition = condition.map_or_else(|| own.clone(), |outer| format!("{outer} and {own}"));
                self.add(&conditional.fields, Some(&condition));
                continue;
            }
            let mut property = property(field, condition);
            property.insert("order".into(), self.properties.len().into());
            match self.properties.get_mut(&field.name) {
                Some(known) => unite(known, property),
                None => drop(self.properties.insert(field.name.clone(), Value::Object(property))),
            }
            let name = Value::from(field.name.as_str());
            if condition.is_none() && field.required == Some(true) && !self.required.contains(&name) {
                self.required.push(name);
            }
        }
    }
}

/// A field may be in several branches, and not the same in each: a config that one of them takes is valid, and a value
/// that is secret in one of them is secret.
fn unite(known: &mut Value, other: Map<String, Value>) {
    let other = Value::Object(other);
    if known["type"] != other["type"] {
        known["type"] = json!(["string", "boolean"]);
    }
    for keyword in ["secret", "multiline"] {
        if other[keyword] == true {
            known[keyword] = true.into();
        }
    }
    for keyword in ["enum", "maxLength", "contentEncoding"] {
        if known[keyword] == other[keyword] {
            continue;
        }
        match (known[keyword].take(), &other[keyword]) {
            (Value::Array(values), Value::Array(others)) => {
                known[keyword] = distinct(values.into_iter().chain(others.iter().cloned())).into();
            }
            (Value::Number(most), Value::Number(other)) => {
                known[keyword] = most.as_u64().max(other.as_u64()).into();
            }
            _ => drop(known.as_object_mut().and_then(|it| it.remove(keyword))),
        }
    }
    if let (Some(text), Some(more)) = (known["description"].as_str(), other["description"].as_str())
        && text != more
    {
        known["description"] = format!("{text} {more}").into();
    }
}

fn distinct(values: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

fn condition_of(fields: &ConditionalFields) -> String {
    let Some(condition) = &fields.condition else { return "a condition of the connector holds".to_owned() };
    let name = &condition.field;
    match &condition.when {
        Some(VisibleWhen::Bool(it)) => format!("{name} is {it}"),
        Some(VisibleWhen::Text(it)) => format!("{name} is {it:?}"),
        Some(VisibleWhen::Empty(true)) => format!("{name} is empty"),
        Some(VisibleWhen::Empty(false)) | None => format!("{name} is set"),
    }
}

fn property(field: &FormField, condition: Option<&str>) -> Map<String, Value> {
    let mut property = Map::new();
    let mut remarks: Vec<String> = field.description.iter().map(|it| it.trim().to_owned()).collect();
    let mut set = |keyword: &str, value: Value| drop(property.insert(keyword.into(), value));
    set("type", "string".into());
    set("title", if field.label.trim().is_empty() { field.name.as_str() } else { field.label.as_str() }.into());
    let mut default = field.default_value.as_deref().map(Value::from);
    match &field.kind {
        Some(FieldKind::Text(kind)) if *kind == TextField::Password as i32 => set("secret", true.into()),
        Some(FieldKind::Toggle(_)) => {
            set("type", "boolean".into());
            default =
                field.default_value.as_deref().and_then(|it| it.trim().to_lowercase().parse().ok()).map(Value::Bool);
        }
        Some(FieldKind::Dropdown(it)) if !it.values.is_empty() => {
            set("enum", distinct(it.values.iter().map(|it| it.as_str().into())).into());
        }
        Some(FieldKind::DescriptiveDropdown(it)) if !it.values.is_empty() => {
            set("enum", distinct(it.values.iter().map(|it| it.value.as_str().into())).into());
            remarks.extend(it.values.iter().map(|it| match it.description.trim() {
                "" => format!("{}: {}.", it.value, it.label.trim()),
                description => format!("{}: {}: {description}.", it.value, it.label.trim()),
            }));
        }
        Some(FieldKind::Upload(it)) => {
            set("secret", true.into());
            set("multiline", true.into());
            set("contentEncoding", "base64".into());
            if let Some(length) = length_of(it) {
                set("maxLength", length.into());
            }
            remarks.push(remark_of(it));
        }
        _ => {}
    }
    if let Some(placeholder) = field.placeholder.as_deref().filter(|it| !it.is_empty()) {
        set("examples", vec![placeholder].into());
    }
    if let Some(condition) = condition {
        remarks.insert(0, format!("Only if {condition}."));
    }
    remarks.retain(|it| !it.is_empty());
    if !remarks.is_empty() {
        set("description", remarks.join(" ").into());
    }
    if let Some(default) = default {
        set("default", default);
    }
    property
}

/// How long the base64 of the largest file is.
fn length_of(upload: &UploadField) -> Option<u64> {
    let bytes = u64::try_from(upload.max_file_size_bytes).ok().filter(|it| *it > 0)?;
    Some(bytes.div_ceil(3) * 4)
}

fn remark_of(upload: &UploadField) -> String {
    let kinds = match upload.allowed_file_type.is_empty() {
        true => String::new(),
        false => format!(" ({})", upload.allowed_file_type.join(", ")),
    };
    let most = match upload.max_file_size_bytes {
        ..=0 => String::new(),
        bytes => format!(", at most {bytes} bytes"),
    };
    format!("A file{kinds}{most}, in base64.")
}

/// A config as the connector wants it: every value is text (V7). The error does not quote it.
pub fn configuration(config: &RawValue) -> Result<Configuration> {
    let members: Map<String, Value> =
        serde_json::from_str(config.get()).map_err(|_| anyhow!("the config is not a JSON object"))?;
    let text = |value: Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        // Numbers keep their digits, and objects are JSON.
        other => Some(other.to_string()),
    };
    Ok(members.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fivetran::messages::{
        DescriptiveDropdownField, DescriptiveDropdownFields, DropdownField, ToggleField, VisibilityCondition,
    };

    fn field(name: &str, kind: FieldKind) -> FormField {
        FormField { name: name.to_owned(), label: format!("The {name}"), kind: Some(kind), ..FormField::default() }
    }

    fn conditional(field: &str, when: VisibleWhen, fields: Vec<FormField>) -> FormField {
        let condition = VisibilityCondition { field: field.to_owned(), when: Some(when) };
        let kind = FieldKind::Conditional(ConditionalFields { condition: Some(condition), fields });
        FormField { name: "not-a-field".to_owned(), required: Some(true), kind: Some(kind), ..FormField::default() }
    }

    #[test]
    fn a_form_becomes_a_schema() {
        let text = |kind| FieldKind::Text(kind as i32);
        let choice = |value: &str, description: &str| DescriptiveDropdownField {
            value: value.to_owned(),
            label: value.to_uppercase(),
            description: description.to_owned(),
        };
        let fields = [
            FormField {
                required: Some(true),
                description: Some("Where it is.".to_owned()),
                placeholder: Some("example.com".to_owned()),
                ..field("host", text(TextField::Plain))
            },
            FormField {
                required: Some(true),
                default_value: Some("none".to_owned()),
                ..field(
                    "auth",
                    FieldKind::Dropdown(DropdownField { values: vec!["key".to_owned(), "none".to_owned()] }),
                )
            },
            conditional(
                "auth",
                VisibleWhen::Text("key".to_owned()),
                vec![
                    FormField { required: Some(true), ..field("api_key", text(TextField::Password)) },
                    conditional("api_key", VisibleWhen::Empty(true), vec![field("user", text(TextField::Plain))]),
                ],
            ),
            FormField { default_value: Some("true".to_owned()), ..field("verbose", FieldKind::Toggle(ToggleField {})) },
            field(
                "mode",
                FieldKind::DescriptiveDropdown(DescriptiveDropdownFields {
                    values: vec![choice("upsert", "Rows are replaced"), choice("append", "")],
                }),
            ),
            field(
                "certificate",
                FieldKind::Upload(UploadField {
                    allowed_file_type: vec![".pem".to_owned()],
                    max_file_size_bytes: 65_536,
                }),
            ),
            FormField { default_value: Some("h".to_owned()), ..field("hidden", text(TextField::Hidden)) },
        ];
        insta::assert_snapshot!(serde_json::to_string_pretty(&schema(&fields)).unwrap());
        assert_eq!(schema(&[])["additionalProperties"], true);
    }

    #[test]
    fn a_field_of_several_branches_takes_what_each_of_them_takes() {
        let when = |value: &str, fields| conditional("auth", VisibleWhen::Text(value.to_owned()), fields);
        let choice = |values: &[&str]| {
            FieldKind::Dropdown(DropdownField { values: values.iter().map(|&it| it.to_owned()).collect() })
        };
        let required = |field| FormField { required: Some(true), ..field };
        let fields = [
            required(field("auth", choice(&["key", "password", "key"]))),
            required(field("auth", choice(&["none"]))),
            when("key", vec![field("token", FieldKind::Text(0)), field("region", choice(&["eu", "us"]))]),
            when("password", vec![field("token", FieldKind::Text(1)), field("region", choice(&["us", "asia"]))]),
            when("none", vec![field("region", FieldKind::Text(0)), field("token", FieldKind::Toggle(ToggleField {}))]),
        ];
        insta::assert_snapshot!(serde_json::to_string_pretty(&schema(&fields)).unwrap());
    }

    #[test]
    fn every_value_is_text() {
        let config = r#"{"a": "x", "b": true, "c": 1.50, "d": null, "e": {"f": [1]}, "g": ""}"#;
        let given = configuration(&RawValue::from_string(config.to_owned()).unwrap()).unwrap();
        let want = [("a", "x"), ("b", "true"), ("c", "1.50"), ("e", r#"{"f":[1]}"#), ("g", "")];
        assert!(given.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(want));
    }
}
