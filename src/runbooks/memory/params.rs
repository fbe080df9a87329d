//! What can be set in `[memory]` of `agent.toml`. Every default is here, and the specification's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::guard::Limits;
use crate::model::{Bytes, Percent, Seconds, SnapshotBy};
use crate::runbooks::Problem;

/// Times may be written as seconds or `"24h"`, sizes as bytes or `"100M"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// `memory_pressure_high` at this usage, (MemTotal - MemAvailable) / MemTotal, ... Default: 90.
    pub used_high_percent: Percent,
    /// ... once it has lasted this long, ... Default: 90 s.
    pub used_hold_s: Seconds,
    /// ... while some task waits for memory this share of the last 10 s, or MemAvailable still falls. Default: 10.
    pub pressure_percent: Percent,
    /// It clears under this usage, and nothing more is done under it. Default: 85.
    pub used_floor_percent: Percent,
    /// `memory_stall` when all tasks have waited for memory for this long within one second. Default: 150 ms.
    pub stall_s: Seconds,
    /// `swap_thrash` at so many pages swapped in a second ... Default: 500.
    pub swap_in_pages_per_s: f64,
    /// ... while all tasks wait for memory this share of the last 10 s, ... Default: 5.
    pub swap_pressure_percent: Percent,
    /// ... for this long. Default: 30 s.
    pub swap_hold_s: Seconds,
    /// It clears under so many pages a second. Default: 10.
    pub swap_floor_pages_per_s: f64,
    /// `oom_killed` and `runtime_heap_exhausted` clear when it has not happened again for this long. Default: 10 min.
    pub event_hold_s: Seconds,
    /// `unit_near_limit` when a unit's working set is at this share of its memory limit ... Default: 90.
    pub unit_near_percent: Percent,
    /// ... for this long. Default: 60 s.
    pub unit_hold_s: Seconds,
    /// It clears, and a unit is well, under this share. Default: 70.
    pub unit_floor_percent: Percent,

    /// How many of the largest groups and processes are looked at. Default: 5.
    pub top: usize,
    /// A release is to blame for growth that began at most this long after it. Default: 60 min.
    pub deploy_within_s: Seconds,
    /// A group is well beyond its usual at this share of it. Default: 150.
    pub noisy_percent: Percent,
    /// Memory that has risen for this long is a leak, ... Default: 2h.
    pub leak_over_s: Seconds,
    /// ... if it rose by this share of what is used now, ... Default: 10.
    pub leak_rise_percent: Percent,
    /// ... or that rises again after so many restarts by systemd, ... Default: 3.
    pub leak_restarts: u32,
    /// ... unless it has fallen by this share a minute for the last five. Default: 1.
    pub falling_percent_per_min: Percent,
    /// Memory follows the requests from this correlation (Pearson) on. Default: 0.7.
    pub traffic_pearson: f64,
    /// A limit is too small for what stays at this share of it without a trend. Default: 85.
    pub plateau_percent: Percent,
    /// Of the limit, what is left beside the heap in a setting that is proposed. Default: 25.
    pub heap_headroom_percent: Percent,
    /// The limit that is proposed, of what was had at most for 99 % of the time. Default: 150.
    pub limit_of_p99_percent: Percent,

    /// MemoryHigh is not set under this share of what is usual for the unit, ... Default: 120.
    pub high_of_usual_percent: Percent,
    /// ... nor under this share of what it has now, ... Default: 80.
    pub high_of_current_percent: Percent,
    /// ... nor under this. Default: 64M.
    pub high_at_least: Bytes,
    /// The oom_score_adj that a consumer is given, so that the kernel would choose it. Default: 500.
    pub victim_score: i32,
    /// Units whose runtime writes a heap snapshot when it is sent this signal, `usr1` or `usr2`: `{ "shop.service" = "usr2" }`. A JVM needs
    /// none. Default: none.
    pub snapshot_signals: BTreeMap<String, SnapshotBy>,
    /// What a process in no unit is given between SIGTERM and SIGKILL. Default: 15 s.
    pub grace_s: Seconds,

    /// What may be done, where, and how much of it. The same section is the whole of `[memory]` in `actuator.toml`.
    pub limits: Limits,
}

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;

impl Default for Params {
    fn default() -> Self {
        Self {
            used_high_percent: Percent(90.0),
            used_hold_s: Seconds(90.0),
            pressure_percent: Percent(10.0),
            used_floor_percent: Percent(85.0),
            stall_s: Seconds(0.15),
            swap_in_pages_per_s: 500.0,
            swap_pressure_percent: Percent(5.0),
            swap_hold_s: Seconds(30.0),
            swap_floor_pages_per_s: 10.0,
            event_hold_s: Seconds(10.0 * MINUTE),
            unit_near_percent: Percent(90.0),
            unit_hold_s: Seconds(60.0),
            unit_floor_percent: Percent(70.0),
            top: 5,
            deploy_within_s: Seconds(HOUR),
            noisy_percent: Percent(150.0),
            leak_over_s: Seconds(2.0 * HOUR),
            leak_rise_percent: Percent(10.0),
            leak_restarts: 3,
            falling_percent_per_min: Percent(1.0),
            traffic_pearson: 0.7,
            plateau_percent: Percent(85.0),
            heap_headroom_percent: Percent(25.0),
            limit_of_p99_percent: Percent(150.0),
            high_of_usual_percent: Percent(120.0),
            high_of_current_percent: Percent(80.0),
            high_at_least: Bytes(64 << 20),
            victim_score: 500,
            snapshot_signals: BTreeMap::new(),
            grace_s: Seconds(15.0),
            limits: Limits::default(),
        }
    }
}

impl Params {
    /// What is understood but cannot be meant.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut wrong = |bad: bool, key: &'static str, why: String| {
            if bad {
                found.push(Problem { key, why });
            }
        };
        for (key, percent) in [
            ("used_high_percent", self.used_high_percent),
            ("pressure_percent", self.pressure_percent),
            ("used_floor_percent", self.used_floor_percent),
            ("swap_pressure_percent", self.swap_pressure_percent),
            ("unit_near_percent", self.unit_near_percent),
            ("unit_floor_percent", self.unit_floor_percent),
            ("leak_rise_percent", self.leak_rise_percent),
            ("falling_percent_per_min", self.falling_percent_per_min),
            ("plateau_percent", self.plateau_percent),
            ("heap_headroom_percent", self.heap_headroom_percent),
        ] {
            wrong(!(0.0..=100.0).contains(&percent.0), key, format!("{percent} is not between 0 and 100"));
        }
        for (key, percent) in [
            ("noisy_percent", self.noisy_percent),
            ("limit_of_p99_percent", self.limit_of_p99_percent),
            ("high_of_usual_percent", self.high_of_usual_percent),
        ] {
            wrong(!(100.0..=10_000.0).contains(&percent.0), key, format!("{percent} is not between 100 and 10000"));
        }
        let of_current = self.high_of_current_percent;
        // Less than half of what a unit has now stops it rather than slowing it down.
        wrong(!(50.0..100.0).contains(&of_current.0), "high_of_current_percent", format!("{of_current} is not between 50 and 100"));
        for (key, span) in [
            ("used_hold_s", self.used_hold_s),
            ("swap_hold_s", self.swap_hold_s),
            ("event_hold_s", self.event_hold_s),
            ("unit_hold_s", self.unit_hold_s),
            ("deploy_within_s", self.deploy_within_s),
            ("leak_over_s", self.leak_over_s),
            ("limits.cooldown", self.limits.cooldown),
        ] {
            wrong(span.0.is_nan() || span.0 < 0.0, key, format!("{} is less than nothing", span.0));
        }
        wrong(!(0.01..=1.0).contains(&self.stall_s.0), "stall_s", format!("{} is not between 10 ms and 1 s", self.stall_s.0));
        wrong(!(1.0..=300.0).contains(&self.grace_s.0), "grace_s", format!("{} is not between 1 s and 5 min", self.grace_s.0));
        wrong(!(1..=50).contains(&self.top), "top", format!("{} is not between 1 and 50", self.top));
        wrong(!(0..=1000).contains(&self.victim_score), "victim_score", format!("{} is not between 0 and 1000", self.victim_score));
        wrong(!(0.0..=1.0).contains(&self.traffic_pearson), "traffic_pearson", format!("{} is not between 0 and 1", self.traffic_pearson));
        wrong(
            self.used_floor_percent >= self.used_high_percent,
            "used_floor_percent",
            format!("{} must be under used_high_percent ({}), or the signal flaps", self.used_floor_percent, self.used_high_percent),
        );
        wrong(
            self.unit_floor_percent >= self.unit_near_percent,
            "unit_floor_percent",
            format!("{} must be under unit_near_percent ({}), or the signal flaps", self.unit_floor_percent, self.unit_near_percent),
        );
        let (floor, high) = (self.swap_floor_pages_per_s, self.swap_in_pages_per_s);
        wrong(
            !(floor >= 0.0 && floor < high),
            "swap_floor_pages_per_s",
            format!("{floor} must be under swap_in_pages_per_s ({high}), or the signal flaps"),
        );
        for (unit, by) in &self.snapshot_signals {
            wrong(*by == SnapshotBy::Jcmd, "snapshot_signals", format!("{unit}: jcmd is no signal; write usr1 or usr2"));
        }
        for root in &self.limits.heap_snapshot_roots {
            wrong(!root.as_bytes().starts_with(b"/"), "limits.heap_snapshot_roots", format!("{root} is not an absolute path"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_problem_and_every_default_is_written_out() {
        assert_eq!(Params::default().problems(), []);
        let json = serde_json::to_value(Params::default()).unwrap();
        assert_eq!(serde_json::from_value::<Params>(json).unwrap(), Params::default());
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let text = "used_floor_percent = 90\nunit_floor_percent = 95\nswap_floor_pages_per_s = 500\nstall_s = 2\nhigh_of_current_percent = 20\n\
                    victim_score = -5\nsnapshot_signals = { \"a.service\" = \"jcmd\" }\n[limits]\nheap_snapshot_roots = [\"dumps\"]";
        let keys: Vec<_> = toml::from_str::<Params>(text).unwrap().problems().iter().map(|p| p.key).collect();
        let all = [
            "high_of_current_percent",
            "stall_s",
            "victim_score",
            "used_floor_percent",
            "unit_floor_percent",
            "swap_floor_pages_per_s",
            "snapshot_signals",
            "limits.heap_snapshot_roots",
        ];
        assert_eq!(keys, all);
    }
}
