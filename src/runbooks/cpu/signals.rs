//! What one sample says of each of the seven signals.

use super::Params;
use super::evidence::unit_of;
use crate::detect::{Condition, History, Rates, Wants};
use crate::model::{CgroupUse, HostPath, Observed, Percent, ProcessUse, Sample, Seconds, Severity, SignalKind, Subject};
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
    let rates = history.rates();
    let mut out = Vec::new();
    let mut say = |kind, (wants, detail)| out.push(Condition { kind, subject: Subject::Host, wants, detail });
    say(SATURATION, saturation(sample, &rates, params));
    say(LOAD, load(sample, params));
    say(BACKLOG, backlog(sample, params));
    say(STEAL, steal(&rates, params));
    say(FORKS, forks(&rates, params));
    for process in sample.readings.processes.value().into_iter().flat_map(|p| &p.top) {
        out.extend(flat_out(process, history, params));
    }
    for group in sample.readings.cgroups.value().into_iter().flat_map(|c| &c.top) {
        let Some(unit) = unit_of(&group.path).filter(|_| group.pids_max.is_some() || group.throttled_periods.is_some()) else { continue };
        let subject = Subject::Unit { name: unit };
        let told = [(THROTTLED, throttled(&group.path, history, params)), (FORKS, crowded(group, params))];
        out.extend(
            told.into_iter()
                .filter_map(|(kind, said)| said.map(|(wants, detail)| Condition { kind, subject: subject.clone(), wants, detail })),
        );
    }
    out
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
fn flat_out(process: &ProcessUse, history: &History, params: &Params) -> Option<Condition> {
    let cpu = process.cpu_percent.map(Percent).filter(|cpu| cpu.0 >= params.process_percent.0 * 0.9)?;
    let (pid, start_ticks) = (process.pid, process.start_ticks);
    let flat_out = history.process(pid, start_ticks).map_or(Seconds(0.0), |past| past.flat_out);
    let wants = if flat_out >= params.process_hold_s {
        warn(Seconds(0.0))
    } else if cpu >= params.process_percent {
        warn(params.process_hold_s)
    } else {
        Wants::Stay
    };
    let detail = format!("{} (pid {pid}) takes {cpu} of a CPU", process.comm);
    Some(Condition { kind: PROCESS, subject: Subject::Process { pid, start_ticks, comm: process.comm.clone() }, wants, detail })
}

fn throttled(path: &HostPath, history: &History, params: &Params) -> Option<(Wants, String)> {
    let throttled = history.group(path)?.throttled?;
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
