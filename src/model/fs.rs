//! Mounts and how full they are.

use serde::{Deserialize, Serialize};

use super::{HostPath, Percent};

/// Whether a filesystem can hold the kind of data that fills up a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FsKind {
    /// On a block device of this host: space signals apply.
    Local,
    /// NFS, CIFS, FUSE and the like: only `mount_stuck` applies.
    Remote,
    /// overlay, squashfs, iso9660, tmpfs, proc, ...: no signal at all, but hung ones are still told.
    Pseudo,
}

/// One line of mountinfo, after de-duplication by device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is mounted, as the agent's host sees it (without `--root`).
    pub path: HostPath,
    /// `st_dev` of everything on it.
    pub device: u64,
    /// What mountinfo calls its source (`/dev/vda1`, `server:/export`).
    pub source: HostPath,
    pub fs_type: String,
    pub kind: FsKind,
    /// Mount flag or superblock flag says read-only.
    pub read_only: bool,
    /// Other places where the same device is mounted (bind mounts).
    pub also_at: Vec<HostPath>,
}

/// One statvfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsUsage {
    pub total: u64,
    /// Free to root (`f_bfree`).
    pub free: u64,
    /// Free to everybody else (`f_bavail`): smaller by the reserved blocks.
    pub available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

impl FsUsage {
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.free)
    }

    /// What `df` prints: used / (used + available to non-root). `None` for a filesystem without blocks.
    pub fn used_percent(&self) -> Option<Percent> {
        let reachable = self.used().saturating_add(self.available);
        (reachable > 0).then(|| Percent(self.used() as f64 * 100.0 / reachable as f64))
    }

    /// `None` where the filesystem does not count inodes (btrfs says 0 of 0).
    pub fn inodes_free_percent(&self) -> Option<Percent> {
        (self.inodes > 0).then(|| Percent(self.inodes_free as f64 * 100.0 / self.inodes as f64))
    }

    /// Bytes that must be freed for `used_percent` to come down to `floor`; 0 when it is there already.
    pub fn excess_over(&self, floor: Percent) -> u64 {
        let reachable = self.used().saturating_add(self.available);
        let allowed = (reachable as f64 * floor.0 / 100.0).floor() as u64;
        self.used().saturating_sub(allowed)
    }

    /// Inodes that must be freed for at least `floor` percent to be free.
    pub fn inodes_short_of(&self, floor: Percent) -> u64 {
        let wanted = (self.inodes as f64 * floor.0 / 100.0).ceil() as u64;
        wanted.saturating_sub(self.inodes_free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_blocks_count_as_used() {
        let usage = FsUsage { total: 1000, free: 100, available: 50, inodes: 0, inodes_free: 0 };
        assert!((usage.used_percent().unwrap().0 - 900.0 * 100.0 / 950.0).abs() < 1e-9);
        assert_eq!(usage.excess_over(Percent(80.0)), 900 - 760);
        assert_eq!(usage.inodes_free_percent(), None);
    }
}
