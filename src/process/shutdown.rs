//! The shutdown request: a signal, a closed output, or a preview that reached its limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::Reason;

/// How long a whole shutdown may take, from the request to the end of the process. Flow kills a container after 10 s
/// (F11). What follows a request obeys this deadline, publishing a rotated config included.
const LIMIT: Duration = Duration::from_secs(9);

/// A handle on the shutdown request of this process. Clones share it. It can be used from any thread.
#[derive(Clone)]
pub struct Shutdown(Arc<watch::Sender<Option<Request>>>);

#[derive(Clone, Copy)]
struct Request {
    reason: Reason,
    deadline: Instant,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Shutdown {
    /// Requests the shutdown. The first reason counts; returns false if there was one already.
    pub fn request(&self, reason: Reason) -> bool {
        self.0.send_if_modified(|request| {
            let is_first = request.is_none();
            if is_first {
                *request = Some(Request { reason, deadline: Instant::now() + LIMIT });
            }
            is_first
        })
    }

    /// Why the shutdown was requested, if it was.
    pub fn reason(&self) -> Option<Reason> {
        self.0.borrow().map(|it| it.reason)
    }

    /// When the process has to be gone, if the shutdown was requested.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.borrow().map(|it| it.deadline)
    }

    /// Waits for the request.
    pub async fn requested(&self) -> Reason {
        self.request_made().await.reason
    }

    /// Waits for the request and then for its deadline.
    pub async fn deadline_passed(&self) {
        let deadline = self.request_made().await.deadline;
        tokio::time::sleep_until(deadline.into()).await;
    }

    async fn request_made(&self) -> Request {
        let mut receiver = self.0.subscribe();
        loop {
            if let Some(request) = *receiver.borrow_and_update() {
                return request;
            }
            if receiver.changed().await.is_err() {
                // Not possible: `self` keeps the sender.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_counts_and_reaches_everyone() {
        let shutdown = Shutdown::default();
        assert!(shutdown.reason().is_none() && shutdown.deadline().is_none());
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.requested().await }
        });
        let elsewhere = shutdown.clone();
        let first = std::thread::spawn(move || elsewhere.request(Reason::Terminate)).join().unwrap();
        assert!(first && !shutdown.request(Reason::Interrupt));
        assert_eq!(waiting.await.unwrap(), Reason::Terminate);
        assert_eq!(shutdown.requested().await, Reason::Terminate);
        assert!(shutdown.deadline().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_follows_the_request() {
        let shutdown = Shutdown::default();
        shutdown.request(Reason::Enough);
        shutdown.deadline_passed().await;
    }

    #[tokio::test]
    async fn waiting_leaves_nothing_behind() {
        let shutdown = Shutdown::default();
        for _ in 0..1000 {
            tokio::select! {
                biased;
                _ = shutdown.requested() => unreachable!("nobody requested it"),
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(shutdown.0.receiver_count(), 0);
    }
}
