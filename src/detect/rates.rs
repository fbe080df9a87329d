//! How fast the host's own counters move.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::growth::slope;
use crate::model::{Counter, CpuStat, CpuTimes, Observed, Percent, Sample};

/// Between the last two readings of each counter. `None`: not read twice yet, not read now, or the counter went back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// Shares of all CPUs' time. Busy is user, nice, system, irq and softirq: neither iowait nor steal.
    pub busy: Option<Percent>,
    /// With nice.
    pub user: Option<Percent>,
    /// With irq and softirq.
    pub system: Option<Percent>,
    pub iowait: Option<Percent>,
    pub steal: Option<Percent>,
    pub cpus: Option<u64>,
    pub forks_per_s: Option<f64>,
    /// Pages.
    pub swap_in_per_s: Option<f64>,
    pub swap_out_per_s: Option<f64>,
    /// Kills since the reading before.
    pub oom_kills: Option<u64>,
    /// Slope of MemAvailable over the last minute, bytes; negative while it falls.
    pub available_per_s: Option<f64>,
}

/// What the next rates are told from. Moments are of the boot clock, and of when it was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counters {
    rates: Rates,
    cpu: Option<Cpu>,
    vmstat: Option<Vmstat>,
    available: VecDeque<(f64, u64)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cpu {
    at_s: f64,
    /// Which CPUs the ticks are of: one that comes back brings all its past with it.
    online: Vec<u32>,
    ticks: Ticks,
    forks: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Ticks {
    user: u64,
    system: u64,
    iowait: u64,
    steal: u64,
    all: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Vmstat {
    at_s: f64,
    swap_in: Option<u64>,
    swap_out: Option<u64>,
    oom_kills: Option<u64>,
}

/// Two looks closer together than this are one: a tick is a hundredth of a second.
const MIN_APART_S: f64 = 0.5;

/// What a sample says of one source.
pub(super) enum Told<'a, T> {
    /// Read since the last time, at that moment.
    Anew(f64, &'a T),
    /// Taken over from the sample before: it has not moved because nobody looked.
    Before,
    Lost,
}

impl Counters {
    /// A mean over more than this says nothing of now: nobody looked meanwhile.
    const MAX_APART_S: f64 = 600.0;
    const SLOPE_S: f64 = 60.0;
    const SLOPE_READINGS: usize = 3;
    const SLOPE_MIN_S: f64 = 10.0;
    /// More than a minute of samples that come as fast as they may.
    const MAX_READINGS: usize = 128;

    pub(super) fn push(&mut self, sample: &Sample) {
        let (now_s, readings) = (sample.at.uptime_s, &sample.readings);
        match told(&readings.cpu, now_s, self.cpu.as_ref().map(|c| c.at_s)) {
            Told::Anew(at_s, stat) => self.cpu(at_s, stat),
            Told::Before => {}
            Told::Lost => self.rates = self.rates.without_cpu(),
        }
        match told(&readings.vmstat, now_s, self.vmstat.map(|v| v.at_s)) {
            Told::Anew(at_s, counters) => self.vmstat(at_s, counters),
            Told::Before => {}
            Told::Lost => self.rates = self.rates.without_vmstat(),
        }
        match told(&readings.memory, now_s, self.available.back().map(|(at_s, _)| *at_s)) {
            Told::Anew(at_s, counters) => self.available(at_s, of(counters, "MemAvailable")),
            Told::Before => {}
            Told::Lost => self.rates.available_per_s = None,
        }
    }

    fn cpu(&mut self, at_s: f64, stat: &CpuStat) {
        let now = Cpu { at_s, online: stat.cpus.iter().map(|c| c.cpu).collect(), ticks: Ticks::of(stat), forks: stat.forks };
        self.rates = Rates { cpus: u64::try_from(stat.cpus.len()).ok(), ..self.rates.without_cpu() };
        if let Some(before) = &self.cpu
            && let Some(apart_s) = apart_s(before.at_s, at_s)
        {
            self.rates.forks_per_s = per_s(Some(before.forks), Some(now.forks), apart_s);
            let passed = now.ticks.all.checked_sub(before.ticks.all).filter(|all| *all > 0 && before.online == now.online);
            let share =
                |of: fn(&Ticks) -> u64| Some(Percent(100.0 * of(&now.ticks).checked_sub(of(&before.ticks))? as f64 / passed? as f64));
            self.rates.user = share(|t| t.user);
            self.rates.system = share(|t| t.system);
            self.rates.iowait = share(|t| t.iowait);
            self.rates.steal = share(|t| t.steal);
            self.rates.busy = self.rates.user.zip(self.rates.system).map(|(user, system)| Percent(user.0 + system.0));
        }
        self.cpu = Some(now);
    }

    fn vmstat(&mut self, at_s: f64, counters: &[Counter]) {
        let now = Vmstat { at_s, swap_in: of(counters, "pswpin"), swap_out: of(counters, "pswpout"), oom_kills: of(counters, "oom_kill") };
        self.rates = self.rates.without_vmstat();
        if let Some(before) = self.vmstat.replace(now) {
            // Nobody is brought back by its being long ago: kills are told however long nobody looked.
            self.rates.oom_kills = before.oom_kills.zip(now.oom_kills).and_then(|(before, now)| now.checked_sub(before));
            if let Some(apart_s) = apart_s(before.at_s, at_s) {
                self.rates.swap_in_per_s = per_s(before.swap_in, now.swap_in, apart_s);
                self.rates.swap_out_per_s = per_s(before.swap_out, now.swap_out, apart_s);
            }
        }
    }

    fn available(&mut self, at_s: f64, bytes: Option<u64>) {
        self.rates.available_per_s = None;
        let Some(bytes) = bytes else { return };
        self.available.push_back((at_s, bytes));
        while self.available.len() > Self::MAX_READINGS
            || self.available.front().is_some_and(|(first_s, _)| at_s - first_s > Self::MAX_APART_S)
            // So many are kept that the line stands on a whole minute also where samples come rarely.
            || self.available.len() > Self::SLOPE_READINGS && self.available.get(1).is_some_and(|(next_s, _)| at_s - next_s >= Self::SLOPE_S)
        {
            self.available.pop_front();
        }
        let Some((first_s, first)) = self.available.front().copied() else { return };
        if self.available.len() >= Self::SLOPE_READINGS && at_s - first_s >= Self::SLOPE_MIN_S {
            self.rates.available_per_s = slope(self.available.iter().map(|(t, bytes)| (t - first_s, *bytes as f64 - first as f64)));
        }
    }

    pub(super) fn rates(&self) -> Rates {
        self.rates
    }
}

impl Rates {
    fn without_cpu(self) -> Self {
        let Self { swap_in_per_s, swap_out_per_s, oom_kills, available_per_s, .. } = self;
        Self { swap_in_per_s, swap_out_per_s, oom_kills, available_per_s, ..Self::default() }
    }

    fn without_vmstat(self) -> Self {
        Self { swap_in_per_s: None, swap_out_per_s: None, oom_kills: None, ..self }
    }
}

impl Ticks {
    /// Guests' time is in user's and nice's already.
    fn of(stat: &CpuStat) -> Self {
        let sum = |of: fn(&CpuTimes) -> [u64; 3]| stat.cpus.iter().flat_map(of).fold(0, u64::saturating_add);
        Self {
            user: sum(|c| [c.user, c.nice, 0]),
            system: sum(|c| [c.system, c.irq, c.softirq]),
            iowait: sum(|c| [c.iowait, 0, 0]),
            steal: sum(|c| [c.steal, 0, 0]),
            all: sum(|c| [c.user, c.nice, c.system])
                .saturating_add(sum(|c| [c.irq, c.softirq, c.steal]))
                .saturating_add(sum(|c| [c.idle, c.iowait, 0])),
        }
    }
}

/// What a sample taken at `now_s` says of a source whose last reading that was taken in is of `last_s`.
pub(super) fn told<T>(observed: &Observed<T>, now_s: f64, last_s: Option<f64>) -> Told<'_, T> {
    match observed {
        Observed::Value { value, age_s } => {
            let at_s = now_s - age_s;
            if last_s.is_some_and(|last_s| at_s - last_s < MIN_APART_S) { Told::Before } else { Told::Anew(at_s, value) }
        }
        Observed::Unavailable { .. } => Told::Lost,
    }
}

fn apart_s(before_s: f64, now_s: f64) -> Option<f64> {
    Some(now_s - before_s).filter(|apart_s| (MIN_APART_S..=Counters::MAX_APART_S).contains(apart_s))
}

fn per_s(before: Option<u64>, now: Option<u64>, apart_s: f64) -> Option<f64> {
    Some(now?.checked_sub(before?)? as f64 / apart_s)
}

fn of(counters: &[Counter], name: &str) -> Option<u64> {
    counters.iter().find(|c| &*c.name == name).map(|c| c.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, Now, Readings};

    fn sample(at_s: f64) -> Sample {
        Sample {
            at: Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId("a".into()), uptime_s: at_s },
            filesystems: Observed::unavailable("not asked"),
            disks: Observed::unavailable("not asked"),
            io_pressure: Observed::unavailable("not asked"),
            node_disk_pressure: Observed::unavailable("not asked"),
            stall: None,
            readings: Readings::none("not asked"),
        }
    }

    fn cpu(at_s: f64, forks: u64, cpus: &[CpuTimes]) -> Sample {
        let mut sample = sample(at_s);
        sample.readings.cpu = Observed::fresh(CpuStat { cpus: cpus.to_vec(), forks, ..CpuStat::default() });
        sample
    }

    fn counters(of: &[(&str, u64)]) -> Observed<Vec<Counter>> {
        Observed::fresh(of.iter().map(|(name, value)| Counter { name: (*name).into(), value: *value, is_bytes: false }).collect())
    }

    fn rates(samples: &[Sample]) -> Rates {
        let mut counters = Counters::default();
        samples.iter().for_each(|s| counters.push(s));
        // It is handed on to the next run whole.
        let again: Counters = serde_json::from_str(&serde_json::to_string(&counters).unwrap()).unwrap();
        assert_eq!(again, counters);
        again.rates()
    }

    const BEFORE: CpuTimes = CpuTimes {
        cpu: 0,
        user: 100,
        nice: 100,
        system: 100,
        idle: 100,
        iowait: 100,
        irq: 100,
        softirq: 100,
        steal: 100,
        guest: 0,
        guest_nice: 0,
    };
    const AFTER: CpuTimes = CpuTimes {
        cpu: 0,
        user: 130,
        nice: 110,
        system: 105,
        idle: 125,
        iowait: 110,
        irq: 103,
        softirq: 102,
        steal: 115,
        guest: 30,
        guest_nice: 10,
    };

    #[test]
    fn shares_are_of_all_time_and_waiting_is_not_work() {
        let told = rates(&[cpu(10.0, 50, &[BEFORE]), cpu(14.0, 60, &[AFTER])]);
        let share = |percent: f64| Some(Percent(percent));
        assert_eq!((told.busy, told.user, told.system), (share(50.0), share(40.0), share(10.0)));
        assert_eq!((told.iowait, told.steal, told.cpus, told.forks_per_s), (share(10.0), share(15.0), Some(1), Some(2.5)));
        assert_eq!(rates(&[cpu(10.0, 50, &[BEFORE])]), Rates { cpus: Some(1), ..Rates::default() }, "once is no rate");
    }

    #[test]
    fn what_was_taken_over_is_no_second_reading() {
        let first = [cpu(10.0, 50, &[BEFORE]), cpu(14.0, 60, &[AFTER])];
        let mut over = cpu(15.0, 60, &[AFTER]);
        over.readings.cpu = Observed::Value { value: over.readings.cpu.value().unwrap().clone(), age_s: 1.0 };
        assert_eq!(rates(&first), rates(&[first[0].clone(), first[1].clone(), over]));
    }

    #[test]
    fn neither_a_counter_that_went_back_nor_another_cpu_gives_a_share() {
        // iowait goes back on some kernels; what else moved is told.
        let less = CpuTimes { iowait: 99, ..AFTER };
        let told = rates(&[cpu(10.0, 50, &[BEFORE]), cpu(14.0, 40, &[less])]);
        assert!(told.iowait.is_none() && told.forks_per_s.is_none() && told.busy.is_some(), "{told:?}");
        assert_eq!(rates(&[cpu(10.0, 0, &[AFTER]), cpu(14.0, 0, &[BEFORE])]).busy, None);
        // One goes as another comes back with all its past.
        let other = CpuTimes { cpu: 7, user: 1_000_000, ..AFTER };
        for with in [vec![other], vec![AFTER, other]] {
            let told = rates(&[cpu(10.0, 50, &[BEFORE]), cpu(14.0, 60, &with)]);
            assert!(told.busy.is_none() && told.steal.is_none() && told.forks_per_s == Some(2.5), "{told:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_now_has_no_rate_and_nor_has_what_nobody_looked_at_for_long() {
        let known = [cpu(10.0, 50, &[BEFORE]), cpu(14.0, 60, &[AFTER])];
        assert_eq!(rates(&[known[0].clone(), known[1].clone(), sample(16.0)]), Rates::default());
        assert_eq!(rates(&[known[0].clone(), cpu(1000.0, 60, &[AFTER])]), Rates { cpus: Some(1), ..Rates::default() });
    }

    #[test]
    fn swapping_and_kills_are_told_and_a_kernel_that_counts_none_tells_none() {
        let vmstat =
            |at_s, of: &[(&str, u64)]| Sample { readings: Readings { vmstat: counters(of), ..Readings::none("") }, ..sample(at_s) };
        let told = rates(&[
            vmstat(10.0, &[("pswpin", 10), ("pswpout", 20), ("oom_kill", 1)]),
            vmstat(20.0, &[("pswpin", 30), ("pswpout", 60), ("oom_kill", 3)]),
        ]);
        assert_eq!((told.swap_in_per_s, told.swap_out_per_s, told.oom_kills), (Some(2.0), Some(4.0), Some(2)));
        let told = rates(&[vmstat(10.0, &[("pswpin", 10), ("oom_kill", 1)]), vmstat(20.0, &[("pswpin", 9), ("oom_kill", 1)])]);
        assert_eq!((told.swap_in_per_s, told.swap_out_per_s, told.oom_kills), (None, None, Some(0)));
    }

    fn available(readings: impl Iterator<Item = (f64, u64)>) -> Option<f64> {
        let sample = |(at_s, bytes)| Sample {
            readings: Readings { memory: counters(&[("MemAvailable", bytes)]), ..Readings::none("") },
            ..sample(at_s)
        };
        rates(&readings.map(sample).collect::<Vec<_>>()).available_per_s
    }

    #[test]
    fn the_slope_of_available_memory_is_of_the_last_minute() {
        // It rose for long, and falls by a mebibyte a second now.
        let falling =
            |n: u32| (f64::from(n) * 5.0, if n < 100 { u64::from(n) << 30 } else { (100 << 30) - ((u64::from(n - 100) * 5) << 20) });
        let told = available((0..=112).map(falling)).unwrap();
        assert!((told + f64::from(1 << 20)).abs() < 1.0, "{told}");
        assert_eq!(available((0..2).map(falling)), None, "two readings five seconds apart are no line");
        // Where samples come rarely it stands on what there is.
        assert!(available((0..10).map(|n| (f64::from(n) * 60.0, 1 << 30))).is_some_and(|slope| slope == 0.0));
        // And where they come fast it stands on no more than it must.
        let mut counters = Counters::default();
        (0..1000).for_each(|n| {
            let mut s = sample(f64::from(n) * 0.6);
            s.readings.memory = super::tests::counters(&[("MemAvailable", 7)]);
            counters.push(&s);
        });
        assert!(counters.available.len() <= 102, "{}", counters.available.len());
    }
}
