//! The baked spec: Flow's questions about the connector are answered without starting it, as long as it is the same connector.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::command::{Desk, Run, flow_shim};

/// A connector that writes down how it was started.
const SOURCE: &str = r#"#!/bin/sh
echo "$1" >> "$STARTS"
case $1 in
spec) echo '{"type":"SPEC","spec":{"connectionSpecification":{"title":"v1","type":"object","properties":{"name":{"type":"string"},"auth":{"type":"object","properties":{"client_id":{"type":"string"},"client_secret":{"type":"string","airbyte_secret":true},"refresh_token":{"type":"string","airbyte_secret":true}}}}},"advanced_auth":{"auth_flow_type":"oauth2.0","oauth_config_specification":{"oauth_connector_input_specification":{"consent_url":"https://www.example.com/authorize?{{client_id_param}}","access_token_url":"https://www.example.com/token"},"complete_oauth_output_specification":{"properties":{"refresh_token":{"path_in_connector_config":["auth","refresh_token"]}}},"complete_oauth_server_output_specification":{"properties":{"client_id":{"path_in_connector_config":["auth","client_id"]},"client_secret":{"path_in_connector_config":["auth","client_secret"]}}}}}}}';;
check)
    while [ "$1" != --config ]; do shift; done
    cat "$2" >> "$STARTS.configs"
    echo '{"type":"CONNECTION_STATUS","connectionStatus":{"status":"SUCCEEDED"}}';;
discover) echo '{"type":"CATALOG","catalog":{"streams":[{"name":"users","json_schema":{"type":"object"},"supported_sync_modes":["full_refresh"]}]}}';;
read) echo '{"type":"RECORD","record":{"stream":"users","data":{"id":1},"emitted_at":1}}';;
esac
"#;

/// A folder with this connector and a shim.yaml.
struct Folder(Desk);

impl Folder {
    fn new(shim: &str) -> Self {
        let folder = Self(Desk::new());
        folder.0.write("shim.yaml", shim);
        folder.source(SOURCE);
        folder
    }

    fn baked(shim: &str) -> Self {
        let folder = Self::new(shim);
        let run = folder.run(&["bake"], &[]).ok();
        assert_eq!(run.stdout, "the connector's spec is in shim.baked.json\n");
        assert_eq!(folder.starts(), ["spec"]);
        folder
    }

    fn source(&self, text: &str) {
        self.program("source", text);
    }

    fn program(&self, name: &str, text: &str) {
        self.0.write(name, text);
        fs::set_permissions(self.0.path(name), Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, arguments: &[&str], requests: &[Value]) -> Run {
        self.run_in(self.0.folder(), arguments, requests)
    }

    fn run_in(&self, folder: &Path, arguments: &[&str], requests: &[Value]) -> Run {
        fs::write(self.0.path("requests"), requests.iter().map(|it| format!("{it}\n")).collect::<String>()).unwrap();
        let mut command = flow_shim(arguments);
        command.current_dir(folder).env("STARTS", self.0.path("starts"));
        command.stdin(Stdio::from(fs::File::open(self.0.path("requests")).unwrap()));
        Run::from(command.output().expect("the binary runs"))
    }

    /// Serves these requests.
    fn serve(&self, requests: &[Value]) -> Run {
        self.run(&["serve"], requests).ok()
    }

    /// The connector's commands since this was last asked.
    fn starts(&self) -> Vec<String> {
        let starts = fs::read_to_string(self.0.path("starts")).unwrap_or_default();
        let _ = fs::remove_file(self.0.path("starts"));
        starts.lines().map(str::to_owned).collect()
    }

    /// The spec that Flow gets, and the warnings.
    fn spec(&self) -> (Value, String) {
        let run = self.serve(&[json!({"spec": {"connectorType": "IMAGE", "config": {}}})]);
        let answer: Value = serde_json::from_str(&run.stdout).expect("an answer");
        (answer["spec"].clone(), run.stderr)
    }
}

const SHIM: &str = "command: [./source]\n";

fn signed_in() -> Value {
    json!({"name": "n", "credentials": {"client_id": "c", "client_secret": "s3cret", "refresh_token": "r0tating"}})
}

fn validate(config: Value) -> Value {
    json!({"validate": {"name": "a/b", "connectorType": "IMAGE", "config": config, "bindings": []}})
}

fn open(config: Value) -> Value {
    json!({"open": {"version": "1", "range": {}, "state": {}, "capture": {"name": "a/b", "connectorType": "IMAGE", "config": config, "bindings": [{
        "resourceConfig": {"stream": "users", "syncMode": "full_refresh"}, "resourcePath": ["users"], "stateKey": "users.v0",
        "collection": {"name": "a/users", "key": ["/_meta/row_id"]},
    }]}}})
}

#[test]
fn a_baked_spec_starts_nothing() {
    let folder = Folder::new(SHIM);
    let (fresh, _) = folder.spec();
    assert_eq!(folder.starts(), ["spec"]);
    folder.run(&["bake"], &[]).ok();
    folder.starts();
    let (baked, warnings) = folder.spec();
    assert_eq!(baked, fresh);
    assert_eq!(warnings, "");
    assert_eq!(folder.starts(), [""; 0]);
}

#[test]
fn with_a_baked_spec_each_command_is_one_start() {
    let folder = Folder::baked(SHIM);
    let spec = json!({"spec": {"config": {}}});
    folder.serve(&[spec.clone(), validate(signed_in())]);
    assert_eq!(folder.starts(), ["check"]);
    let config: Value = serde_json::from_str(&fs::read_to_string(folder.0.path("starts.configs")).unwrap()).unwrap();
    assert_eq!(config["auth"]["refresh_token"], "r0tating", "the config is mapped by the baked spec: {config}");

    folder.serve(&[spec.clone(), json!({"discover": {"config": signed_in()}})]);
    assert_eq!(folder.starts(), ["discover"]);
    folder.serve(&[spec.clone(), json!({"apply": {"capture": {"config": signed_in()}, "version": "1"}})]);
    assert_eq!(folder.starts(), [""; 0]);
    let run = folder.serve(&[spec, open(signed_in())]);
    assert_eq!(folder.starts(), ["discover", "read"]);
    assert!(run.stdout.contains(r#""id":1"#), "{}", run.stdout);
}

#[test]
fn the_spec_is_fetched_once_per_process() {
    let folder = Folder::new(SHIM);
    let spec = json!({"spec": {"config": {}}});
    folder.serve(&[spec.clone(), validate(signed_in()), spec.clone(), json!({"discover": {"config": signed_in()}})]);
    assert_eq!(folder.starts(), ["spec", "check", "discover"]);
    // Credentials that are nobody's sign-in are the connector's own.
    let own = json!({"credentials": {"key": "x"}});
    folder.serve(&[validate(own.clone()), json!({"discover": {"config": own}}), open(own)]);
    assert_eq!(folder.starts(), ["check", "discover", "read"]);
}

#[test]
fn another_connector_needs_another_bake() {
    type Change = fn(&Folder);
    let change: [(&str, Change); 5] = [
        ("/source has changed", |it| it.source(&SOURCE.replace(r#""title":"v1""#, r#""title":"v2""#))),
        ("shim.yaml has changed", |it| it.0.write("shim.yaml", &format!("{SHIM}env: {{A: b}}\n"))),
        ("/manifest.yaml has changed", |it| it.0.write("manifest.yaml", "version: 2\n")),
        ("/components.py has changed", |it| it.0.write("components.py", "")),
        ("is not a baked spec", |it| it.0.write("shim.baked.json", "{}")),
    ];
    for (what, change) in change {
        let folder = Folder::new(SHIM);
        folder.0.write("manifest.yaml", "version: 1\n");
        folder.run(&["bake"], &[]).ok();
        folder.starts();
        assert_eq!(folder.spec().1, "", "{what}");
        change(&folder);
        folder.starts();
        let warnings = folder.spec().1;
        assert!(warnings.contains(what) && warnings.contains("run `flow-shim bake` again"), "{what}: {warnings}");
        assert_eq!(folder.starts(), ["spec"], "{what}");
        folder.run(&["bake"], &[]).ok();
        folder.starts();
        assert_eq!(folder.spec().1, "", "{what}");
        assert_eq!(folder.starts(), [""; 0], "{what}");
    }
}

#[test]
fn another_command_needs_another_bake() {
    let folder = Folder::baked(SHIM);
    fs::copy(folder.0.path("source"), folder.0.path("other")).unwrap();
    let run = folder.run(&["serve", "--", "./other"], &[json!({"spec": {}})]).ok();
    assert!(
        run.stderr.contains("the command has changed") || run.stderr.contains("/other has changed"),
        "{}",
        run.stderr
    );
    assert_eq!(folder.starts(), ["spec"]);
}

/// The version of a connector is that of its package, while its program stays the same. Airbyte's images start that by a
/// shell script.
#[test]
fn another_package_needs_another_bake() {
    let folder = Folder::new("command: [./entrypoint.sh]\n");
    let (bin, packages) = (folder.0.path("venv/bin"), folder.0.path("venv/lib/python3.11/site-packages"));
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(packages.join("airbyte_source_x-1.0.0.dist-info")).unwrap();
    // The interpreter of this script does what the script is to do.
    let interpreter = bin.join("python");
    folder.program("venv/bin/python", &SOURCE.replacen('\n', "\nshift\n", 1));
    folder.program("venv/bin/source-x", &format!("#!{}\nimport x\n", interpreter.display()));
    folder.program("entrypoint.sh", &format!("#!/usr/bin/env sh\nset -e\n{} \"$@\"\n", bin.join("source-x").display()));
    folder.run(&["bake"], &[]).ok();
    assert_eq!(folder.spec().1, "");
    assert_eq!(folder.starts(), ["spec"]);
    // Programs have nothing to do with what is beside them, or in the working directory.
    folder.0.write("venv/bin/other.py", "");
    let elsewhere = Desk::new();
    elsewhere.write("other.py", "");
    let shim = folder.0.folder().to_string_lossy().into_owned();
    let run = folder.run_in(elsewhere.folder(), &["serve", "--shim", &shim], &[json!({"spec": {}})]).ok();
    assert_eq!(run.stderr, "");
    assert_eq!(folder.starts(), [""; 0]);
    let newer = packages.join("airbyte_source_x-1.0.1.dist-info");
    fs::rename(packages.join("airbyte_source_x-1.0.0.dist-info"), newer).unwrap();
    let warnings = folder.spec().1;
    assert!(warnings.contains("as a package in") && warnings.contains("site-packages has changed"), "{warnings}");
    assert_eq!(folder.starts(), ["spec"]);
}

#[test]
fn a_baked_spec_is_found_from_any_directory() {
    let folder = Folder::baked(SHIM);
    let elsewhere = Desk::new();
    let shim = folder.0.folder().to_string_lossy().into_owned();
    let run = folder.run_in(elsewhere.folder(), &["serve", "--shim", &shim], &[json!({"spec": {}})]).ok();
    assert_eq!(run.stderr, "");
    assert_eq!(folder.starts(), [""; 0]);
}

#[test]
fn secrets_that_only_the_baked_schema_marks_are_redacted() {
    let folder = Folder::new(SHIM);
    let noisy = SOURCE
        .replace(r#""name":{"type":"string"}"#, r#""name":{"type":"string","airbyte_secret":true}"#)
        .replace("discover) ", "discover) echo 'it is plain-name-1' >&2; ");
    folder.source(&noisy);
    folder.run(&["bake"], &[]).ok();
    let run = folder.serve(&[json!({"discover": {"config": {"name": "plain-name-1"}}})]);
    assert!(run.stderr.contains("it is ***") && !run.stderr.contains("plain-name-1"), "{}", run.stderr);
}

#[test]
fn a_tap_is_checked_against_its_baked_schema() {
    let folder = Folder::new("protocol: singer\ncommand: [./source]\n");
    folder.source(
        r#"#!/bin/sh
echo "$*" | cut -d' ' -f1 >> "$STARTS"
case "$*" in
--about*|--help*) echo '{"settings":{"type":"object","required":["token"],"properties":{"token":{"type":"string"}}},"x":"--about"}';;
*--discover*) echo '{"streams":[]}';;
esac
"#,
    );
    folder.run(&["bake"], &[]).ok();
    folder.starts();
    folder.serve(&[validate(json!({"token": "t"}))]);
    assert_eq!(folder.starts(), ["--config"]);
    let run = folder.run(&["serve"], &[validate(json!({"tokne": "t"}))]);
    assert_eq!(run.code, Some(1));
    let last = run.stderr.lines().last().unwrap_or_default();
    assert!(last.contains(r#"the config is not valid for this tap: \"token\" is a required property"#), "{last}");
}

/// The help of a tap tells which options take the catalog.
#[test]
fn a_baked_tap_is_not_asked_for_its_help() {
    let folder = Folder::new("protocol: singer\ncommand: [./source]\n");
    folder.source(
        r#"#!/bin/sh
echo "$*" | sed -E 's/ [^-][^ ]*//g' >> "$STARTS"
case "$*" in
--about*) echo '{"settings":{"type":"object"}}';;
--help*) echo 'usage: source --config --catalog --properties --discover';;
*--discover*) echo '{"streams":[{"tap_stream_id":"users","stream":"users","schema":{"properties":{"id":{"type":"integer"}}},"metadata":[]}]}';;
*) printf '%s\n' '{"type":"SCHEMA","stream":"users","schema":{},"key_properties":[]}' '{"type":"RECORD","stream":"users","record":{"id":1}}';;
esac
"#,
    );
    let open = json!({"open": {"version": "1", "range": {}, "state": {}, "capture": {"name": "a/b", "connectorType": "IMAGE", "config": {}, "bindings": [{
        "resourceConfig": {"stream": "users", "replicationMethod": "FULL_TABLE"}, "resourcePath": ["users"], "stateKey": "users.v0",
        "collection": {"name": "a/users", "key": ["/_meta/row_id"]},
    }]}}});
    let sync = "--config --catalog --properties";
    folder.serve(std::slice::from_ref(&open));
    assert_eq!(folder.starts(), ["--config --discover", "--help --about", sync]);
    folder.run(&["bake"], &[]).ok();
    assert_eq!(folder.starts(), ["--help --about", "--about --format=json"]);
    let run = folder.serve(&[open]);
    assert_eq!(folder.starts(), ["--config --discover", sync]);
    assert!(run.stdout.contains(r#""id":1"#), "{}", run.stdout);
}

#[test]
fn what_cannot_be_baked_is_an_error() {
    let folder = Folder::new(SHIM);
    let image = folder.run(&["bake", "--image", "source-x"], &[]);
    assert_eq!(image.code, Some(1));
    assert!(image.stderr.contains("baked when the image is built"), "{}", image.stderr);
    folder.source("#!/bin/sh\necho broken >&2\nexit 3\n");
    let broken = folder.run(&["bake"], &[]);
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains("broken") && !folder.0.path("shim.baked.json").exists(), "{}", broken.stderr);
}
