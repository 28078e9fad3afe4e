//! Difficult values from real databases: a tap's output is captured byte for byte.

use std::fs;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::runtime::{Binding, Runtime, Session};
use crate::servers::{Kind, Server};
use crate::sources::{PATIENCE, tap};

/// A tap, and a file with a copy of its output.
struct Overheard {
    runtime: Runtime,
    folder: TempDir,
}

impl Overheard {
    fn new(environment: &str, command: &str, config: Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = tap(environment, command).remove(0);
        let script = format!("{program} \"$@\" | tee -a {}/said", folder.path().display());
        let arguments = ["--protocol", "singer", "--", "bash", "-o", "pipefail", "-c", &script, "tap"];
        let runtime = Runtime::shim(arguments).config(config).secret(PASSWORD).patience(PATIENCE);
        Self { runtime, folder }
    }

    fn bindings(&self, method: &str) -> Vec<Binding> {
        let discovered = self.runtime.discover();
        let bindings = discovered["bindings"].as_array().expect("bindings").iter();
        bindings
            .map(|it| {
                let key: Vec<&str> = it["key"].as_array().expect("a key").iter().filter_map(Value::as_str).collect();
                Binding::of_resource(json!({"stream": it["resourceConfig"]["stream"], "replicationMethod": method}))
                    .key(key)
            })
            .collect()
    }

    /// Runs one session and compares its documents with the tap's output.
    fn capture(&self, bindings: &[Binding]) -> Session {
        let said = self.folder.path().join("said");
        let _ = fs::remove_file(&said);
        let session = self.runtime.open(bindings, &json!({})).run().expect_clean();
        let said = fs::read_to_string(said).expect("what the tap said");
        let records: Vec<String> = said.lines().filter_map(record).collect();
        assert_eq!(session.documents.len(), records.len());
        for (document, record) in session.documents.iter().zip(records) {
            if record.contains(r#""_meta":"#) {
                // The record's own `_meta` is merged into the shim's.
                continue;
            }
            // `_meta` is inserted after the opening brace.
            let (_, rest) = document.text.split_once("},").expect("a document that begins with _meta");
            assert!(rest == &record[1..], "{}\n{}", cut(rest), cut(&record));
        }
        session
    }
}

/// The payload of a RECORD, verbatim. The test data has no strings that contain NaN.
fn record(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        record: Option<&'a RawValue>,
    }
    let line = line.replace("NaN", "null").replace("-Infinity", "null").replace("Infinity", "null");
    let message: Message = serde_json::from_str(&line).ok()?;
    Some(message.record?.get().to_owned())
}

fn cut(text: &str) -> String {
    text.chars().take(600).collect()
}

const PASSWORD: &str = "s3cret-of-the-db";

fn postgres_taps(server: &Server, database: &str) -> [Overheard; 2] {
    let config = json!({"host": "127.0.0.1", "port": server.port, "user": "postgres", "password": PASSWORD});
    let with = |more: Value| {
        let mut config = config.clone();
        config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        config
    };
    [
        Overheard::new("meltanolabs-tap-postgres", "tap-postgres", with(json!({"database": database}))),
        Overheard::new("pipelinewise-tap-postgres", "tap-postgres", with(json!({"dbname": database}))),
    ]
}

fn maria_db_taps(server: &Server, databases: &str) -> [Overheard; 2] {
    let port = server.port;
    let (one, other) = (
        json!({"host": "127.0.0.1", "port": port, "user": "tap", "password": PASSWORD, "engine": "mariadb", "filter_dbs": databases}),
        json!({"host": "127.0.0.1", "port": port.to_string(), "user": "tap", "password": PASSWORD, "filter_dbs": databases}),
    );
    [Overheard::new("pipelinewise-tap-mysql", "tap-mysql", one), Overheard::new("tap-mysql", "tap-mysql", other)]
}

fn create(server: &Server, kind: Kind, databases: &[&str]) {
    for database in databases {
        match kind {
            Kind::Postgres => server.run("postgres", &format!("create database {database}")),
            Kind::MariaDb => server.run("mysql", &format!("create database {database}")),
        };
    }
    if kind == Kind::MariaDb {
        let grants = databases.iter().map(|it| format!("grant all on {it}.* to tap;")).collect::<String>();
        server.run("mysql", &format!("create user tap identified by '{PASSWORD}'; {grants}"));
    }
}

fn documents<'a>(session: &'a Session, bindings: &[Binding], stream: &str) -> Vec<&'a str> {
    let index = bindings.iter().position(|it| it.name() == stream).expect("the stream is bound");
    session.documents_of(index).collect()
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn values_of_postgres_arrive() {
    let server = Server::postgres();
    create(&server, Kind::Postgres, &["hurt"]);
    server.run(
        "hurt",
        "create schema other;
         create table numbers (id bigint primary key, exact numeric(60,20), any_numeric numeric, double double precision, real real);
         insert into numbers values
           (1, 1234567890123456789012345678901234567890.12345678901234567890, 0.1234567890123456789012345678901234567890, 0.1, 1e-30),
           (9223372036854775807, -0.00000000000000000001, 1e30, 1.7976931348623157e308, 3.4e38),
           (3, null, 'NaN', 'NaN', 'NaN'), (4, null, null, 'Infinity', '-Infinity');
         create table texts (id int primary key, big text, odd text, json jsonb, list int[], texts text[]);
         insert into texts values (1, repeat('é', 1000000), E'tab\\t quote\" back\\\\ \\u2028', '{\"a\": [null, {\"b\": 1.50}], \"meta\": 5}', '{1,null,3}', '{null,null}');
         create table times (id int primary key, naive timestamp, aware timestamptz, d date, t time, tz timetz, i interval);
         insert into times values (1, '2024-01-01 00:07:00', '2024-01-01 00:07:00.123456+02', '0044-03-15', '23:59:59.999999', '12:00:00+05:30', '-1 day -11:25:04'),
           (2, '9999-12-31 23:59:59', '1800-01-01 00:00:00+00', '9999-12-31', '00:00', null, null);
         create table empty (id int primary key, a numeric);
         create table keyless (a int, _meta text);
         insert into keyless values (1, 'x'), (1, 'x'), (null, null);
         create table \"A Name/with ~ more\" (\"Key/with~odd\" int primary key, \"ü\" text);
         insert into \"A Name/with ~ more\" values (1, 'ü');
         create table same (id int primary key); insert into same values (1);
         create table other.same (id int primary key); insert into other.same values (2), (3);",
    );
    for overheard in postgres_taps(&server, "hurt") {
        let mut bindings = overheard.bindings("FULL_TABLE");
        // One of the two taps discovers the server's own views, too.
        bindings.retain(|it| it.name().starts_with("public-") || it.name().starts_with("other-"));
        let session = overheard.capture(&bindings);
        let of = |stream: &str| documents(&session, &bindings, stream);
        assert_eq!(of("public-numbers").len(), 4);
        assert!(
            of("public-numbers")[0].contains("1234567890123456789012345678901234567890.1234567890"),
            "{}",
            of("public-numbers")[0]
        );
        assert!(of("public-texts")[0].len() > 1_000_000);
        assert_eq!((of("public-times").len(), of("public-empty").len(), of("public-keyless").len()), (2, 0, 3));
        assert_eq!((of("public-same").len(), of("other-same").len()), (1, 2));
    }
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn values_of_maria_db_arrive() {
    let server = Server::maria_db();
    create(&server, Kind::MariaDb, &["hurt", "other"]);
    server.run(
        "hurt",
        "create table numbers (id bigint unsigned primary key, exact decimal(65,30), dbl double, flt float, bits bit(8), yes tinyint(1));
         insert into numbers values (18446744073709551615, 12345678901234567890123456789012345.123456789012345678901234567890, 0.1, 1e-30, b'101', 1),
           (2, -0.000000000000000000000000000001, 1.7976931348623157e308, 3.4e38, null, null);
         create table texts (id int primary key, big longtext, odd varchar(100), js json);
         insert into texts values (1, repeat('é', 1000000), concat('nul', char(0), 'tab\\t \"quoted\" back\\\\'), '{\"a\": [null, 1.50]}');
         create table times (id int primary key, naive datetime(6), stamp timestamp, d date, t time, y year);
         insert into times values (1, '2024-01-01 00:07:00.123456', '2024-01-01 00:07:00', '1000-01-01', '23:59:59', 2024);
         create table empty (id int primary key, a decimal(5,2));
         create table keyless (a int, _meta text);
         insert into keyless values (1, 'x'), (1, 'x'), (null, null);
         create table same (id int primary key); insert into same values (1);
         create table other.same (id int primary key); insert into other.same values (2), (3);",
    );
    for overheard in maria_db_taps(&server, "hurt,other") {
        let mut bindings = overheard.bindings("FULL_TABLE");
        // One of the two taps discovers more tables than requested.
        bindings.retain(|it| it.name().starts_with("hurt-") || it.name().starts_with("other-"));
        let session = overheard.capture(&bindings);
        let of = |stream: &str| documents(&session, &bindings, stream);
        assert!(of("hurt-numbers").iter().any(|it| it.contains("18446744073709551615")));
        assert!(of("hurt-texts")[0].len() > 1_000_000 && of("hurt-texts")[0].contains("nul\\u0000tab"));
        assert_eq!((of("hurt-times").len(), of("hurt-empty").len(), of("hurt-keyless").len()), (1, 0, 3));
        assert_eq!((of("hurt-same").len(), of("other-same").len()), (1, 2));
    }
}

fn five_hundred_tables() -> String {
    let table =
        |n: u32| format!("create table t{n} (id int primary key, a varchar(10)); insert into t{n} values ({n}, 'x');");
    (1..=500).map(table).collect()
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn five_hundred_tables_of_postgres_arrive() {
    let server = Server::postgres();
    create(&server, Kind::Postgres, &["many"]);
    server.run("many", &five_hundred_tables());
    for overheard in postgres_taps(&server, "many") {
        let mut bindings = overheard.bindings("FULL_TABLE");
        bindings.retain(|it| it.name().starts_with("public-"));
        assert_eq!(bindings.len(), 500);
        assert_eq!(overheard.capture(&bindings).documents.len(), 500);
    }
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn five_hundred_tables_of_maria_db_arrive() {
    let server = Server::maria_db();
    create(&server, Kind::MariaDb, &["many"]);
    server.run("many", &five_hundred_tables());
    for overheard in maria_db_taps(&server, "many") {
        let mut bindings = overheard.bindings("FULL_TABLE");
        bindings.retain(|it| it.name().starts_with("many-"));
        assert_eq!(bindings.len(), 500);
        assert_eq!(overheard.capture(&bindings).documents.len(), 500);
    }
}
