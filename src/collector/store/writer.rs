//! The one thread that writes. Everything that waits is one transaction, synced once; each request has a savepoint of its own, so that one
//! that fails takes nothing else with it. Nobody is answered before the commit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::memory::{AgentAuth, AgentState, Live};
use super::{LEAST_FREE_BYTES, Reply, StoreError, beats, folder};

/// Requests that may wait.
pub(super) const QUEUE: usize = 1024;
/// Requests in one transaction.
const GROUP: usize = 256;
/// Between two writes of heartbeats.
const FLUSH: Duration = Duration::from_secs(2);
/// Between two looks at what others have changed in the file: a revocation counts within a second.
const LOOK: Duration = Duration::from_millis(500);

/// Something to write, and who waits for it.
pub(super) trait Work: Send {
    /// # Errors
    /// Then nothing of it is kept.
    fn run(&mut self, conn: &Connection) -> Result<(), StoreError>;
    /// After the commit, or when there is none.
    fn end(self: Box<Self>, committed: Result<(), StoreError>);
}

pub(super) type Job = Box<dyn Work>;

struct Asked<T, W> {
    work: Option<W>,
    done: Option<Result<T, StoreError>>,
    reply: Reply<T>,
}

pub(super) fn job<T, W>(work: W, reply: Reply<T>) -> Job
where
    T: Send + 'static,
    W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
{
    Box::new(Asked { work: Some(work), done: None, reply })
}

impl<T, W> Work for Asked<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let done = work(conn);
        let result = done.as_ref().map(|_| ()).map_err(Clone::clone);
        self.done = Some(done);
        result
    }

    fn end(self: Box<Self>, committed: Result<(), StoreError>) {
        let done = self.done.unwrap_or_else(|| Err(StoreError::Unavailable("it was not its turn".into())));
        (self.reply)(committed.and(done));
    }
}

pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) dir: PathBuf,
    pub(super) live: Arc<Live>,
    pub(super) queue: Receiver<Job>,
    /// What the file was when the agents were read from it last.
    pub(super) version: i64,
}

/// A writer that ends in a panic is a store that has stopped.
struct Ends(Arc<Live>);

impl Drop for Ends {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop("the thread that writes has panicked");
        }
    }
}

impl Writer {
    /// Until nobody can ask any more and everything that waited is written.
    pub(super) fn run(mut self) {
        let _ends = Ends(Arc::clone(&self.live));
        let start = Instant::now();
        let (mut flushed, mut looked) = (start, start);
        loop {
            let due = (flushed + FLUSH).min(looked + LOOK);
            match self.queue.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(first) => {
                    let mut jobs = vec![first];
                    jobs.extend(self.queue.try_iter().take(GROUP - 1));
                    self.group(jobs);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if looked.elapsed() >= LOOK {
                self.look();
                looked = Instant::now();
            }
            if flushed.elapsed() >= FLUSH {
                self.flush();
                flushed = Instant::now();
            }
        }
        self.flush();
    }

    fn group(&self, mut jobs: Vec<Job>) {
        let committed = self.transaction(|conn| {
            for job in &mut jobs {
                conn.execute_batch("SAVEPOINT one")?;
                match job.run(conn) {
                    Err(e) if e.is_of_all() || conn.is_autocommit() => return Err(e),
                    Err(_) => conn.execute_batch("ROLLBACK TO one; RELEASE one")?,
                    Ok(()) => conn.execute_batch("RELEASE one")?,
                }
            }
            Ok(())
        });
        if let Err(e) = &committed {
            tracing::warn!("{} requests could not be written: {e}", jobs.len());
        }
        for job in jobs {
            job.end(committed.clone());
        }
    }

    fn flush(&self) {
        let pending = self.live.take_pending();
        if pending.is_empty() {
            return;
        }
        if let Err(e) = self.transaction(|conn| Ok(beats::write(conn, &pending)?)) {
            tracing::warn!("heartbeats cannot be written, and are kept until they can: {e}");
            self.live.give_back(pending);
        }
    }

    fn transaction(&self, what: impl FnOnce(&Connection) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.live.runs()?;
        let conn = &self.conn;
        let whole = || -> Result<(), StoreError> {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            what(conn)?;
            conn.execute_batch("COMMIT")?;
            Ok(())
        };
        let result = whole();
        match &result {
            Ok(()) => self.live.committed(),
            Err(e) => {
                if !conn.is_autocommit()
                    && let Err(again) = conn.execute_batch("ROLLBACK")
                {
                    self.live.stop(&format!("a transaction could neither be ended ({e}) nor taken back: {again}"));
                }
                if let StoreError::Stopped(why) = e {
                    self.live.stop(why);
                }
            }
        }
        result
    }

    /// At what others have written, and at the room that is left.
    fn look(&mut self) {
        let (before, free) = (self.live.free(), folder::free_bytes(&self.dir));
        self.live.set_free(free);
        if free < LEAST_FREE_BYTES && before >= LEAST_FREE_BYTES {
            tracing::warn!("no rows are taken: only {} MiB are free beside {}", free >> 20, self.dir.display());
        }
        let look = || -> rusqlite::Result<i64> {
            let version = version(&self.conn)?;
            if version != self.version {
                self.live.load(agents(&self.conn)?);
            }
            Ok(version)
        };
        match look() {
            Ok(version) => self.version = version,
            Err(e) => tracing::warn!("it cannot be told whether an agent was revoked: {e}"),
        }
    }
}

/// Another number whenever another connection has written.
pub(super) fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA data_version", [], |r| r.get(0))
}

pub(super) fn agents(conn: &Connection) -> rusqlite::Result<Vec<(String, AgentAuth)>> {
    let mut all = conn.prepare("SELECT id, public_key, credential_sha256, revoked_at, quarantined_at FROM agents")?;
    let all = all.query_map([], |r| {
        let state = match (r.get::<_, Option<i64>>(3)?, r.get::<_, Option<i64>>(4)?) {
            (Some(_), _) => AgentState::Revoked,
            (None, Some(_)) => AgentState::Quarantined,
            (None, None) => AgentState::Active,
        };
        Ok((r.get(0)?, AgentAuth { public_key: r.get(1)?, credential_sha256: r.get(2)?, state }))
    })?;
    all.collect()
}
