//! An append-only table whose rows are chained: `hash = SHA-256(previous hash, body hash, seq, incident, kind, at)`.
//!
//! A body may be dropped later (retention) because the chain holds its hash; which ones were is itself a chained row.
//! Old rows may be cut off at the front; the hash before the cut stays as the base. Everything else that differs from
//! what was written is damage: such a file is set aside and a new one begun, which is not trusted for acting until a
//! person says so. The marker is a chained row as well, so it survives restarts.
//!
//! Why a rollback journal that is kept (`journal_mode=PERSIST`) and not WAL: after a restart at zero free inodes the WAL
//! file could not be made again, the journal is still there; and writing into pages that the file already has needs no
//! block of a full disk.

use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::book::{
    DROPPED, Dropped, Fold, Hash, Head, Row, STARTED_ANEW, StartedAnew, TRUSTED, Trusted, code, create, is_full, link, open_verified,
    rows_of,
};
use super::room::{self, Room};
use super::{RecordError, aside};
use crate::folder;
use crate::model::{Now, Observed};

/// What was found when a book was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    pub file: PathBuf,
    /// Rows in the chain.
    pub rows: u64,
    /// A damaged file was kept under this name just now, and why.
    pub set_aside: Option<(PathBuf, String)>,
    /// Why nothing may be done on the strength of this book, and what to do about it.
    pub untrusted: Option<String>,
    /// The ballast file has its bytes.
    pub ballast: bool,
}

/// A row that is to be added.
pub(super) struct Line<'a> {
    pub(super) kind: &'a str,
    pub(super) at: Option<&'a Now>,
    pub(super) body: String,
}

#[derive(Debug)]
pub(super) struct Chain {
    pub(super) conn: Connection,
    file: PathBuf,
    inode: u64,
    head: Head,
    untrusted: Option<StartedAnew>,
    damage: OnceCell<String>,
    /// Names this file among all that there were and will be; `None` where there was no room to write it down.
    name: Option<String>,
    room: Room,
    _lock: folder::Lock,
}

impl OpenReport {
    /// What a person should be told, if anything.
    pub fn lines(&self) -> Vec<String> {
        let aside = self.set_aside.as_ref();
        aside
            .map(|(kept, why)| format!("{} was damaged ({why}); kept as {}", self.file.display(), kept.display()))
            .into_iter()
            .chain(self.untrusted.clone())
            .chain(
                (!self.ballast).then(|| format!("{}: no room for the ballast that keeps it writable on a full disk", self.file.display())),
            )
            .collect()
    }
}

impl Chain {
    /// Opens `dir/name.db`, verifies all of it, and folds its rows.
    ///
    /// # Errors
    /// When the folder is not ours, another program has the book, it is of a newer version, or there is no room to begin
    /// one. Damage is no error: see [`OpenReport`].
    pub(super) fn open<F: Fold>(dir: &Path, name: &str) -> Result<(Self, F, OpenReport), RecordError> {
        let dir = folder::own(dir)?;
        let lock = folder::Lock::take(&dir.join(format!("{name}.lock")))?;
        let db = format!("{name}.db");
        let file = dir.join(&db);
        let mut set_aside = None;
        if fs::symlink_metadata(&file).is_err() {
            create::<F>(&dir, &db, None)?;
        }
        let (conn, verified) = match open_verified::<F>(&file) {
            Err(RecordError::Damaged { why, .. }) => {
                let kept = aside::set_aside(&dir, &db)?;
                create::<F>(&dir, &db, Some(&why))?;
                set_aside = Some((kept, why));
                open_verified::<F>(&file)?
            }
            other => other?,
        };
        let inode = fs::symlink_metadata(&file).map_err(|source| RecordError::Io { file: file.clone(), source })?.ino();
        if fs::symlink_metadata(dir.join(format!("{db}-journal"))).is_err() {
            // Writes what is there already: the first entry may come when there is no inode for a journal any more. Where it
            // fails, that entry fails as well, and says why.
            let _ = conn.execute("UPDATE meta SET id = 0", []);
        }
        let room = Room::open(dir.join(format!("{name}.ballast")));
        room::restock(&conn, &room);
        let name = named(&conn).inspect_err(|e| tracing::warn!("{} has no name yet: {e}", file.display())).ok();
        let (head, untrusted) = (verified.head, verified.started_anew);
        let chain = Self { conn, inode, head, untrusted, damage: OnceCell::new(), name, room, _lock: lock, file };
        let report = OpenReport {
            file: chain.file.clone(),
            rows: chain.rows(),
            set_aside,
            untrusted: chain.untrusted(),
            ballast: chain.room.held(),
        };
        Ok((chain, verified.fold, report))
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) const fn head(&self) -> Head {
        self.head
    }

    pub(super) fn rows(&self) -> u64 {
        self.head.seq - self.head.base
    }

    /// The first row that is still there.
    pub(super) fn first(&self) -> u64 {
        self.head.base + 1
    }

    /// Appends one row, durable when this returns. `also` writes what is derived from it, in the same transaction.
    ///
    /// # Errors
    /// `NoRoom` when neither the book's own free pages nor the ballast were enough; nothing is written then.
    pub(super) fn append(
        &mut self,
        incident: &str,
        kind: &str,
        at: Option<&Now>,
        body: &str,
        also: impl Fn(&Connection, u64) -> rusqlite::Result<()>,
    ) -> Result<u64, RecordError> {
        self.append_all(incident, &[Line { kind, at, body: body.to_owned() }], also)
    }

    /// Adds all of them or none, durable together, and gives the number of the first.
    pub(super) fn append_all(
        &mut self,
        incident: &str,
        lines: &[Line<'_>],
        also: impl Fn(&Connection, u64) -> rusqlite::Result<()>,
    ) -> Result<u64, RecordError> {
        let (first, mut head) = (self.head.seq + 1, self.head);
        let mut rows = Vec::with_capacity(lines.len());
        for Line { kind, at, body } in lines {
            let at = serde_json::to_string(at)?;
            let seq = head.seq + 1;
            let body_hash = openssl::sha::sha256(body.as_bytes());
            let hash = link(&head.hash, &body_hash, seq, incident, kind, &at);
            head = Head { seq, hash, ..head };
            rows.push((head, kind, at, body_hash, body));
        }
        self.write(head, |tx| {
            let mut insert =
                tx.prepare("INSERT INTO chain(seq, incident, kind, at, body_hash, body, hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for (Head { seq, hash, .. }, kind, at, body_hash, body) in &rows {
                insert.execute(params![seq.cast_signed(), incident, kind, at, body_hash, body, hash])?;
            }
            also(tx, first)
        })?;
        Ok(first)
    }

    /// Drops bodies; the rows stay, and a row is added that says which.
    pub(super) fn drop_bodies(&mut self, seqs: Vec<u64>, at: &Now) -> Result<(), RecordError> {
        let body = serde_json::to_string(&Dropped { seqs: seqs.clone() })?;
        self.append("", DROPPED, Some(at), &body, |tx, _| {
            let mut drop = tx.prepare("UPDATE chain SET body = NULL WHERE seq = ?1")?;
            seqs.iter().try_for_each(|seq| drop.execute([seq.cast_signed()]).map(|_| ()))
        })?;
        Ok(())
    }

    /// Removes all rows before `first`; the chain is verified from there on. That the book is not trusted outlives the cut.
    pub(super) fn cut(&mut self, first: u64, now: &Now, also: impl Fn(&Connection) -> rusqlite::Result<()>) -> Result<(), RecordError> {
        if first <= self.first() || first > self.head.seq {
            return Ok(());
        }
        if let Some(anew) = &self.untrusted {
            let body = serde_json::to_string(anew)?;
            self.append("", STARTED_ANEW, Some(now), &body, |_, _| Ok(()))?;
        }
        let base = first - 1;
        let head = Head { base, ..self.head };
        self.write(head, |tx| {
            tx.execute("UPDATE meta SET base_hash = (SELECT hash FROM chain WHERE seq = ?1)", [base.cast_signed()])?;
            tx.execute("DELETE FROM chain WHERE seq <= ?1", [base.cast_signed()])?;
            also(tx)
        })
    }

    fn write(&mut self, head: Head, what: impl Fn(&Connection) -> rusqlite::Result<()>) -> Result<(), RecordError> {
        if let Some(why) = self.damage.get() {
            return Err(RecordError::Damaged { file: self.file.clone(), why: why.clone() });
        }
        let attempt = |conn: &Connection| -> rusqlite::Result<()> {
            let tx = conn.unchecked_transaction()?;
            what(&tx)?;
            tx.prepare("UPDATE meta SET base_seq = ?1, head_seq = ?2, head_hash = ?3")?.execute(params![
                head.base.cast_signed(),
                head.seq.cast_signed(),
                head.hash
            ])?;
            tx.commit()
        };
        let mut result = attempt(&self.conn);
        if result.as_ref().is_err_and(is_full) && self.room.release() {
            result = attempt(&self.conn);
        }
        if let Err(source) = result {
            let file = self.file.clone();
            return Err(match code(&source) {
                _ if is_full(&source) => RecordError::NoRoom { file, why: source.to_string() },
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => self.damaged(source.to_string()),
                _ => RecordError::Sqlite { file, source },
            });
        }
        self.head = head;
        self.room.take_back();
        room::restock(&self.conn, &self.room);
        Ok(())
    }

    /// Rows in the chain, when it was whole at opening and still ends where this process left it, may be trusted, and
    /// has room for the next entries.
    pub(super) fn health(&self) -> Observed<u64> {
        let file = self.file.display();
        if let Some(why) = self.damage.get() {
            return Observed::unavailable(format!("{file} is damaged: {why}; restart to set it aside"));
        }
        if let Some(why) = self.untrusted() {
            return Observed::unavailable(why);
        }
        if fs::symlink_metadata(&self.file).map_or(0, |m| m.ino()) != self.inode {
            return Observed::unavailable(format!("{file} was removed or replaced under this program: restart it"));
        }
        if self.room.read_only() {
            return Observed::unavailable(format!("{file} is on a read-only filesystem"));
        }
        let last = self.conn.query_row("SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1", [], |r| {
            Ok((r.get::<_, i64>(0)?.cast_unsigned(), r.get::<_, Hash>(1)?))
        });
        match last.optional() {
            Ok(Some(last)) if last == (self.head.seq, self.head.hash) => {}
            Ok(None) if self.rows() == 0 => {}
            Ok(_) => return Observed::unavailable(format!("{file} does not end where this program left it: restart it")),
            Err(e) => return Observed::unavailable(format!("{file} cannot be read: {e}")),
        }
        if !self.room.held() && room::free_pages(&self.conn) < room::NEEDED_PAGES && self.room.free() < room::NEEDED_BYTES {
            return Observed::unavailable(format!("{file} has no room for its next entries: free some space there"));
        }
        Observed::fresh(self.rows())
    }

    pub(super) fn untrusted(&self) -> Option<String> {
        self.untrusted.as_ref().map(|anew| untrusted(&self.file, anew))
    }

    /// A person says that acting may go on although the older book is lost.
    pub(super) fn trust(&mut self, by: &str, at: Option<&Now>) -> Result<(), RecordError> {
        if self.untrusted.is_some() {
            let body = serde_json::to_string(&Trusted { by: by.to_owned() })?;
            self.append("", TRUSTED, at, &body, |_, _| Ok(()))?;
            self.untrusted = None;
        }
        Ok(())
    }

    /// Bytes of the book's pages that are in use.
    pub(super) fn used_bytes(&self) -> u64 {
        let pragma = |name: &str| self.conn.query_row(&format!("PRAGMA {name}"), [], |r| r.get::<_, i64>(0)).unwrap_or(0);
        ((pragma("page_count") - pragma("freelist_count")).max(0) * pragma("page_size")).cast_unsigned()
    }

    /// The rows of one incident, oldest first, each compared with its hash once more.
    ///
    /// # Errors
    /// `Damaged` when a body is not what was written.
    pub(super) fn rows_of(&self, incident: &str) -> Result<Vec<Row>, RecordError> {
        let mut rows = Vec::new();
        for (row, hash) in rows_of(&self.conn, incident).map_err(self.sqlite())? {
            if row.body.as_ref().is_some_and(|body| openssl::sha::sha256(body.as_bytes()) != hash) {
                return Err(self.damaged(format!("the body of row {} is not what was written", row.seq)));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Found while running: nothing is written any more, and [`Self::health`] says why.
    pub(super) fn damaged(&self, why: String) -> RecordError {
        let why = self.damage.get_or_init(|| why).clone();
        RecordError::Damaged { file: self.file.clone(), why }
    }

    /// Bytes on disk of everything in the folder.
    pub(super) fn folder_bytes(&self) -> u64 {
        let files = self.file.parent().and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten();
        files.filter_map(|f| f.ok()?.metadata().ok()).map(|m| m.blocks() * 512).sum()
    }

    pub(super) fn sqlite(&self) -> impl Fn(rusqlite::Error) -> RecordError + '_ {
        |source| RecordError::Sqlite { file: self.file.clone(), source }
    }
}

/// The book's own name, made up when it has none yet: 32 hex digits.
fn named(conn: &Connection) -> rusqlite::Result<String> {
    conn.execute_batch("CREATE TABLE IF NOT EXISTS name(name TEXT NOT NULL) STRICT; INSERT INTO name SELECT lower(hex(randomblob(16))) WHERE NOT EXISTS (SELECT 1 FROM name)")?;
    conn.query_row("SELECT name FROM name", [], |r| r.get(0))
}

fn untrusted(file: &Path, anew: &StartedAnew) -> String {
    let book = file.file_stem().unwrap_or_default().display();
    format!(
        "{} was begun anew because the one before it could not be trusted ({}; kept as {}): nothing is done until a person has started \
         its program once with --trust-new-{book}",
        file.display(),
        anew.why,
        anew.kept
    )
}
