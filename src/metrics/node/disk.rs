//! Block devices: `/proc/diskstats`.

use crate::metrics::exposition::{Exposition, Kind, Labels, Number};
use crate::model::DiskIo;

/// The kernel counts times in milliseconds.
const MILLISECOND_DIGITS: usize = 3;

type Column = (&'static str, Kind, &'static str, fn(&DiskIo) -> Option<Number>);

const fn ms(value: u64) -> Option<Number> {
    Some(Number::Scaled(value, MILLISECOND_DIGITS))
}

const COLUMNS: &[Column] = &[
    ("node_disk_reads_completed_total", Kind::Counter, "Reads that were completed.", |d| Some(d.reads.into())),
    ("node_disk_reads_merged_total", Kind::Counter, "Reads that were merged into another.", |d| Some(d.reads_merged.into())),
    ("node_disk_read_bytes_total", Kind::Counter, "Bytes read.", |d| Some(d.read_bytes.into())),
    ("node_disk_read_time_seconds_total", Kind::Counter, "Time that all reads took.", |d| ms(d.read_ms)),
    ("node_disk_writes_completed_total", Kind::Counter, "Writes that were completed.", |d| Some(d.writes.into())),
    ("node_disk_writes_merged_total", Kind::Counter, "Writes that were merged into another.", |d| Some(d.writes_merged.into())),
    ("node_disk_written_bytes_total", Kind::Counter, "Bytes written.", |d| Some(d.written_bytes.into())),
    ("node_disk_write_time_seconds_total", Kind::Counter, "Time that all writes took.", |d| ms(d.write_ms)),
    ("node_disk_io_now", Kind::Gauge, "Requests in flight.", |d| Some(d.in_flight.into())),
    ("node_disk_io_time_seconds_total", Kind::Counter, "Time with a request in flight.", |d| ms(d.busy_ms)),
    ("node_disk_io_time_weighted_seconds_total", Kind::Counter, "Time times requests in flight.", |d| ms(d.weighted_ms)),
    ("node_disk_discards_completed_total", Kind::Counter, "Discards that were completed.", |d| Some(d.discards?.completed.into())),
    ("node_disk_discards_merged_total", Kind::Counter, "Discards that were merged into another.", |d| Some(d.discards?.merged.into())),
    ("node_disk_discarded_sectors_total", Kind::Counter, "Sectors discarded.", |d| Some(d.discards?.sectors.into())),
    ("node_disk_discard_time_seconds_total", Kind::Counter, "Time that all discards took.", |d| ms(d.discards?.ms)),
    ("node_disk_flush_requests_total", Kind::Counter, "Flushes that were completed.", |d| Some(d.flushes?.completed.into())),
    ("node_disk_flush_requests_time_seconds_total", Kind::Counter, "Time that all flushes took.", |d| ms(d.flushes?.ms)),
];

pub(super) fn write(to: &mut Exposition, disks: &[DiskIo]) {
    let disks: Vec<(&DiskIo, Labels)> =
        disks.iter().filter(|d| !is_left_out(&d.name)).map(|d| (d, Labels::new(&[("device", &d.name)]))).collect();
    for (name, kind, help, value) in COLUMNS {
        let mut family = to.family(name, *kind, help);
        for (disk, labels) in &disks {
            if let Some(value) = value(disk) {
                family.series(labels, value);
            }
        }
    }
    let mut family = to.family("node_disk_info", Kind::Gauge, "Constant 1: which number a block device has.");
    for (disk, _) in &disks {
        let (mut major, mut minor) = (itoa::Buffer::new(), itoa::Buffer::new());
        let labels = [("device", disk.name.as_str()), ("major", major.format(disk.major)), ("minor", minor.format(disk.minor))];
        family.series(&Labels::new(&labels), true);
    }
}

/// node_exporter's own rule, `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`: memory, images, floppies and partitions.
fn is_left_out(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    let letter = ["hd", "sd", "vd", "xvd"].iter().find_map(|kind| stem.strip_prefix(kind));
    matches!(stem, "ram" | "zram" | "loop" | "fd")
        || letter.is_some_and(|l| matches!(l.as_bytes(), [b'a'..=b'z']))
        || stem
            .strip_prefix("nvme")
            .and_then(|rest| rest.strip_suffix('p')?.split_once('n'))
            .is_some_and(|(controller, namespace)| digits(controller) && digits(namespace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Discards;

    #[test]
    fn partitions_and_memory_are_left_out() {
        for out in ["ram0", "zram12", "loop7", "fd0", "sda1", "hdb12", "vdz3", "xvda1", "nvme0n1p2", "nvme10n2p11"] {
            assert!(is_left_out(out), "{out}");
        }
        for kept in
            ["sda", "vda", "xvda", "nvme0n1", "dm-0", "md127", "sdaa1", "mmcblk0p1", "sr0", "nvmen1p2", "nvme0np2", "fd", "xda1", "", "1"]
        {
            assert!(!is_left_out(kept), "{kept}");
        }
    }

    #[test]
    fn what_an_old_kernel_does_not_count_has_no_series() {
        let new =
            DiskIo { name: "sda".into(), busy_ms: 1501, discards: Some(Discards { ms: 2, ..Discards::default() }), ..DiskIo::default() };
        let old = DiskIo { name: "sdb".into(), ..DiskIo::default() };
        let mut to = Exposition::default();
        write(&mut to, &[new, old]);
        let text = String::from_utf8_lossy(to.written()).into_owned();
        let of = |name: &str| text.lines().filter(|l| l.starts_with(name)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of("node_disk_discard_time_seconds_total"), ["node_disk_discard_time_seconds_total{device=\"sda\"} 0.002"]);
        assert_eq!(of("node_disk_flush_requests_total"), Vec::<String>::new());
        assert_eq!(of("node_disk_io_time_seconds_total{").len(), 2);
        assert!(text.contains("node_disk_io_time_seconds_total{device=\"sda\"} 1.501\n"), "{text}");
    }
}
