//! What a step did, as the actuator measured it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bytes, HostPath, Now, Refusal};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    pub state: EffectState,
    /// Bytes that the touched objects held on disk.
    pub freed: Bytes,
    /// Growth of the filesystem's available space over the step, which other processes also move. `None`: not a filesystem's matter.
    pub available_delta: Option<i64>,
    /// Inodes given back.
    pub inodes: u64,
    /// Objects acted on (files, images, units).
    pub done: u64,
    /// Objects left alone, by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// The first few of them, by name.
    pub examples: Vec<Skip>,
    pub started: Now,
    pub ended: Now,
    /// What a person should know: `gzip ratio 11.2`, `unit restarted in 0.4 s`.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectState {
    /// Went through; what was skipped is counted.
    Done,
    /// Stopped before the end: deadline, cap, or the asker went away.
    Partial,
    /// Nothing was changed.
    Failed,
}

/// One object that was left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    pub what: HostPath,
    pub reason: SkipReason,
}

/// Why one object was left alone although the step was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// It is not there any more.
    Gone,
    /// Not what was examined: inode, links, size or times differ, or it is no regular file.
    Changed,
    /// A process has it open, maps or locks it.
    InUse,
    /// The filesystem cannot prove that nobody has it open.
    UseUnknown,
    /// Behind a symlink, another mount, or out of the root.
    Outside,
    /// More than one link: deleting it frees nothing.
    HardLinked,
    /// Younger than the policy allows.
    TooYoung,
    /// On the never-list.
    Protected,
    /// A directory that is not empty.
    NotEmpty,
    /// Behind the cap of files or bytes of this run.
    OverCap,
    /// Behind the step's deadline.
    OutOfTime,
    /// No room to work in (compression needs some).
    NoSpace,
    /// The system said no; the notes say what.
    Error,
}

/// What became of an intent, as the one who was to carry it out knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentOutcome {
    /// Never heard of: nothing was done.
    Unknown,
    /// Begun, and no effect was recorded: the actuator died in it. To be verified, never repeated.
    Open,
    Done(Effect),
    Refused(Refusal),
    Undone(Effect),
}
