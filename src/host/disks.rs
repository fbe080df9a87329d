//! Block devices: their counters, and which of them carry a filesystem.

use std::collections::BTreeSet;

use super::Read;
use super::columns::{Words, damaged, keep_latest, lines};
use super::root::{Root, if_there};
use crate::model::{Discards, DiskIo, Flushes, Mount};

const WHAT: &str = "/proc/diskstats";

/// The unit of diskstats' sector columns, whatever the device's own sectors are.
const SECTOR: u64 = 512;
/// Stacks of device mapper, RAID and partitions are a handful deep.
const MAX_STACK: usize = 64;

/// Total. Lines of kernels that print fewer columns are left out; a table of which nothing is understood is an error, an empty one is a host
/// without disks. A device that appears twice has the later figures.
pub(super) fn parse_diskstats(bytes: &[u8]) -> Read<Vec<DiskIo>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut disks = Vec::with_capacity(16);
    disks.extend(lines(WHAT, bytes)?.filter_map(parse_disk));
    if disks.is_empty() {
        return Err(damaged(WHAT, "no line was understood"));
    }
    keep_latest(&mut disks, |d| &d.name);
    Ok(disks)
}

/// `8 0 sda` and eleven columns; four of discards since 4.18, two of flushes since 5.5.
fn parse_disk(line: &[u8]) -> Option<DiskIo> {
    let mut words = Words(line);
    let major = words.number()?.try_into().ok()?;
    let minor = words.number()?.try_into().ok()?;
    let name = words.next()?;
    let [reads, reads_merged, sectors_read, read_ms, writes, writes_merged, sectors_written, write_ms, in_flight, busy_ms, weighted_ms] =
        words.numbers()?;
    let discards = words.numbers().map(|[completed, merged, sectors, ms]| Discards { completed, merged, sectors, ms });
    Some(DiskIo {
        name: String::from_utf8_lossy(name).into_owned(),
        busy_ms,
        read_bytes: sectors_read.saturating_mul(SECTOR),
        written_bytes: sectors_written.saturating_mul(SECTOR),
        major,
        minor,
        reads,
        reads_merged,
        read_ms,
        writes,
        writes_merged,
        write_ms,
        in_flight,
        weighted_ms,
        discards,
        flushes: discards.and_then(|_| words.numbers()).map(|[completed, ms]| Flushes { completed, ms }),
    })
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

    /// A line of `columns` counters that count up from 1.
    fn disk(name: &str, columns: usize) -> String {
        let counters: Vec<String> = (1..=columns).map(|n| n.to_string()).collect();
        format!("   8      16 {name} {}\n", counters.join(" "))
    }

    #[test]
    fn every_column_has_its_place() {
        let expected = DiskIo {
            name: "sdb".into(),
            busy_ms: 10,
            read_bytes: 3 * 512,
            written_bytes: 7 * 512,
            major: 8,
            minor: 16,
            reads: 1,
            reads_merged: 2,
            read_ms: 4,
            writes: 5,
            writes_merged: 6,
            write_ms: 8,
            in_flight: 9,
            weighted_ms: 11,
            discards: Some(Discards { completed: 12, merged: 13, sectors: 14, ms: 15 }),
            flushes: Some(Flushes { completed: 16, ms: 17 }),
        };
        assert_eq!(parse_diskstats(disk("sdb", 17).as_bytes()).unwrap(), std::slice::from_ref(&expected));
        assert_eq!(parse_diskstats(disk("sdb", 15).as_bytes()).unwrap(), [DiskIo { flushes: None, ..expected.clone() }]);
        assert_eq!(parse_diskstats(disk("sdb", 11).as_bytes()).unwrap(), [DiskIo { flushes: None, discards: None, ..expected.clone() }]);
        assert_eq!(parse_diskstats(disk("sdb", 19).as_bytes()).unwrap(), [expected], "a later kernel's");
    }

    #[test]
    fn a_device_that_appears_twice_is_one_and_half_a_line_none() {
        let table = [disk("sda", 11), disk("sda1", 4), disk("sda", 17), disk("sdc", 11)].concat();
        let read = parse_diskstats(table.as_bytes()).unwrap();
        assert_eq!(read.iter().map(|d| (d.name.as_str(), d.flushes.is_some())).collect::<Vec<_>>(), [("sda", true), ("sdc", false)]);
    }

    #[test]
    fn no_disks_are_none_and_no_table_is_an_error() {
        assert_eq!(parse_diskstats(b"").unwrap(), []);
        for bad in [b"\n".as_slice(), b"nothing like it\n", b"8 0 sda 1 2 3 4 5 6 7 8 9 10 11", b"8 0 sda 1 2 3 4 5 6 7 8 9 10 x\n"] {
            assert!(parse_diskstats(bad).is_err(), "{bad:?}");
        }
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

        #[test]
        fn damaged_lines_are_left_out(lines in proptest::collection::vec("[0-9 ]{0,8} [a-z]{0,3}( [0-9x]{1,21}){0,20}", 1..20)) {
            let text = format!("{}{}\n", disk("sda", 11), lines.join("\n"));
            prop_assert!(parse_diskstats(text.as_bytes()).unwrap().len() <= lines.len() + 1);
        }
    }
}
