//! Is a package manager at work? Told from the kernel's table of locks; nothing is locked to find out.

use super::root::{Root, if_there, io_error};
use super::{Read, ReadError};
use crate::model::HostPath;

/// Files that are locked while their owner works.
const LOCKS: &[(&str, &str)] = &[
    ("dpkg", "/var/lib/dpkg/lock-frontend"),
    ("dpkg", "/var/lib/dpkg/lock"),
    ("apt", "/var/lib/apt/lists/lock"),
    ("apt", "/var/cache/apt/archives/lock"),
    ("rpm", "/var/lib/rpm/.rpm.lock"),
    ("rpm", "/usr/lib/sysimage/rpm/.rpm.lock"),
];

/// Files that are there while their owner works, and locked by nobody. One that is left over keeps their owner from working as well.
const PRESENT: &[(&str, &str)] = &[("pacman", "/var/lib/pacman/db.lck")];

/// Files that hold the pid of whoever works. They may be left over, so the pid must be alive.
const PID_FILES: &[(&str, &str)] = &[("zypper", "/run/zypp.pid"), ("yum", "/run/yum.pid"), ("dnf", "/var/lib/dnf/rpmdb_lock.pid")];

/// A lock in `/proc/locks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    pid: i64,
    major: u32,
    minor: u32,
    ino: u64,
}

/// Who is at work (`dpkg (pid 4242)`), or nobody.
///
/// # Errors
/// When a lock file is there and cannot be looked at, or the table of locks cannot be read.
pub(super) fn read_at_work(root: &Root) -> Read<Option<String>> {
    let locks = parse_locks(&root.read("/proc/locks")?)?;
    for (name, path) in LOCKS {
        let host = HostPath::from(*path);
        let Some(file) = if_there(root.open_flags(&host, rustix::fs::OFlags::PATH))? else { continue };
        let stat = rustix::fs::fstat(&file).map_err(|e| io_error(&host, e))?;
        let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        // btrfs and overlay show another device than the table does; there the inode alone has to do.
        let same = |l: &&Lock| l.ino == stat.st_ino && (major == 0 || (l.major, l.minor) == (major, minor));
        if let Some(lock) = locks.iter().find(same) {
            return Ok(Some(format!("{name} (pid {})", lock.pid)));
        }
    }
    for (name, path) in PRESENT {
        if if_there(root.open_flags(&HostPath::from(*path), rustix::fs::OFlags::PATH))?.is_some() {
            return Ok(Some(format!("{name} ({path} is there)")));
        }
    }
    for (name, path) in PID_FILES {
        let Some(bytes) = if_there(root.read(path))? else { continue };
        if let Some(pid) = super::root::parse_number(&bytes)
            && if_there(root.read(&format!("/proc/{pid}/stat")))?.is_some()
        {
            return Ok(Some(format!("{name} (pid {pid})")));
        }
    }
    Ok(None)
}

/// `1: POSIX  ADVISORY  WRITE 4242 fe:00:131089 0 EOF`. Waiters (`1: -> POSIX ...`) hold nothing and are left out. Total.
pub(super) fn parse_locks(bytes: &[u8]) -> Read<Vec<Lock>> {
    let text = String::from_utf8_lossy(bytes);
    let mut locks = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().skip(1);
        if words.clone().next() == Some("->") {
            continue;
        }
        let mut next = || words.next();
        let mut parse = || {
            let (_kind, _mode, _access) = (next()?, next()?, next()?);
            let pid = next()?.parse().ok()?;
            let mut inode = next()?.splitn(3, ':');
            let major = u32::from_str_radix(inode.next()?, 16).ok()?;
            let minor = u32::from_str_radix(inode.next()?, 16).ok()?;
            Some(Lock { pid, major, minor, ino: inode.next()?.parse().ok()? })
        };
        match parse() {
            Some(lock) => locks.push(lock),
            // Leases of network filesystems print `<none>` in place of an inode.
            None if line.contains("<none>") || line.trim().is_empty() => {}
            None => {
                return Err(ReadError::Parse { what: "/proc/locks".to_owned(), why: format!("not understood: {}", HostPath::from(line)) });
            }
        }
    }
    Ok(locks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn holders_are_told_from_waiters() {
        let table = b"1: POSIX  ADVISORY  WRITE 4242 fe:00:131089 0 EOF\n1: -> POSIX  ADVISORY  WRITE 5 fe:00:131089 0 EOF\n2: FLOCK  ADVISORY  WRITE -1 00:19:7 0 EOF\n3: LEASE  ACTIVE    READ  9 <none>:0 0 EOF\n";
        let locks = parse_locks(table).unwrap();
        assert_eq!(
            locks.iter().map(|l| (l.pid, l.major, l.minor, l.ino)).collect::<Vec<_>>(),
            [(4242, 0xfe, 0, 131_089), (-1, 0, 0x19, 7)]
        );
    }

    #[test]
    fn a_lock_file_that_nobody_locks_counts_by_being_there() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib/pacman")).unwrap();
        std::fs::write(dir.path().join("proc/locks"), "").unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(read_at_work(&root).unwrap(), None);
        std::fs::write(dir.path().join("var/lib/pacman/db.lck"), "").unwrap();
        assert_eq!(read_at_work(&root).unwrap().as_deref(), Some("pacman (/var/lib/pacman/db.lck is there)"));
    }

    /// A real lock on a real file, seen in the kernel's own table.
    #[test]
    fn a_lock_that_is_held_is_seen_and_one_that_is_let_go_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("var/lib/dpkg/lock-frontend");
        std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let at_work = || {
            std::fs::copy("/proc/locks", dir.path().join("proc/locks")).unwrap();
            read_at_work(&root).unwrap()
        };
        assert_eq!(at_work(), None);
        let file = std::fs::File::create(&lock).unwrap();
        assert_eq!(at_work(), None);
        rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert_eq!(at_work(), Some(format!("dpkg (pid {})", std::process::id())));
        drop(file);
        assert_eq!(at_work(), None);
    }

    #[test]
    fn a_pid_file_counts_only_while_its_process_lives() {
        let dir = tempfile::tempdir().unwrap();
        for d in ["run", "proc/77"] {
            std::fs::create_dir_all(dir.path().join(d)).unwrap();
        }
        std::fs::write(dir.path().join("proc/locks"), "").unwrap();
        std::fs::write(dir.path().join("run/zypp.pid"), "77\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(read_at_work(&root).unwrap(), None);
        std::fs::write(dir.path().join("proc/77/stat"), "77 (zypper) S").unwrap();
        assert_eq!(read_at_work(&root).unwrap(), Some("zypper (pid 77)".into()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_locks(&bytes);
        }
    }
}
