//! Real sources of files, behind their shims: CSV, JSONL and Parquet on an S3 and an SFTP server, read incrementally, and files that
//! are transferred.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::runtime::{Binding, Runtime, Session, repository};
use crate::shims;
use crate::sources::{PATIENCE, environment, tap};

const PASSWORD: &str = "s3cret-of-the-files";

/// A Parquet file at the path of the first argument; the second one is a number that makes its rows different.
const PARQUET: &str = "
import sys, pyarrow, pyarrow.parquet
n = int(sys.argv[2])
times = pyarrow.array([1700000000000, 1700000001000], pyarrow.timestamp('ms'))
rows = {'id': [n * 10 + 1, n * 10 + 2], 'ratio': [1.5, float('nan')], 'big': [2**62, 5], 'at': times, 'raw': [b'abc', None]}
pyarrow.parquet.write_table(pyarrow.table(rows), sys.argv[1])
";

/// The servers, which end with their stdin.
struct Servers {
    child: Child,
    s3: u16,
    sftp: u16,
    /// The files of the SFTP server.
    folder: TempDir,
}

impl Servers {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let python = environment("file-servers").join("bin/python");
        let mut child = Command::new(python)
            .arg(repository().join("fixtures/file-servers"))
            .arg(folder.path())
            .arg(PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts");
        let mut ports = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut ports).expect("the servers' ports");
        let (s3, sftp) = ports.trim().split_once(' ').expect("two ports");
        let (s3, sftp) = (s3.parse().expect("a port"), sftp.parse().expect("a port"));
        let servers = Self { child, s3, sftp, folder };
        servers.put("", Vec::new());
        servers
    }

    /// Puts three more files of two rows each on both servers.
    fn add(&self, n: usize, python: &Path) {
        let csv = format!("id,name\n{n}1,ä\n{n}2,\"b, c\"\n");
        let jsonl = format!("{{\"id\":{n}1,\"x\":{{\"y\":[1,null]}}}}\n{{\"id\":{n}2,\"x\":null}}\n");
        let parquet = self.folder.path().join(format!("{n}.parquet"));
        let status = Command::new(python).args(["-c", PARQUET]).arg(&parquet).arg(n.to_string()).status();
        assert!(status.expect("Python starts").success());
        fs::write(self.folder.path().join(format!("{n}.csv")), csv).expect("a file");
        fs::write(self.folder.path().join(format!("{n}.jsonl")), jsonl).expect("a file");
        for end in ["csv", "jsonl", "parquet"] {
            let name = format!("{n}.{end}");
            self.put(&format!("/{name}"), fs::read(self.folder.path().join(&name)).expect("a file"));
        }
    }

    /// Creates the bucket, or an object in it.
    fn put(&self, name: &str, content: Vec<u8>) {
        let key = "AWS4-HMAC-SHA256 Credential=key/20240101/us-east-1/s3/aws4_request";
        let url = format!("http://127.0.0.1:{}/bucket{name}", self.s3);
        ureq::put(&url).header("Authorization", key).send(&content).expect("the server takes it");
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn files_on_s3_are_captured() {
    let servers = Servers::start();
    let config = json!({
        "bucket": "bucket", "endpoint": format!("http://127.0.0.1:{}", servers.s3), "region_name": "us-east-1",
        "aws_access_key_id": "key", "aws_secret_access_key": PASSWORD,
    });
    check("s3", &servers, &config);
}

#[test]
#[ignore = "needs connectors: tests/run --connectors"]
fn files_on_an_sftp_server_are_captured() {
    let servers = Servers::start();
    let config = json!({
        "host": "127.0.0.1", "port": servers.sftp, "username": "user", "folder_path": "/",
        "credentials": {"auth_type": "password", "password": PASSWORD},
    });
    check("sftp-bulk", &servers, &config);
}

/// A session. Seldom (once in some hundred runs) Python aborts source-s3 at its end, with threads that still run: then it is
/// repeated, once.
fn read(runtime: &Runtime, bindings: &[Binding], state: &Value) -> Session {
    let run = || runtime.open(bindings, state).run();
    let first = run();
    let is_abort = |line: &str| line.contains("signal 6") || line.contains("Fatal Python error");
    let session = if first.end.logs.iter().any(|it| is_abort(&it.line)) { run() } else { first };
    session.expect_clean()
}

fn check(name: &str, servers: &Servers, login: &Value) {
    let nltk = nltk_data();
    let python = environment(name).join("bin/python");
    let runtime = |delivery: Value, streams: Value| {
        let mut config = login.clone();
        config["delivery_method"] = delivery;
        config["streams"] = streams;
        let shim = repository().join("shims").join(name).display().to_string();
        let command = tap(name, &format!("source-{name}")).remove(0);
        let runtime = Runtime::shim(["--shim".to_owned(), shim, "--".into(), command]).config(config);
        runtime.secret(PASSWORD).patience(PATIENCE).env("NLTK_DATA", nltk.path())
    };
    let stream = |name: &str, files: &str, format: Value| json!({"name": name, "globs": [files], "format": format});
    let records = runtime(
        json!({"delivery_type": "use_records_transfer"}),
        json!([
            stream("csv", "**/*.csv", json!({"filetype": "csv"})),
            stream("jsonl", "**/*.jsonl", json!({"filetype": "jsonl"})),
            stream("parquet", "**/*.parquet", json!({"filetype": "parquet"})),
        ]),
    );
    shims::check_example(name, &records.spec()["configSchema"]);
    servers.add(1, &python);
    let bindings = discover(&records);
    records.validate(&bindings);
    assert_eq!(bindings.iter().map(Binding::name).collect::<Vec<_>>(), ["csv", "jsonl", "parquet"]);
    let mut state = json!({});
    for n in 1..=3 {
        if n > 1 {
            servers.add(n, &python);
        }
        let session = read(&records, &bindings, &state);
        let wanted = [
            [format!(r#""id":"{n}1","name":"ä","#), format!(r#""id":"{n}2","name":"b, c","#)],
            [format!(r#""id":{n}1,"x":{{"y":[1,null]}},"#), format!(r#""id":{n}2,"#)],
            [
                format!(r#""id":{n}1,"ratio":1.5,"big":4611686018427387904,"at":"2023-11-14T22:13:20Z","raw":"abc","#),
                format!(r#""id":{n}2,"ratio":null,"big":5,"at":"2023-11-14T22:13:21Z","#),
            ],
        ];
        for (binding, rows) in wanted.iter().enumerate() {
            let documents: Vec<&str> = session.documents_of(binding).collect();
            assert_eq!(documents.len(), 2, "only the new file: {documents:?}");
            for (document, row) in documents.iter().zip(rows) {
                assert!(document.contains(row), "{document} has no {row}");
            }
        }
        state = session.state;
    }

    let transfer = || {
        let delivery = json!({"delivery_type": "use_file_transfer", "preserve_directory_structure": true});
        runtime(delivery, json!([stream("files", "**", json!({"filetype": "unstructured"}))]))
    };
    // The runtime checks that nothing is left below its TMPDIR.
    let bindings = discover(&transfer());
    assert_eq!(bindings[0].key, ["/_meta/row_id"], "the discovered key /document_key is not in the records");
    let session = read(&transfer(), &bindings, &json!({}));
    assert_eq!(session.documents.len(), 9);
    let staged = format!(r#""file":{{"staging_file_url":"{}"#, std::env::temp_dir().display());
    assert!(session.documents.iter().all(|it| it.text.contains(&staged)), "{:?}", session.documents);

    let kept = TempDir::new().expect("a folder");
    let runtime = transfer().env("AIRBYTE_STAGING_DIRECTORY", kept.path());
    let session = read(&runtime, &bindings, &json!({}));
    for document in session.documents {
        let document: Value = serde_json::from_str(&document.text).expect("JSON");
        let path = Path::new(document["_meta"]["file"]["staging_file_url"].as_str().expect("a path")).to_owned();
        let length = fs::metadata(&path).expect("the user's own directory is kept").len();
        assert!(path.starts_with(kept.path()) && document["_meta"]["file"]["file_size_bytes"] == length, "{document}");
    }
}

fn discover(runtime: &Runtime) -> Vec<Binding> {
    let discovered = runtime.discover();
    let bindings = discovered["bindings"].as_array().expect("bindings").iter().map(Binding::of_discovered);
    bindings.collect()
}

/// Empty archives in place of the language data that the sources would download at each start, and don't need for these formats.
fn nltk_data() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let tokenizers = folder.path().join("tokenizers");
    fs::create_dir(&tokenizers).expect("a folder");
    let mut empty = b"PK\x05\x06".to_vec();
    empty.resize(22, 0);
    for name in ["punkt", "punkt_tab", "averaged_perceptron_tagger_eng"] {
        fs::write(tokenizers.join(format!("{name}.zip")), &empty).expect("an archive");
    }
    folder
}
