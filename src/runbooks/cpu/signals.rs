//! What one sample says of each of the seven signals.

use super::Params;
use super::suspect::our_quota;
use crate::detect::{Condition, History, Past, Rates, Wants};
use crate::model::{CgroupUse, Observed, Percent, ProcessUse, Sample, Seconds, Severity, SignalKind, Subject, owner_of};
use crate::runbooks::SignalSpec;

pub(super) const SATURATION: SignalKind = SignalKind::new("cpu_saturation");
pub(super) const LOAD: SignalKind = SignalKind::new("load_avg_spike");
pub(super) const PROCESS: SignalKind = SignalKind::new("process_cpu_saturation");
pub(super) const THROTTLED: SignalKind = SignalKind::new("cpu_throttle_high");
pub(super) const BACKLOG: SignalKind = SignalKind::new("scheduler_queue_backlog");
pub(super) const STEAL: SignalKind = SignalKind::new("cpu_steal_high");
pub(super) const FORKS: SignalKind = SignalKind::new("fork_storm");

pub(super) const SIGNALS: &[SignalSpec] = &[
    SignalSpec {
        name: "cpu_saturation",
        raised_when: "CPUs busy > 85 % for 90 s, or CPU pressure (some, avg60) >= 60 %",
        clears_when: "busy < 70 % and pressure < 30 %",
    },
    SignalSpec {
        name: "load_avg_spike",
        raised_when: "load of the last minute > 2 x CPUs for 120 s, with more runnable tasks than CPUs",
        clears_when: "load < 1.5 x CPUs",
    },
    SignalSpec {
        name: "process_cpu_saturation",
        raised_when: "one process takes >= 90 % of a CPU for 120 s",
        clears_when: "it takes less, or is gone",
    },
    SignalSpec {
        name: "cpu_throttle_high",
        raised_when: "a cgroup is held back in >= 25 % of its quota's periods for 120 s",
        clears_when: "< 12.5 % of them",
    },
    SignalSpec { name: "scheduler_queue_backlog", raised_when: "runnable tasks > 4 x CPUs for 60 s", clears_when: "< 2 x CPUs" },
    SignalSpec { name: "cpu_steal_high", raised_when: "the hypervisor takes > 20 % for 120 s", clears_when: "< 10 %" },
    SignalSpec {
        name: "fork_storm",
        raised_when: "more than 500 processes are made in a second for 30 s, or a unit has > 90 % of its pids.max",
        clears_when: "< 250 in a second, and pids < 80 %",
    },
];

/// The host's own first: what is raised with it about a process or a unit joins its episode.
pub(super) fn conditions(sample: &Sample, history: &History, params: &Params) -> Vec<Condition> {
    let (rates, in_force) = (history.rates(), history.in_force());
    let mut out = Vec::new();
    let mut say = |kind, (wants, detail)| out.push(Condition { kind, subject: Subject::Host, wants, detail });
    say(SATURATION, saturation(sample, &rates, params));
    say(LOAD, load(sample, params));
    say(BACKLOG, backlog(sample, params));
    say(STEAL, steal(&rates, params));
    say(FORKS, forks(&rates, params));
    for process in sample.readings.processes.value().into_iter().flat_map(|p| &p.top) {
        out.extend(flat_out(process, |p| history.process(p.pid, p.start_ticks).map(|past| past.flat_out), params));
    }
    for group in sample.readings.cgroups.value().into_iter().flat_map(|c| &c.top) {
        let Some(unit) = owner_of(&group.path).filter(|_| group.pids_max.is_some() || group.throttled_periods.is_some()) else { continue };
        // What this agent has limited is held back because it was wanted to be.
        let by_us = our_quota(&in_force, &unit).map(|quota| (Wants::Clear, format!("held back by CPUQuota={quota}%, which is ours")));
        let held_back = by_us.or_else(|| history.group(&group.path).and_then(|past| throttled(&past, params)));
        let subject = Subject::Unit { name: unit };
        let told = [(THROTTLED, held_back), (FORKS, crowded(group, params))];
        for (kind, (wants, detail)) in told.into_iter().filter_map(|(kind, said)| Some((kind, said?))) {
            // A unit with groups of its own below is told of once, by whichever is worst off.
            match out.iter_mut().find(|c| c.kind == kind && c.subject == subject) {
                Some(known) if worse(wants) <= worse(known.wants) => {}
                Some(known) => (known.wants, known.detail) = (wants, detail),
                None => out.push(Condition { kind, subject: subject.clone(), wants, detail }),
            }
        }
    }
    out
}

const fn worse(wants: Wants) -> u8 {
    match wants {
        Wants::Clear => 0,
        Wants::Unknown => 1,
        Wants::Stay => 2,
        Wants::Keep => 3,
        Wants::Raise { .. } => 4,
    }
}

const fn warn(hold: Seconds) -> Wants {
    Wants::Raise { severity: Severity::Warning, hold }
}

fn saturation(sample: &Sample, rates: &Rates, params: &Params) -> (Wants, String) {
    let pressure = sample.readings.cpu_pressure.value().map(|p| Percent(p.some_avg60));
    let detail = match (rates.busy, pressure) {
        (Some(busy), Some(waiting)) => format!("busy {busy}, some task waits for a CPU {waiting} of the time"),
        (Some(busy), None) => format!("busy {busy}"),
        (None, Some(waiting)) => format!("some task waits for a CPU {waiting} of the time"),
        (None, None) => return (Wants::Unknown, "neither the CPUs' times nor their pressure could be read".into()),
    };
    let wants = if pressure.is_some_and(|p| p >= params.pressure_percent) {
        // The minute is in the figure.
        warn(Seconds(0.0))
    } else if rates.busy.is_some_and(|busy| busy > params.busy_percent) {
        warn(params.busy_hold_s)
    } else {
        match rates.busy {
            // A kernel without PSI is judged by what it tells.
            Some(busy) if busy < params.busy_floor_percent && pressure.is_none_or(|p| p < params.pressure_floor_percent) => Wants::Clear,
            Some(_) => Wants::Stay,
            None => Wants::Unknown,
        }
    };
    (wants, detail)
}

fn load(sample: &Sample, params: &Params) -> (Wants, String) {
    let (cpu, load) = match (&sample.readings.cpu, &sample.readings.load) {
        (Observed::Value { value: cpu, .. }, Observed::Value { value: load, .. }) if !cpu.cpus.is_empty() => (cpu, load.one),
        (Observed::Unavailable { why }, _) | (_, Observed::Unavailable { why }) => return (Wants::Unknown, why.clone()),
        (Observed::Value { .. }, Observed::Value { .. }) => return (Wants::Unknown, "no CPU is listed".into()),
    };
    let cpus = cpu.cpus.len();
    let detail = format!("load {load:.1} on {cpus} CPUs, {} tasks could run", cpu.running);
    let most = params.load_per_cpu * cpus as f64;
    let wants = if load > most && cpu.running > cpus as u64 {
        warn(params.load_hold_s)
    } else if load < most * 0.75 {
        Wants::Clear
    } else {
        Wants::Stay
    };
    (wants, detail)
}

fn backlog(sample: &Sample, params: &Params) -> (Wants, String) {
    let cpu = match &sample.readings.cpu {
        Observed::Value { value, .. } => value,
        Observed::Unavailable { why } => return (Wants::Unknown, why.clone()),
    };
    let cpus = cpu.cpus.len();
    let detail = format!("{} tasks could run on {cpus} CPUs", cpu.running);
    (over(cpu.running as f64, params.runnable_per_cpu * cpus as f64, 0.5, params.runnable_hold_s), detail)
}

fn steal(rates: &Rates, params: &Params) -> (Wants, String) {
    match rates.steal {
        Some(steal) => {
            (over(steal.0, params.steal_percent.0, 0.5, params.steal_hold_s), format!("the hypervisor takes {steal} of the time"))
        }
        None => (Wants::Unknown, "the CPUs' times were not read twice yet".into()),
    }
}

fn forks(rates: &Rates, params: &Params) -> (Wants, String) {
    match rates.forks_per_s {
        Some(forks) => (over(forks, params.forks_per_s, 0.5, params.forks_hold_s), format!("{forks:.0} processes are made in a second")),
        None => (Wants::Unknown, "the count of processes made was not read twice yet".into()),
    }
}

/// Raised above `most`, cleared under that share of it.
fn over(figure: f64, most: f64, clear: f64, hold: Seconds) -> Wants {
    if figure > most {
        warn(hold)
    } else if figure < most * clear {
        Wants::Clear
    } else {
        Wants::Stay
    }
}

/// Nothing is said of what is cool: most are, and a signal of what is not spoken of any more clears by itself.
fn flat_out(process: &ProcessUse, so_far: impl Fn(&ProcessUse) -> Option<Seconds>, params: &Params) -> Option<Condition> {
    let cpu = process.cpu_percent.map(Percent).filter(|cpu| cpu.0 >= params.process_percent.0 * 0.9)?;
    let (pid, start_ticks) = (process.pid, process.start_ticks);
    let wants = if so_far(process).is_some_and(|flat_out| flat_out >= params.process_hold_s) {
        warn(Seconds(0.0))
    } else if cpu >= params.process_percent {
        warn(params.process_hold_s)
    } else {
        Wants::Stay
    };
    let detail = format!("{} (pid {pid}) takes {cpu} of a CPU", process.comm);
    Some(Condition { kind: PROCESS, subject: Subject::Process { pid, start_ticks, comm: process.comm.clone() }, wants, detail })
}

fn throttled(past: &Past, params: &Params) -> Option<(Wants, String)> {
    let throttled = past.throttled?;
    let wants = if throttled >= params.throttled_percent {
        warn(params.throttled_hold_s)
    } else if throttled.0 < params.throttled_percent.0 * 0.5 {
        Wants::Clear
    } else {
        Wants::Stay
    };
    Some((wants, format!("held back in {throttled} of its quota's periods")))
}

fn crowded(group: &CgroupUse, params: &Params) -> Option<(Wants, String)> {
    let (pids, most) = group.pids.zip(group.pids_max).filter(|(_, most)| *most > 0)?;
    let share = Percent(100.0 * pids as f64 / most as f64);
    let wants = if share > params.pids_percent {
        warn(params.forks_hold_s)
    } else if share.0 < params.pids_percent.0 - 10.0 {
        Wants::Clear
    } else {
        Wants::Stay
    };
    Some((wants, format!("{pids} processes and threads of {most} that it may have")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        BootId, CgroupVersion, Cgroups, CpuStat, CpuTimes, IncidentId, LimitTo, LoadAverage, Now, Pressure, Readings, Step, UnitLimit,
        UnitTarget,
    };

    fn letter(wants: Wants) -> (char, f64) {
        match wants {
            Wants::Raise { severity: Severity::Warning, hold } => ('W', hold.0),
            Wants::Raise { severity: Severity::Critical, hold } => ('C', hold.0),
            Wants::Clear => ('-', 0.0),
            Wants::Stay => ('=', 0.0),
            Wants::Keep => ('k', 0.0),
            Wants::Unknown => ('?', 0.0),
        }
    }

    /// Four CPUs.
    fn sample(running: u64, load: f64, avg60: Option<f64>) -> Sample {
        let mut readings = Readings::none("not asked");
        let cpus = (0..4).map(|cpu| CpuTimes { cpu, ..CpuTimes::default() }).collect();
        readings.cpu = Observed::fresh(CpuStat { cpus, running, ..CpuStat::default() });
        readings.load = Observed::fresh(LoadAverage { one: load, five: load, fifteen: load });
        if let Some(some_avg60) = avg60 {
            let p = Pressure { some_avg10: 0.0, some_avg60, full_avg10: 0.0, full_avg60: 0.0, some_total_us: 0, full_total_us: 0 };
            readings.cpu_pressure = Observed::fresh(p);
        }
        Sample {
            at: Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId("a".into()), uptime_s: 100.0 },
            filesystems: Observed::unavailable("not asked"),
            disks: Observed::unavailable("not asked"),
            io_pressure: Observed::unavailable("not asked"),
            node_disk_pressure: Observed::unavailable("not asked"),
            readings,
            stall: None,
        }
    }

    #[test]
    fn saturation_is_busy_for_a_while_or_pressure_for_a_minute() {
        let told = |busy: Option<f64>, avg60| {
            let rates = Rates { busy: busy.map(Percent), ..Rates::default() };
            letter(saturation(&sample(1, 1.0, avg60), &rates, &Params::default()).0)
        };
        assert_eq!(told(Some(85.1), Some(0.0)), ('W', 90.0));
        assert_eq!(told(Some(85.0), Some(0.0)), ('=', 0.0));
        assert_eq!(told(Some(10.0), Some(60.0)), ('W', 0.0));
        assert_eq!(told(Some(10.0), Some(59.9)), ('=', 0.0));
        assert_eq!(told(Some(69.9), Some(29.9)), ('-', 0.0));
        assert_eq!((told(Some(70.0), Some(0.0)), told(Some(10.0), Some(30.0))), (('=', 0.0), ('=', 0.0)));
        assert_eq!((told(Some(69.9), None), told(Some(90.0), None)), (('-', 0.0), ('W', 90.0)), "a kernel without PSI");
        assert_eq!((told(None, None), told(None, Some(1.0)), told(None, Some(61.0))), (('?', 0.0), ('?', 0.0), ('W', 0.0)));
    }

    #[test]
    fn load_counts_when_tasks_run_and_not_when_they_are_blocked() {
        let told = |running, one| letter(load(&sample(running, one, None), &Params::default()).0);
        assert_eq!((told(5, 8.1), told(5, 8.0), told(4, 8.1)), (('W', 120.0), ('=', 0.0), ('=', 0.0)));
        assert_eq!((told(9, 6.0), told(9, 5.9)), (('=', 0.0), ('-', 0.0)));
        let mut blind = sample(5, 9.0, None);
        blind.readings.load = Observed::unavailable("EIO");
        assert_eq!(load(&blind, &Params::default()).0, Wants::Unknown);
    }

    #[test]
    fn backlog_steal_and_forks_at_their_thresholds() {
        let p = Params::default();
        let queue = |running| letter(backlog(&sample(running, 1.0, None), &p).0);
        assert_eq!((queue(17), queue(16), queue(8), queue(7)), (('W', 60.0), ('=', 0.0), ('=', 0.0), ('-', 0.0)));
        let stolen = |percent| letter(steal(&Rates { steal: Some(Percent(percent)), ..Rates::default() }, &p).0);
        assert_eq!((stolen(20.1), stolen(20.0), stolen(10.0), stolen(9.9)), (('W', 120.0), ('=', 0.0), ('=', 0.0), ('-', 0.0)));
        let made = |a_second| letter(forks(&Rates { forks_per_s: Some(a_second), ..Rates::default() }, &p).0);
        assert_eq!((made(500.1), made(500.0), made(249.9)), (('W', 30.0), ('=', 0.0), ('-', 0.0)));
        assert_eq!((steal(&Rates::default(), &p).0, forks(&Rates::default(), &p).0), (Wants::Unknown, Wants::Unknown));
    }

    #[test]
    fn a_process_is_flat_out_for_as_long_as_it_is_known_to_be() {
        let told = |cpu_percent: Option<f64>, so_far: Option<f64>| {
            let process =
                ProcessUse { pid: 7, start_ticks: 9, comm: "spin".into(), state: 'R', cpu_ticks: 1, cpu_percent, rss_bytes: 1, threads: 1 };
            flat_out(&process, |_| so_far.map(Seconds), &Params::default()).map(|c| letter(c.wants))
        };
        assert_eq!(told(Some(90.0), None), Some(('W', 120.0)), "from now on");
        assert_eq!(told(Some(90.0), Some(119.0)), Some(('W', 120.0)));
        assert_eq!(told(Some(90.0), Some(120.0)), Some(('W', 0.0)), "it has been for long enough");
        assert_eq!((told(Some(89.0), None), told(Some(80.0), None), told(None, Some(500.0))), (Some(('=', 0.0)), None, None));
    }

    /// Of a group that has a quota and no history yet, nothing is said but whose the quota is.
    #[test]
    fn a_quota_that_this_agent_has_set_is_no_news() {
        let mut sample = sample(1, 1.0, None);
        let group = CgroupUse { path: "/system.slice/spin.service".into(), throttled_periods: Some(9), ..CgroupUse::default() };
        sample.readings.cgroups =
            Observed::fresh(Cgroups { version: CgroupVersion::V2, count: 1, top: vec![group], cut: 0, unreadable: 0 });
        let mut history = History::default();
        let told = |history: &History| conditions(&sample, history, &Params::default()).into_iter().find(|c| c.kind == THROTTLED);
        assert_eq!(told(&history), None);
        let target = UnitTarget { unit: "spin.service".into(), invocation: "1f".into() };
        let quota = Step::LimitUnit(UnitLimit { target, limit: LimitTo::CpuQuota(20) });
        let incident = IncidentId("cpu-1".into());
        history.set_in_force(&incident, vec![quota]);
        assert_eq!(told(&history).map(|c| c.wants), Some(Wants::Clear));
        history.set_in_force(&incident, Vec::new());
        assert_eq!(told(&history), None, "nothing of ours is left");
    }

    #[test]
    fn a_group_is_held_back_or_full() {
        let p = Params::default();
        let past = |throttled| Past {
            over: Seconds(60.0),
            growth: None,
            lately: None,
            memory: None,
            memory_peak: None,
            memory_p99: None,
            memory_usual: None,
            cpu_usual: None,
            cpu: None,
            flat_out: Seconds(0.0),
            throttled,
        };
        let held = |share| throttled(&past(Some(Percent(share))), &p).map(|(wants, _)| letter(wants));
        assert_eq!(
            (held(25.0), held(24.9), held(12.5), held(12.4)),
            (Some(('W', 120.0)), Some(('=', 0.0)), Some(('=', 0.0)), Some(('-', 0.0)))
        );
        assert_eq!(throttled(&past(None), &p), None, "no quota");
        let full = |pids, pids_max| crowded(&CgroupUse { pids, pids_max, ..CgroupUse::default() }, &p).map(|(wants, _)| letter(wants));
        assert_eq!(
            (full(Some(91), Some(100)), full(Some(90), Some(100)), full(Some(79), Some(100))),
            (Some(('W', 30.0)), Some(('=', 0.0)), Some(('-', 0.0)))
        );
        assert_eq!((full(Some(9), None), full(None, Some(9)), full(Some(0), Some(0))), (None, None, None));
    }

    #[test]
    fn a_full_unit_is_the_subject_and_a_group_that_is_no_unit_is_left_out() {
        let mut crowd = sample(1, 1.0, Some(0.0));
        let group = |path: &str| CgroupUse { path: path.into(), pids: Some(99), pids_max: Some(100), ..CgroupUse::default() };
        // A group of its own below, which is well, does not clear what its unit is told of.
        let below = CgroupUse { pids: Some(1), ..group("/system.slice/hook.service/child") };
        let top = vec![group("/system.slice/hook.service"), below, group("/hand-made")];
        crowd.readings.cgroups =
            Observed::fresh(crate::model::Cgroups { version: crate::model::CgroupVersion::V2, count: 2, top, cut: 0, unreadable: 0 });
        let told = conditions(&crowd, &History::default(), &Params::default());
        let about: Vec<&Subject> =
            told.iter().filter(|c| c.kind == FORKS && matches!(c.wants, Wants::Raise { .. })).map(|c| &c.subject).collect();
        assert_eq!(about, [&Subject::Unit { name: "hook.service".into() }]);
        assert_eq!(told.iter().filter(|c| c.kind == FORKS && c.subject == *about[0]).count(), 1);
        let declared: std::collections::BTreeSet<&str> = SIGNALS.iter().map(|s| s.name).collect();
        assert!(told.iter().all(|c| declared.contains(&*c.kind.0)));
    }
}
