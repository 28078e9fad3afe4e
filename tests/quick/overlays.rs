//! airbyte-to-flow directories (`fixtures/overlays`), used unchanged: the shim gives the answers that they specify and
//! resumes from airbyte-to-flow's states. Expectations are derived from the files here, without the shim's code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::command::run;
use crate::runtime::{Binding, Runtime, repository};

/// An airbyte-to-flow directory, and a connector with the streams that it mentions.
struct Overlay {
    name: String,
    folder: PathBuf,
    streams: Vec<Value>,
    scratch: TempDir,
}

fn fixtures() -> PathBuf {
    repository().join("fixtures")
}

fn overlays() -> Vec<Overlay> {
    let folders = fs::read_dir(fixtures().join("overlays")).unwrap();
    let overlays: Vec<Overlay> = folders.map(|it| Overlay::read(it.unwrap().path())).collect();
    assert!(!overlays.is_empty());
    overlays
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn read(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).ok()?;
    Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

fn names(list: Option<Value>) -> Option<Vec<String>> {
    list.map(|it| it.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect())
}

impl Overlay {
    fn read(folder: PathBuf) -> Self {
        let name = folder.file_name().unwrap().to_string_lossy().trim_start_matches("source-").to_owned();
        let mut overlay = Self { name, folder, streams: Vec::new(), scratch: TempDir::new().unwrap() };
        let catalog = read(&fixtures().join(format!("catalogs/{}.json", overlay.name)));
        let real = catalog.as_ref().and_then(|it| it["streams"].as_array()).cloned().unwrap_or_default();
        let known: BTreeSet<String> = real.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        overlay.streams = real;
        for name in overlay.named_streams().difference(&known) {
            overlay.streams.push(json!({
                "name": name,
                "json_schema": {"type": ["null", "object"], "properties": {"id": {"type": ["null", "string"]}}},
                "supported_sync_modes": ["full_refresh", "incremental"],
                "source_defined_cursor": true,
                "source_defined_primary_key": [["id"]],
            }));
        }
        overlay.write_connector();
        overlay
    }

    /// A copy in a writable directory.
    fn moved(&self) -> Self {
        let scratch = TempDir::new().unwrap();
        let folder = scratch.path().join("folder");
        copy(&self.folder, &folder);
        let moved = Self { name: self.name.clone(), folder, streams: self.streams.clone(), scratch };
        moved.write_connector();
        moved
    }

    /// The streams mentioned in the files, and one that is not mentioned.
    fn named_streams(&self) -> BTreeSet<String> {
        let mut found: BTreeSet<String> = ["nowhere named".to_owned()].into();
        for entry in fs::read_dir(self.folder.join("streams")).into_iter().flatten() {
            let file = entry.unwrap().file_name().to_string_lossy().into_owned();
            let name = [".patch.json", ".pk.json", ".normalize.json"].iter().find_map(|it| file.strip_suffix(it));
            found.extend(name.filter(|it| *it != "*").map(str::to_owned));
        }
        found.extend(names(self.file("selected_streams.json")).into_iter().flatten());
        found.extend(names(self.file("omitted_streams.json")).into_iter().flatten());
        found
    }

    fn file(&self, name: &str) -> Option<Value> {
        read(&self.folder.join(name))
    }

    fn of_stream(&self, stream: &str, what: &str) -> Option<Value> {
        let file = |name: &str| self.file(&format!("streams/{name}.{what}.json"));
        file(&stream.replace(' ', "")).or_else(|| file("*"))
    }

    fn write_connector(&self) {
        let spec = read(&fixtures().join(format!("specs/{}.json", self.name)));
        let spec = spec.unwrap_or_else(|| json!({"connectionSpecification": {"type": "object", "properties": {}}}));
        let case = format!(
            "A connector.\n\n== spec\n{}\n== discover\n{}\n=== open\n",
            json!({"type": "SPEC", "spec": spec}),
            json!({"type": "CATALOG", "catalog": {"streams": self.streams}})
        );
        fs::write(self.scratch.path().join("connector.case"), case).unwrap();
    }

    /// The shim in the directory; the connector is named as for airbyte-to-flow.
    fn shim(&self) -> Runtime {
        let words = [
            repository().join("fixtures/scripted-source").display().to_string(),
            "--received".to_owned(),
            self.received().display().to_string(),
            self.scratch.path().join("connector.case").display().to_string(),
        ];
        Runtime::shim(["--connector-entrypoint".to_owned(), words.map(|it| format!("'{it}'")).join(" ")])
            .folder(&self.folder)
    }

    fn received(&self) -> PathBuf {
        self.scratch.path().join("received")
    }

    fn given(&self, command: &str, what: &str) -> Value {
        read(&self.received().join(command).join(what)).unwrap_or_else(|| panic!("{command} was given no {what}"))
    }
}

/// The scalars in a schema or a patch, with their pointers.
fn leaves(value: &Value, at: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                leaves(member, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        leaf => found.push((at.to_owned(), leaf.clone())),
    }
}

/// Asserts that a schema has the patch's types, titles and formats. Keywords that Flow rejects are tested elsewhere.
fn assert_patched(schema: &Value, patch: &Value, key: &[String], what: &str) {
    let mut expected = Vec::new();
    leaves(patch, "", &mut expected);
    for (at, leaf) in expected {
        let keyword = at.rsplit('/').next().unwrap();
        let is_key = key.iter().any(|it| at.starts_with(&format!("/properties{it}")));
        // One of the files omits `properties`: Flow rejects such keywords.
        let is_schema = ["/properties/", "/reduce/", "/format"].iter().any(|it| at.starts_with(it));
        if is_key || !is_schema {
            continue;
        }
        match (keyword, &leaf) {
            (_, Value::Null) => assert!(schema.pointer(&at).is_none(), "{what}: {at} is still there"),
            ("type" | "title" | "format" | "strategy", _) => {
                assert_eq!(schema.pointer(&at), Some(&leaf), "{what}: {at}");
            }
            _ => {}
        }
    }
}

#[test]
fn specs_are_patched() {
    for it in overlays() {
        let spec = it.shim().spec();
        let patch = it.file("spec.patch.json").unwrap();
        assert_patched(&spec["configSchema"], &patch, &[], &it.name);
        assert_eq!(spec["documentationUrl"], it.file("documentation_url.patch.json").unwrap()["documentation_url"]);
        let oauth2 = it.file("oauth2.patch.json").unwrap();
        // OAuth is published only if the schema has a sign-in button.
        let has_button = patch.to_string().contains("\"x-oauth2-provider\"");
        let expected = if oauth2["provider"] == "" || !has_button { Value::Null } else { oauth2 };
        assert_eq!(spec["oauth2"], expected, "{}", it.name);
    }
}

#[test]
fn streams_are_patched_selected_and_omitted() {
    for it in overlays() {
        let selected = names(it.file("selected_streams.json"));
        let omitted = names(it.file("omitted_streams.json")).unwrap_or_default();
        let discovered = it.shim().discover();
        let mut bindings = discovered["bindings"].as_array().unwrap().iter();
        for stream in &it.streams {
            let name = stream["name"].as_str().unwrap();
            if omitted.iter().any(|it| it == name) {
                continue;
            }
            let what = format!("{} {name}", it.name);
            let binding = bindings.next().unwrap_or_else(|| panic!("{what} is not discovered"));
            assert_eq!(binding["resourceConfig"]["stream"], name, "{}", it.name);
            let is_disabled = selected.as_ref().is_some_and(|all| !all.iter().any(|it| it == name));
            assert_eq!(binding["disable"] == true, is_disabled, "{what}");

            let key = names(it.of_stream(name, "pk")).unwrap_or_else(|| {
                let own = stream["source_defined_primary_key"].as_array().cloned().unwrap_or_default();
                own.iter().map(|path| names(Some(path.clone())).unwrap().join("/")).collect()
            });
            let key: Vec<String> = key.iter().map(|it| format!("/{it}")).collect();
            let key = if key.is_empty() { vec!["/_meta/row_id".to_owned()] } else { key };
            assert_eq!(binding["key"], json!(key), "{what}");
            let schema = &binding["documentSchema"];
            assert_eq!(schema["type"], "object", "{what}");
            for component in key.iter().filter(|it| !it.starts_with("/_meta")) {
                let place = component.replace('/', "/properties/");
                assert!(!schema.pointer(&place).unwrap()["type"].to_string().contains("null"), "{what}: {component}");
            }
            let mut patch = it.of_stream(name, "patch").unwrap_or_else(|| json!({}));
            if it.file("schema_normalizations.json").is_some() {
                patch = serde_json::from_str(&patch.to_string().replace("\"date\"", "\"date-time\"")).unwrap();
            }
            assert_patched(schema, &patch, &key, &what);
            let enums = schema.to_string().replace(r#""enum":["c","u","d"]"#, "");
            assert!(!enums.contains(r#""enum":["#), "{what}: enums are removed");
        }
        assert!(bindings.next().is_none(), "{}: unexpected bindings are discovered", it.name);
    }
}

#[test]
fn configs_are_mapped_and_those_without_the_sources_pass() {
    for it in overlays() {
        let map: Map<String, Value> =
            it.file("spec.map.json").and_then(|it| it.as_object().cloned()).unwrap_or_default();
        let mut config = json!({"kept": "as it is"});
        let mut expected = config.clone();
        for (index, (target, source)) in map.iter().enumerate() {
            put(&mut config, source.as_str().unwrap(), json!({"value": index}));
            put(&mut expected, target, json!({"value": index}));
        }
        it.shim().config(config).validate(&[]);
        let mut given = it.given("check", "config");
        // The source objects are kept with their other members.
        if let Some(members) = given.as_object_mut()
            && members.get("credentials").is_some_and(|it| *it == json!({}))
        {
            members.remove("credentials");
        }
        assert_eq!(given, expected, "{}", it.name);

        let other = json!({"api_key": "k"});
        it.shim().config(other.clone()).validate(&[]);
        assert_eq!(it.given("check", "config"), other, "{}", it.name);
    }
}

fn put(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for step in pointer.trim_start_matches('/').split('/') {
        if !at.is_object() {
            *at = json!({});
        }
        at = at.as_object_mut().unwrap().entry(step).or_insert(Value::Null);
    }
    *at = value;
}

#[test]
fn captures_resume_from_airbyte_to_flows_states() {
    for it in overlays() {
        let incremental = it.streams.iter().filter(|it| it["supported_sync_modes"].to_string().contains("incremental"));
        let names: Vec<&str> = incremental.take(2).map(|it| it["name"].as_str().unwrap()).collect();
        let bindings: Vec<Binding> = names.iter().map(|it| Binding::new(it, "incremental")).collect();
        let state = json!({names[0]: {"cursor": "2024-01-01", "page": null}, "not bound": {}});
        // Otherwise the capture would stay open for its interval.
        let config = json!({"_atf_skip_interval": true});

        it.shim().config(config.clone()).open(&bindings, &state).run().expect_clean();
        assert_eq!(it.given("read", "state"), json!({names[0]: state[names[0]]}), "{}", it.name);

        let per_stream = it.shim().config(config.clone()).env("AIRBYTE_TO_FLOW_STATE_FORMAT", "per_stream");
        let session = per_stream.open(&bindings, &state).run().expect_clean();
        let message = json!({"type": "STREAM", "stream": {
            "stream_descriptor": {"name": names[0]}, "stream_state": state[names[0]]}});
        assert_eq!(it.given("read", "state"), json!([message]), "{}", it.name);

        // A converted state is not converted again.
        let again = per_stream.open(&bindings, &session.state).run().expect_clean();
        assert_eq!(it.given("read", "state"), json!([message]), "{}", it.name);
        assert_eq!(again.state, session.state, "{}", it.name);
    }
}

#[test]
fn the_shim_yaml_that_init_writes_gives_the_same_answers() {
    for it in overlays() {
        let moved = it.moved();
        let folder = moved.folder.to_string_lossy();
        run(["init", "--from-atf", &folder]).ok();
        let again = run(["init", "--from-atf", &folder]);
        assert_eq!(again.code, Some(1));
        assert!(again.last_line().contains("shim.yaml already exists"), "{}", again.last_line());
        assert_eq!(moved.shim().spec(), it.shim().spec(), "{}", it.name);
        assert_eq!(moved.shim().discover(), it.shim().discover(), "{}", it.name);
    }
}
