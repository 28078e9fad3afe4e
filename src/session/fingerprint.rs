//! A fingerprint of a connector: what shows that another version of it, another command or another shim.yaml is in place,
//! without starting anything. It covers what can be seen from the command: the files that it names and what is beside
//! them, the packages of the interpreter, and the same of what a shell script starts. Airbyte's images start their connector
//! by such a script.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::process::program;
use crate::settings::Settings;

/// Hashes by what they are of.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint(BTreeMap<String, String>);

/// How much of each end of a file counts, beside its length. An archive's list of contents is at its end.
const END: u64 = 16 * 1024;

impl Fingerprint {
    pub fn of(settings: &Settings, command: &[String]) -> Self {
        let mut found = Self::default();
        // The same from any working directory.
        let command = program::find(command).map_or_else(
            |_| command.to_vec(),
            |mut it| {
                it[0] = absolute(&it[0]);
                it
            },
        );
        found.add("the command", &command.join("\0"));
        let shim = settings.origin.as_ref().map(|it| &it.shim);
        let said = serde_json::json!([settings.protocol, shim, settings.env, settings.config_schema]);
        found.add("shim.yaml", &said.to_string());
        if let Some((program, arguments)) = command.split_first() {
            found.program(Path::new(program));
            for word in arguments {
                // Also the value of an option: `--manifest=FILE`.
                let path = absolute(word.rsplit_once('=').map_or(word, |it| it.1));
                if Path::new(&path).is_file() {
                    found.file(Path::new(&path));
                    found.beside(Path::new(&path));
                }
            }
        }
        found
    }

    /// What differs in the other one.
    pub fn difference<'a>(&'a self, other: &'a Self) -> Option<&'a str> {
        let ours = self.0.iter().find(|it| other.0.get(it.0) != Some(it.1));
        let theirs = || other.0.keys().find(|it| !self.0.contains_key(*it));
        ours.map(|it| it.0).or_else(theirs).map(String::as_str)
    }

    fn add(&mut self, what: &str, content: &str) {
        self.0.insert(what.to_owned(), hash(content.as_bytes()));
    }

    fn program(&mut self, program: &Path) {
        self.installed(program);
        let shell = program::interpreter(program).filter(|it| it.ends_with("sh"));
        if shell.is_none() {
            return;
        }
        let script = fs::read_to_string(program).unwrap_or_default();
        for word in script.split(|it: char| it.is_whitespace() || "\"';&|()".contains(it)).filter(|it| !it.is_empty()) {
            match program::find(&[word.to_owned()]) {
                Ok(found) => self.installed(Path::new(&found[0])),
                Err(_) if Path::new(word).is_file() => self.file(Path::new(word)),
                Err(_) => {}
            }
        }
    }

    /// A program, its interpreter and what is installed with them.
    fn installed(&mut self, program: &Path) {
        self.file(program);
        self.packages(program);
        if let Some(interpreter) = program::interpreter(program) {
            self.beside(program);
            let interpreter = Path::new(&interpreter);
            self.file(interpreter);
            // A script of a virtual environment is beside its interpreter.
            if interpreter.parent() != program.parent() {
                self.packages(interpreter);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        if let Ok(content) = ends(path) {
            self.0.insert(path.display().to_string(), hash(&content));
        }
    }

    /// The code and the manifests beside a script, except in a directory of programs.
    fn beside(&mut self, script: &Path) {
        let Some(folder) = script.parent().filter(|it| !it.ends_with("bin")) else { return };
        let counts = |path: &Path| {
            let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
            let is_code = path.extension().is_some_and(|it| ["py", "yaml", "yml"].iter().any(|other| it == *other));
            (is_code || name == "spec.json") && !["shim.yaml", "flow.yaml"].contains(&name)
        };
        entries(folder).into_iter().filter(|it| counts(it) && it.is_file()).for_each(|it| self.file(&it));
    }

    /// The names of the packages that are installed where the program is, which contain their versions: those of Python, and
    /// archives of Java.
    fn packages(&mut self, program: &Path) {
        let Some(bin) = program.parent() else { return };
        let prefix = bin.parent().unwrap_or(bin);
        for library in [bin.join("lib"), prefix.join("lib"), prefix.join("local/lib")] {
            let pythons = entries(&library).into_iter().filter(|it| name_of(it).starts_with("python3"));
            let folders = pythons.flat_map(|it| [it.join("site-packages"), it.join("dist-packages")]);
            for folder in folders.chain([library.clone()]) {
                let versions = [".dist-info", ".egg-info", ".jar"];
                let names: Vec<String> = entries(&folder)
                    .iter()
                    .map(|it| name_of(it))
                    .filter(|it| versions.iter().any(|ending| it.ends_with(ending)))
                    .collect();
                if !names.is_empty() {
                    self.add(&format!("a package in {}", folder.display()), &names.join("\0"));
                }
            }
        }
    }
}

fn absolute(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |it| it.to_string_lossy().into_owned())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is in a directory, in order.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().filter_map(|it| Some(it.ok()?.path())).collect();
    found.sort();
    found
}

/// The beginning and the end of a file, and its length.
fn ends(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.by_ref().take(END).read_to_end(&mut bytes)?;
    if length > END {
        file.seek(SeekFrom::Start(length.saturating_sub(END).max(END)))?;
        file.take(END).read_to_end(&mut bytes)?;
    }
    bytes.extend(length.to_le_bytes());
    Ok(bytes)
}

/// The same in each build.
pub fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(16).map(|it| format!("{it:02x}")).collect()
}
