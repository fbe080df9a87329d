//! ext4's own count of errors. After an error the mount flags may go on saying `rw` while every write fails.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::root::{Root, parse_number};
use super::{HotFile, Read, ReadError, disks};
use crate::model::Mount;

/// The counters, kept open by device. They are sysfs's: that they are open keeps nothing mounted.
#[derive(Debug, Default)]
pub(super) struct Ext4Errors(Mutex<HashMap<u64, Arc<HotFile>>>);

impl Ext4Errors {
    /// `/sys/fs/ext4/DEV/errors_count`; `NotHere` for what is not ext2, ext3 or ext4.
    pub(super) fn read(&self, root: &Root, mount: &Mount) -> Read<u64> {
        if !matches!(mount.fs_type.as_str(), "ext2" | "ext3" | "ext4") {
            return Err(ReadError::NotHere {
                what: mount.path.to_string(),
                why: format!("{} keeps no count of its errors", mount.fs_type),
            });
        }
        let known = self.files().get(&mount.device).cloned();
        let file = match known {
            Some(file) => file,
            None => {
                let name = disks::read_name(root, mount.device)?;
                Arc::new(HotFile::one_record(format!("/sys/fs/ext4/{name}/errors_count")))
            }
        };
        let count = file.read(root, |bytes| {
            parse_number(bytes).ok_or_else(|| ReadError::Parse { what: "errors_count".to_owned(), why: "not a number".to_owned() })
        });
        let mut files = self.files();
        // The device may come back under another name.
        if count.is_ok() {
            files.insert(mount.device, file)
        } else {
            files.remove(&mount.device)
        };
        count
    }

    /// Forgets what is mounted no more.
    pub(super) fn keep_only(&self, mounts: &[Mount]) {
        let devices: BTreeSet<u64> = mounts.iter().map(|m| m.device).collect();
        self.files().retain(|device, _| devices.contains(device));
    }

    fn files(&self) -> MutexGuard<'_, HashMap<u64, Arc<HotFile>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
