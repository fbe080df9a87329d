//! What a walk is asked for, and what a look at a filesystem found: its tree, the deleted files still held on it, and who writes to it.

use serde::{Deserialize, Serialize};

use super::{FileFamily, FileTarget, HostPath};

/// Candidates of one family: regular files under `root` that match and are old enough.
#[derive(Debug, Clone)]
pub struct FamilyAsk {
    pub family: FileFamily,
    pub root: HostPath,
    /// By the newest of access, change and modification for tmp, of change and modification else.
    pub min_age_s: u64,
    /// Only files at least this large on disk (0: all) ...
    pub min_size: u64,
    /// ... unless they are this old; `None`: no such exception.
    pub or_age_s: Option<u64>,
    /// Glob patterns on the file name; empty: all.
    pub names: Vec<String>,
    /// Glob patterns on the absolute path that are left alone (tmpfiles.d's x and X).
    pub exclude: Vec<String>,
    /// Also collect directories that would be empty then and are at least this old.
    pub dirs_min_age_s: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    pub files: u64,
    pub dirs: u64,
    pub on_disk: u64,
    pub apparent: u64,
    /// Directories by bytes on disk below them (descendants included), largest first.
    pub largest_dirs: Vec<DirUse>,
    pub largest_files: Vec<FileUse>,
    /// Directories by number of direct entries.
    pub most_entries: Vec<DirUse>,
    pub candidates: Vec<Candidates>,
    /// Walked to the end.
    pub complete: bool,
    /// What was not seen and why (unreadable, vanished, out of time): counts by reason, and the first few names.
    pub not_seen: Vec<NotSeen>,
    /// Seconds it took, by the boot clock.
    pub took_s: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirUse {
    pub path: HostPath,
    pub on_disk: u64,
    pub apparent: u64,
    pub entries: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileUse {
    pub path: HostPath,
    pub on_disk: u64,
    pub apparent: u64,
    /// Seconds since it was last modified.
    pub age_s: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidates {
    pub family: FileFamily,
    pub root: HostPath,
    pub files: Vec<FileTarget>,
    pub dirs: Vec<FileTarget>,
    /// All that matched, kept or not, without the hard-linked ones.
    pub total_files: u64,
    pub total_on_disk: u64,
    /// Matched but has more than one link: would free nothing.
    pub hard_linked: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotSeen {
    pub why: String,
    pub count: u64,
    pub examples: Vec<HostPath>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldFiles {
    pub files: Vec<HeldFile>,
    /// Processes whose descriptors could not be read.
    pub unreadable_processes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldFile {
    pub pid: u32,
    pub start_ticks: u64,
    pub comm: String,
    pub fd: u32,
    pub ino: u64,
    /// Blocks * 512, counted once however many descriptors hold it.
    pub on_disk: u64,
    /// The name it had.
    pub path: HostPath,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Writer {
    pub pid: u32,
    pub start_ticks: u64,
    pub comm: String,
    /// Systemd unit or cgroup, from `/proc/PID/cgroup`.
    pub cgroup: String,
    pub bytes_per_s: f64,
    /// The file on the device that grew most among its open ones.
    pub growing: Option<HostPath>,
    pub growing_bytes_per_s: f64,
}
