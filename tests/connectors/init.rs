//! `flow-shim init` recognises installed connectors and their versions.

use serde_json::json;

use crate::command::Desk;
use crate::sources::environment;

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn a_real_source_and_a_real_tap_are_known_with_their_versions() {
    let desk = Desk::new();
    std::os::unix::fs::symlink(environment("tap-jsonl"), desk.path("tap")).expect("a link");
    let faker = environment("faker").join("bin/source-faker").to_string_lossy().into_owned();
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
