//! How it ended, against the signal that caused it.

use serde::{Deserialize, Serialize};

/// Three values: being unable to tell is neither success nor failure, and it never ends an incident as healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Resolved { why: String },
    NotResolved { why: String },
    Unknown { why: String },
}

/// What to do after a step, decided from evidence before and after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterStep {
    /// Not there yet: take the next step.
    Continue { why: String },
    /// The floor is reached: stop here.
    Enough { why: String },
    /// It got worse, or cannot be told: no further step.
    Abort { why: String },
}

/// How an incident ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Acted, and the verdict is Resolved.
    Healed,
    /// The signal cleared without us.
    Cleared,
    /// Diagnosed and planned, not allowed to act: what would have been done is in the record.
    Observed,
    /// A person must decide.
    Escalated,
    /// The agent stopped in the middle; a later start closes it.
    Interrupted,
}

impl Outcome {
    pub const ALL: [Outcome; 5] = [Self::Healed, Self::Cleared, Self::Observed, Self::Escalated, Self::Interrupted];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healed => "healed",
            Self::Cleared => "cleared",
            Self::Observed => "observed",
            Self::Escalated => "escalated",
            Self::Interrupted => "interrupted",
        }
    }
}
