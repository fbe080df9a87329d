//! What processes hold open and write.
//!
//! Of a process only `stat`, `cgroup`, `io` and its descriptors are read: reading `cmdline`, `environ`, `maps` or `smaps` of one that is in
//! uninterruptible sleep can hang for ever. A process may be gone between any two reads; that is not an error.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use procfs::FromBufRead;
use procfs::process::Io;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::process::lines::parse_stat;
use super::root::{Root, io_error, is_absent};
use super::{HeldFile, HeldFiles, Read, ReadError};
use crate::model::{HostPath, unit_of};

/// What the kernel appends to the name of a file that has none any more.
const DELETED: &[u8] = b" (deleted)";
/// A status file of a process is a few hundred bytes; its arguments and its environment may be more.
const MAX_FILE: usize = 256 << 10;

/// A process as it was a moment ago: its directory in `/proc`, which goes stale, never over to another process.
pub(super) struct Process {
    pub(super) pid: u32,
    dir: OwnedFd,
}

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) comm: String,
    pub(super) start_ticks: u64,
}

/// One descriptor of a process that is open on a file of the device asked for.
pub(super) struct OpenFile {
    pub(super) fd: u32,
    pub(super) ino: u64,
    pub(super) links: u32,
    pub(super) size: u64,
    pub(super) on_disk: u64,
    /// The kernel's text for it.
    pub(super) name: Vec<u8>,
}

/// One process, by its number.
///
/// # Errors
/// `NotHere` when there is none.
pub(super) fn one(root: &Root, pid: u32) -> Read<Process> {
    match root.open_flags(&HostPath::from(format!("/proc/{pid}").as_str()), OFlags::PATH | OFlags::DIRECTORY) {
        Ok(dir) => Ok(Process { pid, dir }),
        Err(e) if is_absent(&e) => Err(ReadError::NotHere { what: format!("process {pid}"), why: "it has gone".to_owned() }),
        Err(e) => Err(e),
    }
}

/// Every process there is now.
pub(super) fn all(root: &Root) -> Read<Vec<Process>> {
    let path = HostPath::from("/proc");
    let proc = root.open_flags(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut found = Vec::new();
    for entry in Dir::read_from(&proc).map_err(|e| io_error(&path, e))? {
        let entry = entry.map_err(|e| io_error(&path, e))?;
        let Some(pid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        if let Ok(dir) = rustix::fs::openat(&proc, entry.file_name(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            found.push(Process { pid, dir });
        }
    }
    Ok(found)
}

impl Process {
    /// `None` when it has gone or may not be read.
    pub(super) fn identity(&self) -> Option<Identity> {
        let stat = parse_stat(&self.file(c"stat").ok()?)?;
        Some(Identity { comm: String::from_utf8_lossy(&stat.comm).into_owned(), start_ticks: stat.start_ticks })
    }

    /// The unit, or the cgroup where there is none; empty when it cannot be told.
    pub(super) fn cgroup(&self) -> String {
        self.file(c"cgroup").map_or_else(|_| String::new(), |bytes| parse_cgroup(&bytes))
    }

    /// Bytes it has caused to be written to storage since it started.
    pub(super) fn written(&self) -> Option<u64> {
        parse_io(&self.file(c"io").ok()?).map(|io| io.written)
    }

    /// One of its small files, whole, or its beginning.
    pub(super) fn file(&self, name: &std::ffi::CStr) -> Result<Vec<u8>, Errno> {
        let file = rustix::fs::openat(&self.dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut bytes = vec![0; 4096];
        let mut length = 0;
        while length < MAX_FILE {
            if length == bytes.len() {
                bytes.resize(length * 2, 0);
            }
            match rustix::io::read(&file, &mut bytes[length..]) {
                Ok(0) => break,
                Ok(n) => length += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// The name of the file that it runs.
    pub(super) fn program(&self) -> Option<Vec<u8>> {
        let target = rustix::fs::readlinkat(&self.dir, c"exe", Vec::with_capacity(256)).ok()?.into_bytes();
        // One that was replaced by an update.
        let target = target.strip_suffix(DELETED).unwrap_or(&target);
        Some(HostPath::from_bytes(target).file_name().to_vec())
    }

    /// Its descriptors on regular files of `device`. `wanted` sees the kernel's text first: only what it wants is asked of the filesystem.
    ///
    /// # Errors
    /// When we are not allowed to see them. A process that has gone has none.
    pub(super) fn open_files(&self, device: u64, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<OpenFile>, Errno> {
        let gone = |e: Errno| matches!(e, Errno::NOENT | Errno::SRCH);
        let fds = match rustix::fs::openat(&self.dir, c"fd", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Err(e) if gone(e) => return Ok(Vec::new()),
            other => other?,
        };
        let entries = match Dir::read_from(&fds) {
            Err(e) if gone(e) => return Ok(Vec::new()),
            other => other?,
        };
        let mut found = Vec::new();
        let mut buffer = Vec::with_capacity(256);
        for entry in entries.map_while(Result::ok) {
            let Some(fd) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
            let name = match rustix::fs::readlinkat(&fds, entry.file_name(), buffer) {
                Ok(name) => name.into_bytes(),
                Err(e) if gone(e) => {
                    buffer = Vec::with_capacity(256);
                    continue;
                }
                Err(e) => return Err(e),
            };
            if name.starts_with(b"/")
                && wanted(&name)
                && let Some(file) = look(fds.as_fd(), entry.file_name(), device)
            {
                found.push(OpenFile { fd, name: name.clone(), ..file });
            }
            buffer = name;
            buffer.clear();
        }
        Ok(found)
    }
}

/// Through the descriptor, so that it is the open file itself and not what has its name now.
fn look(fds: BorrowedFd<'_>, fd: &std::ffi::CStr, device: u64) -> Option<OpenFile> {
    let mask = StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::INO | StatxFlags::SIZE | StatxFlags::BLOCKS;
    let stat = rustix::fs::statx(fds, fd, AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT, mask).ok()?;
    let here = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor) == device;
    let regular = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile;
    (here && regular).then(|| OpenFile {
        fd: 0,
        ino: stat.stx_ino,
        links: stat.stx_nlink,
        size: stat.stx_size,
        on_disk: stat.stx_blocks.saturating_mul(512),
        name: Vec::new(),
    })
}

/// Files of `device` without a name that processes still hold, largest first.
pub(super) fn read_deleted_open(root: &Root, device: u64) -> Read<HeldFiles> {
    let mut files: Vec<HeldFile> = Vec::new();
    let mut unreadable_processes = 0;
    for process in all(root)? {
        let held = match process.open_files(device, |name| name.ends_with(DELETED)) {
            Ok(held) => held,
            Err(_) => {
                unreadable_processes += 1;
                continue;
            }
        };
        let mut of_this_process = HashSet::new();
        for file in held.into_iter().filter(|f| f.links == 0) {
            if !of_this_process.insert(file.ino) {
                continue;
            }
            let Some(who) = process.identity() else { break };
            let name = file.name.strip_suffix(DELETED).unwrap_or(&file.name);
            files.push(HeldFile {
                pid: process.pid,
                start_ticks: who.start_ticks,
                comm: who.comm,
                fd: file.fd,
                ino: file.ino,
                on_disk: file.on_disk,
                path: HostPath::from_bytes(name),
            });
        }
    }
    files.sort_by(|a, b| b.on_disk.cmp(&a.on_disk).then_with(|| (a.ino, a.pid).cmp(&(b.ino, b.pid))));
    // Its bytes come free once, so the first holder carries them and the others are named with none.
    let mut counted = HashSet::new();
    for file in &mut files {
        if !counted.insert(file.ino) {
            file.on_disk = 0;
        }
    }
    Ok(HeldFiles { files, unreadable_processes })
}

/// What a process has read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IoBytes {
    /// `write_bytes`: caused to be written to storage.
    pub(super) written: u64,
    /// `rchar` and `wchar`: through system calls, the page cache included.
    pub(super) through_calls: u64,
}

/// Total.
pub(super) fn parse_io(bytes: &[u8]) -> Option<IoBytes> {
    // The procfs crate's parser takes the last byte off each name, and panics where that is in the middle of a character.
    let whole = bytes.is_ascii() && bytes.ends_with(b"\n");
    let io = whole.then(|| Io::from_buf_read(bytes).ok())??;
    Some(IoBytes { written: io.write_bytes, through_calls: io.rchar.saturating_add(io.wchar) })
}

/// The unit of `/proc/PID/cgroup`, or the whole path where there is none. Total.
pub(super) fn parse_cgroup(bytes: &[u8]) -> String {
    let path = cgroup_path(bytes).unwrap_or_default();
    unit_of(&path).map_or_else(|| String::from_utf8_lossy(path.as_bytes()).into_owned(), str::to_owned)
}

/// The path in systemd's own hierarchy where there is one, else in the unified one, else in the first. One in which all are at the root is
/// nobody's to make groups in: that of version 1 which the kernel still has when systemd uses the unified one, in a container for instance.
pub(super) fn cgroup_path(bytes: &[u8]) -> Option<HostPath> {
    let fields = |line: &'_ [u8]| {
        let mut parts = line.splitn(3, |b| *b == b':').skip(1);
        Some((parts.next()?.to_vec(), parts.next()?.to_vec()))
    };
    let lines: Vec<(Vec<u8>, Vec<u8>)> = bytes.split(|b| *b == b'\n').filter_map(fields).collect();
    let of = |hierarchy: &[u8]| lines.iter().find(|(controllers, _)| controllers == hierarchy);
    let mut told = [of(b"name=systemd"), of(b""), lines.first()].into_iter().flatten().map(|(_, path)| path);
    let path = told.clone().find(|path| path.as_slice() != b"/").or_else(|| told.next())?;
    Some(HostPath::from_bytes(path.as_slice()))
}

pub(super) fn vanished(what: &str) -> ReadError {
    ReadError::NotHere { what: what.to_owned(), why: "no process could be read; is /proc mounted with hidepid?".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_unit_is_found_in_either_hierarchy() {
        assert_eq!(parse_cgroup(b"0::/system.slice/nginx.service\n"), "nginx.service");
        assert_eq!(parse_cgroup(b"4:cpu:/x\n1:name=systemd:/user.slice/session-3.scope\n0::/\n"), "session-3.scope");
        assert_eq!(parse_cgroup(b"0::/kubepods/pod12/abc\n"), "/kubepods/pod12/abc");
        assert_eq!(parse_cgroup(b"9:name=systemd:/\n8:memory:/\n0::/system.slice/nginx.service\n"), "nginx.service");
        assert_eq!(parse_cgroup(b"9:name=systemd:/system.slice/a.service\n8:memory:/x\n0::/\n"), "a.service");
        assert_eq!(parse_cgroup(b"8:memory:/\n0::/\n"), "/");
        assert_eq!(parse_cgroup(b""), "");
    }

    #[test]
    fn a_number_that_is_cut_off_is_none() {
        let io = b"rchar: 1\nwchar: 7\nsyscr: 1\nsyscw: 1\nread_bytes: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        assert_eq!(parse_io(io), Some(IoBytes { written: 4096, through_calls: 8 }));
        assert_eq!(parse_io(b"write_bytes: 40"), None);
        assert_eq!(parse_io(b"wchar: 7\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = (parse_io(&bytes), parse_cgroup(&bytes));
        }
    }
}
