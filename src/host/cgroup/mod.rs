//! Control groups of version 1 and 2: what the groups use that use most.
//!
//! Two figures are read of every group, to find those that matter; everything else only of those. `memory.stat` makes the kernel add up
//! counters of all CPUs, which takes seconds on a large host: it is read of a group near its limit, and of one that is asked about by name.
//! A group may go away at any moment, and is left out then.

pub(super) mod figures;
mod layout;
mod one;
mod walk;

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use self::figures::{
    Cpu, parse_count, parse_cpu, parse_cpu_pressure, parse_events, parse_key, parse_limit, parse_limit_v1, parse_throttling_v1,
    parse_usage_v1,
};
use self::layout::{Layout, Tree};
pub(super) use self::one::{read_group, read_limit, read_processes};
use self::walk::{Found, MAX_GROUPS, Walk};
use super::largest::Largest;
use super::root::{Root, io_error};
use super::{Read, clock, psi};
use crate::model::{CgroupUse, Cgroups, HostPath};

const DEADLINE: Duration = Duration::from_secs(10);
/// Larger than any file that is read here: those of a group have some lines each.
const FILE: usize = 8 << 10;
/// Groups whose two files stay open: reading through a descriptor costs a sixth of opening, reading and closing.
const KEPT: usize = 64;
/// Over less than this, a share of CPU time says nothing.
const SHORTEST_S: f64 = 0.1;
const NEAR_LIMIT: f64 = 0.85;
/// Sweeps from one look at a group's memory limit to the next: limits are set once, and a file more of every group is a third more work.
const LIMIT_FOR: u8 = 20;

#[derive(Debug)]
pub(super) struct Groups(Mutex<Table>);

/// What a sweep leaves for the next one.
#[derive(Debug)]
struct Table {
    /// By path.
    rows: Vec<Row>,
    file: Vec<u8>,
    /// Boot clock at the beginning of the sweep before.
    swept_at: Option<f64>,
}

#[derive(Debug)]
struct Row {
    path: Vec<u8>,
    ino: u64,
    usage_us: Option<u64>,
    throttled_periods: Option<u64>,
    /// As it was read last, and how many sweeps it is good for.
    limit: Option<u64>,
    limit_for: u8,
    memory: Option<OwnedFd>,
    cpu: Option<OwnedFd>,
}

impl Row {
    const fn new(path: Vec<u8>, ino: u64) -> Self {
        Self { path, ino, usage_us: None, throttled_periods: None, limit: None, limit_for: 0, memory: None, cpu: None }
    }
}

impl Groups {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Table { rows: Vec::new(), file: Vec::new(), swept_at: None }))
    }

    /// `top`: how many are told of the hottest, of the largest, of those nearest to their memory limit (beyond [`NEAR_LIMIT`]) and, where
    /// version 2 counts CPU time, of those that their quota held back most. In the first sweep the hottest are those that used most since they were made.
    ///
    /// # Errors
    /// When no hierarchy is mounted, or its top cannot be listed.
    pub(super) fn read(&self, root: &Root, top: usize) -> Read<Cgroups> {
        let deadline = Instant::now() + DEADLINE;
        let layout = Layout::find(root)?;
        let mut walk = Walk::new(MAX_GROUPS);
        for tree in layout.listed() {
            walk.add(tree, deadline).map_err(|e| io_error(&HostPath::from("/sys/fs/cgroup"), e))?;
        }
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(table.sweep(&layout, walk, top, deadline))
    }
}

impl Table {
    fn sweep(&mut self, layout: &Layout, walk: Walk, top: usize, deadline: Instant) -> Cgroups {
        let now = clock::uptime_s();
        let elapsed_s = self.swept_at.replace(now).map(|then| now - then).filter(|s| *s >= SHORTEST_S);
        self.file.resize(FILE, 0);
        let mut told = Cgroups { version: layout.version, count: 0, top: Vec::new(), cut: walk.cut, unreadable: 0 };
        let (mut hottest, mut largest) = (Largest::new(top), Largest::new(top));
        // The smallest group may be the one that its limits hold back.
        let (mut nearest, mut held_back) = (Largest::new(top), Largest::new(top));
        let mut before = std::mem::take(&mut self.rows).into_iter().peekable();
        for (path, found) in walk.groups {
            if Instant::now() >= deadline {
                told.cut = told.cut.saturating_add(1);
                continue;
            }
            // Both are in the order of their paths.
            while before.next_if(|row| row.path < path).is_some() {}
            let known = before.next_if(|row| row.path == path && row.ino == found.ino);
            let mut row = known.unwrap_or_else(|| Row::new(path, found.ino));
            let mut look = Look { layout, file: &mut self.file, unreadable: false };
            if let Ok(seen) = look.rank(&mut row, found, self.rows.len() < KEPT) {
                told.count += 1;
                told.unreadable += u64::from(look.unreadable);
                if let Some((memory_bytes, cpu)) = seen {
                    let past = row.usage_us.filter(|past| cpu.usage_us.is_some_and(|now| now >= *past));
                    row.usage_us = cpu.usage_us;
                    // Who was not there before has used all of it since.
                    let used = cpu.usage_us.unwrap_or(0).saturating_sub(past.unwrap_or(0));
                    let shown = || CgroupUse {
                        path: HostPath::from_bytes([b"/", row.path.as_slice()].concat()),
                        memory_bytes,
                        cpu_usage_us: cpu.usage_us,
                        throttled_us: cpu.throttled_us,
                        throttled_periods: cpu.throttled_periods,
                        periods: cpu.periods,
                        cpu_percent: elapsed_s.filter(|_| past.is_some()).map(|s| used as f64 / 1e6 / s * 100.0),
                        ..CgroupUse::default()
                    };
                    hottest.offer(used, shown);
                    largest.offer(memory_bytes.unwrap_or(0), shown);
                    let share = row.limit.zip(memory_bytes).map_or(0.0, |(limit, memory)| memory as f64 / limit.max(1) as f64);
                    nearest.offer(if share >= NEAR_LIMIT { (share * 1e6) as u64 } else { 0 }, shown);
                    let periods = |past: &Option<u64>| past.zip(cpu.throttled_periods).map(|(past, now)| now.saturating_sub(past));
                    held_back.offer(periods(&row.throttled_periods).unwrap_or(0), shown);
                    row.throttled_periods = cpu.throttled_periods;
                }
                self.rows.push(row);
            }
        }
        let mut shown = hottest.into_list();
        for other in [largest, nearest, held_back].into_iter().flat_map(Largest::into_list) {
            if !shown.iter().any(|known| known.path == other.path) {
                shown.push(other);
            }
        }
        for mut group in shown {
            let mut look = Look { layout, file: &mut self.file, unreadable: false };
            if look.fill(&mut group, is_near_limit).is_ok() {
                told.unreadable += u64::from(look.unreadable);
                told.top.push(group);
            }
        }
        told
    }
}

/// From here on it matters how much of its memory the group could do without.
fn is_near_limit(group: &CgroupUse) -> bool {
    let limits = [group.memory_max_bytes, group.memory_high_bytes].into_iter().flatten();
    limits.min().zip(group.memory_bytes).is_some_and(|(limit, memory)| memory as f64 >= limit as f64 * NEAR_LIMIT)
}

/// It went away while we looked.
struct Gone;

/// Reads files of one group.
struct Look<'a> {
    layout: &'a Layout,
    file: &'a mut [u8],
    /// One of them could not be read or understood.
    unreadable: bool,
}

impl Look<'_> {
    /// Memory and CPU time, or nothing for a group that is only the sum of others.
    fn rank(&mut self, row: &mut Row, found: Found, keep: bool) -> Result<Option<(Option<u64>, Cpu)>, Gone> {
        if found.holds_others || row.limit_for == 0 {
            (row.limit, row.limit_for) = (self.limit(&row.path)?, LIMIT_FOR);
        }
        row.limit_for -= 1;
        if found.holds_others && row.limit.is_none() {
            return Ok(None);
        }
        self.used(row, keep).map(Some)
    }

    fn used(&mut self, row: &mut Row, keep: bool) -> Result<(Option<u64>, Cpu), Gone> {
        let layout = self.layout;
        let memory = match layout.tree(layout.memory) {
            Some(tree) => {
                let name = if tree.version_1 { "memory.usage_in_bytes" } else { "memory.current" };
                self.kept(tree, &row.path, name, Some(&mut row.memory), keep, parse_count)?
            }
            None => None,
        };
        let cpu = match layout.tree(layout.usage) {
            Some(tree) if tree.version_1 => self.kept(tree, &row.path, "cpuacct.usage", Some(&mut row.cpu), keep, parse_usage_v1)?,
            Some(tree) => self.kept(tree, &row.path, "cpu.stat", Some(&mut row.cpu), keep, parse_cpu)?,
            None => None,
        };
        Ok((memory, cpu.unwrap_or_default()))
    }

    fn limit(&mut self, path: &[u8]) -> Result<Option<u64>, Gone> {
        let layout = self.layout;
        let limit = match layout.tree(layout.memory) {
            Some(tree) if tree.version_1 => self.read(tree, path, "memory.limit_in_bytes", parse_limit_v1)?,
            Some(tree) => self.read(tree, path, "memory.max", parse_limit)?,
            None => None,
        };
        Ok(limit.flatten())
    }

    /// Everything else of a group that is shown. `counts_set`: whether its working set is worth what it costs.
    fn fill(&mut self, group: &mut CgroupUse, counts_set: impl Fn(&CgroupUse) -> bool) -> Result<(), Gone> {
        let path = group.path.as_bytes().strip_prefix(b"/").unwrap_or_default().to_vec();
        self.fill_from(&path, group, counts_set)
    }

    fn fill_from(&mut self, path: &[u8], group: &mut CgroupUse, counts_set: impl Fn(&CgroupUse) -> bool) -> Result<(), Gone> {
        let layout = self.layout;
        group.memory_max_bytes = self.limit(path)?;
        if let Some(tree) = layout.tree(layout.memory) {
            if tree.version_1 {
                group.oom_kills = self.read(tree, path, "memory.oom_control", |bytes| parse_key(bytes, "oom_kill"))?.flatten();
                // Memory and swap together; not there where the kernel does not count it.
                let both = self.read(tree, path, "memory.memsw.usage_in_bytes", parse_count)?;
                group.swap_bytes = both.zip(group.memory_bytes).map(|(both, memory)| both.saturating_sub(memory));
            } else {
                let events = self.read(tree, path, "memory.events", parse_events)?.unwrap_or_default();
                (group.oom_kills, group.high_events, group.max_events) = (events.oom_kills, events.high, events.max);
                group.memory_high_bytes = self.read(tree, path, "memory.high", parse_limit)?.flatten();
                group.swap_bytes = self.read(tree, path, "memory.swap.current", parse_count)?;
            }
            if counts_set(group) {
                // Version 1 counts a group without those below it, unless it says otherwise.
                let idle = if tree.version_1 { "total_inactive_file" } else { "inactive_file" };
                let idle = self.read(tree, path, "memory.stat", |bytes| parse_key(bytes, idle))?.flatten();
                group.working_set_bytes = idle.zip(group.memory_bytes).map(|(idle, memory)| memory.saturating_sub(idle));
            }
        }
        // In version 2 the file with the usage has told it already.
        if layout.throttling != layout.usage
            && let Some(tree) = layout.tree(layout.throttling)
        {
            let parse = if tree.version_1 { parse_throttling_v1 } else { parse_cpu };
            let cpu = self.read(tree, path, "cpu.stat", parse)?.unwrap_or_default();
            (group.throttled_us, group.throttled_periods, group.periods) = (cpu.throttled_us, cpu.throttled_periods, cpu.periods);
        }
        if let Some(tree) = layout.tree(layout.pids) {
            group.pids = self.read(tree, path, "pids.current", parse_count)?;
            group.pids_max = self.read(tree, path, "pids.max", parse_limit)?.flatten();
        }
        if let Some(tree) = layout.tree(layout.pressure) {
            group.memory_pressure = self.read(tree, path, "memory.pressure", |bytes| psi::parse_pressure(bytes).ok())?;
            group.cpu_pressure = self.read(tree, path, "cpu.pressure", parse_cpu_pressure)?.flatten();
            group.io_pressure = self.read(tree, path, "io.pressure", |bytes| psi::parse_pressure(bytes).ok())?;
        }
        Ok(())
    }

    fn read<T>(&mut self, tree: &Tree, path: &[u8], name: &str, parse: impl FnOnce(&[u8]) -> Option<T>) -> Result<Option<T>, Gone> {
        self.kept(tree, path, name, None, false, parse)
    }

    /// `Ok(None)`: there is no such file, because nobody counts this here; or it is unreadable, which is noted.
    fn kept<T>(
        &mut self,
        tree: &Tree,
        path: &[u8],
        name: &str,
        open: Option<&mut Option<OwnedFd>>,
        keep: bool,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Gone> {
        let mut nowhere = None;
        match read_file(tree, path, name, open.unwrap_or(&mut nowhere), keep, self.file) {
            Ok(bytes) => {
                let parsed = parse(bytes);
                self.unreadable |= parsed.is_none();
                Ok(parsed)
            }
            Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
            Err(Errno::NODEV) => Err(Gone),
            Err(_) => {
                self.unreadable = true;
                Ok(None)
            }
        }
    }
}

/// One read takes a whole file: they are a few lines.
fn read_file<'a>(
    tree: &Tree,
    path: &[u8],
    name: &str,
    open: &mut Option<OwnedFd>,
    keep: bool,
    file: &'a mut [u8],
) -> Result<&'a [u8], Errno> {
    if let Some(kept) = open.take()
        && let Ok(length) = rustix::io::pread(&kept, &mut *file, 0)
    {
        *open = Some(kept);
        return Ok(file.get(..length).unwrap_or_default());
    }
    let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
    let path = [path, separator, name.as_bytes()].concat();
    let opened = rustix::fs::openat(&tree.dir, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&opened, &mut *file))?;
    if keep {
        *open = Some(opened);
    }
    Ok(file.get(..length).unwrap_or_default())
}

#[cfg(test)]
mod tests;
