//! What of the record goes to the collector, letter by letter as it was hashed.

use rusqlite::{OptionalExtension as _, params};

use super::RecordError;
use super::book::Hash;
use super::store::Store;
use crate::model::{Body, Now};
use crate::wire::collector::{MOST_BODY_BYTES, MOST_BYTES, MOST_RECORDS, Record, hex};

/// Rows behind a given one, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The first row that is still there.
    pub first_kept: u64,
    /// Of the row before the first one.
    pub before: Hash,
    pub records: Vec<Record>,
    /// Of the last one.
    pub hash: Hash,
}

/// Of everything but its body, as JSON.
const ROW_BYTES: usize = 512;

impl Store {
    /// Names this record: another one, begun after this was lost, has another name. `None` until there was room to write it down.
    pub fn name(&self) -> Option<&str> {
        self.chain.name()
    }

    /// Number and hash of the newest row; 0 where there is none.
    pub fn head(&self) -> (u64, Hash) {
        let head = self.chain.head();
        (head.seq, head.hash)
    }

    /// How many rows that are still here come after `seq`.
    pub fn waiting(&self, seq: u64) -> u64 {
        self.chain.head().seq.saturating_sub(seq.max(self.chain.first() - 1))
    }

    /// When the oldest of those was written, as far as it says so.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn waiting_since(&self, seq: u64) -> Result<Option<jiff::Timestamp>, RecordError> {
        let oldest = "SELECT at FROM chain WHERE seq > ?1 ORDER BY seq LIMIT 1";
        let at = self.chain.conn.query_row(oldest, [seq.cast_signed()], |r| r.get::<_, String>(0)).optional();
        let at = at.map_err(self.chain.sqlite())?;
        Ok(at.and_then(|at| serde_json::from_str::<Option<Now>>(&at).ok()).flatten().map(|now| now.wall))
    }

    /// As many rows after `seq` as one batch may have; `None` where there are none. Evidence and what is too large stays here, its hash goes.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn after(&self, seq: u64) -> Result<Option<Outgoing>, RecordError> {
        let first = self.chain.first();
        let from = seq.max(first - 1);
        if from >= self.chain.head().seq {
            return Ok(None);
        }
        let read = || -> rusqlite::Result<Option<Outgoing>> {
            let conn = &self.chain.conn;
            let before = if from < first {
                conn.query_row("SELECT base_hash FROM meta", [], |r| r.get::<_, Hash>(0))?
            } else {
                conn.query_row("SELECT hash FROM chain WHERE seq = ?1", [from.cast_signed()], |r| r.get::<_, Hash>(0))?
            };
            let mut rows = conn.prepare(
                "SELECT seq, incident, kind, at, body_hash, hash,
                        CASE WHEN kind = ?3 OR length(CAST(body AS BLOB)) > ?4 THEN NULL ELSE body END
                 FROM chain WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = rows.query(params![from.cast_signed(), MOST_RECORDS as i64, Body::EVIDENCE, MOST_BODY_BYTES as i64])?;
            let mut out = Outgoing { first_kept: first, before, records: Vec::new(), hash: before };
            let mut bytes = 0;
            while let Some(r) = rows.next()? {
                let record = Record {
                    seq: r.get::<_, i64>(0)?.cast_unsigned(),
                    incident: r.get(1)?,
                    kind: r.get(2)?,
                    at: r.get(3)?,
                    body_hash: hex(&r.get::<_, Hash>(4)?),
                    body: r.get(6)?,
                };
                // As JSON in JSON a body may be twice as long.
                bytes += ROW_BYTES + 2 * record.body.as_ref().map_or(0, String::len);
                if bytes > MOST_BYTES && !out.records.is_empty() {
                    break;
                }
                out.hash = r.get(5)?;
                out.records.push(record);
            }
            Ok((!out.records.is_empty()).then_some(out))
        };
        read().map_err(self.chain.sqlite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, IncidentId, Phase, Recorded, RunbookId, Subject};

    fn now() -> Now {
        Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId("a".into()), uptime_s: 1.0 }
    }

    fn store(dir: &tempfile::TempDir) -> (Store, IncidentId) {
        let (mut store, _) = Store::open(dir.path(), &now()).unwrap();
        let id = IncidentId("disk-1".into());
        let opened = Body::Opened { runbook: RunbookId::new("disk"), subject: Subject::Host, signals: Vec::new() };
        store.append(&id, &now(), &opened).unwrap();
        (store, id)
    }

    fn note(text: &str) -> Body {
        Body::Note { text: text.into() }
    }

    /// Every row follows from the one before it, and the last one has the head's hash.
    fn proven(out: &Outgoing) -> bool {
        out.records.iter().try_fold(out.before, |before, row| row.follows(&before)) == Some(out.hash)
    }

    #[test]
    fn rows_go_in_order_and_can_be_proven_without_their_evidence() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, id) = store(&dir);
        let body = serde_json::json!({"x": 1});
        let recorded = Recorded { runbook: RunbookId::new("disk"), schema: 1, at: now(), body };
        store.append(&id, &now(), &Body::Evidence { phase: Phase::Verify, recorded }).unwrap();
        store.append(&id, &now(), &note("ä \" \\")).unwrap();
        let out = store.after(0).unwrap().unwrap();
        assert_eq!((out.first_kept, out.before, out.records.len()), (1, [0; 32], 3));
        assert!(proven(&out) && out.records[1].body.is_none() && out.records[2].body.is_some());
        assert_eq!((3, out.hash), store.head());
        let rest = store.after(2).unwrap().unwrap();
        assert!(proven(&rest) && rest.records == out.records[2..]);
        assert_eq!((store.after(3).unwrap(), store.after(99).unwrap()), (None, None));
    }

    #[test]
    fn what_waits_is_counted_and_has_a_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, id) = store(&dir);
        let later = Now { wall: jiff::Timestamp::from_second(60).unwrap(), ..now() };
        store.append(&id, &later, &note("later")).unwrap();
        assert_eq!([0, 1, 2, 99].map(|seq| store.waiting(seq)), [2, 1, 0, 0]);
        let since = [0, 1, 2].map(|seq| store.waiting_since(seq).unwrap());
        assert_eq!(since, [Some(now().wall), Some(later.wall), None]);
    }

    #[test]
    fn a_batch_is_bounded_by_rows_and_by_bytes_and_a_large_body_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, id) = store(&dir);
        store.append(&id, &now(), &note(&"x".repeat(MOST_BODY_BYTES))).unwrap();
        for _ in 0..40 {
            store.append(&id, &now(), &note(&"y".repeat(MOST_BODY_BYTES - 100))).unwrap();
        }
        let out = store.after(0).unwrap().unwrap();
        assert!(out.records[1].body.is_none() && out.records[2].body.is_some());
        let bytes = serde_json::to_vec(&out.records).unwrap().len();
        assert!(bytes <= MOST_BYTES && out.records.len() > 10, "{bytes} bytes, {} rows", out.records.len());
        for _ in 0..MOST_RECORDS {
            store.append(&id, &now(), &note("z")).unwrap();
        }
        assert_eq!(store.after(41).unwrap().unwrap().records.len(), MOST_RECORDS);
    }

    #[test]
    fn a_record_keeps_its_name_and_one_begun_anew_has_another() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = store(&dir);
        let name = store.name().unwrap().to_owned();
        assert_eq!(name.len(), 32);
        drop(store);
        assert_eq!(Store::open(dir.path(), &now()).unwrap().0.name(), Some(name.as_str()));
        std::fs::remove_file(dir.path().join("record.db")).unwrap();
        assert_ne!(Store::open(dir.path(), &now()).unwrap().0.name(), Some(name.as_str()));
    }
}
