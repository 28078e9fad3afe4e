//! The forms in which `--config` takes a config: what the connector gets.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::{Run, flow_shim, path_without_sops, run, scripted};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/sops");

/// A connector that keeps what it is given.
struct Source {
    folder: TempDir,
}

impl Source {
    fn new() -> Self {
        Self::with_schema(&json!({"type": "object"}))
    }

    fn with_schema(schema: &Value) -> Self {
        let source = Self { folder: TempDir::new().unwrap() };
        let spec = json!({"type": "SPEC", "spec": {"connectionSpecification": schema}});
        fs::write(source.path("case"), format!("A connector.\n\n== spec\n{spec}\n== read\n%exit 0\n")).unwrap();
        source
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// `flow-shim preview` with these arguments, whose age keys are in this file.
    fn preview(&self, arguments: &[&str], keys: &str) -> std::process::Command {
        let mut command = flow_shim(["preview"].iter().chain(arguments));
        let mut connector = scripted(self.folder.path(), &fs::read_to_string(self.path("case")).unwrap()).to_vec();
        connector.splice(2..2, ["--received".to_owned(), self.path("received")]);
        command.args(connector).env("SOPS_AGE_KEY_FILE", keys).env("HOME", self.folder.path());
        for name in ["SOPS_AGE_KEY", "SOPS_AGE_KEY_CMD", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        // Without a `sops` of this machine.
        command.env("PATH", self.path("bin") + ":" + &path_without_sops());
        command
    }

    fn gets(&self, arguments: &[&str]) -> String {
        let output = self.preview(arguments, &format!("{FIXTURES}/keys.txt")).output().unwrap();
        Run::from(output).ok();
        fs::read_to_string(self.path("received/read/config")).unwrap()
    }

    fn fails(&self, document: &str, keys: &str) -> String {
        let document = format!("{FIXTURES}/{document}");
        let run = Run::from(self.preview(&["--config", &document], &format!("{FIXTURES}/{keys}")).output().unwrap());
        assert_eq!(run.code, Some(1), "{document}: {}", run.stderr);
        assert!(!run.stderr.contains("s3cret") && !Path::new(&self.path("received/check")).exists());
        run.last_line().replace(FIXTURES, "FIXTURES")
    }
}

#[test]
fn a_config_may_be_yaml_in_a_flow_spec_or_on_stdin() {
    let source = Source::new();
    let write = |name: &str, text: &str| fs::write(source.path(name), text).unwrap();
    write("config.yaml", "# A comment\nhost: db\nport: 5432\n");
    write(
        "flow.yaml",
        "captures:\n  acmeCo/a: {endpoint: {connector: {image: x, config: config.yaml}}}\n  \
         acmeCo/b: {endpoint: {local: {command: [x], config: {host: inline}}}}\n",
    );
    let spec = source.path("flow.yaml");
    assert_eq!(source.gets(&["--config", &source.path("config.yaml")]), r#"{"host":"db","port":5432}"#);
    assert_eq!(source.gets(&["--config", &format!("{spec}#acmeCo/a")]), r#"{"host":"db","port":5432}"#);
    assert_eq!(source.gets(&["--config", &format!("{spec}#acmeCo/b")]), r#"{"host":"inline"}"#);

    // Beside shim.yaml.
    write("shim.yaml", "protocol: airbyte\n");
    assert_eq!(source.gets(&["--shim", &source.path("shim.yaml")]), r#"{"host":"db","port":5432}"#);

    let mut child =
        source.preview(&["--config", "-"], "").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"host: stdin\n").unwrap();
    Run::from(child.wait_with_output().unwrap()).ok();
    assert_eq!(fs::read_to_string(source.path("received/read/config")).unwrap(), r#"{"host":"stdin"}"#);

    for (name, said) in
        [("flow.yaml", "is a Flow spec: name one of its captures"), ("flow.yaml#acmeCo/c", "did you mean")]
    {
        let run = Run::from(source.preview(&["--config", &source.path(name)], "").output().unwrap());
        assert!(run.last_line().contains(said), "{}", run.stderr);
    }
}

#[test]
fn mistyped_fields_are_named_and_absent_ones_get_their_defaults() {
    let schema = json!({"type": "object", "properties": {"count": {"type": "integer", "default": 1000}, "seed": {}}});
    let source = Source::with_schema(&schema);
    let output = source.preview(&["--config", r#"{"cuont": 10}"#], "").output().unwrap();
    let run = Run::from(output).ok();
    let said = "the connector has no config field `cuont` (did you mean `count`?)";
    assert_eq!(run.stderr.matches(said).count(), 1, "{}", run.stderr);
    let received = fs::read_to_string(source.path("received/read/config")).unwrap();
    assert_eq!(received, r#"{"cuont":10,"count":1000}"#);
    // So does a config that is not given at all.
    assert_eq!(source.gets(&[]), r#"{"count":1000}"#);
    // The text of a complete config stays as it is.
    assert_eq!(source.gets(&["--config", r#"{"count": 1e1}"#]), r#"{"count": 1e1}"#);
}

#[test]
fn sops_documents_are_decrypted() {
    let mut received = Vec::new();
    for document in
        ["suffix.yaml", "suffix.json", "everything.json", "regex.yaml", "mac-only.yaml", "list-comment.yaml"]
    {
        let config = Source::new().gets(&["--config", &format!("{FIXTURES}/{document}")]);
        received.push(format!("{document}\n  {config}"));
    }
    insta::assert_snapshot!(received.join("\n"));
}

#[test]
fn sops_documents_that_cannot_be_decrypted_never_reach_the_connector() {
    let source = Source::new();
    let mut said = Vec::new();
    for document in
        ["edited.json", "reordered.json", "no-checksum.json", "moved.json", "bare.json", "overlay.json", "gcp-kms.json"]
    {
        said.push(source.fails(document, "keys.txt"));
    }
    said.push(source.fails("suffix.yaml", "other-keys.txt"));
    said.push(source.fails("suffix.yaml", "no-such-file"));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn an_overlay_changes_what_the_schema_marks_as_not_sensitive() {
    let schema =
        json!({"type": "object", "properties": {"port": {"nonsensitive": true}, "shop": {"nonsensitive": true}}});
    let config = Source::with_schema(&schema).gets(&["--config", &format!("{FIXTURES}/overlay.json")]);
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["port"], config.get("shop"), &config["api_key"]), (&json!(1), None, &json!("demo-s3cret")));
}

#[test]
fn age_keys_are_found_where_sops_looks_for_them() {
    let source = Source::new();
    let config = format!("{FIXTURES}/suffix.json");
    let keys = fs::read_to_string(format!("{FIXTURES}/keys.txt")).unwrap();
    let home = source.folder.path().join(".config/sops/age");
    let preview = |variables: &[(&str, &str)]| {
        let mut command = source.preview(&["--config", &config], "");
        command.env_remove("SOPS_AGE_KEY_FILE").envs(variables.iter().copied());
        Run::from(command.output().unwrap()).code
    };
    assert_eq!(preview(&[]), Some(1));
    assert_eq!(preview(&[("SOPS_AGE_KEY", &keys)]), Some(0));
    assert_eq!(preview(&[("SOPS_AGE_KEY_CMD", &format!("cat '{FIXTURES}/keys.txt'"))]), Some(0));
    assert_eq!(preview(&[("SOPS_AGE_KEY_FILE", ""), ("SOPS_AGE_KEY", &keys)]), Some(0));
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("keys.txt"), &keys).unwrap();
    assert_eq!(preview(&[]), Some(0));
}

#[test]
fn a_command_for_keys_that_hangs_can_be_stopped() {
    let source = Source::new();
    let started = source.path("started");
    let mut command = source.preview(&["--config", &format!("{FIXTURES}/suffix.json")], "");
    command.env_remove("SOPS_AGE_KEY_FILE");
    command.env("SOPS_AGE_KEY_CMD", format!("sh -c 'echo > {started}; exec sleep 600'"));
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    crate::builder::wait_until(|| Path::new(&started).exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn a_decrypted_value_is_redacted_in_logs() {
    let source = Source::new();
    fs::write(source.path("case"), "A connector.\n\n== read\n%stderr INFO hello two-s3cret\n%exit 0\n").unwrap();
    let config = format!("{FIXTURES}/suffix.json");
    let run = Run::from(source.preview(&["--config", &config], &format!("{FIXTURES}/keys.txt")).output().unwrap()).ok();
    assert!(run.stderr.contains("hello ***"), "{}", run.stderr);
}

/// Puts a program `sops` in PATH.
fn install_sops(source: &Source, script: &str) {
    fs::create_dir_all(source.path("bin")).unwrap();
    let sops = source.path("bin/sops");
    fs::write(&sops, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&sops, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_sops_program_is_preferred() {
    let source = Source::new();
    let (seen, document) = (source.path("seen"), format!("{FIXTURES}/gcp-kms.json"));
    install_sops(
        &source,
        &format!(r#"echo "$@" > {seen}; cat >> {seen}; echo '{{"api_key_sops": "by the program", "n": 1e-7}}'"#),
    );
    assert_eq!(source.gets(&["--config", &document]), r#"{"api_key":"by the program","n":1e-7}"#);
    let seen = fs::read_to_string(seen).unwrap();
    let (arguments, text) = seen.split_once('\n').unwrap();
    assert_eq!(arguments, "--decrypt --input-type json --output-type json /dev/stdin");
    assert_eq!(text, fs::read_to_string(&document).unwrap());

    let mut said = Vec::new();
    for (code, document) in
        [(51, "edited.json"), (25, "moved.json"), (128, "suffix.json"), (128, "gcp-kms.json"), (1, "bare.json")]
    {
        install_sops(&source, &format!("cat > /dev/null; echo no access to the key >&2; exit {code}"));
        fs::remove_dir_all(source.path("received")).unwrap_or_default();
        said.push(source.fails(document, "keys.txt"));
    }
    for script in ["exit 3", "echo '[]'", "echo nonsense"] {
        install_sops(&source, &format!("cat > /dev/null; {script}"));
        said.push(source.fails("suffix.json", "keys.txt"));
    }
    insta::assert_snapshot!(said.join("\n"));
    fs::remove_file(source.path("bin/sops")).unwrap();
    let run = Run::from(source.preview(&["--config", r#"{"sops": {}}"#], "").output().unwrap());
    assert!(run.last_line().contains("its `sops` member names no keys"), "{}", run.stderr);
}

#[test]
fn other_commands_decrypt_too() {
    let config = format!("{FIXTURES}/suffix.json");
    let with_keys = |arguments: &[&str]| {
        let mut command = flow_shim(arguments);
        command.env("SOPS_AGE_KEY_FILE", format!("{FIXTURES}/keys.txt"));
        Run::from(command.output().unwrap())
    };
    let demo = ["--config", &config, "--", "flow-shim", "demo-source"];
    let shown = with_keys(&[&["inspect"][..], &demo].concat()).ok();
    assert!(shown.stdout.contains("3 streams"), "{}", shown.stdout);
    let proved = with_keys(&[&["prove", "--kills", "1", "--select", "customers"][..], &demo].concat());
    assert!(proved.stdout.contains("nothing was lost"), "{}{}", proved.stdout, proved.stderr);
    assert_eq!(run([&["inspect"][..], &demo].concat()).code, Some(1));
}
