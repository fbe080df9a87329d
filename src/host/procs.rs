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

use super::root::{Root, io_error};
use super::{HeldFile, HeldFiles, Read, ReadError};
use crate::model::HostPath;

/// What the kernel appends to the name of a file that has none any more.
const DELETED: &[u8] = b" (deleted)";
/// A status file of a process is a few hundred bytes.
const MAX_FILE: usize = 64 << 10;

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
        parse_stat(&self.read(c"stat")?)
    }

    /// The unit, or the cgroup where there is none; empty when it cannot be told.
    pub(super) fn cgroup(&self) -> String {
        self.read(c"cgroup").map_or_else(String::new, |bytes| parse_cgroup(&bytes))
    }

    /// Bytes it has caused to be written to storage since it started.
    pub(super) fn written(&self) -> Option<u64> {
        parse_io(&self.read(c"io")?)
    }

    fn read(&self, name: &std::ffi::CStr) -> Option<Vec<u8>> {
        let file = rustix::fs::openat(&self.dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
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
                Err(_) => return None,
            }
        }
        bytes.truncate(length);
        Some(bytes)
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

/// `PID (comm) S ...`, total. The name may hold blanks and brackets, so what follows counts from the last one.
pub(super) fn parse_stat(bytes: &[u8]) -> Option<Identity> {
    let open = bytes.iter().position(|b| *b == b'(')?;
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let comm = String::from_utf8_lossy(bytes.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    // The state is field 3, the start field 22.
    let start_ticks = rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()?;
    Some(Identity { comm, start_ticks })
}

/// `write_bytes` without what was truncated before it reached the disk, total.
pub(super) fn parse_io(bytes: &[u8]) -> Option<u64> {
    // The procfs crate's parser takes the last byte off each name, and panics where that is in the middle of a character.
    let whole = bytes.is_ascii() && bytes.ends_with(b"\n");
    whole.then(|| Io::from_buf_read(bytes).ok())?.map(|io| io.write_bytes)
}

/// The innermost unit in `/proc/PID/cgroup`, or the whole path where no component is one. Total.
pub(super) fn parse_cgroup(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let fields = |line: &'_ str| -> Option<(String, String)> {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    };
    let lines: Vec<(String, String)> = text.lines().filter_map(fields).collect();
    // systemd's own hierarchy where there is one, else the unified one, else the first.
    let line = lines.iter().find(|(c, _)| c == "name=systemd").or_else(|| lines.iter().find(|(c, _)| c.is_empty())).or(lines.first());
    let Some((_, path)) = line else { return String::new() };
    let unit = path.rsplit('/').find(|part| part.ends_with(".service") || part.ends_with(".scope"));
    unit.unwrap_or(path).to_owned()
}

pub(super) fn vanished(what: &str) -> ReadError {
    ReadError::NotHere { what: what.to_owned(), why: "no process could be read; is /proc mounted with hidepid?".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = b"42 (a) b (c)) S 1 42 42 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 1 0 777 8 9 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
        assert_eq!(parse_stat(stat), Some(Identity { comm: "a) b (c)".into(), start_ticks: 777 }));
    }

    #[test]
    fn the_unit_is_found_in_either_hierarchy() {
        assert_eq!(parse_cgroup(b"0::/system.slice/nginx.service\n"), "nginx.service");
        assert_eq!(parse_cgroup(b"4:cpu:/x\n1:name=systemd:/user.slice/session-3.scope\n0::/\n"), "session-3.scope");
        assert_eq!(parse_cgroup(b"0::/kubepods/pod12/abc\n"), "/kubepods/pod12/abc");
        assert_eq!(parse_cgroup(b""), "");
    }

    #[test]
    fn a_number_that_is_cut_off_is_none() {
        let io = b"rchar: 1\nwchar: 7\nsyscr: 1\nsyscw: 1\nread_bytes: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        assert_eq!(parse_io(io), Some(4096));
        assert_eq!(parse_io(b"write_bytes: 40"), None);
        assert_eq!(parse_io(b"wchar: 7\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = (parse_stat(&bytes), parse_io(&bytes), parse_cgroup(&bytes));
        }

        #[test]
        fn damaged_status_lines_are_parsed_or_refused(text in "[0-9]{0,3} ?\\(?[a-z)]{0,4}\\)? ?[A-Z]?( -?[0-9]{1,21}){0,52}") {
            let _ = parse_stat(text.as_bytes());
        }
    }
}
