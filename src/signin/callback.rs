//! The OAuth redirect endpoint: a local HTTP server that waits for the browser's request with the code and our state.

use crate::error::Stopped;
use anyhow::{Context, Result, anyhow};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::process::shutdown::Shutdown;
use crate::process::thread;

/// Listens on localhost, over IPv4 and, if available, IPv6.
pub struct Callback(Vec<TcpListener>);

/// The maximum size of a request, in bytes.
const LONGEST: usize = 64 * 1024;
/// The read and write timeout of one connection.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Callback {
    pub fn listen(port: u16) -> Result<Self> {
        let failed = format!("can't listen on localhost:{port} (choose another port with --port)");
        let four = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| failed.clone())?;
        let mut listeners = vec![four];
        listeners.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, port)));
        for it in &listeners {
            it.set_nonblocking(true).context("can't listen on localhost")?;
        }
        Ok(Self(listeners))
    }

    /// Waits for the code. Requests without the right state are answered and otherwise ignored.
    pub async fn code(self, state: &str, shutdown: &Shutdown) -> Result<String> {
        let (state, stopped) = (state.to_owned(), shutdown.clone());
        let code = thread::spawn("callback", move || self.wait(&state, &stopped))?;
        tokio::select! {
            reason = shutdown.requested() => Err(Stopped(reason).into()),
            code = code => code.unwrap_or_else(|| Err(anyhow!("can't wait for the sign-in"))),
        }
    }

    fn wait(&self, state: &str, shutdown: &Shutdown) -> Result<String> {
        loop {
            if let Some(reason) = shutdown.reason() {
                return Err(Stopped(reason).into());
            }
            let mut fds: Vec<PollFd> = self.0.iter().map(|it| PollFd::new(it, PollFlags::IN)).collect();
            let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 200_000_000 }));
            for listener in &self.0 {
                if let Ok((stream, _)) = listener.accept()
                    && let Some(outcome) = answer(stream, state)
                {
                    return outcome;
                }
            }
        }
    }
}

/// Answers one request; returns the outcome if it has our state.
fn answer(mut stream: TcpStream, state: &str) -> Option<Result<String>> {
    let target = target(&mut stream).ok().flatten()?;
    let query = target.split_once('?').map_or("", |(_, it)| it);
    let get = |name: &str| query.split('&').find_map(|it| it.split_once('=').filter(|(it, _)| *it == name));
    let get = |name: &str| get(name).map(|(_, value)| decode(value));
    if get("state").as_deref() != Some(state) {
        let (status, text) = match (get("code"), get("error")) {
            (None, None) => ("404 Not Found", "Not found."),
            _ => {
                ("400 Bad Request", "This is not the sign-in that flow-shim is waiting for: the state does not match.")
            }
        };
        respond(&mut stream, status, text);
        return None;
    }
    if let Some(error) = get("error") {
        respond(&mut stream, "200 OK", "The sign-in was refused. See the output of flow-shim.");
        let details = get("error_description").map(|it| format!(": {it}")).unwrap_or_default();
        return Some(Err(anyhow!("the sign-in was refused ({error}){details}")));
    }
    let Some(code) = get("code").filter(|it| !it.is_empty()) else {
        respond(&mut stream, "400 Bad Request", "The code is missing.");
        return Some(Err(anyhow!("the authorization server sent no code")));
    };
    respond(&mut stream, "200 OK", "You are signed in. This window can be closed.");
    Some(Ok(code))
}

/// The request target of a GET request.
fn target(stream: &mut TcpStream) -> io::Result<Option<String>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !request.windows(4).any(|it| it == b"\r\n\r\n") && request.len() < LONGEST {
        match stream.read(&mut piece)? {
            0 => break,
            length => request.extend_from_slice(&piece[..length]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let mut words = request.lines().next().unwrap_or_default().split(' ');
    Ok(if words.next() == Some("GET") { words.next().map(str::to_owned) } else { None })
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn respond(stream: &mut TcpStream, status: &str, text: &str) {
    let body = format!("<!doctype html><meta charset=utf-8><title>flow-shim</title><p>{text}</p>\n");
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // The browser may have disconnected; the code has arrived anyway.
    let _ = stream.write_all((head + &body).as_bytes());
}
