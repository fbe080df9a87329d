//! Everything that a decision about a filesystem rests on, as it is recorded. Schema 1.

use serde::{Deserialize, Serialize};

use crate::detect::Growth;
use crate::model::{
    Bytes, FsUsage, HeldFiles, HolderUnit, HostPath, ImageStore, Mount, Now, Observed, Percent, Pressure, Scan, Signal, SignalKind,
    Subject, VolumeInfo, Writer,
};

pub(super) const SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    pub taken: Now,
    pub subject: Subject,
    pub signals: Vec<Signal>,
    /// The filesystem looked at: the subject itself, the fullest one of a disk, or the fullest one of the host.
    pub mount: Observed<Mount>,
    pub usage: Observed<FsUsage>,
    /// statfs does not answer, for this many seconds now.
    pub stuck_for_s: Option<f64>,
    pub growth: Observed<Growth>,
    /// Errors that ext4 has counted since the filesystem was watched; 0 where none are counted.
    pub new_errors: u64,
    /// The last write that was tried on it was refused. Evidence from before this was looked at has it as false.
    #[serde(default)]
    pub refuses_writes: bool,
    /// Deleted files that a process still has open, on this device.
    pub held: Observed<HeldFiles>,
    /// For the largest of those holders: which unit, and may it be restarted.
    pub holder_units: Vec<HolderAnswer>,
    pub writers: Observed<Vec<Writer>>,
    pub io: Io,
    /// Largest directories and files, and what each rule would let go.
    pub scan: Observed<Scan>,
    /// tmpfiles.d's exceptions, in effect order. The walk has left them out; without them no temporary file may go.
    pub tmp_exclusions: Observed<Vec<String>>,
    /// Journal files that journald writes to now; `None`: no journal on this filesystem.
    pub journal_active: Observed<Option<Bytes>>,
    /// How far the largest closed logs would shrink.
    pub compress_ratios: Vec<Ratio>,
    /// docker's images; `None`: its data root is on another filesystem.
    pub images: Observed<Option<ImageStore>>,
    pub volume: Observed<VolumeInfo>,
}

/// Load on the block devices under the filesystem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Io {
    /// Kernel names, top first.
    pub disks: Observed<Vec<String>>,
    /// Of the lowest of them, or of the disk that the signal is about.
    pub busy: Observed<Percent>,
    pub pressure: Observed<Pressure>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HolderAnswer {
    pub pid: u32,
    pub unit: Observed<HolderUnit>,
}

/// Compressed size / size of one log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    pub path: HostPath,
    pub ratio: Observed<f64>,
}

impl Evidence {
    pub(super) fn has(&self, kind: &SignalKind) -> bool {
        self.signals.iter().any(|s| s.kind == *kind)
    }

    /// The unit of a process that holds deleted files.
    pub(super) fn unit_of(&self, pid: u32) -> Option<&Observed<HolderUnit>> {
        self.holder_units.iter().find(|h| h.pid == pid).map(|h| &h.unit)
    }
}
