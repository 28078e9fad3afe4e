//! Resolves `--image`, `--airbyte`, `--singer` and `--fivetran` to a connector that can be run on this machine.

use anyhow::{Error, Result, anyhow, bail};
use std::path::{Path, PathBuf};

use crate::process::launch::Target;
use crate::process::program::search_path;
use crate::settings::Protocol;

use super::image::Image;
use super::package::{self, Package};

/// The connector named on the command line.
#[derive(Debug)]
pub enum Origin {
    /// The image of an Airbyte source.
    Image(String),
    /// A PyPI package, by its own name or its program's; `command` is empty to look the program up in PATH.
    Package { protocol: Protocol, name: String, command: Vec<String> },
    /// A Fivetran connector: any name, and its command.
    Fivetran { name: String, command: Vec<String> },
}

/// A connector that can be run.
#[derive(Debug)]
pub struct Found {
    /// The connector's usual name: `source-x`, `tap-x`.
    pub name: String,
    pub protocol: Protocol,
    pub target: Target,
    pub base: Base,
}

/// The base of a shim's image.
#[derive(Debug)]
pub enum Base {
    Image(Image),
    Package(Package),
    /// Airbyte's CDK, which runs a low-code manifest.
    Manifest {
        cdk: Package,
    },
    /// A connector of which only the command is known.
    Command,
}

impl Base {
    /// What its metadata says.
    pub fn license_and_source(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Image(Image { license, source, .. }) | Self::Package(Package { license, source, .. }) => {
                (license.as_deref(), source.as_deref())
            }
            Self::Manifest { .. } | Self::Command => (None, None),
        }
    }
}

impl Origin {
    pub fn find(self) -> Result<Found> {
        match self {
            Self::Image(image) => found_image(image),
            Self::Package { protocol, name, command } => found_package(protocol, &name, command),
            Self::Fivetran { name, command } => found_fivetran(name, command),
        }
    }
}

fn found_image(image: String) -> Result<Found> {
    if !is_word(&image, "/:@") {
        bail!("{image:?} is not an image name");
    }
    let last = image.rfind('/').map_or(0, |at| at + 1);
    let repository = image[last..].find([':', '@']).map_or(image.as_str(), |at| &image[..last + at]);
    if repository.contains(|it: char| it.is_ascii_uppercase()) {
        bail!("image names are lower case: did you mean {}?", image.replace(repository, &repository.to_lowercase()));
    }
    Ok(Found {
        name: Image::short_name(&image).to_owned(),
        protocol: Protocol::Airbyte,
        target: Target::Image(image.clone()),
        // The other fields are read after the image was pulled and run.
        base: Base::Image(Image { name: image, ..Image::default() }),
    })
}

fn found_fivetran(name: String, command: Vec<String>) -> Result<Found> {
    if !is_word(&name, "") {
        bail!("--fivetran takes a name for the connector, like shop: {name:?} is not a valid one");
    }
    let Some(first) = command.first() else {
        bail!("append the connector's command, without `--port`: `-- python main.py`");
    };
    program(first).ok_or_else(|| no_program(first))?;
    Ok(Found { name, protocol: Protocol::Fivetran, base: Base::Command, target: Target::Command(command) })
}

fn no_program(program: &str) -> Error {
    anyhow!("there is no program `{program}`: the arguments after `--` are the connector's command")
}

fn found_package(protocol: Protocol, given: &str, command: Vec<String>) -> Result<Found> {
    let (option, start, prefix) = match protocol {
        Protocol::Singer => ("--singer", "tap-", ""),
        _ => ("--airbyte", "source-", "airbyte-"),
    };
    if !is_word(given, "") {
        bail!("{option} takes the name of a package or its program, like {start}x: {given:?} is not a valid name");
    }
    let at = given.match_indices(start).map(|(at, _)| at).find(|at| *at == 0 || given[..*at].ends_with('-'));
    let name = &given[at.unwrap_or(0)..];
    let package = if name == given { format!("{prefix}{name}") } else { given.to_owned() };
    let command = if command.is_empty() { vec![name.to_owned()] } else { command };
    let program = program(&command[0]).ok_or_else(|| {
        if command[0] == name {
            anyhow!(
                "there is no program `{name}` in PATH: install it with `python3 -m venv {name} && {name}/bin/pip install {package}`, then append its path to this command: `-- {name}/bin/{name}`"
            )
        } else {
            no_program(&command[0])
        }
    })?;
    let known = package::of_program(&program);
    // pip installs the program in the image under this same name.
    let name = known.is_some().then(|| program.file_name()?.to_str()).flatten().unwrap_or(name).to_owned();
    Ok(Found {
        name,
        protocol,
        base: Base::Package(known.unwrap_or_else(|| Package { name: package, ..Package::default() })),
        target: Target::Command(command),
    })
}

/// The file of a command's program. `flow-shim` is this binary, even if it is not in PATH.
fn program(program: &str) -> Option<PathBuf> {
    match program {
        "flow-shim" => std::env::current_exe().ok(),
        path if path.contains('/') => Some(PathBuf::from(path)).filter(|it| it.is_file()),
        name => search_path(name).map(PathBuf::from),
    }
}

/// Whether a name can be used unquoted in a Dockerfile and in shell commands.
fn is_word(text: &str, others: &str) -> bool {
    text.starts_with(|it: char| it.is_ascii_alphanumeric())
        && text.chars().all(|it| it.is_ascii_alphanumeric() || "._-".contains(it) || others.contains(it))
}

/// The command for the shim.yaml in `folder`, with the program's path relative to that directory.
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

/// The path from a directory, which may not exist yet, to a file; `None` if they share no parent but the root.
fn relative(folder: &Path, file: &Path) -> Option<PathBuf> {
    // Parent directories are resolved because `..` after a symbolic link leads elsewhere. The file itself is not: the link to
    // Python in a virtual environment selects that environment.
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
    // A name without a slash would be looked up in PATH.
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
    fn a_missing_program_comes_with_the_install_command() {
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
            crate::error::sentence(&Origin::Image("Acme/source-X:V1".to_owned()).find().unwrap_err()),
        ];
        insta::assert_snapshot!(sentences.join("\n"));
    }
}
