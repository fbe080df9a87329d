//! The host as a whole over time, at two resolutions and of a fixed size: for trends, and for telling what went together with what.

use serde::{Deserialize, Serialize};

use crate::model::{BootId, CpuStat, Sample};

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
    /// Ticks of all CPUs at the newest moment: busy, waiting for io, all.
    cpu: Option<[u64; 3]>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Ring {
    /// Once full, the oldest is overwritten.
    moments: Vec<Moment>,
    /// Where the next one goes when full.
    next: usize,
}

impl Ring {
    fn push(&mut self, moment: Moment, size: usize, apart_s: f64) {
        if self.newest().is_some_and(|last| moment.at_s - last.at_s < apart_s) {
            return;
        }
        if self.moments.len() < size {
            self.moments.reserve_exact(size - self.moments.len());
            self.moments.push(moment);
        } else if let Some(oldest) = self.moments.get_mut(self.next) {
            *oldest = moment;
            self.next = (self.next + 1) % size;
        }
    }

    fn newest(&self) -> Option<&Moment> {
        let before = self.next.checked_sub(1).or_else(|| self.moments.len().checked_sub(1))?;
        self.moments.get(before)
    }

    /// Oldest first.
    fn iter(&self) -> impl Iterator<Item = &Moment> {
        let (newer, older) = self.moments.split_at(self.next.min(self.moments.len()));
        older.iter().chain(newer)
    }
}

impl Timeline {
    /// How many, and how many seconds apart at least: half a sample early is in time.
    const FINE: (usize, f64) = (180, 4.5);
    const COARSE: (usize, f64) = (360, 57.5);
    /// What both rings hold when they are full.
    pub const BYTES: usize = (Self::FINE.0 + Self::COARSE.0) * size_of::<Moment>();

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
        self.fine.push(moment, Self::FINE.0, Self::FINE.1);
        self.coarse.push(moment, Self::COARSE.0, Self::COARSE.1);
    }

    /// Counters that went back, as some kernels' do, give no share; neither does the first reading.
    fn cpu_shares(&mut self, stat: Option<&CpuStat>) -> (Option<f32>, Option<f32>) {
        let Some(stat) = stat else { return (None, None) };
        let now = stat.cpus.iter().fold([0u64; 3], |[busy, iowait, all], c| {
            let working = [c.user, c.nice, c.system, c.irq, c.softirq, c.steal].iter().fold(0u64, |sum, v| sum.saturating_add(*v));
            let idle = c.idle.saturating_add(c.iowait);
            [busy.saturating_add(working), iowait.saturating_add(c.iowait), all.saturating_add(working).saturating_add(idle)]
        });
        let Some(before) = self.cpu.replace(now) else { return (None, None) };
        let passed = now[2].checked_sub(before[2]).filter(|all| *all > 0);
        let share = |which: usize| Some((100.0 * now[which].checked_sub(before[which])? as f64 / passed? as f64) as f32);
        (share(0), share(1))
    }

    /// The last quarter of an hour, oldest first.
    pub fn fine(&self) -> impl Iterator<Item = &Moment> {
        self.fine.iter()
    }

    /// The last six hours, oldest first.
    pub fn coarse(&self) -> impl Iterator<Item = &Moment> {
        self.coarse.iter()
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
            readings,
        }
    }

    #[test]
    fn two_resolutions_of_fixed_size() {
        let mut timeline = Timeline::default();
        for i in 0..100_000 {
            timeline.push(&sample("a", 5.0 * f64::from(i), 3));
        }
        let (fine, coarse): (Vec<_>, Vec<_>) = (timeline.fine().collect(), timeline.coarse().collect());
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
        let moments: Vec<Moment> = timeline.fine().copied().collect();
        assert_eq!((moments[0].cpu_busy, moments[1].cpu_busy), (None, Some(30.0)));
        assert_eq!((moments[1].memory_used, moments[1].swap_used, moments[1].io_pressure), (Some(75.0), None, None));
        // Back in time, and counters that went back.
        timeline.push(&sample("a", 15.0, 3));
        timeline.push(&sample("a", 30.0, 0));
        assert_eq!(timeline.fine().count(), 3);
        assert_eq!(timeline.fine().last().unwrap().cpu_busy, None);
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
        assert_eq!(again.fine().collect::<Vec<_>>(), timeline.fine().collect::<Vec<_>>());
        again.push(&sample("a", 2005.0, 3));
        assert_eq!(again.fine().last().unwrap().at_s, 2005.0);
        again.push(&sample("b", 5.0, 3));
        assert_eq!((again.fine().count(), again.is_of(&BootId("a".into()))), (1, false));
    }
}
