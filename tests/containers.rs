//! A source in a container: its files are readable for the image's user, and the container goes with the shim, however that ends.
//! The image is the demo source in an otherwise empty root. It needs a podman that can run containers, and is skipped visibly
//! where there is none.

mod runtime;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use runtime::{Binding, Runtime, Session, Then, When};

const IMAGE: &str = "localhost/flow-shim-demo";
const SECRET: &str = "demo-s3cret";

/// A podman with a storage of its own.
struct Podman {
    folder: TempDir,
}

impl Podman {
    /// With the image; none where podman can't run it.
    fn with_image() -> Option<Self> {
        let folder = TempDir::new().expect("a temporary folder");
        let podman = Self { folder };
        let works = podman
            .configure()
            .and_then(|()| podman.import())
            .and_then(|()| podman.run(&["run", "--rm", IMAGE, "spec"]));
        match works {
            Ok(_) => Some(podman),
            Err(why) => {
                // Past the capture of a test that passes.
                let _ = writeln!(io::stderr(), "SKIPPED: podman can't run containers here: {why}");
                None
            }
        }
    }

    fn configure(&self) -> io::Result<()> {
        let runtime = if Path::new("/usr/sbin/runc").exists() { "runtime = \"runc\"\n" } else { "" };
        // No network, and no more than any machine allows.
        let containers = format!(
            "[containers]\nnetns = \"none\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             [engine]\n{runtime}cgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"
        );
        let [graph, run] = ["graph", "run"].map(|it| self.path(it));
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            graph.display(),
            run.display()
        );
        fs::write(self.path("containers.conf"), containers)?;
        fs::write(self.path("storage.conf"), storage)
    }

    fn import(&self) -> io::Result<()> {
        let root = self.path("root");
        fs::create_dir(&root)?;
        fs::copy(env!("CARGO_BIN_EXE_flow-shim"), root.join("flow-shim"))?;
        let tar = self.path("root.tar");
        let packed = Command::new("tar").args(["-c", "-f"]).args([&tar]).arg("-C").arg(&root).arg(".").status()?;
        if !packed.success() {
            return Err(io::Error::other("tar failed"));
        }
        let tar = tar.to_string_lossy();
        let entrypoint = r#"ENTRYPOINT ["/flow-shim","demo-source"]"#;
        self.run(&["import", "--change", entrypoint, "--change", "USER 12345:12345", &tar, IMAGE]).map(drop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("CONTAINERS_CONF", self.path("containers.conf")), ("CONTAINERS_STORAGE_CONF", self.path("storage.conf"))]
    }

    fn run(&self, arguments: &[&str]) -> io::Result<Output> {
        let output = Command::new("podman").args(arguments).envs(self.environment()).stdin(Stdio::null()).output()?;
        match output.status.success() {
            true => Ok(output),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }

    /// The shim around the image. Everything has to be gone within 10 seconds of a signal (F11).
    fn shim(&self, config: Value) -> Runtime {
        let shim = Runtime::shim(["--image", IMAGE]).config(config).secret(SECRET).patience(Duration::from_secs(20));
        self.environment().into_iter().fold(shim, |shim, (name, value)| shim.env(name, value))
    }

    fn assert_no_container(&self) {
        let left = self.run(&["ps", "--all", "--quiet"]).expect("podman tells");
        assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "", "a container is left");
    }
}

fn config(count: u64) -> Value {
    json!({"shop": "corner-coffee", "api_key": SECRET, "count": count})
}

fn expect_no_breach(session: &Session) {
    assert!(session.end.broken.is_empty(), "{:?}", session.end.broken);
}

#[test]
fn a_source_in_an_image_is_captured_and_its_container_goes_with_the_shim() {
    let Some(podman) = Podman::with_image() else { return };
    let shim = podman.shim(config(100));
    assert_eq!(shim.spec()["configSchema"]["required"], json!(["shop", "api_key"]));
    let discovered = shim.discover();
    let bindings: Vec<Binding> =
        discovered["bindings"].as_array().expect("bindings").iter().map(Binding::of_discovered).collect();
    shim.validate(&bindings);
    podman.assert_no_container();

    let first = shim.open(&bindings, &json!({})).run().expect_clean();
    assert_eq!([0, 1, 2].map(|it| first.documents_of(it).count()), [100, 100, 100]);
    let second = shim.open(&bindings, &first.state).run().expect_clean();
    assert_eq!(second.documents_of(0).count(), 10, "the state has reached it");
    podman.assert_no_container();

    // More than anybody waits for.
    let endless = podman.shim(config(1_000_000_000));
    let customers = &bindings[..1];
    for signal in [Signal::KILL, Signal::TERM] {
        let stopped = endless.open(customers, &json!({})).when(When::Documents(2_000), Then::Signal(signal)).run();
        expect_no_breach(&stopped);
        podman.assert_no_container();
    }
    let stopped = endless.open(customers, &json!({})).when(When::Documents(2_000), Then::CloseStdout).run();
    expect_no_breach(&stopped);
    podman.assert_no_container();
}

#[test]
fn an_image_that_is_not_there_is_one_sentence() {
    let Some(podman) = Podman::with_image() else { return };
    let environment = podman.environment();
    let missing = Runtime::shim(["--image", "localhost/no-such-image:1"]);
    let missing = environment.into_iter().fold(missing, |shim, (name, value)| shim.env(name, value));
    let answer = missing.ask_spec();
    assert_eq!(answer.end.exit.code(), Some(1));
    assert!(answer.end.broken.is_empty(), "{:?}", answer.end.broken);
    let message = answer.end.last_message();
    assert!(message.contains("no-such-image") && !message.contains('\n'), "{message}");
}
