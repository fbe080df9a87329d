//! What is mounted where: `/proc/PID/mountinfo`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};

use super::columns::{damaged, lines};
use super::root::Root;
use super::{HotFile, Read, ReadError};
use crate::model::{FsKind, HostPath, Mount};

/// The kernel's own interfaces and what stands in for a mount that is not there yet. Nothing can be stored in them, so they are left
/// out altogether.
const INTERFACES: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tracefs",
];

/// Served by another machine or another program: it can stop answering.
const REMOTE: &[&str] = &[
    "9p",
    "acfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "fuse",
    "fuseblk",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "prl_fs",
    "pvfs2",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
];

/// Local filesystems without a block device number of their own (a pool, several devices), or on raw flash.
const LOCAL_WITHOUT_DEVICE: &[&str] = &["bcachefs", "btrfs", "jffs2", "ubifs", "zfs"];

/// Images: full by nature.
const IMAGES: &[&str] = &["cramfs", "erofs", "iso9660", "romfs", "squashfs", "udf"];

/// One line, unfolded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The part of the filesystem that is mounted: `/` for all of it.
    pub(super) root: HostPath,
    pub(super) path: HostPath,
    pub(super) device: u64,
    pub(super) fs_type: String,
    pub(super) source: HostPath,
    pub(super) mount_read_only: bool,
    pub(super) super_read_only: bool,
}

/// The mount tables of this process and of pid 1. A table is read again only when the kernel says that it has changed, or somebody doubts it.
#[derive(Debug)]
pub(super) struct MountTables {
    own: HotFile,
    first: HotFile,
    known: Mutex<Option<Known>>,
    /// How often they were read.
    edition: AtomicU64,
    doubted: AtomicBool,
}

#[derive(Debug)]
struct Known {
    mounts: Vec<Mount>,
    watch: Watch,
}

/// Whose changes make what is known old.
#[derive(Debug, Clone, Copy)]
enum Watch {
    Own,
    First,
    Both,
    /// Files that are not the kernel's, such as a recorded tree, do not tell when they change.
    Nobody,
}

impl MountTables {
    pub(super) fn new() -> Self {
        Self {
            own: HotFile::new("/proc/self/mountinfo"),
            first: HotFile::new("/proc/1/mountinfo"),
            known: Mutex::new(None),
            edition: AtomicU64::new(0),
            doubted: AtomicBool::new(false),
        }
    }

    /// The host's mounts. `changed` is called with them whenever they were read anew.
    pub(super) fn read(&self, root: &Root, changed: impl FnOnce(&[Mount])) -> Read<Vec<Mount>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let doubted = self.doubted.swap(false, Ordering::SeqCst);
        if let Some(known) = &*known
            && !self.may_have_changed(known.watch)
            && !doubted
        {
            return Ok(known.mounts.clone());
        }
        // Asked for changes first and read then: what changes in between is told the next time. A read that fails leaves nothing known.
        *known = None;
        let (lines, watch) = self.read_lines(root)?;
        let mounts = as_seen_now(root, fold(lines));
        self.edition.fetch_add(1, Ordering::SeqCst);
        changed(&mounts);
        *known = Some(Known { mounts: mounts.clone(), watch });
        Ok(mounts)
    }

    /// Another number whenever the tables were read anew.
    pub(super) fn edition(&self) -> u64 {
        self.edition.load(Ordering::SeqCst)
    }

    /// Something was seen that does not fit the table: that a filesystem turns read-only after an error, or a directory above a mount is
    /// renamed, is no change of which the kernel tells.
    pub(super) fn doubt(&self) {
        self.doubted.store(true, Ordering::SeqCst);
    }

    fn may_have_changed(&self, watch: Watch) -> bool {
        match watch {
            Watch::Own => self.own.may_have_changed(),
            Watch::First => self.first.may_have_changed(),
            // Both are asked: each tells a change only once.
            Watch::Both => self.own.may_have_changed() | self.first.may_have_changed(),
            Watch::Nobody => true,
        }
    }

    /// A service with a sandbox has a mount namespace of its own, with `/usr` read-only and a private `/tmp`: pid 1's table tells what the
    /// host sees, ours adds what only we see. Below another root only pid 1's table is the host's.
    fn read_lines(&self, root: &Root) -> Read<(Vec<Line>, Watch)> {
        let watch = |files: &[&HotFile], watch| if files.iter().all(|f| f.is_kernels()) { watch } else { Watch::Nobody };
        if root.is_elsewhere() {
            let first = self.first.read(root, parse_mountinfo)?;
            return Ok((first, watch(&[&self.first], Watch::First)));
        }
        let own = self.own.read(root, parse_mountinfo)?;
        if same_namespace(root) {
            return Ok((own, watch(&[&self.own], Watch::Own)));
        }
        // Unreadable without the right to trace pid 1: then our own view is all there is.
        match self.first.read(root, parse_mountinfo) {
            Ok(first) => Ok((merge(first, own), watch(&[&self.own, &self.first], Watch::Both))),
            Err(_) => Ok((own, watch(&[&self.own], Watch::Own))),
        }
    }
}

/// What the table does not tell of a mount.
fn as_seen_now(root: &Root, mut mounts: Vec<Mount>) -> Vec<Mount> {
    for mount in mounts.iter_mut().filter(|m| m.kind == FsKind::Local && m.read_only) {
        // An image on a device that cannot be written never was writable; after a disk error the device still is.
        let ro = format!("/sys/dev/block/{}:{}/ro", rustix::fs::major(mount.device), rustix::fs::minor(mount.device));
        if root.read_number(&ro).is_ok_and(|ro| ro == 1) {
            mount.kind = FsKind::Pseudo;
        }
    }
    // btrfs shows another device number in its files than in the table, one for each subvolume.
    for mount in mounts.iter_mut().filter(|m| m.fs_type == "btrfs") {
        if let Some(device) = btrfs_device(&root.join(&mount.path)) {
            mount.device = device;
        }
    }
    mounts
}

/// `None` where something else than a btrfs is found: hidden by a later mount, or not visible from here.
fn btrfs_device(here: &Path) -> Option<u64> {
    const BTRFS: u64 = 0x9123_683e;
    let fd = rustix::fs::openat(CWD, here, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    if rustix::fs::fstatfs(&fd).ok()?.f_type as u64 != BTRFS {
        return None;
    }
    let stat =
        rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC, StatxFlags::empty()).ok()?;
    Some(rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor))
}

fn same_namespace(root: &Root) -> bool {
    match (root.read_link("/proc/self/ns/mnt"), root.read_link("/proc/1/ns/mnt")) {
        (Ok(own), Ok(first)) => own == first,
        // Not told apart: pid 1's table is tried.
        _ => false,
    }
}

/// The host's lines, and of ours those of devices that the host's table does not have.
fn merge(host: Vec<Line>, own: Vec<Line>) -> Vec<Line> {
    let mut lines = host;
    let known: std::collections::BTreeSet<u64> = lines.iter().map(|l| l.device).collect();
    lines.extend(own.into_iter().filter(|l| !known.contains(&l.device)));
    lines
}

/// Total: a line that cannot be read makes the table unreadable, because a mount that is overlooked is one that is crossed.
pub(super) fn parse_mountinfo(bytes: &[u8]) -> Read<Vec<Line>> {
    let mut found = Vec::new();
    for (number, line) in lines("mountinfo", bytes)?.enumerate().filter(|(_, l)| !l.is_empty()) {
        found.push(parse_line(line).ok_or_else(|| ReadError::Parse {
            what: format!("mountinfo line {}", number + 1),
            why: format!("not understood: {}", HostPath::from_bytes(line)),
        })?);
    }
    if found.is_empty() { Err(damaged("mountinfo", "no line")) } else { Ok(found) }
}

/// `36 35 98:0 /root /mount rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<Line> {
    let mut fields = line.split(|b| *b == b' ');
    let mut next = || fields.next();
    let (_id, _parent) = (next()?, next()?);
    let (major, minor) = std::str::from_utf8(next()?).ok()?.split_once(':')?;
    let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
    let root = unescape(next()?);
    let path = unescape(next()?);
    let mount_options = next()?;
    // Optional fields, then a lone dash.
    while next()? != b"-" {}
    let fs_type = String::from_utf8_lossy(&unescape(next()?)).into_owned();
    let source = HostPath::from_bytes(unescape(next()?));
    let super_options = next()?;
    // After an error ext4 goes on saying `rw`, since 6.13 with its own word beside it.
    let read_only = |options: &[u8]| options.split(|b| *b == b',').any(|o| o == b"ro" || o == b"emergency_ro");
    Some(Line {
        root: HostPath::from_bytes(root),
        path: HostPath::from_bytes(path),
        device,
        fs_type,
        source,
        mount_read_only: read_only(mount_options),
        super_read_only: read_only(super_options),
    })
}

/// The kernel writes space, tab, newline, `#` and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

fn kind(line: &Line) -> FsKind {
    let fs_type = line.fs_type.as_str();
    let base = fs_type.split_once('.').map_or(fs_type, |(base, _)| base);
    if REMOTE.contains(&base) {
        FsKind::Remote
    } else if IMAGES.contains(&fs_type) {
        FsKind::Pseudo
    } else if rustix::fs::major(line.device) != 0 || LOCAL_WITHOUT_DEVICE.contains(&fs_type) {
        FsKind::Local
    } else {
        FsKind::Pseudo
    }
}

/// One entry a device. The place that stands for it is one where the whole filesystem is mounted, the shortest path first; the mount
/// counts as read-only only if every place is.
pub(super) fn fold(lines: Vec<Line>) -> Vec<Mount> {
    // What is mounted on the same place later hides what was there.
    let mut visible: BTreeMap<HostPath, usize> = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        visible.insert(line.path.clone(), index);
    }
    let mut by_device: BTreeMap<u64, Vec<&Line>> = BTreeMap::new();
    for index in visible.into_values() {
        let line = &lines[index];
        if !INTERFACES.contains(&line.fs_type.as_str()) {
            by_device.entry(line.device).or_default().push(line);
        }
    }
    let mut mounts: Vec<Mount> = by_device
        .into_values()
        .filter_map(|mut places| {
            places.sort_by_key(|l| (l.root.as_bytes() != b"/", l.path.as_bytes().len(), l.path.clone()));
            let (first, others) = places.split_first()?;
            Some(Mount {
                path: first.path.clone(),
                device: first.device,
                source: first.source.clone(),
                fs_type: first.fs_type.clone(),
                kind: kind(first),
                read_only: first.super_read_only || places.iter().all(|l| l.mount_read_only),
                also_at: others.iter().map(|l| l.path.clone()).collect(),
            })
        })
        .collect();
    mounts.sort_by(|a, b| a.path.cmp(&b.path));
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mounts(table: &str) -> Vec<Mount> {
        fold(parse_mountinfo(table.as_bytes()).unwrap())
    }

    #[test]
    fn what_cannot_fill_up_is_told_from_what_can() {
        let table = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                     23 22 0:5 / /proc rw - proc proc rw\n\
                     24 22 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro\n\
                     25 22 11:0 / /media/cd ro - iso9660 /dev/sr0 ro\n\
                     26 22 0:30 / /run rw master:3 propagate_from:2 - tmpfs tmpfs rw,size=1k\n\
                     27 22 0:31 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw,lowerdir=/a:/b\n\
                     28 22 0:40 / /home rw - nfs4 server:/export rw,vers=4.2\n\
                     29 22 0:41 / /mnt/s rw - fuse.sshfs me@there: rw\n\
                     30 22 0:42 / /data rw - btrfs /dev/sdb rw\n\
                     31 22 0:43 / /share rw - cifs //server/share rw\n\
                     32 22 0:44 / /misc rw - autofs systemd-1 rw\n";
        let kinds: Vec<_> = mounts(table).into_iter().map(|m| (m.path.to_string(), m.kind)).collect();
        let expected = [
            ("/", FsKind::Local),
            ("/data", FsKind::Local),
            ("/home", FsKind::Remote),
            ("/media/cd", FsKind::Pseudo),
            ("/mnt/s", FsKind::Remote),
            ("/run", FsKind::Pseudo),
            ("/share", FsKind::Remote),
            ("/snap/core/1", FsKind::Pseudo),
            ("/var/lib/docker/overlay2/x/merged", FsKind::Pseudo),
        ];
        assert_eq!(kinds, expected.map(|(p, k)| (p.to_owned(), k)));
    }

    #[test]
    fn bind_mounts_of_one_device_are_one_entry_named_by_where_all_of_it_is() {
        let table = "1 0 8:1 /pods/a /a rw - ext4 /dev/sda1 rw\n\
                     2 0 8:1 / /var/lib/data ro - ext4 /dev/sda1 rw\n\
                     3 0 8:1 /etc/hosts /x/hosts rw - ext4 /dev/sda1 rw\n";
        let folded = mounts(table);
        assert_eq!(folded.len(), 1);
        assert_eq!(folded[0].path, "/var/lib/data".into());
        assert_eq!(folded[0].also_at, ["/a".into(), "/x/hosts".into()]);
        assert!(!folded[0].read_only, "one read-only bind mount does not make the filesystem read-only");
        for after_an_error in ["ro,errors=remount-ro", "rw,errors=remount-ro,emergency_ro"] {
            assert!(mounts(&format!("2 0 8:1 / /d rw - ext4 /dev/sda1 {after_an_error}\n"))[0].read_only, "{after_an_error}");
        }
    }

    #[test]
    fn the_later_mount_hides_the_earlier_one_on_the_same_place() {
        let table = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /mnt rw - ext4 /dev/sda2 rw\n3 2 8:3 / /mnt rw - ext4 /dev/sda3 rw\n";
        assert_eq!(mounts(table).iter().map(|m| m.source.to_string()).collect::<Vec<_>>(), ["/dev/sda1", "/dev/sda3"]);
    }

    #[test]
    fn escapes_and_bytes_that_are_not_text_survive() {
        let line = [b"1 0 8:1 / /a\\040b\\012c\\134d\xff rw - ext4 /dev/disk\\0409 rw\n".as_slice()].concat();
        let folded = fold(parse_mountinfo(&line).unwrap());
        assert_eq!(folded[0].path.as_bytes(), b"/a b\nc\\d\xff");
        assert_eq!(folded[0].source, "/dev/disk 9".into());
    }

    #[test]
    fn a_sandboxs_read_only_view_is_not_the_hosts() {
        let host = parse_mountinfo(b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n").unwrap();
        let own = parse_mountinfo(b"9 0 8:1 / / ro - ext4 /dev/sda1 rw\n10 9 7:0 / /scratch rw - ext4 /dev/loop0 rw\n").unwrap();
        let folded = fold(merge(host, own));
        assert_eq!(
            folded.iter().map(|m| (m.path.to_string(), m.read_only)).collect::<Vec<_>>(),
            [("/".into(), false), ("/scratch".into(), false)]
        );
    }

    #[test]
    fn half_a_line_is_an_error_not_a_missing_mount() {
        for cut in ["2 0 8:2 / /x rw", "2 0 8:2 / /x rw\n", "2 0 8:2 / /x rw - ext4 /dev/sd", "x\n"] {
            assert!(parse_mountinfo(format!("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n{cut}").as_bytes()).is_err(), "{cut}");
        }
        for nothing in [&b""[..], b"\n"] {
            assert!(parse_mountinfo(nothing).is_err(), "there is no host without mounts");
        }
    }

    /// A table of 1.4 MiB, as a node with many pods has it.
    #[test]
    fn thousands_of_bind_mounts_are_one_entry() {
        let table: String = (0..20_000)
            .map(|i| format!("{i} 0 8:1 /pods/{i} /var/lib/kubelet/pods/{i}/volume-subpaths rw - ext4 /dev/sda1 rw\n"))
            .collect();
        assert!(table.len() > 1 << 20);
        let folded = mounts(&table);
        assert_eq!((folded.len(), folded[0].also_at.len()), (1, 19_999));
    }

    /// A tree whose table is a file like any other.
    fn tree(dir: &std::path::Path, table: &str) -> Root {
        std::fs::create_dir_all(dir.join("proc/1")).unwrap();
        std::fs::write(dir.join("proc/1/mountinfo"), table).unwrap();
        Root::open(dir).unwrap()
    }

    #[test]
    fn a_table_that_cannot_tell_of_changes_is_read_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let tables = MountTables::new();
        for path in ["/a", "/b"] {
            let root = tree(dir.path(), &format!("1 0 8:1 / {path} rw - ext4 /dev/sda1 rw\n"));
            assert_eq!(tables.read(&root, |_| ()).unwrap()[0].path, path.into());
        }
        let root = tree(dir.path(), "half a line\n");
        assert!(tables.read(&root, |_| ()).is_err());
    }

    #[test]
    fn the_kernels_table_is_read_again_only_when_it_changed_or_is_doubted() {
        let root = Root::open(std::path::Path::new("/")).unwrap();
        let tables = MountTables::new();
        // Other tests mount in namespaces of their own; whoever else uses this machine may mount at any time.
        let quiet = (0..100).any(|_| {
            tables.read(&root, |_| ()).unwrap();
            let before = tables.edition();
            tables.read(&root, |_| ()).unwrap();
            tables.edition() == before
        });
        assert!(quiet, "it was read again every time");
        let mut told = Vec::new();
        tables.doubt();
        let mounts = tables.read(&root, |mounts| told.extend_from_slice(mounts)).unwrap();
        assert_eq!(told, mounts);
        assert!(!mounts.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_mountinfo(&bytes).map(fold);
        }

        #[test]
        fn any_path_is_read_back(path in proptest::collection::vec(1u8..=255, 1..40)) {
            let escaped: Vec<u8> = path.iter().flat_map(|b| match b {
                b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{b:03o}").into_bytes(),
                _ => vec![*b],
            }).collect();
            let line = [b"1 0 8:1 / ", escaped.as_slice(), b" rw - ext4 /dev/sda1 rw\n"].concat();
            let lines = parse_mountinfo(&line).unwrap();
            prop_assert_eq!(lines[0].path.as_bytes(), path);
        }
    }
}
