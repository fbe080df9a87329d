//! Agent -> actuator and back. One request, one response, in order, on one connection.

use serde::{Deserialize, Serialize};

pub use crate::model::IntentOutcome;
use crate::model::{Answer, Effect, IncidentId, IntentId, Observed, PlannedStep, Query, Refusal, RunbookId, StepKind, Subject};

/// Raised when a message changes its meaning; the actuator refuses every other number.
pub const VERSION: u32 = 1;

/// Units of [`Ask::Soon`] that are looked at; the others are not.
pub const MOST_SOON: usize = 8;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub version: u32,
    pub ask: Ask,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Who are you, what do you allow?
    Hello,
    /// The same, and of these units something may be asked soon, when systemd answers nobody: have them known by then.
    Soon { units: Vec<String> },
    /// Carry out one step, at most once for its intent.
    Perform(Box<Perform>),
    /// What became of this intent?
    Outcome { intent: IntentId },
    /// Take back what this intent did, as far as it can be.
    Undo { intent: IntentId },
    /// Answer without changing anything.
    Look { query: Query },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Perform {
    pub intent: IntentId,
    pub incident: IncidentId,
    pub runbook: RunbookId,
    pub subject: Subject,
    pub planned: PlannedStep,
    /// Confidence of the diagnosis, 0..1; the actuator refuses under 0.70 as well.
    pub confidence: f64,
    /// Seconds after which the actuator stops at the next safe point.
    pub deadline_s: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    Hello(Hello),
    /// Performed now, or earlier under the same intent.
    Effect(Effect),
    Refused(Refusal),
    Outcome(IntentOutcome),
    Answer(Observed<Answer>),
    /// The request was not understood; nothing was done.
    Malformed {
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    pub program: String,
    /// First consent: runbooks that the host's policy allows.
    pub runbooks: Vec<String>,
    /// Second consent: mounts that opted in.
    pub mounts: Vec<String>,
    pub steps: Vec<StepKind>,
    /// The ledger's chain is whole and it can be written.
    pub ledger: Observed<u64>,
    /// `BYTEPORT_DRY_RUN=true` is set for the actuator.
    pub dry_run: bool,
}
