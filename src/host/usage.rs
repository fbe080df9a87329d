//! How full a filesystem is: statvfs, which is the call that hangs when a server or a FUSE daemon does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};

use super::deadline::{Ask, Parked, Parking};
use super::root::{Root, io_error};
use super::{Read, ReadError};
use crate::model::{FsUsage, HostPath, Mount};

/// After this long a mount is stuck.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);

/// One statvfs a mount, all within little more than one deadline however many hang. Answers in the order of `mounts`.
pub(super) fn read_usages(root: &Root, parking: &Arc<Parking>, mounts: &[Mount]) -> Vec<Read<FsUsage>> {
    let asks = mounts
        .iter()
        .map(|mount| {
            let (path, here, device) = (mount.path.clone(), root.join(&mount.path), mount.device);
            Ask::new(format!("mount {}", mount.path), move || look(&path, &here, device))
        })
        .collect();
    let answers = parking.ask_all(asks, DEADLINE);
    answers
        .into_iter()
        .zip(mounts)
        .map(|(answer, mount)| answer.unwrap_or_else(|parked| Err(stuck("statvfs of ", &mount.path, parked))))
        .collect()
}

pub(super) fn stuck(doing: &str, path: &HostPath, parked: Parked) -> ReadError {
    let what = format!("{doing}{path}");
    match parked {
        Parked::NotAnswered { for_s } => ReadError::Stuck { what, for_s },
        Parked::NotAsked { parked } => ReadError::NotHere { what, why: format!("not asked: {parked} other calls hang already") },
    }
}

fn look(path: &HostPath, here: &Path, device: u64) -> Read<FsUsage> {
    let fd = rustix::fs::openat(CWD, here, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|e| io_error(path, e))?;
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let seen = rustix::fs::statx(&fd, c"", flags, StatxFlags::empty()).map_err(|e| io_error(path, e))?;
    let found = rustix::fs::makedev(seen.stx_dev_major, seen.stx_dev_minor);
    if found != device {
        let why = format!(
            "another filesystem is found there (device {found:#x}, not {device:#x}): hidden by a later mount, or not visible from here"
        );
        return Err(ReadError::NotHere { what: path.to_string(), why });
    }
    let stat = rustix::fs::fstatvfs(&fd).map_err(|e| io_error(path, e))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(FsUsage {
        total: bytes(stat.f_blocks),
        free: bytes(stat.f_bfree),
        available: bytes(stat.f_bavail),
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
    })
}
