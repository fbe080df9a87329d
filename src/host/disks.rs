//! Block devices: their counters, and which of them carry a filesystem.

use std::collections::BTreeSet;

use procfs::DiskStat;

use super::root::{Root, if_there};
use super::{Read, ReadError};
use crate::model::{DiskIo, Mount};

/// The unit of diskstats' sector columns, whatever the device's own sectors are.
const SECTOR: u64 = 512;
/// Stacks of device mapper, RAID and partitions are a handful deep.
const MAX_STACK: usize = 64;

/// Total. Lines of kernels that print fewer columns are left out; a table of which nothing is understood is an error.
pub(super) fn parse_diskstats(bytes: &[u8]) -> Read<Vec<DiskIo>> {
    let text = String::from_utf8_lossy(bytes);
    let disks: Vec<DiskIo> = text
        .lines()
        .filter_map(|line| DiskStat::from_line(line).ok())
        .map(|d| DiskIo {
            name: d.name,
            busy_ms: d.time_in_progress,
            read_bytes: d.sectors_read.saturating_mul(SECTOR),
            written_bytes: d.sectors_written.saturating_mul(SECTOR),
            ..DiskIo::default()
        })
        .collect();
    if disks.is_empty() && !text.trim().is_empty() {
        return Err(ReadError::Parse { what: "/proc/diskstats".to_owned(), why: "no line was understood".to_owned() });
    }
    Ok(disks)
}

/// The kernel's name of a block device number: the last component of `/sys/dev/block/MAJ:MIN`.
pub(super) fn read_name(root: &Root, device: u64) -> Read<String> {
    let link = root.read_link(&format!("/sys/dev/block/{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))?;
    Ok(String::from_utf8_lossy(link.file_name()).into_owned())
}

/// The device of a mount, then what it is made of, down to whole disks. A partition stands for its disk: it is the disk that saturates.
pub(super) fn read_under(root: &Root, mount: &Mount) -> Read<Vec<String>> {
    let top = match read_name(root, mount.device) {
        Ok(name) => name,
        // btrfs and zfs have no device number of their own; the source names one of their devices.
        Err(e) => match mount.source.strip(&"/dev".into()) {
            Some(name) => String::from_utf8_lossy(name.as_bytes()).into_owned(),
            None => return Err(e),
        },
    };
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut todo = vec![top];
    while let Some(name) = todo.pop() {
        if found.len() >= MAX_STACK || !seen.insert(name.clone()) {
            continue;
        }
        let sys = format!("/sys/class/block/{name}");
        if if_there(root.read_number(&format!("{sys}/partition")))?.is_some() {
            // `.../block/sda/sda1`: the component before the partition's own.
            let link = root.read_link(&sys)?;
            if let Some(disk) = link.as_path().parent().and_then(|p| p.file_name()) {
                todo.push(disk.to_string_lossy().into_owned());
            }
            continue;
        }
        let slaves = if_there(root.list(&format!("{sys}/slaves")))?.unwrap_or_default();
        todo.extend(slaves.into_iter().rev().map(|s| String::from_utf8_lossy(&s).into_owned()));
        found.push(name);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FsKind;
    use proptest::prelude::*;

    #[test]
    fn counters_are_bytes_and_milliseconds() {
        let disks = parse_diskstats(b"   8       0 sda 10 1 16 5 20 2 32 7 0 450 12 0 0 0 0 3 1\n").unwrap();
        assert_eq!(
            disks,
            [DiskIo { name: "sda".into(), busy_ms: 450, read_bytes: 16 * 512, written_bytes: 32 * 512, ..DiskIo::default() }]
        );
        assert!(parse_diskstats(b"nothing like it\n").is_err());
    }

    /// A sysfs tree as the kernel lays it out: LVM on a partition and on a whole disk.
    #[test]
    fn a_logical_volume_leads_down_to_whole_disks() {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        for d in
            ["sys/dev/block", "sys/class/block", "sys/devices/dm-0/slaves", "sys/devices/block/sda/sda2/slaves", "sys/devices/block/sdb"]
        {
            std::fs::create_dir_all(at(d)).unwrap();
        }
        let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, at(from)).unwrap();
        link("../../devices/dm-0", "sys/dev/block/253:0");
        link("../../devices/dm-0", "sys/class/block/dm-0");
        link("../../devices/block/sda/sda2", "sys/class/block/sda2");
        link("../../devices/block/sda", "sys/class/block/sda");
        link("../../devices/block/sdb", "sys/class/block/sdb");
        link("../../sda2", "sys/devices/dm-0/slaves/sda2");
        link("../../sdb", "sys/devices/dm-0/slaves/sdb");
        std::fs::write(at("sys/devices/block/sda/sda2/partition"), "2\n").unwrap();
        let mount = Mount {
            path: "/".into(),
            device: rustix::fs::makedev(253, 0),
            source: "/dev/mapper/vg-root".into(),
            fs_type: "ext4".into(),
            kind: FsKind::Local,
            read_only: false,
            also_at: Vec::new(),
        };
        assert_eq!(read_under(&Root::open(dir.path()).unwrap(), &mount).unwrap(), ["dm-0", "sda", "sdb"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_diskstats(&bytes);
        }
    }
}
