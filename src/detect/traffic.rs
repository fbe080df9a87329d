//! How the memory of services goes with their requests, over hours.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::rates::{Told, told};
use crate::model::{CgroupUse, RequestCount, Sample, service_of};

/// By unit, one reading a minute of the last six hours: a fixed number of units, in a fixed number of bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Traffic {
    read_s: Option<f64>,
    units: BTreeMap<String, Followed>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Followed {
    /// The count that the next rate is told from, and when it was read, boot clock.
    last: Option<(f64, f64)>,
    /// When, requests a second since the reading before, and bytes then.
    readings: VecDeque<(f64, f64, f64)>,
}

impl Traffic {
    /// Fewer than half an hour of readings are no correlation.
    const FEWEST: usize = 30;
    const MOST: usize = 376;
    const MOST_UNITS: usize = 32;
    const APART_S: f64 = 57.5;
    /// A mean over more than this says nothing of now.
    const GAP_S: f64 = 600.0;
    const OVER_S: f64 = 21_600.0;

    pub(super) fn push(&mut self, sample: &Sample) {
        let Told::Anew(at_s, counts) = told(&sample.readings.requests, sample.at.uptime_s, self.read_s) else { return };
        self.read_s = Some(at_s);
        self.units.retain(|unit, _| counts.iter().any(|count| count.unit == *unit));
        let groups = sample.readings.cgroups.value().map(|groups| groups.top.as_slice()).unwrap_or_default();
        for RequestCount { unit, total } in counts.iter().take(Self::MOST_UNITS) {
            let Some(total) = total.value() else { continue };
            let group = groups.iter().find(|group| service_of(&group.path).as_deref() == Some(unit));
            self.units.entry(unit.clone()).or_default().enter(at_s, *total, group.and_then(memory));
        }
    }

    /// Pearson's correlation of its memory with its rate of requests; `None` while too little of both was seen. What does not move goes with
    /// nothing.
    pub(super) fn correlation(&self, unit: &str) -> Option<f64> {
        let readings = &self.units.get(unit)?.readings;
        if readings.len() < Self::FEWEST {
            return None;
        }
        let n = readings.len() as f64;
        let mean = |of: fn(&(f64, f64, f64)) -> f64| readings.iter().map(of).sum::<f64>() / n;
        let (mean_rate, mean_bytes) = (mean(|r| r.1), mean(|r| r.2));
        let sum =
            |of: &dyn Fn(f64, f64) -> f64| readings.iter().map(|(_, rate, bytes)| of(rate - mean_rate, bytes - mean_bytes)).sum::<f64>();
        let spread = sum(&|rate, _| rate * rate) * sum(&|_, bytes| bytes * bytes);
        Some(if spread > 0.0 { sum(&|rate, bytes| rate * bytes) / spread.sqrt() } else { 0.0 })
    }
}

impl Followed {
    fn enter(&mut self, at_s: f64, total: f64, memory: Option<f64>) {
        let Some((last_s, last)) = self.last.replace((at_s, total)) else { return };
        let apart_s = at_s - last_s;
        // One that was started anew counts from nothing.
        if total < last || apart_s > Traffic::GAP_S {
            return;
        }
        if apart_s < Traffic::APART_S {
            self.last = Some((last_s, last));
            return;
        }
        let Some(memory) = memory else { return };
        self.readings.push_back((at_s, (total - last) / apart_s, memory));
        while self.readings.len() > Traffic::MOST || self.readings.front().is_some_and(|r| at_s - r.0 > Traffic::OVER_S) {
            self.readings.pop_front();
        }
    }
}

fn memory(group: &CgroupUse) -> Option<f64> {
    group.working_set_bytes.or(group.memory_bytes).map(|bytes| bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::history::tests::sample;
    use crate::model::{CgroupVersion, Cgroups, Observed};

    const MIB: f64 = 1048576.0;

    fn seen(minute: u32, total: f64, bytes: f64) -> Sample {
        let mut sample = sample(60.0 * f64::from(minute), 0, 0);
        let group = CgroupUse { path: "/system.slice/shop.service".into(), memory_bytes: Some(bytes as u64), ..CgroupUse::default() };
        sample.readings.cgroups =
            Observed::fresh(Cgroups { version: CgroupVersion::V2, count: 1, top: vec![group], cut: 0, unreadable: 0 });
        sample.readings.requests = Observed::fresh(vec![RequestCount { unit: "shop.service".into(), total: Observed::fresh(total) }]);
        sample
    }

    /// Over so many minutes, with the rate and the memory of each.
    fn followed(minutes: u32, of: impl Fn(f64) -> (f64, f64)) -> Traffic {
        let (mut traffic, mut total) = (Traffic::default(), 0.0);
        for minute in 0..=minutes {
            let (rate, bytes) = of(f64::from(minute));
            total += rate * 60.0;
            traffic.push(&seen(minute, total, bytes));
        }
        traffic
    }

    #[test]
    fn memory_that_follows_requests_is_told_from_memory_that_only_rises() {
        let waves = |minute: f64| 100.0 * (1.0 + (minute / 5.0).sin());
        let follows = followed(120, |m| (waves(m), 500.0 * MIB + waves(m) * MIB));
        assert!(follows.correlation("shop.service").unwrap() > 0.99);
        let leaks = followed(120, |m| (waves(m), 500.0 * MIB + m * MIB));
        assert!(leaks.correlation("shop.service").unwrap().abs() < 0.5);
        let against = followed(120, |m| (waves(m), 500.0 * MIB - waves(m) * MIB));
        assert!(against.correlation("shop.service").unwrap() < -0.99);
        let even = followed(120, |m| (100.0, 500.0 * MIB + m * MIB));
        assert_eq!(even.correlation("shop.service"), Some(0.0), "requests that do not change explain nothing");
        assert_eq!(followed(20, |m| (waves(m), waves(m) * MIB)).correlation("shop.service"), None, "too short to say");
        assert_eq!(follows.correlation("other.service"), None);
    }

    #[test]
    fn a_counter_that_began_anew_is_no_rate_and_what_is_not_asked_any_more_is_forgotten() {
        let mut traffic = followed(40, |_| (100.0, MIB));
        traffic.push(&seen(41, 0.0, MIB));
        assert_eq!(traffic.units["shop.service"].readings.len(), 40);
        traffic.push(&seen(42, 60.0, MIB));
        assert_eq!(traffic.units["shop.service"].readings.back(), Some(&(2520.0, 1.0, MIB)));
        let mut nobody = seen(43, 0.0, MIB);
        nobody.readings.requests = Observed::fresh(vec![]);
        traffic.push(&nobody);
        assert_eq!(traffic.units.len(), 0);
    }

    #[test]
    fn it_is_kept_for_six_hours_and_no_longer() {
        let traffic = followed(1000, |m| (m, m));
        let readings = &traffic.units["shop.service"].readings;
        assert!((355..=Traffic::MOST).contains(&readings.len()), "{}", readings.len());
        assert!(readings.back().unwrap().0 - readings.front().unwrap().0 <= Traffic::OVER_S);
    }
}
