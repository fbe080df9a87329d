//! The five lanes an incident travels through, and how far it came in each: the whole of it at one look. Pure.

use super::badge::{self, Badge};
use super::safe_text::Shown;
use super::story::Told;
use crate::collector::view::Incident;
use crate::model::{Body, Bytes, Confidence, EffectState};
use crate::report::{Postmortem, words};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Detect,
    Diagnose,
    Decide,
    Act,
    Verify,
}

impl Lane {
    pub(super) const ALL: [Self; 5] = [Self::Detect, Self::Diagnose, Self::Decide, Self::Act, Self::Verify];

    /// Also a class of the stylesheet, and where the page can be jumped to.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Diagnose => "diagnose",
            Self::Decide => "decide",
            Self::Act => "act",
            Self::Verify => "verify",
        }
    }
}

#[derive(Debug)]
pub(super) struct LaneBit {
    pub(super) lane: Lane,
    /// The first entry in it.
    pub(super) at: Option<usize>,
    pub(super) badge: Option<Badge>,
    pub(super) text: Shown,
}

pub(super) fn all(incident: &Incident, postmortem: &Postmortem, told: &[Told]) -> Vec<LaneBit> {
    let bit = |lane: Lane| {
        let (badge, text) = match lane {
            Lane::Detect => detected(postmortem),
            Lane::Diagnose => diagnosed(postmortem),
            Lane::Decide => decided(incident),
            Lane::Act => acted(incident),
            Lane::Verify => verified(postmortem),
        };
        LaneBit { lane, at: told.iter().position(|t| t.lane == lane), badge, text: Shown::name(text) }
    };
    Lane::ALL.map(bit).into()
}

type Bit = (Option<Badge>, String);

fn detected(postmortem: &Postmortem) -> Bit {
    let worst = postmortem.signals.iter().map(|s| s.severity).max().map(badge::severity);
    let mut kinds: Vec<String> = postmortem.signals.iter().take(3).map(|s| Shown::name(&s.kind).to_string()).collect();
    kinds.dedup();
    (worst, if kinds.is_empty() { "what raised it is not here".into() } else { kinds.join(", ") })
}

fn diagnosed(postmortem: &Postmortem) -> Bit {
    let Some(d) = &postmortem.diagnosis else { return (None, "no diagnosis is here".into()) };
    let sure = if d.confidence >= Confidence::TO_ACT { badge::good("sure enough") } else { badge::warn("too unsure to act") };
    (Some(sure), format!("{}, confidence {}", Shown::name(&d.class), d.confidence))
}

fn decided(incident: &Incident) -> Bit {
    let (mut planned, mut refused, mut decisions) = (0, 0, 0);
    for entry in &incident.entries {
        match &entry.body {
            Body::Decision { plan, .. } => (planned, decisions) = (planned + plan.steps.len() as u64, decisions + 1),
            Body::Refused { .. } => refused += 1,
            _ => {}
        }
    }
    let person = incident.row.escalated || incident.entries.iter().any(|e| matches!(e.body, Body::Escalated { .. }));
    let text = match (decisions, planned) {
        (0, _) => "no decision is here".to_owned(),
        (_, 0) => "no step planned".to_owned(),
        _ => format!("{} planned", words::count(planned, "step")),
    };
    let text = if refused > 0 { format!("{text}, {} refused", words::thousands(refused)) } else { text };
    (person.then_some(badge::bad("a person was asked")), text)
}

/// From the effects themselves: a decision that is not here must not hide what was done after it.
fn acted(incident: &Incident) -> Bit {
    let (mut done, mut failed, mut open, mut undone, mut freed) = (0_u64, 0_u64, 0_u64, 0_u64, Bytes(0));
    for entry in &incident.entries {
        match &entry.body {
            Body::Intent { .. } => open += 1,
            Body::Effect { effect, .. } => {
                open = open.saturating_sub(1);
                (done, failed) = if effect.state == EffectState::Failed { (done, failed + 1) } else { (done + 1, failed) };
                freed = [freed, effect.freed].into_iter().sum();
            }
            Body::Undone { .. } => undone += 1,
            _ => {}
        }
    }
    let worst = match (open, failed, done) {
        (1.., ..) => Some(badge::warn("not finished, or not known")),
        (_, 1.., _) => Some(badge::bad("failed")),
        (.., 1..) => Some(badge::good("done")),
        _ => None,
    };
    let steps = |n: u64, what: &str| (n > 0).then(|| format!("{} {what}", words::count(n, "step")));
    let freed = (freed.0 > 0).then(|| format!("{freed} freed"));
    let parts: Vec<String> = [steps(done, "done"), freed, steps(failed, "failed"), steps(open, "begun"), steps(undone, "undone")]
        .into_iter()
        .flatten()
        .collect();
    (worst, if parts.is_empty() { "nothing was changed on this host".into() } else { parts.join(", ") })
}

fn verified(postmortem: &Postmortem) -> Bit {
    match &postmortem.verdict {
        Some(verdict) => (Some(badge::verdict(verdict)), words::why(verdict).to_owned()),
        None => (None, "no verdict was come to".into()),
    }
}
