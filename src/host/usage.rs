//! How full a filesystem is: statvfs, which is the call that hangs when a server or a FUSE daemon does.
//!
//! No descriptor on a mount is kept: it could not be unmounted. So every look goes by path, and a path may lead somewhere else from one
//! look to the next. That is examined when the mount table has changed, and when the answer does not look like the filesystem's of before.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatVfs, StatVfsMountFlags, StatxFlags};

use super::deadline::{Ask, Parked, Parking};
use super::mounts::MountTables;
use super::root::{Root, io_error};
use super::{Read, ReadError};
use crate::model::{FsUsage, HostPath, Mount};

/// After this long a mount is stuck.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);

/// What is remembered of each filesystem between two looks.
#[derive(Debug, Default)]
pub(super) struct Usages {
    /// By device.
    places: Mutex<HashMap<u64, Arc<Place>>>,
}

#[derive(Debug)]
struct Place {
    key: Arc<str>,
    path: HostPath,
    here: PathBuf,
    device: u64,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    seen: Option<Seen>,
    /// Something does not fit the mount table, and it has not been told yet.
    doubt: bool,
}

/// By what a filesystem is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// Of the mount table with which it was examined.
    edition: u64,
    id: u64,
    block: u64,
    blocks: u64,
    name_max: u64,
    read_only: bool,
}

impl Usages {
    /// One statvfs a mount, all within little more than one deadline however many hang. Answers in the order of `mounts`.
    pub(super) fn read(&self, root: &Root, parking: &Arc<Parking>, tables: &MountTables, mounts: &[Mount]) -> Vec<Read<FsUsage>> {
        let edition = tables.edition();
        let places = self.places_of(root, mounts);
        let asks = places.iter().zip(mounts).map(|(place, mount)| {
            let (place, read_only) = (Arc::clone(place), mount.read_only);
            Ask::new(Arc::clone(&place.key), move || place.look(edition, read_only))
        });
        let answers = parking.ask_all(asks.collect(), DEADLINE);
        for place in &places {
            if std::mem::take(&mut lock(&place.last).doubt) {
                tables.doubt();
            }
        }
        answers
            .into_iter()
            .zip(mounts)
            .map(|(answer, mount)| answer.unwrap_or_else(|parked| Err(stuck("statvfs of ", &mount.path, parked))))
            .collect()
    }

    /// Forgets what is mounted no more.
    pub(super) fn keep_only(&self, mounts: &[Mount]) {
        let devices: BTreeSet<u64> = mounts.iter().map(|m| m.device).collect();
        lock(&self.places).retain(|device, _| devices.contains(device));
    }

    fn places_of(&self, root: &Root, mounts: &[Mount]) -> Vec<Arc<Place>> {
        let mut places = lock(&self.places);
        let place_of = |mount: &Mount| match places.get(&mount.device) {
            Some(place) if place.path == mount.path => Arc::clone(place),
            _ => {
                let place = Arc::new(Place {
                    // Of the device as well: what was mounted here before may still hang when another one is.
                    key: format!("mount {:#x} {}", mount.device, mount.path).into(),
                    path: mount.path.clone(),
                    here: root.join(&mount.path),
                    device: mount.device,
                    last: Mutex::default(),
                });
                places.insert(mount.device, Arc::clone(&place));
                place
            }
        };
        mounts.iter().map(place_of).collect()
    }
}

impl Place {
    fn look(&self, edition: u64, known_read_only: bool) -> Read<FsUsage> {
        let before = lock(&self.last).seen;
        let looked = match before {
            Some(before) if before.edition == edition => self.look_by_path(before),
            _ => self.examine(edition),
        };
        let mut last = lock(&self.last);
        // Told once, when it begins: what we cannot see from here would else be doubted for ever.
        last.doubt |= match (&looked, before) {
            (Ok((_, now)), Some(before)) => now.read_only != before.read_only,
            (Ok((_, now)), None) => now.read_only && !known_read_only,
            (Err(_), before) => before.is_some(),
        };
        last.seen = looked.as_ref().ok().map(|(_, now)| *now);
        looked.map(|(usage, _)| usage)
    }

    /// One call, for a filesystem that is known.
    fn look_by_path(&self, before: Seen) -> Read<(FsUsage, Seen)> {
        let stat = rustix::fs::statvfs(&self.here).map_err(|e| io_error(&self.path, e))?;
        let now = Seen::of(before.edition, &stat);
        if (Seen { read_only: before.read_only, ..now }) == before { Ok((usage(&stat), now)) } else { self.examine(before.edition) }
    }

    /// Makes sure that it is this filesystem which answers, and wakes neither an automounter nor a server to find out.
    fn examine(&self, edition: u64) -> Read<(FsUsage, Seen)> {
        let failed = |e| io_error(&self.path, e);
        let fd = rustix::fs::openat(CWD, &self.here, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let found = rustix::fs::statx(&fd, c"", flags, StatxFlags::empty()).map_err(failed)?;
        let (found, device) = (rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor), self.device);
        if found != device {
            let why = format!(
                "another filesystem is found there (device {found:#x}, not {device:#x}): hidden by a later mount, or not visible from here"
            );
            return Err(ReadError::NotHere { what: self.path.to_string(), why });
        }
        let stat = rustix::fs::fstatvfs(&fd).map_err(failed)?;
        Ok((usage(&stat), Seen::of(edition, &stat)))
    }
}

impl Seen {
    fn of(edition: u64, stat: &StatVfs) -> Self {
        Self {
            edition,
            id: stat.f_fsid,
            block: stat.f_frsize,
            blocks: stat.f_blocks,
            name_max: stat.f_namemax,
            read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        }
    }
}

fn usage(stat: &StatVfs) -> FsUsage {
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    FsUsage {
        total: bytes(stat.f_blocks),
        free: bytes(stat.f_bfree),
        available: bytes(stat.f_bavail),
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
    }
}

pub(super) fn stuck(doing: &str, path: &HostPath, parked: Parked) -> ReadError {
    let what = format!("{doing}{path}");
    match parked {
        Parked::NotAnswered { for_s } => ReadError::Stuck { what, for_s },
        Parked::NotAsked { parked } => ReadError::NotHere { what, why: format!("not asked: {parked} other calls hang already") },
    }
}

/// What the mutexes guard is whole after every statement, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
