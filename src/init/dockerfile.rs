//! Writes the Dockerfile: the connector, flow-shim as its entrypoint, and the labels that tell Flow's runtime the protocol
//! (F24).

use crate::process::launch::Target;
use crate::terminal::one_line;

use super::image::Image;
use super::origin::Base;
use super::package::Package;
use super::{Subject, quoted};

const BINARY: &str = "/usr/local/bin/flow-shim";
const LABEL: &str = "LABEL FLOW_RUNTIME_PROTOCOL=capture CONNECTOR_PROTOCOL=flow-capture";

/// The Python version of the image if the connector's own is unknown.
const PYTHON: &str = "3.11";

pub fn text(subject: &Subject) -> String {
    let mut lines = vec![
        format!("# {}", build(subject)),
        format!("# Run it in {}, with the flow-shim binary there.", subject.build_directory()),
    ];
    match &subject.base {
        Base::Image(image) => on_image(&mut lines, subject, image),
        Base::Package(package) => with_package(&mut lines, subject, package),
    }
    lines.push(LABEL.to_owned());
    lines.join("\n") + "\n"
}

/// The command that builds the image.
pub fn build(subject: &Subject) -> String {
    let tag = subject.image_name();
    let file = quoted(&subject.path_of("Dockerfile"));
    format!("docker build --platform linux/amd64 -t {tag} -f {file} .")
}

fn on_image(lines: &mut Vec<String>, subject: &Subject, image: &Image) {
    if !image.is_pinned() {
        let now = image.version.as_deref().map(|it| format!(" (currently {})", one_line(it))).unwrap_or_default();
        lines.push(format!("# Pin a version of this image{now}; otherwise each build may use a different one."));
    }
    lines.push(format!("FROM {}", image.name));
    if !image.user.is_empty() {
        lines.push(format!("# The connector still runs as the image's user, {}.", one_line(&image.user)));
    }
    lines.push(copy(&subject.path_of("shim.yaml"), "shim.yaml"));
    lines.push(copy("flow-shim", BINARY));
    if let Some(command) = &image.command {
        lines.push("# The image's entrypoint. The image itself does not set AIRBYTE_ENTRYPOINT.".to_owned());
        lines.push(format!("ENV AIRBYTE_ENTRYPOINT={}", json_text(&shell_words::join(command)).replace('$', "\\$")));
    }
    lines.push(exec(&[BINARY]));
}

fn with_package(lines: &mut Vec<String>, subject: &Subject, package: &Package) {
    lines.push(format!("FROM docker.io/library/python:{}-slim", package.python.as_deref().unwrap_or(PYTHON)));
    match &package.version {
        Some(version) => lines.push(format!("RUN pip install --no-cache-dir {}=={version}", package.name)),
        None => {
            lines.push(
                "# The installed version is unknown. Pin one (==); otherwise each build may use a different one."
                    .to_owned(),
            );
            lines.push(format!("RUN pip install --no-cache-dir {}", package.name));
        }
    }
    lines.push("RUN useradd --create-home connector".to_owned());
    lines.push("WORKDIR /shim".to_owned());
    lines.push(copy(&subject.path_of("shim.yaml"), "shim.yaml"));
    lines.push(copy("flow-shim", BINARY));
    lines.push("USER connector".to_owned());
    match &subject.target {
        Target::Command(command) if command.first().is_some_and(|it| it.contains('/')) => {
            lines.push(
                "# Replaces the command in shim.yaml, which is a path on the machine that ran `flow-shim init`."
                    .to_owned(),
            );
            let installed = in_image(&subject.name, command);
            let start = [BINARY, "serve", "--shim", ".", "--"].map(str::to_owned);
            lines.push(exec(&[&start[..], &installed].concat()));
        }
        _ => lines.push(exec(&[BINARY])),
    }
}

/// The command inside the image, where pip has installed the program in PATH.
fn in_image(name: &str, command: &[String]) -> Vec<String> {
    match command.split_first() {
        Some((program, arguments)) if program.rsplit('/').next() == Some(name) => {
            std::iter::once(name.to_owned()).chain(arguments.iter().cloned()).collect()
        }
        _ => vec![name.to_owned()],
    }
}

/// A COPY instruction; the JSON form accepts any file name.
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
