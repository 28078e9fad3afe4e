//! Where a connector comes from, and how it is run here to ask it about itself.

use anyhow::{Result, anyhow, bail};
use std::path::{Path, PathBuf};

use crate::process::launch::Target;
use crate::process::program::search_path;
use crate::settings::Protocol;

use super::image::Image;
use super::package::{self, Package};

/// Where a connector comes from, as it was said.
#[derive(Debug)]
pub enum Origin {
    /// The image of an Airbyte source.
    Image(String),
    /// A package of PyPI, by its name or that of its program; and its command, where that is not to be looked up.
    Package { protocol: Protocol, name: String, command: Vec<String> },
}

/// A connector that can be run.
#[derive(Debug)]
pub struct Found {
    /// What people call it: `source-x`, `tap-x`.
    pub name: String,
    pub protocol: Protocol,
    pub target: Target,
    pub base: Base,
}

/// What a shim's image is built from.
#[derive(Debug)]
pub enum Base {
    Image(Image),
    Package(Package),
}

impl Origin {
    pub fn find(self) -> Result<Found> {
        match self {
            Self::Image(image) => found_image(image),
            Self::Package { protocol, name, command } => found_package(protocol, &name, command),
        }
    }
}

fn found_image(image: String) -> Result<Found> {
    if !is_word(&image, "/:@") {
        bail!("{image:?} is no image's name");
    }
    Ok(Found {
        name: Image::short_name(&image).to_owned(),
        protocol: Protocol::Airbyte,
        target: Target::Image(image.clone()),
        // What there is to tell is told once it is here.
        base: Base::Image(Image { name: image, ..Image::default() }),
    })
}

fn found_package(protocol: Protocol, said: &str, command: Vec<String>) -> Result<Found> {
    let (option, start, prefix) = match protocol {
        Protocol::Airbyte => ("--airbyte", "source-", "airbyte-"),
        Protocol::Singer => ("--singer", "tap-", ""),
    };
    if !is_word(said, "") {
        bail!("{option} takes the name of a package or its program, like {start}x: {said:?} is none");
    }
    let at = said.match_indices(start).map(|(at, _)| at).find(|at| *at == 0 || said[..*at].ends_with('-'));
    let name = &said[at.unwrap_or(0)..];
    let package = if name == said { format!("{prefix}{name}") } else { said.to_owned() };
    let command = if command.is_empty() { vec![name.to_owned()] } else { command };
    let program = program(&command[0]).ok_or_else(|| {
        if command[0] == name {
            anyhow!(
                "there is no program `{name}` in PATH: install it with `python3 -m venv {name} && {name}/bin/pip install {package}`, then say where it is, behind all else: `-- {name}/bin/{name}`"
            )
        } else {
            anyhow!("there is no program `{}`: what follows `--` is the connector's command", command[0])
        }
    })?;
    let known = package::of_program(&program);
    // That pip has written the program says that it is there in the image as well, by this name.
    let name = known.is_some().then(|| program.file_name()?.to_str()).flatten().unwrap_or(name).to_owned();
    Ok(Found {
        name,
        protocol,
        base: Base::Package(known.unwrap_or(Package { name: package, version: None, python: None })),
        target: Target::Command(command),
    })
}

/// The file of a command's program. `flow-shim` is this binary, wherever it lies.
fn program(program: &str) -> Option<PathBuf> {
    match program {
        "flow-shim" => std::env::current_exe().ok(),
        path if path.contains('/') => Some(PathBuf::from(path)).filter(|it| it.is_file()),
        name => search_path(name).map(PathBuf::from),
    }
}

/// It goes into a Dockerfile and into commands as it is.
fn is_word(text: &str, others: &str) -> bool {
    text.starts_with(|it: char| it.is_ascii_alphanumeric())
        && text.chars().all(|it| it.is_ascii_alphanumeric() || "._-".contains(it) || others.contains(it))
}

/// The command as shim.yaml in `folder` says it: a path leads from there to the program.
pub fn seen_from(folder: &Path, command: &[String]) -> Vec<String> {
    let mut command = command.to_vec();
    if let Some(program) = command.first_mut()
        && program.contains('/')
        && let Ok(found) = std::path::absolute(&*program)
    {
        let path = relative(folder, &found).unwrap_or(found);
        *program = path.to_string_lossy().into_owned();
    }
    command
}

/// The way from a folder that may not be there yet to a file; none where they have nothing in common.
fn relative(folder: &Path, file: &Path) -> Option<PathBuf> {
    // Symbolic links on the way would lead `..` elsewhere. The file itself may be one: that of a virtual environment's
    // Python says which environment it is.
    let file = file.parent()?.canonicalize().ok()?.join(file.file_name()?);
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|it| it.exists())?;
    let folder = there.canonicalize().ok()?.join(folder.strip_prefix(there).ok()?);
    let common = folder.components().zip(file.components()).take_while(|(a, b)| a == b).count();
    if common < 2 {
        return None;
    }
    let mut path: PathBuf = folder.components().skip(common).map(|_| "..").collect();
    path.extend(file.components().skip(common));
    // Without a slash it would be looked up in PATH.
    Some(if path.components().count() == 1 { Path::new(".").join(path) } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_from_the_folder_to_the_program() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("venv/bin")).unwrap();
        std::os::unix::fs::symlink(root.path().join("venv"), root.path().join("link")).unwrap();
        let from = |folder: &str, program: &str| {
            let program = root.path().join(program).to_string_lossy().into_owned();
            seen_from(&root.path().join(folder), &[program, "a/b".to_owned()])
        };
        assert_eq!(from("shims/x", "venv/bin/source-x"), ["../../venv/bin/source-x", "a/b"]);
        assert_eq!(from("venv/bin", "venv/bin/source-x")[0], "./source-x");
        assert_eq!(from("link/shim", "venv/bin/source-x")[0], "../bin/source-x");
        assert_eq!(seen_from(root.path(), &["source-x".to_owned()]), ["source-x"]);
    }

    #[test]
    fn what_is_not_installed_is_told_how_to_install() {
        let find = |protocol, name: &str, command: &[&str]| {
            let command = command.iter().map(|it| (*it).to_owned()).collect();
            crate::error::sentence(&Origin::Package { protocol, name: name.to_owned(), command }.find().unwrap_err())
        };
        let sentences = [
            find(Protocol::Airbyte, "source-nowhere", &[]),
            find(Protocol::Airbyte, "airbyte-source-nowhere", &[]),
            find(Protocol::Singer, "meltanolabs-tap-nowhere", &[]),
            find(Protocol::Singer, "tap-nowhere", &["nowhere/bin/tap-nowhere"]),
            find(Protocol::Singer, "tap-x; rm", &[]),
            crate::error::sentence(&Origin::Image("a b".to_owned()).find().unwrap_err()),
        ];
        insta::assert_snapshot!(sentences.join("\n"));
    }
}
