//! HTTP requests of the shim itself. No error and no log shows a body or a query: they hold secrets.

use anyhow::{Context, Result, anyhow};
use std::time::Duration;

use crate::process::shutdown::Shutdown;
use crate::process::thread;

/// Less than the ten seconds in which a container must end (F11).
const TIMEOUT: Duration = Duration::from_secs(8);

/// Answers of OAuth servers and of the encryption service are small.
const LARGEST: u64 = 16 * 1024 * 1024;

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Posts a body and returns the response, whatever its status. Redirects are not followed: the body is for this server only.
fn post(url: &str, headers: &[(String, String)], body: &[u8]) -> Result<Answer> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("flow-shim/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let host = host(url);
    let mut request = agent.post(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let failed = format!("can't reach {host}");
    let mut response =
        request.send(body).map_err(|it| anyhow::Error::msg(plain(&it))).with_context(|| failed.clone())?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(LARGEST).read_to_vec();
    Ok(Answer { status, body: body.map_err(|it| anyhow::Error::msg(plain(&it))).with_context(|| failed.clone())? })
}

/// The same on a thread of its own. A shutdown grants it no more time than the shutdown has.
pub async fn post_async(
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    shutdown: &Shutdown,
) -> Result<Answer> {
    let late = format!("can't reach {}: the shutdown does not wait any longer", host(&url));
    let answer = thread::spawn("http", move || post(&url, &headers, &body))?;
    tokio::select! {
        answer = answer => answer.unwrap_or_else(|| Err(anyhow!("the request was not sent"))),
        () = shutdown.deadline_passed() => Err(anyhow!(late)),
    }
}

/// The URL without the parts that may be secret.
pub fn host(url: &str) -> &str {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = &url[..end];
    match url.split_once("://") {
        // It holds a user name and a password.
        Some((_, rest)) if rest.split('/').next().is_some_and(|it| it.contains('@')) => "the server",
        _ => url,
    }
}

/// The error's message without the URL that it may quote.
fn plain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "this is not a URL".to_owned(),
        ureq::Error::Http(_) => "the request has an invalid header or URL".to_owned(),
        other => other.to_string(),
    }
}
