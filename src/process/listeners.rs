//! Who listens on a port of this machine, by /proc.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::descendants::Descendants;
use super::keeper;

/// Whether all that listens on a port was started by this process, as far as can be told.
///
/// A port that was free may be taken by another process before a connector takes it. Servers may share a port, too
/// (`SO_REUSEPORT`, which gRPC's libraries set), and then get each other's connections.
pub fn are_ours(port: u16) -> bool {
    let mut listening = sockets(port);
    for pid in Descendants::new(None).find() {
        if listening.is_empty() {
            break;
        }
        let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let files = match fs::read_dir(process.join("fd")) {
            Ok(files) => files,
            // It may run as another user. A keeper listens to nobody.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_keeper(&process) => return true,
            Err(_) => continue,
        };
        for link in files.flatten().filter_map(|it| fs::read_link(it.path()).ok()) {
            listening.remove(&*link.to_string_lossy());
        }
    }
    listening.is_empty()
}

/// The sockets that listen on a port, as the links to files of a process name them; none where the kernel does not tell.
fn sockets(port: u16) -> HashSet<String> {
    let port = format!(":{port:04X}");
    // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ...
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
        let is_listening = words.get(1)?.ends_with(&port) && *words.get(3)? == "0A";
        if is_listening { words.get(9).map(|it| format!("socket:[{it}]")) } else { None }
    };
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|it| fs::read_to_string(it).unwrap_or_default());
    tables.iter().flat_map(|it| it.lines().filter_map(socket)).collect()
}

fn is_keeper(process: &Path) -> bool {
    let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
    arguments.split(|it| *it == 0).nth(1) == Some(keeper::SUBCOMMAND.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::{Ipv4Addr, TcpListener};
    use std::process::{Command, Stdio};

    #[test]
    fn a_port_is_that_of_a_process_that_we_started_or_not() {
        let ourselves = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = ourselves.local_addr().unwrap().port();
        assert_eq!(sockets(port).len(), 1);
        assert!(!are_ours(port), "this process is not one that it has started");
        let listen = "import socket, sys; it = socket.create_server(('127.0.0.1', 0)); print(it.getsockname()[1], flush=True); sys.stdin.read()";
        let mut command = Command::new("python3");
        let mut child = command.args(["-c", listen]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(are_ours(line.trim().parse().unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
