//! `flow-shim init --vendor`: a connector's source in a directory, with its origin, and newer revisions merged into it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{Desk, Run};

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "init.defaultBranch=main"]);
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A repository with two connectors.
fn origin(desk: &Desk) -> std::path::PathBuf {
    let origin = desk.path("origin");
    fs::create_dir_all(origin.join("connectors/source-x")).unwrap();
    fs::create_dir_all(origin.join("connectors/source-y")).unwrap();
    fs::write(origin.join("connectors/source-y/main.py"), "y\n").unwrap();
    fs::write(origin.join("connectors/source-x/metadata.yaml"), "data:\n  license: ELv2\n").unwrap();
    fs::write(origin.join("connectors/source-x/main.py"), "one\ntwo\nthree\nfour\nfive\nsix\nseven\n").unwrap();
    fs::write(origin.join("connectors/source-x/old.py"), "old\n").unwrap();
    git(&origin, &["init", "--quiet"]);
    commit(&origin, "first");
    git(&origin, &["tag", "v1"]);
    origin
}

fn commit(origin: &Path, message: &str) {
    git(origin, &["add", "--all"]);
    git(origin, &["commit", "--quiet", "-m", message]);
}

fn vendor(desk: &Desk, more: &[&str]) -> Run {
    desk.run(["init", "--vendor", "x"].iter().chain(more))
}

#[test]
fn newer_revisions_are_merged_with_own_changes() {
    let desk = Desk::new();
    let origin = origin(&desk);
    let url = origin.to_str().unwrap();
    let pulled = vendor(&desk, &["--from", url, "--path", "connectors/source-x"]).ok();
    assert!(pulled.stdout.contains("License: ELv2. It forbids"), "{}", pulled.stdout);
    assert!(desk.path("x/old.py").exists() && !desk.path("x/connectors").exists());
    let record = desk.yaml("x/VENDOR.yaml");
    assert_eq!((&record["origin"], &record["license"]), (&url.into(), &"ELv2".into()));
    assert_eq!(record["revision"].as_str().map(str::len), Some(40));
    assert!(vendor(&desk, &[]).ok().stdout.contains("already"));

    // Both sides change.
    desk.write("x/main.py", "one\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n");
    desk.write("x/own.py", "own\n");
    fs::write(origin.join("connectors/source-x/main.py"), "ONE\ntwo\nthree\nfour\nfive\nsix\nseven\n").unwrap();
    fs::write(origin.join("connectors/source-x/new.py"), "new\n").unwrap();
    fs::write(origin.join("connectors/source-x/metadata.yaml"), "data:\n  license: MIT\n").unwrap();
    fs::remove_file(origin.join("connectors/source-x/old.py")).unwrap();
    commit(&origin, "second");
    let merged = vendor(&desk, &[]).ok();
    assert!(merged.stdout.contains("The license is now MIT"), "{}", merged.stdout);
    assert_eq!(desk.read("x/main.py"), "ONE\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n");
    assert_eq!((desk.read("x/own.py"), desk.read("x/new.py")), ("own\n".to_owned(), "new\n".to_owned()));
    assert!(!desk.path("x/old.py").exists());
    assert_ne!(desk.yaml("x/VENDOR.yaml")["revision"], record["revision"]);

    // A conflict is an error that leaves git's marks.
    fs::write(origin.join("connectors/source-x/main.py"), "ONE\ntwo\nthree\nfour\nfive\nsix\n7\n").unwrap();
    commit(&origin, "third");
    let conflict = vendor(&desk, &[]);
    assert_eq!(conflict.code, Some(1));
    assert!(conflict.last_line().contains("these files have conflicts: main.py"), "{}", conflict.stderr);
    assert!(desk.read("x/main.py").contains("<<<<<<<"));
}

#[test]
fn a_revision_can_be_chosen_and_mistakes_are_named() {
    let desk = Desk::new();
    let origin = origin(&desk);
    let url = origin.to_str().unwrap();
    fs::write(origin.join("connectors/source-y/main.py"), "newer\n").unwrap();
    commit(&origin, "second");
    for (arguments, said) in [
        (&[][..], "has no VENDOR.yaml: say where the source comes from"),
        (&["--from", "/nowhere"][..], "can't clone /nowhere"),
        (&["--from", url, "--path", "connectors/z"][..], "has no directory"),
        (&["--from", url, "--path", "connectors/source-y/main.py"][..], "has no directory"),
        (&["--from", url, "--revision", "v9"][..], "has no revision v9"),
    ] {
        let run = vendor(&desk, arguments);
        assert_eq!(run.code, Some(1));
        assert!(run.last_line().contains(said), "{}", run.stderr);
    }
    vendor(&desk, &["--from", "origin", "--path", "connectors/source-y", "--revision", "v1"]).ok();
    assert_eq!(desk.read("x/main.py"), "y\n");
    // A relative path is found by later runs in other directories, too.
    assert_eq!(desk.yaml("x/VENDOR.yaml")["origin"].as_str(), origin.canonicalize().unwrap().to_str());
    assert!(vendor(&desk, &["--from", url]).last_line().contains("leave out --from"));
    desk.write("x/VENDOR.yaml", "revision: x\n");
    let broken = vendor(&desk, &[]).last_line();
    assert!(broken.ends_with("can't read x/VENDOR.yaml: line 1 column 1: missing field `origin`"), "{broken}");
}
