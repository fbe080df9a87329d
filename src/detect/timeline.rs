//! The host as a whole over time, at two resolutions and of a fixed size: for trends, and for telling what went together with what.

use serde::{Deserialize, Serialize};

use super::fullness::{self, Fullness};
use crate::model::{BootId, CpuStat, HostPath, Sample};

/// One moment. What could not be read is `None`, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Boot clock, seconds.
    pub at_s: f64,
    /// Shares of the time since the moment before, 0..100 over all CPUs.
    pub cpu_busy: Option<f32>,
    pub cpu_iowait: Option<f32>,
    pub load_one: Option<f32>,
    /// 0..100.
    pub memory_used: Option<f32>,
    pub swap_used: Option<f32>,
    /// `some`, over the last ten seconds, 0..100.
    pub cpu_pressure: Option<f32>,
    pub io_pressure: Option<f32>,
    pub memory_pressure: Option<f32>,
}

/// 5 s for 15 min and 1 min for 6 h, of one boot: [`Timeline::BYTES`] and no more.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timeline {
    boot: Option<BootId>,
    fine: Ring,
    coarse: Ring,
    #[serde(default)]
    fullness: Fullness,
    /// How many CPUs there were at the newest moment, and their ticks: busy, waiting for io, all.
    cpu: Option<(usize, [u64; 3])>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Ring {
    /// Once full, the oldest is overwritten.
    moments: Vec<Moment>,
    /// Where the next one goes when full.
    next: usize,
}

impl Ring {
    /// The place it was written to, if it was.
    fn push(&mut self, moment: Moment, size: usize, apart_s: f64) -> Option<usize> {
        if self.newest().is_some_and(|last| moment.at_s - last.at_s < apart_s) {
            return None;
        }
        if self.moments.len() < size {
            self.moments.reserve_exact(size - self.moments.len());
            self.moments.push(moment);
            return self.moments.len().checked_sub(1);
        }
        let at = self.next;
        *self.moments.get_mut(at)? = moment;
        self.next = (at + 1) % size;
        Some(at)
    }

    fn newest(&self) -> Option<&Moment> {
        let before = self.next.checked_sub(1).or_else(|| self.moments.len().checked_sub(1))?;
        self.moments.get(before)
    }

    /// Places and what stands there, oldest first.
    fn iter(&self) -> impl Iterator<Item = (usize, &Moment)> {
        let begin = self.next.min(self.moments.len());
        let (newer, older) = self.moments.split_at(begin);
        (begin..).zip(older).chain((0..).zip(newer))
    }

    /// For each step back from the newest, `every_s` apart and over `span_s` at most, the place of the nearest moment, oldest first. A step
    /// that none is near has none: samples come a little early or late, and are not there while nobody takes them.
    fn steps(&self, every_s: f64, span_s: f64) -> Vec<Option<usize>> {
        const NEAR: f64 = 0.75;
        let moments: Vec<(usize, f64)> = self.iter().map(|(at, moment)| (at, moment.at_s)).collect();
        let (Some((_, first_s)), Some((_, last_s))) = (moments.first(), moments.last()) else { return Vec::new() };
        let count = (span_s.min(last_s - first_s + every_s * NEAR) / every_s).ceil().max(1.0) as usize;
        let mut older = moments.iter().rev().peekable();
        let mut nearest = older.next();
        let mut step = |back: usize| {
            let at_s = last_s - every_s * back as f64;
            let off = |moment: &(usize, f64)| (moment.1 - at_s).abs();
            while let (Some(here), Some(before)) = (nearest, older.peek())
                && off(before) <= off(here)
            {
                nearest = older.next();
            }
            nearest.filter(|moment| off(moment) <= every_s * NEAR).map(|(at, _)| *at)
        };
        let mut steps: Vec<_> = (0..count).map(&mut step).collect();
        steps.reverse();
        steps
    }
}

/// Moments at even steps, oldest first. What was not had is `None`.
#[derive(Debug)]
pub struct Even<'a> {
    pub every_s: f64,
    /// Boot clock of the last step, seconds.
    pub last_s: f64,
    pub moments: Vec<Option<&'a Moment>>,
    /// Mount, device, and how full it was at each step, 0..100.
    pub filesystems: Vec<(&'a HostPath, u64, Vec<Option<f32>>)>,
}

impl Timeline {
    /// How many, and how many seconds apart at least: half a sample early is in time.
    const FINE: (usize, f64) = (180, 4.5);
    const COARSE: (usize, f64) = (360, 57.5);
    /// What both rings hold when they are full.
    pub const BYTES: usize = (Self::FINE.0 + Self::COARSE.0) * (size_of::<Moment>() + Fullness::BYTES);
    const FINE_EVERY_S: f64 = 5.0;
    const COARSE_EVERY_S: f64 = 60.0;
    pub const QUARTER_HOUR_S: f64 = 900.0;
    pub const SIX_HOURS_S: f64 = 21_600.0;

    /// Takes the newest sample in. Another boot starts from nothing; a sample that is older than the last is ignored.
    pub fn push(&mut self, sample: &Sample) {
        if self.boot.as_ref() != Some(&sample.at.boot) {
            *self = Self { boot: Some(sample.at.boot.clone()), ..Self::default() };
        }
        if self.fine.newest().is_some_and(|last| sample.at.uptime_s <= last.at_s) {
            return;
        }
        let readings = &sample.readings;
        let memory = |name: &str| readings.memory.value()?.iter().find(|f| &*f.name == name).map(|f| f.value as f64);
        let used = |total: Option<f64>, free: Option<f64>| Some((100.0 * (1.0 - free? / total.filter(|t| *t > 0.0)?)) as f32);
        let (cpu_busy, cpu_iowait) = self.cpu_shares(readings.cpu.value());
        let moment = Moment {
            at_s: sample.at.uptime_s,
            cpu_busy,
            cpu_iowait,
            load_one: readings.load.value().map(|l| l.one as f32),
            memory_used: used(memory("MemTotal"), memory("MemAvailable")),
            swap_used: used(memory("SwapTotal"), memory("SwapFree")),
            cpu_pressure: readings.cpu_pressure.value().map(|p| p.some_avg10 as f32),
            io_pressure: sample.io_pressure.value().map(|p| p.some_avg10 as f32),
            memory_pressure: readings.memory_pressure.value().map(|p| p.some_avg10 as f32),
        };
        let fine = self.fine.push(moment, Self::FINE.0, Self::FINE.1);
        let coarse = self.coarse.push(moment, Self::COARSE.0, Self::COARSE.1);
        if fine.is_some() || coarse.is_some() {
            self.fullness.push(&sample.filesystems, fine, coarse);
        }
    }

    /// Counters that went back, as some kernels' do, give no share; neither does the first reading.
    fn cpu_shares(&mut self, stat: Option<&CpuStat>) -> (Option<f32>, Option<f32>) {
        let Some(stat) = stat else { return (None, None) };
        let now = stat.cpus.iter().fold([0u64; 3], |[busy, iowait, all], c| {
            let working = [c.user, c.nice, c.system, c.irq, c.softirq, c.steal].iter().fold(0u64, |sum, v| sum.saturating_add(*v));
            let idle = c.idle.saturating_add(c.iowait);
            [busy.saturating_add(working), iowait.saturating_add(c.iowait), all.saturating_add(working).saturating_add(idle)]
        });
        // A CPU that comes back brings all its past with it.
        let Some((_, before)) = self.cpu.replace((stat.cpus.len(), now)).filter(|(cpus, _)| *cpus == stat.cpus.len()) else {
            return (None, None);
        };
        let passed = now[2].checked_sub(before[2]).filter(|all| *all > 0);
        let share = |which: usize| Some((100.0 * now[which].checked_sub(before[which])? as f64 / passed? as f64) as f32);
        (share(0), share(1))
    }

    /// The last quarter of an hour, for samples every `sample_s` seconds; `None` before the first.
    pub fn quarter_hour(&self, sample_s: f64) -> Option<Even<'_>> {
        self.even(&self.fine, Self::FINE_EVERY_S.max(sample_s), Self::QUARTER_HOUR_S, |f| &f.fine)
    }

    /// The last six hours, in the same way.
    pub fn six_hours(&self, sample_s: f64) -> Option<Even<'_>> {
        self.even(&self.coarse, Self::COARSE_EVERY_S.max(sample_s), Self::SIX_HOURS_S, |f| &f.coarse)
    }

    fn even<'a>(&'a self, ring: &'a Ring, every_s: f64, span_s: f64, of: impl Fn(&fullness::Followed) -> &[u16]) -> Option<Even<'a>> {
        let steps = ring.steps(every_s, span_s);
        let shares = |f| steps.iter().map(|step| fullness::percent(of(f), (*step)?)).collect();
        Some(Even {
            every_s,
            last_s: ring.newest()?.at_s,
            filesystems: self.fullness.iter().map(|f| (&f.mount, f.device, shares(f))).collect(),
            moments: steps.iter().map(|step| ring.moments.get((*step)?)).collect(),
        })
    }

    /// Whether it is of the boot that runs now: of another it says nothing.
    pub fn is_of(&self, boot: &BootId) -> bool {
        self.boot.as_ref() == Some(boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Counter, CpuTimes, LoadAverage, Now, Observed, Readings};

    fn sample(boot: &str, at_s: f64, busy_of_ten: u64) -> Sample {
        let ticks = at_s as u64 * 10;
        let cpu = CpuTimes { user: ticks * busy_of_ten, idle: ticks * (10 - busy_of_ten), ..CpuTimes::default() };
        let field = |name: &str, value| Counter { name: name.into(), value, is_bytes: true };
        let mut readings = Readings::none("not asked");
        readings.cpu = Observed::fresh(CpuStat { cpus: vec![cpu], ..CpuStat::default() });
        readings.load = Observed::fresh(LoadAverage { one: 0.5, five: 0.0, fifteen: 0.0 });
        readings.memory =
            Observed::fresh(vec![field("MemTotal", 1000), field("MemAvailable", 250), field("SwapTotal", 0), field("SwapFree", 0)]);
        Sample {
            at: Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId(boot.into()), uptime_s: at_s },
            filesystems: Observed::unavailable("not asked"),
            disks: Observed::unavailable("not asked"),
            io_pressure: Observed::unavailable("not asked"),
            node_disk_pressure: Observed::unavailable("not asked"),
            stall: None,
            readings,
        }
    }

    #[test]
    fn two_resolutions_of_fixed_size() {
        let mut timeline = Timeline::default();
        for i in 0..100_000 {
            timeline.push(&sample("a", 5.0 * f64::from(i), 3));
        }
        let (fine, coarse): (Vec<_>, Vec<_>) =
            (timeline.fine.iter().map(|(_, m)| m).collect(), timeline.coarse.iter().map(|(_, m)| m).collect());
        assert_eq!((fine.len(), coarse.len()), (180, 360));
        assert_eq!(fine.last().unwrap().at_s, 499_995.0);
        assert_eq!(fine.last().unwrap().at_s - fine[0].at_s, 895.0);
        assert!(fine.windows(2).all(|w| w[0].at_s < w[1].at_s) && coarse.windows(2).all(|w| w[0].at_s < w[1].at_s));
        assert!(coarse.last().unwrap().at_s - coarse[0].at_s > 21_000.0);
        assert!(timeline.fine.moments.capacity() <= 180 && timeline.coarse.moments.capacity() <= 360, "{}", Timeline::BYTES);
    }

    #[test]
    fn shares_are_of_the_time_between_and_what_is_missing_is_not_zero() {
        let mut timeline = Timeline::default();
        timeline.push(&sample("a", 10.0, 3));
        timeline.push(&sample("a", 20.0, 3));
        let moments: Vec<Moment> = timeline.fine.iter().map(|(_, m)| *m).collect();
        assert_eq!((moments[0].cpu_busy, moments[1].cpu_busy), (None, Some(30.0)));
        assert_eq!((moments[1].memory_used, moments[1].swap_used, moments[1].io_pressure), (Some(75.0), None, None));
        // Back in time, and counters that went back.
        timeline.push(&sample("a", 15.0, 3));
        timeline.push(&sample("a", 30.0, 0));
        assert_eq!(timeline.fine.iter().count(), 3);
        assert_eq!(timeline.fine.newest().unwrap().cpu_busy, None);
    }

    #[test]
    fn a_cpu_that_comes_back_brings_no_past_with_it() {
        let mut timeline = Timeline::default();
        timeline.push(&sample("a", 10.0, 3));
        let mut more = sample("a", 20.0, 3);
        let Observed::Value { value: stat, .. } = &mut more.readings.cpu else { unreachable!() };
        stat.cpus.push(CpuTimes { cpu: 7, user: 1_000_000, ..CpuTimes::default() });
        timeline.push(&more);
        assert_eq!(timeline.fine.newest().unwrap().cpu_busy, None);
    }

    #[test]
    fn it_comes_back_whole_and_another_boot_starts_anew() {
        let mut timeline = Timeline::default();
        for i in 1..400 {
            timeline.push(&sample("a", 5.0 * f64::from(i), 3));
        }
        let json = serde_json::to_string(&timeline).unwrap();
        let mut again: Timeline = serde_json::from_str(&json).unwrap();
        assert!(again.is_of(&BootId("a".into())));
        assert_eq!(again.fine.iter().collect::<Vec<_>>(), timeline.fine.iter().collect::<Vec<_>>());
        again.push(&sample("a", 2005.0, 3));
        assert_eq!(again.fine.newest().unwrap().at_s, 2005.0);
        again.push(&sample("b", 5.0, 3));
        assert_eq!((again.fine.iter().count(), again.is_of(&BootId("a".into()))), (1, false));
    }

    fn busy(even: &Even<'_>) -> Vec<Option<f32>> {
        even.moments.iter().map(|m| m.and_then(|m| m.cpu_busy)).collect()
    }

    /// Early and late samples leave no hole; samples that were not taken do, and so does what could not be read.
    #[test]
    fn steps_are_even_and_holes_stay_holes() {
        let mut timeline = Timeline::default();
        assert!(timeline.quarter_hour(5.0).is_none());
        for at_s in [100.0, 104.6, 110.3, 115.0, 120.4, 150.1, 155.0, 160.0] {
            timeline.push(&sample("a", at_s, 3));
        }
        let mut unread = sample("a", 165.0, 3);
        unread.readings.cpu = Observed::unavailable("/proc/stat: Input/output error");
        timeline.push(&unread);
        timeline.push(&sample("a", 170.2, 3));
        let even = timeline.quarter_hour(5.0).unwrap();
        assert_eq!((even.every_s, even.last_s), (5.0, 170.2));
        let seen: String = even.moments.iter().map(|m| if m.is_some() { '#' } else { '.' }).collect();
        assert_eq!(seen, "#####.....#####", "{even:?}");
        assert_eq!(busy(&even)[12..], [Some(30.0), None, Some(30.0)]);
        // Samples that are asked for more rarely are no holes, and a quarter of an hour stays one.
        let mut slow = Timeline::default();
        (0..100).for_each(|n| slow.push(&sample("a", 60.0 * f64::from(n), 3)));
        let even = slow.quarter_hour(60.0).unwrap();
        assert!(even.moments.len() == 15 && even.moments.iter().all(Option::is_some), "{}", even.moments.len());
        let even = slow.six_hours(60.0).unwrap();
        assert!(even.moments.len() == 100 && even.moments.iter().all(Option::is_some), "{}", even.moments.len());
    }

    #[test]
    fn full_rings_are_all_their_time() {
        let mut timeline = Timeline::default();
        for i in 0..10_000 {
            timeline.push(&sample("a", 5.02 * f64::from(i), if i == 9_999 { 9 } else { 3 }));
        }
        for (even, steps) in [(timeline.quarter_hour(5.0).unwrap(), 180), (timeline.six_hours(5.0).unwrap(), 360)] {
            assert!(even.moments.len() == steps && even.moments.iter().all(Option::is_some), "{even:?}");
            assert!(even.moments.windows(2).all(|w| w[0].unwrap().at_s <= w[1].unwrap().at_s));
        }
        assert_eq!(timeline.quarter_hour(5.0).unwrap().moments.last().unwrap().unwrap().at_s, 5.02 * 9_999.0);
    }

    /// A file of another hand cannot make it fail.
    #[test]
    fn what_was_saved_may_be_anything() {
        let mut timeline = Timeline::default();
        (1..400).for_each(|i| timeline.push(&sample("a", 5.0 * f64::from(i), 3)));
        let whole = serde_json::to_value(&timeline).unwrap();
        for (part, value) in [
            ("next", serde_json::json!(usize::MAX)),
            ("moments", serde_json::json!([])),
            ("moments", serde_json::json!(vec![Moment { at_s: 7.0, ..Moment::default() }; 1000])),
        ] {
            let mut odd = whole.clone();
            odd["fine"][part] = value;
            odd["fullness"] = serde_json::json!([{ "mount": "/", "device": 1, "newest": 3, "fine": [1], "coarse": [] }]);
            let mut odd: Timeline = serde_json::from_value(odd).unwrap();
            for n in 0..400 {
                odd.push(&sample("a", 10_000.0 + 5.0 * f64::from(n), 3));
                assert!(odd.quarter_hour(5.0).is_none_or(|even| even.moments.len() <= 180));
            }
        }
    }
}
