//! What the largest and hottest processes and groups used over time: growth, what is usual for them, and how often they are held back.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Growth;
use super::rates::{Told, told};
use crate::model::{Bytes, HostPath, Percent, Sample, Seconds};

/// One consumer's past, as far as it was among those that are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// How long it has been followed, six hours at most.
    pub over: Seconds,
    /// Straight line through its memory over all of that; `None` while it is too short to say.
    pub growth: Option<Growth>,
    /// The same over the last five minutes: what rises over hours and falls now is no leak that has to be acted on.
    pub lately: Option<Growth>,
    /// When it was last seen, to a page. `None`: nobody counts it.
    pub memory: Option<Bytes>,
    /// Since it has been followed.
    pub memory_peak: Option<Bytes>,
    /// What it had no more than for all but a hundredth of that time; `None` also where that was not told yet.
    #[serde(default)]
    pub memory_p99: Option<Bytes>,
    /// Median over what is kept, the last five minutes left out.
    pub memory_usual: Option<Bytes>,
    /// Of one CPU, median in the same way, and now.
    pub cpu_usual: Option<Percent>,
    pub cpu: Option<Percent>,
    /// How long it has been at 90 % of one CPU or more without a break.
    pub flat_out: Seconds,
    /// Of its CPU quota's periods over the last minute, in how many it was held back; `None` also where there was none: no quota, or nothing
    /// to do.
    pub throttled: Option<Percent>,
}

/// By cgroup path, and by pid with start time: a fixed number of each, in a fixed number of bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Consumers {
    groups: Followed<HostPath>,
    processes: Followed<(u32, u64)>,
}

/// All of one sort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Followed<K> {
    /// When they were last looked at, boot clock.
    swept_s: Option<f64>,
    all: Vec<(K, Track)>,
}

impl<K> Default for Followed<K> {
    fn default() -> Self {
        Self { swept_s: None, all: Vec::new() }
    }
}

/// One of them, at two resolutions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Track {
    /// Last seen, boot clock, and what it used then.
    seen_s: f64,
    newest: Option<Reading>,
    peak: Option<u32>,
    fine: VecDeque<Reading>,
    coarse: VecDeque<Reading>,
    /// Since when it takes a whole CPU.
    flat_out_s: Option<f64>,
    /// When, the periods of its quota, and in how many of them it was held back.
    quota: VecDeque<(f64, u64, u64)>,
}

/// Twelve bytes: when, tenths of seconds of the boot clock; memory, pages of 4 KiB; hundredths of a per cent of one CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Reading(u32, Option4, Option4);

/// A number that takes four bytes also where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Option4(u32);

/// What a sweep says of one of them.
#[derive(Clone, Copy)]
struct Use {
    memory_bytes: Option<u64>,
    cpu_percent: Option<f64>,
    /// All, and those in which it was held back.
    periods: Option<(u64, u64)>,
}

impl Consumers {
    /// Of each sort.
    pub const MOST: usize = 64;
    /// What all of them take when there is no room left.
    #[cfg(test)]
    const BYTES: usize = Self::MOST * (size_of::<(HostPath, Track)>() + size_of::<((u32, u64), Track)>())
        + 2 * Self::MOST * (Track::FINE + Track::COARSE) * size_of::<Reading>()
        + Self::MOST * (Track::QUOTA * size_of::<(f64, u64, u64)>() + Self::LONGEST_PATH);
    /// A group with a longer name is not followed: nobody but somebody hostile makes one.
    const LONGEST_PATH: usize = 1024;

    pub(super) fn push(&mut self, sample: &Sample) {
        let now_s = sample.at.uptime_s;
        if let Told::Anew(at_s, groups) = told(&sample.readings.cgroups, now_s, self.groups.swept_s) {
            let named = groups.top.iter().filter(|g| g.path.as_bytes().len() <= Self::LONGEST_PATH);
            self.groups.sweep(
                at_s,
                named.map(|g| {
                    let periods = g.periods.zip(g.throttled_periods);
                    (&g.path, Use { memory_bytes: g.memory_bytes, cpu_percent: g.cpu_percent, periods })
                }),
            );
        }
        if let Told::Anew(at_s, processes) = told(&sample.readings.processes, now_s, self.processes.swept_s) {
            let keys: Vec<(u32, u64)> = processes.top.iter().map(|p| (p.pid, p.start_ticks)).collect();
            let uses = processes.top.iter().map(|p| Use { memory_bytes: Some(p.rss_bytes), cpu_percent: p.cpu_percent, periods: None });
            self.processes.sweep(at_s, keys.iter().zip(uses));
        }
    }

    pub(super) fn group(&self, path: &HostPath) -> Option<Past> {
        self.groups.past(path)
    }

    pub(super) fn group_seen(&self, path: &HostPath, from_s: f64, to_s: f64) -> bool {
        let track = self.groups.all.iter().find(|(known, _)| known == path).map(|(_, track)| track);
        track.is_some_and(|track| track.fine.iter().chain(&track.coarse).any(|r| (from_s..=to_s).contains(&r.at_s())))
    }

    pub(super) fn process(&self, pid: u32, start_ticks: u64) -> Option<Past> {
        self.processes.past(&(pid, start_ticks))
    }
}

impl<K: Clone + PartialEq> Followed<K> {
    fn sweep<'a>(&mut self, at_s: f64, seen: impl Iterator<Item = (&'a K, Use)>)
    where
        K: 'a,
    {
        // Nobody looked for so long that whatever lasted then need not have lasted since.
        if self.swept_s.replace(at_s).is_none_or(|before_s| at_s - before_s > Track::GAP_S) {
            self.all.iter_mut().for_each(|(_, track)| track.flat_out_s = None);
        }
        self.all.retain(|(_, track)| at_s - track.seen_s <= Track::COARSE_S);
        if self.all.len() > Consumers::MOST {
            self.all.truncate(Consumers::MOST);
            self.all.shrink_to_fit();
        }
        for (key, used) in seen {
            if let Some(track) = self.track(key, at_s) {
                track.enter(at_s, used);
            }
        }
        // Whoever is not among the hottest is not at a whole CPU.
        self.all.iter_mut().filter(|(_, track)| track.seen_s < at_s).for_each(|(_, track)| track.flat_out_s = None);
    }

    /// A new one takes the place of whoever was longest unseen.
    fn track(&mut self, key: &K, at_s: f64) -> Option<&mut Track> {
        let at = match self.all.iter().position(|(k, _)| k == key) {
            Some(at) => at,
            None if self.all.len() < Consumers::MOST => {
                self.all.reserve_exact(Consumers::MOST.saturating_sub(self.all.len()));
                self.all.push((key.clone(), Track::default()));
                self.all.len().saturating_sub(1)
            }
            None => {
                let oldest = self.all.iter().enumerate().filter(|(_, (_, track))| track.seen_s < at_s);
                let (at, _) = oldest.min_by(|(_, (_, a)), (_, (_, b))| a.seen_s.total_cmp(&b.seen_s))?;
                *self.all.get_mut(at)? = (key.clone(), Track::default());
                at
            }
        };
        self.all.get_mut(at).map(|(_, track)| track)
    }

    fn past(&self, key: &K) -> Option<Past> {
        let (_, track) = self.all.iter().find(|(k, _)| k == key)?;
        track.past(self.swept_s?)
    }
}

impl Track {
    /// Five minutes of readings as they come, a minute of a quota's counters, and six hours of one a minute.
    const FINE: usize = 68;
    const FINE_S: f64 = 300.0;
    const FINE_APART_S: f64 = 4.5;
    const COARSE: usize = 376;
    const COARSE_S: f64 = 21_600.0;
    const COARSE_APART_S: f64 = 57.5;
    const QUOTA: usize = 16;
    const QUOTA_S: f64 = 60.0;
    /// Where sweeps are rare, a line may stand on older readings than of five minutes.
    const FINE_OLDEST_S: f64 = 900.0;
    const FINE_FEWEST: usize = 6;
    /// Fewer readings than this are nothing that could be called usual.
    const USUAL_FEWEST: usize = 5;
    const FLAT_OUT_PERCENT: f64 = 90.0;
    /// Two looks further apart than this say nothing of what was between them; and what was not seen for so long is not known now.
    const GAP_S: f64 = 600.0;

    fn enter(&mut self, at_s: f64, used: Use) {
        let before_s = self.newest.map(|_| self.seen_s);
        self.seen_s = at_s;
        let reading = Reading(
            tenths(at_s),
            Option4::of(used.memory_bytes.map(|bytes| (bytes / PAGE) as f64)),
            Option4::of(used.cpu_percent.map(|percent| percent * 100.0)),
        );
        self.newest = Some(reading);
        self.peak = self.peak.max(reading.1.get());
        let apart = |last: Option<&Reading>, s: f64| last.is_none_or(|last| at_s - last.at_s() >= s);
        if apart(self.fine.back(), Self::FINE_APART_S) {
            put(&mut self.fine, reading, Self::FINE);
            while self.fine.front().is_some_and(|first| at_s - first.at_s() > Self::FINE_OLDEST_S)
                || self.fine.len() > Self::FINE_FEWEST && self.fine.get(1).is_some_and(|next| at_s - next.at_s() >= Self::FINE_S)
            {
                self.fine.pop_front();
            }
        }
        if apart(self.coarse.back(), Self::COARSE_APART_S) {
            put(&mut self.coarse, reading, Self::COARSE);
            while self.coarse.front().is_some_and(|first| at_s - first.at_s() > Self::COARSE_S) {
                self.coarse.pop_front();
            }
        }
        self.flat_out_s = match used.cpu_percent {
            // The share is of the time since the look before.
            Some(percent) if percent >= Self::FLAT_OUT_PERCENT => {
                self.flat_out_s.or(before_s.filter(|s| at_s - s <= Self::GAP_S)).or(Some(at_s))
            }
            Some(_) | None => None,
        };
        self.enter_quota(at_s, used.periods);
    }

    fn enter_quota(&mut self, at_s: f64, periods: Option<(u64, u64)>) {
        let Some((all, held)) = periods else { return self.quota.clear() };
        // A group that was made again counts from nothing.
        if self.quota.back().is_some_and(|(last_s, a, h)| all < *a || held < *h || at_s - last_s > Self::GAP_S) {
            self.quota.clear();
        }
        if self.quota.back().is_none_or(|(last_s, ..)| at_s - last_s >= Self::FINE_APART_S) {
            put(&mut self.quota, (at_s, all, held), Self::QUOTA);
            while self.quota.get(1).is_some_and(|(next_s, ..)| at_s - next_s >= Self::QUOTA_S) {
                self.quota.pop_front();
            }
        }
    }

    /// As of the last look at all of its sort.
    fn past(&self, swept_s: f64) -> Option<Past> {
        let first = self.coarse.front()?;
        let is_now = swept_s - self.seen_s <= Self::GAP_S;
        let newest = self.newest?;
        let usual = |of: fn(&Reading) -> Option4| {
            let before = self.coarse.iter().filter(|r| swept_s - r.at_s() > Self::FINE_S);
            quantile(before.filter_map(|r| of(r).get()).collect(), 0.5)
        };
        Some(Past {
            over: Seconds((self.seen_s - first.at_s()).max(0.0)),
            growth: growth(&self.coarse),
            lately: growth(&self.fine).filter(|_| is_now),
            memory: newest.1.get().map(bytes),
            memory_peak: self.peak.map(bytes),
            memory_p99: quantile(self.coarse.iter().filter_map(|r| r.1.get()).collect(), 0.99).map(bytes),
            memory_usual: usual(|r| r.1).map(bytes),
            cpu_usual: usual(|r| r.2).map(hundredths),
            cpu: newest.2.get().filter(|_| is_now).map(hundredths),
            flat_out: Seconds(self.flat_out_s.map_or(0.0, |since_s| (self.seen_s - since_s).max(0.0))),
            throttled: self.throttled().filter(|_| is_now),
        })
    }

    fn throttled(&self) -> Option<Percent> {
        let ((_, all_then, held_then), (_, all, held)) = (self.quota.front()?, self.quota.back()?);
        let periods = all.checked_sub(*all_then).filter(|periods| *periods > 0)?;
        Some(Percent((100.0 * held.checked_sub(*held_then)? as f64 / periods as f64).min(100.0)))
    }
}

const PAGE: u64 = 4096;

impl Option4 {
    const NONE: u32 = u32::MAX;

    fn of(value: Option<f64>) -> Self {
        // The cast is of what fits; beyond it lie sixteen tebibytes, and more CPUs than there are.
        Self(value.map_or(Self::NONE, |v| v.round().clamp(0.0, f64::from(Self::NONE - 1)) as u32))
    }

    fn get(self) -> Option<u32> {
        (self.0 != Self::NONE).then_some(self.0)
    }
}

impl Reading {
    fn at_s(&self) -> f64 {
        f64::from(self.0) / 10.0
    }
}

fn tenths(at_s: f64) -> u32 {
    // The cast is of what fits: thirteen years of uptime.
    (at_s * 10.0).round().clamp(0.0, f64::from(u32::MAX)) as u32
}

fn bytes(pages: u32) -> Bytes {
    Bytes(u64::from(pages) * PAGE)
}

fn hundredths(of: u32) -> Percent {
    Percent(f64::from(of) / 100.0)
}

/// At most so many, in no more room than those take.
fn put<T>(ring: &mut VecDeque<T>, new: T, most: usize) {
    while ring.len() >= most {
        ring.pop_front();
    }
    if ring.capacity() > most {
        ring.shrink_to(most);
    }
    if ring.len() == ring.capacity() {
        ring.reserve_exact((most - ring.len()).min(most / 4));
    }
    ring.push_back(new);
}

fn growth(readings: &VecDeque<Reading>) -> Option<Growth> {
    Growth::of(readings.iter().filter_map(|r| Some((r.at_s(), bytes(r.1.get()?).0, 0))))
}

/// `share`: from 0, the lowest, to under 1.
fn quantile(mut of: Vec<u32>, share: f64) -> Option<u32> {
    if of.len() < Track::USUAL_FEWEST {
        return None;
    }
    let at = (of.len() as f64 * share) as usize;
    Some(*of.select_nth_unstable(at).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::History;
    use crate::model::{BootId, CgroupUse, CgroupVersion, Cgroups, Now, Observed, ProcessUse, Processes, Readings};

    const MIB: u64 = 1 << 20;

    fn sample(boot: &str, at_s: f64, groups: Vec<CgroupUse>, processes: Vec<ProcessUse>) -> Sample {
        let mut readings = Readings::none("not asked");
        readings.cgroups = Observed::fresh(Cgroups { version: CgroupVersion::V2, count: 1, top: groups, cut: 0, unreadable: 0 });
        readings.processes = Observed::fresh(Processes { top: processes, ..Processes::default() });
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

    fn group(path: &str, memory: Option<u64>, cpu: Option<f64>) -> CgroupUse {
        CgroupUse { path: path.into(), memory_bytes: memory, cpu_percent: cpu, ..CgroupUse::default() }
    }

    fn process(pid: u32, start_ticks: u64, rss_bytes: u64, cpu_percent: Option<f64>) -> ProcessUse {
        ProcessUse { pid, start_ticks, comm: "java".into(), state: 'S', cpu_ticks: 0, cpu_percent, rss_bytes, threads: 1 }
    }

    fn followed(seconds: impl Iterator<Item = u32>, memory: impl Fn(f64) -> u64, cpu: impl Fn(f64) -> f64) -> History {
        let mut history = History::default();
        for at_s in seconds.map(f64::from) {
            history.push(&sample("a", at_s, vec![group("/a", Some(memory(at_s)), Some(cpu(at_s)))], vec![]));
        }
        history
    }

    #[test]
    fn a_leak_over_hours_is_a_line_and_what_it_does_lately_is_another() {
        // A mebibyte a minute for three hours; then it gives back two a minute.
        let memory = |at_s: f64| {
            let gone = at_s / 60.0;
            ((if gone <= 180.0 { 500.0 + gone } else { 680.0 - 2.0 * (gone - 180.0) }) * MIB as f64) as u64
        };
        let rising = followed((15..=10_800).step_by(15), memory, |_| 10.0).group(&"/a".into()).unwrap();
        let per_minute = |growth: Option<Growth>| growth.unwrap().bytes_per_s * 60.0 / MIB as f64;
        assert!((per_minute(rising.growth) - 1.0).abs() < 0.01 && (per_minute(rising.lately) - 1.0).abs() < 0.02, "{rising:?}");
        assert!(rising.growth.unwrap().over.0 > 10_600.0 && rising.over.0 > 10_700.0);
        assert!((300.0..330.0).contains(&rising.lately.unwrap().over.0));
        assert!(rising.memory == rising.memory_peak && rising.memory > rising.memory_usual, "{rising:?}");
        let falling = followed((15..=11_400).step_by(15), memory, |_| 10.0).group(&"/a".into()).unwrap();
        assert!(per_minute(falling.growth) > 0.8 && (per_minute(falling.lately) + 2.0).abs() < 0.05, "{falling:?}");
        assert_eq!(falling.memory_peak, Some(Bytes(680 * MIB)));
        // One reading a minute over 190: all but the one or two highest.
        assert!(falling.memory_p99.is_some_and(|p99| (678 * MIB..680 * MIB).contains(&p99.0)), "{falling:?}");
        assert_eq!(falling.memory, Some(Bytes(660 * MIB)));
    }

    #[test]
    fn the_usual_leaves_the_last_five_minutes_out() {
        let usual = followed(
            (15..=2400).step_by(15),
            |at_s| if at_s < 2130.0 { MIB } else { 9 * MIB },
            |at_s| if at_s < 2130.0 { 20.0 } else { 97.5 },
        );
        let past = usual.group(&"/a".into()).unwrap();
        assert_eq!((past.cpu_usual, past.cpu), (Some(Percent(20.0)), Some(Percent(97.5))));
        assert_eq!((past.memory_usual, past.memory), (Some(Bytes(MIB)), Some(Bytes(9 * MIB))));
        let new = followed((15..=450).step_by(15), |_| MIB, |_| 20.0).group(&"/a".into()).unwrap();
        assert_eq!((new.cpu_usual, new.memory_usual), (None, None), "three readings are nothing usual");
    }

    #[test]
    fn nobody_counts_it_is_not_zero() {
        let mut history = History::default();
        (1..60).for_each(|n| history.push(&sample("a", 15.0 * f64::from(n), vec![group("/a", None, None)], vec![])));
        let past = history.group(&"/a".into()).unwrap();
        assert_eq!((past.memory, past.memory_peak, past.memory_usual, past.growth, past.cpu), (None, None, None, None, None));
    }

    #[test]
    fn flat_out_lasts_as_long_as_every_look_says_so() {
        let run = |cpu: &dyn Fn(u32) -> Vec<(u32, Option<f64>)>| {
            let mut history = History::default();
            for n in 1..=20 {
                let top = cpu(n).into_iter().map(|(pid, cpu)| process(pid, 5, MIB, cpu)).collect();
                history.push(&sample("a", f64::from(n) * 30.0, vec![], top));
            }
            history.process(7, 5).map(|past| past.flat_out.0)
        };
        assert_eq!(run(&|_| vec![(7, Some(99.0))]), Some(570.0));
        assert_eq!(run(&|n| vec![(7, Some(if n == 10 { 89.0 } else { 90.0 }))]), Some(300.0), "from the look that said otherwise");
        assert_eq!(run(&|n| vec![(7, Some(if n == 20 { 50.0 } else { 99.0 }))]), Some(0.0));
        // Not among the hottest: others were hotter, and it need not have been busy.
        assert_eq!(run(&|n| if n == 10 { vec![] } else { vec![(7, Some(99.0))] }), Some(330.0));
        assert_eq!(run(&|n| if n > 18 { vec![] } else { vec![(7, Some(99.0))] }), Some(0.0));
        assert_eq!(run(&|_| vec![(8, Some(99.0))]), None);
        // Nobody looked for half an hour.
        let mut history = History::default();
        for at_s in [30.0, 60.0, 1860.0, 1890.0] {
            history.push(&sample("a", at_s, vec![], vec![process(7, 5, MIB, Some(99.0))]));
        }
        assert_eq!(history.process(7, 5).unwrap().flat_out, Seconds(30.0));
        assert_eq!(history.process(7, 6), None, "another process has the pid now");
    }

    #[test]
    fn held_back_is_told_of_the_last_minute() {
        let mut history = History::default();
        let mut push = |at_s: f64, periods: u64, held: u64| {
            let quota = CgroupUse { periods: Some(periods), throttled_periods: Some(held), ..group("/a", None, Some(50.0)) };
            history.push(&sample("a", at_s, vec![quota], vec![]));
            history.group(&"/a".into()).unwrap().throttled
        };
        assert_eq!(push(15.0, 0, 0), None);
        // Never for an hour, then in four of ten.
        for n in 2..240_u32 {
            assert_eq!(push(15.0 * f64::from(n), u64::from(n) * 150, 0), Some(Percent(0.0)));
        }
        let told: Vec<_> = (0..6_u32).map(|n| push(3600.0 + 15.0 * f64::from(n), 36_000 + u64::from(n) * 150, u64::from(n) * 60)).collect();
        assert_eq!(told[5], Some(Percent(40.0)), "{told:?}");
        assert_eq!(told[1], Some(Percent(10.0)), "{told:?}");
        // Made again, it counts from nothing; with nothing to do, nothing is held back.
        assert_eq!(push(3690.0, 10, 10), None);
        assert_eq!(push(3705.0, 10, 10), None);
        assert_eq!(push(3720.0, 30, 20), Some(Percent(50.0)));
    }

    #[test]
    fn what_was_taken_over_is_entered_once() {
        let mut history = History::default();
        for n in 1..=100 {
            let mut s = sample("a", f64::from(n) * 5.0, vec![group("/a", Some(MIB), Some(95.0))], vec![process(7, 5, MIB, Some(95.0))]);
            let behind = f64::from((n - 1) % 6) * 5.0;
            if let Observed::Value { age_s, .. } = &mut s.readings.cgroups {
                *age_s = behind;
            }
            if let Observed::Value { age_s, .. } = &mut s.readings.processes {
                *age_s = behind;
            }
            history.push(&s);
        }
        let consumers = history.consumers();
        assert_eq!(consumers.groups.all[0].1.fine.len(), 11, "five minutes, one in thirty seconds");
        assert_eq!(consumers.processes.all[0].1.fine, consumers.groups.all[0].1.fine);
        assert_eq!(consumers.processes.all[0].1.seen_s, 485.0);
    }

    /// Sweeps as fast as they may come, for longer than is kept, of more than are kept, with the longest names.
    #[test]
    fn it_is_of_fixed_size_and_forgets_who_was_longest_unseen() {
        let long = |n: u32| HostPath::from_bytes(format!("/{n:0>width$}", width = Consumers::LONGEST_PATH - 1));
        let mut consumers = Consumers::default();
        for n in 0..5000_u32 {
            // Forty are always there, the others come and go.
            let ids = (0..40).chain(std::iter::once(100 + n / 10));
            let groups = ids.clone().map(|id| CgroupUse {
                path: long(id),
                periods: Some(u64::from(n)),
                throttled_periods: Some(0),
                ..group("", Some(MIB), Some(1.0))
            });
            let processes = ids.map(|id| process(id, 1, MIB, Some(1.0)));
            consumers.push(&sample("a", 5.0 + 4.5 * f64::from(n), groups.collect(), processes.collect()));
        }
        assert_eq!((consumers.groups.all.len(), consumers.processes.all.len()), (64, 64));
        for id in (0..40).chain(600 - 24..600) {
            assert!(consumers.group(&long(id)).is_some() && consumers.process(id, 1).is_some(), "{id}");
        }
        assert!(consumers.group(&long(600 - 25)).is_none());
        let ring = |track: &Track| {
            track.fine.capacity() * size_of::<Reading>()
                + track.coarse.capacity() * size_of::<Reading>()
                + track.quota.capacity() * size_of::<(f64, u64, u64)>()
        };
        let bytes = |consumers: &Consumers| {
            let Consumers { groups, processes } = consumers;
            groups.all.capacity() * size_of::<(HostPath, Track)>()
                + processes.all.capacity() * size_of::<((u32, u64), Track)>()
                + groups.all.iter().map(|(path, track)| path.as_bytes().len() + ring(track)).sum::<usize>()
                + processes.all.iter().map(|(_, track)| ring(track)).sum::<usize>()
        };
        let taken = bytes(&consumers);
        assert!(taken <= Consumers::BYTES && taken > Consumers::BYTES / 2, "{taken} of {}", Consumers::BYTES);
        const { assert!(Consumers::BYTES < 1 << 20) };
        // Handed on, it is the same, and takes no more after the next sweep.
        let json = serde_json::to_string(&consumers).unwrap();
        assert!(json.len() < 2 << 20, "{}", json.len());
        let mut again: Consumers = serde_json::from_str(&json).unwrap();
        assert_eq!(again, consumers);
        let top = consumers.groups.all.iter().map(|(path, _)| CgroupUse { path: path.clone(), ..group("", Some(MIB), None) }).collect();
        for n in 0..20 {
            again.push(&sample("a", 30_000.0 + 60.0 * f64::from(n), Vec::clone(&top), vec![]));
        }
        assert!(bytes(&again) <= Consumers::BYTES, "{} of {}", bytes(&again), Consumers::BYTES);
        // A name that is too long is not followed, and what nobody saw for six hours is forgotten.
        again.push(&sample("a", 60_000.0, vec![group(&"x".repeat(Consumers::LONGEST_PATH + 1), None, None)], vec![process(9, 9, 0, None)]));
        assert_eq!((again.groups.all.len(), again.processes.all.len()), (0, 1));
    }

    #[test]
    fn another_boot_forgets_all() {
        let mut history = followed((15..=900).step_by(15), |_| MIB, |_| 20.0);
        assert!(history.group(&"/a".into()).is_some());
        history.push(&sample("b", 20.0, vec![], vec![]));
        assert_eq!(history.group(&"/a".into()), None);
    }

    /// A file of another hand, or of another version, cannot make it fail.
    #[test]
    fn what_was_saved_may_be_anything() {
        let mut consumers = Consumers::default();
        (1..40).for_each(|n| consumers.push(&sample("a", 15.0 * f64::from(n), vec![group("/a", Some(MIB), Some(5.0))], vec![])));
        let whole = serde_json::to_value(&consumers).unwrap();
        let many: Vec<_> = (0..1000).map(|n| serde_json::json!([n, u32::MAX - 1, n])).collect();
        for (part, value) in [
            ("fine", serde_json::json!([])),
            ("fine", serde_json::json!(many)),
            ("coarse", serde_json::json!(many.iter().rev().collect::<Vec<_>>())),
            ("seen_s", serde_json::json!(1e300)),
            ("flat_out_s", serde_json::json!(1e300)),
            ("quota", serde_json::json!([[1e300, u64::MAX, 0], [0.0, 0, u64::MAX]])),
            ("newest", serde_json::Value::Null),
        ] {
            let mut odd = whole.clone();
            odd["groups"]["all"][0][1][part] = value;
            odd["groups"]["all"] = serde_json::json!(vec![odd["groups"]["all"][0].clone(); 200]);
            let mut odd: Consumers = serde_json::from_value(odd).unwrap();
            for n in 40..200 {
                let _past = odd.group(&"/a".into());
                odd.push(&sample("a", 15.0 * f64::from(n), vec![group("/a", Some(MIB), Some(5.0)), group("/b", None, None)], vec![]));
            }
            assert!(odd.groups.all.len() <= Consumers::MOST);
            assert!(odd.groups.all[0].1.coarse.len() <= Track::COARSE);
        }
        assert_eq!(serde_json::from_str::<Consumers>("{}").unwrap(), Consumers::default());
    }
}
