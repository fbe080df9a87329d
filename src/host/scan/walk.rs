//! Moves through directories by handles, one name at a time, so that nothing it meets can lead it elsewhere.
//!
//! It never follows a symlink and never enters what is mounted below (also not the same device, mounted again). Subdirectories that wait
//! are kept as names in one buffer, handles only of the nearest ancestors, so neither depth nor width costs much.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use super::tally::{Seen, Tally};
use crate::host::mounts::parse_mountinfo;
use crate::host::root::{Root, io_error};
use crate::host::{Read, ReadError, ScanAsk};
use crate::model::HostPath;

/// Directory entries fetched by one call.
const BUFFER: usize = 64 << 10;
/// Entries looked at between two looks at the clock.
const BETWEEN_CLOCKS: u32 = 32;
/// Handles held; ancestors further up are found again through `..`.
const MAX_HANDLES: usize = 64;
/// Names of directories that wait.
const MAX_WAITING: usize = 12 << 20;
/// For what the kernel asks to be tried again.
const MAX_TRIES: u8 = 16;
/// A path longer than this is somebody's trap.
const MAX_PATH: usize = 64 << 10;

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
const INSIDE: ResolveFlags = ResolveFlags::NO_XDEV.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const LOOK: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT).union(AtFlags::STATX_DONT_SYNC);
const MASK: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::NLINK)
    .union(StatxFlags::INO)
    .union(StatxFlags::SIZE)
    .union(StatxFlags::BLOCKS)
    .union(StatxFlags::ATIME)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::CTIME)
    .union(StatxFlags::MNT_ID);

pub(super) struct Walk<'a> {
    root: &'a Root,
    tally: &'a Mutex<Tally>,
    deadline: Instant,
    /// Cleared when the kernel refuses it for a directory that is not ours.
    no_atime: OFlags,
    /// Cleared on kernels without openat2.
    openat2: bool,
    /// Places where something is mounted: not even opened, because what is mounted there may hang.
    mounted: HashSet<Vec<u8>>,
    waiting: Waiting,
    batch: Batch,
    buffer: Vec<MaybeUninit<u8>>,
}

/// Where a directory is: compared to tell that it is still the one it was, and on the filesystem that is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Home {
    device: u64,
    /// 0 where the kernel does not tell.
    mount: u64,
}

struct Level {
    handle: Option<OwnedFd>,
    ino: u64,
    waiting_from: usize,
}

/// Names of directories to be visited, the last one first: each followed by its length.
#[derive(Default)]
struct Waiting(Vec<u8>);

/// What one call to the kernel gave, looked at but not yet added up.
#[derive(Default)]
struct Batch {
    names: Vec<u8>,
    /// With the end of its name.
    seen: Vec<(Seen, usize)>,
    subdirs: u64,
    missed: Vec<(String, Vec<u8>)>,
    something_stays: bool,
}

enum Opened {
    Dir(OwnedFd, Box<Statx>),
    /// Something else is mounted there.
    Elsewhere,
    Not(String),
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Root, tally: &'a Mutex<Tally>, deadline: Instant) -> Self {
        Self {
            root,
            tally,
            deadline,
            no_atime: OFlags::NOATIME,
            openat2: true,
            mounted: HashSet::new(),
            waiting: Waiting::default(),
            batch: Batch::default(),
            buffer: vec![MaybeUninit::uninit(); BUFFER],
        }
    }

    /// The whole mount, then those roots of families that lie on the same device but are not reached from the mount's own place.
    pub(super) fn run(mut self, ask: &ScanAsk) -> Read<()> {
        let mounts = read_mounts(self.root)?;
        self.mounted = mounts.iter().map(|(path, _)| path.as_bytes().to_vec()).collect();
        let (handle, stat) = self.open_start(&ask.mount).map_err(|e| io_error(&ask.mount, e))?;
        let home = home(&stat);
        if home.device != ask.device {
            let why = format!("another filesystem is found there (device {:#x}, not {:#x})", home.device, ask.device);
            return Err(ReadError::NotHere { what: ask.mount.to_string(), why });
        }
        self.tally().begin(&ask.mount, true);
        self.walk(handle, &stat, home);
        for family in &ask.families {
            // Asked of the mount table first: on another device it is not ours to look at, and opening it might hang.
            if device_at(&mounts, &family.root) != Some(ask.device) || self.tally().over {
                continue;
            }
            match self.open_start(&family.root) {
                Ok((handle, stat)) => {
                    let its = self::home(&stat);
                    if its.device == home.device && its != home {
                        self.tally().begin(&family.root, false);
                        self.walk(handle, &stat, its);
                    }
                }
                Err(Errno::NOENT) => {}
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    self.tally().miss_root("a symlink lies on the way, or it is no directory", &family.root)
                }
                Err(e) => self.tally().miss_root(&why(e), &family.root),
            }
        }
        Ok(())
    }

    fn tally(&self) -> MutexGuard<'a, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a directory by its whole path, component by component, none of which may be a symlink.
    fn open_start(&self, path: &HostPath) -> Result<(OwnedFd, Box<Statx>), Errno> {
        let handle = rustix::fs::openat2(
            self.root.handle(),
            below(path),
            OPEN,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        );
        let handle = match handle {
            Err(Errno::NOSYS | Errno::PERM) => self.open_start_stepwise(path)?,
            other => other?,
        };
        let stat = rustix::fs::statx(&handle, c"", AtFlags::EMPTY_PATH | LOOK, MASK)?;
        Ok((handle, Box::new(stat)))
    }

    fn open_start_stepwise(&self, path: &HostPath) -> Result<OwnedFd, Errno> {
        let mut handle = rustix::fs::openat(self.root.handle(), c".", OPEN, Mode::empty())?;
        for name in path.as_bytes().split(|b| *b == b'/').filter(|n| !n.is_empty()) {
            if name == b".." {
                return Err(Errno::INVAL);
            }
            handle = rustix::fs::openat(&handle, name, OPEN, Mode::empty())?;
        }
        Ok(handle)
    }

    fn walk(&mut self, start: OwnedFd, stat: &Statx, home: Home) {
        let mut levels: Vec<Level> = Vec::new();
        self.waiting = Waiting::default();
        let mut in_time = self.enter(&mut levels, b"", start, stat, home);
        while in_time && let Some(level) = levels.last() {
            let Some(name) = self.waiting.pop(level.waiting_from) else {
                in_time = self.leave(&mut levels, home);
                continue;
            };
            let opened = level
                .handle
                .as_ref()
                .map_or_else(|| Opened::Not("moved while it was read".into()), |dir| self.open(dir.as_fd(), &name, home));
            match opened {
                Opened::Dir(handle, stat) => in_time = self.enter(&mut levels, name.to_bytes(), handle, &stat, home),
                Opened::Elsewhere => self.tally().stays(),
                Opened::Not(why) => self.tally().miss(&why, name.to_bytes()),
            }
        }
        if !in_time {
            let mut tally = self.tally();
            tally.cut_short();
            if tally.over {
                return;
            }
            tally.miss("out of time", b"");
            for level in levels.iter().rev() {
                while let Some(name) = self.waiting.pop(level.waiting_from) {
                    tally.miss("out of time", name.to_bytes());
                }
                tally.leave();
            }
        }
    }

    /// Goes into a directory and looks at all that is in it, but for its subdirectories, which wait. `false`: the time is over.
    fn enter(&mut self, levels: &mut Vec<Level>, name: &[u8], handle: OwnedFd, stat: &Statx, home: Home) -> bool {
        {
            let mut tally = self.tally();
            if tally.over {
                return false;
            }
            tally.enter(name, seen(stat));
        }
        let waiting_from = self.waiting.0.len();
        let in_time = self.read(handle.as_fd(), home);
        levels.push(Level { handle: Some(handle), ino: stat.stx_ino, waiting_from });
        if let Some(far) = levels.len().checked_sub(MAX_HANDLES + 1) {
            levels[far].handle = None;
        }
        in_time
    }

    /// Goes up, finding the way again where the handle was given up.
    fn leave(&mut self, levels: &mut Vec<Level>, home: Home) -> bool {
        let Some(done) = levels.pop() else { return false };
        if let (Some(parent), Some(handle)) = (levels.last_mut(), &done.handle)
            && parent.handle.is_none()
        {
            // Only the directory that it was: the tree may have been moved under us.
            parent.handle = match self.open(handle.as_fd(), c"..", home) {
                Opened::Dir(found, stat) if stat.stx_ino == parent.ino => Some(found),
                _ => None,
            };
        }
        let mut tally = self.tally();
        tally.leave();
        !tally.over
    }

    fn open(&mut self, dir: BorrowedFd<'_>, name: &CStr, home: Home) -> Opened {
        if !self.mounted.is_empty() && name != c".." && self.tally().is_one_of(&self.mounted, name.to_bytes()) {
            return Opened::Elsewhere;
        }
        let mut tries = 0..MAX_TRIES;
        let opened = loop {
            let flags = OPEN | self.no_atime;
            let opened = if self.openat2 {
                rustix::fs::openat2(dir, name, flags, Mode::empty(), INSIDE)
            } else {
                rustix::fs::openat(dir, name, flags, Mode::empty())
            };
            match opened {
                Err(Errno::PERM) if !self.no_atime.is_empty() => self.no_atime = OFlags::empty(),
                Err(Errno::NOSYS | Errno::PERM) if self.openat2 => self.openat2 = false,
                Err(Errno::AGAIN | Errno::INTR) if tries.next().is_some() => {}
                other => break other,
            }
        };
        let handle = match opened {
            Ok(handle) => handle,
            Err(Errno::XDEV) => return Opened::Elsewhere,
            Err(e) => return Opened::Not(why(e)),
        };
        match rustix::fs::statx(&handle, c"", AtFlags::EMPTY_PATH | LOOK, MASK) {
            Ok(stat) if self::home(&stat) == home => Opened::Dir(handle, Box::new(stat)),
            Ok(_) => Opened::Elsewhere,
            Err(e) => Opened::Not(why(e)),
        }
    }

    /// Looks at every entry of one directory. `false`: the time is over.
    fn read(&mut self, dir: BorrowedFd<'_>, home: Home) -> bool {
        let too_deep = self.tally().path_len() > MAX_PATH;
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut entries = RawDir::new(dir, &mut buffer);
        let mut until_clock = BETWEEN_CLOCKS;
        let mut in_time = true;
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => {
                    self.batch.missed.push((why(e), Vec::new()));
                    break;
                }
            };
            self.look(dir, entry.file_name(), entry.file_type(), home, too_deep);
            if entries.is_buffer_empty() {
                self.add_up();
            }
            until_clock -= 1;
            if until_clock == 0 {
                until_clock = BETWEEN_CLOCKS;
                if Instant::now() >= self.deadline {
                    in_time = false;
                    break;
                }
            }
        }
        self.add_up();
        self.buffer = buffer;
        in_time
    }

    fn look(&mut self, dir: BorrowedFd<'_>, name: &CStr, kind: FileType, home: Home, too_deep: bool) {
        if kind == FileType::Directory {
            return self.wait_for(name, too_deep);
        }
        match rustix::fs::statx(dir, name, LOOK, MASK) {
            // The filesystem does not tell types when listing.
            Ok(stat) if FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory => self.wait_for(name, too_deep),
            Ok(stat) if self::home(&stat) == home => {
                self.batch.names.extend_from_slice(name.to_bytes());
                self.batch.seen.push((seen(&stat), self.batch.names.len()));
            }
            // A file mounted over a file.
            Ok(_) => self.batch.something_stays = true,
            Err(e) => self.batch.missed.push((why(e), name.to_bytes().to_vec())),
        }
    }

    fn wait_for(&mut self, name: &CStr, too_deep: bool) {
        if name == c"." || name == c".." {
            return;
        }
        self.batch.subdirs += 1;
        if too_deep {
            self.batch.missed.push(("nested too deeply".into(), name.to_bytes().to_vec()));
        } else if !self.waiting.push(name) {
            self.batch.missed.push(("more directories side by side than can be remembered".into(), name.to_bytes().to_vec()));
        }
    }

    fn add_up(&mut self) {
        let batch = &mut self.batch;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from = 0;
        for (seen, to) in batch.seen.drain(..) {
            tally.add(&seen, &batch.names[from..to]);
            from = to;
        }
        batch.names.clear();
        tally.count_subdirs(std::mem::take(&mut batch.subdirs));
        for (why, name) in batch.missed.drain(..) {
            tally.miss(&why, &name);
        }
        if std::mem::take(&mut batch.something_stays) {
            tally.stays();
        }
    }
}

impl Waiting {
    /// `false`: there is no room.
    fn push(&mut self, name: &CStr) -> bool {
        let name = name.to_bytes();
        let Ok(length) = u16::try_from(name.len()) else { return false };
        if self.0.len() + name.len() + 2 > MAX_WAITING {
            return false;
        }
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(&length.to_ne_bytes());
        true
    }

    /// The last name, unless the buffer is down to `floor`.
    fn pop(&mut self, floor: usize) -> Option<CString> {
        let (rest, length) = self.0.get(floor..)?.split_last_chunk::<2>()?;
        let name = rest.get(rest.len().checked_sub(usize::from(u16::from_ne_bytes(*length)))?..)?;
        let name = CString::new(name).ok()?;
        self.0.truncate(self.0.len() - name.as_bytes().len() - 2);
        Some(name)
    }
}

/// Every place where something is mounted, in the order of mounting, and its device.
fn read_mounts(root: &Root) -> Read<Vec<(HostPath, u64)>> {
    let table = if root.is_elsewhere() { "/proc/1/mountinfo" } else { "/proc/self/mountinfo" };
    Ok(parse_mountinfo(&root.read(table)?)?.into_iter().map(|line| (line.path, line.device)).collect())
}

/// The device of what is mounted over `path`: the longest place above it, the latest of equals.
fn device_at(mounts: &[(HostPath, u64)], path: &HostPath) -> Option<u64> {
    mounts.iter().filter(|(place, _)| path.is_under(place)).max_by_key(|(place, _)| place.as_bytes().len()).map(|(_, device)| *device)
}

fn below(path: &HostPath) -> &std::path::Path {
    match path.as_path().strip_prefix("/") {
        Ok(rest) if rest.as_os_str().is_empty() => std::path::Path::new("."),
        Ok(rest) => rest,
        Err(_) => path.as_path(),
    }
}

fn home(stat: &Statx) -> Home {
    let mount = if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 { stat.stx_mnt_id } else { 0 };
    Home { device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), mount }
}

fn seen(stat: &Statx) -> Seen {
    let ns = |t: &StatxTimestamp| t.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(t.tv_nsec));
    Seen {
        ino: stat.stx_ino,
        size: stat.stx_size,
        on_disk: stat.stx_blocks.saturating_mul(512),
        links: stat.stx_nlink,
        regular: FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile,
        atime_ns: ns(&stat.stx_atime),
        mtime_ns: ns(&stat.stx_mtime),
        ctime_ns: ns(&stat.stx_ctime),
    }
}

fn why(e: Errno) -> String {
    match e {
        Errno::ACCESS | Errno::PERM => "not allowed to read it".into(),
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => "vanished or changed while it was read".into(),
        e => std::io::Error::from(e).to_string(),
    }
}
