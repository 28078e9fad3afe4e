//! Writes the Dockerfile: the connector, flow-shim as its entrypoint, and the labels that tell Flow's runtime the protocol
//! (F24).

use crate::process::launch::Target;
use crate::terminal::one_line;

use super::image::Image;
use super::origin::Base;
use super::package::Package;
use super::{MANIFEST_SOURCE, Subject, quoted};

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
        Base::Manifest { cdk } => with_manifest(&mut lines, subject, cdk),
        Base::Command => with_command(&mut lines, subject),
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
    bake(lines, &image.user, &[]);
    lines.push(entrypoint(&[]));
}

fn with_package(lines: &mut Vec<String>, subject: &Subject, package: &Package) {
    install(lines, package);
    lines.push("RUN useradd --create-home connector".to_owned());
    lines.push("WORKDIR /shim".to_owned());
    lines.push(copy(&subject.path_of("shim.yaml"), "shim.yaml"));
    lines.push(copy("flow-shim", BINARY));
    let installed = installed(subject);
    if !installed.is_empty() {
        lines.push(format!(
            "# `-- {}` replaces the command in shim.yaml, a path on the machine that ran `flow-shim init`.",
            installed.join(" ")
        ));
    }
    bake(lines, "", &installed);
    lines.push("USER connector".to_owned());
    lines.push(entrypoint(&installed));
}

/// The package and the Python that it needs.
fn install(lines: &mut Vec<String>, package: &Package) {
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
}

fn with_manifest(lines: &mut Vec<String>, subject: &Subject, cdk: &Package) {
    install(lines, cdk);
    lines.push("RUN useradd --create-home connector".to_owned());
    lines.push("WORKDIR /shim".to_owned());
    for name in ["shim.yaml", MANIFEST_SOURCE, "manifest.yaml"] {
        lines.push(copy(&subject.path_of(name), name));
    }
    lines.push(format!("RUN chmod +x {MANIFEST_SOURCE}"));
    lines.push("# If the manifest has custom components:".to_owned());
    lines.push(format!("# {}", copy(&subject.path_of("components.py"), "components.py")));
    lines.push(copy("flow-shim", BINARY));
    bake(lines, "", &[]);
    lines.push("USER connector".to_owned());
    lines.push(entrypoint(&[]));
}

/// The command inside the image, if it is not the one in shim.yaml: that may be a path on the machine that runs
/// `flow-shim init`.
pub fn installed(subject: &Subject) -> Vec<String> {
    match (&subject.base, &subject.target) {
        (Base::Package(_), Target::Command(command)) if command.first().is_some_and(|it| it.contains('/')) => {
            in_image(&subject.name, command)
        }
        _ => Vec::new(),
    }
}

/// What the connector consists of is not known.
fn with_command(lines: &mut Vec<String>, subject: &Subject) {
    lines.push(format!("FROM docker.io/library/python:{PYTHON}-slim"));
    lines.push("RUN useradd --create-home connector".to_owned());
    lines.push("WORKDIR /shim".to_owned());
    lines.push("# Add the connector here, so that the command in shim.yaml finds it; for one in Python:".to_owned());
    lines.push(format!("# {}", copy(&subject.path_of("requirements.txt"), "./")));
    lines.push("# RUN pip install --no-cache-dir -r requirements.txt".to_owned());
    lines.push(format!("# {}", copy(&subject.path_of("*.py"), "./")));
    lines.push(copy(&subject.path_of("shim.yaml"), "shim.yaml"));
    lines.push(copy("flow-shim", BINARY));
    bake(lines, "", &[]);
    lines.push("USER connector".to_owned());
    lines.push(entrypoint(&[]));
}

/// Stores the connector's spec in the image. That needs the right to write there.
fn bake(lines: &mut Vec<String>, user: &str, command: &[String]) {
    let is_root = ["", "0", "root"].contains(&user.split(':').next().unwrap_or_default());
    if !is_root {
        lines.push("USER root".to_owned());
    }
    lines.push(format!("RUN {}", flow_shim("bake", command)));
    if !is_root {
        lines.push(format!("USER {}", one_line(user)));
    }
}

fn entrypoint(command: &[String]) -> String {
    match command.is_empty() {
        true => format!("ENTRYPOINT [{}]", json_text(BINARY)),
        false => format!("ENTRYPOINT {}", flow_shim("serve", command)),
    }
}

/// A call of flow-shim as an array, which needs no shell. An empty command is that of shim.yaml.
fn flow_shim(subcommand: &str, command: &[String]) -> String {
    let mut words = vec![BINARY, subcommand];
    if !command.is_empty() {
        words.extend(["--shim", ".", "--"]);
        words.extend(command.iter().map(String::as_str));
    }
    let words: Vec<String> = words.into_iter().map(json_text).collect();
    format!("[{}]", words.join(", "))
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

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
