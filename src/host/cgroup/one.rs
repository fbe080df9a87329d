//! One group that is asked about by its path, and who is in it.

use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::figures::parse_processes;
use super::layout::{Layout, Tree};
use super::walk::{MAX_GROUPS, Walk};
use super::{DEADLINE, FILE, Look, Row};
use crate::host::root::{Root, io_error};
use crate::host::{Read, ReadError};
use crate::model::{CgroupUse, HostPath};

/// More than a plan can name; the kernel's list of them is read no further either.
const MOST_PROCESSES: usize = 1000;
/// Seven digits and a line's end each.
const PROCESSES: usize = MOST_PROCESSES * 8;

/// Everything that is told of any group.
///
/// # Errors
/// `NotHere` when no hierarchy has it.
pub(in crate::host) fn read_group(root: &Root, path: &HostPath) -> Read<CgroupUse> {
    let layout = Layout::find(root)?.of_group(path)?;
    let mut file = vec![0; FILE];
    let mut look = Look { layout: &layout, file: &mut file, unreadable: false };
    let mut row = Row::new(Vec::new(), 0);
    let gone = |_| ReadError::NotHere { what: format!("cgroup {path}"), why: "it has gone".to_owned() };
    let (memory_bytes, cpu) = look.used(&mut row, false).map_err(gone)?;
    let mut group = CgroupUse {
        path: path.clone(),
        memory_bytes,
        cpu_usage_us: cpu.usage_us,
        throttled_us: cpu.throttled_us,
        throttled_periods: cpu.throttled_periods,
        periods: cpu.periods,
        ..CgroupUse::default()
    };
    look.fill_from(b"", &mut group, |_| true).map_err(gone)?;
    if look.unreadable {
        return Err(ReadError::Parse { what: format!("cgroup {path}"), why: "a file of it is not understood".to_owned() });
    }
    Ok(group)
}

/// What the processes of a group may use at most: the least of its memory limit and of those above it. `None`: there is no limit.
///
/// # Errors
/// When the group has gone.
pub(in crate::host) fn read_limit(root: &Root, path: &HostPath) -> Read<Option<u64>> {
    let mut least: Option<u64> = None;
    for above in path.as_path().ancestors() {
        let layout = Layout::find(root)?.of_group(&HostPath::from(above))?;
        let mut file = vec![0; FILE];
        let limit = Look { layout: &layout, file: &mut file, unreadable: false }.limit(b"");
        let limit = limit.map_err(|_| ReadError::NotHere { what: format!("cgroup {path}"), why: "it has gone".to_owned() })?;
        least = least.into_iter().chain(limit).min();
    }
    Ok(least)
}

/// The processes of a group and of all below it, at most a thousand, in the order of their numbers.
///
/// # Errors
/// `NotHere` when no hierarchy has it.
pub(in crate::host) fn read_processes(root: &Root, path: &HostPath) -> Read<Vec<u32>> {
    let layout = Layout::find(root)?.of_group(path)?;
    // Where version 1 is in use, the unified hierarchy is systemd's own and has all of its groups; of the others each has those that it counts.
    let trees = [layout.pressure, layout.memory, layout.usage, layout.throttling, layout.pids];
    let Some(tree) = trees.into_iter().find_map(|figure| layout.tree(figure)) else {
        return Err(ReadError::NotHere { what: format!("cgroup {path}"), why: "no hierarchy has it".to_owned() });
    };
    let mut walk = Walk::new(MAX_GROUPS);
    walk.add(tree, Instant::now() + DEADLINE).map_err(|e| io_error(path, e))?;
    // The hierarchy's own root is no group, and has processes all the same.
    let groups = std::iter::once(Vec::new()).chain(walk.groups.into_keys().filter(|below| !below.is_empty()));
    let mut found = Vec::new();
    for group in groups {
        match processes_of(tree, &group) {
            Ok(listed) => found.extend(parse_processes(&listed).unwrap_or_default()),
            // It went away, or holds threads of processes that are listed above it.
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(io_error(path, e)),
        }
        if found.len() >= MOST_PROCESSES {
            break;
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST_PROCESSES);
    Ok(found)
}

fn processes_of(tree: &Tree, group: &[u8]) -> Result<Vec<u8>, Errno> {
    let separator: &[u8] = if group.is_empty() { b"" } else { b"/" };
    let path = [group, separator, b"cgroup.procs"].concat();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&tree.dir, path, flags, Mode::empty())?;
    let mut listed = vec![0; PROCESSES];
    let mut length = 0;
    while let Some(rest @ [_, ..]) = listed.get_mut(length..) {
        match rustix::io::retry_on_intr(|| rustix::io::read(&opened, &mut *rest))? {
            0 => break,
            more => length += more,
        }
    }
    listed.truncate(length);
    Ok(listed)
}
