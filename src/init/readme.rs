//! README.md: what a person does with the folder.

use super::origin::Base;
use super::{Subject, dockerfile, quoted, skeleton, yaml};

/// How long a line of prose becomes.
const WIDTH: usize = 118;

pub fn text(subject: &Subject) -> String {
    let Subject { name, folder, .. } = subject;
    let shim = quoted(folder);
    let mut parts = vec![format!("# {name} as a capture of Estuary Flow"), prose(&about(subject))];
    parts.push("## Try it".to_owned());
    let required = if subject.fields.is_empty() { "" } else { " What has to be in it:" };
    parts.push(prose(&format!(
        "Put the connector's config into `{folder}/config.json`, where it is found by itself, and keep it out of version control.{required}"
    )));
    if !subject.fields.is_empty() {
        let config = serde_json::to_string_pretty(&skeleton::required(&subject.fields)).unwrap_or_default();
        parts.push(format!("```json\n{config}\n```"));
    }
    parts.push(format!("Then, in the folder that holds `{folder}`:"));
    parts.push(format!("    flow-shim inspect --shim {shim}\n    flow-shim preview --shim {shim} --limit 20"));
    parts.extend(signing_in(subject));
    if subject.undescribed.is_some() {
        parts.push(prose(
            "The tap does not tell what its config looks like: describe it in `shim.yaml`, for Flow's form.",
        ));
    }
    parts.push("## Use it in Flow".to_owned());
    parts.push(prose(
        &format!("`flow.yaml` has Flow run the shim on your machine. As an image, with the static `flow-shim` binary in the folder that holds `{folder}`:"),
    ));
    parts.push(format!("    {}", dockerfile::build(subject)));
    parts.push("Push it to a registry; in `flow.yaml` it takes the place of `local`:".to_owned());
    parts.push(format!(
        "```yaml\n    endpoint:\n      connector:\n        image: ghcr.io/acmeCo/{}:v1\n        config: ...\n```",
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
    };
    let documented = subject.documentation_url.as_ref().map(|url| format!(" What its config means: <{url}>."));
    format!("`flow-shim init` has written this folder around {source}.{}", documented.unwrap_or_default())
}

fn signing_in(subject: &Subject) -> Vec<String> {
    let shim = quoted(&subject.folder);
    match (&subject.provider, &subject.oauth2_missing) {
        (Some(provider), _) => vec![
            prose(&format!(
                "Users sign in with {provider}. What Flow would send for that, and a config with `credentials` as Flow makes it:"
            )),
            format!(
                "    flow-shim oauth --shim {shim} --dry-run\n    flow-shim oauth --shim {shim} --client-id ID --client-secret SECRET --output config.json"
            ),
        ],
        (None, Some(_)) => vec![prose(
            "The connector declares OAuth, but not all that it takes for users to sign in: `shim.yaml` says what is missing.",
        )],
        (None, None) => Vec::new(),
    }
}

fn prose(text: &str) -> String {
    yaml::wrapped(text, WIDTH).join("\n")
}
