//! Whether everything is as it was written: each host's record against its own signature, and what people did here against its chain.
//!
//! What no chain holds cannot be proven: when rows arrived, and what pages derive from them.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use serde::Serialize;

use super::audit::{AuditHead, Done, Trail};
use super::chain_walk::{Broken, Claimed, Walk};
use super::failure::Failure;
use super::opened;
use crate::wire::collector::{Record, hex};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    pub streams: Vec<StreamVerified>,
    pub audit: AuditChain,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamVerified {
    pub agent_id: String,
    /// Empty where the agent is not known here.
    pub hostname: String,
    pub stream: String,
    pub rows: u64,
    pub chain: StreamChain,
    /// The newest row that the host has signed. Below the last one: those behind it are only chained. Above it: rows that have not come yet.
    pub signed_through: u64,
    /// The last row that was acknowledged.
    pub acked_through: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamChain {
    Whole,
    /// The host said that it had dropped what is missing before this row; `unproven` rows before it are here and cannot be proven.
    Gap {
        before: u64,
        unproven: u64,
    },
    Broken {
        row: u64,
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditChain {
    Whole { head: AuditHead },
    Broken { row: u64, why: String },
}

impl Verified {
    /// A gap that the host told of is none of the collector's faults.
    pub fn is_whole(&self) -> bool {
        let broken = |s: &StreamVerified| matches!(s.chain, StreamChain::Broken { .. });
        !self.streams.iter().any(broken) && matches!(self.audit, AuditChain::Whole { .. })
    }
}

/// Reads all of it, as it is at one moment.
///
/// # Errors
/// When it cannot be read at all. What was changed in it is no error but in the answer.
pub fn verify(file: &Path) -> Result<Verified, Failure> {
    let conn = opened::to_read(file)?;
    of(&conn, None).map_err(Failure::of(file))
}

/// [`verify`], and whether the audit still has this head in it.
///
/// # Errors
/// The same.
pub fn verify_with(file: &Path, head: &AuditHead) -> Result<Verified, Failure> {
    let conn = opened::to_read(file)?;
    of(&conn, Some(head)).map_err(Failure::of(file))
}

pub(super) fn of(conn: &Connection, head: Option<&AuditHead>) -> rusqlite::Result<Verified> {
    let moment = conn.unchecked_transaction()?;
    let mut verified = Verified { streams: Vec::new(), audit: audit(&moment, head)? };
    let mut streams = moment.prepare(
        "SELECT s.agent_id, s.stream, a.hostname, a.public_key, s.acked_through, s.head_hash, s.gap_before, s.gap_hash, s.signed_through,
                s.signed_hash, s.signature
         FROM streams s LEFT JOIN agents a ON a.id = s.agent_id ORDER BY s.agent_id, s.first_seen, s.stream",
    )?;
    let mut rows = streams.query([])?;
    while let Some(row) = rows.next()? {
        verified.streams.push(stream(&moment, row)?);
    }
    verified.streams.extend(strays(&moment)?);
    Ok(verified)
}

/// Text as it stands there: what is no text any more must be told, and ends nothing.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(&bytes(row, column)?).into_owned())
}

fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    })
}

/// What is below 0 is no number of a row: 0 is none either.
fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
}

fn stream(conn: &Connection, row: &Row<'_>) -> rusqlite::Result<StreamVerified> {
    let gap: Option<i64> = row.get(6)?;
    let claimed = Claimed {
        agent_id: text(row, 0)?,
        stream: text(row, 1)?,
        public_key: bytes(row, 3)?,
        acked_through: seq(row, 4)?,
        head_hash: bytes(row, 5)?,
        gap: match gap {
            Some(_) => Some((seq(row, 6)?, bytes(row, 7)?)),
            None => None,
        },
        signed_through: seq(row, 8)?,
        signed_hash: bytes(row, 9)?,
        signature: bytes(row, 10)?,
    };
    let (rows, chain) = match walk(conn, &claimed)? {
        Ok((rows, unproven)) => {
            (rows, claimed.gap.as_ref().map_or(StreamChain::Whole, |(before, _)| StreamChain::Gap { before: *before, unproven }))
        }
        Err((rows, Broken { row, why })) => (rows, StreamChain::Broken { row, why }),
    };
    let Claimed { agent_id, stream, acked_through, signed_through, .. } = claimed;
    Ok(StreamVerified { agent_id, hostname: text(row, 2)?, stream, rows, chain, signed_through, acked_through })
}

/// Rows that were read, and those that are not proven or where it broke.
type Walked = Result<(u64, u64), (u64, Broken)>;

fn walk(conn: &Connection, claimed: &Claimed) -> rusqlite::Result<Walked> {
    let mut walk = match Walk::new(claimed) {
        Ok(walk) => walk,
        Err(broken) => return Ok(Err((0, broken))),
    };
    let mut rows =
        conn.prepare("SELECT seq, incident, kind, at, body_hash, body FROM records WHERE agent_id = ?1 AND stream = ?2 ORDER BY seq")?;
    let mut rows = rows.query(params![claimed.agent_id, claimed.stream])?;
    while let Some(row) = rows.next()? {
        let is_here = !matches!(row.get_ref(5)?, ValueRef::Null);
        let record = Record {
            seq: seq(row, 0)?,
            incident: text(row, 1)?,
            kind: text(row, 2)?,
            at: text(row, 3)?,
            body_hash: hex(&bytes(row, 4)?),
            body: if is_here { Some(text(row, 5)?) } else { None },
        };
        if let Err(broken) = walk.take(&record) {
            return Ok(Err((walk.rows, broken)));
        }
    }
    Ok(walk.end().map(|()| (walk.rows, walk.unproven)).map_err(|broken| (walk.rows, broken)))
}

/// Rows of streams that nobody has told of.
fn strays(conn: &Connection) -> rusqlite::Result<Vec<StreamVerified>> {
    let mut strays = conn.prepare(
        "SELECT agent_id, stream, count(*), min(seq) FROM records r
         WHERE NOT EXISTS (SELECT 1 FROM streams s WHERE s.agent_id = r.agent_id AND s.stream = r.stream)
         GROUP BY agent_id, stream ORDER BY agent_id, stream",
    )?;
    let strays = strays.query_map([], |r| {
        let why = "there are rows here of a record that was never begun".to_owned();
        Ok(StreamVerified {
            agent_id: text(r, 0)?,
            hostname: String::new(),
            stream: text(r, 1)?,
            rows: seq(r, 2)?,
            chain: StreamChain::Broken { row: seq(r, 3)?, why },
            signed_through: 0,
            acked_through: 0,
        })
    })?;
    strays.collect()
}

fn audit(conn: &Connection, noted: Option<&AuditHead>) -> rusqlite::Result<AuditChain> {
    let mut trail = Trail::new();
    let mut seen = noted.is_none();
    let mut rows = conn.prepare("SELECT idx, at, actor, action, object, detail, hash FROM audit ORDER BY idx")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (actor, action, object, detail) = (text(row, 2)?, text(row, 3)?, text(row, 4)?, text(row, 5)?);
        let done = Done { idx: seq(row, 0)?, at: row.get(1)?, actor, action, object, detail };
        if let Err(why) = trail.take(&done, &bytes(row, 6)?) {
            return Ok(AuditChain::Broken { row: done.idx, why });
        }
        seen |= noted == Some(&trail.head);
    }
    Ok(match noted.filter(|_| !seen) {
        Some(noted) => AuditChain::Broken { row: noted.idx, why: "the head that was noted is not in it any more".into() },
        None => AuditChain::Whole { head: trail.head },
    })
}

#[cfg(test)]
mod tests {
    use super::super::Admin;
    use super::super::test_file::{Made, NOW_MS, agent};
    use super::*;

    /// Two hosts: one record whole, one with a gap; and three rows of the audit.
    fn made() -> Made {
        let made = Made::new();
        for name in ["web-1", "web-2"] {
            made.agent(name);
        }
        made.stream(&agent("web-1"), "s1", 6);
        made.stream_behind_gap(&agent("web-2"), "s2", 4, 9);
        let mut admin = Admin::open(&made.file()).unwrap();
        let now = jiff::Timestamp::from_millisecond(NOW_MS).unwrap();
        for why in ["one", "two", "three"] {
            admin.quarantine_agent(&agent("web-1"), why, "ann", now).unwrap();
            admin.release_agent(&agent("web-1"), "ann", now).unwrap();
        }
        made
    }

    fn found(made: &Made) -> Verified {
        verify(&made.file()).unwrap()
    }

    #[test]
    fn what_nobody_has_touched_is_whole() {
        let verified = found(&made());
        assert!(verified.is_whole(), "{verified:?}");
        let [first, second] = verified.streams.as_slice() else { panic!("{verified:?}") };
        let (whole, gap) = if first.hostname == "web-1" { (first, second) } else { (second, first) };
        assert_eq!((&whole.chain, whole.rows, whole.acked_through, whole.signed_through), (&StreamChain::Whole, 6, 6, 6));
        assert_eq!((&gap.chain, gap.rows), (&StreamChain::Gap { before: 4, unproven: 0 }, 6));
        assert!(matches!(verified.audit, AuditChain::Whole { head: AuditHead { idx: 6, .. } }));
    }

    /// Every column that a chain or a signature holds, and the table it is in.
    const PROVEN: [(&str, &[&str]); 4] = [
        ("records", &["agent_id", "stream", "seq", "incident", "kind", "at", "body_hash", "body"]),
        (
            "streams",
            &["agent_id", "stream", "acked_through", "head_hash", "gap_before", "gap_hash", "signed_through", "signed_hash", "signature"],
        ),
        ("agents", &["id", "public_key"]),
        ("audit", &["idx", "at", "actor", "action", "object", "detail", "hash"]),
    ];

    #[test]
    fn a_single_bit_of_any_proven_column_is_found() {
        let made = made();
        let mut flips = 0;
        for (table, columns) in PROVEN {
            for column in columns {
                for bit in made.bits(table, column) {
                    let Some(flipped) = made.flip(table, column, bit) else { continue };
                    assert!(!found(&made).is_whole(), "{table}.{column}, {bit:?}");
                    made.flip(table, column, flipped).expect("as it was");
                    flips += 1;
                }
            }
        }
        assert!(flips > 500, "{flips}");
        assert!(found(&made).is_whole(), "all of them were taken back");
    }

    #[test]
    fn a_row_that_is_gone_swapped_or_cut_off_is_found() {
        for (what, broken) in [
            ("DELETE FROM records WHERE seq = 2", 2),
            ("DELETE FROM records WHERE seq = 1", 1),
            ("DELETE FROM records WHERE stream = 's1' AND seq > 4", 5),
            ("DELETE FROM records WHERE stream = 's1'", 1),
            ("DELETE FROM records WHERE stream = 's2' AND seq = 4", 4),
            ("DELETE FROM records WHERE stream = 's2' AND seq = 9", 9),
            ("DELETE FROM streams WHERE stream = 's1'", 1),
            ("UPDATE records SET seq = -seq WHERE seq IN (2, 3) AND stream = 's1'; UPDATE records SET seq = 5 + seq WHERE seq < 0", 6),
            ("UPDATE records SET body = NULL, body_hash = zeroblob(32) WHERE stream = 's1' AND seq = 2", 6),
            ("UPDATE streams SET gap_before = NULL, gap_hash = NULL WHERE stream = 's2'", 1),
            ("UPDATE streams SET acked_through = 4 WHERE stream = 's1'; DELETE FROM records WHERE stream = 's1' AND seq > 4", 4),
            (
                "INSERT INTO records SELECT NULL, agent_id, stream, 7, incident, kind, at, body_hash, body, 0 FROM records WHERE stream = 's1' AND seq = 6",
                7,
            ),
        ] {
            let made = made();
            made.sql(what);
            let verified = found(&made);
            let rows: Vec<u64> = verified
                .streams
                .iter()
                .filter_map(|s| if let StreamChain::Broken { row, .. } = &s.chain { Some(*row) } else { None })
                .collect();
            assert_eq!(rows, [broken], "{what}: {verified:?}");
        }
    }

    #[test]
    fn the_audit_is_found_changed_and_cut_off_where_its_head_was_noted() {
        for what in [
            "DELETE FROM audit WHERE idx = 1",
            "DELETE FROM audit WHERE idx = 3",
            "UPDATE audit SET idx = -idx WHERE idx IN (2, 3); UPDATE audit SET idx = 5 + idx WHERE idx < 0",
            "UPDATE audit SET idx = idx + 1 WHERE idx = 6",
        ] {
            let made = made();
            made.sql(what);
            assert!(matches!(found(&made).audit, AuditChain::Broken { .. }), "{what}");
        }
        let made = made();
        let AuditChain::Whole { head } = found(&made).audit else { panic!("whole") };
        made.sql("DELETE FROM audit WHERE idx > 4");
        assert!(found(&made).is_whole(), "the chain alone cannot tell");
        assert!(matches!(verify_with(&made.file(), &head).unwrap().audit, AuditChain::Broken { row: 6, .. }));
        let AuditChain::Whole { head } = found(&made).audit else { panic!("whole") };
        assert!(verify_with(&made.file(), &head).unwrap().is_whole());
    }

    #[test]
    fn a_signature_of_a_row_that_is_not_here_proves_nothing() {
        let made = made();
        made.sign_ahead(&agent("web-1"), "s1", 9);
        let verified = found(&made);
        let ahead = verified.streams.iter().find(|s| s.hostname == "web-1").unwrap();
        assert!(!verified.is_whole() && (ahead.acked_through, ahead.signed_through) == (6, 9), "{verified:?}");
    }
}
