//! What can be set in `[cpu]` of `agent.toml`. Every default is here, and the specification's where it has one.

use serde::{Deserialize, Serialize};

use crate::guard::Limits;
use crate::model::{Percent, Seconds};
use crate::runbooks::Problem;

/// Times may be written as seconds or `"90s"`. Shares of the host are of all CPUs' time, shares of a process or unit of one CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// `cpu_saturation` when the CPUs are busy (neither iowait nor steal) for more than this ... Default: 85.
    pub busy_percent: Percent,
    /// ... for this long ... Default: 90 s.
    pub busy_hold_s: Seconds,
    /// ... or some task waited for a CPU this share of the last minute. Default: 60.
    pub pressure_percent: Percent,
    /// It clears under this, and this is what steps have to reach. Default: 70.
    pub busy_floor_percent: Percent,
    /// ... with pressure under this, which is low enough whether or not it falls. Default: 30.
    pub pressure_floor_percent: Percent,
    /// `load_avg_spike` when the load of the last minute is more than this for each CPU, with more runnable tasks than CPUs ... Default: 2.
    pub load_per_cpu: f64,
    /// ... for this long. It clears under three quarters of that load. Default: 120 s.
    pub load_hold_s: Seconds,
    /// `process_cpu_saturation` when one process takes this much of a CPU ... Default: 90.
    pub process_percent: Percent,
    /// ... for this long. Default: 120 s.
    pub process_hold_s: Seconds,
    /// `cpu_throttle_high` when a cgroup is held back in this share of its quota's periods ... Default: 25.
    pub throttled_percent: Percent,
    /// ... for this long. It clears under half of that share. Default: 120 s.
    pub throttled_hold_s: Seconds,
    /// `scheduler_queue_backlog` when more tasks than this for each CPU could run ... Default: 4.
    pub runnable_per_cpu: f64,
    /// ... for this long. It clears under half of that. Default: 60 s.
    pub runnable_hold_s: Seconds,
    /// `cpu_steal_high` when the hypervisor takes more than this ... Default: 20.
    pub steal_percent: Percent,
    /// ... for this long. It clears under half of that. Default: 120 s.
    pub steal_hold_s: Seconds,
    /// `fork_storm` when more processes than this are made in a second ... Default: 500.
    pub forks_per_s: f64,
    /// ... for this long ... Default: 30 s.
    pub forks_hold_s: Seconds,
    /// ... or a unit has more than this share of the processes that it may have. It clears ten below. Default: 90.
    pub pids_percent: Percent,

    /// How long the look at what runs takes. Default: 1 s.
    pub window_s: Seconds,
    /// How many of the hottest are named. Default: 10.
    pub top: usize,
    /// Processors that wait for storage this much, and are not busy, have no CPU trouble. Default: 25.
    pub iowait_percent: Percent,
    /// A process that moves this many bytes in a second gets something done ... Default: 4096.
    pub progress_bytes_per_s: f64,
    /// ... and so does one that waits for something this often. Default: 50.
    pub progress_switches_per_s: f64,
    /// Far beyond its usual is this many times that. Default: 3.
    pub beyond_usual: f64,
    /// One job of cron that runs this often at the same time runs over itself. Default: 3.
    pub cron_instances: usize,
    /// More of the fleet than this saturated: nothing is done on one host. Default: 80.
    pub fleet_percent: Percent,

    /// `CPUWeight=` of a unit that takes too much; others have 100. Default: 10.
    pub weight: u64,
    /// Least `CPUQuota=`, in percent of one CPU. Default: 10.
    pub quota_least_percent: u64,
    /// Others wait for it when their tasks wait this share of the time; a weight is enough when they do not any more. Default: 20.
    pub others_wait_percent: Percent,
    /// What `oom_score_adj` an offender is given, so that it goes first if memory runs out. Default: 500.
    pub oom_score_adj: i32,
    /// From SIGTERM to SIGKILL. Default: 10 s.
    pub kill_grace_s: Seconds,

    /// What may be done, and to what. The same section is the whole of `[cpu]` in `actuator.toml`.
    pub limits: Limits,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            busy_percent: Percent(85.0),
            busy_hold_s: Seconds(90.0),
            pressure_percent: Percent(60.0),
            busy_floor_percent: Percent(70.0),
            pressure_floor_percent: Percent(30.0),
            load_per_cpu: 2.0,
            load_hold_s: Seconds(120.0),
            process_percent: Percent(90.0),
            process_hold_s: Seconds(120.0),
            throttled_percent: Percent(25.0),
            throttled_hold_s: Seconds(120.0),
            runnable_per_cpu: 4.0,
            runnable_hold_s: Seconds(60.0),
            steal_percent: Percent(20.0),
            steal_hold_s: Seconds(120.0),
            forks_per_s: 500.0,
            forks_hold_s: Seconds(30.0),
            pids_percent: Percent(90.0),
            window_s: Seconds(1.0),
            top: 10,
            iowait_percent: Percent(25.0),
            progress_bytes_per_s: 4096.0,
            progress_switches_per_s: 50.0,
            beyond_usual: 3.0,
            cron_instances: 3,
            fleet_percent: Percent(80.0),
            weight: 10,
            quota_least_percent: 10,
            others_wait_percent: Percent(20.0),
            oom_score_adj: 500,
            kill_grace_s: Seconds(10.0),
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
            ("busy_percent", self.busy_percent),
            ("pressure_percent", self.pressure_percent),
            ("busy_floor_percent", self.busy_floor_percent),
            ("pressure_floor_percent", self.pressure_floor_percent),
            ("process_percent", self.process_percent),
            ("throttled_percent", self.throttled_percent),
            ("steal_percent", self.steal_percent),
            ("pids_percent", self.pids_percent),
            ("iowait_percent", self.iowait_percent),
            ("fleet_percent", self.fleet_percent),
            ("others_wait_percent", self.others_wait_percent),
        ] {
            wrong(!(0.0..=100.0).contains(&percent.0), key, format!("{percent} is not between 0 and 100"));
        }
        for (key, span) in [
            ("busy_hold_s", self.busy_hold_s),
            ("load_hold_s", self.load_hold_s),
            ("process_hold_s", self.process_hold_s),
            ("throttled_hold_s", self.throttled_hold_s),
            ("runnable_hold_s", self.runnable_hold_s),
            ("steal_hold_s", self.steal_hold_s),
            ("forks_hold_s", self.forks_hold_s),
        ] {
            wrong(span.0 < 0.0, key, format!("{} is less than nothing", span.0));
        }
        for (key, figure) in [
            ("load_per_cpu", self.load_per_cpu),
            ("runnable_per_cpu", self.runnable_per_cpu),
            ("forks_per_s", self.forks_per_s),
            ("progress_bytes_per_s", self.progress_bytes_per_s),
            ("progress_switches_per_s", self.progress_switches_per_s),
        ] {
            wrong(figure <= 0.0, key, format!("{figure} is always reached"));
        }
        wrong(self.beyond_usual <= 1.0, "beyond_usual", format!("{} times the usual is the usual", self.beyond_usual));
        for (key, floor, raised) in [
            ("busy_floor_percent", self.busy_floor_percent, self.busy_percent),
            ("pressure_floor_percent", self.pressure_floor_percent, self.pressure_percent),
        ] {
            wrong(floor >= raised, key, format!("{floor} must be under what raises it ({raised}), or the signal flaps"));
        }
        wrong(!(0.2..=30.0).contains(&self.window_s.0), "window_s", format!("{} is not between 0.2 s and 30 s", self.window_s.0));
        wrong(!(1..=100).contains(&self.top), "top", format!("{} is not between 1 and 100", self.top));
        wrong(self.cron_instances < 2, "cron_instances", format!("{} does not run over itself", self.cron_instances));
        wrong(!(1..100).contains(&self.weight), "weight", format!("{} is not between 1 and 99: units have 100 by themselves", self.weight));
        wrong(self.quota_least_percent == 0, "quota_least_percent", "a unit that may do nothing at all is stopped, not limited".to_owned());
        wrong(!(0..=1000).contains(&self.oom_score_adj), "oom_score_adj", format!("{} is not between 0 and 1000", self.oom_score_adj));
        wrong(
            !(1.0..=600.0).contains(&self.kill_grace_s.0),
            "kill_grace_s",
            format!("{} is not between 1 s and 10 min", self.kill_grace_s.0),
        );
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
        let p: Params = toml::from_str(
            "busy_percent = 70\nsteal_percent = 101\nwindow_s = \"1h\"\nforks_per_s = 0\nweight = 100\ncron_instances = 1\nbeyond_usual = 1\nload_hold_s = -1\ntop = 0\nquota_least_percent = 0\nkill_grace_s = 0\noom_score_adj = -1",
        )
        .unwrap();
        let keys: std::collections::BTreeSet<_> = p.problems().iter().map(|p| p.key).collect();
        let all = [
            "beyond_usual",
            "busy_floor_percent",
            "cron_instances",
            "forks_per_s",
            "kill_grace_s",
            "load_hold_s",
            "oom_score_adj",
            "quota_least_percent",
            "steal_percent",
            "top",
            "weight",
            "window_s",
        ];
        assert_eq!(keys, all.into_iter().collect());
        assert!(toml::from_str::<Params>("bussy_percent = 1").unwrap_err().to_string().contains("bussy_percent"));
    }
}
