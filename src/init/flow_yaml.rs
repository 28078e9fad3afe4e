//! flow.yaml: the connector as a capture of Flow, with what is to be filled in.

use serde_json::{Value, json};

use crate::flow::name::normalise;
use crate::flow::response::DiscoveredBinding;

use super::{Subject, skeleton, yaml};

pub fn text(subject: &Subject) -> String {
    let mut lines = Vec::new();
    yaml::comment(
        &mut lines,
        0,
        &format!(
            "{} as a capture of Estuary Flow. Fill in the config, and put your own prefix in place of acmeCo. Then, in the folder that holds {}, with flow-shim in the PATH:",
            subject.name, subject.folder
        ),
    );
    lines.push(format!("#   flowctl preview --source {}", super::quoted(&format!("{}/flow.yaml", subject.folder))));
    if let Some(url) = &subject.documentation_url {
        lines.push("# What the config means:".to_owned());
        lines.push(format!("#   {url}"));
    }
    lines.push("captures:".to_owned());
    lines.push(format!("  {}:", yaml::text(&subject.catalog_name("capture"))));
    lines.push("    endpoint:".to_owned());
    lines.push("      local:".to_owned());
    let command = json!(["flow-shim", "serve", "--shim", subject.folder]);
    yaml::member(&mut lines, 8, "command", &command);
    skeleton::config(&mut lines, 8, &subject.fields);
    lines.push("    interval: 5m".to_owned());
    match &subject.bindings {
        Some(bindings) => with_bindings(&mut lines, subject, bindings),
        None => without_bindings(&mut lines, subject),
    }
    lines.join("\n") + "\n"
}

fn with_bindings(lines: &mut Vec<String>, subject: &Subject, bindings: &[DiscoveredBinding]) {
    if bindings.is_empty() {
        lines.push("    # The connector has discovered no streams.".to_owned());
        lines.push("    bindings: []".to_owned());
        return;
    }
    lines.push("    bindings:".to_owned());
    for binding in bindings {
        lines.push(format!("      - resource: {}", yaml::flow(&binding.resource_config)));
        lines.push(format!("        target: {}", yaml::text(&collection(subject, &binding.recommended_name))));
    }
    lines.push(String::new());
    lines.push("collections:".to_owned());
    for binding in bindings {
        let name = collection(subject, &binding.recommended_name);
        let content = json!({"key": binding.key, "schema": binding.document_schema});
        yaml::member(lines, 2, &name, &content);
    }
}

fn without_bindings(lines: &mut Vec<String>, subject: &Subject) {
    yaml::comment(
        lines,
        4,
        "No config was given, so the streams are not known. Written again with `--config FILE`, each has its binding and its collection here. By hand:",
    );
    lines.push("    bindings: []".to_owned());
    let mut hint = Vec::new();
    let target = collection(subject, "things");
    hint.push("    bindings:".to_owned());
    hint.push(format!("      - resource: {}", yaml::flow(&resource(&subject.resource_schema))));
    hint.push(format!("        target: {target}"));
    hint.push("collections:".to_owned());
    let schema = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}, "x-infer-schema": true});
    yaml::member(&mut hint, 2, &target, &json!({"key": ["/id"], "schema": schema}));
    lines.extend(hint.into_iter().map(|it| format!("# {it}")));
}

/// A resource config that says which stream, and as little else as there has to be.
fn resource(schema: &Value) -> Value {
    let mut resource = skeleton::required(&crate::inspect::config::fields(schema));
    resource["stream"] = "things".into();
    resource
}

fn collection(subject: &Subject, stream: &str) -> String {
    subject.catalog_name(&normalise(stream))
}
