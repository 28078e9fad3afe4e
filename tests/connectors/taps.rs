//! Taps of files and of a REST API, real ones: spec, discovery, three sessions.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::runtime::{Binding, Runtime};
use crate::sources::{PATIENCE, tap};

fn runtime(name: &str, config: Value) -> Runtime {
    let mut arguments = vec!["--protocol".to_owned(), "singer".to_owned(), "--".to_owned()];
    arguments.extend(tap(name, name));
    Runtime::shim(arguments).config(config).secret("s3cret-of-the-api").patience(PATIENCE)
}

/// Discovers all streams and captures them three times; returns the number of documents per session.
fn three_sessions(runtime: &Runtime, change: impl Fn(usize)) -> Vec<Vec<String>> {
    runtime.spec();
    let discovered = runtime.discover();
    let bindings: Vec<Binding> =
        discovered["bindings"].as_array().expect("bindings").iter().map(Binding::of_discovered).collect();
    assert!(!bindings.is_empty());
    runtime.validate(&bindings);
    runtime.apply(&bindings, serde_json::json!({}));
    let mut state = json!({});
    (0..3)
        .map(|session| {
            change(session);
            let done = runtime.open(&bindings, &state).run().expect_clean();
            state = done.state;
            done.documents.into_iter().map(|it| it.text).collect()
        })
        .collect()
}

fn counts(sessions: &[Vec<String>]) -> Vec<usize> {
    sessions.iter().map(Vec::len).collect()
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn tap_jsonl() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |id: u32| format!(r#"{{"id": {id}, "n": 12345678901234567890123, "list": [null, {{"a": 1.50}}]}}"#);
    let path = write(&folder, "a.jsonl", &format!("{}\n{}\n", line(1), line(2)));
    let sessions = three_sessions(&runtime("tap-jsonl", json!({"path": path, "primary_keys": ["id"]})), |session| {
        if session == 2 {
            write(&folder, "a.jsonl", &format!("{}\n{}\n{}\n", line(1), line(2), line(3)));
        }
    });
    // An unchanged file is read again: the tap includes files that are as new as its bookmark.
    assert_eq!(counts(&sessions), [2, 2, 3]);
    assert!(sessions[0][0].contains("12345678901234567890123"), "{}", sessions[0][0]);
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn tap_csv_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = tempfile::tempdir().expect("a folder");
    write(&data, "people.csv", "id,name\n1,a\n2,\"b, c\"\n");
    write(&data, "places.csv", "id,name\n1,x\n");
    let [command] = tap("tap-csv-folder", "tap-csv-folder").try_into().expect("a program");
    // The tap crashes if it gets a catalog.
    let shim = format!("protocol: singer\ncommand: [{command}]\ncatalog: none\n");
    let shim = write(&folder, "shim.yaml", &shim);
    let config = json!({"path": data.path(), "read_mode": "one_stream_per_file"});
    let sessions = three_sessions(&Runtime::shim(["--shim", &shim]).config(config), |_| ());
    assert_eq!(counts(&sessions), [3, 3, 3]);
    assert!(sessions[0].iter().any(|it| it.contains("b, c")));
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn tap_spreadsheets() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(&folder, "a.csv", "id,name,at\n1,a,2024-01-01\n2,b,2024-01-02\n");
    let config = json!({"files": [{"path": path, "format": "csv", "table_name": "a", "primary_keys": ["id"]}]});
    assert_eq!(counts(&three_sessions(&runtime("tap-spreadsheets", config), |_| ())), [2, 0, 0]);
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn tap_rest_api_msdk() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream);
        }
    });
    let config = json!({
        "api_url": url, "auth_method": "bearer_token", "bearer_token": "s3cret-of-the-api",
        "streams": [
            {"name": "users", "path": "/users", "primary_keys": ["id"], "records_path": "$.items[*]"},
            {"name": "notes", "path": "/notes", "records_path": "$.items[*]"},
        ],
    });
    let sessions = three_sessions(&runtime("tap-rest-api-msdk", config), |_| ());
    // Two streams of a hundred rows each; there are no new rows.
    assert_eq!(counts(&sessions), [200, 200, 200]);
}

fn answer(mut stream: std::net::TcpStream) {
    let Ok(reader) = stream.try_clone() else { return };
    for line in BufReader::new(reader).lines().map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
    }
    let items: Vec<Value> = (0..100).map(|id| json!({"id": id, "name": format!("n{id}")})).collect();
    let body = json!({"items": items}).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length";
    let _ = write!(stream, "{head}: {}\r\n\r\n{body}", body.len());
}
