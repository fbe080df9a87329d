//! After a crash: episodes that the record shows as open are taken up by looking, never by repeating.

use super::dialogue::{Command, Timing};
use super::episode::Episode;
use super::shared::{Shared, lock};
use crate::model::{Body, EffectState, IncidentSummary, IntentId, Outcome, Phase};
use crate::runbooks;

/// An episode that was cut, and what it does first.
pub(super) struct Cut {
    pub episode: Episode,
    pub commands: Vec<Command>,
}

pub(super) fn open_episodes(shared: &Shared, timing: Timing) -> Vec<Cut> {
    let open = lock(&shared.store).open_incidents();
    match open {
        Ok(open) => open.iter().filter_map(|summary| take_up(shared, summary, timing)).collect(),
        Err(e) => {
            tracing::error!("open incidents cannot be read, none is taken up: {e}");
            Vec::new()
        }
    }
}

fn take_up(shared: &Shared, summary: &IncidentSummary, timing: Timing) -> Option<Cut> {
    let close = |why: &str| {
        let body = Body::Closed { outcome: Outcome::Interrupted, summary: why.to_owned() };
        if let Err(e) = shared.append(&summary.id, &summary.runbook, body) {
            tracing::error!("{}: {e}", summary.id);
        }
    };
    let Some(entry) = runbooks::find(&summary.runbook) else {
        close("this version has no such runbook");
        return None;
    };
    let entries = match lock(&shared.store).entries(&summary.id) {
        Ok(entries) => entries,
        Err(e) => {
            tracing::error!("{}: its record cannot be read: {e}", summary.id);
            return None;
        }
    };
    let mut before = None;
    let mut decision = None;
    let mut round = 1;
    let mut open = None;
    let mut acted = 0;
    let mut standing: Vec<IntentId> = Vec::new();
    for entry in entries {
        match entry.body {
            Body::Evidence { phase: Phase::Diagnosis { round: r }, recorded } => {
                round = r;
                before = Some(recorded);
            }
            Body::Decision { diagnosis, plan, .. } => decision = Some((diagnosis, plan)),
            Body::Intent { intent, kind, .. } => {
                if kind.is_standing() {
                    standing.push(intent.clone());
                }
                open = Some(intent);
            }
            // A refusal or an effect ends the intent before it; what is unknown stays open.
            Body::Refused { .. } => standing.retain(|s| Some(s) != open.take().as_ref()),
            Body::Effect { intent, effect } => {
                open = None;
                acted += 1;
                if effect.state == EffectState::Failed {
                    standing.retain(|s| s != &intent);
                }
            }
            Body::Undone { intent, .. } | Body::UndoRefused { intent, .. } => standing.retain(|s| s != &intent),
            _ => {}
        }
    }
    let episode = Episode::new(summary.id.clone(), entry, summary.subject.clone(), Vec::new(), shared.params(&entry.id), timing);
    let (episode, commands) = episode.resume(round, before, decision, open, acted, standing, &shared.host.now());
    Some(Cut { episode, commands })
}
