//! Stops the terminal from echoing `^C`, which would shift the live display by a line.

use std::io::{IsTerminal, stdin};
use std::sync::{Mutex, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// The terminal's settings before the change.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Turns the echo off.
pub fn silence() {
    // Changing the terminal from a background process would stop that process (SIGTTOU).
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

/// Restores the terminal's settings.
pub fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}
