//! `flow-shim init`: the folder that it writes works at once, and holds nothing of the config that it was given.

mod command;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use command::{Run, flow_shim, scripted};

const FILES: [&str; 4] = ["shim.yaml", "Dockerfile", "flow.yaml", "README.md"];

/// A folder to run in.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let mut command = flow_shim(arguments);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        Run::from(command.output().expect("the binary runs"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn yaml(&self, name: &str) -> Value {
        serde_saphyr::from_str(&self.read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// All that was written, one text.
    fn all(&self, folder: &str) -> String {
        let texts = FILES.map(|name| format!("──── {name}\n{}", self.read(&format!("{folder}/{name}"))));
        texts.join("\n")
    }

    /// With what starts with `key` no comment any more, to the end of its block.
    fn uncomment(&self, name: &str, key: &str) {
        let mut inside = false;
        let mut lines = Vec::new();
        for line in self.read(name).lines() {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            inside = bare.starts_with(key) || inside && bare.starts_with(' ');
            lines.push(if inside { bare } else { line }.to_owned());
        }
        self.write(name, &(lines.join("\n") + "\n"));
    }
}

fn venv(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venvs").join(name);
    assert!(path.exists(), "{name} is not installed: run tests/setup");
    path
}

#[test]
fn the_demo_is_written_once_and_works_at_once() {
    let desk = Desk::new();
    desk.write("config.json", r#"{"shop": "corner-coffee", "api_key": "demo-s3cret", "count": 12}"#);
    // Of another connector, and none of its business.
    desk.write("shim.yaml", "documentationUrl: https://elsewhere.example\nspec: {patch: {required: []}}\n");
    let arguments =
        ["init", "--airbyte", "source-demo", "--config", "config.json", "shims/demo", "--", "flow-shim", "demo-source"];
    let run = desk.run(arguments).ok();
    let all = desk.all("shims/demo");
    assert!(!all.contains("s3cret"), "{all}");
    insta::assert_snapshot!(run.stdout + "\n" + &all);

    let flow = desk.yaml("shims/demo/flow.yaml");
    let capture = &flow["captures"]["acmeCo/source-demo/capture"];
    assert_eq!(capture["endpoint"]["local"]["config"], json!({"shop": "TODO", "api_key": "TODO"}));
    assert_eq!(capture["bindings"].as_array().map(Vec::len), Some(3));
    for binding in capture["bindings"].as_array().expect("bindings") {
        let collection = &flow["collections"][binding["target"].as_str().expect("a target")];
        assert!(collection["key"].is_array() && collection["schema"].is_object(), "{binding}");
    }

    let shown = desk.run(["inspect", "--shim", "shims/demo"]).ok();
    assert!(shown.stdout.contains("required, secret"), "{}", shown.stdout);
    let preview = desk.run(["preview", "--shim", "shims/demo", "--config", "config.json"]).ok();
    assert_eq!(preview.count("customers"), 12);

    let again = desk.run(arguments);
    assert_eq!(again.code, Some(1));
    let said = "HH:MM:SS ERROR shims/demo/shim.yaml is there already: nothing is overwritten, and nothing was written";
    assert_eq!(again.last_line(), said);
    assert_eq!(desk.all("shims/demo"), all);
}

#[test]
fn nothing_is_written_where_one_file_is_there_or_the_connector_fails() {
    let desk = Desk::new();
    fs::create_dir(desk.path("a")).expect("a folder");
    desk.write("a/README.md", "mine");
    let run = desk.run(["init", "--airbyte", "source-demo", "a", "--", "flow-shim", "demo-source"]);
    assert!(run.last_line().contains("a/README.md is there already"), "{}", run.stderr);
    assert_eq!(fs::read_dir(desk.path("a")).expect("a folder").count(), 1);

    let wrong = ["init", "--airbyte", "source-demo", "--config", "{}", "b", "--", "flow-shim", "demo-source"];
    let run = desk.run(wrong);
    assert_eq!(run.code, Some(1));
    assert!(run.last_line().contains("can't discover the streams: "), "{}", run.stderr);
    let run = desk.run(["init", "--airbyte", "source-demo", "b", "--", "false"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let run = desk.run(["init", "--singer", "tap-that-nobody-has", "b"]);
    assert!(run.last_line().contains("tap-that-nobody-has/bin/pip install tap-that-nobody-has"), "{}", run.stderr);
    assert!(!desk.path("b").exists());
}

#[test]
fn what_lacks_for_the_sign_in_is_a_comment_that_works_when_it_is_none() {
    let desk = Desk::new();
    let pointer = |name: &str| json!({"type": "string", "path_in_connector_config": ["credentials", name]});
    let spec = json!({"type": "SPEC", "spec": {
        "documentationUrl": "https://docs.example/shop",
        "advanced_auth": {"auth_flow_type": "oauth2.0", "oauth_config_specification": {
            "complete_oauth_output_specification": {"type": "object", "properties": {"refresh_token": pointer("refresh_token")}},
            "complete_oauth_server_output_specification": {"type": "object", "properties": {
                "client_id": pointer("client_id"), "client_secret": pointer("client_secret")}}}},
        "connectionSpecification": {"type": "object", "required": ["credentials"], "properties": {
            "credentials": {"type": "object", "required": ["client_id", "client_secret", "refresh_token"], "properties": {
                "client_id": {"type": "string", "airbyte_secret": true},
                "client_secret": {"type": "string", "airbyte_secret": true},
                "refresh_token": {"type": "string", "airbyte_secret": true}}}}}}});
    let case = format!("A source that declares OAuth without URLs.\n\n== spec\n{spec}\n");
    let source = scripted(desk.0.path(), &case);
    let arguments = ["init", "--airbyte", "source-shop", "shop"].map(str::to_owned);
    desk.run(arguments.iter().chain(&source)).ok();
    insta::assert_snapshot!(
        desk.read("shop/shim.yaml").lines().filter(|it| !it.starts_with("command")).collect::<Vec<_>>().join("\n")
    );
    let before = desk.run(["inspect", "--shim", "shop"]).ok().stdout;
    assert!(before.contains("no sign-in: "), "{before}");
    desk.uncomment("shop/shim.yaml", "oauth2:");
    let after = desk.run(["inspect", "--shim", "shop"]).ok().stdout;
    assert!(after.contains("sign-in with "), "{after}\n{}", desk.read("shop/shim.yaml"));
}

#[test]
fn a_tap_without_a_description_gets_the_start_of_one() {
    let desk = Desk::new();
    let source = scripted(desk.0.path(), "A tap.\n\n== discover\n{\"streams\": []}\n");
    let config = r#"{"api_key": "s3cret-of-the-api", "start_date": "2024-01-01"}"#;
    let arguments = ["init", "--singer", "tap-shop", "--config", config, "shop"].map(str::to_owned);
    desk.run(arguments.iter().chain(&source)).ok();
    assert!(!desk.all("shop").contains("s3cret"));
    assert!(!desk.run(["inspect", "--shim", "shop"]).ok().stdout.contains("Start date"));
    desk.uncomment("shop/shim.yaml", "configSchema:");
    let shown = desk.run(["inspect", "--shim", "shop"]).ok().stdout;
    assert!(shown.contains("Start date") && shown.contains("required, secret"), "{shown}");
}

#[test]
fn a_real_source_and_a_real_tap_are_known_with_their_versions() {
    let desk = Desk::new();
    std::os::unix::fs::symlink(venv("tap-jsonl"), desk.path("tap")).expect("a link");
    let faker = venv("faker").join("bin/source-faker").to_string_lossy().into_owned();
    desk.run(["init", "--airbyte", "faker", "--config", r#"{"count": 3}"#, "faker", "--", &faker]).ok();
    desk.write("rows.jsonl", "{\"id\": 1}\n{\"id\": 2}\n");
    let config = json!({"path": desk.path("rows.jsonl")}).to_string();
    desk.run(["init", "--singer", "tap-jsonl", "--config", &config, "jsonl", "--", "tap/bin/tap-jsonl"]).ok();
    let written = ["faker/Dockerfile", "jsonl/Dockerfile", "jsonl/flow.yaml"].map(|it| desk.read(it));
    insta::assert_snapshot!(written.join("\n────\n"));

    let preview = desk.run(["preview", "--shim", "jsonl", "--config", &config]).ok();
    assert_eq!(preview.documents().len(), 2);
    let preview = desk.run(["preview", "--shim", "faker", "--config", r#"{"count": 3}"#]);
    assert_eq!(preview.ok().count("users"), 3);
}

#[test]
fn the_older_wrappers_files_become_a_shim_yaml() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("source-x/streams")).expect("folders");
    desk.write("source-x/spec.patch.json", r#"{"required": ["api_key"], "properties": {"start": null}}"#);
    desk.write("source-x/streams/users.pk.json", r#"["id"]"#);
    desk.write("source-x/selected_streams.json", r#"["users"]"#);
    desk.write("source-x/run_interval_minutes.json", "90\n");
    let said = desk.run(["init", "--from-atf", "source-x"]).ok().stdout;
    desk.write("source-x/Dockerfile", "ENV AIRBYTE_TO_FLOW_STATE_FORMAT=per_stream\n");
    fs::rename(desk.path("source-x/shim.yaml"), desk.path("bare.yaml")).expect("a file");
    desk.run(["init", "--from-atf", "source-x"]).ok();
    assert_eq!(desk.read("bare.yaml"), desk.read("source-x/shim.yaml") + "stateFormat: bare\n");

    let texts = [said, desk.read("bare.yaml"), desk.run(["init", "--from-atf", "."]).last_line().to_owned()];
    desk.write("source-x/omitted_streams.json", "[\"a\",\n 7]");
    fs::remove_file(desk.path("source-x/shim.yaml")).expect("a file");
    let broken = desk.run(["init", "--from-atf", "source-x"]);
    insta::assert_snapshot!(texts.join("\n") + "\n" + &broken.last_line());
}
