//! What is answered from memory: who may speak, how much of each record is here, and the newest heartbeat of each, until it is written.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::{Refusal, StoreError};
use crate::collector::proof::Signature;
use crate::wire::chain::Hash;
use crate::wire::collector::{Code, Heartbeat, SignedHead, unhex};

/// Records that one host may have begun anew: each is remembered for good.
pub(super) const MOST_STREAMS: usize = 64;

/// What a request is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentAuth {
    pub credential_sha256: Hash,
    pub public_key: Hash,
    pub state: AgentState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    Active,
    Revoked,
    Quarantined,
}

impl AgentState {
    /// # Errors
    /// Why nothing is taken of an agent in this state.
    pub fn may_speak(self) -> Result<(), Refusal> {
        let (code, why) = match self {
            Self::Active => return Ok(()),
            Self::Revoked => (Code::AgentRevoked, "a person has taken this agent's credential away; enrol it again if that was not meant"),
            Self::Quarantined => {
                (Code::AgentQuarantined, "a person has to look at this identity first; the collector's page of this host says why")
            }
        };
        Err(Refusal { code, why: why.to_owned() })
    }
}

impl fmt::Debug for AgentAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentAuth").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct Live {
    agents: Mutex<Agents>,
    stopped: OnceLock<String>,
    /// Of the filesystem.
    free: AtomicU64,
    commits: AtomicU64,
}

#[derive(Debug, Default)]
struct Agents {
    known: HashMap<String, Known>,
    /// How many of them may speak.
    active: usize,
    pending: Pending,
}

/// What is not written down yet, by agent.
pub(super) type Pending = HashMap<String, Unwritten>;

#[derive(Debug)]
struct Known {
    auth: AgentAuth,
    /// The one that is spoken of now; all others are of the past.
    current: Option<String>,
    acked: HashMap<String, u64>,
    /// The newest head whose signature was found right, and its stream.
    signed: Option<(String, SignedHead)>,
}

#[derive(Debug, Default)]
pub(super) struct Unwritten {
    pub(super) beat: Option<Beat>,
    pub(super) stopped_at: Option<i64>,
    /// When and why.
    pub(super) quarantine: Option<(i64, String)>,
    /// The stream is new, or its signed head is.
    pub(super) stream: bool,
}

#[derive(Debug)]
pub(super) struct Beat {
    pub(super) heartbeat: Heartbeat,
    pub(super) interval_s: f64,
    pub(super) seen_at: i64,
    pub(super) head: Option<Head>,
}

/// The end of a record, and the signature below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    pub(super) signature: Signature,
}

impl Head {
    /// Of one whose signature was found right.
    pub(super) fn read(head: &SignedHead) -> Option<Self> {
        Some(Self { seq: head.seq, hash: unhex(&head.hash)?, signature: unhex(&head.signature)? })
    }
}

impl Agents {
    fn put(&mut self, id: &str, auth: AgentAuth) {
        let active = |auth: &AgentAuth| usize::from(auth.state == AgentState::Active);
        self.active += active(&auth);
        if let Some(known) = self.known.get_mut(id) {
            self.active -= active(&known.auth);
            known.auth = auth;
        } else {
            self.known.insert(id.to_owned(), Known { auth, current: None, acked: HashMap::new(), signed: None });
        }
    }

    /// Nothing more is taken of it, from now on; written down with the next heartbeats.
    fn quarantine(&mut self, id: &str, now: i64, why: &str) {
        if let Some(known) = self.known.get(id) {
            let auth = AgentAuth { state: AgentState::Quarantined, ..known.auth.clone() };
            self.put(id, auth);
            self.pending.entry(id.to_owned()).or_default().quarantine.get_or_insert((now, why.to_owned()));
            tracing::error!("agent {id} is quarantined: {why}");
        }
    }
}

impl Known {
    /// # Errors
    /// Why its host is not one host, where `stream` is one that another has followed.
    fn may_speak_of(&self, stream: &str) -> Result<(), String> {
        match &self.current {
            Some(current) if current != stream && self.acked.contains_key(stream) => {
                Err(format!("record {stream} came back after {current} had followed it: two hosts speak with one credential"))
            }
            Some(_) if !self.acked.contains_key(stream) && self.acked.len() >= MOST_STREAMS => {
                Err(format!("its record was begun anew {MOST_STREAMS} times"))
            }
            _ => Ok(()),
        }
    }

    fn speaks_of(&mut self, stream: &str) -> bool {
        let new = !self.acked.contains_key(stream);
        if new {
            self.acked.insert(stream.to_owned(), 0);
            self.current = Some(stream.to_owned());
        }
        new
    }
}

pub(super) fn unknown() -> Refusal {
    Refusal { code: Code::CredentialRefused, why: "this collector does not know this agent; enrol it".into() }
}

impl Live {
    fn agents(&self) -> MutexGuard<'_, Agents> {
        // Whoever panicked left at worst one heartbeat out.
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn auth(&self, id: &str) -> Option<AgentAuth> {
        self.agents().known.get(id).map(|known| known.auth.clone())
    }

    pub(super) fn active(&self) -> usize {
        self.agents().active
    }

    pub(super) fn put(&self, id: &str, auth: AgentAuth) {
        self.agents().put(id, auth);
    }

    /// All that the database knows. A quarantine that is not written yet holds all the same.
    pub(super) fn load(&self, all: Vec<(String, AgentAuth)>) {
        let mut agents = self.agents();
        let mut gone = mem::take(&mut agents.known);
        agents.active = 0;
        for (id, mut auth) in all {
            if auth.state == AgentState::Active && agents.pending.get(&id).is_some_and(|p| p.quarantine.is_some()) {
                auth.state = AgentState::Quarantined;
            }
            if let Some(known) = gone.remove(&id) {
                agents.active += usize::from(known.auth.state == AgentState::Active);
                agents.known.insert(id.clone(), known);
            }
            agents.put(&id, auth);
        }
    }

    /// In the order in which they were first seen.
    pub(super) fn load_stream(&self, id: &str, stream: &str, acked: u64) {
        if let Some(known) = self.agents().known.get_mut(id) {
            known.acked.insert(stream.to_owned(), acked);
            known.current = Some(stream.to_owned());
        }
    }

    /// Whether this very head was found right before.
    pub(super) fn knows_head(&self, id: &str, stream: &str, head: &SignedHead) -> bool {
        let agents = self.agents();
        agents.known.get(id).and_then(|k| k.signed.as_ref()).is_some_and(|(s, h)| s == stream && h == head)
    }

    /// `head` is the heartbeat's, its signature found right. Gives how much of its record is durable here.
    ///
    /// # Errors
    /// When nothing is taken of this agent; `IdentityClone` when that is since this heartbeat.
    pub(super) fn heard(&self, id: &str, beat: Beat) -> Result<u64, Refusal> {
        let mut agents = self.agents();
        let agents = &mut *agents;
        let known = agents.known.get_mut(id).ok_or_else(unknown)?;
        known.auth.state.may_speak()?;
        let stream = beat.heartbeat.stream.clone();
        if let Err(why) = known.may_speak_of(&stream) {
            agents.quarantine(id, beat.seen_at, &why);
            return Err(Refusal { code: Code::IdentityClone, why });
        }
        let new_stream = known.speaks_of(&stream);
        let signed = beat.heartbeat.head.clone().map(|head| (stream.clone(), head));
        let new_head = signed.is_some() && known.signed != signed;
        if new_head {
            known.signed = signed;
        }
        let acked = known.acked.get(&stream).copied().unwrap_or(0);
        let unwritten = agents.pending.entry(id.to_owned()).or_default();
        unwritten.beat = Some(beat);
        unwritten.stopped_at = None;
        unwritten.stream |= new_stream || new_head;
        Ok(acked)
    }

    pub(super) fn stopped_speaking(&self, id: &str, now: i64) {
        self.agents().pending.entry(id.to_owned()).or_default().stopped_at = Some(now);
    }

    /// Before its rows are taken.
    ///
    /// # Errors
    /// The same as for a heartbeat.
    pub(super) fn may_send(&self, id: &str, stream: &str, now: i64) -> Result<(), Refusal> {
        let mut agents = self.agents();
        let known = agents.known.get(id).ok_or_else(unknown)?;
        known.auth.state.may_speak()?;
        known.may_speak_of(stream).map_err(|why| {
            agents.quarantine(id, now, &why);
            Refusal { code: Code::IdentityClone, why }
        })
    }

    /// After they were taken.
    pub(super) fn acked(&self, id: &str, stream: &str, through: u64) {
        if let Some(known) = self.agents().known.get_mut(id) {
            known.speaks_of(stream);
            if let Some(acked) = known.acked.get_mut(stream) {
                *acked = through.max(*acked);
            }
        }
    }

    /// After it was written down.
    pub(super) fn quarantined(&self, id: &str) {
        let mut agents = self.agents();
        if let Some(known) = agents.known.get(id) {
            let auth = AgentAuth { state: AgentState::Quarantined, ..known.auth.clone() };
            agents.put(id, auth);
        }
    }

    pub(super) fn take_pending(&self) -> Pending {
        mem::take(&mut self.agents().pending)
    }

    /// What could not be written; what came meanwhile is newer.
    pub(super) fn give_back(&self, pending: Pending) {
        let mut agents = self.agents();
        for (id, old) in pending {
            let new = agents.pending.entry(id).or_default();
            if new.beat.is_none() {
                new.beat = old.beat;
                new.stopped_at = new.stopped_at.or(old.stopped_at);
            }
            new.quarantine = old.quarantine.or(new.quarantine.take());
            new.stream |= old.stream;
        }
    }

    /// Nothing is taken from now on.
    pub(super) fn stop(&self, why: &str) {
        if self.stopped.set(why.to_owned()).is_ok() {
            tracing::error!("the store takes nothing any more: {why}");
        }
    }

    pub(super) fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }

    /// # Errors
    /// `Stopped`.
    pub(super) fn runs(&self) -> Result<(), StoreError> {
        self.stopped().map_or(Ok(()), |why| Err(StoreError::Stopped(why.to_owned())))
    }

    pub(super) fn set_free(&self, bytes: u64) {
        self.free.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}
