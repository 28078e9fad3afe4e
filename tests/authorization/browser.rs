//! The user who signs in, and their browser.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use super::{CLIENT_ID, CLIENT_SECRET};
use crate::command::flow_shim;

/// Runs `flow-shim oauth` and returns the config that it writes; `source` are the arguments that name the connector.
pub fn sign_in(config: &Value, source: &[String]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = folder.path().join("config.json");
    let mut arguments: Vec<String> =
        ["oauth", "--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET].map(Into::into).into();
    arguments.extend(["--port".into(), port.to_string(), "--config".into(), config.to_string()]);
    arguments.extend(["--output".into(), file.to_string_lossy().into_owned()]);
    arguments.extend_from_slice(source);
    let mut child = flow_shim(arguments).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    let url = loop {
        let mut line = String::new();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended: {told}");
        told += &line;
        if line.trim_start().starts_with("http") {
            break line.trim().to_owned();
        }
    };
    let browser: ureq::Agent =
        ureq::Agent::config_builder().max_redirects(0).http_status_as_error(false).build().into();
    // Unrelated requests are ignored.
    let forged = browser.get(format!("http://localhost:{port}/?code=x&state=forged")).call().unwrap();
    assert_eq!(forged.status(), 400);
    assert_eq!(browser.get(format!("http://localhost:{port}/favicon.ico")).call().unwrap().status(), 404);
    let mut answer = browser.get(&url).call().unwrap();
    let location = answer.headers().get("location").cloned();
    let location = location.unwrap_or_else(|| panic!("{url}: {}", answer.body_mut().read_to_string().unwrap()));
    assert_eq!(browser.get(location.to_str().unwrap()).call().unwrap().status(), 200);
    let status = child.wait().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    assert!(status.success(), "{told}");
    for secret in [CLIENT_SECRET, "acce55-token", "refre5h-token", "nested-token"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap()
}
