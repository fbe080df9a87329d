//! What open incidents have left: after a crash they are taken up by looking, never by repeating; before a stop, what stands is taken back.

use std::time::{Duration, Instant};

use super::dialogue::{Command, Timing};
use super::episode::{Episode, Left};
use super::shared::{Shared, lock};
use super::tasks;
use crate::model::{Body, IncidentSummary, IntentOutcome, Outcome, Refusal, RefusalReason};
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
    let Some(entry) = runbooks::find(&summary.runbook) else {
        let body = Body::Closed { outcome: Outcome::Interrupted, summary: "this version has no such runbook".to_owned() };
        if let Err(e) = shared.append(&summary.id, &summary.runbook, body) {
            tracing::error!("{}: {e}", summary.id);
        }
        return None;
    };
    let left = left(shared, summary)?;
    let episode = Episode::new(summary.id.clone(), entry, summary.subject.clone(), Vec::new(), shared.params(&entry.id), timing);
    let (episode, commands) = episode.resume(left, &shared.host.now());
    Some(Cut { episode, commands })
}

fn left(shared: &Shared, summary: &IncidentSummary) -> Option<Left> {
    match lock(&shared.store).entries(&summary.id) {
        Ok(entries) => Some(Left::of(entries)),
        Err(e) => {
            tracing::error!("{}: its record cannot be read: {e}", summary.id);
            None
        }
    }
}

/// Nobody looks after a limit while the agent is not there: what stands is taken back, as far as it goes within `patience`. The rest is taken
/// back by the next start, or by the actuator once it has missed the agent for long enough. Blocking.
pub(super) fn take_back_all(shared: &Shared, patience: Duration) {
    let until = Instant::now() + patience;
    let open = lock(&shared.store).open_incidents().unwrap_or_default();
    for summary in open {
        let standing = left(shared, &summary).map(|left| left.standing).unwrap_or_default();
        for intent in standing.into_iter().rev() {
            // Written down here and never asked for there, or refused: nothing stands.
            if matches!(shared.client.outcome(&intent), Ok(IntentOutcome::Unknown | IntentOutcome::Refused(_))) {
                continue;
            }
            let result = loop {
                match tasks::undo(&shared.client, &intent) {
                    // The act in hand comes to its end first.
                    Err(refusal) if refusal.reason == RefusalReason::AnotherEpisode && Instant::now() < until => {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    result => break result,
                }
            };
            if let Err(Refusal { reason, detail }) = &result {
                tracing::warn!(BYTEPORT_INCIDENT = summary.id.0.as_str(), "{intent} still stands: {}: {detail}", reason.as_str());
                continue;
            }
            if let Ok(effect) = result {
                drop(shared.append(&summary.id, &summary.runbook, Body::Undone { intent, effect }));
            }
        }
    }
}
