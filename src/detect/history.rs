//! Samples over time, as little of them as forecasts need.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::consumers::{Consumers, Past};
use super::growth::{Growth, Reading};
use super::kills::{GroupKills, Kills};
use super::rates::{Counters, Rates};
use super::traffic::Traffic;
use crate::model::{BootId, FsSample, HostPath, IncidentId, Now, Observed, Percent, Sample, Step};

/// The last [`History::WINDOW_S`] seconds, in at most `MAX_FILESYSTEMS * MAX_READINGS` readings of 24 bytes.
///
/// Everything is measured on the boot clock: a wall clock that jumps changes nothing, another boot starts from nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    boot: Option<BootId>,
    /// Boot-clock seconds of the newest sample.
    newest_s: f64,
    #[serde(with = "pairs")]
    filesystems: BTreeMap<(HostPath, u64), FsHistory>,
    disks: BTreeMap<String, DiskHistory>,
    #[serde(default)]
    counters: Counters,
    #[serde(default)]
    consumers: Consumers,
    #[serde(default)]
    kills: Kills,
    #[serde(default)]
    traffic: Traffic,
    /// Units that this agent has restarted, and when it began to, boot clock.
    #[serde(default)]
    own_restarts: BTreeMap<String, f64>,
    /// What lasts of what this agent has done, by incident. Not carried over: whoever takes an incident up again says it anew.
    #[serde(skip)]
    in_force: BTreeMap<IncidentId, Vec<Step>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct FsHistory {
    readings: VecDeque<Reading>,
    /// It was writable at some time since it was mounted.
    was_writable: bool,
    /// The fewest errors it ever counted: a check of the filesystem sets the counter back.
    fewest_errors: Option<u64>,
    errors: Option<u64>,
    /// The last write that was tried was refused.
    refuses_writes: bool,
}

/// The counter's last move: busy milliseconds at two moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct DiskHistory {
    older: Option<(f64, u64)>,
    newer: (f64, u64),
}

impl History {
    /// Growth is told over half an hour.
    pub const WINDOW_S: f64 = 1800.0;
    const MAX_READINGS: usize = 400;
    /// Samples may come faster under pressure; the window must still span half an hour.
    const MIN_APART_S: f64 = 4.5;
    const MAX_FILESYSTEMS: usize = 512;
    const MAX_DISKS: usize = 512;
    /// Nobody asks for restarts of before.
    const RESTARTS_S: f64 = 7200.0;
    /// As long as a step may take, and a little.
    const RESTART_TAKES_S: f64 = 660.0;
    /// A busy share over less than this is noise.
    const MIN_BUSY_SPAN_S: f64 = 0.5;

    /// Takes the newest sample in. One that is older than the last is ignored.
    pub fn push(&mut self, sample: &Sample) {
        if self.boot.as_ref() != Some(&sample.at.boot) {
            *self = Self { boot: Some(sample.at.boot.clone()), ..Self::default() };
        } else if sample.at.uptime_s <= self.newest_s {
            return;
        }
        let now_s = sample.at.uptime_s;
        self.newest_s = now_s;
        self.counters.push(sample);
        self.consumers.push(sample);
        self.kills.push(sample);
        self.traffic.push(sample);
        if let Observed::Value { value: filesystems, age_s } = &sample.filesystems {
            // What is not mounted any more is forgotten: mounted again, it starts a new life.
            self.filesystems.retain(|(path, device), _| filesystems.iter().any(|f| f.mount.path == *path && f.mount.device == *device));
            for fs in filesystems {
                let key = (fs.mount.path.clone(), fs.mount.device);
                if self.filesystems.len() < Self::MAX_FILESYSTEMS || self.filesystems.contains_key(&key) {
                    self.filesystems.entry(key).or_default().push(fs, now_s - age_s);
                }
            }
        }
        if let Observed::Value { value: disks, age_s } = &sample.disks {
            // As of when it was read: a counter that was taken over from the sample before has not moved, and says nothing new.
            let read_s = now_s - age_s;
            self.disks.retain(|name, _| disks.iter().any(|d| d.name == *name));
            for disk in disks {
                let newer = (read_s, disk.busy_ms);
                let room = self.disks.len() < Self::MAX_DISKS;
                match self.disks.get_mut(&disk.name) {
                    Some(known) if read_s - known.newer.0 >= Self::MIN_BUSY_SPAN_S => {
                        *known = DiskHistory { older: Some(known.newer), newer };
                    }
                    Some(_) => {}
                    None if room => {
                        self.disks.insert(disk.name.clone(), DiskHistory { older: None, newer });
                    }
                    None => {}
                }
            }
        }
    }

    /// Growth over the last half hour; `None` while less than [`Growth::MIN_SPAN`] of it was seen.
    pub fn growth(&self, mount: &HostPath, device: u64) -> Option<Growth> {
        Growth::of(self.filesystem(mount, device)?.readings.iter().copied())
    }

    /// Growth as it was at that moment of this boot, as far as it is remembered: what was freed since then is not in it.
    pub fn growth_at(&self, mount: &HostPath, device: u64, then: &Now) -> Option<Growth> {
        if self.boot.as_ref() != Some(&then.boot) {
            return None;
        }
        Growth::of(self.filesystem(mount, device)?.readings.iter().copied().filter(|(at_s, ..)| *at_s <= then.uptime_s))
    }

    /// Whether it could be written to at some time since it was mounted and watched.
    pub fn was_writable(&self, mount: &HostPath, device: u64) -> bool {
        self.filesystem(mount, device).is_some_and(|f| f.was_writable)
    }

    /// How many errors the filesystem has counted since it was watched; `None` when it counts none.
    pub fn errors_risen(&self, mount: &HostPath, device: u64) -> Option<u64> {
        let fs = self.filesystem(mount, device)?;
        Some(fs.errors?.saturating_sub(fs.fewest_errors?))
    }

    /// Whether the last write that anybody tried was refused. Not trying says nothing: it stays as it was.
    pub fn refuses_writes(&self, mount: &HostPath, device: u64) -> bool {
        self.filesystem(mount, device).is_some_and(|f| f.refuses_writes)
    }

    /// Share of the time between the last two samples in which the disk had something to do.
    pub fn busy(&self, disk: &str) -> Option<Percent> {
        let disk = self.disks.get(disk)?;
        // The newest counters must be of now: a disk that could not be read since says nothing about this moment.
        if self.newest_s - disk.newer.0 > super::Detector::MAX_GAP {
            return None;
        }
        let (since_s, since_ms) = disk.older?;
        let busy_ms = disk.newer.1.checked_sub(since_ms)?;
        Some(Percent((busy_ms as f64 / 10.0 / (disk.newer.0 - since_s)).min(100.0)))
    }

    /// How fast the host's own counters move.
    pub fn rates(&self) -> Rates {
        self.counters.rates()
    }

    /// What lasts of what this agent has done for any incident and has not taken back: it is nobody's own doing, and no news.
    pub fn in_force(&self) -> Vec<Step> {
        self.in_force.values().flatten().cloned().collect()
    }

    pub fn set_in_force(&mut self, incident: &IncidentId, steps: Vec<Step>) {
        if steps.is_empty() {
            self.in_force.remove(incident);
        } else {
            self.in_force.insert(incident.clone(), steps);
        }
    }

    /// This agent restarts that unit now.
    pub fn begins_restart(&mut self, unit: &str, now: &Now) {
        self.own_restarts.retain(|_, began_s| now.uptime_s - *began_s < Self::RESTARTS_S);
        self.own_restarts.insert(unit.to_owned(), now.uptime_s);
    }

    /// Whether the start of a unit, at that moment of the boot clock, was this agent's last restart of it.
    pub fn is_own_restart(&self, unit: &str, started_s: f64) -> bool {
        self.own_restarts.get(unit).is_some_and(|began_s| (-1.0..=Self::RESTART_TAKES_S).contains(&(started_s - began_s)))
    }

    /// What is remembered of a cgroup, by its path below the hierarchy's root.
    pub fn group(&self, path: &HostPath) -> Option<Past> {
        self.consumers.group(path)
    }

    /// Whether it was there and among those that are told at some moment between these two, boot clock.
    pub fn group_seen(&self, path: &HostPath, from_s: f64, to_s: f64) -> bool {
        self.consumers.group_seen(path, from_s, to_s)
    }

    #[cfg(test)]
    pub(super) fn consumers(&self) -> &Consumers {
        &self.consumers
    }

    /// What is remembered of a process.
    pub fn process(&self, pid: u32, start_ticks: u64) -> Option<Past> {
        self.consumers.process(pid, start_ticks)
    }

    /// How a service's memory goes with its rate of requests, -1 to 1; `None` while too little of both was seen.
    pub fn traffic(&self, unit: &str) -> Option<f64> {
        self.traffic.correlation(unit)
    }

    /// The groups of the last sample in which they could be read, each with when its count of out-of-memory kills last rose.
    pub fn group_kills(&self) -> impl Iterator<Item = GroupKills<'_>> {
        self.kills.groups()
    }

    /// Seconds since the host's own count of out-of-memory kills rose; infinite if it has not since it is watched, `None` if it was never read.
    pub fn oom_killed_ago_s(&self) -> Option<f64> {
        self.kills.host_ago_s(self.newest_s)
    }

    /// Whether it is of the boot that runs now: of another it says nothing.
    pub fn is_of(&self, boot: &BootId) -> bool {
        self.boot.as_ref() == Some(boot)
    }

    /// Every filesystem of the last mount table that could be read.
    pub fn filesystems(&self) -> impl Iterator<Item = (&HostPath, u64)> {
        self.filesystems.keys().map(|(path, device)| (path, *device))
    }

    fn filesystem(&self, mount: &HostPath, device: u64) -> Option<&FsHistory> {
        self.filesystems.get(&(mount.clone(), device))
    }
}

/// A map whose keys are no text, as a list of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(map: &BTreeMap<K, V>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Vec::deserialize(from).map(|pairs: Vec<(K, V)>| pairs.into_iter().collect())
    }
}

impl FsHistory {
    fn push(&mut self, fs: &FsSample, now_s: f64) {
        self.was_writable |= !fs.mount.read_only;
        if let Some(takes) = fs.takes_writes.value() {
            self.refuses_writes = !takes;
        }
        self.errors = fs.ext4_errors.value().copied();
        if let Some(errors) = self.errors {
            self.fewest_errors = Some(self.fewest_errors.map_or(errors, |fewest| fewest.min(errors)));
        }
        let Some(usage) = fs.usage.value() else { return };
        if self.readings.back().is_some_and(|last| now_s - last.0 < History::MIN_APART_S) {
            return;
        }
        self.readings.push_back((now_s, usage.used(), usage.inodes.saturating_sub(usage.inodes_free)));
        while self.readings.len() > History::MAX_READINGS || self.readings.front().is_some_and(|f| now_s - f.0 > History::WINDOW_S) {
            self.readings.pop_front();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{DiskIo, FsKind, FsUsage, Mount};

    const GIB: u64 = 1 << 30;

    pub(in crate::detect) fn sample(uptime_s: f64, wall_s: i64, used: u64) -> Sample {
        let fs = FsSample {
            mount: Mount {
                path: "/data".into(),
                device: 7,
                source: "/dev/vdb".into(),
                fs_type: "ext4".into(),
                kind: FsKind::Local,
                read_only: false,
                also_at: vec![],
            },
            usage: Observed::fresh(FsUsage {
                total: 100 * GIB,
                free: 100 * GIB - used,
                available: 100 * GIB - used,
                inodes: 1000,
                inodes_free: 500,
            }),
            stuck_for_s: None,
            takes_writes: Observed::unavailable("not tried"),
            ext4_errors: Observed::fresh(0),
            disks: vec!["vdb".into()],
        };
        Sample {
            at: Now { wall: jiff::Timestamp::from_second(wall_s).unwrap(), boot: BootId("a".into()), uptime_s },
            filesystems: Observed::fresh(vec![fs]),
            disks: Observed::fresh(vec![DiskIo {
                name: "vdb".into(),
                busy_ms: (uptime_s * 500.0) as u64,
                read_bytes: 0,
                written_bytes: 0,
                ..DiskIo::default()
            }]),
            io_pressure: Observed::unavailable("no PSI"),
            node_disk_pressure: Observed::unavailable("no kubelet"),
            stall: None,
            readings: crate::model::Readings::none("not asked"),
        }
    }

    fn filled(wall: impl Fn(usize) -> i64) -> History {
        let mut history = History::default();
        for i in 0..360 {
            history.push(&sample(1000.0 + 5.0 * i as f64, wall(i), 60 * GIB + i as u64 * 5 * 1024 * 1024));
        }
        history
    }

    #[test]
    fn growth_is_the_slope_and_the_wall_clock_does_not_matter() {
        let steady = filled(|i| 1_000_000 + 5 * i as i64).growth(&"/data".into(), 7).unwrap();
        assert!((steady.bytes_per_s - 1024.0 * 1024.0).abs() < 1.0, "{steady:?}");
        let jumping = filled(|i| if i % 2 == 0 { 1_000_000 } else { 1_007_200 }).growth(&"/data".into(), 7).unwrap();
        assert_eq!(steady, jumping);
    }

    #[test]
    fn what_was_freed_later_is_not_in_the_growth_of_before() {
        let mut history = filled(|_| 0);
        let raised = Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId("a".into()), uptime_s: 2795.0 };
        let before = history.growth(&"/data".into(), 7);
        for i in 0..12 {
            history.push(&sample(2800.0 + 5.0 * f64::from(i), 0, 30 * GIB));
        }
        assert!(history.growth(&"/data".into(), 7).unwrap().bytes_per_s < 0.0);
        let then = history.growth_at(&"/data".into(), 7, &raised).unwrap();
        assert!((then.bytes_per_s / before.unwrap().bytes_per_s - 1.0).abs() < 0.01, "{then:?}");
        assert_eq!(history.growth_at(&"/data".into(), 7, &Now { boot: BootId("b".into()), ..raised }), None);
    }

    #[test]
    fn it_comes_back_whole() {
        let history = filled(|_| 0);
        let again: History = serde_json::from_str(&serde_json::to_string(&history).unwrap()).unwrap();
        assert_eq!(again, history);
        assert!(again.is_of(&BootId("a".into())) && !again.is_of(&BootId("b".into())));
    }

    #[test]
    fn too_short_a_look_is_no_forecast() {
        let mut history = History::default();
        for i in 0..59 {
            history.push(&sample(5.0 * f64::from(i), 0, GIB * i as u64));
        }
        assert_eq!(history.growth(&"/data".into(), 7), None);
        history.push(&sample(600.0, 0, 60 * GIB));
        assert!(history.growth(&"/data".into(), 7).is_some());
        assert_eq!(history.growth(&"/data".into(), 8), None, "another device on the same mount point has no past");
    }

    #[test]
    fn another_boot_starts_from_nothing() {
        let mut history = filled(|_| 0);
        let mut after = sample(5.0, 0, GIB);
        after.at.boot = BootId("b".into());
        history.push(&after);
        assert_eq!(history.growth(&"/data".into(), 7), None);
    }

    #[test]
    fn fast_sampling_neither_grows_without_bound_nor_shortens_the_window() {
        let mut history = History::default();
        for i in 0..40_000 {
            history.push(&sample(f64::from(i) * 0.1, 0, GIB));
        }
        let readings = &history.filesystem(&"/data".into(), 7).unwrap().readings;
        assert!(readings.len() <= History::MAX_READINGS);
        assert!(readings.back().unwrap().0 - readings.front().unwrap().0 > 1790.0);
    }

    #[test]
    fn a_disk_is_busy_for_the_time_its_counter_moved() {
        let busy = filled(|_| 0).busy("vdb").unwrap();
        assert!((busy.0 - 50.0).abs() < 0.5, "{busy}");
        assert_eq!(filled(|_| 0).busy("vda"), None);
    }

    #[test]
    fn a_counter_that_was_not_read_anew_leaves_a_disk_as_busy_as_it_was() {
        let mut history = filled(|_| 0);
        let before = history.busy("vdb");
        let mut swept = sample(1000.0 + 5.0 * 359.0 + 2.0, 0, 60 * GIB);
        swept.disks = sample(1000.0 + 5.0 * 359.0, 0, 0).disks;
        let Observed::Value { age_s, .. } = &mut swept.disks else { unreachable!() };
        *age_s = 2.0;
        history.push(&swept);
        assert_eq!(history.busy("vdb"), before);
    }

    #[test]
    fn errors_count_from_the_lowest_seen() {
        let mut history = History::default();
        for (t, errors) in [(1.0, 5), (6.0, 5), (11.0, 7)] {
            let mut s = sample(t, 0, GIB);
            let Observed::Value { value, .. } = &mut s.filesystems else { unreachable!() };
            value[0].ext4_errors = Observed::fresh(errors);
            history.push(&s);
            assert_eq!(history.errors_risen(&"/data".into(), 7), Some(errors - 5));
        }
    }

    #[test]
    fn an_unmounted_filesystem_is_forgotten() {
        let mut history = filled(|_| 0);
        let mut gone = sample(5000.0, 0, GIB);
        gone.filesystems = Observed::fresh(vec![]);
        history.push(&gone);
        assert!(!history.was_writable(&"/data".into(), 7));
    }
}
