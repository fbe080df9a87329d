//! Filesystems. One that does not answer or cannot be asked has one series, which says so and why.

use std::borrow::Cow;

use crate::metrics::exposition::{Exposition, Kind, Labels, Number};
use crate::model::{FsSample, FsUsage, HostPath, is_unprintable};

/// node_exporter's own choice: filesystems that are no place to store anything, and places that belong to somebody else.
const LEFT_OUT_TYPES: &[&str] = &["devtmpfs", "erofs", "iso9660", "overlay", "procfs", "squashfs"];
const LEFT_OUT_WITH_THEIR_ROOT: &[&str] = &["/dev", "/proc", "/sys"];
const LEFT_OUT_BELOW: &[&str] = &["/run/credentials", "/var/lib/docker", "/var/lib/containers/storage"];
/// node_exporter's words. The reason itself has the seconds in it, which would be another series with every sample.
const STUCK: &str = "mountpoint timeout";
const LONGEST_REASON: usize = 120;

type Column = (&'static str, &'static str, fn(&FsUsage) -> u64);

const COLUMNS: &[Column] = &[
    ("node_filesystem_size_bytes", "Size of the filesystem.", |u| u.total),
    ("node_filesystem_free_bytes", "Free to root.", |u| u.free),
    ("node_filesystem_avail_bytes", "Free to everybody else.", |u| u.available),
    ("node_filesystem_files", "Inodes there are.", |u| u.inodes),
    ("node_filesystem_files_free", "Inodes that are free.", |u| u.inodes_free),
];

pub(super) fn write(to: &mut Exposition, filesystems: &[FsSample]) {
    let shown: Vec<(&FsSample, Labels)> = filesystems.iter().filter(|fs| is_shown(fs)).map(|fs| (fs, labels(fs))).collect();
    for (name, help, value) in COLUMNS {
        let mut family = to.family(name, Kind::Gauge, help);
        for (fs, labels) in &shown {
            if let Some(usage) = fs.usage.value() {
                family.series(labels, value(usage));
            }
        }
    }
    let mut family = to.family("node_filesystem_readonly", Kind::Gauge, "1 when it is mounted read-only.");
    for (fs, labels) in shown.iter().filter(|(fs, _)| fs.usage.value().is_some()) {
        family.series(labels, fs.mount.read_only);
    }
    let help = "1 when it could not be asked; device_error says why.";
    let mut family = to.family("node_filesystem_device_error", Kind::Gauge, help);
    for (fs, labels) in &shown {
        family.series(labels, fs.usage.value().is_none());
    }
    let mut family = to.family("node_filesystem_mount_info", Kind::Gauge, "Constant 1: which device number is mounted where.");
    for (fs, _) in shown.iter().filter(|(fs, _)| fs.usage.value().is_some()) {
        let (mut major, mut minor) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (major_number, minor_number) = numbers(fs.mount.device);
        let labels = Labels::new(&[
            ("device", &label(&fs.mount.source)),
            ("major", major.format(major_number)),
            ("minor", minor.format(minor_number)),
            ("mountpoint", &label(&fs.mount.path)),
        ]);
        family.series(&labels, Number::Whole(1));
    }
}

fn is_shown(fs: &FsSample) -> bool {
    let path = fs.mount.path.as_path();
    !LEFT_OUT_TYPES.contains(&fs.mount.fs_type.as_str())
        && !LEFT_OUT_WITH_THEIR_ROOT.iter().any(|base| path.starts_with(base))
        && !LEFT_OUT_BELOW.iter().any(|base| path.strip_prefix(base).is_ok_and(|rest| !rest.as_os_str().is_empty()))
}

fn labels(fs: &FsSample) -> Labels {
    let mut labels = Labels::new(&[("device", &label(&fs.mount.source))]);
    // No error is no label: to Prometheus an empty one is the same.
    if let Some(why) = fs.usage.why() {
        let why = if fs.stuck_for_s.is_some() { STUCK } else { why };
        labels.push("device_error", why.get(..why.floor_char_boundary(LONGEST_REASON)).unwrap_or_default());
    }
    labels.push("fstype", &fs.mount.fs_type);
    labels.push("mountpoint", &label(&fs.mount.path));
    labels
}

/// A path as node_exporter shows it; one that somebody chose to break a terminal is escaped as everywhere else here.
fn label(path: &HostPath) -> Cow<'_, str> {
    match std::str::from_utf8(path.as_bytes()) {
        Ok(text) if !text.contains(is_unprintable) => text.into(),
        _ => path.to_string().into(),
    }
}

/// Major and minor, as `makedev` packs them.
const fn numbers(device: u64) -> (u64, u64) {
    ((device >> 8 & 0xfff) | (device >> 32 & !0xfff), (device & 0xff) | (device >> 12 & 0xffff_ff00))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FsKind, Mount, Observed};

    fn fs(path: &[u8], fs_type: &str, usage: Observed<FsUsage>) -> FsSample {
        FsSample {
            takes_writes: Observed::unavailable("not tried"),
            mount: Mount {
                path: HostPath::from_bytes(path),
                device: rustix::fs::makedev(0x12345, 0x6789ab),
                source: "/dev/sda1".into(),
                fs_type: fs_type.into(),
                kind: FsKind::Local,
                read_only: false,
                also_at: vec!["/bind".into()],
            },
            usage,
            stuck_for_s: None,
            ext4_errors: Observed::unavailable("not asked"),
            disks: Vec::new(),
        }
    }

    fn full() -> Observed<FsUsage> {
        Observed::fresh(FsUsage { total: 100, free: 20, available: 10, inodes: 50, inodes_free: 5 })
    }

    fn rendered(filesystems: &[FsSample]) -> Vec<String> {
        let mut to = Exposition::default();
        write(&mut to, filesystems);
        String::from_utf8_lossy(to.written()).lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn one_that_answers_has_all_its_series_and_no_error() {
        let lines = rendered(&[fs(b"/srv", "ext4", full())]);
        let labels = "{device=\"/dev/sda1\",fstype=\"ext4\",mountpoint=\"/srv\"}";
        for (name, value) in [
            ("size_bytes", 100),
            ("free_bytes", 20),
            ("avail_bytes", 10),
            ("files", 50),
            ("files_free", 5),
            ("readonly", 0),
            ("device_error", 0),
        ] {
            assert!(lines.contains(&format!("node_filesystem_{name}{labels} {value}")), "{name}: {lines:?}");
        }
        let info = "node_filesystem_mount_info{device=\"/dev/sda1\",major=\"74565\",minor=\"6785451\",mountpoint=\"/srv\"} 1";
        assert!(lines.contains(&info.to_owned()) && lines.len() == 8, "bind mounts have no series: {lines:?}");
    }

    #[test]
    fn one_that_hangs_or_fails_says_so_and_nothing_else() {
        let stuck = FsSample { stuck_for_s: Some(3.2), ..fs(b"/nfs", "nfs", Observed::unavailable("/nfs has not answered for 3.2 s")) };
        let failed = fs(b"/bad", "xfs", Observed::unavailable(format!("/bad: \"{}", "ä".repeat(200))));
        let lines = rendered(&[stuck, failed]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("device_error=\"mountpoint timeout\"") && lines[0].ends_with(" 1"), "{lines:?}");
        assert!(lines[1].contains("device_error=\"/bad: \\\"ää") && lines[1].len() < 300 && lines[1].ends_with(" 1"), "{lines:?}");
    }

    #[test]
    fn what_node_exporter_leaves_out_is_left_out() {
        let out: [(&[u8], &str); 7] = [
            (b"/", "overlay"),
            (b"/snap/x", "squashfs"),
            (b"/dev", "tmpfs"),
            (b"/dev/shm", "tmpfs"),
            (b"/sys/x", "ext4"),
            (b"/run/credentials/a", "ramfs"),
            (b"/var/lib/docker/x", "ext4"),
        ];
        for (path, fs_type) in out {
            assert_eq!(rendered(&[fs(path, fs_type, full())]), Vec::<String>::new(), "{}", String::from_utf8_lossy(path));
        }
        for path in [&b"/devices"[..], b"/var/lib/docker", b"/run", b"/run/credentials"] {
            assert_eq!(rendered(&[fs(path, "ext4", full())]).len(), 8, "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn a_hostile_name_is_shown_and_breaks_nothing() {
        let lines = rendered(&[fs(b"/a b\\c\"", "ext4", full()), fs(b"/x\n\xff\x1b", "ext4", full())]);
        assert!(lines[0].contains("mountpoint=\"/a b\\\\c\\\"\""), "{lines:?}");
        assert!(lines[1].contains("mountpoint=\"/x\\\\x0a\\\\xff\\\\x1b\""), "{lines:?}");
        assert_eq!(lines.len(), 16);
    }
}
