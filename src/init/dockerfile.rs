//! The Dockerfile: the connector, the shim in front of it, and the labels by which Flow's runtime knows what to speak (F24).

use crate::process::launch::Target;
use crate::terminal::one_line;

use super::image::Image;
use super::origin::Base;
use super::package::Package;
use super::{Subject, quoted};

const BINARY: &str = "/usr/local/bin/flow-shim";
const LABEL: &str = "LABEL FLOW_RUNTIME_PROTOCOL=capture FLOW_RUNTIME_CODEC=json CONNECTOR_PROTOCOL=flow-capture";

/// What Python there is, where the connector's own is not known.
const PYTHON: &str = "3.11";

pub fn text(subject: &Subject) -> String {
    let mut lines = vec![
        format!("# {}", build(subject)),
        format!("# in the folder that holds {}, with the flow-shim binary there.", quoted(&subject.folder)),
    ];
    match &subject.base {
        Base::Image(image) => on_image(&mut lines, subject, image),
        Base::Package(package) => with_package(&mut lines, subject, package),
    }
    lines.push(LABEL.to_owned());
    lines.join("\n") + "\n"
}

/// The command that builds it.
pub fn build(subject: &Subject) -> String {
    let tag = subject.image_name();
    let file = quoted(&format!("{}/Dockerfile", subject.folder));
    format!("docker build --platform linux/amd64 -t {tag} -f {file} .")
}

fn on_image(lines: &mut Vec<String>, subject: &Subject, image: &Image) {
    if !image.is_pinned() {
        let now = image.version.as_deref().map(|it| format!(": it is {} today", one_line(it))).unwrap_or_default();
        lines.push(format!("# Name a version of this image, or each build may bring another{now}."));
    }
    lines.push(format!("FROM {}", image.name));
    if !image.user.is_empty() {
        lines.push(format!("# The connector goes on to run as the image's user, {}.", one_line(&image.user)));
    }
    lines.push(copy(&format!("{}/shim.yaml", subject.folder), "shim.yaml"));
    lines.push(copy("flow-shim", BINARY));
    if let Some(command) = &image.command {
        lines.push("# What the image runs, which it does not say itself.".to_owned());
        lines.push(format!("ENV AIRBYTE_ENTRYPOINT={}", json_text(&shell_words::join(command)).replace('$', "\\$")));
    }
    lines.push(exec(&[BINARY]));
}

fn with_package(lines: &mut Vec<String>, subject: &Subject, package: &Package) {
    lines.push(format!("FROM python:{}-slim", package.python.as_deref().unwrap_or(PYTHON)));
    match &package.version {
        Some(version) => lines.push(format!("RUN pip install --no-cache-dir {}=={version}", package.name)),
        None => {
            lines.push(
                "# Which version runs here could not be told: name one (==), or each build may bring another."
                    .to_owned(),
            );
            lines.push(format!("RUN pip install --no-cache-dir {}", package.name));
        }
    }
    lines.push("RUN useradd --create-home connector".to_owned());
    lines.push("WORKDIR /shim".to_owned());
    lines.push(copy(&format!("{}/shim.yaml", subject.folder), "shim.yaml"));
    lines.push(copy("flow-shim", BINARY));
    lines.push("USER connector".to_owned());
    match &subject.target {
        Target::Command(command) if command.first().is_some_and(|it| it.contains('/')) => {
            lines.push(
                "# In place of shim.yaml's command, which is a path on the machine that it was written on.".to_owned(),
            );
            let installed = in_image(&subject.name, command);
            let start = [BINARY, "serve", "--shim", ".", "--"].map(str::to_owned);
            lines.push(exec(&[&start[..], &installed].concat()));
        }
        _ => lines.push(exec(&[BINARY])),
    }
}

/// The command where pip has put its program into PATH.
fn in_image(name: &str, command: &[String]) -> Vec<String> {
    match command.split_first() {
        Some((program, arguments)) if program.rsplit('/').next() == Some(name) => {
            std::iter::once(name.to_owned()).chain(arguments.iter().cloned()).collect()
        }
        _ => vec![name.to_owned()],
    }
}

/// The form with brackets takes any name.
fn copy(from: &str, to: &str) -> String {
    if from.chars().all(|it| it.is_ascii_alphanumeric() || "/._-".contains(it)) {
        format!("COPY {from} {to}")
    } else {
        format!("COPY [{}, {}]", json_text(from), json_text(to))
    }
}

fn exec<S: AsRef<str>>(command: &[S]) -> String {
    let words: Vec<String> = command.iter().map(|it| json_text(it.as_ref())).collect();
    format!("ENTRYPOINT [{}]", words.join(", "))
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
