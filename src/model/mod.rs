//! Nouns without effects. Every other module speaks in these; they know nothing of the rest of the crate.
//!
//! Read next: [`step`] (what may be done to a host), then [`plan`] and [`diagnosis`].

mod amount;
mod consumer;
mod diagnosis;
mod effect;
mod found;
mod fs;
mod ids;
mod incident;
mod link;
mod observed;
mod path;
mod plan;
mod query;
mod readings;
mod recorded;
mod refusal;
mod sample;
mod shell;
mod signal;
mod size;
mod source;
mod step;
mod summary;
mod target;
mod time;
mod undo;
mod verdict;

pub use consumer::{Deploy, DeploySource, HeapSetting, ProcessDetail, Runtime};
pub use diagnosis::{Confidence, Diagnosis, Explained, Finding};
pub use effect::{Effect, EffectState, IntentOutcome, Skip, SkipReason};
pub use found::{Candidates, DirUse, FamilyAsk, FileUse, HeldFile, HeldFiles, NotSeen, Scan, Writer};
pub use fs::{FsKind, FsUsage, Mount};
pub use ids::{IncidentId, IntentId, RunbookId};
pub use incident::{Body, Entry, IncidentSummary, Phase};
pub use link::{CollectorLink, LinkFailure};
pub use observed::Observed;
pub use path::{HostPath, is_unprintable};
pub use plan::{Escalation, Expected, FollowUp, Plan, PlannedStep, Unavailable};
pub use query::{Answer, HolderUnit, ImageInfo, ImageStore, Query, VolumeInfo, WriteTrial};
pub use readings::{
    CgroupUse, CgroupVersion, Cgroups, ClockSync, Conntrack, Counter, CpuStat, CpuTimes, FileHandles, Identity, Interface, JournalEntry,
    JournalLog, KernelEvent, KernelEventKind, KernelLog, LoadAverage, NetIo, ProcessUse, Processes, Readings, RequestCount, UnitState,
    Units,
};
pub use recorded::Recorded;
pub use refusal::{Refusal, RefusalReason};
pub use sample::{Discards, DiskIo, Flushes, FsSample, Pressure, Sample, Stall, StallTeller};
pub use shell::shell_word;
pub use signal::{Severity, Signal, SignalKind, Subject};
pub use size::{Bytes, Percent};
pub use source::SourceState;
pub use step::{
    FileBatch, FileFamily, FileTarget, GrowVolume, HeapSnapshot, Holder, HolderAction, ImageTarget, LimitTo, Preference, ProcessTarget,
    SnapshotBy, Step, StepKind, Undo, UnitLimit, UnitTarget,
};
pub use target::{ProcessFacts, Targets, UnitFacts, owner_of, service_of, unit_of};
pub use time::{BootId, Now, Seconds};
pub use verdict::{AfterStep, Outcome, Verdict};
