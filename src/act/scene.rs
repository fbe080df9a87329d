//! What surrounds a step while it is performed: the host's root, the clock, how long and how much, and whether anybody still waits.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Tally;
use super::beneath::{self, Room};
use crate::host::ReadHost;
use crate::model::{HostPath, IntentId, Now, SkipReason};
use crate::record::{Ledger, RecordError};

/// Objects between two looks at whether the asker is still there: the look is a system call.
const LOOK_EVERY: usize = 32;

pub struct Scene<'a> {
    /// The host's `/`, opened once.
    pub root: &'a OwnedFd,
    /// The same as a path, for sockets, which have no openat.
    pub root_path: &'a Path,
    pub docker_socket: &'a Path,
    pub host: &'a dyn ReadHost,
    /// When this program began: what the wall clock has gained on the boot clock since does not age a file.
    pub started: &'a Now,
    /// When to stop at the next safe point.
    pub deadline: Instant,
    /// What is left of the run's cap.
    pub bytes_left: u64,
    /// Nobody waits for the effect any more.
    pub asker_gone: &'a dyn Fn() -> bool,
    pub ledger: Notes<'a>,
}

/// The way of undo data into the ledger.
#[derive(Debug)]
pub struct Notes<'a> {
    pub(super) ledger: &'a Mutex<Ledger>,
    pub(super) intent: &'a IntentId,
}

impl Notes<'_> {
    /// Durable when it returns.
    pub(super) fn put(&self, note: &serde_json::Value) -> Result<(), RecordError> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).note(self.intent, note)
    }
}

impl fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("root", &self.root_path).field("bytes_left", &self.bytes_left).finish_non_exhaustive()
    }
}

impl Scene<'_> {
    pub(super) fn host_root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// An absolute path of the host as this process reaches it.
    pub(super) fn path(&self, of_host: &str) -> PathBuf {
        self.root_path.join(of_host.trim_start_matches('/'))
    }

    pub(super) fn now(&self) -> Now {
        self.host.now()
    }

    /// For ages: the wall clock, as far as the boot clock bears it out. One reading serves a whole step: files only get older.
    pub(super) fn now_ns(&self) -> i64 {
        i64::try_from(self.host.now().wall_at_most_since(self.started).as_nanosecond()).unwrap_or(i64::MIN)
    }

    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether to stop before object number `at`, and as what the rest counts then. The tally is told.
    pub(super) fn must_stop(&self, at: usize, tally: &mut Tally) -> Option<SkipReason> {
        if self.left().is_zero() {
            tally.stop("the step's deadline has passed");
            return Some(SkipReason::OutOfTime);
        }
        if at.is_multiple_of(LOOK_EVERY) && (self.asker_gone)() {
            tally.stop("the agent's connection ended, so nobody would have verified the rest");
            return Some(SkipReason::OutOfTime);
        }
        None
    }

    /// The room where `path` of the host lies.
    pub(super) fn room_at(&self, path: &HostPath) -> Option<Room> {
        Room::of(beneath::open_dir(self.host_root(), path).ok()?.as_fd())
    }
}
