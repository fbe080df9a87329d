//! Looking into a record whose program is dead, for whoever is on call. Writes nothing, not even a lock's name, and takes
//! nothing back: a damaged record is read as far as it can be, and said to be damaged.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::RecordError;
use super::book;
use super::store::Index;
use crate::model::{Entry, IncidentId, IncidentSummary, Observed};

#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    file: PathBuf,
    chain: Observed<()>,
    /// Shared, so that the agent does not begin to write meanwhile.
    _lock: Option<File>,
}

/// How an SQLite journal begins that has to be rolled back.
const HOT: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

impl Reader {
    /// Opens `dir/record.db` and verifies its chain.
    ///
    /// # Errors
    /// When there is no record or it may not be read; when its program is alive: then ask that; when that program died in the middle of
    /// a write, which only its next start puts right.
    pub fn open(dir: &Path) -> Result<Self, RecordError> {
        let file = dir.join("record.db");
        let io = |path: &Path| {
            let file = path.to_owned();
            move |source| RecordError::Io { file, source }
        };
        fs::metadata(&file).map_err(io(&file))?;
        let lock = share(&dir.join("record.lock"), &file)?;
        let journal = dir.join("record.db-journal");
        let mut begins = [0; 8];
        match File::open(&journal).and_then(|mut f| f.read_exact(&mut begins)) {
            Ok(()) if begins == HOT => {
                let text = "its program died in the middle of a write; start it once, which takes the half-written part back, then ask it";
                return Err(RecordError::Untrusted(format!("{}: {text}", file.display())));
            }
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => return Err(io(&journal)(e)),
            // None, or an empty one.
            _ => {}
        }
        let sql = |source| RecordError::Sqlite { file: file.clone(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // Immutable: no lock is taken and no journal looked at, both seen to above.
        let conn = Connection::open_with_flags(format!("file:{}?immutable=1", escaped(&file)), flags).map_err(sql)?;
        let chain = match book::verify::<Index>(&conn) {
            Ok(Ok(_)) => Observed::fresh(()),
            Ok(Err(why)) => Observed::unavailable(why),
            Err(e) => Observed::unavailable(e.to_string()),
        };
        Ok(Self { conn, file, chain, _lock: lock })
    }

    /// Whether every row follows from the one before it.
    pub fn chain(&self) -> &Observed<()> {
        &self.chain
    }

    /// The newest incidents first.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn summaries(&self) -> Result<Vec<IncidentSummary>, RecordError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut rows = self.conn.prepare("SELECT summary FROM incidents ORDER BY first_seq DESC")?;
            rows.query_map([], |r| r.get(0))?.collect()
        };
        let texts = read().map_err(|source| RecordError::Sqlite { file: self.file.clone(), source })?;
        texts.iter().map(|t| Ok(serde_json::from_str(t)?)).collect()
    }

    /// What a person typed: a whole name, the beginning of exactly one, `last`, or a runbook's name for its last one.
    ///
    /// # Errors
    /// When it is no incident's, or several incidents'.
    pub fn resolve(&self, name: &str) -> Result<IncidentSummary, RecordError> {
        let mut all = self.summaries()?;
        if name == "last" && !all.is_empty() {
            return Ok(all.swap_remove(0));
        }
        // Newest first: a runbook's name is its last incident.
        if let Some(at) = all.iter().position(|s| s.id.0 == name || s.runbook.0 == name) {
            return Ok(all.swap_remove(at));
        }
        all.retain(|s| !name.is_empty() && s.id.0.starts_with(name));
        match all.as_slice() {
            [] => Err(RecordError::NoIncident(name.into())),
            [_] => Ok(all.swap_remove(0)),
            [first, second, ..] => {
                Err(RecordError::Ambiguous { name: name.into(), first: first.id.0.clone(), second: second.id.0.clone() })
            }
        }
    }

    /// Everything that is recorded of an incident, in order.
    ///
    /// # Errors
    /// When an entry cannot be read.
    pub fn entries(&self, incident: &IncidentId) -> Result<Vec<Entry>, RecordError> {
        let rows = book::rows_of(&self.conn, &incident.0).map_err(|source| RecordError::Sqlite { file: self.file.clone(), source })?;
        let damaged = |why: String| RecordError::Damaged { file: self.file.clone(), why };
        rows.into_iter().map(|(row, _)| super::store::entry(row, incident).map_err(damaged)).collect()
    }
}

/// A shared lock on what the record's program holds exclusively; `None` where there is nothing to lock.
fn share(path: &Path, record: &Path) -> Result<Option<File>, RecordError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RecordError::Io { file: path.to_owned(), source }),
    };
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut by = String::new();
            let _ = file.read_to_string(&mut by);
            let by = if by.trim().is_empty() { "another process" } else { by.trim() };
            Err(RecordError::Untrusted(format!("{} is in use by {by}: it is alive, so ask it, without --state-dir", record.display())))
        }
        Err(e) => Err(RecordError::Io { file: path.to_owned(), source: e.into() }),
    }
}

/// For a URI: what is not plain becomes `%NN`.
fn escaped(path: &Path) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
    path.as_os_str().as_bytes().iter().map(|b| if plain(*b) { (*b as char).to_string() } else { format!("%{b:02X}") }).collect()
}
