//! What can go wrong with a book, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::folder::FolderError;
use crate::model::{IncidentId, IntentId};

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{file}: {source}", file = .file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("no room for the record in {file}: free some bytes or inodes on its filesystem ({why})", file = .file.display())]
    NoRoom { file: PathBuf, why: String },
    #[error("{file} has format {found}, this version knows up to {known}: install the newer version again", file = .file.display())]
    Newer { file: PathBuf, found: i64, known: i64 },
    #[error("{file} is damaged: {why}; restart the program that keeps it, which sets the file aside", file = .file.display())]
    Damaged { file: PathBuf, why: String },
    #[error("{0}")]
    Untrusted(String),
    #[error("intent {0} was begun before: it is never carried out twice; ask for its outcome")]
    AlreadyBegun(IntentId),
    #[error("intent {0} was never begun here")]
    NotBegun(IntentId),
    #[error("intent {0} has an effect already")]
    AlreadyEnded(IntentId),
    #[error("intent {0} has no effect that could be taken back")]
    NotEnded(IntentId),
    #[error("incident {0} was opened before")]
    AlreadyOpened(IncidentId),
    #[error("no incident {0}: `byteportctl incidents` lists them")]
    NoIncident(String),
    #[error("{name} may be {first} or {second}: give more of the name")]
    Ambiguous { name: String, first: String, second: String },
    #[error("{file}: {source}", file = .file.display())]
    Sqlite { file: PathBuf, source: rusqlite::Error },
    #[error("cannot be written down: {0}")]
    Json(#[from] serde_json::Error),
}

impl RecordError {
    /// Whether it is what was to be written that is wrong, and not where: another try comes to the same end.
    pub const fn is_for_good(&self) -> bool {
        match self {
            Self::AlreadyBegun(_)
            | Self::NotBegun(_)
            | Self::AlreadyEnded(_)
            | Self::NotEnded(_)
            | Self::AlreadyOpened(_)
            | Self::NoIncident(_)
            | Self::Ambiguous { .. }
            | Self::Json(_) => true,
            Self::Folder(_)
            | Self::Io { .. }
            | Self::NoRoom { .. }
            | Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::Untrusted(_)
            | Self::Sqlite { .. } => false,
        }
    }
}
