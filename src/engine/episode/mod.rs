//! One episode as a pure state machine: `on(Event, now) -> Vec<Command>`.
//!
//! It holds no clock, no files, no sockets: a run of it is a list of events, so that a crash is a shorter list and a replay is
//! the same one. Commands are carried out in their order, and every [`Command::Record`] is durable before a [`Command::Act`] starts:
//! that is the write-ahead rule.

mod answered;
mod left;
mod standing;
mod verifying;

pub use self::left::Left;
use self::standing::Then;
use super::dialogue::{Act, Command, Event, Timing};
use crate::guard::{self, Asked, Circumstances};
use crate::model::{
    AfterStep, Body, Diagnosis, Effect, Escalation, IncidentId, IntentId, IntentOutcome, Now, Outcome, Phase, Plan, PlannedStep, Recorded,
    Refusal, RefusalReason, RunbookId, Signal, Step, Subject, Verdict,
};
use crate::runbooks::{Depth, Entry};

#[derive(Debug, Clone, PartialEq)]
enum State {
    Gathering,
    /// Waiting for the turn; `step` counts the plan's steps from 0.
    Turn {
        step: usize,
        tries: u32,
    },
    /// The pause between two tries.
    Patience {
        step: usize,
        tries: u32,
    },
    Acting {
        step: usize,
    },
    /// The actuator was lost; asking what became of the intent.
    Asking {
        step: usize,
        intent: IntentId,
        tries: u32,
    },
    AskPause {
        step: usize,
        intent: IntentId,
        tries: u32,
    },
    Looking {
        step: usize,
        intent: IntentId,
    },
    Verifying {
        since: Now,
    },
    VerifyPause {
        since: Now,
    },
    RefillPause,
    Refill,
    /// Standing acts are taken back, the newest first; then it goes on.
    Undoing {
        tries: u32,
        then: Then,
    },
    UndoPause {
        tries: u32,
        then: Then,
    },
    /// A person has been told, and what stands keeps the host well until the cause is gone.
    Holding {
        since: Now,
    },
    HoldPause {
        since: Now,
    },
    Finished,
}

/// The machine. `decision` is what the current round goes by.
#[derive(Debug)]
pub struct Episode {
    pub id: IncidentId,
    pub subject: Subject,
    entry: &'static Entry,
    params: serde_json::Value,
    timing: Timing,
    signals: Vec<Signal>,
    /// Those that the newest diagnosis knew of.
    diagnosed: Vec<Signal>,
    state: State,
    round: u32,
    decision: Option<(Diagnosis, Plan)>,
    /// Evidence of the round's diagnosis, of the last look, and of the verification.
    before: Option<Recorded>,
    last: Option<Recorded>,
    /// The step whose effect is waited for, and when something of it was seen last.
    awaited: Option<(usize, Now)>,
    verified: Option<(Recorded, String)>,
    /// Steps whose effect is known, or that were begun and lost.
    acted: u32,
    /// The effect of some intent was never learnt.
    uncertain: bool,
    refusals: Vec<Refusal>,
    escalated: bool,
    /// Acts that last until they are taken back, oldest first.
    standing: Vec<IntentId>,
    /// The steps of those that this run of the agent has taken.
    taken: Vec<(IntentId, Step)>,
    /// The last look after a step found that nothing more is needed.
    held: bool,
    /// All signals were clear at some time while it was held.
    relieved: bool,
    /// Since when something has been held, and whether the last look found that it need not be any more.
    held_since: Option<Now>,
    calm: bool,
    /// What was held was let go because its time was over, and not because the cause is gone.
    expired: bool,
    /// Rounds that only took the place of one that had to wait.
    waits: u32,
    /// The plan was made before the agent was stopped, nobody knows how long ago: none of its steps is taken any more.
    stale: bool,
}

/// Looks that a wait may cost, until what was seen last has to do.
const WAITS: u32 = 5;
/// One round of repair, one more if the first did not do.
const ROUNDS: u32 = 2;

impl Episode {
    pub fn new(
        id: IncidentId,
        entry: &'static Entry,
        subject: Subject,
        signals: Vec<Signal>,
        params: serde_json::Value,
        timing: Timing,
    ) -> Self {
        Self {
            id,
            subject,
            entry,
            params,
            timing,
            signals,
            diagnosed: Vec::new(),
            state: State::Gathering,
            round: 1,
            decision: None,
            before: None,
            last: None,
            awaited: None,
            verified: None,
            acted: 0,
            uncertain: false,
            refusals: Vec::new(),
            escalated: false,
            standing: Vec::new(),
            taken: Vec::new(),
            held: false,
            relieved: false,
            held_since: None,
            calm: false,
            expired: false,
            waits: 0,
            stale: false,
        }
    }

    /// An episode that a crash or a stop cut off: its newest diagnosis, and the intent that was open. It verifies; it repeats nothing.
    pub fn resume(mut self, left: Left, now: &Now) -> (Self, Vec<Command>) {
        self.round = left.round.max(1);
        self.last = left.before.clone();
        self.before = left.before;
        self.decision = left.decision;
        self.acted = left.acted;
        self.standing = left.standing;
        self.taken = left.taken;
        self.stale = true;
        let mut commands = vec![note("the agent was stopped in the middle of this episode; it goes on by looking, not by repeating")];
        match left.open {
            Some(intent) => {
                self.acted += 1;
                let step = intent.step().saturating_sub(1) as usize;
                self.state = State::Asking { step, intent: intent.clone(), tries: 0 };
                commands.push(Command::AskOutcome { intent });
            }
            None if self.acted > 0 => commands.extend(self.start_verify(now)),
            None => commands.extend(
                self.close(Outcome::Interrupted, "stopped before anything was done; the signal opens a new episode while it lasts"),
            ),
        }
        (self, commands)
    }

    pub fn runbook(&self) -> &RunbookId {
        &self.entry.id
    }

    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// What of this episode stands now, as far as it is known: the next look must not take it for somebody else's doing.
    pub fn in_force(&self) -> Vec<Step> {
        self.taken.iter().filter(|(intent, _)| self.standing.contains(intent)).map(|(_, step)| step.clone()).collect()
    }

    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// An event that does not fit the state changes nothing: late timers and answers are of no meaning.
    pub fn on(&mut self, event: Event, now: &Now) -> Vec<Command> {
        match (self.state.clone(), event) {
            (State::Finished, _) => Vec::new(),
            (State::Gathering, Event::Begin) => {
                let opened = Body::Opened { runbook: self.entry.id.clone(), subject: self.subject.clone(), signals: self.signals.clone() };
                let gather = self.gather_round();
                vec![record(opened), gather]
            }
            (_, Event::Signals(signals)) => self.signals_changed(signals),
            (_, Event::TakenBack(intents)) => self.taken_back(&intents),
            (_, Event::NoRecord { why }) => self.no_record(why),
            (State::Gathering, Event::Gathered(recorded)) => self.decide(recorded, now),
            (State::Gathering, Event::GatherFailed { why }) => self.escalate_and_close(&format!("the evidence could not be taken: {why}")),
            (State::Turn { step, tries }, Event::Turn { policy, holds, past, targets }) => {
                let here = Circumstances { policy: &policy, holds: &holds, past: &past, targets: &targets, now };
                self.turn(step, tries, here)
            }
            (State::Patience { step, tries }, Event::Timer) => self.ask_turn(step, tries),
            (State::Acting { step }, Event::Performed(effect)) => self.performed(step, effect),
            (State::Acting { step }, Event::Refused(refusal)) => self.actuator_refused(step, refusal),
            (State::Acting { step }, Event::Lost { why }) => {
                let intent = self.intent(step);
                self.state = State::Asking { step, intent: intent.clone(), tries: 0 };
                vec![record(Body::EffectUnknown { intent: intent.clone(), why }), Command::AskOutcome { intent }]
            }
            (State::Asking { step, intent, tries }, Event::Outcome(answer)) => self.outcome(step, intent, tries, answer, now),
            (State::AskPause { step, intent, tries }, Event::Timer) => {
                self.state = State::Asking { step, intent: intent.clone(), tries };
                vec![Command::AskOutcome { intent }]
            }
            (State::Looking { step, intent }, Event::Gathered(recorded)) => self.looked(step, intent, recorded, now),
            (State::Looking { .. }, Event::GatherFailed { why }) => {
                let mut commands = vec![note(&format!("the look after the step failed: {why}"))];
                commands.extend(self.start_verify(now));
                commands
            }
            (State::VerifyPause { since }, Event::Timer) => {
                self.state = State::Verifying { since };
                vec![Command::Gather { phase: Phase::Verify, depth: Depth::Quick }]
            }
            (State::Verifying { since }, Event::Gathered(recorded)) => self.verify(&since, recorded, now),
            (State::Verifying { since }, Event::GatherFailed { why }) => self.not_yet(&since, Verdict::Unknown { why }, now),
            (State::RefillPause, Event::Timer) => {
                self.state = State::Refill;
                vec![Command::Gather { phase: Phase::Refill, depth: Depth::Quick }]
            }
            (State::Refill, Event::Gathered(recorded)) => self.refill(&recorded, now),
            (State::Refill, Event::GatherFailed { why }) => self.failed(Verdict::Unknown { why }, now),
            (State::Undoing { tries, then }, Event::Undone(result)) => self.undone(tries, then, result, now),
            (State::UndoPause { tries, then }, Event::Timer) => self.undo_next(tries, then, now),
            (State::HoldPause { since }, Event::Timer) => self.look_at_held(since),
            (State::Holding { since }, Event::Gathered(recorded)) => self.still_held(since, Some(&recorded), now),
            (State::Holding { since }, Event::GatherFailed { .. }) => self.still_held(since, None, now),
            (_, Event::Begin | Event::Gathered(_) | Event::GatherFailed { .. } | Event::Turn { .. } | Event::Performed(_)) => Vec::new(),
            (_, Event::Refused(_) | Event::Lost { .. } | Event::Outcome(_) | Event::Undone(_) | Event::Timer) => Vec::new(),
        }
    }

    fn gather_round(&mut self) -> Command {
        self.diagnosed.clone_from(&self.signals);
        Command::Gather { phase: Phase::Diagnosis { round: self.round }, depth: Depth::Full }
    }

    fn intent(&self, step: usize) -> IntentId {
        IntentId::new(&self.id, self.round, u32::try_from(step).unwrap_or(u32::MAX - 1) + 1)
    }

    fn signals_changed(&mut self, signals: Vec<Signal>) -> Vec<Command> {
        let cleared = signals.is_empty();
        self.relieved |= cleared;
        self.signals.clone_from(&signals);
        let mut commands = vec![record(Body::Signals { signals })];
        let idle = matches!(self.state, State::Gathering | State::Turn { .. } | State::Patience { .. });
        if cleared && idle && self.acted == 0 {
            commands.extend(self.close(Outcome::Cleared, "the signal cleared before anything was done"));
        }
        commands
    }

    fn no_record(&mut self, why: String) -> Vec<Command> {
        // Whatever was about to be done is not: the intent is not durable. Looking and telling go on.
        let refusal = Refusal::new(RefusalReason::LedgerUntrusted, why);
        self.refusals.push(refusal.clone());
        match self.state {
            State::Acting { .. } => self.escalate_and_close(&format!("nothing was done: {refusal}")),
            _ => Vec::new(),
        }
    }

    fn decide(&mut self, recorded: Recorded, now: &Now) -> Vec<Command> {
        let (diagnosis, plan) = match (self.entry.decide)(&recorded, &self.params, now) {
            Ok(decided) => decided,
            Err(e) => return self.escalate_and_close(&format!("the evidence could not be decided on ({e}); please keep the bundle")),
        };
        self.before = Some(recorded.clone());
        self.last = Some(recorded);
        self.decision = Some((diagnosis.clone(), plan.clone()));
        self.stale = false;
        let empty = plan.steps.is_empty();
        let person = plan.escalate.is_some();
        let mut commands =
            vec![record(Body::Decision { now: now.clone(), params: self.params.clone(), diagnosis: diagnosis.clone(), plan })];
        match (empty, person) {
            (true, true) => commands.extend(self.nothing_but_a_person(&diagnosis.summary, now)),
            (true, false) if self.acted > 0 => {
                commands.extend(self.failed(Verdict::NotResolved { why: "nothing is left that may be done".into() }, now))
            }
            (true, false) => commands.extend(self.close(Outcome::Observed, &format!("{}: nothing to do", diagnosis.summary))),
            (false, _) => commands.extend(self.ask_turn(0, 0)),
        }
        commands
    }

    fn ask_turn(&mut self, step: usize, tries: u32) -> Vec<Command> {
        self.state = State::Turn { step, tries };
        vec![Command::AskTurn(self.planned(step).map(|planned| Box::new(planned.step)))]
    }

    fn turn(&mut self, step: usize, tries: u32, here: Circumstances<'_>) -> Vec<Command> {
        let (now, past) = (here.now, here.past);
        let Some((diagnosis, plan)) = self.decision.clone() else { return Vec::new() };
        let Some(planned) = plan.steps.get(step) else { return self.ladder_end(now) };
        if self.signals.is_empty() && self.acted == 0 {
            return self.close(Outcome::Cleared, "the signal cleared before anything was done");
        }
        // It may be over by what was done before the wait; a look at what is hardly raised would find nothing to explain.
        if self.signals.is_empty() && tries > 0 {
            return self.start_verify(now);
        }
        let asked = Asked {
            incident: &self.id,
            runbook: &self.entry.id,
            subject: &self.subject,
            step: &planned.step,
            confidence: diagnosis.confidence,
        };
        match guard::admit(asked, here) {
            // What was decided before the wait may not be so any more. The turn is kept meanwhile.
            Ok(_) if tries > 0 && self.waits < WAITS => {
                self.waits += 1;
                self.another_round("the wait is over: it is looked at anew before anything is done")
            }
            Ok(admitted) => {
                let intent = self.intent(step);
                let (files, bytes) = guard::load(&planned.step);
                let mut commands = Vec::new();
                let again = guard::restarts_within_a_day(past, &planned.step, now);
                let reason = match (diagnosis.critical, again) {
                    (true, _) => Some(format!("critical, and worked on from now on: {}", diagnosis.summary)),
                    // It would go on like that for ever, and nobody would hear of it.
                    (false, 1..) => Some(format!("restarted again, after {again} times within a day: {}", diagnosis.summary)),
                    (false, 0) => None,
                };
                if let Some(reason) = reason.filter(|_| !self.escalated) {
                    commands.push(record(Body::Escalated { escalation: Escalation { reason, follow_ups: plan.follow_ups } }));
                    self.escalated = true;
                }
                commands.push(record(Body::Intent {
                    intent: intent.clone(),
                    round: self.round,
                    step: u32::try_from(step).unwrap_or(u32::MAX - 1) + 1,
                    kind: planned.step.kind(),
                    subject: self.subject.clone(),
                    files,
                    bytes: bytes.0,
                    on: planned.step.works_on(),
                }));
                commands.push(Command::Act(Box::new(Act {
                    intent,
                    admitted,
                    planned: planned.clone(),
                    confidence: diagnosis.confidence.get(),
                })));
                self.state = State::Acting { step };
                commands
            }
            Err(refusal) if passing(refusal.reason, &planned.step) && tries < self.timing.retries => {
                let mut commands = Vec::new();
                if tries == 0 {
                    commands.push(self.refused(step, planned, &refusal));
                    // Whoever has to know does not wait with us.
                    if diagnosis.critical && !self.escalated {
                        commands.extend(self.escalation(&format!("critical, and has to wait: {refusal}")));
                    }
                }
                self.state = State::Patience { step, tries: tries + 1 };
                commands.push(Command::ReleaseTurn);
                commands.push(Command::Wait(self.timing.retry_every));
                commands
            }
            Err(refusal) => {
                let mut commands = vec![self.refused(step, planned, &refusal)];
                // What was waited for in vain stands in the way of the steps after it as well.
                let in_vain = matches!(refusal.reason, RefusalReason::PackageManager | RefusalReason::AnotherEpisode);
                commands.extend(if in_vain { self.ladder_end(now) } else { self.next(step, now) });
                commands
            }
        }
    }

    fn refused(&mut self, step: usize, planned: &PlannedStep, refusal: &Refusal) -> Command {
        self.refusals.push(refusal.clone());
        record(Body::Refused {
            round: self.round,
            step: u32::try_from(step).unwrap_or(u32::MAX - 1) + 1,
            kind: planned.step.kind(),
            refusal: refusal.clone(),
        })
    }

    fn actuator_refused(&mut self, step: usize, refusal: Refusal) -> Vec<Command> {
        let Some(planned) = self.planned(step) else { return Vec::new() };
        let mut commands = vec![self.refused(step, &planned, &refusal)];
        commands.extend(self.ask_turn(step + 1, 0));
        commands
    }

    fn planned(&self, step: usize) -> Option<PlannedStep> {
        self.decision.as_ref().and_then(|(_, plan)| plan.steps.get(step)).cloned()
    }

    /// The next rung of the ladder, or its end.
    fn next(&mut self, step: usize, now: &Now) -> Vec<Command> {
        if self.planned(step + 1).is_some() { self.ask_turn(step + 1, 0) } else { self.ladder_end(now) }
    }

    fn ladder_end(&mut self, now: &Now) -> Vec<Command> {
        if self.acted > 0 {
            return self.start_verify(now);
        }
        let mut commands = vec![Command::ReleaseTurn];
        let plan_asks = self.decision.as_ref().is_some_and(|(_, plan)| plan.escalate.is_some());
        if self.refusals.iter().all(|r| r.reason == RefusalReason::ReportOnly) && !plan_asks {
            let what = self.decision.as_ref().map(|(d, _)| d.summary.clone()).unwrap_or_default();
            commands.extend(
                self.close(Outcome::Observed, &format!("{what}; observing: nothing was changed, the plan says what would have been")),
            );
        } else {
            let why: Vec<String> =
                self.refusals.iter().map(|r| r.reason.as_str().to_owned()).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            let reason = self.recurring().unwrap_or_else(|| format!("no step was allowed ({})", why.join(", ")));
            commands.extend(self.escalate_and_close(&reason));
        }
        commands
    }

    /// What was healed a short while ago is needed again: cleaning once more would hide who is behind it.
    fn recurring(&self) -> Option<String> {
        let cooling = self.refusals.iter().find(|r| r.reason == RefusalReason::Cooldown)?;
        let behind = self.decision.as_ref().and_then(|(diagnosis, _)| diagnosis.behind.as_deref());
        let behind = behind.map_or_else(|| "who is behind it is not known".to_owned(), |who| format!("behind it: {who}"));
        Some(format!("it comes back: {}; {behind}", cooling.detail))
    }

    fn performed(&mut self, step: usize, effect: Effect) -> Vec<Command> {
        let intent = self.intent(step);
        self.acted += 1;
        self.stands(step, &intent, Some(&effect));
        self.state = State::Looking { step, intent: intent.clone() };
        vec![record(Body::Effect { intent, effect }), self.look(step)]
    }

    fn look(&self, step: usize) -> Command {
        let step = u32::try_from(step).unwrap_or(u32::MAX - 1) + 1;
        Command::Gather { phase: Phase::AfterStep { round: self.round, step }, depth: Depth::Quick }
    }

    fn outcome(&mut self, step: usize, intent: IntentId, tries: u32, answer: Result<IntentOutcome, String>, now: &Now) -> Vec<Command> {
        match answer {
            Ok(IntentOutcome::Done(effect) | IntentOutcome::Undone(effect)) => {
                self.stands(step, &intent, Some(&effect));
                self.acted = self.acted.max(1);
                self.state = State::Looking { step, intent: intent.clone() };
                vec![record(Body::Effect { intent, effect }), self.look(step)]
            }
            Ok(IntentOutcome::Refused(refusal)) => {
                self.stands_not(&intent);
                let mut commands = vec![note(&format!("the actuator had refused {intent}: {refusal}"))];
                commands.extend(self.start_verify(now));
                commands
            }
            Ok(IntentOutcome::Unknown) => {
                self.stands_not(&intent);
                let mut commands = vec![note(&format!("the actuator never heard of {intent}: nothing was done under it"))];
                commands.extend(self.start_verify(now));
                commands
            }
            Ok(IntentOutcome::Open) => {
                self.stands(step, &intent, None);
                self.acted = self.acted.max(1);
                self.uncertain = true;
                let mut commands = vec![note(&format!("{intent} was begun and its end is not known: it is verified, not repeated"))];
                commands.extend(self.start_verify(now));
                commands
            }
            Err(why) if tries < 12 => {
                self.state = State::AskPause { step, intent, tries: tries + 1 };
                let mut commands = if tries == 0 { vec![note(&format!("the actuator cannot be asked: {why}"))] } else { Vec::new() };
                commands.push(Command::Wait(self.timing.verify_every));
                commands
            }
            Err(why) => {
                self.stands(step, &intent, None);
                self.acted = self.acted.max(1);
                self.uncertain = true;
                let mut commands = vec![note(&format!("what became of {intent} cannot be learnt: {why}"))];
                commands.extend(self.start_verify(now));
                commands
            }
        }
    }

    fn looked(&mut self, step: usize, intent: IntentId, recorded: Recorded, now: &Now) -> Vec<Command> {
        let after = match &self.last {
            Some(before) => (self.entry.after_step)(before, &recorded, &self.params),
            None => Ok(AfterStep::Abort { why: "there is no evidence from before the step".into() }),
        }
        .unwrap_or_else(|e| AfterStep::Abort { why: format!("the evidence could not be read back: {e}") });
        self.last = Some(recorded);
        let mut commands = vec![record(Body::AfterStep { intent, after: after.clone() })];
        self.held = matches!(after, AfterStep::Enough { .. });
        match after {
            AfterStep::Continue { .. } if self.stale => commands.extend(self.start_verify(now)),
            AfterStep::Continue { .. } => commands.extend(self.next(step, now)),
            AfterStep::Enough { .. } => {
                commands.extend(self.start_verify(now));
                self.awaited = (!self.stale).then(|| (step, now.clone()));
            }
            // What did not help does not stay.
            AfterStep::Abort { .. } => commands.extend(self.take_back(Then::Verify, now)),
        }
        commands
    }

    /// The plan's own words where it has them, else just the reason.
    fn escalation(&mut self, reason: &str) -> Vec<Command> {
        self.escalated = true;
        let plan = self.decision.as_ref().map(|(_, plan)| plan);
        let reason = match plan.and_then(|p| p.escalate.as_ref()) {
            Some(planned) if planned != reason => format!("{reason}. {planned}"),
            _ => reason.to_owned(),
        };
        let follow_ups = plan.map(|p| p.follow_ups.clone()).unwrap_or_default();
        vec![record(Body::Escalated { escalation: Escalation { reason, follow_ups } })]
    }

    fn escalate_and_close(&mut self, reason: &str) -> Vec<Command> {
        let mut commands = self.escalation(reason);
        commands.extend(self.close(Outcome::Escalated, reason));
        commands
    }

    /// What still stands is taken back first.
    fn close(&mut self, outcome: Outcome, summary: &str) -> Vec<Command> {
        if let Some(intent) = self.standing.last().cloned() {
            self.state = State::Undoing { tries: 0, then: Then::Close { outcome, summary: summary.to_owned() } };
            return vec![Command::Undo { intent }];
        }
        self.state = State::Finished;
        vec![record(Body::Closed { outcome, summary: summary.to_owned() }), Command::ReleaseTurn, Command::Finish(outcome)]
    }
}

/// Reasons that pass by themselves: worth waiting for, not worth a page yet.
fn passing(reason: RefusalReason, step: &Step) -> bool {
    match reason {
        RefusalReason::PackageManager | RefusalReason::AnotherEpisode | RefusalReason::Backoff => true,
        // Files grow old in days, a process in a minute.
        RefusalReason::TooYoung => matches!(step, Step::KillProcess { .. }),
        _ => false,
    }
}

fn record(body: Body) -> Command {
    Command::Record(Box::new(body))
}

fn note(text: &str) -> Command {
    record(Body::Note { text: text.to_owned() })
}
