//! A source in a container: the image's user can read its files, and the container is removed whenever the shim ends.
//! The image is the demo source in an otherwise empty root, or a Fivetran connector on Debian's Python.

use std::fs;
use std::io;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::podman::Podman;
use crate::runtime::{Binding, Runtime, Session, Then, When, repository};

const IMAGE: &str = "localhost/flow-shim-demo";
const SECRET: &str = "demo-s3cret";

/// A podman with the image.
fn podman() -> Podman {
    Podman::with(|podman| {
        let (root, tar) = (podman.path("root"), podman.path("root.tar"));
        fs::create_dir(&root)?;
        fs::copy(env!("CARGO_BIN_EXE_flow-shim"), root.join("flow-shim"))?;
        let packed = Command::new("tar").args(["-c", "-f"]).args([&tar]).arg("-C").arg(&root).arg(".").status()?;
        if !packed.success() {
            return Err(io::Error::other("tar failed"));
        }
        podman.import(&tar, &[r#"ENTRYPOINT ["/flow-shim","demo-source"]"#, "USER 12345:12345"], IMAGE)?;
        podman.run(&["run", "--rm", IMAGE, "spec"]).map(drop)
    })
}

/// The shim around the image. Everything must be gone within 10 seconds after a signal (F11).
fn shim_of(podman: &Podman, config: Value) -> Runtime {
    around(podman, &["--image", IMAGE], config)
}

fn around(podman: &Podman, arguments: &[&str], config: Value) -> Runtime {
    let shim = Runtime::shim(arguments.iter().copied()).config(config).secret(SECRET).patience(Duration::from_secs(20));
    podman.environment().into_iter().fold(shim, |shim, (name, value)| shim.env(name, value))
}

fn config(count: u64) -> Value {
    json!({"shop": "corner-coffee", "api_key": SECRET, "count": count})
}

fn expect_no_breach(session: &Session) {
    assert!(session.end.broken.is_empty(), "{:?}", session.end.broken);
}

#[test]
#[ignore = "needs images: tests/run --images"]
fn a_source_in_an_image_is_captured_and_its_container_goes_with_the_shim() {
    let podman = podman();
    let shim = shim_of(&podman, config(100));
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

    // More than the test reads.
    let endless = shim_of(&podman, config(1_000_000_000));
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
#[ignore = "needs images: tests/run --images"]
fn an_image_that_is_not_there_is_one_sentence() {
    let podman = podman();
    let environment = podman.environment();
    let missing = Runtime::shim(["--image", "localhost/no-such-image:1"]);
    let missing = environment.into_iter().fold(missing, |shim, (name, value)| shim.env(name, value));
    let answer = missing.ask_spec();
    assert_eq!(answer.end.exit.code(), Some(1));
    assert!(answer.end.broken.is_empty(), "{:?}", answer.end.broken);
    let message = answer.end.last_message();
    assert!(message.contains("no-such-image") && !message.contains('\n'), "{message}");
}

#[test]
#[ignore = "needs images: tests/run --images"]
fn a_fivetran_connector_in_an_image_is_reached_on_a_port_of_this_machine() {
    let podman = Podman::with_network(|podman| {
        podman.import(&repository().join("target/images/debian.tar"), &[], "localhost/debian")?;
        let desk = podman.path("desk");
        fs::create_dir(&desk)?;
        for name in ["counting-source", "scripted_server.py"] {
            fs::copy(repository().join("fixtures").join(name), desk.join(name))?;
        }
        let lines = [
            "FROM localhost/debian",
            "COPY . /connector/",
            "ENV LISTEN=0.0.0.0",
            "USER 12345:12345",
            r#"ENTRYPOINT ["/usr/bin/python3", "/connector/counting-source"]"#,
        ];
        fs::write(desk.join("Dockerfile"), lines.join("\n"))?;
        podman.build(&desk, "Dockerfile", "localhost/counting", &[])
    });
    let arguments = ["--protocol", "fivetran", "--image", "localhost/counting"];
    let shim = around(&podman, &arguments, json!({"count": "3000", "every": "7", "pad": "1000"}));
    let numbers = [Binding::of_resource(json!({"stream": "numbers"})).key(["/n"])];
    shim.validate(&numbers);
    let mut read = Vec::new();
    let mut state = json!({});
    for signal in [Some(Signal::KILL), Some(Signal::TERM), None] {
        let opening = shim.open(&numbers, &state);
        let session = match signal {
            Some(signal) => opening.when(When::Documents(500), Then::Signal(signal)).run(),
            None => opening.run().expect_clean(),
        };
        expect_no_breach(&session);
        podman.assert_no_container();
        read.extend(
            session.documents.iter().map(|it| serde_json::from_str::<Value>(&it.text).expect("JSON")["n"].clone()),
        );
        state = session.state;
    }
    assert!(read.iter().eq((1..=3000).map(Value::from).collect::<Vec<_>>().iter()), "{} documents", read.len());
}
