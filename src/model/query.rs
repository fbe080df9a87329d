//! Questions that only root can answer. The actuator answers them and changes nothing.

use serde::{Deserialize, Serialize};

use super::{Bytes, HostPath, Observed};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// Images of the local docker engine, and which of them containers use.
    Images,
    /// The logical volume under a mount, and the free extents beside it.
    Volume { mount: HostPath },
    /// The unit a process belongs to, and whether that unit opted in to restarts.
    HolderUnit { pid: u32 },
    /// Whether the filesystems that opted in take writes: tried with a file that never has a name.
    Writes,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Images(ImageStore),
    Volume(VolumeInfo),
    HolderUnit(HolderUnit),
    Writes(Vec<WriteTrial>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageStore {
    /// docker's data root: which filesystem it fills.
    pub root: HostPath,
    pub images: Vec<ImageInfo>,
    /// Bytes of all layers, each counted once.
    pub layers: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    pub id: String,
    pub tags: Vec<String>,
    pub digests: Vec<String>,
    /// Bytes that no other image shares: what removing it frees at least.
    pub unique: Bytes,
    /// Seconds since it was made or pulled, whichever is later and known.
    pub age_s: u64,
    /// Used by a container, running or stopped.
    pub in_use: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeInfo {
    pub vg: String,
    pub lv: String,
    pub size: Bytes,
    pub vg_free: Bytes,
    pub extent: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderUnit {
    pub unit: String,
    pub active_state: String,
    /// `[X-Byteport] Restart=safe` in the unit or a drop-in.
    pub restart_safe: bool,
    /// `ExecReload=` exists.
    pub can_reload: bool,
}

/// One attempt to write to a filesystem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteTrial {
    pub device: u64,
    /// False: refused as filesystems do after an error. `Unavailable`: it could not be told.
    pub accepted: Observed<bool>,
}
