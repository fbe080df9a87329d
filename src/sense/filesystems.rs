//! All filesystems of one moment.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::host::{Read, ReadError, ReadHost};
use crate::model::{FsKind, FsSample, Mount, Observed};

/// What a filesystem lies on changes when somebody adds a disk, not between two samples.
const DISKS_EVERY_S: f64 = 300.0;

/// The disks under each device, and when that was asked.
#[derive(Debug, Default)]
pub(super) struct DiskMap(Mutex<HashMap<u64, (f64, Vec<String>)>>);

pub(super) fn look(host: &dyn ReadHost, disks: &DiskMap) -> Read<Vec<FsSample>> {
    let mounts = host.mounts()?;
    let usages = host.fs_usages(&mounts);
    disks.forget_all_but(&mounts);
    let samples = mounts.into_iter().zip(usages).map(|(mount, usage)| FsSample {
        stuck_for_s: match &usage {
            Err(ReadError::Stuck { for_s, .. }) => Some(*for_s),
            _ => None,
        },
        usage: usage.into(),
        takes_writes: Observed::unavailable("not tried"),
        ext4_errors: if mount.kind == FsKind::Local { host.ext4_errors(&mount).into() } else { Observed::unavailable("no local disk") },
        disks: if mount.kind == FsKind::Local { disks.under(host, &mount) } else { Vec::new() },
        mount,
    });
    Ok(samples.collect())
}

impl DiskMap {
    fn under(&self, host: &dyn ReadHost, mount: &Mount) -> Vec<String> {
        let now_s = host.now().uptime_s;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&mount.device) {
            Some((at_s, names)) if now_s - at_s < DISKS_EVERY_S => names.clone(),
            _ => {
                // A filesystem whose disks cannot be told takes part in no io signal; it is asked again with the next sample.
                let Ok(names) = host.disks_under(mount) else { return Vec::new() };
                known.insert(mount.device, (now_s, names.clone()));
                names
            }
        }
    }

    fn forget_all_but(&self, mounts: &[Mount]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|device, _| mounts.iter().any(|m| m.device == *device));
    }
}
