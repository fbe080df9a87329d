//! What is wrong, and how sure that is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 0..1, computed from how much of the excess is explained and how fresh the evidence is. Never typed in by hand.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidence(f64);

impl Confidence {
    /// Under this nothing is done but escalating.
    pub const TO_ACT: Confidence = Confidence(0.70);
    /// Under this no process is ended: it cannot be started again.
    pub const TO_KILL: Confidence = Confidence(0.85);
    pub const NONE: Confidence = Confidence(0.0);

    /// Clamped to 0..1 and rounded to two places, so that a replay prints the same figure; what is not a number is 0.
    pub fn new(share: f64) -> Self {
        if share.is_nan() { Self::NONE } else { Self((share.clamp(0.0, 1.0) * 100.0).round() / 100.0) }
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The runbook's class name (`log_growth`); the registry lists them.
    pub class: String,
    pub confidence: Confidence,
    /// One sentence for the pager.
    pub summary: String,
    /// How much each class explains, the chosen one first.
    pub explained: Vec<Explained>,
    /// What supports the choice, in the order a person would check it.
    pub findings: Vec<Finding>,
    /// What could not be seen, each with its reason. Every entry has lowered the confidence.
    pub missing: Vec<String>,
    /// Who makes it grow, as far as that is known: a process, a unit. Told when it comes back.
    pub behind: Option<String>,
    /// A critical signal is among those that opened the episode.
    pub critical: bool,
}

/// One class's share of what must be freed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    pub class: String,
    /// In the unit of the need: bytes, or inodes for inode exhaustion.
    pub amount: u64,
    /// `amount / need`, capped at 1.
    pub share: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `largest directory`, `fastest writer`, ...
    pub what: String,
    /// The figure or name, already escaped for a terminal.
    pub value: String,
}
