//! ext4's own count of errors. After an error the mount flags may go on saying `rw` while every write fails.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mounts::MountTables;
use super::root::{Root, parse_number};
use super::{HotFile, Read, ReadError, disks};
use crate::model::Mount;

/// The counters, kept open by device. They are sysfs's: that they are open keeps nothing mounted.
#[derive(Debug, Default)]
pub(super) struct Ext4Errors(Mutex<HashMap<u64, Counter>>);

#[derive(Debug)]
struct Counter {
    file: Arc<HotFile>,
    last: u64,
}

impl Ext4Errors {
    /// `/sys/fs/ext4/DEV/errors_count`; `NotHere` for what is not ext2, ext3 or ext4. A new error is a reason to doubt the mount table.
    pub(super) fn read(&self, root: &Root, tables: &MountTables, mount: &Mount) -> Read<u64> {
        if !matches!(mount.fs_type.as_str(), "ext2" | "ext3" | "ext4") {
            return Err(ReadError::NotHere {
                what: mount.path.to_string(),
                why: format!("{} keeps no count of its errors", mount.fs_type),
            });
        }
        let known = self.counters().get(&mount.device).map(|c| (Arc::clone(&c.file), c.last));
        let (file, last) = match known {
            Some(known) => known,
            None => {
                let name = disks::read_name(root, mount.device)?;
                (Arc::new(HotFile::one_record(format!("/sys/fs/ext4/{name}/errors_count"))), 0)
            }
        };
        let count = file.read(root, |bytes| {
            parse_number(bytes).ok_or_else(|| ReadError::Parse { what: "errors_count".to_owned(), why: "not a number".to_owned() })
        });
        match &count {
            Ok(count) => {
                if *count != last {
                    tables.doubt();
                }
                self.counters().insert(mount.device, Counter { file, last: *count });
            }
            // The device may come back under another name.
            Err(_) => drop(self.counters().remove(&mount.device)),
        }
        count
    }

    /// Forgets what is mounted no more.
    pub(super) fn keep_only(&self, mounts: &[Mount]) {
        let devices: BTreeSet<u64> = mounts.iter().map(|m| m.device).collect();
        self.counters().retain(|device, _| devices.contains(device));
    }

    fn counters(&self) -> MutexGuard<'_, HashMap<u64, Counter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
