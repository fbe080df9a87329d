//! Who a process is, told by other means than the ones under test: `/proc` read plainly.

use std::fs;

use byteport::host::{Read, ReadError};
use byteport::model::{HostPath, ProcessFacts, ProcessTarget};

fn not_here<T>(what: String, why: &str) -> Read<T> {
    Err(ReadError::NotHere { what, why: why.to_owned() })
}

pub fn process(pid: u32) -> Read<ProcessFacts> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
    let Ok(stat) = read("stat") else { return not_here(format!("pid {pid}"), "there is no such process") };
    let (head, rest) = stat.rsplit_once(')').expect("a name");
    let field = |number: usize| -> i64 { rest.split_whitespace().nth(number - 3).expect("a field").parse().expect("a number") };
    let cgroup = read("cgroup").unwrap_or_default();
    let cgroup =
        cgroup.lines().filter_map(|l| l.split_once(":name=systemd:").map_or_else(|| l.strip_prefix("0::"), |(_, path)| Some(path)));
    let unit = cgroup.flat_map(|path| path.split('/')).rfind(|part| part.ends_with(".service")).map(str::to_owned);
    let status = read("status").unwrap_or_default();
    let uid = status.lines().find_map(|l| l.strip_prefix("Uid:")).and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    Ok(ProcessFacts {
        pid,
        start_ticks: u64::try_from(field(22)).expect("ticks"),
        comm: head.split_once('(').expect("a name").1.into(),
        age_s: 1e6,
        parent: u32::try_from(field(4)).expect("a pid"),
        unit,
        cgroup: HostPath::from("/"),
        kernel_thread: false,
        realtime: (1..=2).contains(&field(41)),
        idle_class: field(41) == 5,
        nice: i32::try_from(field(19)).expect("a nice value"),
        oom_score_adj: read("oom_score_adj").unwrap_or_default().trim().parse().unwrap_or(0),
        uid,
    })
}

/// What a scan would have written down of it.
pub fn target(pid: u32) -> ProcessTarget {
    let facts = process(pid).expect("a process");
    ProcessTarget { pid, start_ticks: facts.start_ticks, comm: facts.comm, unit: facts.unit }
}

/// What would be told of a process if it were still the one that was examined.
pub fn as_examined(target: &ProcessTarget) -> ProcessFacts {
    ProcessFacts {
        pid: target.pid,
        start_ticks: target.start_ticks,
        comm: target.comm.clone(),
        age_s: 1e6,
        parent: 1,
        unit: target.unit.clone(),
        cgroup: format!("/system.slice/{}", target.unit.as_deref().unwrap_or_default()).as_str().into(),
        kernel_thread: false,
        realtime: false,
        idle_class: false,
        nice: 0,
        oom_score_adj: 0,
        uid: 0,
    }
}
