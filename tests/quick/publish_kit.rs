//! `flow-shim publish-kit` with a fake encryption service.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::command::{Desk, Run, flow_shim, timeless};
use crate::services::{Answer, ENCRYPT_CONFIG, Services};

const CONFIG: &str = "shop: corner-coffee\napi_key: demo-s3cret\ncount: 12\n";
const IMAGE: &str = "ghcr.io/acmeco/source-demo-flow:v1";

fn kit(desk: &Desk, services: &Services, more: &[&str]) -> Run {
    let mut command = flow_shim(["publish-kit", "--config", "config.yaml", "--push", IMAGE]);
    command.args(more).current_dir(desk.folder()).env("ENCRYPTION_URL", format!("{}{ENCRYPT_CONFIG}", services.url));
    Run::from(command.output().unwrap())
}

const DEMO: [&str; 6] = ["--airbyte", "source-demo", "shims/demo", "--", "flow-shim", "demo-source"];

#[test]
fn a_package_becomes_a_capture_that_can_be_published() {
    let (desk, services) = (Desk::new(), Services::well());
    desk.write("config.yaml", CONFIG);
    let run = kit(&desk, &services, &DEMO).ok();
    let (report, next) = run.stdout.split_once("\nWritten:").unwrap();
    assert!(report.contains("Verdict    nothing was lost"), "{report}");

    // Only what the schema marks is encrypted, with the schema's defaults beside it.
    let config: Value = serde_json::from_str(&desk.read("shims/demo/publish/config.sops.json")).unwrap();
    assert!(config["api_key_sops"].as_str().unwrap().starts_with("ENC["), "{config}");
    assert_eq!((&config["shop"], &config["count"]), (&json!("corner-coffee"), &json!(12)));
    assert!(config["sops"].is_object());
    let mode = std::fs::metadata(desk.path("shims/demo/publish/config.sops.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let schema = &services.bodies(ENCRYPT_CONFIG)[0]["schema"];
    assert_eq!(schema["properties"]["api_key"]["secret"], true);

    let flow = desk.yaml("shims/demo/publish/flow.yaml");
    let capture = &flow["captures"]["acmeCo/demo/capture"];
    let endpoint = json!({"connector": {"image": IMAGE, "config": "config.sops.json"}});
    assert_eq!(capture["endpoint"], endpoint);
    assert_eq!(capture["bindings"].as_array().map(Vec::len), Some(3));
    assert!(flow["collections"]["acmeCo/demo/customers"]["readSchema"].is_object());

    // The plain secret is nowhere but where the user has put it.
    let everything =
        std::process::Command::new("grep").args(["-rl", "demo-s3cret", "."]).current_dir(desk.folder()).output();
    assert_eq!(String::from_utf8(everything.unwrap().stdout).unwrap().trim(), "./config.yaml");
    insta::assert_snapshot!(format!("Written:{next}"));

    let again = kit(&desk, &services, &["shims/demo"]);
    assert!(
        again.last_line().contains("config.sops.json already exists")
            || again.last_line().contains("flow.yaml already exists")
    );
}

#[test]
fn nothing_is_published_if_something_is_wrong() {
    let desk = Desk::new();
    desk.write("config.yaml", CONFIG);
    let mut said = Vec::new();
    let mut fail = |services: Services, arguments: &[&str]| {
        let run = kit(&desk, &services, arguments);
        assert_ne!(run.code, Some(0), "{arguments:?}: {}", run.stdout);
        assert!(!run.stderr.contains("s3cret") && !desk.path("shims/demo/publish").exists(), "{}", run.stderr);
        said.push(timeless(run.stderr.lines().rev().find(|it| it.contains("ERROR")).unwrap()));
    };
    fail(Services::well(), &["shims/demo"]);
    fail(Services::start(|_, _| Answer::Status(500, "demo-s3cret".to_owned())), &[&["--no-prove"][..], &DEMO].concat());
    fail(
        Services::start(|_, _| Answer::Status(200, "{\"api_key\": \"demo-s3cret\"}".to_owned())),
        &["--no-prove", "shims/demo"],
    );
    fail(Services::well(), &DEMO);
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn image_names_are_as_flow_takes_them() {
    for (name, said) in [
        ("acmeco/x:v1", "its registry and a tag"),
        ("ghcr.io/acmeco/x", "it needs a tag"),
        ("ghcr.io/AcmeCo/x:v1", "lower case: ghcr.io/acmeco/x:v1"),
        ("ghcr.io/acmeco/x:v 1", "letters, digits and -_./: only"),
    ] {
        let run = Run::from(flow_shim(["publish-kit", "--push", name, "dir"]).output().unwrap());
        assert_eq!(run.code, Some(2));
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    for prefix in ["acme co", "acmeCo//x", ""] {
        let arguments = ["publish-kit", "--push", IMAGE, "--prefix", prefix, "dir"];
        let run = Run::from(flow_shim(arguments).output().unwrap());
        assert!(run.code == Some(2) && run.stderr.contains("names in Flow have letters"), "{}", run.stderr);
    }
}
