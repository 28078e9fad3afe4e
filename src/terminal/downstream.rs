//! Whether somebody down the pipe writes to our terminal, as in `flow-shim preview | jq .`: lines that change would wipe
//! out what they write, and theirs would end up between ours.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::thread;
use std::time::Duration;

/// How many programs a pipeline may have behind us.
const LONGEST: usize = 16;

/// How often, and for how long each time, a shell is waited for that has not yet started what reads from us.
const TRIES: usize = 5;
const WAIT: Duration = Duration::from_millis(20);

/// Whether what goes to our stdout comes out on the terminal of our stderr by way of pipes.
pub fn shares_our_terminal() -> bool {
    let (Some(terminal), Some(mut output)) = (file_of("self", 2), file_of("self", 1)) else { return false };
    for depth in 0..LONGEST {
        if !output.file_type().is_fifo() {
            return depth > 0 && output.rdev() == terminal.rdev();
        }
        let mut reader = reader_of(&output);
        for _ in 0..TRIES {
            if reader.is_none() {
                thread::sleep(WAIT);
                reader = reader_of(&output);
            }
        }
        match reader.and_then(|pid| file_of(&pid, 1)) {
            Some(next) => output = next,
            None => return false,
        }
    }
    false
}

/// The process whose stdin is this pipe.
fn reader_of(pipe: &Metadata) -> Option<String> {
    let is_pipe = |it: &Metadata| it.file_type().is_fifo() && (it.dev(), it.ino()) == (pipe.dev(), pipe.ino());
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|it| it.file_name().into_string().ok());
    processes
        .filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
        .find(|pid| file_of(pid, 0).is_some_and(|it| is_pipe(&it)))
}

/// What a file descriptor of a process is open on.
fn file_of(pid: &str, descriptor: u8) -> Option<Metadata> {
    fs::metadata(format!("/proc/{pid}/fd/{descriptor}")).ok()
}
