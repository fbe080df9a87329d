//! How much must go.

use super::Params;
use super::signals::{FILLING, INODES, PRESSURE, USAGE};
use crate::detect::Growth;
use crate::model::{FsUsage, Signal, SignalKind};

/// What is too much, in bytes and in inodes; both 0: nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub bytes: u64,
    pub inodes: u64,
}

impl Need {
    /// Which measure counts follows from the signals: a full inode table on a filesystem at 82 % is not a matter of bytes.
    /// Without any signal (somebody asks what would be done) both floors count. `None` when the growth that decides is not known.
    pub(super) fn of(usage: &FsUsage, growth: Option<&Growth>, signals: &[Signal], params: &Params) -> Option<Self> {
        let has = |kind: &SignalKind| signals.iter().any(|s| s.kind == *kind);
        let percent = usage.used_percent();
        let over_floor = percent.is_some_and(|p| p >= params.usage_floor_percent);
        let too_full = over_floor && (signals.is_empty() || has(&USAGE) || has(&PRESSURE) || percent >= Some(params.usage_warning_percent));
        let excess = if over_floor { usage.excess_over(params.usage_floor_percent).max(1) } else { 0 };
        let bytes = match (too_full, has(&FILLING)) {
            (true, _) => excess,
            (false, false) => 0,
            // Free enough that it is not full before the forecast would clear the signal.
            (false, true) => {
                let wanted = growth?.bytes_per_s.max(0.0) * params.filling_clear_s.0;
                excess.max((wanted.ceil() as u64).saturating_sub(usage.available))
            }
        };
        let few_inodes = usage.inodes_free_percent().is_some_and(|p| p <= params.inodes_floor_percent);
        let counts = signals.is_empty() || has(&INODES) || usage.inodes_free_percent().is_some_and(|p| p <= params.inodes_low_percent);
        let inodes = if few_inodes && counts { usage.inodes_short_of(params.inodes_floor_percent).max(1) } else { 0 };
        Some(Self { bytes, inodes })
    }

    pub(super) const fn is_met(&self) -> bool {
        self.bytes == 0 && self.inodes == 0
    }
}
