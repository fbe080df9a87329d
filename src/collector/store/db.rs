//! The file: how it is opened, checked and brought up to date. Whoever else opens it while the collector runs connects the same way and
//! writes with `BEGIN IMMEDIATE`.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::StoreError;
use super::opened::FILE;
use super::schema::MIGRATIONS;
use crate::folder;

/// Makes the folder and the file where they are missing, and brings the tables up to date. Several programs may do so at the same time.
///
/// # Errors
/// When the folder is not ours, the file is of a newer version, or it cannot be opened.
pub(super) fn open(dir: &Path) -> Result<(Connection, PathBuf), StoreError> {
    let path = folder::own(dir)?.join(FILE);
    // What SQLite puts beside it gets the same mode.
    drop(folder::file(&path)?);
    let mut conn = connect(&path)?;
    migrate(&mut conn, &path)?;
    Ok((conn, path))
}

/// A connection of one's own, for reading or for short writes.
///
/// # Errors
/// When the file is not there or cannot be opened.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let open = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let conn = Connection::open_with_flags(path, flags)?;
        // The timeout first: the journal's mode is changed under a lock.
        conn.execute_batch(
            "PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;
             PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8192; PRAGMA wal_autocheckpoint=4000;
             PRAGMA journal_size_limit=67108864;",
        )?;
        Ok(conn)
    };
    open().map_err(in_file(path))
}

/// # Errors
/// `Damaged` with the first fault.
pub(super) fn check(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let mode: String = conn.query_row("PRAGMA journal_mode", [], |r| r.get(0)).map_err(in_file(path))?;
    if mode != "wal" {
        let why = format!("its journal is {mode} and not a log: its filesystem cannot map files; use a local one");
        return Err(StoreError::File { file: path.to_owned(), why });
    }
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).map_err(in_file(path))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Damaged { file: path.to_owned(), why: found }) }
}

fn migrate(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let version = |conn: &Connection| conn.query_row("PRAGMA user_version", [], |r| r.get::<_, i64>(0)).map_err(in_file(path));
    let known = MIGRATIONS.len() as i64;
    if version(conn)? == known {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(in_file(path))?;
    // Once more, under the lock: another program may have been quicker.
    let found = version(&tx)?;
    if found > known {
        return Err(StoreError::Newer { file: path.to_owned(), found, known });
    }
    let run = || -> rusqlite::Result<()> {
        MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)).try_for_each(|sql| tx.execute_batch(sql))?;
        tx.pragma_update(None, "user_version", known)?;
        Ok(())
    };
    run().map_err(in_file(path))?;
    tx.commit().map_err(in_file(path))
}

fn in_file(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
    |error| {
        let (file, why) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged { file, why },
            _ => StoreError::File { file, why },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_new_file_has_all_tables_and_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (conn, path) = open(&dir.path().join("c")).unwrap();
        check(&conn, &path).unwrap();
        conn.execute("INSERT INTO tokens VALUES('a', x'00', 1, 'me', 2, 1, 0, NULL)", []).unwrap();
        for beside in ["collector.db", "collector.db-wal", "collector.db-shm"] {
            assert_eq!(std::fs::metadata(path.with_file_name(beside)).unwrap().mode() & 0o777, 0o600, "{beside}");
        }
        let (again, _) = open(&dir.path().join("c")).unwrap();
        let tokens: i64 = again.query_row("SELECT count(*) FROM tokens", [], |r| r.get(0)).unwrap();
        assert_eq!(tokens, 1, "made once");
        let synchronous: i64 = again.query_row("PRAGMA synchronous", [], |r| r.get(0)).unwrap();
        assert_eq!(synchronous, 2, "FULL");
    }

    #[test]
    fn a_newer_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (conn, _) = open(dir.path()).unwrap();
        conn.pragma_update(None, "user_version", MIGRATIONS.len() as i64 + 1).unwrap();
        let refused = open(dir.path()).unwrap_err();
        assert!(matches!(refused, StoreError::Newer { .. }) && refused.to_string().contains("newer version"), "{refused}");
    }

    #[test]
    fn a_damaged_file_is_no_database() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let path = dir.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        // The second page and all behind it, not the header.
        bytes[4096..].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        let opened = open(dir.path()).and_then(|(conn, path)| check(&conn, &path));
        assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{opened:?}");
    }
}
