//! Real database taps against real servers: several sessions capture exactly the contents of the tables,
//! despite inserts, updates and deletions between sessions and a killed shim.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::runtime::{Binding, Document, Runtime, Then, When};
use crate::servers::{Kind, Server};
use crate::sources::{PATIENCE, tap};

const DATABASE: &str = "shop";

/// One of the four taps and its arguments.
struct Tap {
    environment: &'static str,
    command: &'static str,
    config: fn(&Server) -> Value,
    /// The prefix of a stream's id.
    prefix: &'static str,
    /// LOG_BASED starts with all existing rows.
    takes_snapshot: bool,
}

const MELTANOLABS_POSTGRES: Tap = Tap {
    environment: "meltanolabs-tap-postgres",
    command: "tap-postgres",
    config: |server| {
        json!({"host": "127.0.0.1", "port": server.port, "user": "postgres", "password": "s3cret-of-the-db",
               "database": DATABASE, "filter_schemas": ["public"], "replication_idle_exit_seconds": 2})
    },
    prefix: "public-",
    takes_snapshot: false,
};

const PIPELINEWISE_POSTGRES: Tap = Tap {
    environment: "pipelinewise-tap-postgres",
    command: "tap-postgres",
    config: |server| {
        json!({"host": "127.0.0.1", "port": server.port, "user": "postgres", "password": "s3cret-of-the-db",
               "dbname": DATABASE, "filter_schemas": "public", "tap_id": "test", "logical_poll_total_seconds": 3})
    },
    prefix: "public-",
    takes_snapshot: true,
};

const PIPELINEWISE_MYSQL: Tap = Tap {
    environment: "pipelinewise-tap-mysql",
    command: "tap-mysql",
    config: |server| {
        json!({"host": "127.0.0.1", "port": server.port, "user": "tap", "password": "s3cret-of-the-db",
               "database": DATABASE, "engine": "mariadb", "server_id": "4711"})
    },
    prefix: "shop-",
    takes_snapshot: true,
};

const MYSQL: Tap = Tap {
    environment: "tap-mysql",
    command: "tap-mysql",
    config: |server| {
        json!({"host": "127.0.0.1", "port": server.port.to_string(), "user": "tap", "password": "s3cret-of-the-db",
               "database": DATABASE, "server_id": "4712"})
    },
    prefix: "shop-",
    takes_snapshot: true,
};

impl Tap {
    fn runtime(&self, server: &Server) -> Runtime {
        let mut arguments = vec!["--protocol".to_owned(), "singer".to_owned(), "--".to_owned()];
        arguments.extend(tap(self.environment, self.command));
        Runtime::shim(arguments).config((self.config)(server)).secret("s3cret-of-the-db").patience(PATIENCE)
    }
}

/// A table `orders` with a key, a table `visits` without one, an empty table.
fn fill(server: &Server, kind: Kind) {
    match kind {
        Kind::Postgres => drop(server.run("postgres", &format!("create database {DATABASE}"))),
        Kind::MariaDb => drop(server.run(
            "mysql",
            &format!(
                "create database {DATABASE}; create user tap identified by 's3cret-of-the-db'; grant all on {DATABASE}.* to tap; grant replication client, replication slave on *.* to tap"
            ),
        )),
    }
    server.run(
        DATABASE,
        "create table orders (id int not null primary key, customer varchar(100), amount numeric(10,2), seq bigint);
         create table visits (page varchar(100), seq bigint);
         create table nothing_yet (id int not null primary key, at date);",
    );
}

fn insert(server: &Server, table: &str, ids: std::ops::RangeInclusive<u32>, seq: u32) {
    let rows: Vec<String> = ids
        .map(|id| match table {
            "orders" => format!("({id}, 'customer {}', {}.{:02}, {})", id % 7, id * 3, id % 100, seq + id),
            _ => format!("('/page/{}', {})", id % 5, seq + id),
        })
        .collect();
    server.run(DATABASE, &format!("insert into {table} values {}", rows.join(", ")));
}

type Table = BTreeMap<String, Value>;

/// The contents of a materialization.
fn reduce(documents: &[Document], binding: usize, key: &[String], table: &mut Table) {
    for document in documents.iter().filter(|it| it.binding == binding) {
        let row: Value = serde_json::from_str(&document.text).expect("documents are JSON");
        let key: Vec<_> = key.iter().map(|it| row.pointer(it).expect("a key").to_string()).collect();
        match row["_meta"]["op"].as_str() {
            Some("d") => drop(table.remove(&key.join(" "))),
            _ => drop(table.insert(key.join(" "), row)),
        }
    }
}

/// The captured rows, sorted and formatted as by the databases' clients.
fn printed(table: &Table, columns: &[&str]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.to_string().contains('.') => {
            format!("{:.2}", number.as_f64().expect("a number"))
        }
        other => other.to_string(),
    };
    let mut rows: Vec<String> = table
        .values()
        .map(|row| columns.iter().map(|it| amount(it, text(&row[*it]))).collect::<Vec<_>>().join("\t"))
        .collect();
    rows.sort();
    rows
}

/// A number with as many digits as the database prints: 3.5 is 3.50.
fn amount(column: &str, text: String) -> String {
    if column == "amount" { text.parse().map_or(text, |it: f64| format!("{it:.2}")) } else { text }
}

fn in_database(server: &Server, table: &str, columns: &[&str]) -> Vec<String> {
    let text = server.run(DATABASE, &format!("select {} from {table}", columns.join(", ")));
    let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

const ORDERS: &[&str] = &["id", "customer", "amount", "seq"];
const VISITS: &[&str] = &["page", "seq"];

fn binding(stream: String, method: &str, key: &[&str]) -> Binding {
    let mut resource = json!({"stream": stream, "replicationMethod": method});
    if method == "INCREMENTAL" {
        resource["replicationKey"] = "seq".into();
    }
    Binding::of_resource(resource).key(key.iter().copied())
}

/// Discovers, validates and captures three times with changes in between; then kills a capture midway.
fn follows_its_tables(tap: &Tap, server: &Server, kind: Kind) {
    fill(server, kind);
    let runtime = tap.runtime(server);
    runtime.spec();
    let discovered = runtime.discover();
    let name = |it: &Value| it["recommendedName"].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<String> = discovered["bindings"].as_array().expect("bindings").iter().map(name).collect();
    names.sort();
    let stream = |table: &str| format!("{}{table}", tap.prefix);
    assert_eq!(names, [stream("nothing_yet"), stream("orders"), stream("visits")]);
    insert(server, "orders", 1..=1000, 0);
    insert(server, "visits", 1..=300, 0);

    incremental(tap, &runtime, server);
    full_tables(tap, &runtime, server);
    log_based(tap, &runtime, server, kind);
}

fn full_tables(tap: &Tap, runtime: &Runtime, server: &Server) {
    let stream = |table: &str| format!("{}{table}", tap.prefix);
    // Deleted rows are detected by row id, for tables with a key, too, if the user chooses that.
    let by_row: &[&str] = &["/_meta/row_id"];
    let bindings = [
        binding(stream("orders"), "FULL_TABLE", by_row),
        binding(stream("visits"), "FULL_TABLE", by_row),
        binding(stream("nothing_yet"), "FULL_TABLE", &["/id"]),
    ];
    runtime.validate(&bindings);
    let mut tables = [Table::new(), Table::new(), Table::new()];
    let mut state = json!({});
    for session in 0..3 {
        match session {
            0 => {}
            1 => {
                server.run(DATABASE, "delete from visits where seq % 2 = 0; delete from orders where id % 10 = 3");
                server.run(DATABASE, "update orders set customer = 'someone else' where id < 20");
            }
            _ => insert(server, "visits", 301..=400, 0),
        }
        let done = runtime.open(&bindings, &state).run().expect_clean();
        state = done.state.clone();
        for (index, table) in tables.iter_mut().enumerate() {
            reduce(&done.documents, index, &bindings[index].key, table);
        }
        assert_eq!(printed(&tables[0], ORDERS), in_database(server, "orders", ORDERS), "{} {session}", tap.environment);
        assert_eq!(printed(&tables[1], VISITS), in_database(server, "visits", VISITS), "{} {session}", tap.environment);
        assert!(tables[2].is_empty());
    }
}

fn incremental(tap: &Tap, runtime: &Runtime, server: &Server) {
    let bindings = [binding(format!("{}orders", tap.prefix), "INCREMENTAL", &["/id"])];
    runtime.validate(&bindings);
    let mut table = Table::new();
    let mut state = json!({});
    for session in 0..3 {
        match session {
            0 => {}
            1 => insert(server, "orders", 2001..=2100, 0),
            _ => drop(server.run(DATABASE, "update orders set amount = 1.5, seq = 10000 + id where id < 50")),
        }
        let done = runtime.open(&bindings, &state).run().expect_clean();
        state = done.state.clone();
        reduce(&done.documents, 0, &bindings[0].key, &mut table);
        assert_eq!(printed(&table, ORDERS), in_database(server, "orders", ORDERS), "{} {session}", tap.environment);
        assert!(session == 0 || done.documents.len() < 200, "{}: {} again", tap.environment, done.documents.len());
    }
}

fn log_based(tap: &Tap, runtime: &Runtime, server: &Server, kind: Kind) {
    if kind == Kind::Postgres {
        let slot = if tap.takes_snapshot { "pipelinewise_shop_test" } else { "tappostgres" };
        server.run(DATABASE, &format!("select pg_create_logical_replication_slot('{slot}', 'wal2json')"));
    }
    if !tap.takes_snapshot {
        server.run(DATABASE, "delete from orders");
        insert(server, "orders", 1..=500, 0);
    }
    let bindings = [binding(format!("{}orders", tap.prefix), "LOG_BASED", &["/id"])];
    runtime.validate(&bindings);
    let mut table = Table::new();
    let mut state = json!({});
    for session in 0..4 {
        match session {
            0 => {}
            1 => insert(server, "orders", 3001..=3100, 0),
            2 => {
                server.run(DATABASE, "delete from orders where id % 10 = 7");
                server.run(DATABASE, "update orders set customer = 'a third' where id % 10 = 8");
            }
            _ => {
                drop(server.run(
                    DATABASE,
                    "insert into orders values (5000, null, null, 5); delete from orders where id = 5000",
                ))
            }
        }
        let done = runtime.open(&bindings, &state).run().expect_clean();
        state = done.state.clone();
        reduce(&done.documents, 0, &bindings[0].key, &mut table);
        assert_eq!(printed(&table, ORDERS), in_database(server, "orders", ORDERS), "{} {session}", tap.environment);
    }
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn meltanolabs_tap_postgres_follows_its_tables() {
    follows_its_tables(&MELTANOLABS_POSTGRES, &Server::postgres(), Kind::Postgres);
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn pipelinewise_tap_postgres_follows_its_tables() {
    follows_its_tables(&PIPELINEWISE_POSTGRES, &Server::postgres(), Kind::Postgres);
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn pipelinewise_tap_mysql_follows_its_tables() {
    follows_its_tables(&PIPELINEWISE_MYSQL, &Server::maria_db(), Kind::MariaDb);
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn tap_mysql_follows_its_tables() {
    follows_its_tables(&MYSQL, &Server::maria_db(), Kind::MariaDb);
}

/// Kills a sync of many rows when some rows are captured and some committed, then resumes it until it
/// completes.
fn loses_nothing_when_killed(tap: &Tap, server: &Server, kind: Kind) {
    const ROWS: u32 = 30_000;
    fill(server, kind);
    let runtime = tap.runtime(server);
    if kind == Kind::Postgres {
        let slot = if tap.takes_snapshot { "pipelinewise_shop_test" } else { "tappostgres" };
        server.run(DATABASE, &format!("select pg_create_logical_replication_slot('{slot}', 'wal2json')"));
    }
    for from in (0..ROWS).step_by(10_000) {
        insert(server, "orders", from + 1..=from + 10_000, 0);
        insert(server, "visits", from + 1..=from + 10_000, 0);
    }
    let orders = |method: &str| binding(format!("{}orders", tap.prefix), method, &["/id"]);
    let visits = binding(format!("{}visits", tap.prefix), "FULL_TABLE", &["/_meta/row_id"]);
    let cases = [
        (orders("INCREMENTAL"), "orders", ORDERS),
        (orders("LOG_BASED"), "orders", ORDERS),
        (orders("FULL_TABLE"), "orders", ORDERS),
        (visits, "visits", VISITS),
    ];
    for (binding, name, columns) in cases {
        let place = format!("{} {}", tap.environment, binding.resource);
        let bindings = [binding];
        let mut table = Table::new();
        let mut state = json!({});
        for documents in [12_345, 4_000] {
            let kill = Then::Signal(Signal::KILL);
            let killed = runtime.open(&bindings, &state).when(When::Documents(documents), kill).run();
            state = killed.state.clone();
            reduce(&killed.documents, 0, &bindings[0].key, &mut table);
        }
        let done = runtime.open(&bindings, &state).run().expect_clean();
        reduce(&done.documents, 0, &bindings[0].key, &mut table);
        let (got, want) = (printed(&table, columns), in_database(server, name, columns));
        assert_eq!(got.len(), want.len(), "{place}");
        assert!(got == want, "{place}");
    }
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn meltanolabs_tap_postgres_loses_nothing_when_killed() {
    loses_nothing_when_killed(&MELTANOLABS_POSTGRES, &Server::postgres(), Kind::Postgres);
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn pipelinewise_tap_postgres_loses_nothing_when_killed() {
    loses_nothing_when_killed(&PIPELINEWISE_POSTGRES, &Server::postgres(), Kind::Postgres);
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn pipelinewise_tap_mysql_loses_nothing_when_killed() {
    loses_nothing_when_killed(&PIPELINEWISE_MYSQL, &Server::maria_db(), Kind::MariaDb);
}

#[test]
#[ignore = "needs databases: tests/run --databases"]
fn tap_mysql_loses_nothing_when_killed() {
    loses_nothing_when_killed(&MYSQL, &Server::maria_db(), Kind::MariaDb);
}
