//! byteportctl <-> agent: JSON over HTTP on the agent's unix socket, below `/v1`.
//!
//! | method, path | body | answer |
//! | --- | --- | --- |
//! | GET `/v1/status` | | [`Status`] |
//! | GET `/v1/top` | | [`Top`] |
//! | GET `/v1/incidents` | | `[IncidentSummary]`, newest first |
//! | GET `/v1/incidents/{id}` | | [`Incident`]; `id` may be `last`, a runbook's name for its last one, or a unique prefix |
//! | GET `/v1/config` | | [`ConfigView`] |
//! | POST `/v1/plan` | [`PlanAsk`] | [`PlanAnswer`] |
//! | POST `/v1/pause` | [`Pause`] | [`Status`] |
//! | POST `/v1/resume` | [`Resume`] | [`Status`] |
//! | POST `/v1/undo` | [`UndoAsk`] | [`UndoAnswer`] |
//! | POST `/v1/deploys` | [`Deployed`] | [`Marked`] |
//!
//! Errors are [`Problem`] with a status of 4xx or 5xx. Everything that changes something needs root or membership of the
//! agent's group, checked by peer credentials.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    Cgroups, CollectorLink, Diagnosis, Effect, Entry, FsSample, HostPath, IncidentId, IncidentSummary, IntentId, JournalEntry, KernelEvent,
    KernelEventKind, LoadAverage, Now, Observed, Percent, Plan, Pressure, Processes, Recorded, Refusal, RunbookId, Seconds, Signal,
    UnitState,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub host: String,
    pub now: Now,
    /// Seconds since the agent started.
    pub running_s: f64,
    /// `observe` or `act`, as it is applied; `why_observe` says what keeps it from acting.
    pub mode: String,
    pub why_observe: Option<String>,
    pub dry_run: bool,
    pub filesystems: Observed<Vec<FsSample>>,
    pub signals: Vec<Signal>,
    pub open_incidents: Observed<Vec<IncidentSummary>>,
    pub pauses: Observed<Vec<Pause>>,
    pub actuator: Observed<super::actuator::Hello>,
    /// Rows in the record; `Unavailable` when it cannot be trusted or written.
    pub record: Observed<u64>,
    /// Samplers that have not answered: name and seconds.
    pub stuck: BTreeMap<String, f64>,
    pub psi_mode: String,
    /// The last configuration that was refused, if it still is on disk.
    pub refused_config: Option<String>,
    /// Where this host has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<CollectorLink>,
}

/// What `byteportctl top` shows: the newest sample, and what follows from it and from those before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Top {
    pub version: String,
    pub host: String,
    pub now: Now,
    /// When the newest sample was taken; `Unavailable` before the first.
    pub sampled: Observed<Now>,
    /// As in [`Status`].
    pub mode: String,
    pub why_observe: Option<String>,
    pub signals: Vec<Signal>,
    pub open_incidents: Observed<Vec<IncidentSummary>>,
    /// Samplers and mounts that have not answered: name and seconds.
    pub stuck: BTreeMap<String, f64>,
    pub load: Observed<LoadAverage>,
    pub cpu: Observed<CpuUse>,
    pub memory: Observed<MemoryUse>,
    pub cpu_pressure: Observed<Pressure>,
    pub io_pressure: Observed<Pressure>,
    pub memory_pressure: Observed<Pressure>,
    pub filesystems: Observed<Vec<TopFilesystem>>,
    pub units: Observed<TopUnits>,
    pub processes: Observed<Processes>,
    pub cgroups: Observed<Cgroups>,
    pub trends: Observed<Trends>,
    pub kernel_log: Observed<TopKernelLog>,
    pub journal: Observed<TopJournal>,
}

/// Shares of all CPUs' time between the last two readings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CpuUse {
    /// How many are online.
    pub cpus: u64,
    /// Neither idle nor waiting for io.
    pub busy: Percent,
    pub iowait: Percent,
    pub steal: Percent,
    pub running: u64,
    pub blocked: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    pub total: u64,
    /// What can be had without swapping, as the kernel estimates it.
    pub available: u64,
    /// 0 where there is no swap.
    pub swap_total: u64,
    pub swap_free: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopFilesystem {
    pub sample: FsSample,
    /// Over the last half hour, negative while it empties; `None` while too little of it was seen.
    pub bytes_per_s: Option<f64>,
    /// At that rate, until nobody but root can write; `None` while it does not grow.
    pub full_in: Option<Seconds>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUnits {
    pub system_state: String,
    /// All units that are loaded.
    pub count: u64,
    pub failed: u64,
    /// Those that failed, were restarted or are changing their state, in this order; at most a fixed number of them.
    pub listed: Vec<UnitState>,
}

/// What was, at two resolutions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trends {
    pub quarter_hour: Trend,
    pub six_hours: Trend,
}

/// Values at even steps, oldest first, all lists equally long: no longer than there is a history. `null` is what was not had; it is never
/// zero. Shares are 0..100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Seconds between two steps.
    pub every_s: f64,
    /// The moment of the last one.
    pub last: Now,
    pub cpu_busy: Vec<Option<f32>>,
    pub cpu_iowait: Vec<Option<f32>>,
    pub load_one: Vec<Option<f32>>,
    /// All but what can be had without swapping.
    pub memory_used: Vec<Option<f32>>,
    pub swap_used: Vec<Option<f32>>,
    /// Some tasks waited, over the ten seconds before each step.
    pub cpu_pressure: Vec<Option<f32>>,
    pub io_pressure: Vec<Option<f32>>,
    pub memory_pressure: Vec<Option<f32>>,
    /// Of those that can be full; of very many the fullest.
    pub filesystems: Vec<FilesystemTrend>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilesystemTrend {
    pub mount: HostPath,
    pub device: u64,
    pub used: Vec<Option<f32>>,
}

/// What the kernel told since the agent began to listen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopKernelLog {
    /// How often each kind was met.
    pub counts: Vec<(KernelEventKind, u64)>,
    /// Lines that the kernel overwrote before they could be read.
    pub dropped: u64,
    /// Newest first, at most a fixed number.
    pub latest: Vec<TopKernelEvent>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopKernelEvent {
    pub age_s: f64,
    pub event: KernelEvent,
}

/// What the journal told of the units and words that are followed, since the agent began to listen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopJournal {
    pub told: u64,
    pub dropped: u64,
    pub gaps: u64,
    /// Newest first, at most a fixed number, long messages cut.
    pub latest: Vec<TopJournalEntry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopJournalEntry {
    /// By the wall clock; `None` where the journal does not say when it was.
    pub age_s: Option<f64>,
    pub entry: JournalEntry,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub summary: IncidentSummary,
    pub entries: Vec<Entry>,
    /// The chain from the first to the last entry is whole.
    pub chain: Observed<()>,
    pub agent_version: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanAsk {
    pub runbook: RunbookId,
    /// Escaped as [`crate::model::HostPath`] prints it. Neither this nor a unit: the host as a whole.
    pub mount: Option<crate::model::HostPath>,
    pub unit: Option<String>,
}

/// A release of this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployed {
    /// The unit's or the package's.
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    pub at: jiff::Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanAnswer {
    pub evidence: Recorded,
    pub params: serde_json::Value,
    pub now: Now,
    pub diagnosis: Diagnosis,
    pub plan: Plan,
    /// For each step of the plan: why it would be refused, if it would.
    pub refusals: Vec<Option<Refusal>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// None: all runbooks.
    pub runbook: Option<RunbookId>,
    /// None: until `resume`.
    pub for_s: Option<u64>,
    /// Who and why; the agent adds the peer's user.
    pub by: String,
    /// Filled in by the agent.
    pub since: Option<Now>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    pub runbook: Option<RunbookId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoAsk {
    pub incident: IncidentId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UndoAnswer {
    pub undone: Vec<(IntentId, Effect)>,
    pub refused: Vec<(IntentId, Refusal)>,
}

/// One setting: what the files say, what is applied, and why they differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Dotted: `disk.usage_critical_percent`.
    pub key: String,
    /// As written, with file and line; `None`: default.
    pub asked: Option<(String, String)>,
    pub applied: String,
    /// Set when `applied` is not what was asked for.
    pub because: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigView {
    pub files: Vec<String>,
    pub settings: Vec<Setting>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub error: String,
    /// What to do next.
    pub hint: Option<String>,
}
