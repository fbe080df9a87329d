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
}

/// What kind a step is, without its load: for policies, caps, metrics and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
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
    RestartHolder,
}

impl StepKind {
    /// In order of harm, least first: plans are sorted by it.
    pub const ALL: [StepKind; 12] = [
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
        Self::RestartHolder,
    ];

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

/// How a step is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The actuator keeps what it needs in its ledger; `byteportctl undo` works it off.
    ByActuator { how: String },
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
        }
    }

    /// The files it touches, if it touches files.
    pub const fn batch(&self) -> Option<&FileBatch> {
        match self {
            Self::CompressLogs(batch) | Self::DeleteFiles(batch) | Self::VacuumJournal { files: batch, .. } => Some(batch),
            Self::PruneImages { .. } | Self::GrowVolume(_) | Self::RestartHolder(_) => None,
        }
    }
}

impl FileBatch {
    pub fn on_disk(&self) -> Bytes {
        self.files.iter().map(|f| Bytes(f.on_disk)).sum()
    }
}
