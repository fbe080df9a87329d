//! Everything that BytePort can ever do to a host: one closed enum, matched without `_`.
//!
//! A new variant is forced by the compiler through guard, act (with its undo) and report.

use serde::{Deserialize, Serialize};

use super::{Bytes, HostPath};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Replace closed logs by a gzip of themselves. Harm: a reader must unpack. Undo: unpack.
    CompressLogs(FileBatch),
    /// Delete exactly these files. Harm: they are gone. Undo: none.
    DeleteFiles(FileBatch),
    /// Ask journald to rotate, then delete archived journal files, oldest first, until `keep` is left.
    /// Only what journald has archived is ever deleted. Harm: old log lines are gone. Undo: none.
    VacuumJournal { keep: Bytes, files: FileBatch },
    /// Remove container images that no container uses. Harm: a later start must pull. Undo: pull by digest.
    PruneImages { images: Vec<ImageTarget>, min_age_s: u64 },
    /// Make the volume and its filesystem larger, online. Harm: extents are spent. Undo: none.
    GrowVolume(GrowVolume),
    /// Reload or restart the unit that holds deleted files open. Harm: the service blinks. Undo: none.
    RestartHolder(Holder),
    /// Raise `oom_score_adj`, so that the kernel's choice would be the right one. Harm: none until it has to choose. Undo: the values of before.
    PreferVictims(Preference),
    /// Limit a unit at runtime, through systemd. Harm: it is slower. Undo: the limit of before.
    LimitUnit(UnitLimit),
    /// Nice 19 and SCHED_IDLE for a process in no unit. Harm: it is slower. Undo: the class and nice value of before.
    CalmProcess(ProcessTarget),
    /// Have a runtime write what is in its heap. Harm: it stands still for seconds, and the disk has less room. Undo: none.
    SnapshotHeap(HeapSnapshot),
    /// Restart a unit through systemd. Harm: the service blinks. Undo: none.
    RestartUnit(UnitTarget),
    /// End a process through a pidfd: SIGTERM, `grace_s`, SIGKILL. Harm: it is gone. Undo: none.
    KillProcess { process: ProcessTarget, grace_s: u64 },
}

/// What kind a step is, without its load: for policies, caps, metrics and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    OomPreference,
    CpuWeight,
    CalmProcess,
    CpuQuota,
    MemoryHigh,
    CompressLogs,
    RotatedLogs,
    WalArchives,
    VacuumJournal,
    Tmp,
    PruneImages,
    PackageCache,
    PipCache,
    NpmCache,
    CoreDumps,
    GrowVolume,
    HeapSnapshot,
    RestartHolder,
    RestartUnit,
    KillProcess,
}

impl StepKind {
    /// In order of harm, least first: plans are sorted by it.
    pub const ALL: [StepKind; 20] = [
        Self::OomPreference,
        Self::CpuWeight,
        Self::CalmProcess,
        Self::CpuQuota,
        Self::MemoryHigh,
        Self::CompressLogs,
        Self::RotatedLogs,
        Self::WalArchives,
        Self::VacuumJournal,
        Self::Tmp,
        Self::PruneImages,
        Self::PackageCache,
        Self::PipCache,
        Self::NpmCache,
        Self::CoreDumps,
        Self::GrowVolume,
        Self::HeapSnapshot,
        Self::RestartHolder,
        Self::RestartUnit,
        Self::KillProcess,
    ];

    /// What it does lasts until it is taken back: on resolve, when the agent stops, and after a crash.
    pub const fn is_standing(self) -> bool {
        matches!(self, Self::OomPreference | Self::CpuWeight | Self::CalmProcess | Self::CpuQuota | Self::MemoryHigh)
    }

    /// It restarts a service: counted together, whichever runbook asks.
    pub const fn is_restart(self) -> bool {
        matches!(self, Self::RestartHolder | Self::RestartUnit)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CompressLogs => "compress_logs",
            Self::RotatedLogs => "rotated_logs",
            Self::WalArchives => "wal_archives",
            Self::VacuumJournal => "vacuum_journal",
            Self::Tmp => "tmp",
            Self::PruneImages => "prune_images",
            Self::PackageCache => "package_cache",
            Self::PipCache => "pip_cache",
            Self::NpmCache => "npm_cache",
            Self::CoreDumps => "core_dumps",
            Self::GrowVolume => "grow_volume",
            Self::RestartHolder => "restart_holder",
            Self::OomPreference => "oom_preference",
            Self::CpuWeight => "cpu_weight",
            Self::CalmProcess => "calm_process",
            Self::CpuQuota => "cpu_quota",
            Self::MemoryHigh => "memory_high",
            Self::HeapSnapshot => "heap_snapshot",
            Self::RestartUnit => "restart_unit",
            Self::KillProcess => "kill_process",
        }
    }
}

/// What rule a file fell under. The actuator applies the same rule again to the file itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFamily {
    /// Logs that nothing writes any more, not compressed yet.
    ClosedLogs,
    /// Rotated archives: `*.gz`, `*.xz`, `*.zst`, `*.old`, `*.1`, ...
    RotatedLogs,
    /// WAL archives in a directory that the operator named.
    WalArchives,
    /// journald's archived files.
    JournalArchives,
    Tmp,
    /// Packages that apt, dnf or zypper can fetch again.
    PackageCache,
    PipCache,
    NpmCache,
    CoreDumps,
}

/// Files under one root on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBatch {
    pub family: FileFamily,
    /// Absolute; all paths below are relative to it and contain neither `..` nor a symlink.
    pub root: HostPath,
    /// `st_dev` that the root and every file must have.
    pub device: u64,
    /// Youngest age that may be touched, in seconds. The actuator applies the larger of this and its own.
    pub min_age_s: u64,
    /// Sorted by path, so that a directory's files follow each other.
    pub files: Vec<FileTarget>,
    /// Directories to remove afterwards if they are empty by then, deepest first.
    pub dirs: Vec<FileTarget>,
}

/// One file as it was examined. It is touched only if all of this still holds in the last moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTarget {
    pub path: HostPath,
    pub ino: u64,
    /// Apparent size.
    pub size: u64,
    /// Blocks * 512: what deleting it frees while `links` is 1.
    pub on_disk: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub links: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageTarget {
    /// `sha256:...`
    pub id: String,
    pub tags: Vec<String>,
    /// `name@sha256:...`, what an undo would pull.
    pub digests: Vec<String>,
    pub size: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowVolume {
    pub vg: String,
    pub lv: String,
    pub mount: HostPath,
    pub fs_type: String,
    pub from: Bytes,
    pub to: Bytes,
}

/// The process that keeps deleted files, and the unit it must be reached through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub unit: String,
    pub pid: u32,
    /// Clock ticks since boot (`/proc/PID/stat` field 22): tells a reused pid.
    pub start_ticks: u64,
    pub action: HolderAction,
    /// `st_dev` of the filesystem that needs the room: what it holds elsewhere is none of this step's effect.
    pub device: u64,
    /// Bytes that come free there when it lets go.
    pub held: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderAction {
    Reload,
    Restart,
}

/// A process as it was examined. It is touched only if pid, start time and unit are still the same in the last moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTarget {
    pub pid: u32,
    /// Clock ticks since boot (`/proc/PID/stat` field 22): tells a reused pid.
    pub start_ticks: u64,
    pub comm: HostPath,
    /// The unit it belongs to; `None`: to none.
    pub unit: Option<String>,
}

/// A run of a unit as it was examined: another start has another number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitTarget {
    pub unit: String,
    /// systemd's InvocationID in hexadecimal.
    pub invocation: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitLimit {
    pub target: UnitTarget,
    pub limit: LimitTo,
}

/// A runtime property and its new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitTo {
    MemoryHigh(Bytes),
    /// 1..10000; the kernel's own is 100.
    CpuWeight(u64),
    /// Percent of one CPU.
    CpuQuota(u64),
}

/// Processes of one unit, or one process of none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    pub unit: Option<String>,
    pub processes: Vec<ProcessTarget>,
    /// -1000..1000; no process is given a smaller one than it has.
    pub oom_score_adj: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapSnapshot {
    pub process: ProcessTarget,
    pub by: SnapshotBy,
    /// Where the snapshot goes, or where the runtime puts it by itself.
    pub folder: HostPath,
    /// Bytes that must be free there beforehand.
    pub room: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotBy {
    /// `jcmd PID GC.heap_dump`.
    Jcmd,
    /// For runtimes that were told to write a snapshot on this signal, and handle it.
    Usr1,
    Usr2,
}

/// How a step is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The actuator keeps what it needs in its ledger; `byteportctl undo` works it off.
    ByActuator { how: String },
    /// The same, and it is done without being asked for: on resolve, when the agent stops, and after a crash.
    OnResolve { how: String },
    /// Cannot be taken back, and why that was accepted.
    None { why: String },
}

impl FileFamily {
    pub const fn kind(self) -> StepKind {
        match self {
            Self::ClosedLogs => StepKind::CompressLogs,
            Self::RotatedLogs => StepKind::RotatedLogs,
            Self::WalArchives => StepKind::WalArchives,
            Self::JournalArchives => StepKind::VacuumJournal,
            Self::Tmp => StepKind::Tmp,
            Self::PackageCache => StepKind::PackageCache,
            Self::PipCache => StepKind::PipCache,
            Self::NpmCache => StepKind::NpmCache,
            Self::CoreDumps => StepKind::CoreDumps,
        }
    }
}

impl Step {
    pub const fn kind(&self) -> StepKind {
        match self {
            Self::CompressLogs(_) => StepKind::CompressLogs,
            Self::DeleteFiles(batch) => batch.family.kind(),
            Self::VacuumJournal { .. } => StepKind::VacuumJournal,
            Self::PruneImages { .. } => StepKind::PruneImages,
            Self::GrowVolume(_) => StepKind::GrowVolume,
            Self::RestartHolder(_) => StepKind::RestartHolder,
            Self::PreferVictims(_) => StepKind::OomPreference,
            Self::LimitUnit(limit) => match limit.limit {
                LimitTo::MemoryHigh(_) => StepKind::MemoryHigh,
                LimitTo::CpuWeight(_) => StepKind::CpuWeight,
                LimitTo::CpuQuota(_) => StepKind::CpuQuota,
            },
            Self::CalmProcess(_) => StepKind::CalmProcess,
            Self::SnapshotHeap(_) => StepKind::HeapSnapshot,
            Self::RestartUnit(_) => StepKind::RestartUnit,
            Self::KillProcess { .. } => StepKind::KillProcess,
        }
    }

    /// The unit it would act on, for consent and for counting.
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::CompressLogs(_) | Self::DeleteFiles(_) | Self::VacuumJournal { .. } | Self::PruneImages { .. } | Self::GrowVolume(_) => {
                None
            }
            Self::RestartHolder(holder) => Some(&holder.unit),
            Self::PreferVictims(preference) => preference.unit.as_deref(),
            Self::LimitUnit(limit) => Some(&limit.target.unit),
            Self::RestartUnit(target) => Some(&target.unit),
            Self::CalmProcess(process) | Self::KillProcess { process, .. } => process.unit.as_deref(),
            Self::SnapshotHeap(snapshot) => snapshot.process.unit.as_deref(),
        }
    }

    /// The processes it names.
    pub fn processes(&self) -> &[ProcessTarget] {
        match self {
            Self::CompressLogs(_) | Self::DeleteFiles(_) | Self::VacuumJournal { .. } | Self::PruneImages { .. } | Self::GrowVolume(_) => {
                &[]
            }
            Self::RestartHolder(_) | Self::LimitUnit(_) | Self::RestartUnit(_) => &[],
            Self::PreferVictims(preference) => &preference.processes,
            Self::CalmProcess(process) | Self::KillProcess { process, .. } => std::slice::from_ref(process),
            Self::SnapshotHeap(snapshot) => std::slice::from_ref(&snapshot.process),
        }
    }

    /// What it works on, for counting over time: a unit's name, or the name of a process in none.
    pub fn works_on(&self) -> Option<String> {
        self.unit().map(str::to_owned).or_else(|| self.processes().first().map(|p| p.comm.to_string()))
    }

    /// The files it touches, if it touches files.
    pub const fn batch(&self) -> Option<&FileBatch> {
        match self {
            Self::CompressLogs(batch) | Self::DeleteFiles(batch) | Self::VacuumJournal { files: batch, .. } => Some(batch),
            Self::PruneImages { .. }
            | Self::GrowVolume(_)
            | Self::RestartHolder(_)
            | Self::PreferVictims(_)
            | Self::LimitUnit(_)
            | Self::CalmProcess(_)
            | Self::SnapshotHeap(_)
            | Self::RestartUnit(_)
            | Self::KillProcess { .. } => None,
        }
    }
}

impl FileBatch {
    pub fn on_disk(&self) -> Bytes {
        self.files.iter().map(|f| Bytes(f.on_disk)).sum()
    }
}
