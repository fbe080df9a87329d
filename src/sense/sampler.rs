//! One sample from many sources, each as often as it is worth, none of which can hold up the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

use super::Listening;
use super::budget::Budget;
use super::filesystems::{self, DiskMap};
use super::slow::{Slow, timed};
use super::source::{Source, Track};
use crate::host::{Read, ReadError, ReadHost};
use crate::model::{JournalEntry, JournalLog, Observed, Readings, Sample, SourceState, Stall};

/// The hottest and largest processes and groups that are kept by name.
const TOP: usize = 20;
/// Where pressure is polled: from this share of the time on (some, avg10), so often.
const PRESSED_PERCENT: f64 = 5.0;
const PRESSED_S: f64 = 1.0;
/// Samples never come more rarely than this for the budget's sake: `detect` takes 15 s without a reading for a broken window.
pub const LONGEST_PAUSE_S: f64 = 10.0;
/// Entries of the journal that are kept.
const RECENT: usize = 256;
/// Less than this is not told as hanging: it may be under way.
const STUCK_AFTER_S: f64 = 2.0;

/// What is to be asked besides what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Nothing: samples come on a clock.
    Due,
    /// Something happened: the sweeps as well, while whoever it was is still there.
    Sweep,
    /// Nobody gets on for want of memory: what tells of memory, at once and nothing else; with the sweeps, who has it.
    Stall { sweep: bool },
    /// All that every sample asks, due or not.
    Host,
    /// That, and all processes.
    Processes,
    /// Every source once, also those that take their time.
    Everything,
}

/// Takes samples. Each source keeps its own state: what it said last, and since when it has not answered.
pub struct Sampler {
    host: Arc<dyn ReadHost>,
    listening: Option<Listening>,
    /// Seconds between two samples, as configured.
    every_s: f64,
    slow: Slow,
    disk_map: DiskMap,
    tracks: BTreeMap<Source, Track>,
    budget: Budget,
    /// CPU seconds of this thread, and the boot clock, at the end of the sample before.
    spent: Option<(f64, f64)>,
    readings: Readings,
    journal: VecDeque<JournalEntry>,
    /// Nobody tells when pressure rises.
    polls_pressure: bool,
    stall: Option<Stall>,
    sample_before: Option<Arc<Sample>>,
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampler").field("every_s", &self.every_s).field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl Sampler {
    /// `every_s`: seconds between two samples.
    pub fn new(host: Arc<dyn ReadHost>, every_s: f64) -> Self {
        Self {
            host,
            listening: None,
            every_s,
            slow: Slow::default(),
            disk_map: DiskMap::default(),
            tracks: BTreeMap::new(),
            budget: Budget::of(0.005),
            spent: None,
            readings: Readings::none("not asked yet"),
            journal: VecDeque::new(),
            polls_pressure: false,
            stall: None,
            sample_before: None,
        }
    }

    /// Takes over what the host tells by itself.
    #[must_use]
    pub fn listening(mut self, listening: Listening) -> Self {
        self.listening = Some(listening);
        self
    }

    /// Nobody tells when pressure rises: it is polled every second while there is some.
    #[must_use]
    pub fn polling_pressure(mut self) -> Self {
        self.polls_pressure = true;
        self
    }

    /// Tells of this stall with every sample from the next one on, until there is another.
    pub fn told_of(&mut self, stall: Stall) {
        self.stall = Some(stall);
    }

    /// As configured now, from the next sample on: seconds between two samples, and the share of one core that they may cost.
    pub fn keep_to(&mut self, every_s: f64, allowed: f64) {
        self.every_s = every_s;
        self.budget.allow(allowed);
    }

    /// Seconds until the next sample is to begin, by the clock and the budget.
    pub fn pause_s(&self) -> f64 {
        if self.is_pressed() { PRESSED_S } else { self.sample_every_s() }
    }

    /// Stretched only so far that no window of detection breaks for want of a sample, and no watchdog.
    fn sample_every_s(&self) -> f64 {
        (self.every_s * self.budget.stretch()).min(self.every_s.max(LONGEST_PAUSE_S))
    }

    /// Tasks stall, and only looking tells how it goes on.
    fn is_pressed(&self) -> bool {
        let Some(sample) = self.sample_before.as_ref().filter(|_| self.polls_pressure) else { return false };
        let all = [&sample.readings.cpu_pressure, &sample.io_pressure, &sample.readings.memory_pressure];
        all.iter().any(|p| p.value().is_some_and(|p| p.some_avg10 >= PRESSED_PERCENT))
    }

    /// By how much intervals are longer than configured; 1: not at all.
    pub fn stretch(&self) -> f64 {
        self.budget.stretch()
    }

    /// Looks at the host now. Blocks, but never for longer than a few seconds, and only when something has begun to hang.
    pub fn sample(&mut self, want: Want) -> Arc<Sample> {
        let at = self.host.now();
        let now_s = at.uptime_s;
        if !matches!(want, Want::Stall { .. }) {
            self.slow.ask(&self.host, self.every_s, now_s, want == Want::Everything);
        }
        let due: Vec<Source> = Source::ALL.into_iter().filter(|s| self.is_asked(*s, want, now_s)).collect();
        let before = self.sample_before.clone();
        // What is not asked this time is as it was.
        let (mut filesystems, mut disks, mut io_pressure) = (None, None, None);
        let (host, disk_map) = (Arc::clone(&self.host), &self.disk_map);
        let (tracks, readings) = (&mut self.tracks, &mut self.readings);
        let listening = self.listening.as_ref();
        for source in due {
            let track = tracks.entry(source).or_default();
            let r = &mut *readings;
            match source {
                Source::Filesystems => ask(track, filesystems.insert(not_asked()), now_s, || filesystems::look(&*host, disk_map)),
                Source::Disks => ask(track, disks.insert(not_asked()), now_s, || host.disk_io()),
                Source::Cpu => ask(track, &mut r.cpu, now_s, || host.cpu_stat()),
                Source::Load => ask(track, &mut r.load, now_s, || host.load()),
                Source::Memory => ask(track, &mut r.memory, now_s, || host.memory()),
                Source::Vmstat => ask(track, &mut r.vmstat, now_s, || host.vmstat()),
                Source::Pressure => {
                    // One source to whoever looks, which fares as the last does: a kernel has the other three files or none.
                    let mut took_s = 0.0;
                    ask(track, &mut r.irq_stalled_us, now_s, || host.irq_stalled_us());
                    took_s += track.duration_s.unwrap_or_default();
                    ask(track, &mut r.cpu_pressure, now_s, || host.cpu_pressure());
                    took_s += track.duration_s.unwrap_or_default();
                    ask(track, &mut r.memory_pressure, now_s, || host.memory_pressure());
                    took_s += track.duration_s.unwrap_or_default();
                    ask(track, io_pressure.insert(not_asked()), now_s, || host.io_pressure());
                    track.duration_s = track.duration_s.map(|last_s| took_s + last_s);
                }
                Source::Network => ask(track, &mut r.network, now_s, || host.network()),
                Source::Interfaces => ask(track, &mut r.interfaces, now_s, || host.interfaces()),
                Source::FileHandles => ask(track, &mut r.file_handles, now_s, || host.file_handles()),
                Source::Conntrack => ask(track, &mut r.conntrack, now_s, || host.conntrack()),
                Source::Clock => ask(track, &mut r.clock, now_s, || host.clock_sync()),
                Source::Identity => ask(track, &mut r.identity, now_s, || host.identity()),
                Source::Processes => ask(track, &mut r.processes, now_s, || host.processes(TOP)),
                Source::Cgroups => ask(track, &mut r.cgroups, now_s, || host.cgroups(TOP)),
                Source::Units => r.units = told(track, source, now_s, listening.map(Listening::units)),
                Source::KernelLog => r.kernel_log = told(track, source, now_s, listening.map(Listening::kernel_log)),
                Source::Journal => r.journal = journal(track, now_s, listening, &mut self.journal),
                Source::Node | Source::Writes | Source::Requests => {}
            }
        }
        let mut sample = Sample {
            at,
            filesystems: filesystems.unwrap_or_else(|| of(before.as_deref(), |b| b.filesystems.clone())),
            disks: disks.unwrap_or_else(|| of(before.as_deref(), |b| b.disks.clone())),
            io_pressure: io_pressure.unwrap_or_else(|| of(before.as_deref(), |b| b.io_pressure.clone())),
            node_disk_pressure: self.slow.node(now_s),
            stall: self.stall,
            readings: Readings { requests: self.slow.requests(now_s), ..self.readings.clone() },
        };
        self.grow_old(&mut sample, now_s);
        self.take_over_trials(&mut sample, now_s);
        self.settle(now_s);
        let sample = Arc::new(sample);
        self.sample_before = Some(Arc::clone(&sample));
        sample
    }

    fn is_asked(&self, source: Source, want: Want, now_s: f64) -> bool {
        if source.is_slow() {
            return false;
        }
        let interval_s = match source {
            Source::Pressure if self.is_pressed() => PRESSED_S,
            _ if source.is_of_every_sample() => self.sample_every_s(),
            _ => source.interval_s(self.every_s) * self.budget.stretch(),
        };
        let due = self.tracks.get(&source).is_none_or(|track| track.is_due(interval_s, now_s));
        match want {
            Want::Due => due,
            Want::Sweep => due || source.is_sweep(),
            Want::Stall { sweep } => source.is_of_memory() || sweep && matches!(source, Source::Processes | Source::Cgroups),
            Want::Host => source.is_of_every_sample(),
            Want::Processes => source.is_of_every_sample() || source == Source::Processes,
            Want::Everything => true,
        }
    }

    /// What was not asked this time is as old as it is: whoever takes a counter of before for one of now finds a disk idle that is not.
    fn grow_old(&self, sample: &mut Sample, now_s: f64) {
        let age = |source| self.tracks.get(&source).and_then(|t: &Track| t.age_s(now_s));
        let r = &mut sample.readings;
        grow_old(&mut sample.filesystems, age(Source::Filesystems));
        grow_old(&mut sample.disks, age(Source::Disks));
        grow_old(&mut sample.io_pressure, age(Source::Pressure));
        grow_old(&mut r.cpu, age(Source::Cpu));
        grow_old(&mut r.load, age(Source::Load));
        grow_old(&mut r.memory, age(Source::Memory));
        grow_old(&mut r.vmstat, age(Source::Vmstat));
        grow_old(&mut r.cpu_pressure, age(Source::Pressure));
        grow_old(&mut r.memory_pressure, age(Source::Pressure));
        grow_old(&mut r.network, age(Source::Network));
        grow_old(&mut r.interfaces, age(Source::Interfaces));
        grow_old(&mut r.file_handles, age(Source::FileHandles));
        grow_old(&mut r.conntrack, age(Source::Conntrack));
        grow_old(&mut r.clock, age(Source::Clock));
        grow_old(&mut r.identity, age(Source::Identity));
        grow_old(&mut r.processes, age(Source::Processes));
        grow_old(&mut r.cgroups, age(Source::Cgroups));
        grow_old(&mut r.units, age(Source::Units));
        grow_old(&mut r.kernel_log, age(Source::KernelLog));
        grow_old(&mut r.journal, age(Source::Journal));
    }

    fn take_over_trials(&self, sample: &mut Sample, now_s: f64) {
        let (Observed::Value { value: filesystems, .. }, Observed::Value { value: trials, age_s }) =
            (&mut sample.filesystems, self.slow.writes(now_s))
        else {
            return;
        };
        for trial in trials {
            let Observed::Value { value, .. } = trial.accepted else { continue };
            for fs in filesystems.iter_mut().filter(|fs| fs.mount.device == trial.device) {
                fs.takes_writes = Observed::Value { value, age_s };
            }
        }
    }

    /// What this sample has cost goes into the budget.
    fn settle(&mut self, now_s: f64) {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        let used_s = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        if let Some((before_s, then_s)) = self.spent.replace((used_s, now_s)) {
            self.budget.spent(used_s - before_s, now_s - then_s);
        }
    }

    /// Sources and mounts that have not answered, as of the last sample, and for how many seconds.
    pub fn stuck(&self) -> BTreeMap<String, f64> {
        let mut stuck: BTreeMap<String, f64> = self.stuck_mounts().collect();
        if let Some((source, for_s)) = self.slow.waits().filter(|(_, for_s)| *for_s >= STUCK_AFTER_S) {
            stuck.insert(source.name().to_owned(), for_s);
        }
        stuck
    }

    /// How every source fares.
    pub fn sources(&self) -> Vec<SourceState> {
        let now_s = self.host.now().uptime_s;
        let waits = self.slow.waits();
        let slow = self.slow.tracks();
        let track = |source| slow.iter().find(|(s, _)| *s == source).map(|(_, t)| t).or_else(|| self.tracks.get(&source));
        let state = |source: Source| {
            let interval_s = match source {
                _ if source.is_slow() => source.interval_s(self.every_s),
                _ if source.is_of_every_sample() => self.sample_every_s(),
                _ => source.interval_s(self.every_s) * self.budget.stretch(),
            };
            let stuck_s = waits.filter(|(s, for_s)| *s == source && *for_s >= STUCK_AFTER_S).map(|(_, for_s)| for_s);
            track(source).cloned().unwrap_or_default().state(source, interval_s, now_s, stuck_s)
        };
        let mut all: Vec<SourceState> = Source::ALL.into_iter().map(state).collect();
        // A mount that hangs is told under its own name: the source goes on without it.
        for (mount, for_s) in self.stuck_mounts() {
            all.push(SourceState {
                name: mount.into(),
                collectors: &[],
                interval_s: None,
                duration_s: None,
                success: false,
                age_s: None,
                stuck_s: Some(for_s),
            });
        }
        all
    }

    fn stuck_mounts(&self) -> impl Iterator<Item = (String, f64)> {
        let filesystems = self.sample_before.as_ref().and_then(|s| s.filesystems.value());
        filesystems.into_iter().flatten().filter_map(|fs| Some((format!("mount {}", fs.mount.path), fs.stuck_for_s?)))
    }

    /// Where a run after this one goes on listening.
    pub fn places(&self) -> Option<(Option<u64>, Option<String>)> {
        self.listening.as_ref().map(Listening::places)
    }
}

fn ask<T>(track: &mut Track, into: &mut Observed<T>, now_s: f64, read: impl FnOnce() -> Read<T>) {
    let (read, took_s) = timed(read);
    *into = track.enter(read, now_s, took_s);
}

/// Takes what the journal told since the last time; only the latest of it is kept.
fn journal(track: &mut Track, now_s: f64, listening: Option<&Listening>, recent: &mut VecDeque<JournalEntry>) -> Observed<JournalLog> {
    let Some(listening) = listening else { return told(track, Source::Journal, now_s, None) };
    let read = listening.journal().map(|new| {
        recent.extend(new.entries);
        recent.drain(..recent.len().saturating_sub(RECENT));
        JournalLog { told: new.told, dropped: new.dropped, gaps: new.gaps, recent: recent.iter().cloned().collect() }
    });
    track.enter(read, now_s, 0.0)
}

/// What was told meanwhile by somebody who listens.
fn told<T>(track: &mut Track, source: Source, now_s: f64, told: Option<Read<T>>) -> Observed<T> {
    let read = match told {
        // Whoever listens had it or should have: its absence is a failure, not a trait of the host.
        Some(Err(ReadError::NotHere { what, why })) => Err(ReadError::Parse { what, why }),
        Some(read) => read,
        None => Err(ReadError::NotHere { what: source.name().to_owned(), why: "this look does not wait for it".to_owned() }),
    };
    track.enter(read, now_s, 0.0)
}

fn grow_old<T>(observed: &mut Observed<T>, by_s: Option<f64>) {
    if let (Observed::Value { age_s, .. }, Some(by_s)) = (observed, by_s) {
        *age_s = by_s;
    }
}

fn of<T>(before: Option<&Sample>, part: impl FnOnce(&Sample) -> Observed<T>) -> Observed<T> {
    before.map_or_else(not_asked, part)
}

fn not_asked<T>() -> Observed<T> {
    Observed::unavailable("not asked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::LiveHost;
    use crate::model::StallTeller;

    #[test]
    fn a_sweep_between_two_samples_makes_nothing_young_that_it_did_not_read() {
        let host = Arc::new(LiveHost::new(std::path::Path::new("/"), None, None).unwrap());
        let mut sampler = Sampler::new(host, 600.0);
        let first = sampler.sample(Want::Everything);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let swept = sampler.sample(Want::Sweep);
        let age = |observed: &Observed<Vec<crate::model::DiskIo>>| match observed {
            Observed::Value { age_s, .. } => *age_s,
            Observed::Unavailable { why } => panic!("{why}"),
        };
        let between = swept.at.uptime_s - first.at.uptime_s;
        assert!(age(&first.disks) == 0.0 && age(&swept.disks) >= between - 1e-6, "{} after {between}", age(&swept.disks));
        assert!(matches!(swept.readings.cpu, Observed::Value { age_s, .. } if age_s > 0.0));
        assert!(matches!(swept.readings.processes, Observed::Value { age_s, .. } if age_s == 0.0), "that is what it is for");
    }

    #[test]
    fn a_stall_is_told_with_memory_read_anew_and_nothing_that_may_take_its_time() {
        let host = Arc::new(LiveHost::new(std::path::Path::new("/"), None, None).unwrap());
        let mut sampler = Sampler::new(host, 600.0);
        assert_eq!(sampler.sample(Want::Everything).stall, None);
        let stall = Stall { at_s: 7.0, stalled_us: 150_000, within_us: 1_000_000, told_by: StallTeller::Kernel };
        sampler.told_of(stall);
        let read = |sampler: &mut Sampler, sweep| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let sample = sampler.sample(Want::Stall { sweep });
            assert_eq!(sample.stall, Some(stall));
            let now_s = sample.at.uptime_s;
            Source::ALL.into_iter().filter(|s| sampler.tracks.get(s).is_some_and(|t| t.asked_at_s == Some(now_s))).collect::<Vec<_>>()
        };
        assert_eq!(read(&mut sampler, false), [Source::Memory, Source::Vmstat, Source::Pressure]);
        assert_eq!(read(&mut sampler, true), [Source::Memory, Source::Vmstat, Source::Pressure, Source::Processes, Source::Cgroups]);
        assert_eq!(sampler.sample(Want::Due).stall, Some(stall), "it is not forgotten with the next sample");
    }

    #[test]
    fn the_budget_stretches_sweeps_and_leaves_detection_its_samples() {
        let host = Arc::new(LiveHost::new(std::path::Path::new("/"), None, None).unwrap());
        for (every_s, longest_s) in [(1.0, 10.0), (5.0, 10.0), (15.0, 15.0)] {
            let mut sampler = Sampler::new(host.clone(), every_s);
            assert_eq!(sampler.pause_s(), every_s);
            sampler.budget.spent(3600.0, 3600.0);
            assert!(sampler.stretch() > 10.0, "{}", sampler.stretch());
            assert_eq!(sampler.pause_s(), longest_s);
            let interval = |name| sampler.sources().into_iter().find(|s| s.name == name).and_then(|s| s.interval_s).unwrap();
            assert_eq!(interval("filesystems"), longest_s);
            assert!(interval("processes") > 6.0 * longest_s);
        }
    }
}
