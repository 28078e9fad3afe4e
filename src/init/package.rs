//! Finds the Python package that installed a program, from the metadata that pip wrote into the environment. Runs no Python.

use std::fs;
use std::path::{Path, PathBuf};

/// A Python package.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Package {
    pub name: String,
    /// The installed version, if it came from a package index.
    pub version: Option<String>,
    /// The Python version of its environment: `3.11`.
    pub python: Option<String>,
    pub license: Option<String>,
    /// Where its source is.
    pub source: Option<String>,
}

/// The package that installed this program.
pub fn of_program(program: &Path) -> Option<Package> {
    // pipx and uv link installed programs into PATH.
    let program = fs::canonicalize(program).ok()?;
    let script = format!("/bin/{}", program.file_name()?.to_str()?);
    let prefix = program.parent()?.parent()?;
    for (python, packages) in environments(prefix) {
        for entry in fs::read_dir(&packages).into_iter().flatten().flatten() {
            let folder = entry.path();
            let is_info = folder.extension().is_some_and(|it| it == "dist-info");
            if is_info && installed(&folder, &script) {
                return package(&folder, python);
            }
        }
    }
    None
}

/// The package directories in `prefix`, each with its Python version.
fn environments(prefix: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(prefix.join("lib")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(version) = name.to_str().and_then(|it| it.strip_prefix("python")) else { continue };
        // Debian calls it dist-packages.
        for kind in ["site-packages", "dist-packages"] {
            found.push((version.to_owned(), entry.path().join(kind)));
        }
    }
    found
}

fn installed(info: &Path, script: &str) -> bool {
    let record = fs::read_to_string(info.join("RECORD")).unwrap_or_default();
    record.lines().filter_map(|it| it.split(',').next()).any(|it| it.starts_with("..") && it.ends_with(script))
}

fn package(info: &Path, python: String) -> Option<Package> {
    let metadata = fs::read_to_string(info.join("METADATA")).ok()?;
    let field = |name: &str| metadata.lines().find_map(|it| it.strip_prefix(name)).map(|it| it.trim().to_owned());
    // Written for packages installed from a path or a URL instead of an index.
    let from_elsewhere = info.join("direct_url.json").exists();
    Some(Package {
        name: field("Name:")?,
        version: field("Version:").filter(|_| !from_elsewhere),
        python: Some(python).filter(|it| it.contains('.')),
        license: license(&metadata),
        source: source(&metadata),
    })
}

/// The values of a field in the head of the metadata, whose body is the package's README.
fn values<'a>(metadata: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let head = metadata.split("\n\n").next().unwrap_or_default();
    let lines = head.lines().filter_map(move |it| it.strip_prefix(name)?.strip_prefix(':'));
    lines.map(str::trim).filter(|it| !it.is_empty() && *it != "UNKNOWN")
}

fn license(metadata: &str) -> Option<String> {
    let classified = values(metadata, "Classifier").find_map(|it| it.strip_prefix("License :: "));
    let classified = classified.map(|it| it.rsplit(" :: ").next().unwrap_or(it));
    // Some packages have the whole text of their license here.
    let named = values(metadata, "License").next().filter(|it| it.len() < 60);
    values(metadata, "License-Expression").next().or(named).or(classified).map(str::to_owned)
}

fn source(metadata: &str) -> Option<String> {
    let urls = || values(metadata, "Project-URL").filter_map(|it| it.split_once(','));
    let named =
        |name: &str| urls().find(|(label, _)| label.trim().eq_ignore_ascii_case(name)).map(|(_, url)| url.trim());
    let found = ["Repository", "Source", "Source Code", "Homepage"].iter().find_map(|it| named(it));
    found.or(values(metadata, "Home-page").next()).filter(|it| it.starts_with("http")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_the_one_that_installed_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let venv = folder.path().join("venv");
        let info = |name: &str| venv.join("lib/python3.12/site-packages").join(name);
        for (name, record) in [
            ("other-9.dist-info", "other/bin/tap-x,,\n"),
            ("meltano_tap_x-1.2.dist-info", "a.py,sha256=x,1\n../../../bin/tap-x,sha256=y,2\n"),
        ] {
            fs::create_dir_all(info(name)).unwrap();
            fs::write(info(name).join("RECORD"), record).unwrap();
        }
        let metadata = "Metadata-Version: 2.1\nName: meltano-tap-x\nVersion: 1.2\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: MIT \
                        License\nHome-page: https://x.example\nProject-URL: Repository, https://git.example/x\n\nVersion: 3 is out\n";
        fs::write(info("meltano_tap_x-1.2.dist-info/METADATA"), metadata).unwrap();
        fs::create_dir_all(venv.join("bin")).unwrap();
        fs::write(venv.join("bin/tap-x"), "").unwrap();
        let link = folder.path().join("tap-x");
        std::os::unix::fs::symlink(venv.join("bin/tap-x"), &link).unwrap();

        let found = of_program(&link).unwrap();
        assert_eq!((found.name.as_str(), found.version.as_deref()), ("meltano-tap-x", Some("1.2")));
        assert_eq!(found.python.as_deref(), Some("3.12"));
        assert_eq!(found.license.as_deref(), Some("MIT License"));
        assert_eq!(found.source.as_deref(), Some("https://git.example/x"));
        fs::write(info("meltano_tap_x-1.2.dist-info/direct_url.json"), "{}").unwrap();
        assert_eq!(of_program(&link).unwrap().version, None);
        assert_eq!(of_program(&folder.path().join("nothing")), None);
    }
}
