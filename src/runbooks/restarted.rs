//! A unit that somebody has started anew lately: where no package and no marker tells of it, that is how a release looks.

use super::FocusedAsk;
use crate::model::{Deploy, DeploySource, Now, UnitFacts};

/// What starts within this time after the host's own start was not released.
const BOOT_S: f64 = 600.0;
/// It was seen so shortly before it began that it was running then: a job that begins every hour is no release.
const BEFORE_S: f64 = 120.0;

impl FocusedAsk<'_> {
    /// `None`: it runs for longer than that, or its start was systemd's own, this agent's, or the first that is known.
    pub(super) fn restarted(&self, facts: &UnitFacts, within_s: f64, now: &Now) -> Option<Deploy> {
        let history = self.history;
        let runs_for_s = facts.active_for_s;
        let began_s = now.uptime_s - runs_for_s;
        let ran_before = history.group_seen(&facts.cgroup, began_s - BEFORE_S, began_s - 1.0);
        let by_others = facts.restarts == 0 && !history.is_own_restart(&facts.name, began_s);
        let lately = facts.active == "active" && runs_for_s <= within_s && began_s > BOOT_S;
        let at = now.wall.checked_sub(jiff::SignedDuration::try_from_secs_f64(runs_for_s).ok()?).ok()?;
        let deploy = Deploy { name: facts.name.clone(), version: String::new(), at, source: DeploySource::Restart, units: Vec::new() };
        (lately && ran_before && by_others).then_some(deploy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::History;
    use crate::model::{BootId, CgroupUse, CgroupVersion, Cgroups, Observed, Sample, Subject, UnitFacts};
    use crate::runbooks::Depth;

    const UNIT: &str = "shop.service";
    const WITHIN_S: f64 = 9500.0;

    fn now() -> Now {
        Now { wall: jiff::Timestamp::from_second(1_000_000).unwrap(), boot: BootId("a".into()), uptime_s: 10_000.0 }
    }

    /// Its group was seen every minute, from then on.
    fn followed(from_s: f64) -> History {
        seen_but(from_s, 0.0..0.0)
    }

    /// The same, but for a gap.
    fn seen_but(from_s: f64, gap: std::ops::Range<f64>) -> History {
        let mut history = History::default();
        let blank: Sample = serde_json::from_value(serde_json::json!({
            "at": now(), "filesystems": {"unavailable": {"why": "-"}}, "disks": {"unavailable": {"why": "-"}},
            "io_pressure": {"unavailable": {"why": "-"}}, "node_disk_pressure": {"unavailable": {"why": "-"}},
            "readings": crate::model::Readings::none("-"),
        }))
        .unwrap();
        let mut at_s = from_s;
        while at_s <= now().uptime_s {
            let mut sample = blank.clone();
            sample.at.uptime_s = at_s;
            let group = CgroupUse { path: "/system.slice/shop.service".into(), memory_bytes: Some(1), ..CgroupUse::default() };
            let groups = Cgroups { version: CgroupVersion::V2, count: 1, top: vec![group], cut: 0, unreadable: 0 };
            sample.readings.cgroups = Observed::fresh(groups);
            if !gap.contains(&at_s) {
                history.push(&sample);
            }
            at_s += 60.0;
        }
        history
    }

    fn told(history: &History, change: impl Fn(&mut UnitFacts)) -> Option<Deploy> {
        let mut facts: UnitFacts = serde_json::from_value(serde_json::json!({
            "name": UNIT, "active": "active", "invocation": "1f", "active_for_s": 1200.0, "restarts": 0, "start_limit_s": 10.0,
            "job_queued": false, "restart_safe": true, "main_pid": 7, "cgroup": "/system.slice/shop.service", "memory_high": null,
            "memory_max": null, "cpu_weight": null, "cpu_quota_percent": null,
        }))
        .unwrap();
        change(&mut facts);
        let ask = FocusedAsk { subject: &Subject::Host, signals: &[], history, sample: None, depth: Depth::Full };
        ask.restarted(&facts, WITHIN_S, &now())
    }

    #[test]
    fn a_unit_that_somebody_started_anew_is_as_good_as_released() {
        let history = followed(1000.0);
        let deploy = told(&history, |_| {}).unwrap();
        assert!(deploy.is_of(UNIT) && deploy.event() == "shop.service was started anew");
        assert_eq!(now().wall.duration_since(deploy.at).as_secs(), 1200);
        assert_eq!(told(&history, |f| f.restarts = 1), None, "systemd's own");
        assert_eq!(told(&history, |f| f.active = "activating".into()), None);
        assert_eq!(told(&followed(8900.0), |_| {}), None, "nobody knows whether it ran before");
        // It ran an hour ago, and not right before.
        assert_eq!(told(&seen_but(1000.0, 8000.0..8800.0), |_| {}), None, "it begins every hour");
        let mut by_us = history;
        by_us.begins_restart(UNIT, &Now { uptime_s: 8700.0, ..now() });
        assert_eq!(told(&by_us, |_| {}), None, "by this agent");
        assert!(told(&by_us, |f| f.active_for_s = 300.0).is_some(), "and by somebody else since");
        // Within ten minutes of the host's own start everything is.
        let at_boot = |uptime_s: f64| told(&followed(0.0), |f| f.active_for_s = now().uptime_s - uptime_s);
        assert_eq!((at_boot(590.0), at_boot(7000.0).is_some()), (None, true));
    }
}
