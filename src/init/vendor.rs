//! `flow-shim init --vendor`: pulls a connector's source into a directory, with a record of where it comes from, and merges newer
//! revisions into it later. git does the work, in a clone that is removed afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

use super::license;
use crate::settings::file::one_line;

/// The record, in the directory itself.
const RECORD: &str = "VENDOR.yaml";

const HEAD: &str = "\
# Written by `flow-shim init --vendor`. The same command merges a newer revision into this directory.
";

#[derive(clap::Args, Debug)]
pub struct VendorArgs {
    /// Pull a connector's source into DIR; if it was pulled before, merge the newest revision into it
    #[arg(long, conflicts_with_all = ["config", "image", "airbyte", "singer", "fivetran", "from_atf", "command"], help_heading = "Vendor")]
    pub vendor: bool,
    /// The git repository, the first time
    #[arg(long, value_name = "URL", requires = "vendor", help_heading = "Vendor")]
    from: Option<String>,
    /// The connector's directory in the repository [default: all of it]
    #[arg(long, value_name = "DIR", requires = "from", help_heading = "Vendor")]
    path: Option<String>,
    /// A branch, a tag or a commit [default: the newest of the default branch]
    #[arg(long, value_name = "REVISION", requires = "vendor", help_heading = "Vendor")]
    revision: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    origin: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    path: String,
    revision: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    license: Option<String>,
}

/// Pulls or merges, and returns the message for the user.
pub fn run(dir: &Path, args: &VendorArgs) -> Result<String> {
    let record = dir.join(RECORD);
    if record.exists() {
        if args.from.is_some() {
            bail!("{} says where the source comes from: leave out --from", record.display());
        }
        let text = fs::read_to_string(&record).with_context(|| format!("can't read {}", record.display()))?;
        let record: Record = serde_saphyr::from_str(&text)
            .map_err(|error| anyhow!("can't read {}: {}", record.display(), one_line(&error)))?;
        return merge(dir, record, args.revision.as_deref());
    }
    let Some(origin) = args.from.as_deref().map(found_from_anywhere) else {
        bail!("{} has no {RECORD}: say where the source comes from, with --from URL", dir.display());
    };
    if dir.read_dir().is_ok_and(|mut it| it.next().is_some()) {
        bail!("{} is not empty: nothing was written", dir.display());
    }
    fs::create_dir_all(dir).with_context(|| format!("can't create {}", dir.display()))?;
    let clone = Clone::of(&origin)?;
    let revision = clone.revision(args.revision.as_deref())?;
    let path = args.path.as_deref().unwrap_or_default().trim_matches('/').to_owned();
    clone.write(dir, &clone.tree(&revision, &path)?)?;
    let license = license_in(dir);
    let remark = license.as_deref().and_then(license::remark).map(|it| format!(" {it}")).unwrap_or_default();
    let named = license.as_deref().unwrap_or("unknown: find out whether you may use it");
    let said = format!("Pulled revision {revision} into {}.\nLicense: {named}.{remark}\n", dir.display());
    keep(dir, &Record { origin, path, revision, license })?;
    Ok(said)
}

/// The path of a local repository from the root, as git and later runs work in other directories. URLs stay as they are.
fn found_from_anywhere(origin: &str) -> String {
    match Path::new(origin).canonicalize() {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => origin.to_owned(),
    }
}

fn merge(dir: &Path, record: Record, wanted: Option<&str>) -> Result<String> {
    let clone = Clone::of(&record.origin)?;
    let revision = clone.revision(wanted)?;
    if revision == record.revision {
        return Ok(format!("{} has revision {revision} already.\n", dir.display()));
    }
    let base = clone.tree(&record.revision, &record.path)?;
    let theirs = clone.tree(&revision, &record.path)?;
    let ours = clone.tree_of(dir)?;
    let merged = clone.merge(&base, &ours, &theirs)?;
    for gone in clone.names(&["diff", "--name-only", "--diff-filter=D", "-z", &ours, &merged.tree])? {
        let path = dir.join(gone);
        fs::remove_file(&path).with_context(|| format!("can't remove {}", path.display()))?;
    }
    clone.write(dir, &merged.tree)?;
    let license = license_in(dir);
    let mut said = format!("Merged revision {revision} into {}.\n", dir.display());
    if license != record.license {
        said += &format!("The license is now {}.\n", license.as_deref().unwrap_or("unknown"));
    }
    keep(dir, &Record { revision: revision.clone(), license, ..record })?;
    if !merged.conflicts.is_empty() {
        let files = merged.conflicts.into_iter().collect::<Vec<_>>().join(", ");
        bail!(
            "revision {revision} is merged, but these files have conflicts: {files}; resolve what git has marked in them"
        );
    }
    Ok(said)
}

fn keep(dir: &Path, record: &Record) -> Result<()> {
    let text = serde_saphyr::to_string(record).context("can't write the record")?;
    fs::write(dir.join(RECORD), format!("{HEAD}{text}")).with_context(|| format!("can't write {RECORD}"))
}

/// The license that an Airbyte connector's metadata.yaml or a Python project names, or that the first line of a license file is.
fn license_in(dir: &Path) -> Option<String> {
    let read = |name: &str| fs::read_to_string(dir.join(name)).ok();
    let metadata = read("metadata.yaml").and_then(|it| serde_saphyr::from_str::<Value>(&it).ok());
    let named = metadata.and_then(|it| it["data"]["license"].as_str().map(str::to_owned));
    let in_project = || {
        let project = read("pyproject.toml")?;
        let line = project
            .lines()
            .find_map(|it| it.trim().strip_prefix("license")?.trim().strip_prefix('=').map(str::trim))?;
        line.split('"').nth(1).map(str::to_owned)
    };
    let in_file = || {
        let text = ["LICENSE", "LICENSE.txt", "LICENSE.md"].into_iter().find_map(read)?;
        text.lines().map(str::trim).find(|it| !it.is_empty()).map(str::to_owned)
    };
    named.or_else(in_project).or_else(in_file)
}

/// A clone of the origin.
struct Clone {
    folder: TempDir,
}

struct Merged {
    tree: String,
    conflicts: BTreeSet<String>,
}

impl Clone {
    fn of(origin: &str) -> Result<Self> {
        let folder = TempDir::new().context("can't make a temporary directory")?;
        let clone = Self { folder };
        let arguments = ["clone", "--quiet", "--bare", "--filter=blob:none", "--", origin, "."];
        clone.git(&arguments, &[]).with_context(|| format!("can't clone {origin}"))?;
        Ok(clone)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(self.folder.path());
        for name in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{name}_NAME"), "flow-shim")
                .env(format!("GIT_{name}_EMAIL"), "flow-shim@localhost");
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env_remove("GIT_DIR").env_remove("GIT_INDEX_FILE");
        command
    }

    /// What git prints, without the last line break.
    fn git(&self, arguments: &[&str], variables: &[(&str, &Path)]) -> Result<String> {
        let output = self.command(arguments).envs(variables.iter().copied()).output().context("can't run git")?;
        if !output.status.success() {
            bail!("git {} failed: {}", arguments[0], said(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    fn revision(&self, wanted: Option<&str>) -> Result<String> {
        let wanted = wanted.unwrap_or("HEAD");
        let commit = format!("{wanted}^{{commit}}");
        self.git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit], &[])
            .map_err(|_| anyhow!("the repository has no revision {wanted}"))
    }

    fn tree(&self, revision: &str, path: &str) -> Result<String> {
        let object = |name: &str| self.git(&["rev-parse", "--verify", "--quiet", name], &[]);
        object(&format!("{revision}:{path}"))
            .and_then(|it| object(&format!("{it}^{{tree}}")))
            .map_err(|_| anyhow!("revision {revision} has no directory {path:?}"))
    }

    /// Files by their names, which git ends with NUL.
    fn names(&self, arguments: &[&str]) -> Result<Vec<PathBuf>> {
        let names = self.git(arguments, &[])?;
        Ok(names.split('\0').filter(|it| !it.is_empty()).map(PathBuf::from).collect())
    }

    /// The tree of a directory as it is.
    fn tree_of(&self, dir: &Path) -> Result<String> {
        let (dir, index) = (absolute(dir)?, self.folder.path().join("index-of-directory"));
        let variables = [("GIT_DIR", self.folder.path()), ("GIT_WORK_TREE", &dir), ("GIT_INDEX_FILE", &index)];
        let excluded = format!(":(exclude,top){RECORD}");
        self.git(&["add", "--all", "--force", "--", ":/", &excluded], &variables)?;
        self.git(&["write-tree"], &variables)
    }

    /// Writes the files of a tree into a directory.
    fn write(&self, dir: &Path, tree: &str) -> Result<()> {
        let (dir, index) = (absolute(dir)?, self.folder.path().join("index-of-tree"));
        let variables = [("GIT_DIR", self.folder.path()), ("GIT_WORK_TREE", &dir), ("GIT_INDEX_FILE", &index)];
        self.git(&["read-tree", tree], &variables)?;
        self.git(&["checkout-index", "--all", "--force"], &variables).map(drop)
    }

    fn merge(&self, base: &str, ours: &str, theirs: &str) -> Result<Merged> {
        let base = self.git(&["commit-tree", base, "-m", "base"], &[])?;
        let commit = |tree: &str| self.git(&["commit-tree", tree, "-p", &base, "-m", "side"], &[]);
        let arguments =
            ["merge-tree", "--write-tree", "--name-only", "--no-messages", &commit(ours)?, &commit(theirs)?];
        let output = self.command(&arguments).output().context("can't run git")?;
        // 1: with conflicts.
        if !matches!(output.status.code(), Some(0 | 1)) {
            bail!("git merge-tree failed (it needs git 2.38 or newer): {}", said(&output));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let tree = lines.next().context("git merge-tree printed nothing")?.to_owned();
        Ok(Merged { tree, conflicts: lines.filter(|it| !it.is_empty()).map(str::to_owned).collect() })
    }
}

fn absolute(dir: &Path) -> Result<PathBuf> {
    dir.canonicalize().with_context(|| format!("can't find {}", dir.display()))
}

fn said(output: &Output) -> String {
    crate::terminal::one_line(&String::from_utf8_lossy(&output.stderr))
}
