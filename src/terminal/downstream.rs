//! Detects whether a program downstream in the pipeline writes to our terminal, as in `flow-shim preview | jq .`. A live
//! display would then overwrite its output.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::thread;
use std::time::Duration;

/// The maximum number of downstream programs that are followed.
const LONGEST: usize = 16;

/// Retries, and the wait before each: the shell may not have started the reader of our pipe yet.
const TRIES: usize = 5;
const WAIT: Duration = Duration::from_millis(20);

/// Whether stdout leads through pipes to the same terminal as stderr.
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

/// The file that a process's descriptor refers to.
fn file_of(pid: &str, descriptor: u8) -> Option<Metadata> {
    fs::metadata(format!("/proc/{pid}/fd/{descriptor}")).ok()
}
