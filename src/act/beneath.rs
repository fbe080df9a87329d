//! A root directory that no path leads out of, and the last look at a file before it is touched.
//!
//! How a file is proved to be the one that was examined, in this order, each by the kernel and none by a path string:
//! 1. it is opened from the root with openat2: no symlink, no mount, no `..` can lead elsewhere;
//! 2. its device, inode, size, times and link count are what the plan says, and it is old enough by our own clock;
//! 3. a write lease is taken on it: nobody has it open, maps it or locks it, in any namespace, and nobody can begin to;
//! 4. the directory that we hold has this very inode under this very name;
//! 5. after the unlink the inode has no link left: what went is what was examined.
//!
//! There is no rename into a quarantine before the unlink, which would close the gap between 4 and 5: on a full disk or without inodes
//! no directory entry can be made. Only somebody who may rename in that very directory can use the gap, who could have deleted there
//! anyway; step 5 notices, and the batch stops.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::guard::{Limits, never};
use crate::host::sys;
use crate::model::{FileBatch, FileFamily, FileTarget, HostPath, SkipReason};

const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV).union(ResolveFlags::NO_MAGICLINKS);

/// Opening must have no effect: not the access time, not a controlling terminal, no waiting for the other end of a fifo.
pub(super) const LOOK: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::NOATIME).union(OFlags::CLOEXEC);

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a directory of the host by its absolute path, below `base` (the host's `/`). Mounts may be crossed on the way, symlinks not.
///
/// # Errors
/// What the kernel says; `ELOOP` for a symlink on the way.
pub(super) fn open_dir(base: BorrowedFd<'_>, absolute: &HostPath) -> rustix::io::Result<OwnedFd> {
    let below = absolute.as_bytes().strip_prefix(b"/").ok_or(Errno::INVAL)?;
    let below = if below.is_empty() { b"." } else { below };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(base, below, DIRECTORY, Mode::empty(), resolve)
}

/// What a filesystem has left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Bytes for everybody but root.
    pub available: u64,
    /// Bytes of the whole filesystem.
    pub size: u64,
    /// Deleted blocks come back in the background, some time after the unlink.
    pub settles: bool,
}

impl Room {
    pub fn of(dir: BorrowedFd<'_>) -> Option<Self> {
        const XFS: i64 = 0x5846_5342;
        const BTRFS: i64 = 0x9123_683e;
        let stat = rustix::fs::fstatfs(dir).ok()?;
        let block = u64::try_from(if stat.f_frsize > 0 { stat.f_frsize } else { stat.f_bsize }).ok()?;
        Some(Self {
            available: stat.f_bavail.saturating_mul(block),
            size: stat.f_blocks.saturating_mul(block),
            settles: matches!(stat.f_type as i64, XFS | BTRFS),
        })
    }
}

/// One batch's root, with the directory whose files are being worked on.
pub(super) struct Beneath<'a> {
    root: OwnedFd,
    batch: &'a FileBatch,
    /// The larger of the plan's and the built-in age.
    min_age_s: u64,
    now_ns: i64,
    kept: Option<Kept>,
    /// Directories that somebody held a lock on when first met.
    locked: BTreeMap<Vec<u8>, bool>,
}

struct Kept {
    path: Vec<u8>,
    dir: OwnedFd,
}

/// A file that passed the last look. Its lease ends when this is dropped.
pub(super) struct Held<'a> {
    pub file: OwnedFd,
    pub stat: Stat,
    pub dir: BorrowedFd<'a>,
    pub name: &'a [u8],
}

/// What [`Beneath::by_inode`] found.
pub(super) struct ByInode {
    pub file: OwnedFd,
    pub stat: Stat,
    pub dir: OwnedFd,
}

/// What became of an unlink.
pub(super) enum Unlinked {
    Gone,
    Kept(SkipReason),
    /// A name went, and it was not the file that was examined: somebody renames under our hands.
    Another,
}

impl<'a> Beneath<'a> {
    /// # Errors
    /// In words for the effect's notes: the root cannot be opened without leaving the path, or lies on another device.
    pub fn open(base: BorrowedFd<'_>, batch: &'a FileBatch, now_ns: i64) -> Result<Self, String> {
        sys::ignore_sigio();
        let root = open_dir(base, &batch.root).map_err(|e| format!("root {}: {}", batch.root, std::io::Error::from(e)))?;
        let device = rustix::fs::fstat(&root).map_err(|e| format!("root {}: {}", batch.root, std::io::Error::from(e)))?.st_dev;
        if device != batch.device {
            return Err(format!("root {} is on device {device} by now, the plan was made for {}", batch.root, batch.device));
        }
        let min_age_s = batch.min_age_s.max(Limits::min_age_s(batch.family));
        Ok(Self { root, batch, min_age_s, now_ns, kept: None, locked: BTreeMap::new() })
    }

    pub fn room(&self) -> Option<Room> {
        Room::of(self.root.as_fd())
    }

    /// Steps 1 to 3 of the module's list.
    ///
    /// # Errors
    /// Why the file is left alone.
    pub fn last_look<'b>(&'b mut self, target: &'b FileTarget) -> Result<Held<'b>, SkipReason> {
        if never::file(self.batch.family, &self.batch.root.join(&target.path)).is_some() {
            return Err(SkipReason::Protected);
        }
        let (parent, name) = split(target.path.as_bytes());
        self.keep(parent)?;
        let file = self.open_inside(target.path.as_bytes(), LOOK)?;
        let stat = rustix::fs::fstat(&file).map_err(|_| SkipReason::Error)?;
        self.same(&stat, target)?;
        lease(file.as_fd())?;
        let dir = self.kept.as_ref().map_or(self.root.as_fd(), |k| k.dir.as_fd());
        Ok(Held { file, stat, dir, name })
    }

    fn same(&self, stat: &Stat, target: &FileTarget) -> Result<(), SkipReason> {
        if stat.st_dev != self.batch.device {
            return Err(SkipReason::Outside);
        }
        let size_as_examined = u64::try_from(stat.st_size) == Ok(target.size);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_ino != target.ino {
            return Err(SkipReason::Changed);
        }
        if stat.st_nlink != 1 || target.links != 1 {
            return Err(SkipReason::HardLinked);
        }
        if !size_as_examined || mtime_ns(stat) != target.mtime_ns || ctime_ns(stat) != target.ctime_ns {
            return Err(SkipReason::Changed);
        }
        // A time in the future is younger than anything: the subtraction goes below zero.
        let mut newest = mtime_ns(stat).max(ctime_ns(stat));
        if self.batch.family == FileFamily::Tmp {
            newest = newest.max(atime_ns(stat));
        }
        if self.age_of(newest) < i128::from(self.min_age_s) { Err(SkipReason::TooYoung) } else { Ok(()) }
    }

    /// Whole seconds, negative for the future.
    fn age_of(&self, time_ns: i64) -> i128 {
        (i128::from(self.now_ns) - i128::from(time_ns)).div_euclid(1_000_000_000)
    }

    /// Files come sorted, so a directory is opened once for all of its own.
    fn keep(&mut self, parent: &[u8]) -> Result<(), SkipReason> {
        if self.kept.as_ref().is_none_or(|k| k.path != parent) {
            self.kept = None;
            if self.batch.family == FileFamily::Tmp {
                self.nobody_locks_above(parent)?;
            }
            if !parent.is_empty() {
                self.kept = Some(Kept { path: parent.to_vec(), dir: self.open_inside(parent, DIRECTORY)? });
            }
        }
        Ok(())
    }

    /// A BSD lock on a temporary directory is how its owner asks cleaners to leave everything below alone.
    fn nobody_locks_above(&mut self, parent: &[u8]) -> Result<(), SkipReason> {
        for end in (0..=parent.len()).filter(|end| *end == 0 || *end == parent.len() || parent[*end] == b'/') {
            let path = &parent[..end];
            if !self.locked.contains_key(path) {
                let dir = self.open_inside(if path.is_empty() { b"." } else { path }, DIRECTORY)?;
                self.locked.insert(path.to_vec(), is_locked(dir.as_fd()));
            }
            if self.locked.get(path) != Some(&false) {
                return Err(SkipReason::InUse);
            }
        }
        Ok(())
    }

    pub fn open_inside(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, SkipReason> {
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), INSIDE).map_err(|e| match e {
            Errno::NOENT => SkipReason::Gone,
            Errno::LOOP | Errno::XDEV => SkipReason::Outside,
            // A socket, a device without a driver, a file where a directory was: not what was examined.
            Errno::NOTDIR | Errno::NXIO | Errno::NODEV | Errno::AGAIN => SkipReason::Changed,
            _ => SkipReason::Error,
        })
    }

    /// A regular file with one link by its inode, for taking back what this actuator made itself.
    pub fn by_inode(&self, path: &HostPath, ino: u64) -> Result<ByInode, SkipReason> {
        let (parent, _) = split(path.as_bytes());
        let dir = self.open_inside(if parent.is_empty() { b"." } else { parent }, DIRECTORY)?;
        let file = self.open_inside(path.as_bytes(), LOOK)?;
        let stat = rustix::fs::fstat(&file).map_err(|_| SkipReason::Error)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || stat.st_ino != ino || stat.st_dev != self.batch.device {
            return Err(SkipReason::Changed);
        }
        if stat.st_nlink == 1 { Ok(ByInode { file, stat, dir }) } else { Err(SkipReason::HardLinked) }
    }

    /// Whether a directory is what was examined and old enough. Asked before its files go, which makes it young.
    pub fn dir_as_examined(&self, target: &FileTarget) -> Result<(), SkipReason> {
        if never::file(self.batch.family, &self.batch.root.join(&target.path)).is_some() {
            return Err(SkipReason::Protected);
        }
        let dir = self.open_inside(target.path.as_bytes(), DIRECTORY)?;
        let stat = rustix::fs::fstat(&dir).map_err(|_| SkipReason::Error)?;
        if stat.st_ino != target.ino || mtime_ns(&stat) != target.mtime_ns || ctime_ns(&stat) != target.ctime_ns {
            return Err(SkipReason::Changed);
        }
        let min_age = self.min_age_s.max(Limits::MIN_DIR_AGE_S);
        if self.age_of(mtime_ns(&stat).max(ctime_ns(&stat))) < i128::from(min_age) { Err(SkipReason::TooYoung) } else { Ok(()) }
    }

    /// Removes a directory that [`Self::dir_as_examined`] passed, if it is empty by now.
    pub fn remove_dir(&self, target: &FileTarget) -> Result<(), SkipReason> {
        let (parent, name) = split(target.path.as_bytes());
        let parent = self.open_inside(if parent.is_empty() { b"." } else { parent }, DIRECTORY)?;
        let dir = self.open_inside(target.path.as_bytes(), DIRECTORY)?;
        let same = |stat: &Stat| stat.st_dev == self.batch.device && stat.st_ino == target.ino;
        if !rustix::fs::fstat(&dir).is_ok_and(|s| same(&s)) || !named(parent.as_fd(), name).is_ok_and(|s| same(&s)) {
            return Err(SkipReason::Changed);
        }
        if is_locked(dir.as_fd()) {
            return Err(SkipReason::InUse);
        }
        rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).map_err(|e| match e {
            Errno::NOTEMPTY | Errno::EXIST => SkipReason::NotEmpty,
            Errno::NOENT => SkipReason::Gone,
            Errno::NOTDIR => SkipReason::Changed,
            Errno::BUSY => SkipReason::InUse,
            _ => SkipReason::Error,
        })
    }
}

impl Held<'_> {
    pub fn on_disk(&self) -> u64 {
        u64::try_from(self.stat.st_blocks).unwrap_or(0).saturating_mul(512)
    }

    /// Steps 4 and 5 of the module's list.
    pub fn unlink(&self) -> Unlinked {
        // The file was opened by its path from the root, the directory perhaps a moment earlier: if somebody exchanged directories in
        // between, the one in our hands is not the file's.
        match named(self.dir, self.name) {
            Ok(there) if there.st_ino == self.stat.st_ino && there.st_dev == self.stat.st_dev => {}
            Ok(_) | Err(Errno::NOENT) => return Unlinked::Kept(SkipReason::Changed),
            Err(_) => return Unlinked::Kept(SkipReason::Error),
        }
        match rustix::fs::unlinkat(self.dir, self.name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Unlinked::Kept(SkipReason::Gone),
            Err(Errno::BUSY) => return Unlinked::Kept(SkipReason::InUse),
            Err(Errno::ISDIR) => return Unlinked::Kept(SkipReason::Changed),
            Err(_) => return Unlinked::Kept(SkipReason::Error),
        }
        match rustix::fs::fstat(&self.file) {
            Ok(stat) if stat.st_nlink == 0 => Unlinked::Gone,
            _ => Unlinked::Another,
        }
    }
}

/// # Errors
/// `InUse` when somebody has the file open, `UseUnknown` when the filesystem cannot tell.
pub(super) fn lease(file: BorrowedFd<'_>) -> Result<(), SkipReason> {
    sys::take_write_lease(file)
        .map_err(|e| if e.kind() == std::io::ErrorKind::WouldBlock { SkipReason::InUse } else { SkipReason::UseUnknown })
}

pub(super) fn named(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Stat> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Held by somebody now; the lock that tells is given back at once.
fn is_locked(dir: BorrowedFd<'_>) -> bool {
    let taken = rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive);
    if taken.is_ok() {
        // Closing the descriptor would do as well; an error here changes nothing.
        let _ = rustix::fs::flock(dir, FlockOperation::Unlock);
    }
    taken.is_err()
}

/// Parent (empty for the root) and name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|b| *b == b'/').map_or((&[], path), |at| (&path[..at], &path[at + 1..]))
}

pub(super) fn mtime_ns(stat: &Stat) -> i64 {
    nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64)
}

fn ctime_ns(stat: &Stat) -> i64 {
    nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64)
}

fn atime_ns(stat: &Stat) -> i64 {
    nanoseconds(stat.st_atime, stat.st_atime_nsec as i64)
}

const fn nanoseconds(s: i64, ns: i64) -> i64 {
    s.saturating_mul(1_000_000_000).saturating_add(ns)
}
