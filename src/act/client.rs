//! The agent's end of the actuator's socket. Blocking, one connection a request, and bounded whatever the other side does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::bounded::{Bounded, connect};
use crate::guard::Admitted;
use crate::host::PrivilegedReads;
use crate::model::{Answer, Effect, IntentId, Observed, Query, Refusal, Step};
use crate::wire::actuator::{Ask, Hello, IntentOutcome, Perform, Request, Response, VERSION};
use crate::wire::frame;

/// For everything that is not a step.
const SHORT: Duration = Duration::from_secs(5);
/// `docker system df` and `lvs` look at disks.
const LOOK: Duration = Duration::from_secs(20);
/// An actuator stops between two objects; the one it has in hand may be a large log.
const GRACE: Duration = Duration::from_secs(15);
/// Unpacking everything a step packed.
const UNDO: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// Nothing was asked, so nothing was done.
    #[error("actuator at {socket}: {why}; is byteport-actuator enabled?")]
    NotThere { socket: String, why: String },
    /// Asked, and no answer: what was done must be found out.
    #[error("actuator at {socket} was asked and gave no answer: {why}")]
    Unknown { socket: String, why: String },
    /// The actuator says that it did nothing.
    #[error("actuator at {socket} did not take the request: {why}")]
    NotTaken { socket: String, why: String },
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Performed {
    Effect(Effect),
    Refused(Refusal),
    /// Begun under the same intent before, and its end is not known: to be verified, never repeated.
    Open,
    /// Done under the same intent before, and taken back.
    Undone(Effect),
}

/// What became of an undo.
#[derive(Debug, Clone, PartialEq)]
pub enum UndoResult {
    Undone(Effect),
    Refused(Refusal),
}

#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

type Result<T> = std::result::Result<T, ClientError>;

impl Client {
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// # Errors
    /// When there is nobody, or no answer in five seconds.
    pub fn hello(&self) -> Result<Hello> {
        self.greet(Ask::Hello)
    }

    /// The same, and these units will be known when something is asked of them.
    ///
    /// # Errors
    /// As [`Self::hello`].
    pub fn hello_soon(&self, units: Vec<String>) -> Result<Hello> {
        self.greet(Ask::Soon { units })
    }

    fn greet(&self, ask: Ask) -> Result<Hello> {
        match self.ask(ask, SHORT)? {
            Response::Hello(hello) => Ok(hello),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Has one step carried out. `step` is the proof that guard let it through; what travels is `perform`, which must hold the same.
    ///
    /// # Errors
    /// `NotThere` and `NotTaken`: nothing was done. `Unknown`: the answer did not come within the step's deadline and a grace.
    pub fn perform(&self, step: &Admitted<Step>, perform: Perform) -> Result<Performed> {
        if step.get() != &perform.planned.step {
            return Err(ClientError::NotTaken { socket: self.name(), why: "what was admitted is not what would be sent".into() });
        }
        let patience = Duration::from_secs(perform.deadline_s).saturating_add(GRACE);
        match self.ask(Ask::Perform(Box::new(perform)), patience)? {
            Response::Effect(effect) => Ok(Performed::Effect(effect)),
            Response::Refused(refusal) => Ok(Performed::Refused(refusal)),
            Response::Outcome(IntentOutcome::Open) => Ok(Performed::Open),
            Response::Outcome(IntentOutcome::Undone(effect)) => Ok(Performed::Undone(effect)),
            other => Err(self.unexpected(&other)),
        }
    }

    /// # Errors
    /// When there is nobody, or no answer in five seconds.
    pub fn outcome(&self, intent: &IntentId) -> Result<IntentOutcome> {
        match self.ask(Ask::Outcome { intent: intent.clone() }, SHORT)? {
            Response::Outcome(outcome) => Ok(outcome),
            other => Err(self.unexpected(&other)),
        }
    }

    /// # Errors
    /// As [`Self::perform`], with five minutes of patience.
    pub fn undo(&self, intent: &IntentId) -> Result<UndoResult> {
        match self.ask(Ask::Undo { intent: intent.clone() }, UNDO)? {
            Response::Effect(effect) | Response::Outcome(IntentOutcome::Undone(effect)) => Ok(UndoResult::Undone(effect)),
            Response::Refused(refusal) => Ok(UndoResult::Refused(refusal)),
            other => Err(self.unexpected(&other)),
        }
    }

    fn ask(&self, ask: Ask, patience: Duration) -> Result<Response> {
        let until = Instant::now() + patience;
        let mut stream = connect(&self.socket, SHORT).map_err(|e| ClientError::NotThere { socket: self.name(), why: e.to_string() })?;
        let unknown = |why: String| ClientError::Unknown { socket: self.name(), why };
        let mut bounded = Bounded { stream: &mut stream, until };
        frame::write(&mut bounded, &Request { version: VERSION, ask }).map_err(|e| unknown(e.to_string()))?;
        match frame::read(&mut bounded).map_err(|e| unknown(e.to_string()))? {
            Response::Malformed { why } => Err(ClientError::NotTaken { socket: self.name(), why }),
            response => Ok(response),
        }
    }

    fn unexpected(&self, response: &Response) -> ClientError {
        let kind = match response {
            Response::Hello(_) => "hello",
            Response::Effect(_) => "effect",
            Response::Refused(refusal) => return ClientError::NotTaken { socket: self.name(), why: refusal.to_string() },
            Response::Outcome(_) => "outcome",
            Response::Answer(_) => "answer",
            Response::Malformed { .. } => "malformed",
        };
        ClientError::Unknown { socket: self.name(), why: format!("answered with {kind}, which was not asked") }
    }

    fn name(&self) -> String {
        self.socket.display().to_string()
    }
}

impl PrivilegedReads for Client {
    fn look(&self, query: &Query) -> Observed<Answer> {
        match self.ask(Ask::Look { query: query.clone() }, LOOK) {
            Ok(Response::Answer(answer)) => answer,
            Ok(other) => Observed::unavailable(self.unexpected(&other).to_string()),
            Err(e) => Observed::unavailable(e.to_string()),
        }
    }
}
