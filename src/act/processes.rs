//! Steps on single processes. A process is held by a descriptor first and compared with what was examined afterwards: a number that somebody
//! else has by now is found out, and what is done through the descriptor never reaches anybody else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Scene, Tally};
use crate::host::ReadError;
use crate::model::{Effect, HostPath, ProcessTarget, SkipReason};

/// SIGKILL cannot be ignored; what is still there after this sleeps uninterruptibly.
const DYING: Duration = Duration::from_secs(10);
/// Between two looks at whether anybody still waits for the effect.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Why a process was left alone, for people and by kind.
pub(super) struct Left(pub SkipReason, pub String);

impl Left {
    pub(super) fn tell(self, tally: &mut Tally, process: &ProcessTarget) {
        tally.note(self.1);
        tally.skip(HostPath::from(named(process).as_str()), self.0);
    }
}

/// The process that was examined, and nobody else.
#[derive(Debug)]
pub(super) struct Held {
    pidfd: OwnedFd,
}

pub(super) fn named(process: &ProcessTarget) -> String {
    format!("{} (pid {})", process.comm, process.pid)
}

/// Whether it still is who was examined, and where.
pub(super) fn same(process: &ProcessTarget, scene: &Scene<'_>) -> Result<(), Left> {
    let who = named(process);
    let facts = match scene.host.process(process.pid) {
        Ok(facts) => facts,
        Err(e @ ReadError::NotHere { .. }) => return Err(Left(SkipReason::Gone, e.to_string())),
        Err(e) => return Err(Left(SkipReason::Error, e.to_string())),
    };
    if facts.start_ticks != process.start_ticks {
        return Err(Left(SkipReason::Changed, format!("{who} is another process by now")));
    }
    if facts.unit != process.unit {
        let now_in = facts.unit.as_deref().unwrap_or("no unit");
        return Err(Left(SkipReason::Changed, format!("{who} is in {now_in} by now")));
    }
    Ok(())
}

/// Its folder in `/proc`, which goes stale with it and never over to another.
pub(super) fn folder(process: &ProcessTarget, scene: &Scene<'_>) -> Result<OwnedFd, Left> {
    let path = scene.path(&format!("/proc/{}", process.pid));
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let dir = opened.map_err(|e| failed(process, "its folder", &e.into()))?;
    same(process, scene)?;
    Ok(dir)
}

pub(super) fn failed(process: &ProcessTarget, what: &str, e: &io::Error) -> Left {
    match e.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Left(SkipReason::Gone, format!("{} has ended by itself", named(process))),
        _ => Left(SkipReason::Error, format!("{}: {what}: {e}", named(process))),
    }
}

impl Held {
    pub(super) fn open(process: &ProcessTarget, scene: &Scene<'_>) -> Result<Self, Left> {
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Left(SkipReason::Error, format!("{}: no process has such a number", named(process))))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| failed(process, "pidfd", &e.into()))?;
        same(process, scene)?;
        Ok(Self { pidfd })
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        pidfd_send_signal(&self.pidfd, signal)
    }

    /// Whether it came to its end within `patience`.
    pub(super) fn ends_within(&self, patience: Duration) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(patience).ok();
        matches!(poll(&mut fds, timeout.as_ref()), Ok(1..))
    }

    /// The same, unless somebody gives up waiting: `None`.
    fn ends_while_asked(&self, patience: Duration, scene: &Scene<'_>) -> Option<bool> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.ends_within(left.min(LOOK_EVERY)) {
                return Some(true);
            }
            if left.is_zero() {
                return Some(false);
            }
            if (scene.asker_gone)() {
                return None;
            }
        }
    }
}

pub(super) fn kill(process: &ProcessTarget, grace_s: u64, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    match Held::open(process, scene) {
        Ok(held) => end(&held, process, Duration::from_secs(grace_s), scene, &mut tally),
        Err(left) => left.tell(&mut tally, process),
    }
    tally.finish(scene.now())
}

fn end(held: &Held, process: &ProcessTarget, grace: Duration, scene: &Scene<'_>, tally: &mut Tally) {
    let who = named(process);
    let started = Instant::now();
    let took = || started.elapsed().as_secs_f64();
    match held.signal(Signal::TERM) {
        Ok(()) => tally.done = 1,
        Err(Errno::SRCH) => return failed(process, "SIGTERM", &Errno::SRCH.into()).tell(tally, process),
        Err(e) => return tally.stop(format!("{who} could not be sent SIGTERM: {}", io::Error::from(e))),
    }
    match held.ends_while_asked(grace.min(scene.left()), scene) {
        Some(true) => return tally.note(format!("SIGTERM ended {who} in {:.1} s", took())),
        Some(false) if scene.left().is_zero() => {
            return tally.stop(format!("{who} was sent SIGTERM; the step's deadline passed before it ended"));
        }
        Some(false) => {}
        None => return tally.stop(format!("{who} was sent SIGTERM, and SIGKILL not: nobody waits for this step any more")),
    }
    match held.signal(Signal::KILL) {
        // It ended between the two.
        Ok(()) | Err(Errno::SRCH) => {}
        Err(e) => return tally.stop(format!("{who} did not end in {:.1} s and could not be sent SIGKILL: {}", took(), io::Error::from(e))),
    }
    if held.ends_within(DYING.min(scene.left())) {
        tally.note(format!("SIGTERM did not end {who} within {} s; SIGKILL did, after {:.1} s in all", grace.as_secs(), took()));
    } else {
        tally.stop(format!("{who} is still there {:.1} s after SIGTERM and SIGKILL: it waits for the kernel (state D)", took()));
    }
}
