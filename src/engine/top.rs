//! What `byteportctl top` is told: the newest sample, and what follows from it and from those before.

use super::shared::{Seen, Shared, lock};
use super::{past, views};
use crate::detect::History;
use crate::model::{Counter, CpuStat, CpuTimes, FsSample, Observed, Percent, Sample, UnitState, Units};
use crate::wire::local::{CpuUse, MemoryUse, Top, TopFilesystem, TopUnits};

/// More units than this in trouble are counted, not listed.
const MOST_UNITS: usize = 100;

/// Blocking: the actuator is asked whether it is there.
pub(super) fn top(shared: &Shared) -> Top {
    let actuator = shared.ask_hello();
    let why_observe = views::why_observe(&shared.config(), &actuator);
    let open_incidents = match shared.read_record() {
        Ok(store) => store.open_incidents().into(),
        Err(why) => Observed::unavailable(why),
    };
    let now = shared.host.now();
    let trends = past::trends(&lock(&shared.timeline), shared.config().sample_interval, &now);
    let seen = lock(&shared.seen);
    let sample = seen.sample.as_deref();
    Top {
        version: env!("CARGO_PKG_VERSION").into(),
        host: views::host_name(),
        sampled: of(sample, |s| Observed::fresh(s.at.clone())),
        mode: views::mode(why_observe.as_deref()).into(),
        why_observe,
        signals: seen.raised.clone(),
        open_incidents,
        stuck: seen.stuck.clone(),
        load: of(sample, |s| s.readings.load.clone()),
        cpu: cpu(&seen),
        memory: of(sample, |s| and_then(&s.readings.memory, |counters| memory(counters))),
        cpu_pressure: of(sample, |s| s.readings.cpu_pressure.clone()),
        io_pressure: of(sample, |s| s.io_pressure.clone()),
        memory_pressure: of(sample, |s| s.readings.memory_pressure.clone()),
        filesystems: of(sample, |s| s.filesystems.clone().map(|list| filesystems(list, &lock(&shared.history)))),
        units: of(sample, |s| and_then(&s.readings.units, |units| Ok(listed(units)))),
        processes: of(sample, |s| s.readings.processes.clone()),
        cgroups: of(sample, |s| s.readings.cgroups.clone()),
        trends,
        kernel_log: of(sample, |s| and_then(&s.readings.kernel_log, |log| Ok(past::kernel_log(log, &now)))),
        journal: of(sample, |s| and_then(&s.readings.journal, |log| Ok(past::journal(log, &now)))),
        now,
    }
}

fn of<T>(sample: Option<&Sample>, part: impl FnOnce(&Sample) -> Observed<T>) -> Observed<T> {
    sample.map_or_else(|| Observed::unavailable("no sample yet"), part)
}

/// What follows from a value keeps its age; what does not follow says why.
fn and_then<T, U>(observed: &Observed<T>, derive: impl FnOnce(&T) -> Result<U, String>) -> Observed<U> {
    match observed {
        Observed::Unavailable { why } => Observed::unavailable(why.as_str()),
        Observed::Value { value, age_s } => match derive(value) {
            Ok(value) => Observed::Value { value, age_s: *age_s },
            Err(why) => Observed::Unavailable { why },
        },
    }
}

fn cpu(seen: &Seen) -> Observed<CpuUse> {
    of(seen.sample.as_deref(), |sample| {
        and_then(&sample.readings.cpu, |after| {
            let before = seen.cpu_before.as_ref().ok_or("shares need a second reading of /proc/stat")?;
            shares(before, after).ok_or_else(|| "no CPU has counted any time since the reading before".to_owned())
        })
    })
}

/// Over the CPUs that are in both readings. A counter that went back (idle and iowait do) has not moved.
fn shares(before: &CpuStat, after: &CpuStat) -> Option<CpuUse> {
    let mut moved = CpuTimes::default();
    for now in &after.cpus {
        let Some(then) = before.cpus.iter().find(|c| c.cpu == now.cpu) else { continue };
        let add = |sum: &mut u64, from: u64, to: u64| *sum = sum.saturating_add(to.saturating_sub(from));
        add(&mut moved.user, then.user, now.user);
        add(&mut moved.nice, then.nice, now.nice);
        add(&mut moved.system, then.system, now.system);
        add(&mut moved.idle, then.idle, now.idle);
        add(&mut moved.iowait, then.iowait, now.iowait);
        add(&mut moved.irq, then.irq, now.irq);
        add(&mut moved.softirq, then.softirq, now.softirq);
        add(&mut moved.steal, then.steal, now.steal);
    }
    // The time of guests is in `user` and `nice` already.
    let busy = [moved.user, moved.nice, moved.system, moved.irq, moved.softirq, moved.steal].iter().map(|t| *t as f64).sum::<f64>();
    let all = busy + moved.idle as f64 + moved.iowait as f64;
    let share = |ticks: f64| Percent(ticks * 100.0 / all);
    (all > 0.0).then(|| CpuUse {
        cpus: after.cpus.len() as u64,
        busy: share(busy),
        iowait: share(moved.iowait as f64),
        steal: share(moved.steal as f64),
        running: after.running,
        blocked: after.blocked,
    })
}

fn memory(counters: &[Counter]) -> Result<MemoryUse, String> {
    let find = |name: &str| counters.iter().find(|c| &*c.name == name).map(|c| c.value);
    let need = |name: &str| find(name).ok_or_else(|| format!("/proc/meminfo has no line {name}"));
    Ok(MemoryUse {
        total: need("MemTotal")?,
        available: need("MemAvailable")?,
        // A kernel that was built without swap has no such lines, and no swap.
        swap_total: find("SwapTotal").unwrap_or(0),
        swap_free: find("SwapFree").unwrap_or(0),
    })
}

fn filesystems(list: Vec<FsSample>, history: &History) -> Vec<TopFilesystem> {
    let one = |sample: FsSample| {
        let growth = history.growth(&sample.mount.path, sample.mount.device);
        let full_in = growth.zip(sample.usage.value()).and_then(|(growth, usage)| growth.time_to_full(usage));
        TopFilesystem { bytes_per_s: growth.map(|g| g.bytes_per_s), full_in, sample }
    };
    list.into_iter().map(one).collect()
}

fn listed(units: &Units) -> TopUnits {
    let restarts = |u: &UnitState| u.restarts.unwrap_or(0);
    let rank = |u: &UnitState| match u.active.as_str() {
        "failed" => Some(0),
        _ if restarts(u) > 0 => Some(1),
        "active" | "inactive" => None,
        _ => Some(2),
    };
    let mut listed: Vec<_> = units.units.iter().filter_map(|unit| Some((rank(unit)?, unit))).collect();
    listed.sort_by(|(a, x), (b, y)| (a, restarts(y), &x.name).cmp(&(b, restarts(x), &y.name)));
    TopUnits {
        system_state: units.system_state.clone(),
        count: units.units.len() as u64,
        failed: units.units.iter().filter(|u| u.active == "failed").count() as u64,
        listed: listed.into_iter().take(MOST_UNITS).map(|(_, unit)| unit.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{BootId, Now, Readings};

    fn stat(cpus: &[(u32, [u64; 8])]) -> CpuStat {
        let one = |(cpu, [user, nice, system, idle, iowait, irq, softirq, steal]): &(u32, [u64; 8])| CpuTimes {
            cpu: *cpu,
            user: *user,
            nice: *nice,
            system: *system,
            idle: *idle,
            iowait: *iowait,
            irq: *irq,
            softirq: *softirq,
            steal: *steal,
            guest: 1 << 40,
            guest_nice: 1 << 40,
        };
        CpuStat { cpus: cpus.iter().map(one).collect(), running: 3, blocked: 1, ..CpuStat::default() }
    }

    fn sample(uptime_s: f64, cpu: Option<CpuStat>) -> Sample {
        let mut readings = Readings::none("not asked");
        readings.cpu = cpu.map_or_else(|| Observed::unavailable("not asked"), Observed::fresh);
        Sample {
            at: Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId("a".into()), uptime_s },
            filesystems: Observed::unavailable("not asked"),
            disks: Observed::unavailable("not asked"),
            io_pressure: Observed::unavailable("not asked"),
            node_disk_pressure: Observed::unavailable("not asked"),
            stall: None,
            readings,
        }
    }

    #[test]
    fn shares_of_the_time_between_two_readings() {
        let zero = [0; 8];
        let busy = |before: &[(u32, [u64; 8])], after: &[(u32, [u64; 8])]| {
            shares(&stat(before), &stat(after)).map(|s| (s.busy.0, s.iowait.0, s.steal.0))
        };
        for (before, after, expected) in [
            // Half of two CPUs; guests' time is not counted twice.
            (vec![(0, zero), (1, zero)], vec![(0, [50, 0, 50, 0, 0, 0, 0, 0]), (1, [0, 0, 0, 100, 0, 0, 0, 0])], Some((50.0, 0.0, 0.0))),
            (vec![(0, zero)], vec![(0, [10, 10, 10, 40, 10, 5, 5, 10])], Some((50.0, 10.0, 10.0))),
            // Counters that go back have not moved.
            (vec![(0, [0, 0, 0, 90, 500, 0, 0, 0])], vec![(0, [10, 0, 0, 180, 100, 0, 0, 0])], Some((10.0, 0.0, 0.0))),
            // A CPU that came online between the two says nothing yet.
            (vec![(0, zero)], vec![(0, [25, 0, 0, 75, 0, 0, 0, 0]), (9, [1 << 50, 0, 0, 0, 0, 0, 0, 0])], Some((25.0, 0.0, 0.0))),
            (vec![(0, zero)], vec![(0, zero)], None),
            (vec![], vec![], None),
            (vec![(0, zero)], vec![(0, [u64::MAX; 8])], Some((75.0, 12.5, 12.5))),
        ] {
            assert_eq!(busy(&before, &after), expected, "{before:?} {after:?}");
        }
    }

    /// The first reading is no share, one that was not taken anew is no second one, and one that failed loses nothing.
    #[test]
    fn a_share_needs_two_readings() {
        let mut seen = Seen::default();
        assert_eq!(cpu(&seen).why(), Some("no sample yet"));
        let first = stat(&[(0, [0; 8])]);
        let second = stat(&[(0, [50, 0, 0, 50, 0, 0, 0, 0])]);
        seen.take(Arc::new(sample(1.0, Some(first.clone()))));
        assert_eq!(cpu(&seen).why(), Some("shares need a second reading of /proc/stat"));
        seen.take(Arc::new(sample(2.0, Some(first))));
        assert_eq!(cpu(&seen).why(), Some("shares need a second reading of /proc/stat"));
        seen.take(Arc::new(sample(3.0, Some(second.clone()))));
        assert_eq!(cpu(&seen).value().map(|c| (c.busy.0, c.running)), Some((50.0, 3)));
        seen.take(Arc::new(sample(4.0, Some(second))));
        assert_eq!(cpu(&seen).value().map(|c| c.busy.0), Some(50.0), "the same counters again leave the share as it was");
        seen.take(Arc::new(sample(5.0, None)));
        assert_eq!(cpu(&seen).why(), Some("not asked"));
    }

    #[test]
    fn memory_without_its_lines_is_not_zero() {
        let line = |name: &str, value| Counter { name: name.into(), value, is_bytes: true };
        assert_eq!(memory(&[line("MemTotal", 9)]), Err("/proc/meminfo has no line MemAvailable".into()));
        let told = memory(&[line("MemTotal", 9), line("MemAvailable", 4)]);
        assert_eq!(told, Ok(MemoryUse { total: 9, available: 4, swap_total: 0, swap_free: 0 }));
    }

    #[test]
    fn failed_units_come_first_and_quiet_ones_not_at_all() {
        let unit =
            |name: &str, active: &str, restarts| UnitState { name: name.into(), active: active.into(), restarts, ..Default::default() };
        let units = vec![
            unit("quiet.service", "active", Some(0)),
            unit("starting.service", "activating", Some(0)),
            unit("b-failed.service", "failed", None),
            unit("flaps.service", "active", Some(12)),
            unit("a-failed.service", "failed", Some(0)),
            unit("once.service", "inactive", Some(1)),
            unit("off.service", "inactive", None),
        ];
        let told = listed(&Units { system_state: "degraded".into(), units, ..Units::default() });
        let names: Vec<_> = told.listed.iter().map(|u| u.name.split('.').next().unwrap()).collect();
        assert_eq!(names, ["a-failed", "b-failed", "flaps", "once", "starting"]);
        assert_eq!((told.count, told.failed), (7, 2));

        let many = (0..500).map(|i| unit(&format!("u{i:03}.service"), "failed", None)).collect();
        let told = listed(&Units { units: many, ..Units::default() });
        assert_eq!((told.failed, told.listed.len()), (500, MOST_UNITS));
    }
}
