//! Rows are taken: at most once each, in order, and with everything that follows from them, or not at all.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::beats::{FIRST_SEEN, write_quarantine};
use super::derive::Derived;
use super::memory::AgentState;
use super::{Refusal, StoreError};
use crate::collector::proof::{Proven, Row};
use crate::wire::chain::Hash;
use crate::wire::collector::{Code, Taken, hex};

/// How far a stream is here, and the hash of its last row.
#[derive(Debug, Clone, Copy)]
struct Here {
    acked: u64,
    head: Hash,
}

/// What is compared of a row that comes once more: all that is hashed.
#[derive(Debug, PartialEq, Eq)]
struct Stored {
    incident: String,
    kind: String,
    at: String,
    body_hash: Hash,
}

/// How a batch fits behind what is here.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    /// The rows from this index on are new.
    New { from: usize },
    /// All are new, and the host has dropped those between.
    AfterGap,
    /// The host has rows between that were not sent.
    Gap,
    /// What is here is not what the host says it was.
    Conflict(String),
}

#[derive(Debug)]
pub(super) enum Answer {
    Taken(Taken),
    Refused(Refusal),
    /// Refused, and nothing more is taken of this agent.
    Quarantined(Refusal),
}

/// Within a transaction.
pub(super) fn ingest(conn: &Connection, batch: &Proven, now: i64, destinations: &[String]) -> Result<Answer, StoreError> {
    let id = batch.agent_id.as_str();
    let agent = conn
        .prepare("SELECT hostname, revoked_at IS NOT NULL, quarantined_at IS NOT NULL, public_key FROM agents WHERE id = ?1")?
        .query_row([id], |r| Ok((r.get::<_, String>(0)?, r.get(1)?, r.get(2)?, r.get::<_, Hash>(3)?)))
        .optional()?;
    let (hostname, state) = match agent {
        Some((hostname, revoked, quarantined, key)) if key == batch.public_key => match (revoked, quarantined) {
            (true, _) => (hostname, AgentState::Revoked),
            (false, true) => (hostname, AgentState::Quarantined),
            (false, false) => (hostname, AgentState::Active),
        },
        _ => return Ok(Answer::Refused(Refusal { code: Code::CredentialRefused, why: "this agent is gone; enrol it again".into() })),
    };
    if let Err(refusal) = state.may_speak() {
        return Ok(Answer::Refused(refusal));
    }
    let quarantined = |code, why: String| -> Result<Answer, StoreError> {
        tracing::error!("agent {id} is quarantined: {why}");
        write_quarantine(conn, id, now, &why)?;
        Ok(Answer::Quarantined(Refusal { code, why }))
    };
    if let Some(newer) = followed_by(conn, batch)? {
        let why = format!("record {} came back after {newer} had followed it: two hosts speak with one credential", batch.stream);
        return quarantined(Code::IdentityClone, why);
    }
    let here = here(conn, batch)?;
    let fit = fit(&here, batch, &stored(conn, batch, here.acked)?);
    let (from, gap) = match fit {
        Fit::New { from } => (from, false),
        Fit::AfterGap => (0, true),
        Fit::Gap => {
            let why = format!("rows {} to {} are missing: send them first", here.acked + 1, batch.first().saturating_sub(1));
            return Ok(Answer::Refused(Refusal { code: Code::Gap, why: format!("{why} (acked_through is {})", here.acked) }));
        }
        Fit::Conflict(why) => return quarantined(Code::SeqConflict, why),
    };
    let new = batch.rows.get(from..).unwrap_or_default();
    insert(conn, batch, new, now)?;
    let mut derived = Derived::new(conn, batch, &hostname, now, destinations);
    new.iter().try_for_each(|row| derived.row(&row.record))?;
    derived.write()?;
    let end = match new.last() {
        Some(last) => Here { acked: last.record.seq, head: last.hash },
        None => here,
    };
    write_stream(conn, batch, &end, gap, now)?;
    Ok(Answer::Taken(Taken { acked_through: end.acked, accepted: new.len() as u64, duplicates: from as u64 }))
}

impl Proven {
    fn first(&self) -> u64 {
        self.rows.first().map_or(0, |row| row.record.seq)
    }

    fn last(&self) -> Option<&Row> {
        self.rows.last()
    }
}

/// The rows that were taken are counted as duplicates only where they are the same. Pure.
fn fit(here: &Here, batch: &Proven, stored: &HashMap<u64, Stored>) -> Fit {
    let conflict = |seq: u64, why: &str| Fit::Conflict(format!("record {}, row {seq}: {why}", batch.stream));
    let first = batch.first();
    if first > here.acked + 1 {
        return if first == batch.first_kept { Fit::AfterGap } else { Fit::Gap };
    }
    if first == here.acked + 1 && batch.before != here.head {
        let said = hex(&batch.before);
        return conflict(here.acked, &format!("its hash is {} here, and the host says now that it was {said}", hex(&here.head)));
    }
    let mut from = 0;
    for Row { record, body_hash, hash } in batch.rows.iter().take_while(|row| row.record.seq <= here.acked) {
        // Not there: dropped here because it was old, or never here.
        let same = stored
            .get(&record.seq)
            .is_none_or(|s| (&s.incident, &s.kind, &s.at, &s.body_hash) == (&record.incident, &record.kind, &record.at, body_hash));
        if !same {
            return conflict(record.seq, "it is here already, and is another one");
        }
        if record.seq == here.acked && *hash != here.head {
            return conflict(record.seq, "it follows from other rows than those that are here");
        }
        from += 1;
    }
    Fit::New { from }
}

/// The stream that came after this one, if any did.
fn followed_by(conn: &Connection, batch: &Proven) -> rusqlite::Result<Option<String>> {
    conn.prepare(
        "SELECT newer.stream FROM streams this JOIN streams newer ON newer.agent_id = this.agent_id AND newer.first_seen > this.first_seen
         WHERE this.agent_id = ?1 AND this.stream = ?2 ORDER BY newer.first_seen DESC LIMIT 1",
    )?
    .query_row([&batch.agent_id, &batch.stream], |r| r.get(0))
    .optional()
}

fn here(conn: &Connection, batch: &Proven) -> rusqlite::Result<Here> {
    let found = conn
        .prepare("SELECT acked_through, head_hash FROM streams WHERE agent_id = ?1 AND stream = ?2")?
        .query_row([&batch.agent_id, &batch.stream], |r| Ok(Here { acked: r.get::<_, i64>(0)?.cast_unsigned(), head: r.get(1)? }))
        .optional()?;
    Ok(found.unwrap_or(Here { acked: 0, head: [0; 32] }))
}

/// Of the rows of this batch those that are here.
fn stored(conn: &Connection, batch: &Proven, acked: u64) -> rusqlite::Result<HashMap<u64, Stored>> {
    let (first, last) = (batch.first(), batch.last().map_or(0, |row| row.record.seq).min(acked));
    if first > last {
        return Ok(HashMap::new());
    }
    let mut rows = conn
        .prepare("SELECT seq, incident, kind, at, body_hash FROM records WHERE agent_id = ?1 AND stream = ?2 AND seq BETWEEN ?3 AND ?4")?;
    let rows = rows.query_map(params![batch.agent_id, batch.stream, first.cast_signed(), last.cast_signed()], |r| {
        let stored = Stored { incident: r.get(1)?, kind: r.get(2)?, at: r.get(3)?, body_hash: r.get(4)? };
        Ok((r.get::<_, i64>(0)?.cast_unsigned(), stored))
    })?;
    rows.collect()
}

fn insert(conn: &Connection, batch: &Proven, new: &[Row], now: i64) -> rusqlite::Result<()> {
    let mut insert = conn.prepare(
        "INSERT INTO records(agent_id, stream, seq, incident, kind, at, body_hash, body, received_at)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for Row { record, body_hash, .. } in new {
        insert.execute(params![
            batch.agent_id,
            batch.stream,
            record.seq.cast_signed(),
            record.incident,
            record.kind,
            record.at,
            body_hash,
            record.body,
            now
        ])?;
    }
    Ok(())
}

/// Its signature is that of the last row that is here: an older batch that came once more brings no newer one.
fn write_stream(conn: &Connection, batch: &Proven, end: &Here, gap: bool, now: i64) -> rusqlite::Result<()> {
    let Some(last) = batch.last() else { return Ok(()) };
    conn.prepare(&format!(
        "INSERT INTO streams(agent_id, stream, first_seen, last_seen, acked_through, head_hash, gap_before, gap_hash, signed_through,
                             signed_hash, signature)
         VALUES(?1, ?2, {FIRST_SEEN}, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT(agent_id, stream) DO UPDATE SET last_seen = excluded.last_seen, acked_through = excluded.acked_through,
             head_hash = excluded.head_hash, gap_before = coalesce(excluded.gap_before, gap_before),
             gap_hash = coalesce(excluded.gap_hash, gap_hash),
             signed_hash = iif(excluded.signed_through = excluded.acked_through, excluded.signed_hash, signed_hash),
             signature = iif(excluded.signed_through = excluded.acked_through, excluded.signature, signature),
             signed_through = iif(excluded.signed_through = excluded.acked_through, excluded.signed_through, signed_through)"
    ))?
    .execute(params![
        batch.agent_id,
        batch.stream,
        now,
        end.acked.cast_signed(),
        end.head,
        gap.then(|| batch.first().cast_signed()),
        gap.then_some(batch.before),
        last.record.seq.cast_signed(),
        last.hash,
        batch.signature
    ])?;
    Ok(())
}
