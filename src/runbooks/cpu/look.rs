//! Two looks at what runs, and what they say of the time between them. Pure.

use super::Params;
use super::evidence::{Group, HostLoad, Hot, Waiting, Watched};
use crate::detect::History;
use crate::model::{CgroupUse, CpuStat, CpuTimes, LoadAverage, Observed, Percent, Pressure, ProcessDetail, ProcessUse, owner_of};

/// Over less than this a share is mostly rounding.
const SHORTEST_S: f64 = 0.05;

/// Shares of the time between two readings.
pub(super) fn host(first: Observed<CpuStat>, second: Observed<CpuStat>, load: Observed<LoadAverage>, over_s: f64) -> Observed<HostLoad> {
    let (first, second) = match (first, second) {
        (Observed::Value { value: first, .. }, Observed::Value { value: second, .. }) => (first, second),
        (Observed::Unavailable { why }, _) | (_, Observed::Unavailable { why }) => return Observed::unavailable(why),
    };
    // A CPU that came or went between the looks is left out.
    let pairs = second.cpus.iter().filter_map(|now| first.cpus.iter().find(|was| was.cpu == now.cpu).map(|was| (was, now)));
    let mut spent = Spent::default();
    pairs.for_each(|(was, now)| spent.add(was, now));
    let all = spent.busy() + spent.idle + spent.iowait + spent.steal;
    if all == 0 || over_s < SHORTEST_S {
        return Observed::unavailable("/proc/stat: its counters did not move between two looks");
    }
    let share = |ticks: u64| Percent(100.0 * ticks as f64 / all as f64);
    Observed::fresh(HostLoad {
        cpus: second.cpus.len() as u64,
        busy: share(spent.busy()),
        user: share(spent.user),
        system: share(spent.system),
        iowait: share(spent.iowait),
        steal: share(spent.steal),
        forks_per_s: second.forks.saturating_sub(first.forks) as f64 / over_s,
        runnable: second.running,
        load_one: load.map(|l| l.one),
    })
}

#[derive(Debug, Default)]
struct Spent {
    /// Nice included; of a guest it is in `user` already.
    user: u64,
    /// Interrupts included.
    system: u64,
    idle: u64,
    iowait: u64,
    steal: u64,
}

impl Spent {
    /// idle and iowait may go back by a little, by the kernel's own account: that is no time spent.
    fn add(&mut self, was: &CpuTimes, now: &CpuTimes) {
        let moved = |was: u64, now: u64| now.saturating_sub(was);
        self.user += moved(was.user, now.user) + moved(was.nice, now.nice);
        self.system += moved(was.system, now.system) + moved(was.irq, now.irq) + moved(was.softirq, now.softirq);
        self.idle += moved(was.idle, now.idle);
        self.iowait += moved(was.iowait, now.iowait);
        self.steal += moved(was.steal, now.steal);
    }

    const fn busy(&self) -> u64 {
        self.user + self.system
    }
}

/// Share of the window in which some task waited.
fn waited(first: &Pressure, second: &Pressure, over_s: f64) -> Percent {
    Percent((second.some_total_us.saturating_sub(first.some_total_us) as f64 / 10_000.0 / over_s.max(SHORTEST_S)).min(100.0))
}

pub(super) fn waiting(first: Observed<Pressure>, second: Observed<Pressure>, over_s: f64) -> Observed<Waiting> {
    match (first, second) {
        (Observed::Value { value: first, .. }, Observed::Value { value: second, .. }) => Observed::fresh(Waiting {
            window: waited(&first, &second, over_s),
            avg10: Percent(second.some_avg10),
            avg60: Percent(second.some_avg60),
        }),
        (Observed::Unavailable { why }, _) | (_, Observed::Unavailable { why }) => Observed::unavailable(why),
    }
}

/// One group between two looks; `None` when it was not met in both.
pub(super) fn group(first: Option<&CgroupUse>, second: &CgroupUse, over_s: f64, history: &History) -> Option<Group> {
    let grown = |of: fn(&CgroupUse) -> Option<u64>| Some(of(second)?.saturating_sub(of(first?)?));
    let used = grown(|g| g.cpu_usage_us).map(|us| us as f64 / 10_000.0 / over_s.max(SHORTEST_S));
    let throttled = match (grown(|g| g.throttled_periods), grown(|g| g.periods)) {
        (Some(held), Some(periods)) if periods > 0 => Some(Percent((100.0 * held as f64 / periods as f64).min(100.0))),
        _ => None,
    };
    let waiting = first.and_then(|f| f.cpu_pressure.as_ref()).zip(second.cpu_pressure.as_ref());
    Some(Group {
        unit: owner_of(&second.path),
        cpu: Percent(used.or(second.cpu_percent)?),
        throttled,
        waiting: waiting.map(|(first, second)| waited(first, second, over_s)),
        pids: second.pids,
        pids_max: second.pids_max,
        past: history.group(&second.path),
        path: second.path.clone(),
    })
}

/// Hottest first, by ticks between the looks or else by what the sweep says; as many as are asked for.
pub(super) fn hottest(first: &[ProcessUse], second: &[ProcessUse], over_s: f64, history: &History, params: &Params) -> Vec<Hot> {
    let mut out: Vec<Hot> = second
        .iter()
        .filter_map(|now| {
            let was = first.iter().find(|was| was.pid == now.pid && was.start_ticks == now.start_ticks);
            let ticks = was.map(|was| now.cpu_ticks.saturating_sub(was.cpu_ticks) as f64 / over_s.max(SHORTEST_S));
            Some(Hot {
                pid: now.pid,
                start_ticks: now.start_ticks,
                comm: now.comm.clone(),
                cpu: Percent(ticks.or(now.cpu_percent)?),
                threads: now.threads,
                past: history.process(now.pid, now.start_ticks),
                watched: Observed::unavailable("it was not among the hottest when the look began"),
            })
        })
        .collect();
    out.sort_by(|a, b| b.cpu.0.total_cmp(&a.cpu.0).then(a.pid.cmp(&b.pid)));
    out.truncate(params.top);
    out
}

/// What one process did between two looks at it.
pub(super) fn watched(first: ProcessDetail, second: ProcessDetail, orphan: Observed<bool>, over_s: f64) -> Observed<Watched> {
    if first.facts.start_ticks != second.facts.start_ticks {
        return Observed::unavailable(format!("pid {} is another process by now", second.facts.pid));
    }
    let rate = |was: u64, now: u64| now.saturating_sub(was) as f64 / over_s.max(SHORTEST_S);
    let io_bytes_per_s = match (first.io_bytes, second.io_bytes) {
        (Observed::Value { value: was, .. }, Observed::Value { value: now, .. }) => Observed::fresh(rate(was, now)),
        (Observed::Unavailable { why }, _) | (_, Observed::Unavailable { why }) => Observed::unavailable(why),
    };
    Observed::fresh(Watched {
        io_bytes_per_s,
        voluntary_per_s: rate(first.voluntary_switches, second.voluntary_switches),
        involuntary_per_s: rate(first.involuntary_switches, second.involuntary_switches),
        orphan,
        facts: second.facts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(cpu: u32, user: u64, idle: u64, iowait: u64, steal: u64) -> CpuTimes {
        CpuTimes { cpu, user, idle, iowait, steal, ..CpuTimes::default() }
    }

    fn stat(cpus: Vec<CpuTimes>, forks: u64) -> Observed<CpuStat> {
        Observed::fresh(CpuStat { cpus, forks, running: 3, ..CpuStat::default() })
    }

    fn no_load() -> Observed<LoadAverage> {
        Observed::unavailable("not asked")
    }

    #[test]
    fn busy_is_neither_iowait_nor_steal_and_a_cpu_that_came_between_counts_for_nothing() {
        let first = stat(vec![times(0, 100, 100, 100, 100)], 10);
        let second = stat(vec![times(0, 150, 120, 120, 110), times(1, 9000, 9000, 0, 0)], 510);
        let load = host(first, second, no_load(), 1.0);
        let load = load.value().unwrap();
        assert_eq!((load.busy, load.iowait, load.steal, load.cpus), (Percent(50.0), Percent(20.0), Percent(10.0), 2));
        assert!((load.forks_per_s - 500.0).abs() < 0.1);
    }

    #[test]
    fn counters_that_stand_still_are_no_idle_host() {
        let same = || stat(vec![times(0, 1, 1, 1, 1)], 1);
        assert!(host(same(), same(), no_load(), 1.0).value().is_none());
        assert!(host(Observed::unavailable("EIO"), same(), no_load(), 1.0).why().unwrap().contains("EIO"));
    }

    #[test]
    fn a_group_without_a_quota_is_not_throttled_and_one_met_once_has_only_what_the_sweep_says() {
        let seen = |cpu_usage_us, periods, throttled_periods| CgroupUse {
            path: "/system.slice/x.service".into(),
            cpu_usage_us: Some(cpu_usage_us),
            periods,
            throttled_periods,
            ..CgroupUse::default()
        };
        let history = History::default();
        let told = group(Some(&seen(0, Some(0), Some(0))), &seen(500_000, Some(10), Some(8)), 1.0, &history).unwrap();
        assert_eq!((told.cpu, told.throttled), (Percent(50.0), Some(Percent(80.0))));
        let free = group(Some(&seen(0, Some(0), Some(0))), &seen(500_000, Some(0), Some(0)), 1.0, &history).unwrap();
        assert_eq!(free.throttled, None);
        assert!(group(None, &seen(500_000, None, None), 1.0, &history).is_none());
    }
}
