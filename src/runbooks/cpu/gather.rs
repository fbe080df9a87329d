//! Looks twice, a second apart, and changes nothing. A part that fails is `Unavailable` and no more.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use super::evidence::{Cron, CronJob, Evidence, Group, Hot, UnitAnswer};
use super::{Params, cron, look};
use crate::host::{ReadError, ReadHost};
use crate::model::{
    CgroupUse, Cgroups, CpuStat, Deploy, HostPath, Observed, Percent, Pressure, ProcessDetail, ProcessFacts, Processes, Seconds, Subject,
    service_of,
};
use crate::runbooks::{Depth, FocusedAsk, Part};

/// Processes that are looked at closely: each of them is counted page by page.
const WATCHED: usize = 5;
/// Units that systemd is asked about.
const UNITS: usize = 8;
/// Groups are many, and one that is held back is not among the hottest.
const GROUPS: usize = 30;
/// Processes of one daemon that are looked at.
const JOBS: usize = 400;
/// How far back a release may be behind it.
const DEPLOYS_S: Seconds = Seconds(3600.0);

const NOT_READ: &str = "not read again: only what steps change was looked at";

/// Everything that is read twice. Each has its own time: going through all processes takes longer the first time, and on a busy host as
/// long as the look itself; a share of the wrong time would be told.
struct Look {
    at_s: f64,
    cpu: Observed<CpuStat>,
    pressure: Observed<Pressure>,
    processes_at_s: f64,
    processes: Observed<Processes>,
    groups_at_s: f64,
    groups: Observed<Cgroups>,
    /// Groups that must be in it, whether or not they are among the hottest.
    named: Vec<CgroupUse>,
}

impl Look {
    fn take(host: &dyn ReadHost, params: &Params, paths: &[HostPath]) -> Self {
        Self {
            at_s: host.now().uptime_s,
            cpu: host.cpu_stat().into(),
            pressure: host.cpu_pressure().into(),
            processes_at_s: host.now().uptime_s,
            processes: host.processes(params.top).into(),
            groups_at_s: host.now().uptime_s,
            groups: host.cgroups(GROUPS).into(),
            named: paths.iter().filter_map(|path| host.group(path).ok()).collect(),
        }
    }

    fn group(&self, path: &HostPath) -> Option<&CgroupUse> {
        self.named.iter().chain(self.groups.value().into_iter().flat_map(|g| &g.top)).find(|g| g.path == *path)
    }
}

pub(super) fn gather(host: &dyn ReadHost, ask: &FocusedAsk<'_>, params: &Params) -> Evidence {
    let taken = host.now();
    let paths = named_groups(host, ask);
    let first = Look::take(host, params, &paths);
    let watch = to_watch(ask, &first);
    let detail = |(pid, _): &(u32, u64)| (host.now().uptime_s, Observed::from(host.process_detail(*pid)));
    let before: Vec<(f64, Observed<ProcessDetail>)> = watch.iter().map(detail).collect();
    let (found, deploys) = thread::scope(|scope| {
        let full = ask.depth == Depth::Full;
        let beside = full.then(|| Part::begin(scope, || (jobs(host), Observed::<Vec<Deploy>>::from(host.deploys(DEPLOYS_S)))));
        thread::sleep(Duration::from_secs_f64(params.window_s.0.clamp(0.1, 30.0)));
        let defect = || (Observed::unavailable("the reader failed: a defect, please report it"), Observed::unavailable("not read"));
        let unread = || (Observed::unavailable(NOT_READ), Observed::unavailable(NOT_READ));
        beside.map_or_else(unread, |part| part.answer().unwrap_or_else(defect))
    });
    let after: Vec<(f64, Observed<ProcessDetail>)> = watch.iter().map(detail).collect();
    let second = Look::take(host, params, &paths);
    let over_s = second.at_s - first.at_s;
    let groups_over_s = second.groups_at_s - first.groups_at_s;
    let groups = groups(&first, &second, groups_over_s, ask, params);
    let processes_over_s = second.processes_at_s - first.processes_at_s;
    let mut processes = match (&first.processes, &second.processes) {
        (Observed::Value { value: first, .. }, Observed::Value { value: second, .. }) => {
            Observed::fresh(look::hottest(&first.top, &second.top, processes_over_s, ask.history, params))
        }
        (Observed::Unavailable { why }, _) | (_, Observed::Unavailable { why }) => Observed::unavailable(why.clone()),
    };
    if let Observed::Value { value: processes, .. } = &mut processes {
        for (((pid, start_ticks), (before_s, before)), (after_s, after)) in watch.iter().zip(before).zip(after) {
            watch_one(host, ask, (*pid, *start_ticks), before, after, after_s - before_s, processes);
        }
    }
    let cron = found.map(|found| found.map(|found| found.with_use(&first.groups, &second.groups, groups_over_s)));
    let mut evidence = Evidence {
        subject: ask.subject.clone(),
        signals: ask.signals.to_vec(),
        host: look::host(first.cpu, second.cpu, host.load().into(), over_s),
        pressure: look::waiting(first.pressure, second.pressure, over_s),
        io_pressure: host.io_pressure().into(),
        processes,
        groups,
        units: Vec::new(),
        cron,
        deploys,
        fleet_saturated: None,
        in_force: ask.history.in_force(),
        taken,
    };
    evidence.units = units(host, &evidence);
    let facts = evidence.units.iter().filter_map(|unit| unit.facts.value());
    let restarted: Vec<Deploy> = facts.filter_map(|facts| ask.restarted(facts, DEPLOYS_S.0, &evidence.taken)).collect();
    if let Observed::Value { value: deploys, .. } = &mut evidence.deploys {
        deploys.extend(restarted);
    }
    evidence
}

/// The groups of the units that the episode is about.
fn named_groups(host: &dyn ReadHost, ask: &FocusedAsk<'_>) -> Vec<HostPath> {
    let subjects = ask.signals.iter().map(|s| &s.subject).chain([ask.subject]);
    let named: BTreeSet<&String> = subjects
        .filter_map(|subject| match subject {
            Subject::Unit { name } => Some(name),
            Subject::Filesystem { .. } | Subject::Disk { .. } | Subject::Host | Subject::Process { .. } => None,
        })
        .collect();
    let groups = named.into_iter().take(UNITS).filter_map(|name| host.unit(name).ok()).map(|facts| facts.cgroup);
    groups.filter(|path| !path.as_bytes().is_empty()).collect()
}

/// Processes that the episode is about, then the hottest.
fn to_watch(ask: &FocusedAsk<'_>, first: &Look) -> Vec<(u32, u64)> {
    let subjects = ask.signals.iter().map(|s| &s.subject).chain([ask.subject]);
    let mut out: Vec<(u32, u64)> = subjects
        .filter_map(|subject| match subject {
            Subject::Process { pid, start_ticks, .. } => Some((*pid, *start_ticks)),
            Subject::Filesystem { .. } | Subject::Disk { .. } | Subject::Host | Subject::Unit { .. } => None,
        })
        .collect();
    let mut hot: Vec<_> = first.processes.value().into_iter().flat_map(|p| &p.top).collect();
    hot.sort_by(|a, b| b.cpu_percent.unwrap_or(0.0).total_cmp(&a.cpu_percent.unwrap_or(0.0)));
    for (pid, start_ticks) in hot.into_iter().map(|p| (p.pid, p.start_ticks)) {
        if !out.contains(&(pid, start_ticks)) {
            out.push((pid, start_ticks));
        }
    }
    out.truncate(WATCHED);
    out
}

fn watch_one(
    host: &dyn ReadHost,
    ask: &FocusedAsk<'_>,
    (pid, start_ticks): (u32, u64),
    before: Observed<ProcessDetail>,
    after: Observed<ProcessDetail>,
    over_s: f64,
    processes: &mut Vec<Hot>,
) {
    let (first, second) = match (before, after) {
        (Observed::Value { value: first, .. }, Observed::Value { value: second, .. }) if second.facts.start_ticks == start_ticks => {
            (first, second)
        }
        (_, Observed::Value { .. }) => return,
        (_, Observed::Unavailable { why }) => {
            if let Some(hot) = processes.iter_mut().find(|p| p.pid == pid && p.start_ticks == start_ticks) {
                hot.watched = Observed::unavailable(why);
            }
            return;
        }
    };
    let cpu = Percent(second.cpu_ticks.saturating_sub(first.cpu_ticks) as f64 / over_s.max(0.05));
    let (comm, threads) = (second.facts.comm.clone(), second.threads);
    let orphan = orphan(host, &second.facts);
    let watched = look::watched(first, second, orphan, over_s);
    match processes.iter_mut().find(|p| p.pid == pid && p.start_ticks == start_ticks) {
        Some(hot) => hot.watched = watched,
        // What the episode is about stays in the table, however cool it is.
        None => processes.push(Hot { pid, start_ticks, comm, cpu, threads, past: ask.history.process(pid, start_ticks), watched }),
    }
}

/// Its parent is the first process or a user's manager, and no service has it.
fn orphan(host: &dyn ReadHost, facts: &ProcessFacts) -> Observed<bool> {
    let of_service = service_of(&facts.cgroup).is_some_and(|unit| !unit.starts_with("user@"));
    if of_service || facts.kernel_thread {
        return Observed::fresh(false);
    }
    if facts.parent == 1 {
        return Observed::fresh(true);
    }
    Observed::from(host.process(facts.parent)).map(|parent| parent.comm.as_bytes() == b"systemd")
}

/// The daemon with most jobs of one name; `None` where there is none.
fn jobs(host: &dyn ReadHost) -> Observed<Option<Cron>> {
    let mut found: Option<Cron> = None;
    for unit in cron::UNITS {
        let facts = match host.unit(unit) {
            Ok(facts) => facts,
            Err(ReadError::NotHere { .. }) => continue,
            // There may be one, with all the jobs: nobody said.
            Err(e) => return Observed::unavailable(e.to_string()),
        };
        let Some(main) = facts.main_pid.filter(|_| !facts.cgroup.as_bytes().is_empty()) else { continue };
        let pids = match host.group_processes(&facts.cgroup) {
            Ok(pids) => pids,
            Err(e) => return Observed::unavailable(e.to_string()),
        };
        // One that has ended meanwhile is no job any more.
        let processes: Vec<ProcessFacts> = pids.into_iter().take(JOBS).filter_map(|pid| host.process(pid).ok()).collect();
        let jobs = cron::tree(main, &processes);
        let most = |jobs: &[CronJob]| jobs.iter().map(|j| j.instances.len()).max().unwrap_or(0);
        if found.as_ref().is_none_or(|known| most(&known.jobs) < most(&jobs)) {
            found = Some(Cron { unit: unit.to_owned(), cgroup: facts.cgroup, cpu: Percent(0.0), jobs });
        }
    }
    Observed::fresh(found)
}

fn groups(first: &Look, second: &Look, over_s: f64, ask: &FocusedAsk<'_>, params: &Params) -> Observed<Vec<Group>> {
    let told = match &second.groups {
        Observed::Value { value, .. } => &value.top,
        Observed::Unavailable { why } => return Observed::unavailable(why.clone()),
    };
    let mut out: Vec<Group> = Vec::new();
    for seen in second.named.iter().chain(told) {
        if !out.iter().any(|g| g.path == seen.path) {
            out.extend(look::group(first.group(&seen.path), seen, over_s, ask.history));
        }
    }
    out.sort_by(|a, b| b.cpu.0.total_cmp(&a.cpu.0).then_with(|| a.path.cmp(&b.path)));
    let named = |g: &Group| second.named.iter().any(|n| n.path == g.path);
    let telling =
        |g: &Group| named(g) || g.throttled.is_some() || g.pids.zip(g.pids_max).is_some_and(|(pids, most)| pids.saturating_mul(2) > most);
    let (mut top, rest): (Vec<Group>, Vec<Group>) = if out.len() > params.top {
        let rest = out.split_off(params.top);
        (out, rest)
    } else {
        (out, Vec::new())
    };
    top.extend(rest.into_iter().filter(telling));
    Observed::fresh(top)
}

fn units(host: &dyn ReadHost, evidence: &Evidence) -> Vec<UnitAnswer> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: Option<&str>| {
        if let Some(name) = name
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    };
    if let Subject::Unit { name } = &evidence.subject {
        add(Some(name));
    }
    add(evidence.cron.value().and_then(|c| c.as_ref()).map(|c| c.unit.as_str()));
    for hot in evidence.processes.value().into_iter().flatten() {
        add(hot.watched.value().and_then(|w| w.facts.unit.as_deref()));
    }
    let groups = || evidence.groups.value().into_iter().flatten();
    groups().filter(|g| g.throttled.is_some()).for_each(|g| add(g.unit.as_deref()));
    groups().for_each(|g| add(g.unit.as_deref()));
    names.truncate(UNITS);
    names.into_iter().map(|name| UnitAnswer { facts: host.unit(&name).into(), name }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use std::path::Path;

    use super::*;
    use crate::detect::History;
    use crate::host::{Clock, HeldFiles, LiveHost, Read, ReadError, Scan, ScanAsk, Writer};
    use crate::model::{Answer, DiskIo, FsUsage, Mount, Now, Query, WriteTrial};

    /// The live host, on which the first look at groups takes long, and where a process moves a thousand bytes a second by the clock.
    struct Slow {
        live: LiveHost,
        looked: AtomicBool,
    }

    fn not_here<T>() -> Read<T> {
        Err(ReadError::NotHere { what: "not asked".into(), why: "by this runbook".into() })
    }

    impl Clock for Slow {
        fn now(&self) -> Now {
            self.live.now()
        }
    }

    impl ReadHost for Slow {
        fn mounts(&self) -> Read<Vec<Mount>> {
            not_here()
        }
        fn fs_usage(&self, _: &Mount) -> Read<FsUsage> {
            not_here()
        }
        fn ext4_errors(&self, _: &Mount) -> Read<u64> {
            not_here()
        }
        fn write_trials(&self) -> Read<Vec<WriteTrial>> {
            not_here()
        }
        fn disks_under(&self, _: &Mount) -> Read<Vec<String>> {
            not_here()
        }
        fn disk_io(&self) -> Read<Vec<DiskIo>> {
            not_here()
        }
        fn io_pressure(&self) -> Read<Pressure> {
            not_here()
        }
        fn scan(&self, _: &ScanAsk) -> Read<Scan> {
            not_here()
        }
        fn deleted_open(&self, _: u64) -> Read<HeldFiles> {
            not_here()
        }
        fn writers(&self, _: u64, _: Duration) -> Read<Vec<Writer>> {
            not_here()
        }
        fn tmp_exclusions(&self) -> Read<Vec<String>> {
            not_here()
        }
        fn package_manager(&self) -> Read<Option<String>> {
            not_here()
        }
        fn shutting_down(&self) -> Read<bool> {
            not_here()
        }
        fn host_view(&self) -> Read<bool> {
            not_here()
        }
        fn privileged(&self, _: &Query) -> Observed<Answer> {
            Observed::unavailable("not asked")
        }
        fn compress_ratio(&self, _: &HostPath) -> Read<f64> {
            not_here()
        }
        fn node_disk_pressure(&self) -> Read<bool> {
            not_here()
        }
        fn processes(&self, top: usize) -> Read<Processes> {
            self.live.processes(top)
        }
        fn process(&self, pid: u32) -> Read<ProcessFacts> {
            self.live.process(pid)
        }
        fn process_detail(&self, pid: u32) -> Read<ProcessDetail> {
            let moved = (self.now().uptime_s * 1000.0) as u64;
            let detail = self.live.process_detail(pid)?;
            Ok(ProcessDetail { io_bytes: Observed::fresh(moved), ..detail })
        }
        fn cgroups(&self, _: usize) -> Read<Cgroups> {
            if !self.looked.swap(true, Ordering::Relaxed) {
                thread::sleep(Duration::from_secs(1));
            }
            not_here()
        }
    }

    #[test]
    fn what_takes_long_to_look_at_is_not_part_of_the_time_over_which_others_are_told() {
        let host = Slow { live: LiveHost::new(Path::new("/"), None, None).unwrap(), looked: AtomicBool::new(false) };
        let facts = host.process(std::process::id()).unwrap();
        let subject = Subject::Process { pid: facts.pid, start_ticks: facts.start_ticks, comm: facts.comm.clone() };
        let ask = FocusedAsk { subject: &subject, signals: &[], history: &History::default(), depth: Depth::Quick, sample: None };
        let seen = gather(&host, &ask, &Params::default());
        let io = seen.process(facts.pid, facts.start_ticks).and_then(|p| p.watched.value()?.io_bytes_per_s.value().copied()).unwrap();
        assert!((700.0..1300.0).contains(&io), "{io} of a thousand bytes a second");
    }

    /// This very process, with one busy thread, on the kernel that runs here.
    #[test]
    fn a_busy_process_is_seen_with_what_it_is_and_does() {
        let host = LiveHost::new(std::path::Path::new("/"), None, None).unwrap();
        let facts = host.process(std::process::id()).unwrap();
        let subject = Subject::Process { pid: facts.pid, start_ticks: facts.start_ticks, comm: facts.comm.clone() };
        let history = History::default();
        let ask = FocusedAsk { subject: &subject, signals: &[], history: &history, depth: Depth::Full, sample: None };
        let done = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let seen = gather(&host, &ask, &Params::default());
            done.store(true, Ordering::Relaxed);
            seen
        });
        let load = seen.host.value().unwrap();
        assert!(load.busy.0 > 0.0 && load.busy.0 + load.iowait.0 + load.steal.0 < 100.1, "{load:?}");
        assert!(load.cpus >= 1 && load.runnable >= 1);
        let own = seen.process(facts.pid, facts.start_ticks).unwrap();
        assert!(own.cpu.0 > 0.0 && own.cpu.0 <= 100.0 * load.cpus as f64 + 10.0, "{own:?}");
        let watched = own.watched.value().unwrap();
        assert_eq!((watched.facts.pid, watched.facts.kernel_thread), (facts.pid, false));
        assert!(watched.io_bytes_per_s.value().is_some() && watched.involuntary_per_s >= 0.0);
        assert!(seen.fleet_saturated.is_none());
        let quick = gather(&host, &FocusedAsk { depth: Depth::Quick, ..ask }, &Params::default());
        assert!(quick.host.value().is_some() && quick.cron.why() == Some(NOT_READ), "{:?}", quick.cron);
    }
}
