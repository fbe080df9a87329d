//! What can go wrong with the store, and what to do about it.

use std::path::PathBuf;

use rusqlite::{ErrorCode, ffi};

use crate::folder::FolderError;
use crate::wire::collector::Code;

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("state folder {dir}: {why}", dir = .dir.display())]
    Folder { dir: PathBuf, why: String },
    #[error("{file}: {why}", file = .file.display())]
    File { file: PathBuf, why: String },
    #[error("{file} is in use by {by}: stop that program, or give this one a state folder of its own", file = .file.display())]
    InUse { file: PathBuf, by: String },
    #[error("{file} has format {found}, this version knows up to {known}: install the newer version again", file = .file.display())]
    Newer { file: PathBuf, found: i64, known: i64 },
    #[error("{file} is damaged: {why}; stop the collector and put a backup in its place", file = .file.display())]
    Damaged { file: PathBuf, why: String },
    /// Nothing of the request was kept; it may be sent again.
    #[error("nothing can be written now: {0}")]
    Unavailable(String),
    /// What the disk holds is not known any more: nothing is taken until somebody has looked.
    #[error("nothing is taken any more: {0}; look at the disk and the kernel's log, then restart the collector")]
    Stopped(String),
    #[error("{0}")]
    Refused(Refusal),
    /// A defect of ours: of this request only, nothing of which was kept.
    #[error("SQLite: {0}")]
    Sqlite(String),
}

/// Whoever asked may not have it. Of a `TokenRefused`, `why` is for the log only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    pub code: Code,
    pub why: String,
}

impl StoreError {
    /// Whether it holds for everything that is in the same transaction.
    pub(super) const fn is_of_all(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Stopped(_))
    }
}

impl From<FolderError> for StoreError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Folder { dir, why } => Self::Folder { dir, why },
            FolderError::Io { file, source } => Self::File { file, why: source.to_string() },
            FolderError::InUse { file, by } => Self::InUse { file, by },
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let why = error.to_string();
        let Some(failure) = error.sqlite_error() else { return Self::Sqlite(why) };
        match failure.code {
            // The index of the log needs room as well, and says so in another way.
            ErrorCode::SystemIoFailure if matches!(failure.extended_code, ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_NOMEM) => {
                Self::Unavailable(why)
            }
            ErrorCode::DiskFull
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied => Self::Unavailable(why),
            // After a sync that failed nobody knows what is on the disk, and a second one may report success all the same.
            ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Stopped(why),
            _ => Self::Sqlite(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_room_passes_and_a_failed_sync_does_not() {
        let of = |code| StoreError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_BUSY_SNAPSHOT, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_READONLY] {
            assert!(matches!(of(code), StoreError::Unavailable(_)), "{code}");
        }
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_READ, ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
            assert!(matches!(of(code), StoreError::Stopped(_)), "{code}");
        }
        assert!(matches!(of(ffi::SQLITE_CONSTRAINT_FOREIGNKEY), StoreError::Sqlite(_)));
        assert!(matches!(StoreError::from(rusqlite::Error::QueryReturnedNoRows), StoreError::Sqlite(_)));
    }
}
