//! How everybody but the writer opens the collector's file: none makes it, none changes its tables.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::failure::Failure;
use super::schema::MIGRATIONS;

/// In `state_dir`.
pub const FILE: &str = "collector.db";

/// For a lock that another connection has.
const PATIENCE: Duration = Duration::from_secs(5);

/// To read and write, while the collector may do the same.
///
/// # Errors
/// When it is not there, or has other tables than this version.
pub(super) fn to_change(file: &Path) -> Result<Connection, Failure> {
    open(file, OpenFlags::SQLITE_OPEN_READ_WRITE, "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;")
}

/// To read only.
///
/// # Errors
/// The same.
pub(super) fn to_read(file: &Path) -> Result<Connection, Failure> {
    open(file, OpenFlags::SQLITE_OPEN_READ_ONLY, "PRAGMA query_only=ON;")
}

fn open(file: &Path, how: OpenFlags, pragmas: &str) -> Result<Connection, Failure> {
    // SQLite would say of both that it cannot open it.
    if let Err(e) = fs::metadata(file) {
        return Err(if e.kind() == io::ErrorKind::NotFound { Failure::Missing { file: file.to_owned() } } else { Failure::io(file)(e) });
    }
    let sql = Failure::of(file);
    let conn = Connection::open_with_flags(file, how | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(&sql)?;
    conn.busy_timeout(PATIENCE).map_err(&sql)?;
    conn.execute_batch(&format!("PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY; {pragmas}")).map_err(&sql)?;
    let found: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(&sql)?;
    let known = MIGRATIONS.len() as i64;
    match found == known {
        true => Ok(conn),
        false => Err(Failure::OtherTables { file: file.to_owned(), found, known }),
    }
}
