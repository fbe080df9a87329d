//! The entries as moments, each one sentence.

use super::super::human::{clean, seconds_between};
use super::super::steps;
use super::super::story::Story;
use super::Moment;
use crate::model::{Body, Bytes, Outcome, Phase};

pub(super) fn moments(story: &Story<'_>) -> Vec<Moment> {
    let plus = |at: &crate::model::Now| (seconds_between(story.opened(), at) * 1000.0).round() / 1000.0;
    let moment = |e: &crate::model::Entry| Moment { at: e.at.wall, plus_s: plus(&e.at), what: what(&e.body) };
    story.entries.iter().map(moment).collect()
}

fn what(body: &Body) -> String {
    match body {
        Body::Opened { runbook, subject, signals } => {
            let raised: Vec<String> =
                signals.iter().map(|s| format!("{} ({}): {}", s.kind, s.severity.as_str(), clean(&s.detail))).collect();
            format!("opened by runbook {runbook} for {}: {}", clean(&subject.to_string()), raised.join("; "))
        }
        Body::Signals { signals } if signals.is_empty() => "every signal has cleared".into(),
        Body::Signals { signals } => {
            let raised: Vec<String> = signals.iter().map(|s| format!("{} ({})", s.kind, s.severity.as_str())).collect();
            format!("signals are now {}", raised.join(", "))
        }
        Body::Evidence { phase, recorded } => format!("{} (evidence schema {})", looked(*phase), recorded.schema),
        Body::Decision { diagnosis, plan, .. } => {
            let steps: Vec<&str> = plan.steps.iter().map(|s| s.step.kind().as_str()).collect();
            let planned = if steps.is_empty() { "no step planned".to_owned() } else { format!("planned {}", steps.join(", ")) };
            let person = if plan.escalate.is_some() { "; a person is needed" } else { "" };
            format!("diagnosed {} with confidence {}; {planned}{person}", clean(&diagnosis.class), diagnosis.confidence)
        }
        Body::Refused { step, kind, refusal, .. } => format!("step {step}, {}, refused: {}", kind.as_str(), clean(&refusal.to_string())),
        Body::Intent { step, kind, on: Some(on), .. } => format!("step {step}: {} begun, on {}", steps::title(*kind), clean(on)),
        Body::Intent { step, kind, files, bytes, on: None, .. } => {
            format!("step {step}: {} begun ({files} objects, {})", steps::title(*kind), Bytes(*bytes))
        }
        Body::Effect { intent, effect } => format!("{}: {}", number(&intent.0), steps::did(effect)),
        Body::EffectUnknown { intent, why } => format!("{}: what it did is not known: {}", number(&intent.0), clean(why)),
        Body::AfterStep { intent, after } => format!("{}: {}", number(&intent.0), steps::after(after)),
        Body::Verdict { verdict } => format!("verdict: {}", steps::verdict(verdict)),
        Body::Escalated { escalation } => format!("handed to a person: {}", clean(&escalation.reason)),
        Body::Undone { intent, effect } => format!("{} undone: {}", number(&intent.0), steps::did(effect)),
        Body::UndoRefused { intent, refusal } => format!("{}: undo refused: {}", number(&intent.0), clean(&refusal.to_string())),
        Body::Note { text } => clean(text),
        Body::Closed { outcome, summary } => {
            let ended = match outcome {
                Outcome::Interrupted => "closed as interrupted",
                other => steps::ended(Some(*other)),
            };
            format!("{ended}: {}", clean(summary))
        }
    }
}

pub(crate) fn looked(phase: Phase) -> String {
    match phase {
        Phase::Diagnosis { round: 1 } => "looked at the host".into(),
        Phase::Diagnosis { round } => format!("looked at the host again for round {round}"),
        Phase::AfterStep { step, .. } => format!("looked again after step {step}"),
        Phase::Verify => "looked again to verify".into(),
        Phase::Refill => "looked once more: is it filling again?".into(),
    }
}

/// `step 1.2` of `disk-.../1.2`.
fn number(intent: &str) -> String {
    format!("step {}", clean(intent.rsplit('/').next().unwrap_or(intent)))
}
