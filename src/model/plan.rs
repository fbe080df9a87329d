//! What would be done, before anything is. A plan leaves no choice to execution.

use serde::{Deserialize, Serialize};

use super::{Bytes, Step, Subject, Undo};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub subject: Subject,
    /// Sorted by harm, least first. Empty when only a person can help.
    pub steps: Vec<PlannedStep>,
    /// Why a person is needed, whether or not there are steps.
    pub escalate: Option<String>,
    /// Exact commands for a person, in the order to type them: for this escalation, and for any that what happens later makes necessary.
    pub follow_ups: Vec<FollowUp>,
    /// Steps of the runbook that cannot be planned here, each with its reason.
    pub not_available: Vec<Unavailable>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub step: Step,
    pub expected: Expected,
    pub undo: Undo,
    /// Why this step is in the plan, for `explain`.
    pub why: String,
}

/// What a step is expected to free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    pub bytes: Bytes,
    pub inodes: u64,
    /// The figure is an estimate (compression ratio, shared layers): the 2 % promise does not hold for it.
    pub estimate: bool,
}

/// What a person is told when BytePort stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Escalation {
    /// One sentence: what must be decided.
    pub reason: String,
    /// Exact commands, in the order to type them.
    pub follow_ups: Vec<FollowUp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowUp {
    pub why: String,
    /// One line for a shell, quoted so that a hostile file name stays one word.
    pub command: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    pub what: String,
    pub why: String,
}
