//! PostgreSQL and MariaDB of any version on loopback, for tests: started on a free port, as a user other than root, and
//! stopped by process id. Both have change logs, for log-based taps. tests/setup installs them.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// Neither server runs as root: if the tests do, servers run as Debian's `nobody`.
const NOBODY: &str = "65534";
const PATIENCE: Duration = Duration::from_secs(60);

/// A database server, stopped on drop.
pub struct Server {
    kind: Kind,
    process: Child,
    pub port: u16,
    folder: TempDir,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Postgres,
    MariaDb,
}

impl Server {
    pub fn postgres() -> Self {
        let user = "postgres";
        let folder = folder();
        let data = folder.path().join("data");
        let mut initdb = as_nobody(&postgres_tool("initdb"));
        succeed(initdb.arg("-D").arg(&data).args(["-U", user, "--auth=trust", "--encoding=UTF8", "--no-sync"]));
        let port = free_port();
        let mut server = as_nobody(&postgres_tool("postgres"));
        server.arg("-D").arg(&data);
        let sockets = format!("unix_socket_directories={}", folder.path().display());
        let settings = ["fsync=off", "wal_level=logical", "max_replication_slots=20", "max_wal_senders=20", &sockets];
        let address = ["listen_addresses=127.0.0.1".to_owned(), format!("port={port}")];
        let mut settings: Vec<String> = settings.map(str::to_owned).into_iter().chain(address).collect();
        // Newer releases load only the listed output plugins; older ones reject the unknown setting.
        if knows_setting(&data, "output_plugin_libraries") {
            settings.push("output_plugin_libraries=wal2json".to_owned());
        }
        for setting in &settings {
            server.args(["-c", setting]);
        }
        Self { kind: Kind::Postgres, process: start(&mut server, folder.path()), port, folder }.ready(user)
    }

    pub fn maria_db() -> Self {
        let folder = folder();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let data = format!("--datadir={}", path("data"));
        let mut install = as_nobody(&program("mariadb-install-db"));
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data]);
        // A starting server removes what looks like its temporary tables: those of another one in the same directory.
        succeed(install.env("TMPDIR", folder.path()));
        let port = free_port();
        let mut server = as_nobody(&program("mariadbd"));
        server.args(["--no-defaults", "--bind-address=127.0.0.1", "--server-id=1", "--log-bin=bin", &data]);
        server.args(["--binlog-format=ROW", "--binlog-row-image=FULL", "--innodb-flush-log-at-trx-commit=0"]);
        server.args(["--max-allowed-packet=64M", "--character-set-server=utf8mb4"]);
        server.arg(format!("--port={port}")).arg(format!("--socket={}", path("socket")));
        server.arg(format!("--pid-file={}", path("pid"))).env("TMPDIR", folder.path());
        Self { kind: Kind::MariaDb, process: start(&mut server, folder.path()), port, folder }.ready("mysql")
    }

    fn ready(mut self, database: &str) -> Self {
        let start = Instant::now();
        // Servers do not announce that they are ready: poll.
        while !self.client(database, "select 1").status.success() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            if let Ok(Some(status)) = self.process.try_wait() {
                panic!("{:?} ended with {status}:\n{}", self.kind, log());
            }
            assert!(start.elapsed() < PATIENCE, "{:?} does not start:\n{}", self.kind, log());
            std::thread::sleep(Duration::from_millis(50));
        }
        self
    }

    /// Runs statements in a database and returns their output: tab-separated values, one row per line.
    pub fn run(&self, database: &str, sql: &str) -> String {
        let output = self.client(database, sql);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{:?}: {errors}\n{}", self.kind, sql.chars().take(2000).collect::<String>());
        String::from_utf8(output.stdout).expect("clients print UTF-8")
    }

    fn client(&self, database: &str, sql: &str) -> Output {
        let port = self.port.to_string();
        let mut client = match self.kind {
            Kind::Postgres => {
                let mut psql = Command::new(postgres_tool("psql"));
                psql.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", database]);
                psql.args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
                psql
            }
            Kind::MariaDb => {
                let mut mariadb = Command::new(program("mariadb"));
                mariadb.args(["--no-defaults", "-h", "127.0.0.1", "-P", &port, "-u", "root", "--batch"]);
                mariadb.args(["--skip-column-names", "--max-allowed-packet=64M", database]);
                mariadb
            }
        };
        let mut client =
            client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a client");
        let mut stdin = client.stdin.take().expect("stdin");
        let sql = sql.to_owned();
        let writer = std::thread::spawn(move || drop(stdin.write_all(sql.as_bytes())));
        let output = client.wait_with_output().expect("the client ends");
        writer.join().expect("the writer ends");
        output
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Immediately: the data is no longer needed.
        let signal = if self.kind == Kind::Postgres { Signal::QUIT } else { Signal::KILL };
        let _ = kill_process(Pid::from_child(&self.process), signal);
        let _ = self.process.wait();
    }
}

fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("flow-shim-db-").tempdir().expect("a folder");
    if geteuid().is_root() {
        succeed(Command::new("chown").arg(NOBODY).arg(folder.path()));
    }
    folder
}

fn as_nobody(program: &Path) -> Command {
    let mut command = if geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// A program of the newest PostgreSQL of Debian's packages; on other systems, of pg_config's.
fn postgres_tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok().map(|version| (version, it.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").exists())
        .max();
    let bin = newest.map(|(_, bin)| bin).or_else(|| {
        let output = Command::new("pg_config").arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    });
    bin.expect("PostgreSQL is installed (see tests/setup)").join(name)
}

/// Asks the server whether a setting exists in its version.
fn knows_setting(data: &Path, name: &str) -> bool {
    let mut postgres = as_nobody(&postgres_tool("postgres"));
    postgres.arg("-D").arg(data).args(["-C", name]).output().expect("PostgreSQL runs").status.success()
}

/// A program in the PATH or in root's PATH.
fn program(name: &str) -> PathBuf {
    let roots = Path::new("/usr/sbin").join(name);
    if roots.exists() { roots } else { name.into() }
}

fn start(command: &mut Command, folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let errors = log.try_clone().expect("a log");
    command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("the server starts (see tests/setup)")
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error} (see tests/setup)"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port()
}
