//! Writes flow.yaml: a Flow capture of the connector, with placeholders for required config values.

use serde_json::{Value, json};

use crate::flow::name::normalise;
use crate::flow::response::DiscoveredBinding;

use super::{Subject, skeleton, yaml};

/// How the capture follows changes of the source.
pub const AUTO_DISCOVER: [&str; 4] = [
    "    autoDiscover:",
    "      addNewBindings: false",
    "      evolveIncompatibleCollections: true",
    "    interval: 5m",
];

pub(super) fn text(subject: &Subject) -> String {
    let mut lines = Vec::new();
    yaml::comment(
        &mut lines,
        0,
        &format!(
            "An Estuary Flow capture of {}. Fill in the config and replace acmeCo with your own prefix. Then run this in {}, with flow-shim in PATH:",
            subject.name,
            subject.build_directory()
        ),
    );
    lines.push(format!("#   flowctl preview --source {}", super::quoted(&subject.path_of("flow.yaml"))));
    if let Some(url) = &subject.documentation_url {
        lines.push("# Documentation of the config:".to_owned());
        lines.push(format!("#   {url}"));
    }
    lines.push("captures:".to_owned());
    lines.push(format!("  {}:", yaml::text(&(prefix(&subject.name) + "/capture"))));
    lines.push("    endpoint:".to_owned());
    lines.push("      local:".to_owned());
    let command = json!(["flow-shim", "serve", "--shim", subject.folder]);
    yaml::member(&mut lines, 8, "command", &command);
    skeleton::config(&mut lines, 8, &subject.fields);
    lines.extend(AUTO_DISCOVER.map(str::to_owned));
    match &subject.bindings {
        Some(bindings) => with_bindings(&mut lines, &prefix(&subject.name), bindings),
        None => without_bindings(&mut lines, subject),
    }
    lines.join("\n") + "\n"
}

/// The bindings of a capture, and their collections, whose names begin with `prefix`.
pub fn with_bindings(lines: &mut Vec<String>, prefix: &str, bindings: &[DiscoveredBinding]) {
    if bindings.is_empty() {
        lines.push("    # The connector discovered no streams.".to_owned());
        lines.push("    bindings: []".to_owned());
        return;
    }
    lines.push("    bindings:".to_owned());
    for binding in bindings {
        lines.push(format!("      - resource: {}", yaml::flow(&binding.resource_config)));
        lines.push(format!("        target: {}", yaml::text(&collection(prefix, &binding.recommended_name))));
    }
    lines.push(String::new());
    lines.push("collections:".to_owned());
    for binding in bindings {
        let name = collection(prefix, &binding.recommended_name);
        yaml::member(lines, 2, &name, &collection_spec(&binding.key, &binding.document_schema));
    }
}

fn without_bindings(lines: &mut Vec<String>, subject: &Subject) {
    yaml::comment(
        lines,
        4,
        "No config was given, so the streams are unknown. `flow-shim init --config FILE` writes a binding and a collection for each stream. An example:",
    );
    lines.push("    bindings: []".to_owned());
    let mut hint = Vec::new();
    let target = collection(&prefix(&subject.name), "things");
    hint.push("    bindings:".to_owned());
    hint.push(format!("      - resource: {}", yaml::flow(&resource(&subject.resource_schema))));
    hint.push(format!("        target: {target}"));
    hint.push("collections:".to_owned());
    let schema = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}, "x-infer-schema": true});
    yaml::member(&mut hint, 2, &target, &collection_spec(&["/id".to_owned()], &schema));
    lines.extend(hint.into_iter().map(|it| format!("# {it}")));
}

/// A collection as Flow's own discovery would create it. Flow acts on `x-infer-schema` only there: a published spec needs the
/// reference to the inferred schema, or materializations never see inferred columns.
fn collection_spec(key: &[String], schema: &Value) -> Value {
    if schema["x-infer-schema"] != true {
        return json!({"key": key, "schema": schema});
    }
    let read = json!({"allOf": [{"$ref": "flow://relaxed-write-schema"}, {"$ref": "flow://inferred-schema"}]});
    json!({"key": key, "writeSchema": schema, "readSchema": read})
}

/// A resource config with the stream's name, and the mode in which it is read.
fn resource(schema: &Value) -> Value {
    let mut fields = crate::inspect::config::fields(schema);
    fields.iter_mut().for_each(|it| it.required |= !it.values.is_empty());
    let mut resource = skeleton::required(&fields);
    resource["stream"] = "things".into();
    resource
}

/// What the Flow names of a connector's capture and collections begin with.
pub fn prefix(name: &str) -> String {
    format!("acmeCo/{}", normalise(name))
}

fn collection(prefix: &str, stream: &str) -> String {
    format!("{prefix}/{}", normalise(stream))
}
