//! Looks, and changes nothing. Every part has its own thread: what hangs (D-Bus while memory is gone) delays no other. While the host
//! stalls nothing is read that a stalled process would have to be woken for: no page maps, no arguments, and of units what systemd said lately.

use std::thread;

use super::Params;
use super::evidence::{Evidence, Group, Kill, Memory, Process, Traffic};
use super::signals::{HEAP, STALL, ago_s};
use crate::host::{Read, ReadHost};
use crate::model::{
    CgroupUse, Cgroups, Deploy, HostPath, KernelEventKind, Observed, ProcessFacts, ProcessUse, RequestCount, Sample, Seconds, Subject,
    UnitFacts, service_of,
};
use crate::runbooks::{Depth, FocusedAsk, Part};

/// A sweep that is no older than this is not made again.
const FRESH_S: f64 = 2.0;
/// Processes of one group that are named.
const PROCESSES: usize = 64;
const HOUR: Seconds = Seconds(3600.0);

const NOT_READ: &str = "not read again: only what steps change was looked at";
const STALLED: &str = "not read while the host stalls for want of memory";

pub(super) fn gather(host: &dyn ReadHost, ask: &FocusedAsk<'_>, params: &Params) -> Evidence {
    let taken = host.now();
    let brief = ask.depth == Depth::Quick;
    let rates = ask.history.rates();
    let mut evidence = Evidence {
        subject: ask.subject.clone(),
        signals: ask.signals.to_vec(),
        brief,
        memory: memory(host),
        pressure: host.memory_pressure().into(),
        swap_in_per_s: rate(rates.swap_in_per_s, "swap-in was not read twice yet"),
        available_per_s: rate(rates.available_per_s, "MemAvailable was not watched for long enough"),
        oom_count: oom_count(host),
        oom_kills: kills(ask.sample, taken.uptime_s),
        hierarchy: unread(NOT_READ),
        groups: unread(NOT_READ),
        processes: unread(NOT_READ),
        deploys: unread(NOT_READ),
        traffic: traffic(ask),
        in_force: ask.history.in_force(),
        taken,
    };
    let sweep = cgroups(host, ask.sample, evidence.taken.uptime_s, brief, params);
    evidence.hierarchy = sweep.as_ref().map_or_else(|why| unread(why), |sweep| Observed::fresh(sweep.version));
    let chosen = sweep.map(|sweep| choose(host, sweep, ask, params));
    if brief {
        let mut groups: Result<Vec<Group>, String> = chosen.map(|groups| groups.into_iter().map(|used| bare(anew(host, used))).collect());
        // What tells that an exhausted heap is gone is that its unit runs anew.
        if evidence.has(&HEAP)
            && let (Ok(groups), Some(own)) = (&mut groups, evidence.own_unit())
        {
            groups.iter_mut().filter(|g| g.unit.as_deref() == Some(own)).for_each(|g| g.facts = host.unit(own).into());
        }
        evidence.groups = observed(groups);
        return evidence;
    }
    let stalls = evidence.has(&STALL);
    thread::scope(|scope| {
        let deploys = Part::begin(scope, || host.deploys(params.deploy_within_s).into());
        let processes = Part::begin(scope, || processes(host, ask, evidence.taken.uptime_s, stalls, params));
        let groups = chosen.map(|groups| {
            let parts: Vec<_> = groups.into_iter().map(|used| Part::begin(scope, move || group(host, used, ask, stalls))).collect();
            parts.into_iter().filter_map(Part::answer).collect()
        });
        evidence.groups = observed(groups);
        evidence.processes = processes.observed();
        evidence.deploys = deploys.observed();
    });
    let (within_s, taken) = (params.deploy_within_s.0, evidence.taken.clone());
    let facts = evidence.all_groups().iter().filter_map(|group| group.facts.value());
    let restarted: Vec<Deploy> = facts.filter_map(|facts| ask.restarted(facts, within_s, &taken)).collect();
    if let Observed::Value { value: deploys, .. } = &mut evidence.deploys {
        deploys.extend(restarted);
    }
    own_processes(host, ask, &mut evidence, params);
    if let Observed::Value { value: groups, .. } = &mut evidence.groups {
        groups.sort_by_key(|g| std::cmp::Reverse(g.memory()));
    }
    evidence
}

fn unread<T>(why: &str) -> Observed<T> {
    Observed::unavailable(why)
}

fn observed<T>(read: Result<T, String>) -> Observed<T> {
    read.into()
}

fn rate(per_s: Option<f64>, why: &str) -> Observed<f64> {
    per_s.map_or_else(|| unread(why), Observed::fresh)
}

fn memory(host: &dyn ReadHost) -> Observed<Memory> {
    match host.memory() {
        Err(e) => Observed::unavailable(e.to_string()),
        Ok(lines) => {
            Memory::of(&lines).map_or_else(|| unread("/proc/meminfo: MemTotal, MemFree or MemAvailable is missing"), Observed::fresh)
        }
    }
}

fn oom_count(host: &dyn ReadHost) -> Observed<u64> {
    match host.vmstat() {
        Err(e) => Observed::unavailable(e.to_string()),
        Ok(lines) => {
            let count = lines.iter().find(|l| &*l.name == "oom_kill").map(|l| l.value);
            count.map_or_else(|| unread("/proc/vmstat: this kernel does not count oom_kill"), Observed::fresh)
        }
    }
}

/// `None`: no service is named whose requests are counted.
fn traffic(ask: &FocusedAsk<'_>) -> Option<Observed<Vec<Traffic>>> {
    let counts = match &ask.sample?.readings.requests {
        Observed::Unavailable { why } => return Some(unread(why)),
        Observed::Value { value, .. } => value,
    };
    let of = |count: &RequestCount| Traffic { unit: count.unit.clone(), pearson: ask.history.traffic(&count.unit) };
    Some(Observed::fresh(counts.iter().map(of).collect())).filter(|_| !counts.is_empty())
}

/// What the listener has heard: the kernel's ring itself is not read again.
fn kills(sample: Option<&Sample>, now_s: f64) -> Observed<Vec<Kill>> {
    let log = match sample.map(|s| &s.readings.kernel_log) {
        None => return unread("no sample yet"),
        Some(Observed::Unavailable { why }) => return unread(why),
        Some(Observed::Value { value, .. }) => value,
    };
    let kills = log.recent.iter().rev().filter(|e| e.kind == KernelEventKind::OomKill);
    let kills = kills.map(|event| Kill {
        ago_s: ago_s(event, now_s),
        victim: event.subject.clone(),
        pid: event.pid,
        cgroup: event.cgroup.clone(),
        text: event.text.clone(),
    });
    Observed::fresh(kills.filter(|kill| kill.ago_s <= HOUR.0).collect())
}

/// How old a part of the newest sample is by now, and the part.
fn recent<'a, T>(sample: Option<&'a Sample>, part: impl Fn(&'a Sample) -> &'a Observed<T>, now_s: f64) -> Option<(&'a T, f64)> {
    let sample = sample?;
    match part(sample) {
        Observed::Value { value, age_s } => Some((value, now_s - sample.at.uptime_s + age_s)),
        Observed::Unavailable { .. } => None,
    }
}

/// The last sweep where it is fresh, or where only the groups' names are wanted.
fn cgroups(host: &dyn ReadHost, sample: Option<&Sample>, now_s: f64, brief: bool, params: &Params) -> Result<Cgroups, String> {
    match recent(sample, |s| &s.readings.cgroups, now_s) {
        Some((swept, age_s)) if brief || age_s <= FRESH_S => Ok(swept.clone()),
        _ => host.cgroups(params.top).map_err(|e| e.to_string()),
    }
}

/// The largest, and the subject's own. A group that holds others of the list is left out: what it has, they have.
fn choose(host: &dyn ReadHost, sweep: Cgroups, ask: &FocusedAsk<'_>, params: &Params) -> Vec<CgroupUse> {
    let subject = match ask.subject {
        Subject::Unit { name } => Some(name),
        Subject::Host | Subject::Filesystem { .. } | Subject::Disk { .. } | Subject::Process { .. } => None,
    };
    let own = |group: &CgroupUse| subject.is_some() && service_of(&group.path).as_ref() == subject;
    let size = |group: &CgroupUse| group.working_set_bytes.or(group.memory_bytes).unwrap_or(0);
    let mut groups = sweep.top;
    let paths: Vec<HostPath> = groups.iter().map(|g| g.path.clone()).collect();
    groups.retain(|g| service_of(&g.path).is_some() || !paths.iter().any(|p| *p != g.path && p.is_under(&g.path)));
    groups.sort_by(|a, b| own(b).cmp(&own(a)).then(size(b).cmp(&size(a))));
    let mut chosen: Vec<CgroupUse> = Vec::new();
    for group in groups {
        // Of a service with groups of its own below, the one that is the service's.
        let service = service_of(&group.path);
        let known = service.is_some() && chosen.iter().any(|c| service_of(&c.path) == service);
        if chosen.len() < params.top && !known {
            chosen.push(with_service(group, service));
        }
    }
    // Whoever was just killed is among the smallest.
    if let Some(name) = subject
        && !chosen.iter().any(own)
        && let Ok(facts) = host.unit_at_once(name)
        && service_of(&facts.cgroup).as_ref() == subject
    {
        chosen.insert(0, CgroupUse { path: facts.cgroup, ..CgroupUse::default() });
    }
    chosen
}

/// A limit is the unit's, and so is what is set against it: of a group inside a service, the service's own is looked at.
fn with_service(mut group: CgroupUse, service: Option<String>) -> CgroupUse {
    if let Some(service) = service {
        let mut path = Vec::new();
        for part in group.path.as_bytes().split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            path.push(b'/');
            path.extend_from_slice(part);
            if part == service.as_bytes() {
                break;
            }
        }
        let path = HostPath::from_bytes(path);
        if path != group.path {
            group = CgroupUse { path, ..CgroupUse::default() };
        }
    }
    group
}

/// As it is now; where it cannot be read, as it was swept.
fn anew(host: &dyn ReadHost, swept: CgroupUse) -> CgroupUse {
    host.group(&swept.path).unwrap_or(swept)
}

fn bare(used: CgroupUse) -> Group {
    Group { unit: service_of(&used.path), used, past: unread(NOT_READ), facts: unread(NOT_READ), processes: unread(NOT_READ) }
}

fn group(host: &dyn ReadHost, swept: CgroupUse, ask: &FocusedAsk<'_>, stalls: bool) -> Group {
    let used = anew(host, swept);
    let unit = service_of(&used.path);
    let past = ask.history.group(&used.path);
    let (mut facts, mut processes) = (unread("it is no service"), unread("it is no service"));
    if let Some(name) = &unit {
        thread::scope(|scope| {
            let unit = || if stalls { host.unit_at_once(name) } else { host.unit(name) };
            let asked = Part::begin(scope, move || Observed::<UnitFacts>::from(unit()));
            processes = group_processes(host, &used.path).into();
            facts = asked.observed();
        });
    }
    Group { past: past.map_or_else(|| unread("it was not followed yet"), Observed::fresh), unit, used, facts, processes }
}

/// Those that went away meanwhile are left out.
fn group_processes(host: &dyn ReadHost, path: &HostPath) -> Read<Vec<ProcessFacts>> {
    let pids = host.group_processes(path)?;
    Ok(pids.into_iter().take(PROCESSES).filter_map(|pid| host.process(pid).ok()).collect())
}

fn processes(host: &dyn ReadHost, ask: &FocusedAsk<'_>, now_s: f64, stalls: bool, params: &Params) -> Observed<Vec<Process>> {
    let mut top: Vec<ProcessUse> = match recent(ask.sample, |s| &s.readings.processes, now_s) {
        Some((swept, age_s)) if stalls || age_s <= FRESH_S => swept.top.clone(),
        _ => match host.processes(params.top) {
            Ok(swept) => swept.top,
            Err(e) => return unread(&e.to_string()),
        },
    };
    top.sort_by_key(|p| std::cmp::Reverse(p.rss_bytes));
    top.truncate(params.top);
    // One thread each: arguments and page maps of a process that is being swapped in take long.
    thread::scope(|scope| {
        let parts: Vec<_> = top.iter().map(|p| Part::begin(scope, move || process(host, p, ask, stalls))).collect();
        Observed::fresh(parts.into_iter().filter_map(|part| part.answer().flatten()).collect())
    })
}

/// Of a unit's own signals, its processes are wanted, whoever else is large.
fn own_processes(host: &dyn ReadHost, ask: &FocusedAsk<'_>, evidence: &mut Evidence, params: &Params) {
    let group = evidence.own_unit().and_then(|unit| evidence.group_of(unit));
    let facts: Vec<ProcessFacts> = group.and_then(|g| g.processes.value()).cloned().unwrap_or_default();
    let Observed::Value { value: known, .. } = &mut evidence.processes else { return };
    let new = |f: &&ProcessFacts| !known.iter().any(|k| k.facts.pid == f.pid);
    let pids: Vec<u32> = facts.iter().filter(new).map(|f| f.pid).collect();
    let mut details: Vec<_> = pids.into_iter().filter_map(|pid| host.process_detail(pid).ok()).collect();
    details.sort_by_key(|d| std::cmp::Reverse(d.rss));
    for detail in details.into_iter().take(params.top) {
        let past = ask.history.process(detail.facts.pid, detail.facts.start_ticks);
        let past = past.map_or_else(|| unread("it was not followed yet"), Observed::fresh);
        let heap = host.heap_settings(detail.facts.pid).into();
        known.push(Process { facts: detail.facts.clone(), rss: detail.rss, past, detail: Observed::fresh(detail), heap });
    }
    known.sort_by_key(|p| std::cmp::Reverse(p.rss));
}

/// `None`: it has gone, or its pid is another's.
fn process(host: &dyn ReadHost, swept: &ProcessUse, ask: &FocusedAsk<'_>, stalls: bool) -> Option<Process> {
    let facts = host.process(swept.pid).ok().filter(|facts| facts.start_ticks == swept.start_ticks)?;
    let past = ask.history.process(swept.pid, swept.start_ticks);
    let past = past.map_or_else(|| unread("it was not followed yet"), Observed::fresh);
    let (detail, heap) = match stalls {
        true => (unread(STALLED), unread(STALLED)),
        false => (host.process_detail(swept.pid).into(), host.heap_settings(swept.pid).into()),
    };
    let rss = crate::model::Bytes(swept.rss_bytes);
    Some(Process { facts, rss, past, detail, heap })
}
