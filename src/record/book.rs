//! The file of a book: how it is made, opened and verified.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use serde::{Deserialize, Serialize};

use super::{RecordError, aside};
use crate::folder::{self, FolderError};
use crate::model::Now;
pub(super) use crate::wire::chain::{Hash, link};

/// "BPRT": tells `file` and us that a database is one of ours.
const APPLICATION: i64 = 0x4250_5254;
const FORMAT: i64 = 1;

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

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StartedAnew {
    pub(super) kept: String,
    pub(super) why: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Trusted {
    pub(super) by: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Dropped {
    pub(super) seqs: Vec<u64>,
}

pub(super) const STARTED_ANEW: &str = "started_anew";
pub(super) const TRUSTED: &str = "trusted";
pub(super) const DROPPED: &str = "dropped";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// The last row that was cut off; 0 when none was.
    pub(super) base: u64,
}

pub(super) fn code(e: &rusqlite::Error) -> Option<ErrorCode> {
    e.sqlite_error_code()
}

/// A full disk says so at once or, where blocks are given out late, as a failed write or sync.
pub(super) fn is_full(e: &rusqlite::Error) -> bool {
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
pub(super) fn create<F: Fold>(dir: &Path, db: &str, why: Option<&str>) -> Result<(), RecordError> {
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
        if let Some(kept) = aside::set_aside_before(dir, db).last() {
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
    Ok(folder::sync(dir)?)
}

fn no_room(file: &Path, e: FolderError) -> RecordError {
    match e {
        FolderError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            RecordError::NoRoom { file: file.to_owned(), why: source.to_string() }
        }
        other => other.into(),
    }
}

pub(super) struct Verified<F> {
    pub(super) head: Head,
    pub(super) fold: F,
    pub(super) started_anew: Option<StartedAnew>,
}

pub(super) fn open_verified<F: Fold>(file: &Path) -> Result<(Connection, Verified<F>), RecordError> {
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
