//! A copy of everything, made while the collector runs, and whether one is good.
//!
//! To put one back: stop the collector, take `collector.db`, `collector.db-wal` and `collector.db-shm` away from its state folder, copy the
//! backup there as `collector.db` with the old owner and mode 0600, start it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use super::failure::Failure;
use super::opened;
use super::verify::{self, Verified};

/// What is in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// What SQLite finds wrong with the file; empty: nothing.
    pub damage: Vec<String>,
    /// Rows, by table.
    pub counts: Vec<(&'static str, u64)>,
    pub verified: Verified,
}

impl Backup {
    pub fn is_good(&self) -> bool {
        self.damage.is_empty() && self.verified.is_whole()
    }
}

/// Counted in this order.
const TABLES: [&str; 8] = ["agents", "tokens", "heartbeats", "streams", "records", "incidents", "outbox", "audit"];

/// Copies the collector's file, as it is at one moment, into a new one that only its owner may read.
///
/// # Errors
/// When the new file is there already, or there is no room; then nothing is left behind.
pub fn create(file: &Path, to: &Path) -> Result<(), Failure> {
    let conn = opened::to_read(file)?;
    // What is written is another file; this one stays opened to be read.
    conn.execute_batch("PRAGMA query_only=OFF").map_err(Failure::of(file))?;
    // Ours from the beginning: SQLite would make it with the mode of its source, and would fill an empty one that is there.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Failure::Exists { file: to.to_owned() },
        _ => Failure::Io { file: to.to_owned(), source },
    })?;
    let copied = copy(&conn, to, &made);
    if copied.is_err() {
        // What is half a copy must not be taken for one.
        let _ = fs::remove_file(to);
    }
    copied
}

fn copy(conn: &Connection, to: &Path, made: &File) -> Result<(), Failure> {
    // Whole, so that no name is taken for an address.
    let whole = fs::canonicalize(to).map_err(Failure::io(to))?;
    let name = whole.to_str().ok_or_else(|| Failure::OddName { file: to.to_owned() })?;
    conn.execute("VACUUM INTO ?1", [name]).map_err(Failure::of(to))?;
    let folder: PathBuf = whole.parent().unwrap_or(Path::new("/")).to_owned();
    made.sync_all().and_then(|()| File::open(&folder)?.sync_all()).map_err(Failure::io(to))
}

/// Looks through a whole backup.
///
/// # Errors
/// When it is none, or of another version, or too damaged to be read to its end.
pub fn verify(file: &Path) -> Result<Backup, Failure> {
    let conn = opened::to_read(file)?;
    let read = || -> rusqlite::Result<Backup> {
        let mut damage = conn.prepare("PRAGMA integrity_check(20)")?;
        let mut damage = damage.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        damage.retain(|line| line != "ok");
        let count = |table: &'static str| {
            let rows = conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| super::columns::number(r, 0));
            rows.map(|rows| (table, rows))
        };
        let counts = TABLES.into_iter().map(count).collect::<rusqlite::Result<_>>()?;
        Ok(Backup { damage, counts, verified: verify::of(&conn, None)? })
    };
    read().map_err(Failure::of(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::test_file::{Made, NOW_MS, agent};
    use super::*;

    fn made() -> Made {
        let made = Made::new();
        made.agent("web-1").heard(NOW_MS, "[]");
        made.stream(&agent("web-1"), "s1", 40);
        made.letter(1, "a", "disk-1", "escalated", 5);
        made
    }

    #[test]
    fn a_backup_made_beside_a_writer_is_whole_private_and_of_one_moment() {
        let made = made();
        let writer = made.conn();
        writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM records").unwrap();
        let to = made.file().with_file_name("backup.db");
        create(&made.file(), &to).unwrap();
        writer.execute_batch("ROLLBACK").unwrap();
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        let backup = verify(&to).unwrap();
        assert!(backup.is_good(), "{backup:?}");
        let rows: Vec<u64> = backup.counts.iter().map(|(_, n)| *n).collect();
        assert_eq!(rows, [1, 0, 1, 1, 40, 0, 1, 0]);
        let beside: Vec<_> = fs::read_dir(to.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!beside.iter().any(|name| name.starts_with("backup.db-")), "{beside:?}");
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_is_left() {
        let made = made();
        let to = made.file().with_file_name("backup.db");
        fs::write(&to, "").unwrap();
        assert!(matches!(create(&made.file(), &to), Err(Failure::Exists { .. })));
        assert_eq!(fs::metadata(&to).unwrap().len(), 0);
        let odd = made.file().with_file_name(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"odd-\xff"));
        assert!(matches!(create(&made.file(), &odd), Err(Failure::OddName { .. })) && !odd.exists());
        let none = made.file().with_file_name("none/backup.db");
        assert!(matches!(create(&made.file(), &none), Err(Failure::Io { .. })));
    }

    #[test]
    fn a_backup_that_was_changed_or_cut_off_is_found() {
        let made = made();
        let to = made.file().with_file_name("backup.db");
        create(&made.file(), &to).unwrap();
        let whole = fs::read(&to).unwrap();
        let is_found = |bytes: &[u8]| {
            fs::write(&to, bytes).unwrap();
            !verify(&to).is_ok_and(|backup| backup.is_good())
        };
        assert!(!is_found(&whole));
        assert!(is_found(&whole[..whole.len() - 4096]) && is_found(&whole[..100]) && is_found(b""));
        // One bit of every row's body, wherever it stands; SQLite leaves copies in pages' free space, which nobody reads.
        let mut rows = std::collections::BTreeSet::new();
        let needle = b"row number ";
        for place in (0..whole.len() - needle.len()).filter(|i| whole[*i..].starts_with(needle)) {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            if is_found(&changed) {
                rows.insert(whole[place + needle.len()..].split(|b| *b == b' ').next().unwrap().to_owned());
            }
        }
        assert_eq!(rows.len(), 32, "of 40 rows eight are here without their bodies");
    }
}
