//! What lists show of an incident, kept up to date entry by entry. Pure.

use super::{Body, IncidentId, IncidentSummary, Now};

impl Body {
    /// Its kind, as it stands beside it in the record.
    pub const fn kind(&self) -> &'static str {
        match self {
            Body::Opened { .. } => "opened",
            Body::Signals { .. } => "signals",
            Body::Evidence { .. } => Self::EVIDENCE,
            Body::Decision { .. } => "decision",
            Body::Refused { .. } => "refused",
            Body::Intent { .. } => "intent",
            Body::Effect { .. } => "effect",
            Body::EffectUnknown { .. } => "effect_unknown",
            Body::AfterStep { .. } => "after_step",
            Body::Verdict { .. } => "verdict",
            Body::Escalated { .. } => "escalated",
            Body::Undone { .. } => "undone",
            Body::UndoRefused { .. } => "undo_refused",
            Body::Note { .. } => "note",
            Body::Closed { .. } => "closed",
        }
    }

    pub const EVIDENCE: &'static str = "evidence";
}

impl IncidentSummary {
    /// The summary after one more entry; `None` for an incident that was never opened.
    pub fn after(old: Option<&IncidentSummary>, id: &IncidentId, at: &Now, body: &Body) -> Option<IncidentSummary> {
        if let Body::Opened { runbook, subject, signals } = body {
            let summary = signals.iter().map(|s| format!("{}: {}", s.kind, s.detail)).collect::<Vec<_>>().join("; ");
            return Some(IncidentSummary {
                id: id.clone(),
                runbook: runbook.clone(),
                subject: subject.clone(),
                opened: at.clone(),
                closed: None,
                class: None,
                outcome: None,
                summary,
            });
        }
        let mut new = old?.clone();
        match body {
            Body::Decision { diagnosis, .. } => {
                new.class = Some(diagnosis.class.clone());
                new.summary.clone_from(&diagnosis.summary);
            }
            Body::Closed { outcome, summary } => {
                new.closed = Some(at.clone());
                new.outcome = Some(*outcome);
                new.summary.clone_from(summary);
            }
            _ => {}
        }
        Some(new)
    }
}
