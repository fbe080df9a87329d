//! What the largest and hottest processes and groups used over time: growth, what is usual for them, and how often they are held back.

use serde::{Deserialize, Serialize};

use super::Growth;
use crate::model::{Bytes, HostPath, Percent, Sample, Seconds};

/// One consumer's past, as far as it was among those that are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// How long it has been followed.
    pub over: Seconds,
    /// Straight line through its memory over all of that; `None` while it is too short to say.
    pub growth: Option<Growth>,
    /// The same over the last five minutes: what rises over hours and falls now is no leak that has to be acted on.
    pub lately: Option<Growth>,
    pub memory: Bytes,
    pub memory_peak: Bytes,
    /// Median over what is kept, the last five minutes left out.
    pub memory_usual: Option<Bytes>,
    /// Of one CPU, median in the same way, and now.
    pub cpu_usual: Option<Percent>,
    pub cpu: Option<Percent>,
    /// How long it has been at 90 % of one CPU or more without a break.
    pub flat_out: Seconds,
    /// Of its CPU quota's periods over the last minute, in how many it was held back.
    pub throttled: Option<Percent>,
}

/// By cgroup path, and by pid with start time: a fixed number of each, in a fixed number of bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Consumers {}

impl Consumers {
    pub(super) fn push(&mut self, _sample: &Sample) {}

    pub(super) fn group(&self, _path: &HostPath) -> Option<Past> {
        None
    }

    pub(super) fn process(&self, _pid: u32, _start_ticks: u64) -> Option<Past> {
        None
    }
}
