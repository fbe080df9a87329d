//! One look at the host: raw readings, nothing derived.

use serde::{Deserialize, Serialize};

use super::{FsUsage, HostPath, Mount, Now, Observed, Readings};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Now,
    /// One entry a device; the mount table itself may be unreadable.
    pub filesystems: Observed<Vec<FsSample>>,
    pub disks: Observed<Vec<DiskIo>>,
    /// `/proc/pressure/io`.
    pub io_pressure: Observed<Pressure>,
    /// The node's DiskPressure condition; `Unavailable` where there is no kubelet or none is configured.
    pub node_disk_pressure: Observed<bool>,
    /// The last memory stall that was told of since this run began, however long ago.
    #[serde(default)]
    pub stall: Option<Stall>,
    /// Everything else that the host counts.
    pub readings: Readings,
}

/// No task got on for want of memory, for longer than is borne.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stall {
    /// Boot clock, seconds: when it was told.
    pub at_s: f64,
    /// Microseconds in which nobody got on, at least, and the time that they are of.
    pub stalled_us: u64,
    pub within_us: u64,
    pub told_by: StallTeller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StallTeller {
    /// A trigger of the kernel's: the figures are those that it was set to.
    Kernel,
    /// Whoever looked again and again at what the kernel counts: the figures are what was seen.
    Look,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FsSample {
    pub mount: Mount,
    pub usage: Observed<FsUsage>,
    /// statvfs has not answered within its deadline: for how many seconds now. Unlike an error, it hangs.
    pub stuck_for_s: Option<f64>,
    /// ext4's own count of errors since mkfs (`/sys/fs/ext4/DEV/errors_count`).
    pub ext4_errors: Observed<u64>,
    /// Whether it took a write when that was last tried; `Unavailable` where nobody may try.
    pub takes_writes: Observed<bool>,
    /// Block devices that carry it (`dm-0` and what is below), for the io signal.
    pub disks: Vec<String>,
}

/// Cumulative counters of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskIo {
    pub name: String,
    /// Milliseconds spent with at least one request in flight (diskstats field 13).
    pub busy_ms: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub major: u32,
    pub minor: u32,
    pub reads: u64,
    pub reads_merged: u64,
    pub read_ms: u64,
    pub writes: u64,
    pub writes_merged: u64,
    pub write_ms: u64,
    pub in_flight: u64,
    /// Milliseconds times requests in flight.
    pub weighted_ms: u64,
    /// Discards and flushes; `None` where the kernel is too old to count them.
    pub discards: Option<Discards>,
    pub flushes: Option<Flushes>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discards {
    pub completed: u64,
    pub merged: u64,
    pub sectors: u64,
    pub ms: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushes {
    pub completed: u64,
    pub ms: u64,
}

/// A PSI file. Shares of wall time, 0..100 as the kernel prints them; totals in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    pub some_avg10: f64,
    pub some_avg60: f64,
    pub full_avg10: f64,
    pub full_avg60: f64,
    pub some_total_us: u64,
    pub full_total_us: u64,
}

impl Sample {
    /// The entry for what is mounted at `path`.
    pub fn filesystem(&self, path: &HostPath) -> Option<&FsSample> {
        self.filesystems.value()?.iter().find(|f| &f.mount.path == path)
    }
}
