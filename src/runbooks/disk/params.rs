//! What can be set in `[disk]` of `agent.toml`. Every default is here, and the specification's.

use serde::{Deserialize, Serialize};

use crate::guard::Limits;
use crate::model::{Bytes, FileFamily, Percent, Seconds};
use crate::runbooks::Problem;

/// Times may be written as seconds or `"24h"`, sizes as bytes or `"100M"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// `disk_usage_high` warns at this usage, in percent as `df` prints it. Default: 85.
    pub usage_warning_percent: Percent,
    /// ... once it has lasted this long. Default: 60 s.
    pub usage_hold_s: Seconds,
    /// ... and is critical at this one, at once. Default: 95.
    pub usage_critical_percent: Percent,
    /// It clears under this, and steps stop here: the floor. Default: 80.
    pub usage_floor_percent: Percent,
    /// `inode_exhaustion` at this many percent of free inodes or fewer. Default: 5.
    pub inodes_low_percent: Percent,
    /// ... once it has lasted this long. Default: 60 s.
    pub inodes_hold_s: Seconds,
    /// It clears above this, and steps stop here. Default: 10.
    pub inodes_floor_percent: Percent,
    /// `disk_filling` when the filesystem is full in less than this at its growth. Default: 4h.
    pub filling_within_s: Seconds,
    /// It clears when the forecast is longer than this. Default: 8h.
    pub filling_clear_s: Seconds,
    /// ... and never under this usage. Default: 60.
    pub filling_min_usage_percent: Percent,
    /// `disk_io_saturation` when the device is busy for this share of the time ... Default: 95.
    pub io_busy_percent: Percent,
    /// ... and some tasks wait for io this share of the last minute ... Default: 40.
    pub io_pressure_percent: Percent,
    /// ... for this long. Default: 60 s.
    pub io_hold_s: Seconds,
    /// `mount_stuck` when statfs has not answered for this long. Default: 2 s.
    pub stuck_after_s: Seconds,

    /// The walk over the filesystem stops here, and what it did not see is said. Default: 20 s.
    pub scan_deadline_s: Seconds,
    /// Directories and files named as the largest. Default: 10.
    pub scan_top: usize,
    /// How long writers are watched. Default: 2 s.
    pub writers_window_s: Seconds,

    /// Logs are compressed when they are this old and this large ... Default: 24h.
    pub compress_min_age_s: Seconds,
    /// Default: 100M.
    pub compress_min_size: Bytes,
    /// ... or of any size when they are this old. Default: 7d.
    pub compress_any_size_age_s: Seconds,
    /// Rotated archives, and archives of write-ahead logs, are deleted when they are this old. Default: 7d.
    pub archive_min_age_s: Seconds,
    /// The journal is vacuumed to this size. Default: 200M.
    pub journal_keep: Bytes,
    /// Temporary files are deleted when they were neither read nor written nor changed for this long. Default: 24h.
    pub tmp_min_age_s: Seconds,
    /// ... and empty temporary directories after this long. Default: 48h.
    pub tmp_dir_min_age_s: Seconds,
    /// Core dumps are deleted when they are this old. Default: 3d.
    pub core_min_age_s: Seconds,
    /// Container images are kept until they are this old. Default: 10 min.
    pub image_min_age_s: Seconds,
    /// A process is a runaway writer when everything that cleaning can free, and all free space, is full again sooner than this.
    /// Default: 1h.
    pub runaway_within_s: Seconds,

    /// What may be done, where, and how much of it. The same section is the whole of `[disk]` in `actuator.toml`.
    pub limits: Limits,
}

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

impl Default for Params {
    fn default() -> Self {
        Self {
            usage_warning_percent: Percent(85.0),
            usage_hold_s: Seconds(60.0),
            usage_critical_percent: Percent(95.0),
            usage_floor_percent: Percent(80.0),
            inodes_low_percent: Percent(5.0),
            inodes_hold_s: Seconds(60.0),
            inodes_floor_percent: Percent(10.0),
            filling_within_s: Seconds(4.0 * HOUR),
            filling_clear_s: Seconds(8.0 * HOUR),
            filling_min_usage_percent: Percent(60.0),
            io_busy_percent: Percent(95.0),
            io_pressure_percent: Percent(40.0),
            io_hold_s: Seconds(60.0),
            stuck_after_s: Seconds(2.0),
            scan_deadline_s: Seconds(20.0),
            scan_top: 10,
            writers_window_s: Seconds(2.0),
            compress_min_age_s: Seconds(DAY),
            compress_min_size: Bytes(100 << 20),
            compress_any_size_age_s: Seconds(7.0 * DAY),
            archive_min_age_s: Seconds(7.0 * DAY),
            journal_keep: Bytes(200 << 20),
            tmp_min_age_s: Seconds(DAY),
            tmp_dir_min_age_s: Seconds(2.0 * DAY),
            core_min_age_s: Seconds(3.0 * DAY),
            image_min_age_s: Seconds(Limits::MIN_IMAGE_AGE_S as f64),
            runaway_within_s: Seconds(HOUR),
            limits: Limits::default(),
        }
    }
}

impl Params {
    /// Youngest age at which a family's files are candidates.
    pub fn min_age_s(&self, family: FileFamily) -> u64 {
        match family {
            FileFamily::ClosedLogs => self.compress_min_age_s.whole(),
            FileFamily::RotatedLogs | FileFamily::WalArchives => self.archive_min_age_s.whole(),
            FileFamily::Tmp => self.tmp_min_age_s.whole(),
            FileFamily::CoreDumps => self.core_min_age_s.whole(),
            FileFamily::JournalArchives | FileFamily::PackageCache | FileFamily::PipCache | FileFamily::NpmCache => 0,
        }
    }

    /// What is understood but cannot be meant.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut wrong = |bad: bool, key: &'static str, why: String| {
            if bad {
                found.push(Problem { key, why });
            }
        };
        for (key, percent) in [
            ("usage_warning_percent", self.usage_warning_percent),
            ("usage_critical_percent", self.usage_critical_percent),
            ("usage_floor_percent", self.usage_floor_percent),
            ("inodes_low_percent", self.inodes_low_percent),
            ("inodes_floor_percent", self.inodes_floor_percent),
            ("filling_min_usage_percent", self.filling_min_usage_percent),
            ("io_busy_percent", self.io_busy_percent),
            ("io_pressure_percent", self.io_pressure_percent),
        ] {
            wrong(!(0.0..=100.0).contains(&percent.0), key, format!("{percent} is not between 0 and 100"));
        }
        for (key, span) in [
            ("usage_hold_s", self.usage_hold_s),
            ("inodes_hold_s", self.inodes_hold_s),
            ("filling_within_s", self.filling_within_s),
            ("io_hold_s", self.io_hold_s),
            ("runaway_within_s", self.runaway_within_s),
            ("limits.cooldown", self.limits.cooldown),
        ] {
            wrong(span.0 < 0.0, key, format!("{} is less than nothing", span.0));
        }
        wrong(
            self.usage_floor_percent >= self.usage_warning_percent,
            "usage_floor_percent",
            format!(
                "{} must be under usage_warning_percent ({}), or the signal flaps",
                self.usage_floor_percent, self.usage_warning_percent
            ),
        );
        wrong(
            self.usage_warning_percent > self.usage_critical_percent,
            "usage_critical_percent",
            format!("{} must not be under usage_warning_percent ({})", self.usage_critical_percent, self.usage_warning_percent),
        );
        wrong(
            self.inodes_floor_percent <= self.inodes_low_percent,
            "inodes_floor_percent",
            format!("{} must be over inodes_low_percent ({}), or the signal flaps", self.inodes_floor_percent, self.inodes_low_percent),
        );
        wrong(
            self.filling_clear_s <= self.filling_within_s,
            "filling_clear_s",
            format!("{} must be longer than filling_within_s ({}), or the signal flaps", self.filling_clear_s, self.filling_within_s),
        );
        for (key, span) in
            [("stuck_after_s", self.stuck_after_s), ("scan_deadline_s", self.scan_deadline_s), ("writers_window_s", self.writers_window_s)]
        {
            wrong(!(0.1..=600.0).contains(&span.0), key, format!("{} is not between 0.1 s and 10 min", span.0));
        }
        wrong(!(1..=1000).contains(&self.scan_top), "scan_top", format!("{} is not between 1 and 1000", self.scan_top));
        for (key, family) in [
            ("compress_min_age_s", FileFamily::ClosedLogs),
            ("archive_min_age_s", FileFamily::RotatedLogs),
            ("tmp_min_age_s", FileFamily::Tmp),
            ("core_min_age_s", FileFamily::CoreDumps),
        ] {
            let least = Limits::min_age_s(family);
            wrong(
                self.min_age_s(family) < least,
                key,
                format!("nothing younger than {} is touched, whatever is written here", Seconds(least as f64)),
            );
        }
        wrong(
            self.compress_any_size_age_s < self.compress_min_age_s,
            "compress_any_size_age_s",
            format!("{} must not be shorter than compress_min_age_s ({})", self.compress_any_size_age_s, self.compress_min_age_s),
        );
        wrong(
            self.tmp_dir_min_age_s.whole() < Limits::MIN_DIR_AGE_S,
            "tmp_dir_min_age_s",
            format!("no directory younger than {} is touched, whatever is written here", Seconds(Limits::MIN_DIR_AGE_S as f64)),
        );
        wrong(
            self.image_min_age_s.whole() < Limits::MIN_IMAGE_AGE_S,
            "image_min_age_s",
            format!("no image younger than {} is touched, whatever is written here", Seconds(Limits::MIN_IMAGE_AGE_S as f64)),
        );
        for (key, roots) in [
            ("limits.log_roots", &self.limits.log_roots),
            ("limits.tmp_roots", &self.limits.tmp_roots),
            ("limits.wal_archive_roots", &self.limits.wal_archive_roots),
            ("limits.journal_roots", &self.limits.journal_roots),
            ("limits.package_cache_roots", &self.limits.package_cache_roots),
            ("limits.pip_cache_roots", &self.limits.pip_cache_roots),
            ("limits.npm_cache_roots", &self.limits.npm_cache_roots),
            ("limits.core_dump_roots", &self.limits.core_dump_roots),
        ] {
            for root in roots {
                wrong(!root.as_bytes().starts_with(b"/"), key, format!("{root} is not an absolute path"));
                if let Some(why) = crate::guard::never::root(root) {
                    wrong(true, key, format!("{root} may never be a root: {why}"));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_problem_and_every_default_is_written_out() {
        assert_eq!(Params::default().problems(), []);
        let json = serde_json::to_value(Params::default()).unwrap();
        assert_eq!(serde_json::from_value::<Params>(json.clone()).unwrap(), Params::default());
        assert_eq!(json["limits"]["max_volume_gib"], 500);
    }

    #[test]
    fn people_write_units() {
        let p: Params =
            toml::from_str("journal_keep = \"64M\"\nusage_warning_percent = 70\nusage_floor_percent = 60.5\n[limits]\ncooldown = \"1h\"\nmax_bytes = \"2G\"")
                .unwrap();
        assert_eq!((p.journal_keep, p.usage_warning_percent, p.limits.cooldown), (Bytes(64 << 20), Percent(70.0), Seconds(3600.0)));
        assert!(toml::from_str::<Params>("jurnal_keep = 1").unwrap_err().to_string().contains("jurnal_keep"));
        assert!(toml::from_str::<Params>("[limits]\nstep = []").unwrap_err().to_string().contains("step"));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let p: Params = toml::from_str(
            "usage_warning_percent = 79\ninodes_floor_percent = 5\ntmp_min_age_s = \"1h\"\nscan_deadline_s = 0\n[limits]\ntmp_roots = [\"/\", \"tmp\"]",
        )
        .unwrap();
        let keys: Vec<_> = p.problems().iter().map(|p| p.key).collect();
        assert_eq!(
            keys,
            ["usage_floor_percent", "inodes_floor_percent", "scan_deadline_s", "tmp_min_age_s", "limits.tmp_roots", "limits.tmp_roots"]
        );
    }
}
