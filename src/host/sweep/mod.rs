//! All processes at once: `/proc/PID/stat` of each, and nothing else of them. (`cmdline`, `environ` and `maps` wait for the lock of the
//! process that is asked about, which a process in trouble holds.)
//!
//! What is kept from sweep to sweep is a row a process, the buffers, and the descriptors of the first few, so nothing is allocated for a
//! process that is neither new nor shown.

pub(super) mod line;

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use self::line::{Line, parse_line};
use super::HotFile;
use super::largest::Largest;
use super::root::{Root, io_error, parse_number};
use super::{Read, ReadError, clock};
use crate::model::{HostPath, ProcessUse, Processes};

const PID_MAX: &str = "/proc/sys/kernel/pid_max";
const THREADS_MAX: &str = "/proc/sys/kernel/threads-max";
/// Directory entries fetched by one call.
const ENTRIES: usize = 64 << 10;
/// The kernel's line has some 350 bytes.
const LINE: usize = 4 << 10;
/// Descriptors that stay open. Reading through one costs half of opening, reading and closing, but the kernel keeps a page for each.
const KEPT: usize = 256;
/// A hundred thousand processes take a second or two.
const DEADLINE: Duration = Duration::from_secs(10);
/// CPU time comes in ticks of ten milliseconds: over less than this, a share of it is mostly rounding.
const SHORTEST_S: f64 = 0.1;
/// The order in which states are told; letters that a later kernel adds follow as they are met.
const STATES: &[u8] = b"RSDZTtWXxKPI";

#[derive(Debug)]
pub(super) struct Sweep {
    pid_max: HotFile,
    threads_max: HotFile,
    table: Mutex<Table>,
}

impl Sweep {
    pub(super) fn new() -> Self {
        Self { pid_max: HotFile::one_record(PID_MAX), threads_max: HotFile::one_record(THREADS_MAX), table: Mutex::new(Table::new()) }
    }

    /// `top`: how many of the hottest and of the largest are told apart. In the first sweep the hottest are those that used most since they
    /// started. A process that goes away meanwhile is counted as vanished.
    ///
    /// # Errors
    /// When processes cannot be listed, or no descriptor can be had, or only some are shown to us (`hidepid`).
    pub(super) fn read(&self, root: &Root, top: usize) -> Read<Processes> {
        let max_processes = self.pid_max.read(root, |bytes| parse_limit(bytes, PID_MAX))?;
        let max_threads = self.threads_max.read(root, |bytes| parse_limit(bytes, THREADS_MAX))?;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        match table.sweep(root, top) {
            Ok(found) => Ok(Processes { max_processes, max_threads, ..found }),
            Err(e) => {
                *table = Table::new();
                Err(e)
            }
        }
    }
}

fn parse_limit(bytes: &[u8], path: &str) -> Read<u64> {
    parse_number(bytes).ok_or_else(|| ReadError::Parse { what: path.to_owned(), why: "not a number".to_owned() })
}

/// What a sweep leaves for the next one.
#[derive(Debug)]
struct Table {
    proc: Option<OwnedFd>,
    entries: Vec<MaybeUninit<u8>>,
    line: Vec<u8>,
    /// By pid.
    rows: Vec<Row>,
    before: Vec<Row>,
    /// Boot clock at the beginning of the sweep before.
    swept_at: Option<f64>,
}

#[derive(Debug)]
struct Row {
    start_ticks: u64,
    cpu_ticks: u64,
    pid: u32,
    stat: Option<OwnedFd>,
}

impl Table {
    const fn new() -> Self {
        Self { proc: None, entries: Vec::new(), line: Vec::new(), rows: Vec::new(), before: Vec::new(), swept_at: None }
    }

    fn sweep(&mut self, root: &Root, top: usize) -> Read<Processes> {
        let path = HostPath::from("/proc");
        let begun = Instant::now();
        let now = clock::uptime_s();
        let Self { proc, entries, line, rows, before, swept_at } = self;
        let proc = match proc {
            Some(open) => open,
            None => proc.insert(root.open_flags(&path, OFlags::RDONLY | OFlags::DIRECTORY)?),
        };
        rustix::fs::seek(&*proc, SeekFrom::Start(0)).map_err(|e| io_error(&path, e))?;
        entries.resize(ENTRIES, MaybeUninit::uninit());
        line.resize(LINE, 0);
        std::mem::swap(rows, before);
        rows.clear();
        let mut tally = Tally::new(top, swept_at.replace(now).map(|then| now - then));
        let mut past = Past { rows: before, next: 0 };
        let mut kept = 0;
        let mut listed = RawDir::new(proc.as_fd(), entries);
        while let Some(entry) = listed.next() {
            let entry = entry.map_err(|e| io_error(&path, e))?;
            let Some(pid) = parse_pid(entry.file_name()) else { continue };
            let mut known = past.find(pid);
            let open = known.as_mut().and_then(|row| row.stat.take());
            match read_stat(proc.as_fd(), entry.file_name(), open, line) {
                Ok((stat, bytes)) => match parse_line(bytes) {
                    Some(read) => {
                        let known = known.filter(|row| row.start_ticks == read.start_ticks);
                        tally.add(pid, &read, known.map(|row| row.cpu_ticks));
                        let stat = Some(stat).filter(|_| kept < KEPT);
                        kept += usize::from(stat.is_some());
                        rows.push(Row { start_ticks: read.start_ticks, cpu_ticks: read.cpu_ticks, pid, stat });
                    }
                    None => tally.found.unreadable += 1,
                },
                Err(Errno::NOENT | Errno::SRCH) => tally.found.vanished += 1,
                Err(Errno::ACCESS | Errno::PERM) => tally.found.unreadable += 1,
                Err(e) => return Err(io_error(&HostPath::from(format!("/proc/{pid}/stat").as_str()), e)),
            }
            if listed.is_buffer_empty() && begun.elapsed() > DEADLINE {
                return Err(ReadError::Stuck { what: "the sweep over /proc".to_owned(), for_s: begun.elapsed().as_secs_f64() });
            }
        }
        before.clear();
        // The kernel lists them in order; the files of a recorded host are listed in any.
        if !rows.is_sorted_by_key(|row| row.pid) {
            rows.sort_unstable_by_key(|row| row.pid);
        }
        tally.told()
    }
}

/// The rows of the sweep before.
struct Past<'a> {
    rows: &'a mut [Row],
    next: usize,
}

impl Past<'_> {
    /// Nearly always the row after the one that was found last.
    fn find(&mut self, pid: u32) -> Option<&mut Row> {
        let at = match self.rows.get(self.next) {
            Some(row) if row.pid == pid => self.next,
            _ => self.rows.binary_search_by_key(&pid, |row| row.pid).ok()?,
        };
        self.next = at + 1;
        self.rows.get_mut(at)
    }
}

/// `None` for what is no process.
fn parse_pid(name: &CStr) -> Option<u32> {
    let name = name.to_bytes();
    let digits = !name.is_empty() && name.len() <= 10 && name.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(name).ok()?.parse().ok())?
}

/// Through the descriptor that is open, else through a new one. One read takes the whole line.
fn read_stat<'a>(proc: BorrowedFd<'_>, pid: &CStr, open: Option<OwnedFd>, line: &'a mut [u8]) -> Result<(OwnedFd, &'a [u8]), Errno> {
    // An error is either the process's end, and its number may be another's by now, or a file that cannot be read twice.
    if let Some(stat) = open
        && let Ok(length) = rustix::io::pread(&stat, &mut *line, 0)
    {
        return Ok((stat, line.get(..length).unwrap_or_default()));
    }
    let mut path = [0; 24];
    let parts = pid.to_bytes().iter().chain(b"/stat");
    // The last byte stays the end of the name.
    path.iter_mut().take(23).zip(parts).for_each(|(to, from)| *to = *from);
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::INVAL)?;
    let stat = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&stat, &mut *line))?;
    Ok((stat, line.get(..length).unwrap_or_default()))
}

/// Adds up one sweep.
struct Tally {
    found: Processes,
    /// Since the sweep before; `None` in the first and right after another.
    elapsed_s: Option<f64>,
    states: [u64; 128],
    hottest: Largest<ProcessUse>,
    largest: Largest<ProcessUse>,
    page: u64,
    hertz: f64,
    first_is_listed: bool,
}

impl Tally {
    fn new(top: usize, elapsed_s: Option<f64>) -> Self {
        Self {
            found: Processes::default(),
            elapsed_s: elapsed_s.filter(|s| *s >= SHORTEST_S),
            states: [0; 128],
            hottest: Largest::new(top),
            largest: Largest::new(top),
            page: rustix::param::page_size() as u64,
            hertz: rustix::param::clock_ticks_per_second() as f64,
            first_is_listed: false,
        }
    }

    /// `before`: the CPU time that the same process had used by the sweep before. Who was not there then has used all of it since.
    fn add(&mut self, pid: u32, read: &Line<'_>, before: Option<u64>) {
        self.first_is_listed |= pid == 1;
        self.found.count += 1;
        self.found.threads = self.found.threads.saturating_add(read.threads);
        if let Some(count) = self.states.get_mut(read.state as usize) {
            *count += 1;
        }
        let used = read.cpu_ticks.saturating_sub(before.unwrap_or(0));
        let elapsed_s = self.elapsed_s.filter(|_| before.is_some());
        let shown = || ProcessUse {
            pid,
            start_ticks: read.start_ticks,
            comm: HostPath::from_bytes(read.comm),
            state: read.state,
            cpu_ticks: read.cpu_ticks,
            cpu_percent: elapsed_s.map(|s| used as f64 / self.hertz / s * 100.0),
            rss_bytes: read.rss_pages.saturating_mul(self.page),
            threads: read.threads,
        };
        self.hottest.offer(used, shown);
        self.largest.offer(read.rss_pages, shown);
    }

    fn told(self) -> Read<Processes> {
        // Every pid namespace has a first process, so that without it others are hidden too.
        if !self.first_is_listed {
            let why = "process 1 cannot be seen; is /proc mounted with hidepid?".to_owned();
            return Err(ReadError::NotHere { what: "processes".to_owned(), why });
        }
        let mut found = self.found;
        let others = (0u8..128).filter(|letter| !STATES.contains(letter));
        for letter in STATES.iter().copied().chain(others) {
            if let Some(count @ 1..) = self.states.get(usize::from(letter)).copied() {
                found.states.push((char::from(letter), count));
            }
        }
        found.top = self.hottest.into_list();
        for large in self.largest.into_list() {
            if !found.top.iter().any(|hot| hot.pid == large.pid) {
                found.top.push(large);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
