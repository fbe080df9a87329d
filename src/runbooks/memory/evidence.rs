//! What a decision about memory rests on, as it is recorded. Schema 1.

use serde::{Deserialize, Serialize};

use crate::detect::Past;
use crate::model::{
    Bytes, CgroupUse, CgroupVersion, Counter, Deploy, HeapSetting, HostPath, Now, Observed, Percent, Pressure, ProcessDetail, ProcessFacts,
    Signal, SignalKind, Step, Subject, UnitFacts,
};

pub(super) const SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    pub taken: Now,
    pub subject: Subject,
    pub signals: Vec<Signal>,
    /// Only what steps change was looked at.
    pub brief: bool,
    pub memory: Observed<Memory>,
    pub pressure: Observed<Pressure>,
    /// Pages swapped in a second, between the last two readings.
    pub swap_in_per_s: Observed<f64>,
    /// Slope of MemAvailable over the last minute, bytes.
    pub available_per_s: Observed<f64>,
    /// The kernel's own count since boot.
    pub oom_count: Observed<u64>,
    /// Those of the last hour that the kernel log told.
    pub oom_kills: Observed<Vec<Kill>>,
    pub hierarchy: Observed<CgroupVersion>,
    /// The largest, and the subject's own; largest first.
    pub groups: Observed<Vec<Group>>,
    /// The largest, largest first.
    pub processes: Observed<Vec<Process>>,
    /// Of the last hour, newest first.
    pub deploys: Observed<Vec<Deploy>>,
    /// How memory goes with the rate of requests, by unit; `None`: no metric is configured.
    #[serde(default)]
    pub traffic: Option<Observed<Vec<Traffic>>>,
    /// What this agent has done and not taken back: it is nobody's own doing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_force: Vec<Step>,
}

/// What decides of `/proc/meminfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    pub total: Bytes,
    pub available: Bytes,
    /// Used for nothing at all, not even as page cache.
    pub free: Bytes,
    pub swap_total: Bytes,
    pub swap_free: Bytes,
}

/// One group and, if it is a service's, its unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The service, by the group's path; `None`: it is none's.
    pub unit: Option<String>,
    #[serde(rename = "use")]
    pub used: CgroupUse,
    pub past: Observed<Past>,
    pub facts: Observed<UnitFacts>,
    pub processes: Observed<Vec<ProcessFacts>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub facts: ProcessFacts,
    pub rss: Bytes,
    pub past: Observed<Past>,
    pub detail: Observed<ProcessDetail>,
    pub heap: Observed<Vec<HeapSetting>>,
}

/// The kernel has killed a process for want of memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    pub ago_s: f64,
    pub victim: String,
    pub pid: Option<u32>,
    pub cgroup: Option<HostPath>,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    pub unit: String,
    /// Pearson's correlation of its memory with its rate of requests; `None`: too little of both was seen.
    pub pearson: Option<f64>,
}

impl Memory {
    /// `None` when a line that decides is missing: kernels before 3.14 do not tell MemAvailable.
    pub(super) fn of(lines: &[Counter]) -> Option<Self> {
        let line = |name: &str| lines.iter().find(|l| &*l.name == name).map(|l| Bytes(l.value));
        let memory = Self {
            total: line("MemTotal")?,
            available: line("MemAvailable")?,
            free: line("MemFree")?,
            swap_total: line("SwapTotal").unwrap_or_default(),
            swap_free: line("SwapFree").unwrap_or_default(),
        };
        (memory.total.0 > 0).then_some(memory)
    }

    pub(super) fn used(&self) -> Bytes {
        Bytes(self.total.0.saturating_sub(self.available.0))
    }

    /// Page cache that can be given back is not used.
    pub(super) fn used_percent(&self) -> Percent {
        percent_of(self.used().0, self.total.0)
    }

    /// With the page cache, as people who read MemFree see it.
    pub(super) fn filled_percent(&self) -> Percent {
        percent_of(self.total.0.saturating_sub(self.free.0), self.total.0)
    }
}

pub(super) fn percent_of(part: u64, whole: u64) -> Percent {
    if whole == 0 { Percent(0.0) } else { Percent(part as f64 * 100.0 / whole as f64) }
}

pub(super) fn share_of(bytes: Bytes, percent: Percent) -> Bytes {
    Bytes((bytes.0 as f64 * percent.0.max(0.0) / 100.0) as u64)
}

impl Group {
    /// Without file pages that nobody has used lately, where that is told.
    pub(super) fn memory(&self) -> Bytes {
        Bytes(self.used.working_set_bytes.or(self.used.memory_bytes).unwrap_or(0))
    }

    pub(super) fn is_told(&self) -> bool {
        self.used.working_set_bytes.is_some() || self.used.memory_bytes.is_some()
    }

    /// File pages that nobody has used lately. Where they are not told, all that it has may be such.
    pub(super) fn idle_cache(&self) -> Bytes {
        let all = self.used.memory_bytes.unwrap_or(0);
        Bytes(all.saturating_sub(self.used.working_set_bytes.unwrap_or(0)))
    }

    /// Of its limit; `None`: it has none, or its working set is not told.
    pub(super) fn of_limit(&self) -> Option<Percent> {
        let (set, limit) = (self.used.working_set_bytes?, self.used.memory_max_bytes?);
        (limit > 0).then(|| percent_of(set, limit))
    }

    pub(super) fn limit(&self) -> Option<Bytes> {
        self.used.memory_max_bytes.map(Bytes)
    }

    /// What people call it.
    pub(super) fn name(&self) -> String {
        self.unit.clone().unwrap_or_else(|| self.used.path.to_string())
    }
}

impl Process {
    pub(super) fn name(&self) -> String {
        format!("{} (pid {})", self.facts.comm, self.facts.pid)
    }
}

impl Evidence {
    pub(super) fn has(&self, kind: &SignalKind) -> bool {
        self.signals.iter().any(|s| s.kind == *kind)
    }

    pub(super) fn all_groups(&self) -> &[Group] {
        self.groups.value().map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn all_processes(&self) -> &[Process] {
        self.processes.value().map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn group_of(&self, unit: &str) -> Option<&Group> {
        self.all_groups().iter().find(|g| g.unit.as_deref() == Some(unit))
    }

    /// The same group at another time.
    pub(super) fn same_group(&self, other: &Group) -> Option<&Group> {
        self.all_groups().iter().find(|g| g.used.path == other.used.path)
    }

    /// The unit that the signals are about.
    pub(super) fn own_unit(&self) -> Option<&str> {
        match &self.subject {
            Subject::Unit { name } => Some(name),
            Subject::Host | Subject::Filesystem { .. } | Subject::Disk { .. } | Subject::Process { .. } => None,
        }
    }
}
