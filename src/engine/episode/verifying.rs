//! After the steps: is it well, is it still well a little later, and what follows where it is not.

use super::{Command, Episode, ROUNDS, State, note, record};
use crate::model::{AfterStep, Body, Now, Outcome, Phase, Recorded, Seconds, Verdict};
use crate::runbooks::Depth;

impl Episode {
    pub(super) fn start_verify(&mut self, now: &Now) -> Vec<Command> {
        self.state = State::Verifying { since: now.clone() };
        self.awaited = None;
        vec![Command::Gather { phase: Phase::Verify, depth: Depth::Quick }]
    }

    pub(super) fn verify(&mut self, since: &Now, recorded: Recorded, now: &Now) -> Vec<Command> {
        let verdict = self.judge(self.before.as_ref(), &recorded);
        match verdict {
            Verdict::Resolved { why } => {
                self.verified = Some((recorded, why));
                self.state = State::RefillPause;
                vec![Command::ReleaseTurn, Command::Wait(self.timing.refill_after)]
            }
            Verdict::NotResolved { why } => match self.in_vain(recorded, now) {
                Some(step) => {
                    let waited = Seconds(self.timing.in_vain_after.as_secs_f64());
                    let mut commands =
                        vec![note(&format!("{why}; nothing has come of that step for {waited}: it goes on with the next one"))];
                    commands.extend(self.ask_turn(step + 1, 0));
                    commands
                }
                None => self.not_yet(since, Verdict::NotResolved { why }, now),
            },
            verdict @ Verdict::Unknown { .. } => self.not_yet(since, verdict, now),
        }
    }

    /// The step that was waited for in vain, if another one comes after it. Nobody else is chosen by that: a plan is about one offender.
    fn in_vain(&mut self, recorded: Recorded, now: &Now) -> Option<usize> {
        let (step, since) = self.awaited.clone().filter(|_| !self.signals.is_empty())?;
        let came = self.last.as_ref().map(|last| (self.entry.after_step)(last, &recorded, &self.params));
        match came {
            Some(Ok(AfterStep::Continue { .. })) => {
                let for_s = now.proven_since(&since).0;
                (for_s >= self.timing.in_vain_after.as_secs_f64() && self.planned(step + 1).is_some()).then_some(step)
            }
            Some(Ok(AfterStep::Enough { .. })) => {
                self.last = Some(recorded);
                self.awaited = Some((step, now.clone()));
                None
            }
            // Nobody knows whether anything comes.
            Some(Ok(AfterStep::Abort { .. }) | Err(_)) | None => None,
        }
    }

    pub(super) fn judge(&self, before: Option<&Recorded>, after: &Recorded) -> Verdict {
        match before {
            Some(before) => (self.entry.verify)(before, after, &self.params)
                .unwrap_or_else(|e| Verdict::Unknown { why: format!("evidence could not be read back: {e}") }),
            None => Verdict::Unknown { why: "there is no evidence from before".into() },
        }
    }

    pub(super) fn not_yet(&mut self, since: &Now, verdict: Verdict, now: &Now) -> Vec<Command> {
        if now.at_most_since(since) < Seconds(self.timing.verify_within.as_secs_f64()) {
            self.state = State::VerifyPause { since: since.clone() };
            return vec![Command::Wait(self.timing.verify_every)];
        }
        self.failed(verdict, now)
    }

    pub(super) fn refill(&mut self, recorded: &Recorded, now: &Now) -> Vec<Command> {
        let (verified, first) = match &self.verified {
            Some((verified, why)) => (Some(verified), why.clone()),
            None => (None, String::new()),
        };
        let why = match self.judge(verified, recorded) {
            Verdict::Resolved { .. } => format!("{first}; still so {} later", Seconds(self.timing.refill_after.as_secs_f64())),
            verdict => return self.failed(verdict, now),
        };
        let mut commands = vec![record(Body::Verdict { verdict: Verdict::Resolved { why: why.clone() } })];
        let (outcome, summary) = match (self.acted, self.uncertain) {
            (0, _) => (Outcome::Cleared, why),
            (_, false) => (Outcome::Healed, why),
            (_, true) => (Outcome::Healed, format!("{why}; one step's own account is missing, see the notes")),
        };
        commands.extend(self.close(outcome, &summary));
        commands
    }

    pub(super) fn failed(&mut self, verdict: Verdict, now: &Now) -> Vec<Command> {
        let why = match &verdict {
            Verdict::Resolved { why } | Verdict::NotResolved { why } | Verdict::Unknown { why } => why.clone(),
        };
        let mut commands = vec![record(Body::Verdict { verdict: verdict.clone() })];
        // Another round only where the first one is fully accounted for: after a lost step a person looks first.
        if matches!(verdict, Verdict::NotResolved { .. })
            && self.round < ROUNDS + self.waits
            && !self.uncertain
            && self.decision.as_ref().is_some_and(|(_, p)| !p.steps.is_empty())
        {
            commands.push(Command::ReleaseTurn);
            commands.extend(self.another_round("not resolved: one more round, with new evidence"));
        } else {
            commands.extend(self.nothing_but_a_person(&why, now));
        }
        commands
    }

    pub(super) fn another_round(&mut self, why: &str) -> Vec<Command> {
        self.round += 1;
        self.refusals.clear();
        self.state = State::Gathering;
        vec![note(why), self.gather_round()]
    }
}
