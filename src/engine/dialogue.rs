//! What an episode is told and what it asks for: the two closed lists between the pure machine and its driver.

use std::time::Duration;

use crate::guard::{Admitted, Holds, PastAct, Policy};
use crate::model::{Body, Effect, IntentId, IntentOutcome, Outcome, Phase, PlannedStep, Recorded, Refusal, Signal, Step, Targets};
use crate::runbooks::Depth;

/// How patient verification is. The specification's numbers by default; tests shorten them.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Usage must be below the floor within this.
    pub verify_within: Duration,
    pub verify_every: Duration,
    /// What a step has set in motion is waited for, and comes no more when nothing of it has come for this long.
    pub in_vain_after: Duration,
    /// Then it is looked at once more, for the refill rate.
    pub refill_after: Duration,
    /// Between two tries to get the turn, or to find a package manager gone.
    pub retry_every: Duration,
    /// Tries while the moment is wrong, before a person is told.
    pub retries: u32,
    /// Between two looks at what only a standing limit keeps well.
    pub hold_every: Duration,
    /// After this the limit is lifted, whatever comes then.
    pub hold_at_most: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            verify_within: Duration::from_secs(120),
            verify_every: Duration::from_secs(5),
            in_vain_after: Duration::from_secs(15),
            refill_after: Duration::from_secs(30),
            retry_every: Duration::from_secs(15),
            retries: 40,
            hold_every: Duration::from_secs(60),
            hold_at_most: Duration::from_secs(4 * 3600),
        }
    }
}

/// What happened, told by the driver.
#[derive(Debug)]
pub enum Event {
    Begin,
    /// Evidence was taken, and is recorded with what follows from it.
    Gathered(Recorded),
    GatherFailed {
        why: String,
    },
    /// The answer to [`Command::AskTurn`]: everything that a decision of this moment needs.
    Turn {
        policy: Box<Policy>,
        holds: Box<Holds>,
        past: Vec<PastAct>,
        /// What the next step names, as it is now.
        targets: Box<Targets>,
    },
    Performed(Effect),
    /// The actuator said no.
    Refused(Refusal),
    /// The actuator could not be asked, died or hung; what was done is not known.
    Lost {
        why: String,
    },
    /// The answer to [`Command::AskOutcome`].
    Outcome(Result<IntentOutcome, String>),
    /// All signals of the subject that are raised now.
    Signals(Vec<Signal>),
    /// A person has taken back what was done under these intents.
    TakenBack(Vec<IntentId>),
    /// The answer to [`Command::Undo`].
    Undone(Result<Effect, Refusal>),
    /// [`Command::Wait`] is over.
    Timer,
    /// The record could not be written: nothing may be done.
    NoRecord {
        why: String,
    },
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Command {
    /// Append to the record; durable before anything is done to the host, and before the episode waits.
    Record(Box<Body>),
    /// Take evidence, append it to the record under this phase, answer with `Gathered` or `GatherFailed`.
    Gather {
        phase: Phase,
        depth: Depth,
    },
    /// Take the host's acting turn if it is free, and tell the circumstances of this step.
    AskTurn(Option<Box<Step>>),
    ReleaseTurn,
    Act(Box<Act>),
    AskOutcome {
        intent: IntentId,
    },
    /// Have a standing act taken back.
    Undo {
        intent: IntentId,
    },
    Wait(Duration),
    /// The episode is over.
    Finish(Outcome),
}

/// An admitted step on its way to the actuator.
#[derive(Debug)]
pub struct Act {
    pub intent: IntentId,
    pub admitted: Admitted<Step>,
    pub planned: PlannedStep,
    pub confidence: f64,
}
