//! What a host's owner allows for one runbook. The same section, with the same meaning, in `agent.toml` and `actuator.toml`;
//! each side applies its own, so the narrower one rules.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{Bytes, FileFamily, HostPath, Seconds, StepKind};

/// Resolved limits: every default is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Second consent: filesystems that opted in, by mount point.
    pub mounts: Vec<HostPath>,
    pub steps: BTreeSet<StepKind>,
    pub log_roots: Vec<HostPath>,
    pub tmp_roots: Vec<HostPath>,
    pub wal_archive_roots: Vec<HostPath>,
    pub journal_roots: Vec<HostPath>,
    pub package_cache_roots: Vec<HostPath>,
    pub pip_cache_roots: Vec<HostPath>,
    pub npm_cache_roots: Vec<HostPath>,
    pub core_dump_roots: Vec<HostPath>,
    /// Units whose deleted files may be freed by a reload or restart, besides their own `[X-Byteport] Restart=safe`.
    pub stateful_units_allowed: Vec<String>,
    pub max_files: u64,
    pub max_bytes: Bytes,
    pub cooldown: Seconds,
    pub max_volume: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        let paths = |list: &[&str]| list.iter().map(|p| HostPath::from(*p)).collect();
        Self {
            mounts: Vec::new(),
            steps: [StepKind::CompressLogs, StepKind::RotatedLogs, StepKind::VacuumJournal, StepKind::Tmp].into(),
            log_roots: paths(&["/var/log"]),
            tmp_roots: paths(&["/tmp", "/var/tmp"]),
            wal_archive_roots: Vec::new(),
            journal_roots: paths(&["/var/log/journal", "/run/log/journal"]),
            package_cache_roots: paths(&["/var/cache/apt/archives", "/var/cache/dnf", "/var/cache/yum", "/var/cache/zypp/packages"]),
            pip_cache_roots: paths(&["/root/.cache/pip"]),
            npm_cache_roots: paths(&["/root/.npm/_cacache"]),
            core_dump_roots: paths(&["/var/lib/systemd/coredump"]),
            stateful_units_allowed: Vec::new(),
            max_files: 20_000,
            max_bytes: Bytes(50 << 30),
            cooldown: Seconds(24.0 * 3600.0),
            max_volume: Bytes(500 << 30),
        }
    }
}

impl Limits {
    /// The only roots under which a family's files may lie.
    pub fn roots(&self, family: FileFamily) -> &[HostPath] {
        match family {
            FileFamily::ClosedLogs | FileFamily::RotatedLogs => &self.log_roots,
            FileFamily::WalArchives => &self.wal_archive_roots,
            FileFamily::JournalArchives => &self.journal_roots,
            FileFamily::Tmp => &self.tmp_roots,
            FileFamily::PackageCache => &self.package_cache_roots,
            FileFamily::PipCache => &self.pip_cache_roots,
            FileFamily::NpmCache => &self.npm_cache_roots,
            FileFamily::CoreDumps => &self.core_dump_roots,
        }
    }

    /// Youngest age, in seconds, that a family's files may have: the specification's numbers, not to be lowered by a plan.
    /// Zero where age is no protection (a package can be fetched again).
    pub const fn min_age_s(family: FileFamily) -> u64 {
        const H: u64 = 3600;
        match family {
            FileFamily::ClosedLogs | FileFamily::Tmp => 24 * H,
            FileFamily::RotatedLogs | FileFamily::WalArchives => 7 * 24 * H,
            FileFamily::CoreDumps => 3 * 24 * H,
            FileFamily::JournalArchives | FileFamily::PackageCache | FileFamily::PipCache | FileFamily::NpmCache => 0,
        }
    }

    /// Directories are given twice the time of what was in them.
    pub const MIN_DIR_AGE_S: u64 = 48 * 3600;
    /// Images that were just pulled may be about to be used.
    pub const MIN_IMAGE_AGE_S: u64 = 600;
}
