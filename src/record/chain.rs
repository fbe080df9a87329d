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

use openssl::sha::Sha256;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::room::{self, Room};
use super::{RecordError, folder};
use crate::model::{Now, Observed};

/// "BPRT": tells `file` and us that a database is one of ours.
const APPLICATION: i64 = 0x4250_5254;
const FORMAT: i64 = 1;

pub(super) type Hash = [u8; 32];

/// One row, as the fold at opening and readers see it. `body` is `None` once it was dropped.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) incident: String,
    pub(super) kind: String,
    pub(super) at: Option<Now>,
    pub(super) body: Option<String>,
}

/// What a book makes of its rows while they are verified.
pub(super) trait Fold: Default {
    /// Tables besides the chain's own: derived from rows, written in the same transactions.
    const TABLES: &'static str;
    /// # Errors
    /// A row that this book cannot have written, in words.
    fn take(&mut self, row: &Row) -> Result<(), String>;
    /// Compares the derived tables with what the rows say.
    ///
    /// # Errors
    /// Where they differ, in words.
    fn check(&self, _conn: &Connection) -> rusqlite::Result<Result<(), String>> {
        Ok(Ok(()))
    }
}

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

#[derive(Debug, Serialize, Deserialize)]
struct StartedAnew {
    kept: String,
    why: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Trusted {
    by: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Dropped {
    seqs: Vec<u64>,
}

const STARTED_ANEW: &str = "started_anew";
const TRUSTED: &str = "trusted";
const DROPPED: &str = "dropped";

#[derive(Debug)]
pub(super) struct Chain {
    pub(super) conn: Connection,
    file: PathBuf,
    inode: u64,
    head: Head,
    untrusted: Option<StartedAnew>,
    damage: OnceCell<String>,
    room: Room,
    _lock: folder::Lock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    seq: u64,
    hash: Hash,
    /// The last row that was cut off; 0 when none was.
    base: u64,
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
                let kept = folder::set_aside(&dir, &db)?;
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
        let chain =
            Self { conn, inode, head: verified.head, untrusted: verified.started_anew, damage: OnceCell::new(), room, _lock: lock, file };
        let report = OpenReport {
            file: chain.file.clone(),
            rows: chain.rows(),
            set_aside,
            untrusted: chain.untrusted(),
            ballast: chain.room.held(),
        };
        Ok((chain, verified.fold, report))
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
        let at = serde_json::to_string(&at)?;
        let seq = self.head.seq + 1;
        let body_hash = openssl::sha::sha256(body.as_bytes());
        let hash = link(&self.head.hash, &body_hash, seq, incident, kind, &at);
        let head = Head { seq, hash, ..self.head };
        self.write(head, |tx| {
            tx.prepare("INSERT INTO chain(seq, incident, kind, at, body_hash, body, hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute(params![seq.cast_signed(), incident, kind, at, body_hash, body, hash])?;
            also(tx, seq)
        })?;
        Ok(seq)
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

/// The rows of one incident, oldest first, each with the hash that its body must have.
pub(super) fn rows_of(conn: &Connection, incident: &str) -> rusqlite::Result<Vec<(Row, Hash)>> {
    let mut rows = conn.prepare("SELECT seq, kind, at, body, body_hash FROM chain WHERE incident = ?1 ORDER BY seq")?;
    let rows = rows.query_map([incident], |r| {
        let (seq, at): (i64, String) = (r.get(0)?, r.get(2)?);
        let at = serde_json::from_str(&at).unwrap_or(None);
        Ok((Row { seq: seq.cast_unsigned(), incident: incident.to_owned(), kind: r.get(1)?, at, body: r.get(3)? }, r.get(4)?))
    })?;
    rows.collect()
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

/// Lengths are part of what is hashed, so that no two rows can share one text.
fn link(before: &Hash, body: &Hash, seq: u64, incident: &str, kind: &str, at: &str) -> Hash {
    let mut sha = Sha256::new();
    sha.update(before);
    sha.update(body);
    sha.update(&seq.to_be_bytes());
    for text in [incident, kind, at] {
        sha.update(&(text.len() as u64).to_be_bytes());
        sha.update(text.as_bytes());
    }
    sha.finish()
}

fn code(e: &rusqlite::Error) -> Option<ErrorCode> {
    e.sqlite_error_code()
}

/// A full disk says so at once or, where blocks are given out late, as a failed write or sync.
fn is_full(e: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(e, _) = e else { return false };
    const LATE: [i32; 4] = [
        rusqlite::ffi::SQLITE_IOERR_WRITE,
        rusqlite::ffi::SQLITE_IOERR_FSYNC,
        rusqlite::ffi::SQLITE_IOERR_TRUNCATE,
        rusqlite::ffi::SQLITE_CANTOPEN,
    ];
    e.code == ErrorCode::DiskFull || LATE.contains(&e.extended_code)
}

/// At opening, everything that is not the system's refusal is damage: a file that SQLite cannot read is not ours any more.
fn is_damage(e: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(e, _) = e else { return true };
    match e.code {
        ErrorCode::SystemIoFailure => e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ,
        ErrorCode::DiskFull
        | ErrorCode::CannotOpen
        | ErrorCode::PermissionDenied
        | ErrorCode::ReadOnly
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::OutOfMemory => false,
        _ => true,
    }
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(file, flags)?;
    conn.execute_batch(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=PERSIST; PRAGMA journal_size_limit=1048576; PRAGMA synchronous=FULL;
         PRAGMA temp_store=MEMORY; PRAGMA cache_size=-1024; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
    )?;
    Ok(conn)
}

/// Made under another name and renamed, so that a book of no bytes is never one that was just being made.
fn create<F: Fold>(dir: &Path, db: &str, why: Option<&str>) -> Result<(), RecordError> {
    let file = dir.join(db);
    let fresh = dir.join(format!("{db}.new"));
    let leftovers = [fresh.clone(), dir.join(format!("{db}.new-journal")), dir.join(format!("{db}-journal"))];
    for path in &leftovers {
        match fs::remove_file(path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(RecordError::Io { file: path.clone(), source }),
            _ => {}
        }
    }
    let make = || -> rusqlite::Result<()> {
        let conn = connect(&fresh)?;
        conn.execute_batch(&format!(
            "PRAGMA page_size=4096;
             BEGIN IMMEDIATE;
             PRAGMA application_id={APPLICATION}; PRAGMA user_version={FORMAT};
             CREATE TABLE chain(seq INTEGER PRIMARY KEY, incident TEXT NOT NULL, kind TEXT NOT NULL, at TEXT NOT NULL,
                                body_hash BLOB NOT NULL, body TEXT, hash BLOB NOT NULL) STRICT;
             CREATE INDEX chain_incident ON chain(incident, seq);
             CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK(id = 0), base_seq INTEGER NOT NULL, base_hash BLOB NOT NULL,
                               head_seq INTEGER NOT NULL, head_hash BLOB NOT NULL) STRICT;
             INSERT INTO meta VALUES(0, 0, zeroblob(32), 0, zeroblob(32));
             CREATE TABLE reserve(id INTEGER PRIMARY KEY, pad BLOB NOT NULL) STRICT;
             {}",
            F::TABLES
        ))?;
        // Also when an earlier start died between setting a file aside and this: what lies beside it tells.
        if let Some(kept) = folder::set_aside_before(dir, db).last() {
            let anew = StartedAnew { kept: kept.clone(), why: why.unwrap_or("it was damaged").to_owned() };
            // Two strings always are JSON.
            let body = serde_json::to_string(&anew).unwrap_or_default();
            let body_hash = openssl::sha::sha256(body.as_bytes());
            let hash = link(&[0; 32], &body_hash, 1, "", STARTED_ANEW, "null");
            conn.execute("INSERT INTO chain VALUES(1, '', ?1, 'null', ?2, ?3, ?4)", params![STARTED_ANEW, body_hash, body, hash])?;
            conn.execute("UPDATE meta SET head_seq = 1, head_hash = ?1", [hash])?;
        }
        conn.execute_batch("COMMIT")
    };
    folder::file(&fresh).map_err(|e| no_room(&file, e))?;
    make().map_err(|source| match is_full(&source) {
        true => RecordError::NoRoom { file: file.clone(), why: source.to_string() },
        false => RecordError::Sqlite { file: fresh.clone(), source },
    })?;
    fs::rename(&fresh, &file).map_err(|source| RecordError::Io { file: file.clone(), source })?;
    let _ = fs::remove_file(&leftovers[1]);
    folder::sync(dir)
}

fn no_room(file: &Path, e: RecordError) -> RecordError {
    match e {
        RecordError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            RecordError::NoRoom { file: file.to_owned(), why: source.to_string() }
        }
        other => other,
    }
}

pub(super) struct Verified<F> {
    head: Head,
    fold: F,
    started_anew: Option<StartedAnew>,
}

fn open_verified<F: Fold>(file: &Path) -> Result<(Connection, Verified<F>), RecordError> {
    folder::file(file)?;
    let damaged = |why: String| RecordError::Damaged { file: file.to_owned(), why };
    let sql = |source: rusqlite::Error| match is_damage(&source) {
        true => damaged(source.to_string()),
        false => RecordError::Sqlite { file: file.to_owned(), source },
    };
    let conn = connect(file).map_err(sql)?;
    let pragma = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |r| r.get::<_, i64>(0));
    if pragma("application_id").map_err(sql)? != APPLICATION {
        return Err(damaged("it is no BytePort record".into()));
    }
    let found = pragma("user_version").map_err(sql)?;
    if found > FORMAT {
        return Err(RecordError::Newer { file: file.to_owned(), found, known: FORMAT });
    }
    let integrity: String = conn.query_row("PRAGMA integrity_check(1)", [], |r| r.get(0)).map_err(sql)?;
    if integrity != "ok" {
        return Err(damaged(integrity));
    }
    let verified = verify::<F>(&conn).map_err(sql)?.map_err(damaged)?;
    Ok((conn, verified))
}

/// The outer result is SQLite's, the inner one what the rows themselves say.
pub(super) fn verify<F: Fold>(conn: &Connection) -> rusqlite::Result<Result<Verified<F>, String>> {
    let (base, base_hash, head_seq, head_hash) = conn.query_row("SELECT base_seq, base_hash, head_seq, head_hash FROM meta", [], |r| {
        Ok((r.get::<_, i64>(0)?.cast_unsigned(), r.get::<_, Hash>(1)?, r.get::<_, i64>(2)?.cast_unsigned(), r.get::<_, Hash>(3)?))
    })?;
    let mut head = Head { seq: base, hash: base_hash, base };
    let (mut fold, mut started_anew, mut without_body, mut dropped) = (F::default(), None, Vec::new(), Vec::new());
    let mut rows = conn.prepare("SELECT seq, incident, kind, at, body_hash, body, hash FROM chain ORDER BY seq")?;
    let mut rows = rows.query([])?;
    while let Some(r) = rows.next()? {
        let (seq, at, body_hash, hash): (i64, String, Hash, Hash) = (r.get(0)?, r.get(3)?, r.get(4)?, r.get(6)?);
        let row = Row {
            seq: seq.cast_unsigned(),
            incident: r.get(1)?,
            kind: r.get(2)?,
            at: serde_json::from_str(&at).unwrap_or(None),
            body: r.get(5)?,
        };
        if row.seq != head.seq + 1 {
            return Ok(Err(format!("row {} is missing", head.seq + 1)));
        }
        if link(&head.hash, &body_hash, row.seq, &row.incident, &row.kind, &at) != hash {
            return Ok(Err(format!("row {} does not follow from the one before it", row.seq)));
        }
        match &row.body {
            Some(body) if openssl::sha::sha256(body.as_bytes()) != body_hash => {
                return Ok(Err(format!("the body of row {} is not what was written", row.seq)));
            }
            Some(_) => {}
            None => without_body.push(row.seq),
        }
        head = Head { seq: row.seq, hash, base };
        let own = match (row.kind.as_str(), &row.body) {
            (STARTED_ANEW, Some(body)) => serde_json::from_str(body).map(|s| started_anew = Some(s)),
            (TRUSTED, _) => {
                started_anew = None;
                Ok(())
            }
            (DROPPED, Some(body)) => serde_json::from_str::<Dropped>(body).map(|d| dropped.extend(d.seqs)),
            _ => {
                if let Err(why) = fold.take(&row) {
                    return Ok(Err(format!("row {}: {why}", row.seq)));
                }
                Ok(())
            }
        };
        if let Err(e) = own {
            return Ok(Err(format!("row {}: {e}", row.seq)));
        }
    }
    if (head.seq, head.hash) != (head_seq, head_hash) {
        return Ok(Err(format!("it ends at row {}, {head_seq} were written", head.seq)));
    }
    dropped.retain(|seq| *seq > base);
    dropped.sort_unstable();
    dropped.dedup();
    if without_body != dropped {
        return Ok(Err("bodies are missing that nobody dropped".into()));
    }
    if let Err(why) = fold.check(conn)? {
        return Ok(Err(why));
    }
    Ok(Ok(Verified { head, fold, started_anew }))
}
