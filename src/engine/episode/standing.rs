//! Acts that last until they are taken back: limits, preferences, scheduling classes. They are taken back when the episode ends, and it
//! ends only when the cause is gone: while a limit is all that keeps the host well, a person is told and the limit stays.

use super::{Command, Episode, State, note, record};
use crate::model::{Body, Effect, EffectState, IntentId, Now, Outcome, Phase, Recorded, Refusal, RefusalReason, Seconds, Signal, Verdict};
use crate::runbooks::Depth;

/// What comes after everything is taken back.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Then {
    Verify,
    Close { outcome: Outcome, summary: String },
}

/// Rounds of an episode that holds something for hours: new trouble is worked on, and not without an end.
const ROUNDS_HELD: u32 = 6;
/// An actuator that was restarted answers again within seconds, and one that is busy has a step in hand that takes ten minutes at most. What
/// stands is worth more patience than that: nobody asks for it once this episode has ended.
const TRIES: u32 = 150;

impl Episode {
    /// Keeps in mind what must be taken back. Of an act whose end is not known (`None`) that is assumed: taking back what was not done
    /// does nothing.
    pub(super) fn stands(&mut self, step: usize, intent: &IntentId, effect: Option<&Effect>) {
        let standing = self.planned(step).is_some_and(|planned| planned.step.kind().is_standing());
        let done = effect.is_none_or(|e| e.state != EffectState::Failed && e.done > 0);
        if standing && done && !self.standing.contains(intent) {
            self.standing.push(intent.clone());
            self.taken.extend(self.planned(step).map(|planned| (intent.clone(), planned.step)));
        }
    }

    /// Nothing was done under this intent: there is nothing to take back, and nobody to be told that it could not be.
    pub(super) fn stands_not(&mut self, intent: &IntentId) {
        self.standing.retain(|s| s != intent);
    }

    /// Takes back everything that stands, then goes on.
    pub(super) fn take_back(&mut self, then: Then, now: &Now) -> Vec<Command> {
        self.undo_next(0, then, now)
    }

    pub(super) fn undo_next(&mut self, tries: u32, then: Then, now: &Now) -> Vec<Command> {
        match self.standing.last().cloned() {
            Some(intent) => {
                self.state = State::Undoing { tries, then };
                vec![Command::Undo { intent }]
            }
            None => match then {
                Then::Verify => self.start_verify(now),
                Then::Close { outcome, summary } => self.close(outcome, &summary),
            },
        }
    }

    pub(super) fn undone(&mut self, tries: u32, then: Then, result: Result<Effect, Refusal>, now: &Now) -> Vec<Command> {
        let Some(intent) = self.standing.last().cloned() else { return self.undo_next(0, then, now) };
        match result {
            Ok(effect) => {
                self.standing.pop();
                let mut commands = vec![record(Body::Undone { intent, effect })];
                commands.extend(self.undo_next(0, then, now));
                commands
            }
            Err(refusal) if passes(refusal.reason) && tries < TRIES => {
                self.state = State::UndoPause { tries: tries + 1, then };
                vec![Command::Wait(self.timing.verify_every)]
            }
            Err(refusal) => {
                self.standing.pop();
                let why = format!("{intent} still stands, and could not be taken back: {refusal}. Try: byteportctl undo {}", self.id);
                let mut commands = vec![record(Body::UndoRefused { intent, refusal })];
                commands.extend(self.escalation(&why));
                commands.extend(self.undo_next(0, then, now));
                commands
            }
        }
    }

    /// A person has to go on. What a limit keeps well stays limited, whatever the second look calls it.
    pub(super) fn nothing_but_a_person(&mut self, why: &str, now: &Now) -> Vec<Command> {
        if !self.held || self.standing.is_empty() {
            return self.escalate_and_close(why);
        }
        let mut commands = self.escalation(why);
        commands.extend(self.hold(now));
        commands
    }

    /// The host is well as long as the limit stands. The turn is free for others.
    pub(super) fn hold(&mut self, now: &Now) -> Vec<Command> {
        // However many rounds there are, together they hold no longer than one may.
        let since = self.held_since.get_or_insert_with(|| now.clone()).clone();
        self.state = State::HoldPause { since };
        self.relieved = self.signals.is_empty();
        let most = Seconds(self.timing.hold_at_most.as_secs_f64());
        let text =
            format!("what was limited stays limited until the cause is gone, at most {most}; to lift it now: byteportctl undo {}", self.id);
        vec![note(&text), Command::ReleaseTurn, Command::Wait(self.timing.hold_every)]
    }

    /// A person has taken these back by hand: he goes on from here.
    pub(super) fn taken_back(&mut self, intents: &[IntentId]) -> Vec<Command> {
        // The answer to what is asked in this moment is about the newest: that it was done already, if it was.
        if matches!(self.state, State::Undoing { .. }) {
            return Vec::new();
        }
        self.standing.retain(|standing| !intents.contains(standing));
        if self.standing.is_empty() && matches!(self.state, State::Holding { .. } | State::HoldPause { .. }) {
            return self.close(Outcome::Escalated, "what was limited was taken back by hand: whoever did that goes on from here");
        }
        Vec::new()
    }

    pub(super) fn look_at_held(&mut self, since: Now) -> Vec<Command> {
        self.state = State::Holding { since };
        vec![Command::Gather { phase: Phase::Verify, depth: Depth::Quick }]
    }

    pub(super) fn still_held(&mut self, since: Now, recorded: Option<&Recorded>, now: &Now) -> Vec<Command> {
        let was_calm = std::mem::take(&mut self.calm);
        if let Some(Verdict::Resolved { why }) = recorded.map(|recorded| self.judge(self.before.as_ref(), recorded)) {
            // One calm moment may be a pause: taken off then, the limit would be set again in a minute.
            if !was_calm {
                self.calm = true;
                self.state = State::HoldPause { since };
                return vec![Command::Wait(self.timing.refill_after)];
            }
            let mut commands = vec![record(Body::Verdict { verdict: Verdict::Resolved { why: why.clone() } })];
            commands.extend(self.close(Outcome::Healed, &format!("{why}; the limit is not needed any more")));
            return commands;
        }
        // It had become well and is sick again although what was limited still is, or something is raised that no diagnosis knew of: somebody
        // else, or more of the same. After a step that was lost a person looks first, here as well.
        let is_new = |raised: &Signal| !self.diagnosed.iter().any(|known| known.kind == raised.kind && known.subject == raised.subject);
        let again = self.relieved && !self.signals.is_empty() || self.signals.iter().any(is_new);
        if again && self.round < ROUNDS_HELD && !self.uncertain {
            self.relieved = false;
            return self.another_round("a signal is raised again while a limit stands: one more round, with new evidence");
        }
        let most = Seconds(self.timing.hold_at_most.as_secs_f64());
        if now.at_most_since(&since) >= most {
            self.expired = true;
            return self.close(Outcome::Escalated, &format!("the cause is still there after {most}; what was limited is not any more"));
        }
        self.state = State::HoldPause { since };
        vec![Command::Wait(self.timing.hold_every)]
    }
}

/// Worth another try: nobody was there to do it, or he was busy, or could not write it down, or systemd did not answer him.
const fn passes(reason: RefusalReason) -> bool {
    use RefusalReason::{AnotherEpisode, LedgerUntrusted, NoActuator, NotAvailable};
    matches!(reason, NoActuator | AnotherEpisode | LedgerUntrusted | NotAvailable)
}
