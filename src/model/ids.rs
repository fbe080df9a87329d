//! Names that travel: short enough to type at three in the morning, unique enough to be quoted in a ticket.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A runbook's name, as in `[disk]`, `byteportctl plan disk`, `BYTEPORT_RUNBOOK=disk`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunbookId(pub Cow<'static, str>);

impl RunbookId {
    /// A runbook's own constant.
    pub const fn new(id: &'static str) -> Self {
        Self(Cow::Borrowed(id))
    }
}

impl fmt::Display for RunbookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One episode's record: `disk-261121-215506-3f9a` (runbook, UTC date and time, four hex digits).
/// The time part sorts; the digits keep two hosts' incidents of the same second apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub String);

impl IncidentId {
    /// `salt` tells apart what the second does not; callers take it from the kernel's random source.
    pub fn new(runbook: &RunbookId, at: jiff::Timestamp, salt: u16) -> Self {
        Self(format!("{runbook}-{}-{salt:04x}", at.strftime("%y%m%d-%H%M%S")))
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One act of one incident: `disk-261121-215506-3f9a/1.2` (round 1, step 2).
/// The actuator performs an intent at most once, however often it is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntentId(pub String);

impl IntentId {
    /// Rounds and steps count from 1.
    pub fn new(incident: &IncidentId, round: u32, step: u32) -> Self {
        Self(format!("{incident}/{round}.{step}"))
    }

    /// `1.2`: round and step, for where the incident is clear.
    pub fn short(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, short)| short)
    }

    /// The step it was made for, counted from 1; 0 when the text is not ours.
    pub fn step(&self) -> u32 {
        self.0.rsplit_once('.').and_then(|(_, step)| step.parse().ok()).unwrap_or(0)
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
