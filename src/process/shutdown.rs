//! The wish that everything end: a signal, a reader that went away, or a preview that has seen enough.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Reason;

/// A shared switch that is thrown once. Listeners run on the thread that throws it.
#[derive(Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    thrown: Condvar,
}

#[derive(Default)]
struct State {
    reason: Option<Reason>,
    listeners: Vec<Box<dyn Fn(Reason) + Send>>,
}

impl Stop {
    /// The first reason stays; that a second came is what the return value tells.
    pub fn request(&self, reason: Reason) -> bool {
        let mut state = self.state();
        if state.reason.is_some() {
            return false;
        }
        state.reason = Some(reason);
        state.listeners.iter().for_each(|listener| listener(reason));
        self.0.thrown.notify_all();
        true
    }

    pub fn reason(&self) -> Option<Reason> {
        self.state().reason
    }

    /// Blocks until somebody wants the end.
    pub fn wait(&self) -> Reason {
        let mut state = self.state();
        loop {
            match state.reason {
                Some(reason) => return reason,
                None => state = self.0.thrown.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Blocks until somebody wants the end, or the time is over.
    pub fn wait_for(&self, time: Duration) {
        let waiting = self.0.thrown.wait_timeout_while(self.state(), time, |it| it.reason.is_none());
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
    }

    /// Calls `listener` when the end is wanted: at once where it already is.
    pub fn listen(&self, listener: impl Fn(Reason) + Send + 'static) {
        let mut state = self.state();
        match state.reason {
            Some(reason) => listener(reason),
            None => state.listeners.push(Box::new(listener)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
