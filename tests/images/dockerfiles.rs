//! Images as Flow runs them: what `flow-shim init` writes is built on top of a source's image and of Python's, and the root's
//! Dockerfile from scratch. There is no registry: a Debian with Python (`tests/setup`) replaces the base images, with a real
//! source installed as Airbyte's images have it.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::podman::Podman;
use crate::runtime::{Binding, Runtime, Then, When, repository};

const BINARY: &str = env!("CARGO_BIN_EXE_flow-shim");

/// The registry's images.
const RUST: &str = "docker.io/library/rust:1-slim-bookworm";
const SOURCE: &str = "localhost/airbyte/source-faker:7.2.1";

/// Equivalent of Airbyte's images; VERSION is Python's.
const SOURCE_DOCKERFILE: &str = r#"FROM python:VERSION-slim
RUN useradd --create-home --uid 1000 airbyte
COPY --from=installed . /usr/local/lib/pythonVERSION/dist-packages/
WORKDIR /airbyte/integration_code
COPY main.py main.py
ENV AIRBYTE_ENTRYPOINT="python /airbyte/integration_code/main.py"
ENTRYPOINT ["python", "/airbyte/integration_code/main.py"]
LABEL io.airbyte.version=7.2.1 io.airbyte.name=airbyte/source-faker
USER airbyte
"#;

/// Replaces Rust's image: `tests/run` builds the binary outside of the container.
const CARGO: &str = "#!/bin/sh\n[ \"$*\" = \"build --release --locked\" ] && [ -e src/main.rs ] && [ ! -e target ] &&
mkdir -p target/release && cp /built/flow-shim target/release/\n";

/// A file or directory created by tests/setup.
fn setup(name: &str) -> PathBuf {
    let path = repository().join("target/images").join(name);
    assert!(path.exists(), "there is no {}: run tests/setup images", path.display());
    path
}

/// The version of Debian's Python.
fn python() -> String {
    fs::read_to_string(setup("python")).expect("a version").trim().to_owned()
}

/// A podman with the registry's images, and a build directory that contains the binary.
fn podman() -> Podman {
    Podman::with(|podman| {
        let python = format!("docker.io/library/python:{}-slim", python());
        podman.import(&setup("debian.tar"), &[], &python)?;
        podman.run(&["tag", &python, RUST])?;
        fs::create_dir(podman.path("desk"))?;
        fs::copy(BINARY, podman.path("desk/flow-shim")).map(drop)
    })
}

fn write(path: &Path, text: &str) {
    fs::File::create(path)
        .and_then(|mut it| it.write_all(text.as_bytes()))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Runs `flow-shim init` in the build directory.
fn init(podman: &Podman, arguments: &[&str]) {
    let mut command = Command::new(BINARY);
    let output =
        command.arg("init").args(arguments).envs(podman.environment()).current_dir(podman.path("desk")).output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Checks the image's labels and user (F24).
fn expect_labels(podman: &Podman, image: &str) {
    let output =
        podman.run(&["image", "inspect", "--format", "{{json .Config.Labels}}", image]).expect("the image is there");
    let labels: Value = serde_json::from_slice(&output.stdout).expect("labels");
    for (name, value) in [("FLOW_RUNTIME_PROTOCOL", "capture"), ("CONNECTOR_PROTOCOL", "flow-capture")] {
        assert_eq!(labels[name], value, "{labels}");
    }
    // Protobuf, which is Flow's default.
    assert!(labels.get("FLOW_RUNTIME_CODEC").is_none(), "{labels}");
}

/// Runs as a user other than root, without network, and with a writable memory file system only.
fn contained(image: &str, more: &[&str]) -> Vec<OsString> {
    let fixed = ["podman", "run", "--interactive", "--rm", "--user=12345:12345", "--read-only", "--network=none"];
    fixed.iter().chain(more).copied().chain([image]).map(OsString::from).collect()
}

fn as_flow(podman: &Podman, image: &str, more: &[&str], config: &Value) -> Runtime {
    let runtime = Runtime::new(contained(image, more)).config(config.clone()).patience(Duration::from_secs(120));
    podman.environment().into_iter().fold(runtime, |it, (name, value)| it.env(name, value))
}

#[test]
#[ignore = "needs images: tests/run --images"]
fn a_sources_image_becomes_one_of_flows() {
    let installed = setup(&format!("venvs/faker/lib/python{}/site-packages", python()));
    let podman = podman();
    let base = podman.path("source");
    fs::create_dir(&base).expect("a folder");
    write(&base.join("main.py"), "from source_faker.run import run\n\nrun()\n");
    write(&base.join("Dockerfile"), &SOURCE_DOCKERFILE.replace("VERSION", &python()));
    let installed = format!("--build-context=installed={}", installed.display());
    podman.build(&base, "Dockerfile", SOURCE, &[&installed]).expect("the source's image");

    // The shim runs outside the image, as on a laptop: the connector writes to its config's directory as the image's user.
    let config = json!({"count": 20, "seed": 1, "parallelism": 1});
    init(&podman, &["--image", SOURCE, "--config", &config.to_string(), "shims/faker"]);
    let written = fs::read_to_string(podman.path("desk/shims/faker/Dockerfile")).expect("a Dockerfile");
    assert!(written.contains(&format!("\nFROM {SOURCE}\n")) && written.contains("user, airbyte"), "{written}");
    let flow = fs::read_to_string(podman.path("desk/shims/faker/flow.yaml")).expect("a flow.yaml");
    assert!(flow.contains("acmeCo/source-faker/purchases"), "{flow}");
    podman.assert_no_container();
    let around = Runtime::shim([OsString::from("--shim"), podman.path("desk/shims/faker").into()]);
    let around = around.config(json!({"count": 1_000_000, "parallelism": 1})).patience(Duration::from_secs(60));
    let around = podman.environment().into_iter().fold(around, |it, (name, value)| it.env(name, value));
    let users = [Binding::new("users", "incremental")];
    let stopped = around.open(&users, &json!({})).when(When::Documents(500), Then::Signal(Signal::TERM)).run();
    assert!(stopped.end.broken.is_empty(), "{:?}", stopped.end.broken);
    // It stopped on request: eight seconds would produce tens of thousands.
    let sent = stopped.documents.len() + stopped.uncommitted.len();
    assert!(sent < 10_000, "{sent} documents");
    podman.assert_no_container();

    let image = "localhost/source-faker-flow";
    podman.build(&podman.path("desk"), "shims/faker/Dockerfile", image, &[]).expect("Flow's image");
    expect_labels(&podman, image);
    let runtime = as_flow(&podman, image, &[], &config);
    assert_eq!(runtime.full_capture(2)[0].documents.len(), 60);

    // Nothing is writable, not even /tmp or shared memory. The spec is baked.
    let nowhere = as_flow(&podman, image, &["--read-only-tmpfs=false", "--volume=/proc:/dev/shm:ro"], &config);
    assert_eq!(nowhere.spec()["configSchema"]["properties"]["count"]["type"], "integer");
    let nowhere = nowhere.ask_discover();
    assert_eq!(nowhere.end.exit.code(), Some(1));
    let said = nowhere.end.last_message();
    assert!(said.starts_with("can't make a private folder for the connector's files (set TMPDIR): "), "{said}");
    podman.assert_no_container();
}

#[test]
#[ignore = "needs images: tests/run --images"]
fn a_tap_becomes_an_image_of_flows() {
    let (wheels, tap) = (setup("wheels/tap-jsonl"), setup("venvs/tap-jsonl/bin/tap-jsonl"));
    let podman = podman();
    let rows = podman.path("rows");
    fs::create_dir(&rows).expect("a folder");
    write(&rows.join("a.jsonl"), "{\"id\": 1}\n{\"id\": 2}\n");
    let config = json!({"path": rows.join("*.jsonl")});
    let tap = tap.to_string_lossy();
    init(&podman, &["--singer", "tap-jsonl", "--config", &config.to_string(), "jsonl", "--", &tap]);

    let settings = podman.path("pip.conf");
    write(&settings, "[global]\nno-index = true\nfind-links = /wheels\n");
    let mounts =
        [(settings, "/etc/pip.conf"), (wheels, "/wheels")].map(|(it, at)| format!("--volume={}:{at}:ro", it.display()));
    let image = "localhost/tap-jsonl-flow";
    podman.build(&podman.path("desk"), "jsonl/Dockerfile", image, &[&mounts[0], &mounts[1]]).expect("Flow's image");
    expect_labels(&podman, image);
    let user = podman.run(&["run", "--rm", "--entrypoint=id", image, "-un"]).expect("a user");
    assert_eq!(String::from_utf8_lossy(&user.stdout).trim(), "connector");

    let data = format!("--volume={0}:{0}:ro", rows.display());
    let sessions = as_flow(&podman, image, &[&data], &config).full_capture(2);
    assert_eq!(sessions.iter().map(|it| it.documents.len()).collect::<Vec<_>>(), [2, 2]);

    // The workflow that init has written, as GitHub would run it.
    let docker = podman.path("bin/docker");
    fs::create_dir(podman.path("bin")).expect("a folder");
    let build = format!("--pull=never --network=none --layers=false {} {}", mounts[0], mounts[1]);
    let script = format!(
        "#!/bin/sh\ncommand=$1; shift\n[ $command = build ] && more='{build}' || more={data}\nexec podman $command $more \"$@\"\n"
    );
    write(&docker, &script);
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).expect("a program");
    let step = |name: &str| run_step(&podman, "jsonl", name, &config);
    step("Build the image");
    let report = step("Prove that the connector loses nothing");
    assert!(report.contains("nothing was lost"), "{report}");
    podman.assert_no_container();
}

/// Runs a step of the workflow in a shim's directory, with the programs in `bin`. Returns its stdout.
fn run_step(podman: &Podman, shim: &str, name: &str, config: &Value) -> String {
    let workflow = fs::read_to_string(podman.path("desk").join(shim).join(".github/workflows/ci.yml"));
    let workflow: Value = serde_saphyr::from_str(&workflow.expect("a workflow")).expect("YAML");
    let steps = workflow["jobs"]["image"]["steps"].as_array().expect("steps");
    let step = steps.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("there is no step {name}"));
    let path = format!("{}:{}", podman.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command.args(["-e", "-c", step["run"].as_str().expect("a command")]).envs(podman.environment());
    command.env("PATH", path).env("IMAGE", "localhost/flow:sha").env("CONNECTOR_CONFIG", config.to_string());
    let output = command.current_dir(podman.path("desk")).output().expect("bash runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs images: tests/run --images"]
fn the_image_from_scratch_holds_the_binary_alone() {
    let podman = podman();
    let cargo = podman.path("cargo");
    write(&cargo, CARGO);
    let executable = Command::new("chmod").arg("+x").arg(&cargo).status().expect("chmod");
    assert!(executable.success());
    let mounts = [(cargo, "/usr/local/bin/cargo"), (podman.path("desk"), "/built")];
    let mounts = mounts.map(|(it, at)| format!("--volume={}:{at}:ro", it.display()));
    let image = "localhost/flow-shim";
    podman.build(repository(), "Dockerfile", image, &[&mounts[0], &mounts[1]]).expect("the image");

    let container = podman.path("container");
    podman.run(&["create", "--name=scratch", image]).expect("a container");
    podman.run(&["export", "--output", &container.to_string_lossy(), "scratch"]).expect("its files");
    podman.run(&["rm", "scratch"]).expect("no container");
    let listed = Command::new("tar").arg("-tvf").arg(container).output().expect("tar");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let files: Vec<&str> = listed.lines().filter(|it| it.starts_with('-') && !it.contains(" 0 ")).collect();
    assert!(files.len() == 1 && files[0].ends_with(" flow-shim"), "{listed}");

    let shim = format!("--volume={}:/demo:ro", repository().join("shims/demo").display());
    let preview = |more: &[&str], arguments: &[&str]| {
        let mut command = contained(image, more);
        command.extend(arguments.iter().map(OsString::from));
        let command: Vec<&str> = command.iter().skip(1).filter_map(|it| it.to_str()).collect();
        String::from_utf8(podman.run(&command).expect("it runs").stdout).expect("text")
    };
    assert_eq!(preview(&[], &["--version"]).trim(), concat!("flow-shim ", env!("CARGO_PKG_VERSION")));
    let printed = preview(&[&shim], &["preview", "--shim", "/demo"]);
    assert_eq!(printed.lines().count(), 300, "{printed}");
    podman.assert_no_container();
}
