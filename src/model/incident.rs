//! The record of one episode: what was seen, decided, refused, done and found afterwards, in the order it happened.

use serde::{Deserialize, Serialize};

use super::{
    AfterStep, Diagnosis, Effect, Escalation, IncidentId, IntentId, Now, Outcome, Plan, Recorded, Refusal, RunbookId, Signal, StepKind,
    Subject, Verdict,
};

/// One entry of the record. `seq` counts over the whole host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: u64,
    pub incident: IncidentId,
    pub at: Now,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    Opened {
        runbook: RunbookId,
        subject: Subject,
        signals: Vec<Signal>,
    },
    /// Another signal of the same subject was raised, or one cleared.
    Signals {
        signals: Vec<Signal>,
    },
    Evidence {
        phase: Phase,
        recorded: Recorded,
    },
    /// Made from the newest evidence before it, these parameters and this `now`: a replay makes it again.
    Decision {
        now: Now,
        params: serde_json::Value,
        diagnosis: Diagnosis,
        plan: Plan,
    },
    Refused {
        round: u32,
        step: u32,
        kind: StepKind,
        refusal: Refusal,
    },
    /// Durable before the actuator is asked. `step` counts the plan's steps from 1.
    Intent {
        intent: IntentId,
        round: u32,
        step: u32,
        kind: StepKind,
        subject: Subject,
        files: u64,
        bytes: u64,
        /// The unit, or the name of the process in none, that it works on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<String>,
    },
    Effect {
        intent: IntentId,
        effect: Effect,
    },
    /// The actuator died, hung or could not be asked: what was done is not known yet.
    EffectUnknown {
        intent: IntentId,
        why: String,
    },
    AfterStep {
        intent: IntentId,
        after: AfterStep,
    },
    Verdict {
        verdict: Verdict,
    },
    Escalated {
        escalation: Escalation,
    },
    Undone {
        intent: IntentId,
        effect: Effect,
    },
    UndoRefused {
        intent: IntentId,
        refusal: Refusal,
    },
    /// Something a reader of the story should know.
    Note {
        text: String,
    },
    Closed {
        outcome: Outcome,
        summary: String,
    },
}

/// When evidence was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// For the diagnosis of a round.
    Diagnosis {
        round: u32,
    },
    AfterStep {
        round: u32,
        step: u32,
    },
    Verify,
    /// Once more a little later: is it filling again?
    Refill,
}

/// What lists show of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentSummary {
    pub id: IncidentId,
    pub runbook: RunbookId,
    pub subject: Subject,
    pub opened: Now,
    pub closed: Option<Now>,
    pub class: Option<String>,
    pub outcome: Option<Outcome>,
    pub summary: String,
}
