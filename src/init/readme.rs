//! Writes README.md: how to try the connector and how to use it in Flow.

use super::origin::Base;
use super::{Subject, dockerfile, license, quoted, skeleton};
use crate::terminal::figures::wrapped;

/// The maximum length of a line of prose.
const WIDTH: usize = 118;

pub fn text(subject: &Subject) -> String {
    let Subject { name, folder, .. } = subject;
    let shim = quoted(folder);
    let mut parts = vec![format!("# Estuary Flow capture of {name}"), prose(&about(subject))];
    parts.push("## Try it".to_owned());
    let required = if subject.fields.is_empty() { "" } else { " The required fields:" };
    parts.push(prose(&format!(
        "Write the connector's config to `{}`, which flow-shim reads by default, and keep it out of version control.{required}",
        subject.path_of("config.json")
    )));
    if !subject.fields.is_empty() {
        let config = serde_json::to_string_pretty(&skeleton::required(&subject.fields)).unwrap_or_default();
        parts.push(format!("```json\n{config}\n```"));
    }
    parts.push(format!("Then, in {}:", subject.build_directory()));
    parts.push(format!("    flow-shim inspect --shim {shim}\n    flow-shim preview --shim {shim} --limit 20"));
    parts.extend(signing_in(subject));
    if subject.undescribed.is_some() {
        parts.push(prose(
            "The connector does not describe its config: add a `configSchema` to `shim.yaml`, so that Flow can show a form.",
        ));
    }
    if matches!(subject.base, Base::Image(_) | Base::Package(_)) {
        parts.push("## License".to_owned());
        parts.push(prose(&licensing(subject)));
    }
    parts.push("## Use it in Flow".to_owned());
    parts.push(prose(
        &format!("`flow.yaml` runs the shim on your machine. To build an image, put the static `flow-shim` binary into {}, and run there:", subject.build_directory()),
    ));
    parts.push(format!("    {}", dockerfile::build(subject)));
    parts.push("Push the image to a registry. In `flow.yaml`, replace `local` with it:".to_owned());
    parts.push(format!(
        "```yaml\n    endpoint:\n      connector:\n        image: ghcr.io/acmeco/{}:v1\n        config: ...\n```",
        subject.image_name()
    ));
    parts.join("\n\n") + "\n"
}

fn about(subject: &Subject) -> String {
    let source = match &subject.base {
        Base::Image(image) => format!("the image `{}`", image.name),
        Base::Package(package) => match &package.version {
            Some(version) => format!("the Python package `{}` {version}", package.name),
            None => format!("the Python package `{}`", package.name),
        },
        Base::Manifest { cdk } => format!(
            "a low-code manifest, which {} {} runs. Put it beside this file as `manifest.yaml`",
            cdk.name,
            cdk.version.as_deref().unwrap_or_default()
        ),
        Base::Command => format!("the Fivetran connector {}", subject.name),
    };
    let documented = subject.documentation_url.as_ref().map(|url| format!(" Documentation of its config: <{url}>."));
    format!("`flow-shim init` generated this directory for {source}.{}", documented.unwrap_or_default())
}

fn licensing(subject: &Subject) -> String {
    let (license, source) = subject.base.license_and_source();
    let mut text = match license {
        Some(license) => {
            let remark = license::remark(license).map(|it| format!(" {it}")).unwrap_or_default();
            format!("The connector's license, according to its metadata: {license}.{remark}")
        }
        None => "The connector's metadata names no license: find out whether you may use it.".to_owned(),
    };
    if let Some(source) = source {
        text += &format!(" Its source: <{source}>.");
    }
    text
}

fn signing_in(subject: &Subject) -> Vec<String> {
    let shim = quoted(&subject.folder);
    match (&subject.provider, &subject.oauth2_missing) {
        (Some(provider), _) => vec![
            prose(&format!(
                "Users sign in with {provider}. The first command shows the requests that Flow would send, the second signs in and writes a config with `credentials` as Flow does:"
            )),
            format!(
                "    flow-shim oauth --shim {shim} --dry-run\n    flow-shim oauth --shim {shim} --client-id ID --client-secret SECRET --output config.json"
            ),
        ],
        (None, Some(_)) => vec![prose(
            "The connector declares OAuth incompletely, so users can't sign in: see `shim.yaml` for what is missing.",
        )],
        (None, None) => Vec::new(),
    }
}

fn prose(text: &str) -> String {
    wrapped(text, WIDTH).join("\n")
}
