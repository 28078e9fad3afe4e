//! Threads for blocking work. Nobody joins them: a thread that is stuck must not keep the process from its end.

use std::future::Future;
use std::thread;

use anyhow::{Context, Result};
use tokio::sync::oneshot;
use tracing::Span;

/// Runs blocking work on a thread of its own, in the present span. The future gives the result, or `None` if the work
/// panicked.
pub fn spawn<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
    name: &str,
    work: W,
) -> Result<impl Future<Output = Option<T>> + use<T, W>> {
    let (sender, receiver) = oneshot::channel();
    let span = Span::current();
    let body = move || drop(sender.send(span.in_scope(work)));
    thread::Builder::new().name(name.to_owned()).spawn(body).context(NO_THREAD)?;
    Ok(async { receiver.await.ok() })
}

/// The message for a machine that grants no thread or process.
pub const NO_THREAD: &str = "can't start a thread (raise the limit on processes: `ulimit -u`, or the container's PIDs)";
