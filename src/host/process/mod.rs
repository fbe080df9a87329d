//! One process: who it is and what it uses.
//!
//! Everything is read through one handle on its folder in `/proc`, which goes stale with the process and never becomes another's. What takes
//! the lock of its memory (`smaps_rollup`, `cmdline`, `environ`) is asked last, of none in uninterruptible sleep, and behind a deadline of
//! its own: a process in trouble may hold that lock for ever.

pub(super) mod heap;
pub(super) mod lines;

use std::ffi::CStr;

use rustix::io::Errno;

use self::heap::parse_settings;
use self::lines::{Policy, Stat, Status, parse_pss, parse_stat, parse_status};
use super::procs::{self, Process, cgroup_path, parse_io};
use super::root::{Root, io_error};
use super::{Read, ReadError, clock};
use crate::model::{Bytes, HeapSetting, HostPath, Observed, ProcessDetail, ProcessFacts, owner_of};

/// Of one process, which is there before and after.
struct Seen {
    process: Process,
    stat: Stat,
    status: Status,
    facts: ProcessFacts,
}

/// # Errors
/// `NotHere` when it has gone, or when the number is that of a thread.
pub(super) fn read_facts(root: &Root, pid: u32) -> Read<ProcessFacts> {
    see(root, pid).map(|seen| seen.facts)
}

/// All but the share of its pages, which takes the lock of its memory: [`read_pss`].
pub(super) fn read_detail(root: &Root, pid: u32) -> Read<ProcessDetail> {
    let Seen { process, stat, status, facts } = see(root, pid)?;
    let io = file(&process, c"io").and_then(|bytes| parse_io(&bytes).ok_or_else(|| damaged(&process, c"io")));
    Ok(ProcessDetail {
        state: stat.state,
        rss: Bytes(status.rss),
        swap: Bytes(status.swap),
        pss: Observed::unavailable(format!("smaps_rollup of process {pid} was not asked")),
        cpu_ticks: stat.cpu_ticks,
        io_bytes: io.map(|io| io.through_calls).into(),
        voluntary_switches: status.voluntary_switches,
        involuntary_switches: status.involuntary_switches,
        threads: stat.threads,
        facts,
    })
}

/// # Errors
/// `NotHere` when it is in uninterruptible sleep, or not the process any more that began at `start_ticks`.
pub(super) fn read_pss(root: &Root, pid: u32, start_ticks: u64) -> Read<Bytes> {
    let (process, _) = awake(root, pid, start_ticks)?;
    let bytes = file(&process, c"smaps_rollup")?;
    parse_pss(&bytes).map(Bytes).ok_or_else(|| damaged(&process, c"smaps_rollup"))
}

/// `visible`: bytes of memory that it sees, `None` where that is not known.
///
/// # Errors
/// As [`read_pss`].
pub(super) fn read_heap(root: &Root, pid: u32, start_ticks: u64, visible: Option<u64>) -> Read<Vec<HeapSetting>> {
    let (process, stat) = awake(root, pid, start_ticks)?;
    let arguments = file(&process, c"cmdline")?;
    // What a process calls itself it may have chosen; which file it runs it has not.
    let name = process.program().unwrap_or(stat.comm);
    let settings = parse_settings(&name, &arguments, &file(&process, c"environ")?, visible);
    if stat_of(&process)?.start_ticks != start_ticks {
        return Err(gone(pid));
    }
    Ok(settings)
}

/// A process whose memory may be looked at.
fn awake(root: &Root, pid: u32, start_ticks: u64) -> Read<(Process, Stat)> {
    let process = procs::one(root, pid)?;
    let stat = stat_of(&process)?;
    if stat.start_ticks != start_ticks {
        return Err(gone(pid));
    }
    if stat.state == 'D' {
        let why = "it is in uninterruptible sleep, and looking at its memory might never end".to_owned();
        return Err(ReadError::NotHere { what: format!("memory of process {pid}"), why });
    }
    Ok((process, stat))
}

fn see(root: &Root, pid: u32) -> Read<Seen> {
    let process = procs::one(root, pid)?;
    let stat = stat_of(&process)?;
    let status = parse_status(&file(&process, c"status")?).ok_or_else(|| damaged(&process, c"status"))?;
    if status.process != pid {
        let why = format!("{pid} is a thread of process {}", status.process);
        return Err(ReadError::NotHere { what: format!("process {pid}"), why });
    }
    let cgroup = cgroup_path(&file(&process, c"cgroup")?).unwrap_or_default();
    let oom_score_adj = std::str::from_utf8(&file(&process, c"oom_score_adj")?).ok().and_then(|text| text.trim().parse().ok());
    let oom_score_adj = oom_score_adj.ok_or_else(|| damaged(&process, c"oom_score_adj"))?;
    if stat_of(&process)?.start_ticks != stat.start_ticks {
        return Err(gone(pid));
    }
    let began_s = stat.start_ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    let facts = ProcessFacts {
        pid,
        start_ticks: stat.start_ticks,
        comm: HostPath::from_bytes(stat.comm.as_slice()),
        age_s: (clock::uptime_s() - began_s).max(0.0),
        parent: stat.parent,
        unit: owner_of(&cgroup),
        cgroup,
        kernel_thread: stat.kernel_thread,
        realtime: stat.policy == Policy::Realtime,
        idle_class: stat.policy == Policy::Idle,
        nice: stat.nice,
        oom_score_adj,
        uid: status.uid,
    };
    Ok(Seen { process, stat, status, facts })
}

fn stat_of(process: &Process) -> Read<Stat> {
    parse_stat(&file(process, c"stat")?).ok_or_else(|| damaged(process, c"stat"))
}

fn file(process: &Process, name: &CStr) -> Read<Vec<u8>> {
    process.file(name).map_err(|e| match e {
        Errno::NOENT | Errno::SRCH => gone(process.pid),
        e => io_error(&HostPath::from(format!("/proc/{}/{}", process.pid, name.to_string_lossy()).as_str()), e),
    })
}

fn damaged(process: &Process, name: &CStr) -> ReadError {
    ReadError::Parse { what: format!("/proc/{}/{}", process.pid, name.to_string_lossy()), why: "not understood".to_owned() }
}

fn gone(pid: u32) -> ReadError {
    ReadError::NotHere { what: format!("process {pid}"), why: "it has gone".to_owned() }
}

#[cfg(test)]
mod tests;
