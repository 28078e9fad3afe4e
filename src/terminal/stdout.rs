//! Detects that stdout was closed when the process started (`flow-shim preview >&-`).

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether stdout was closed when the process started. Afterwards this can't be told: before `main`, the standard library
/// opens /dev/null in place of closed standard descriptors.
pub fn was_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// The C runtime calls this before the standard library's own initialisation.
#[used]
#[unsafe(link_section = ".init_array")]
static CHECK: extern "C" fn() = check;

extern "C" fn check() {
    // SAFETY: the descriptor is only queried, and whether it is open is the question.
    let stdout = unsafe { BorrowedFd::borrow_raw(1) };
    CLOSED.store(rustix::io::fcntl_getfd(stdout).is_err(), Ordering::Relaxed);
}
