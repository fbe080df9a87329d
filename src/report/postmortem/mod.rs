//! One incident, told to its end: a value that is JSON as it stands, and Markdown or text by way of its renderers.

mod markdown;
mod text;
mod timeline;

use std::collections::BTreeMap;

pub(crate) use markdown::{expected, real};
pub(crate) use timeline::looked;

use serde::Serialize;

use super::human::{deviation, seconds_between};
use super::steps;
use super::story::{StepStory, Story};
use crate::model::{
    Bytes, Confidence, Diagnosis, EffectState, Explained, Finding, FollowUp, Now, Outcome, RefusalReason, Severity, Skip, SkipReason,
    StepKind, Undo, Verdict,
};

/// Everything a reader who was not there needs. Times are RFC 3339 UTC, sizes bytes, spans seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Postmortem {
    /// Raised when a field changes its meaning.
    pub postmortem: u32,
    pub id: String,
    pub host: Option<String>,
    pub agent_version: String,
    pub runbook: String,
    pub subject: String,
    pub opened: Now,
    pub closed: Option<Now>,
    pub lasted_s: Option<f64>,
    pub outcome: Option<Outcome>,
    pub summary: String,
    pub signals: Vec<Raised>,
    pub timeline: Vec<Moment>,
    pub diagnosis: Option<Diagnosed>,
    pub steps: Vec<Told>,
    pub freed: Bytes,
    pub verdict: Option<Verdict>,
    pub root_cause: String,
    /// What a person was asked to decide.
    pub escalation: Option<String>,
    pub follow_ups: Vec<FollowUp>,
    /// Whether the chain over the record is whole; the reason when it is not or could not be told.
    pub record_doubt: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Raised {
    pub kind: String,
    pub severity: Severity,
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    pub at: jiff::Timestamp,
    /// Seconds since the incident was opened.
    pub plus_s: f64,
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosed {
    pub class: String,
    pub confidence: Confidence,
    pub summary: String,
    pub explained: Vec<Explained>,
    pub findings: Vec<Finding>,
    pub missing: Vec<String>,
}

/// One step of the plan: what was expected, what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    pub round: u32,
    pub step: u32,
    pub kind: StepKind,
    /// `done`, `refused`, `not needed`, ...
    pub fate: &'static str,
    pub does: Option<String>,
    pub expected_bytes: Option<Bytes>,
    pub expected_inodes: Option<u64>,
    pub estimate: bool,
    pub freed: Option<Bytes>,
    /// (freed - expected) / expected * 100.
    pub deviation_percent: Option<f64>,
    pub available_delta: Option<i64>,
    pub inodes: Option<u64>,
    pub done: Option<u64>,
    pub skipped: BTreeMap<SkipReason, u64>,
    pub examples: Vec<Skip>,
    pub notes: Vec<String>,
    pub undo: Option<Undo>,
    pub refused: Vec<RefusedFor>,
    pub not_known: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefusedFor {
    pub reason: RefusalReason,
    pub detail: String,
    pub would_change: &'static str,
}

/// Where the record came from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub host: Option<&'a str>,
    pub agent_version: &'a str,
    pub record_doubt: Option<&'a str>,
}

impl Postmortem {
    pub fn of(story: &Story<'_>, from: Source<'_>) -> Self {
        let steps: Vec<Told> = story.steps().map(|(round, step)| Told::of(round.number, step)).collect();
        Self {
            postmortem: 1,
            id: story.summary.id.0.clone(),
            host: from.host.map(str::to_owned),
            agent_version: from.agent_version.to_owned(),
            runbook: story.summary.runbook.to_string(),
            subject: story.summary.subject.to_string(),
            opened: story.opened().clone(),
            closed: story.closed.cloned(),
            lasted_s: story.closed.map(|c| seconds_between(story.opened(), c)),
            outcome: story.outcome,
            summary: story.summary.summary.clone(),
            signals: (story.signals.iter())
                .map(|s| Raised { kind: s.kind.to_string(), severity: s.severity, detail: s.detail.clone() })
                .collect(),
            timeline: timeline::moments(story),
            diagnosis: story.diagnosis().map(Diagnosed::of),
            freed: steps.iter().filter_map(|s| s.freed).sum(),
            steps,
            verdict: story.verdict.cloned(),
            root_cause: root_cause(story),
            escalation: story.asked_of_a_person().map(|e| e.reason),
            follow_ups: follow_ups(story),
            record_doubt: from.record_doubt.map(str::to_owned),
        }
    }
}

impl Diagnosed {
    fn of(d: &Diagnosis) -> Self {
        Self {
            class: d.class.clone(),
            confidence: d.confidence,
            summary: d.summary.clone(),
            explained: d.explained.clone(),
            findings: d.findings.clone(),
            missing: d.missing.clone(),
        }
    }
}

impl Told {
    fn of(round: u32, step: &StepStory<'_>) -> Self {
        let (planned, effect) = (step.planned, step.effect);
        Self {
            round,
            step: step.number,
            kind: step.kind,
            fate: steps::fate(step),
            does: planned.map(|p| steps::does(&p.step)),
            expected_bytes: planned.map(|p| p.expected.bytes),
            expected_inodes: planned.map(|p| p.expected.inodes),
            estimate: planned.is_some_and(|p| p.expected.estimate),
            freed: effect.map(|e| e.freed),
            deviation_percent: effect.and_then(|e| deviation(step.expected_bytes(), e.freed.0)).map(|d| (d * 100.0).round() / 100.0),
            available_delta: effect.and_then(|e| e.available_delta),
            inodes: effect.map(|e| e.inodes),
            done: effect.map(|e| e.done),
            skipped: effect.map(|e| e.skipped.clone()).unwrap_or_default(),
            examples: effect.map(|e| e.examples.clone()).unwrap_or_default(),
            notes: effect.map(|e| e.notes.clone()).unwrap_or_default(),
            undo: planned.map(|p| p.undo.clone()),
            refused: (step.refusals.iter())
                .map(|r| RefusedFor { reason: r.reason, detail: r.detail.clone(), would_change: super::refusals::would_change(r.reason) })
                .collect(),
            not_known: step.unknown.filter(|_| effect.is_none()).map(str::to_owned),
        }
    }
}

/// The diagnosis' own sentence, with how firmly it may be believed.
fn root_cause(story: &Story<'_>) -> String {
    let Some(d) = story.diagnosis() else {
        return "Not established: the incident ended before a diagnosis was made.".into();
    };
    let weight = d.explained.first().map(|e| format!("; {} explains {}", e.class, super::human::share(e.share))).unwrap_or_default();
    if d.confidence < Confidence::TO_ACT {
        return format!(
            "Not established: {} is the best explanation, but its confidence of {} is under {}{weight}.",
            d.class,
            d.confidence,
            Confidence::TO_ACT
        );
    }
    format!("{}: {} (confidence {}{weight}).", d.class, d.summary.trim_end_matches('.'), d.confidence)
}

/// What a person was told to type, then what this record itself suggests.
fn follow_ups(story: &Story<'_>) -> Vec<FollowUp> {
    let mut list: Vec<FollowUp> = story.asked_of_a_person().map(|e| e.follow_ups).unwrap_or_default();
    let id = crate::model::shell_word(&story.summary.id.0);
    let mut add = |why: &str, command: String| list.push(FollowUp { why: why.into(), command });
    let undoable = |s: &StepStory<'_>| {
        s.effect.is_some_and(|e| e.state != EffectState::Failed && e.done > 0)
            && s.undone.is_none()
            && matches!(s.planned.map(|p| &p.undo), Some(Undo::ByActuator { .. }))
    };
    match story.outcome {
        Some(Outcome::Observed) => {
            add("see every refusal and what would change it", format!("byteportctl explain {id}"));
        }
        Some(Outcome::Interrupted) => {
            add("see what is so now; nothing is repeated by itself", "byteportctl status".into());
        }
        _ => {}
    }
    if story.steps().any(|(_, s)| undoable(s)) {
        add("take back what can be taken back, if it was not wanted", format!("byteportctl undo {id}"));
    }
    add("keep the evidence: whoever gets this file can replay the decision", format!("byteportctl bundle {id} -o {id}.json"));
    list
}
