//! How fast the host's own counters move.

use serde::{Deserialize, Serialize};

use crate::model::{Percent, Sample};

/// Between the last two readings of each counter. `None`: not read twice yet, or the counter went back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Shares of all CPUs' time. Busy is user, nice, system, irq and softirq: neither iowait nor steal.
    pub busy: Option<Percent>,
    pub user: Option<Percent>,
    pub system: Option<Percent>,
    pub iowait: Option<Percent>,
    pub steal: Option<Percent>,
    pub cpus: Option<u64>,
    pub forks_per_s: Option<f64>,
    /// Pages.
    pub swap_in_per_s: Option<f64>,
    pub swap_out_per_s: Option<f64>,
    /// Kills since the reading before.
    pub oom_kills: Option<u64>,
    /// Slope of MemAvailable over the last minute, bytes; negative while it falls.
    pub available_per_s: Option<f64>,
}

/// What the next rates are told from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counters {
    rates: Rates,
}

impl Counters {
    pub(super) fn push(&mut self, _sample: &Sample) {}

    pub(super) fn rates(&self) -> Rates {
        self.rates
    }
}
