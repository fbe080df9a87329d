//! ext4's own count of errors. After an error the mount flags may go on saying `rw` while every write fails.

use super::root::Root;
use super::{Read, ReadError, disks};
use crate::model::Mount;

/// `/sys/fs/ext4/DEV/errors_count`; `NotHere` for what is not ext2, ext3 or ext4.
pub(super) fn read_errors(root: &Root, mount: &Mount) -> Read<u64> {
    if !matches!(mount.fs_type.as_str(), "ext2" | "ext3" | "ext4") {
        return Err(ReadError::NotHere { what: mount.path.to_string(), why: format!("{} keeps no count of its errors", mount.fs_type) });
    }
    let device = disks::read_name(root, mount.device)?;
    root.read_number(&format!("/sys/fs/ext4/{device}/errors_count"))
}
