//! Where a cut episode stood, as its record tells.

use crate::model::{Body, Diagnosis, EffectState, Entry, IntentId, Phase, Plan, Recorded, Step};

/// What the newest entries of an open incident say.
#[derive(Debug, Default)]
pub struct Left {
    pub round: u32,
    pub before: Option<Recorded>,
    pub decision: Option<(Diagnosis, Plan)>,
    /// An act whose end is not known.
    pub open: Option<IntentId>,
    pub acted: u32,
    /// Acts that last until they are taken back, oldest first.
    pub standing: Vec<IntentId>,
    /// What each of them did.
    pub taken: Vec<(IntentId, Step)>,
}

impl Left {
    pub fn of(entries: Vec<Entry>) -> Self {
        let mut left = Self::default();
        for entry in entries {
            match entry.body {
                Body::Evidence { phase: Phase::Diagnosis { round }, recorded } => {
                    left.round = round;
                    left.before = Some(recorded);
                }
                Body::Decision { diagnosis, plan, .. } => left.decision = Some((diagnosis, plan)),
                Body::Intent { intent, kind, step, .. } => {
                    if kind.is_standing() {
                        left.standing.push(intent.clone());
                        let planned = left.decision.as_ref().and_then(|(_, plan)| plan.steps.get(step.saturating_sub(1) as usize));
                        left.taken.extend(planned.map(|planned| (intent.clone(), planned.step.clone())));
                    }
                    left.open = Some(intent);
                }
                // A refusal or an effect ends the intent before it; what is unknown stays open.
                Body::Refused { .. } => {
                    let refused = left.open.take();
                    left.standing.retain(|s| Some(s) != refused.as_ref());
                }
                Body::Effect { intent, effect } => {
                    left.open = None;
                    left.acted += 1;
                    if effect.state == EffectState::Failed {
                        left.standing.retain(|s| s != &intent);
                    }
                }
                // One that could not be taken back stands.
                Body::Undone { intent, .. } => left.standing.retain(|s| s != &intent),
                _ => {}
            }
        }
        left
    }
}
