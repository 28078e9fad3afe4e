//! Keeps a terminal from writing `^C` into lines that change: it would move them by one.

use std::io::{IsTerminal, stdin};
use std::sync::{Mutex, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// How the terminal was before.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// No `^C` from now on.
pub fn silence() {
    // A process in the background would be stopped for changing the terminal.
    if !stdin().is_terminal() || tcgetpgrp(stdin()) != Ok(getpgrp()) {
        return;
    }
    let Ok(before) = tcgetattr(stdin()) else { return };
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHOCTL);
    if tcsetattr(stdin(), OptionalActions::Now, &silent).is_ok() {
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    }
}

/// The terminal is as it was.
pub fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}
