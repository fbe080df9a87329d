//! Everything that a decision about the processors rests on, as it is recorded. Schema 1.
//!
//! Shares are over the look's own window, a second or so: that is what a step has changed a moment later. What was so for minutes is in
//! the signals and in each consumer's past.

use serde::{Deserialize, Serialize};

use crate::detect::Past;
use crate::model::{Deploy, HostPath, Now, Observed, Percent, Pressure, ProcessFacts, Signal, SignalKind, Step, Subject, UnitFacts};

pub(super) const SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    pub taken: Now,
    pub subject: Subject,
    pub signals: Vec<Signal>,
    pub host: Observed<HostLoad>,
    /// How long tasks waited for a CPU.
    pub pressure: Observed<Waiting>,
    pub io_pressure: Observed<Pressure>,
    /// Hottest first, and the process that the episode is about, however cool it is by now.
    pub processes: Observed<Vec<Hot>>,
    /// Hottest first: groups that hold no others, and the subject's own.
    pub groups: Observed<Vec<Group>>,
    /// For the hottest groups, the hottest processes and those that are held back.
    pub units: Vec<UnitAnswer>,
    /// Jobs that run under cron and at; `None`: neither is there.
    pub cron: Observed<Option<Cron>>,
    /// Of the last hour, newest first.
    pub deploys: Observed<Vec<Deploy>>,
    /// Share of the fleet that is saturated, as the collector says it; `None` where there is no collector.
    pub fleet_saturated: Option<Percent>,
    /// What this agent has done and not taken back: it is not the offender's own doing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_force: Vec<Step>,
}

/// Shares of all CPUs' time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostLoad {
    pub cpus: u64,
    /// User, nice, system, irq and softirq: neither iowait nor steal.
    pub busy: Percent,
    pub user: Percent,
    pub system: Percent,
    pub iowait: Percent,
    pub steal: Percent,
    pub forks_per_s: f64,
    /// Tasks that run or could run at the end of the window.
    pub runnable: u64,
    pub load_one: Observed<f64>,
}

/// Share of the time in which some task waited for a CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    pub window: Percent,
    pub avg10: Percent,
    pub avg60: Percent,
}

/// A process among the hottest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hot {
    pub pid: u32,
    pub start_ticks: u64,
    pub comm: HostPath,
    /// Of one CPU.
    pub cpu: Percent,
    pub threads: u64,
    /// `None`: it was not among those that are followed.
    pub past: Option<Past>,
    pub watched: Observed<Watched>,
}

/// What a process did over the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    pub facts: ProcessFacts,
    /// Through system calls, the page cache included.
    pub io_bytes_per_s: Observed<f64>,
    /// It waited for something by itself, and it was made to wait.
    pub voluntary_per_s: f64,
    pub involuntary_per_s: f64,
    /// Whoever started it is gone, and no service has it: its parent is the first process or a user's manager.
    pub orphan: Observed<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Below the hierarchy's root.
    pub path: HostPath,
    /// The system's unit that it belongs to, by its path.
    pub unit: Option<String>,
    /// Of one CPU.
    pub cpu: Percent,
    /// Share of its quota's periods in which it was held back; `None` where it has no quota or had nothing to do.
    pub throttled: Option<Percent>,
    /// Share of the window in which some of its tasks waited for a CPU.
    pub waiting: Option<Percent>,
    pub pids: Option<u64>,
    pub pids_max: Option<u64>,
    pub past: Option<Past>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitAnswer {
    pub name: String,
    pub facts: Observed<UnitFacts>,
}

/// What runs under cron or at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cron {
    pub unit: String,
    pub cgroup: HostPath,
    /// Of one CPU, all jobs together.
    pub cpu: Percent,
    /// The one with most instances first.
    pub jobs: Vec<CronJob>,
}

/// One job, by the name of the first program in it that is no shell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronJob {
    pub comm: HostPath,
    /// Oldest first.
    pub instances: Vec<Instance>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    pub pid: u32,
    pub start_ticks: u64,
    pub age_s: f64,
}

impl Evidence {
    pub(super) fn has(&self, kind: &SignalKind) -> bool {
        self.signals.iter().any(|s| s.kind == *kind)
    }

    pub(super) fn unit(&self, name: &str) -> Option<&Observed<UnitFacts>> {
        self.units.iter().find(|u| u.name == name).map(|u| &u.facts)
    }

    pub(super) fn process(&self, pid: u32, start_ticks: u64) -> Option<&Hot> {
        self.processes.value()?.iter().find(|p| p.pid == pid && p.start_ticks == start_ticks)
    }

    pub(super) fn group(&self, path: &HostPath) -> Option<&Group> {
        self.groups.value()?.iter().find(|g| g.path == *path)
    }
}

impl HostLoad {
    /// All that runs, in percent of one CPU.
    pub(super) fn used(&self) -> f64 {
        self.busy.0 * self.cpus as f64
    }
}
