//! A sign of life for whoever waits.

use std::io::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// What takes less than this needs no sign.
const QUIET: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(200);
const FRAMES: [&str; 4] = ["|", "/", "-", "\\"];

#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub shown: bool,
}

impl Progress {
    pub fn during<T: Send>(self, what: &str, work: impl FnOnce() -> T + Send) -> T {
        if !self.shown {
            return work();
        }
        let (done, wait) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || spin(what, &wait));
            let result = work();
            drop(done);
            result
        })
    }
}

/// Until the other end is dropped. What cannot be written to stderr is not missed.
fn spin(what: &str, wait: &mpsc::Receiver<()>) {
    if wait.recv_timeout(QUIET) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let mut ticks = 0u32;
    loop {
        let seconds = 1 + u64::from(ticks) * 200 / 1000;
        let frame = FRAMES[ticks as usize % FRAMES.len()];
        let mut stderr = std::io::stderr();
        let _ = write!(stderr, "\r\x1b[K{frame} {what} {seconds} s");
        let _ = stderr.flush();
        if wait.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
            let _ = write!(stderr, "\r\x1b[K");
            let _ = stderr.flush();
            return;
        }
        ticks = ticks.wrapping_add(1);
    }
}
