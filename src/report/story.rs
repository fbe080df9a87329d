//! An incident's entries, put in order: rounds, and in each round what became of every step.

use std::collections::BTreeMap;

use crate::model::{
    AfterStep, Body, Diagnosis, Effect, Entry, Escalation, IncidentSummary, IntentId, Now, Outcome, Phase, Plan, PlannedStep, Refusal,
    RefusalReason, Signal, StepKind, Verdict,
};

/// What happened, by what belongs together. Borrows the record; makes nothing up: what was not recorded is `None`.
#[derive(Debug)]
pub struct Story<'a> {
    pub(super) summary: &'a IncidentSummary,
    pub(super) entries: &'a [Entry],
    /// Those that opened it, then those that came and went.
    pub(super) signals: Vec<&'a Signal>,
    pub(super) rounds: Vec<Round<'a>>,
    pub(super) verdict: Option<&'a Verdict>,
    pub(super) escalation: Option<&'a Escalation>,
    pub(super) notes: Vec<&'a str>,
    pub(super) outcome: Option<Outcome>,
    pub(super) closed: Option<&'a Now>,
    pub(super) looks: u64,
}

#[derive(Debug)]
pub(super) struct Round<'a> {
    pub(super) number: u32,
    pub(super) diagnosis: &'a Diagnosis,
    pub(super) plan: &'a Plan,
    pub(super) steps: Vec<StepStory<'a>>,
}

#[derive(Debug)]
pub(super) struct StepStory<'a> {
    /// Counts from 1, as in the plan.
    pub(super) number: u32,
    pub(super) kind: StepKind,
    /// `None` when the record speaks of a step that the plan does not have.
    pub(super) planned: Option<&'a PlannedStep>,
    pub(super) refusals: Vec<&'a Refusal>,
    pub(super) intent: Option<&'a IntentId>,
    pub(super) effect: Option<&'a Effect>,
    pub(super) unknown: Option<&'a str>,
    pub(super) after: Option<&'a AfterStep>,
    pub(super) undone: Option<&'a Effect>,
    pub(super) undo_refused: Option<&'a Refusal>,
    /// Never begun, because steps before it were enough.
    pub(super) not_needed: bool,
}

impl<'a> Story<'a> {
    pub fn of(summary: &'a IncidentSummary, entries: &'a [Entry]) -> Self {
        let mut story = Self {
            summary,
            entries,
            signals: Vec::new(),
            rounds: Vec::new(),
            verdict: None,
            escalation: None,
            notes: Vec::new(),
            outcome: summary.outcome,
            closed: summary.closed.as_ref(),
            looks: 0,
        };
        // Evidence counts the rounds. Where it stayed on its host, decisions do.
        let mut looked = None;
        for entry in entries {
            if let Body::Evidence { phase: Phase::Diagnosis { round }, .. } = &entry.body {
                looked = Some(*round);
            }
            let next = story.rounds.last().map_or(1, |r| r.number.saturating_add(1));
            story.take(&entry.at, &entry.body, looked.unwrap_or(next));
            if matches!(entry.body, Body::Decision { .. }) {
                looked = None;
            }
        }
        for round in &mut story.rounds {
            let mut enough = false;
            for step in &mut round.steps {
                step.not_needed = enough && step.intent.is_none() && step.refusals.is_empty();
                enough |= matches!(step.after, Some(AfterStep::Enough { .. }));
            }
        }
        story
    }

    fn take(&mut self, at: &'a Now, body: &'a Body, round: u32) {
        match body {
            Body::Opened { signals, .. } | Body::Signals { signals } => {
                for signal in signals {
                    if !self.signals.iter().any(|s| s.kind == signal.kind && s.severity == signal.severity) {
                        self.signals.push(signal);
                    }
                }
            }
            Body::Evidence { .. } => self.looks += 1,
            Body::Decision { diagnosis, plan, .. } => {
                let steps = (1..).zip(&plan.steps).map(|(n, p)| StepStory::new(n, p.step.kind(), Some(p))).collect();
                self.rounds.push(Round { number: round, diagnosis, plan, steps });
            }
            Body::Refused { round, step, kind, refusal } => {
                if let Some(told) = self.step(*round, *step, *kind) {
                    told.refusals.push(refusal);
                }
            }
            Body::Intent { intent, round, step, kind, .. } => {
                if let Some(told) = self.step(*round, *step, *kind) {
                    told.intent = Some(intent);
                }
            }
            Body::Effect { intent, effect } => self.of_intent(intent, |s| s.effect = Some(effect)),
            Body::EffectUnknown { intent, why } => self.of_intent(intent, |s| s.unknown = Some(why)),
            Body::AfterStep { intent, after } => self.of_intent(intent, |s| s.after = Some(after)),
            Body::Undone { intent, effect } => self.of_intent(intent, |s| s.undone = Some(effect)),
            Body::UndoRefused { intent, refusal } => self.of_intent(intent, |s| s.undo_refused = Some(refusal)),
            Body::Verdict { verdict } => self.verdict = Some(verdict),
            Body::Escalated { escalation } => self.escalation = Some(escalation),
            Body::Note { text } => self.notes.push(text),
            Body::Closed { outcome, .. } => {
                self.outcome = Some(*outcome);
                self.closed = Some(at);
            }
        }
    }

    /// The step of that round; one that the plan does not have is added, so that nothing recorded is left out.
    fn step(&mut self, round: u32, number: u32, kind: StepKind) -> Option<&mut StepStory<'a>> {
        let at = self.rounds.iter().rposition(|r| r.number == round).or(self.rounds.len().checked_sub(1))?;
        let steps = &mut self.rounds[at].steps;
        let index = steps.iter().position(|s| s.number == number).unwrap_or_else(|| {
            steps.push(StepStory::new(number, kind, None));
            steps.len() - 1
        });
        Some(&mut steps[index])
    }

    fn of_intent(&mut self, intent: &IntentId, change: impl FnOnce(&mut StepStory<'a>)) {
        let mut steps = self.rounds.iter_mut().flat_map(|r| &mut r.steps);
        if let Some(step) = steps.find(|s| s.intent == Some(intent)) {
            change(step);
        }
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = (&Round<'a>, &StepStory<'a>)> {
        self.rounds.iter().flat_map(|r| r.steps.iter().map(move |s| (r, s)))
    }

    /// The newest diagnosis.
    pub(super) fn diagnosis(&self) -> Option<&'a Diagnosis> {
        self.rounds.last().map(|r| r.diagnosis)
    }

    /// Every step, in the order of a postmortem's: which decision of the record it is of, its number there, and what it was begun as.
    pub fn begun(&self) -> impl Iterator<Item = (usize, u32, Option<&'a IntentId>)> {
        self.rounds.iter().enumerate().flat_map(|(n, r)| r.steps.iter().map(move |s| (n, s.number, s.intent)))
    }

    /// Whether a plan is here that `intent` was begun for.
    pub fn has_step_of(&self, intent: &IntentId) -> bool {
        self.steps().any(|(_, s)| s.intent == Some(intent) && s.planned.is_some())
    }

    pub(super) fn opened(&self) -> &'a Now {
        &self.summary.opened
    }

    pub(super) fn refusals_by_reason(&self) -> BTreeMap<RefusalReason, u64> {
        let mut counts = BTreeMap::new();
        for refusal in self.steps().flat_map(|(_, s)| &s.refusals) {
            *counts.entry(refusal.reason).or_default() += 1;
        }
        counts
    }

    /// What a person was told to decide: as escalated, else as the newest plan wanted it.
    pub(super) fn asked_of_a_person(&self) -> Option<Escalation> {
        self.escalation.cloned().or_else(|| {
            let plan = self.rounds.last()?.plan;
            Some(Escalation { reason: plan.escalate.clone()?, follow_ups: plan.follow_ups.clone() })
        })
    }
}

impl<'a> StepStory<'a> {
    fn new(number: u32, kind: StepKind, planned: Option<&'a PlannedStep>) -> Self {
        Self {
            number,
            kind,
            planned,
            refusals: Vec::new(),
            intent: None,
            effect: None,
            unknown: None,
            after: None,
            undone: None,
            undo_refused: None,
            not_needed: false,
        }
    }

    pub(super) fn expected_bytes(&self) -> u64 {
        self.planned.map_or(0, |p| p.expected.bytes.0)
    }
}
