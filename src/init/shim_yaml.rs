//! Writes shim.yaml: how to run the connector, and commented-out settings that it needs.

use serde_json::{Map, Value, json};

use crate::process::launch::Target;
use crate::secrets;
use crate::settings::Protocol;

use super::{Subject, yaml};

pub fn text(subject: &Subject) -> String {
    let mut lines = vec!["# yaml-language-server: $schema=./shim.schema.json".to_owned()];
    let kind = match subject.protocol {
        Protocol::Airbyte => "an Airbyte source",
        Protocol::Singer => "a Singer tap",
        Protocol::Fivetran => "a Fivetran connector",
    };
    yaml::comment(
        &mut lines,
        0,
        &format!("Runs {}, {kind}, as an Estuary Flow capture connector. See README.md.", subject.name),
    );
    lines.push(format!("protocol: {}", subject.protocol.name()));
    match &subject.target {
        Target::Command(command) => lines.push(format!("command: {}", yaml::flow(&json!(command)))),
        Target::Image(image) => {
            yaml::comment(
                &mut lines,
                0,
                "Used on your machine. Inside the built image, AIRBYTE_ENTRYPOINT is used instead.",
            );
            lines.push(format!("image: {}", yaml::text(image)));
        }
    }
    if subject.documentation_url.is_none() {
        lines.push(String::new());
        yaml::comment(&mut lines, 0, "The documentation page that Flow links to. The connector's spec names none.");
        lines.push("# documentationUrl: https://example.com/docs".to_owned());
    }
    config_schema(&mut lines, subject);
    oauth2(&mut lines, subject);
    lines.join("\n") + "\n"
}

fn config_schema(lines: &mut Vec<String>, subject: &Subject) {
    let Some(schema) = &subject.undescribed else { return };
    lines.push(String::new());
    yaml::comment(
        lines,
        0,
        "The connector does not describe its config. With a schema here, Flow shows a form and validates the config:",
    );
    let mut written = Vec::new();
    yaml::member(&mut written, 0, "configSchema", schema);
    lines.extend(written.into_iter().map(|it| format!("# {it}")));
}

/// A first schema of a tap's config, from the names and types of an example's fields.
pub fn schema_of(config: &Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for (name, value) in config {
        let kind = match value {
            Value::Object(_) => "object",
            Value::Array(_) => "array",
            Value::Bool(_) => "boolean",
            Value::Number(it) if it.is_i64() || it.is_u64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) | Value::Null => "string",
        };
        let mut property = json!({"type": kind, "title": title(name)});
        if kind == "string" && secrets::is_secret_name(name) {
            property["secret"] = true.into();
        }
        properties.insert(name.clone(), property);
    }
    let required: Vec<&String> = config.keys().collect();
    json!({"type": "object", "required": required, "properties": properties})
}

/// `start_date` as `Start date`.
fn title(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut characters = words.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn oauth2(lines: &mut Vec<String>, subject: &Subject) {
    if let Some(provider) = &subject.provider {
        lines.push(String::new());
        yaml::comment(
            lines,
            0,
            &format!("Users sign in with {provider}, as the connector declares. To disable sign-in:"),
        );
        lines.push("# oauth2: false".to_owned());
    } else if let Some(missing) = &subject.oauth2_missing {
        lines.push(String::new());
        let why = format!("The connector declares OAuth, but users can't sign in yet: {missing}.");
        yaml::comment(lines, 0, &why);
        yaml::comment(
            lines,
            0,
            "Complete it from the provider's documentation (`flow-shim oauth --dry-run` shows the resulting requests):",
        );
        lines.extend(OAUTH2.iter().map(|it| (*it).to_owned()));
        yaml::comment(lines, 0, "To disable sign-in: `oauth2: false`.");
    }
}

const OAUTH2: [&str; 5] = [
    "# oauth2:",
    "#   authUrlTemplate: \"https://PROVIDER/authorize?response_type=code&client_id={{#urlencode}}{{{client_id}}}{{/urlencode}}&redirect_uri={{#urlencode}}{{{redirect_uri}}}{{/urlencode}}&state={{#urlencode}}{{{state}}}{{/urlencode}}\"",
    "#   accessTokenUrlTemplate: \"https://PROVIDER/token\"",
    "#   accessTokenBody: \"grant_type=authorization_code&client_id={{#urlencode}}{{{client_id}}}{{/urlencode}}&client_secret={{#urlencode}}{{{client_secret}}}{{/urlencode}}&redirect_uri={{#urlencode}}{{{redirect_uri}}}{{/urlencode}}&code={{#urlencode}}{{{code}}}{{/urlencode}}\"",
    "#   accessTokenHeaders: { content-type: application/x-www-form-urlencoded }",
];
