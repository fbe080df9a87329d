//! What can go wrong beside the collector's writer, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("there is no {file}: is state_dir right, and has the collector been started once?", file = .file.display())]
    Missing { file: PathBuf },
    #[error("{file} has tables of number {found}, this version knows {known}: use the version that the collector runs", file = .file.display())]
    OtherTables { file: PathBuf, found: i64, known: i64 },
    #[error("{file} is busy: the collector has been writing for longer than 5 s; try again", file = .file.display())]
    Busy { file: PathBuf },
    #[error("{file}: {source}", file = .file.display())]
    Sqlite { file: PathBuf, source: rusqlite::Error },
    #[error("{file}: {source}", file = .file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{file} is there already: name another file, nothing is overwritten", file = .file.display())]
    Exists { file: PathBuf },
    #[error("{file}: its name is not UTF-8 text, which SQLite needs", file = .file.display())]
    OddName { file: PathBuf },
    #[error("no agent {0}: `byteport-collector agent list` lists them")]
    NoAgent(String),
    #[error("{name} may be {first} or {second}: give more of the id")]
    Ambiguous { name: String, first: String, second: String },
    #[error("no token {0}: `byteport-collector token list` lists them")]
    NoToken(String),
    #[error("there is a token {0} already: try again, ids are made at random")]
    TokenExists(String),
    #[error("no message {0}: `byteport-collector outbox list` lists them")]
    NoMessage(u64),
    #[error("message {id} is {state}: only a dead one is sent again")]
    NotDead { id: u64, state: String },
    #[error("message {id} was sent again already, as {by}")]
    SentAgain { id: u64, by: u64 },
}

impl Failure {
    /// For `map_err`: says which file it was.
    pub(super) fn of(file: &Path) -> impl Fn(rusqlite::Error) -> Self + '_ {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { file: file.to_owned() },
            _ => Self::Sqlite { file: file.to_owned(), source },
        }
    }

    pub(super) fn io(file: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self::Io { file: file.to_owned(), source }
    }
}
