//! What a host's owner allows for one runbook. The same section, with the same meaning, in `agent.toml` and `actuator.toml`;
//! each side applies its own, so the narrower one rules.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::never;
use crate::model::{Bytes, FileFamily, HostPath, Seconds, StepKind};

/// Resolved limits: every default is in, unknown keys are refused. `[disk.limits]` in `agent.toml`, `[disk]` in `actuator.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Second consent: filesystems that opted in, by mount point. Default: none.
    pub mounts: Vec<HostPath>,
    /// Kinds of steps that may be taken. Default: compress_logs, rotated_logs, vacuum_journal, tmp, and those that are taken back by
    /// themselves (oom_preference, cpu_weight, calm_process, cpu_quota, memory_high); everything else is opt-in.
    pub steps: BTreeSet<StepKind>,
    /// Where logs lie that may be compressed, and deleted once they are rotated. Default: /var/log.
    pub log_roots: Vec<HostPath>,
    /// Default: /tmp and /var/tmp.
    pub tmp_roots: Vec<HostPath>,
    /// Archives of a database's write-ahead log; only what is named here. Default: none.
    pub wal_archive_roots: Vec<HostPath>,
    /// Default: /var/log/journal and /run/log/journal.
    pub journal_roots: Vec<HostPath>,
    /// Default: the caches of apt, dnf, yum and zypper.
    pub package_cache_roots: Vec<HostPath>,
    /// Default: root's own.
    pub pip_cache_roots: Vec<HostPath>,
    /// Default: root's own.
    pub npm_cache_roots: Vec<HostPath>,
    /// Default: /var/lib/systemd/coredump.
    pub core_dump_roots: Vec<HostPath>,
    /// Parts of the names of further units that keep state: `["ledger"]` keeps `shop-ledger.service` from being touched. Default: none besides
    /// those that are known to (postgres, mysql, redis, kafka ...).
    pub stateful_units: Vec<String>,
    /// Units that keep state by their name and may be reloaded or restarted all the same. Their own `[X-Byteport] Restart=safe`
    /// is needed besides. Default: none.
    pub stateful_units_allowed: Vec<String>,
    /// Programs that belong to no unit and may be slowed down or ended all the same, by the name that the kernel has for them (at most 15
    /// bytes). Default: none.
    pub processes: Vec<String>,
    /// Restarts of one service in an hour, whichever runbook asks. Default: 3.
    pub max_restarts_per_hour: u64,
    /// Processes ended on this host in an hour. Default: 3.
    pub max_kills_per_hour: u64,
    /// Where heap snapshots go; only what is named here. Default: none.
    pub heap_snapshot_roots: Vec<HostPath>,
    /// Files, directories, images and units that one run may touch. Default: 20000.
    pub max_files: u64,
    /// Bytes that one run may touch. Default: 50G.
    pub max_bytes: Bytes,
    /// How long a filesystem is left alone after a run. Default: 24h.
    pub cooldown: Seconds,
    /// Size that no volume may be grown beyond, in GiB. Default: 500.
    #[serde(rename = "max_volume_gib", with = "gib")]
    pub max_volume: Bytes,
}

/// Whole GiB in the configuration, bytes in the code.
mod gib {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::Bytes;

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        (bytes.0 >> 30).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        let gib = u64::deserialize(d)?;
        gib.checked_mul(1 << 30)
            .map(Bytes)
            .ok_or_else(|| serde::de::Error::custom(format!("{gib} GiB is more than can be counted in bytes")))
    }
}

impl Default for Limits {
    fn default() -> Self {
        let paths = |list: &[&str]| list.iter().map(|p| HostPath::from(*p)).collect();
        Self {
            mounts: Vec::new(),
            steps: StepKind::ALL
                .into_iter()
                .filter(|kind| kind.is_standing())
                .chain([StepKind::CompressLogs, StepKind::RotatedLogs, StepKind::VacuumJournal, StepKind::Tmp])
                .collect(),
            log_roots: paths(&["/var/log"]),
            tmp_roots: paths(&["/tmp", "/var/tmp"]),
            wal_archive_roots: Vec::new(),
            journal_roots: paths(&["/var/log/journal", "/run/log/journal"]),
            package_cache_roots: paths(&["/var/cache/apt/archives", "/var/cache/dnf", "/var/cache/yum", "/var/cache/zypp/packages"]),
            pip_cache_roots: paths(&["/root/.cache/pip"]),
            npm_cache_roots: paths(&["/root/.npm/_cacache"]),
            core_dump_roots: paths(&["/var/lib/systemd/coredump"]),
            stateful_units: Vec::new(),
            stateful_units_allowed: Vec::new(),
            processes: Vec::new(),
            max_restarts_per_hour: 3,
            max_kills_per_hour: 3,
            heap_snapshot_roots: Vec::new(),
            max_files: 20_000,
            max_bytes: Bytes(50 << 30),
            cooldown: Seconds(24.0 * 3600.0),
            max_volume: Bytes(500 << 30),
        }
    }
}

impl Limits {
    /// The keys, besides `steps`, that a step of this kind goes by.
    pub const fn keys(kind: StepKind) -> &'static [&'static str] {
        match kind {
            StepKind::CompressLogs | StepKind::RotatedLogs => &["mounts", "log_roots", "max_files", "max_bytes", "cooldown"],
            StepKind::WalArchives => &["mounts", "wal_archive_roots", "max_files", "max_bytes", "cooldown"],
            StepKind::VacuumJournal => &["mounts", "journal_roots", "max_files", "max_bytes", "cooldown"],
            StepKind::Tmp => &["mounts", "tmp_roots", "max_files", "max_bytes", "cooldown"],
            StepKind::PackageCache => &["mounts", "package_cache_roots", "max_files", "max_bytes", "cooldown"],
            StepKind::PipCache => &["mounts", "pip_cache_roots", "max_files", "max_bytes", "cooldown"],
            StepKind::NpmCache => &["mounts", "npm_cache_roots", "max_files", "max_bytes", "cooldown"],
            StepKind::CoreDumps => &["mounts", "core_dump_roots", "max_files", "max_bytes", "cooldown"],
            StepKind::PruneImages => &["mounts", "max_files", "max_bytes", "cooldown"],
            StepKind::GrowVolume => &["mounts", "max_volume_gib", "cooldown"],
            StepKind::RestartHolder => &["mounts", "stateful_units", "stateful_units_allowed", "max_restarts_per_hour", "cooldown"],
            StepKind::CpuWeight | StepKind::CpuQuota | StepKind::MemoryHigh => &["stateful_units", "stateful_units_allowed"],
            StepKind::OomPreference | StepKind::CalmProcess => &["stateful_units", "stateful_units_allowed", "processes"],
            StepKind::HeapSnapshot => &["stateful_units", "stateful_units_allowed", "processes", "heap_snapshot_roots"],
            StepKind::RestartUnit => &["stateful_units", "stateful_units_allowed", "max_restarts_per_hour"],
            StepKind::KillProcess => &["stateful_units", "stateful_units_allowed", "processes", "max_kills_per_hour"],
        }
    }

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

    /// Whether this unit keeps state, by its name, and is not allowed to be touched all the same.
    pub fn keeps_state(&self, unit: &str) -> bool {
        never::stateful_unit(unit, &self.stateful_units) && !self.stateful_units_allowed.iter().any(|allowed| allowed == unit)
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
