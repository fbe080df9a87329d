//! Keeps what hosts report, in one SQLite file: one thread writes, whoever asks is answered when it is durable. Everything that is SQL is below
//! here.
//!
//! [`writer`] is that thread, [`memory`] what is answered from memory, [`enrol`] and [`ingest`] what is written for whom, [`mod@derive`] what
//! follows from it; [`db`] is the file, [`schema`] its tables. Beside the writer [`reader`] reads for pages, [`admin`]
//! changes for people, [`outbox`] hands out what is to be told, [`mod@verify`] proves that the hosts' records are as the hosts wrote them,
//! [`backup`] copies the file.

mod admin;
mod audit;
mod backup;
mod beats;
mod chain_walk;
mod columns;
mod db;
mod derive;
mod enrol;
mod entries;
mod error;
mod failure;
mod fleet;
mod incidents;
mod ingest;
mod memory;
mod opened;
mod outbox;
mod reader;
mod schema;
mod standing;
#[cfg(test)]
pub(crate) mod test_agent;
#[cfg(test)]
pub(super) mod test_file;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

pub use admin::{Admin, Changed, NewToken, Token};
pub use audit::AuditHead;
pub use backup::{Backup, create as create_backup, verify as verify_backup};
pub use enrol::Entrant;
pub use error::{Refusal, StoreError};
pub use failure::Failure;
pub use memory::{AgentAuth, AgentState};
pub use opened::FILE;
pub use outbox::{Claim, Outbox};
pub use reader::Reader;
pub use verify::{AuditChain, StreamChain, StreamVerified, Verified, verify, verify_with};

use super::proof::{self, Proven};
use crate::folder;
use crate::wire::collector::{Heartbeat, Taken};
use ingest::Answer;
use memory::{Beat, Head, Live};
use writer::{Job, QUEUE, Writer, job};

/// Called on the writer's thread, after the commit: it must not wait for anything.
pub type Reply<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

/// Less room than this on the store's filesystem, and rows are not taken: what is left is for what people do.
pub const LEAST_FREE_BYTES: u64 = 64 << 20;

/// One for all threads; the last one that goes waits for the writer to end.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    live: Arc<Live>,
    destinations: Arc<[String]>,
    queue: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    _lock: folder::Lock,
}

/// How the store is, from memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Why nothing is taken any more.
    pub stopped: Option<String>,
    /// On its filesystem, half a second ago at most.
    pub free_bytes: u64,
    /// Agents that may speak.
    pub agents: usize,
    /// Transactions since the start.
    pub commits: u64,
}

impl Store {
    /// Opens `dir/collector.db`, makes or upgrades it where it is needed, and checks it; that takes seconds for gigabytes. For each of
    /// `destinations` there is an outbox row of everything that people are told.
    ///
    /// # Errors
    /// When the folder is not ours, another collector has it, or the file is damaged, of a newer version or cannot be opened.
    pub fn open(dir: &Path, destinations: Vec<String>) -> Result<Self, StoreError> {
        let real = folder::own(dir)?;
        let lock = folder::Lock::take(&real.join("collector.lock"))?;
        let (conn, path) = db::open(&real)?;
        db::check(&conn, &path)?;
        let live = Arc::new(Live::default());
        live.set_free(folder::free_bytes(&real));
        let in_file = |e: rusqlite::Error| StoreError::File { file: path.clone(), why: e.to_string() };
        // The number first: what is written in between is seen with the next look.
        let version = writer::version(&conn).map_err(in_file)?;
        load(&conn, &live).map_err(in_file)?;
        let (queue, jobs) = sync_channel(QUEUE);
        let writer = Writer { conn, dir: real, live: Arc::clone(&live), queue: jobs, version };
        let thread = thread::Builder::new()
            .name("collector-writer".into())
            .spawn(move || writer.run())
            .map_err(|e| StoreError::File { file: path.clone(), why: format!("no thread to write it: {e}") })?;
        let (queue, writer, destinations) = (Some(queue), Some(thread), destinations.into());
        Ok(Self(Arc::new(Inner { path, live, destinations, queue, writer, _lock: lock })))
    }

    /// The database: others may connect to it, and write with `BEGIN IMMEDIATE`. Whom they revoke cannot speak a second later.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub fn health(&self) -> Health {
        let live = &self.0.live;
        let stopped = live.stopped().map(str::to_owned);
        Health { stopped, free_bytes: live.free(), agents: live.active(), commits: live.commits() }
    }

    /// What a request is checked against, from memory; `None` for an agent that is not known.
    pub fn credential(&self, agent_id: &str) -> Option<AgentAuth> {
        self.0.live.auth(agent_id)
    }

    /// Whether the writer writes: replied to from behind everything that waits.
    pub fn probe(&self, reply: Reply<()>) {
        self.submit(|_| Ok(()), reply);
    }

    /// Lets a host in.
    ///
    /// # Errors
    /// By `reply`: `Refused` with a `TokenRefused` whose reason is for the log only.
    pub fn enrol(&self, entrant: Entrant, now: jiff::Timestamp, reply: Reply<()>) {
        let (id, live) = (entrant.agent_id.clone(), Arc::clone(&self.0.live));
        let auth = AgentAuth { credential_sha256: entrant.credential_sha256, public_key: entrant.public_key, state: AgentState::Active };
        let known: Reply<()> = Box::new(move |result| {
            if result.is_ok() {
                live.put(&id, auth);
            }
            reply(result);
        });
        self.submit(move |conn| enrol::enrol(conn, &entrant, now.as_millisecond()), known);
    }

    /// Takes a heartbeat, to be written with others, and says how much of its record is durable here. `next_in_s` is when the next one is due.
    ///
    /// # Errors
    /// `Refused` where nothing is taken of this agent, or its head is not signed by it; `Stopped`.
    pub fn heard(&self, agent_id: &str, heartbeat: Heartbeat, next_in_s: f64, now: jiff::Timestamp) -> Result<u64, StoreError> {
        let live = &self.0.live;
        live.runs()?;
        let head = match &heartbeat.head {
            // Checking a signature costs more than all the rest.
            Some(head) if !live.knows_head(agent_id, &heartbeat.stream, head) => {
                let auth = live.auth(agent_id).ok_or_else(|| StoreError::Refused(memory::unknown()))?;
                let (hash, signature) = proof::signed(agent_id, &auth.public_key, &heartbeat.stream, head).map_err(StoreError::Refused)?;
                Some(Head { seq: head.seq, hash, signature })
            }
            Some(head) => Head::read(head),
            None => None,
        };
        let beat = Beat { heartbeat, interval_s: next_in_s, seen_at: now.as_millisecond(), head };
        live.heard(agent_id, beat).map_err(StoreError::Refused)
    }

    /// It said that it stops.
    ///
    /// # Errors
    /// `Stopped`.
    pub fn goodbye(&self, agent_id: &str, now: jiff::Timestamp) -> Result<(), StoreError> {
        self.0.live.runs()?;
        self.0.live.stopped_speaking(agent_id, now.as_millisecond());
        Ok(())
    }

    /// Takes rows, and everything that follows from them, in one transaction.
    ///
    /// # Errors
    /// By `reply`: `Refused` with a `Gap`, a `SeqConflict` or an `IdentityClone`, of which the last two quarantine the agent, or where
    /// nothing is taken of it; `Unavailable` where it may be sent again.
    pub fn ingest(&self, batch: Proven, now: jiff::Timestamp, reply: Reply<Taken>) {
        let live = Arc::clone(&self.0.live);
        let now = now.as_millisecond();
        if let Err(refusal) = live.may_send(&batch.agent_id, &batch.stream, now) {
            return reply(Err(StoreError::Refused(refusal)));
        }
        if live.free() < LEAST_FREE_BYTES {
            let why = format!("less than {} MiB are free beside {}", LEAST_FREE_BYTES >> 20, self.0.path.display());
            return reply(Err(StoreError::Unavailable(why)));
        }
        let (id, stream) = (batch.agent_id.clone(), batch.stream.clone());
        let answered: Reply<Answer> = Box::new(move |result| {
            reply(match result {
                Ok(Answer::Taken(taken)) => {
                    live.acked(&id, &stream, taken.acked_through);
                    Ok(taken)
                }
                Ok(Answer::Quarantined(refusal)) => {
                    live.quarantined(&id);
                    Err(StoreError::Refused(refusal))
                }
                Ok(Answer::Refused(refusal)) => Err(StoreError::Refused(refusal)),
                Err(e) => Err(e),
            });
        });
        let destinations = Arc::clone(&self.0.destinations);
        self.submit(move |conn| ingest::ingest(conn, &batch, now, &destinations), answered);
    }

    fn submit<T, W>(&self, work: W, reply: Reply<T>)
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        if let Err(e) = self.0.live.runs() {
            return reply(Err(e));
        }
        let Some(queue) = &self.0.queue else { return reply(Err(StoreError::Unavailable("the store is closed".into()))) };
        match queue.try_send(job(work, reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => job.end(Err(StoreError::Unavailable(format!("{QUEUE} requests wait already")))),
            Err(TrySendError::Disconnected(job)) => job.end(Err(StoreError::Stopped("the thread that writes has ended".into()))),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        // What waits is still written. A writer that panicked has said so.
        if let Some(writer) = self.writer.take().filter(|w| w.thread().id() != thread::current().id()) {
            drop(writer.join());
        }
    }
}

fn load(conn: &Connection, live: &Live) -> rusqlite::Result<()> {
    live.load(writer::agents(conn)?);
    let mut streams = conn.prepare("SELECT agent_id, stream, acked_through FROM streams ORDER BY agent_id, first_seen")?;
    let mut streams = streams.query([])?;
    while let Some(r) = streams.next()? {
        live.load_stream(&r.get::<_, String>(0)?, &r.get::<_, String>(1)?, r.get::<_, i64>(2)?.cast_unsigned());
    }
    Ok(())
}
