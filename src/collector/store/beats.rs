//! Heartbeats, goodbyes and what they brought to light, written together: never one write each.

use rusqlite::{Connection, Statement, params};

use super::memory::{Beat, Pending};

/// Within a transaction. An agent that is not there any more is left out.
pub(super) fn write(conn: &Connection, pending: &Pending) -> rusqlite::Result<()> {
    let mut about = conn.prepare(ABOUT)?;
    let mut newest = conn.prepare(NEWEST)?;
    let mut stream = conn.prepare(&format!(
        "INSERT INTO streams(agent_id, stream, first_seen, last_seen, acked_through, head_hash, signed_through, signed_hash, signature)
         SELECT id, ?2, {FIRST_SEEN}, ?3, 0, zeroblob(32), ?4, coalesce(?5, zeroblob(32)), coalesce(?6, zeroblob(0)) FROM agents WHERE id = ?1
         ON CONFLICT(agent_id, stream) DO UPDATE SET last_seen = excluded.last_seen, {SIGNED}"
    ))?;
    let mut stopped = conn.prepare("UPDATE heartbeats SET stopped_at = ?2 WHERE agent_id = ?1")?;
    for (id, unwritten) in pending {
        if let Some(beat) = &unwritten.beat {
            let host = &beat.heartbeat.about;
            about.execute(params![id, host.hostname, host.version, host.boot_id])?;
            write_newest(&mut newest, id, beat, unwritten.stopped_at)?;
            if unwritten.stream {
                write_stream(&mut stream, id, beat)?;
            }
        } else if unwritten.stopped_at.is_some() {
            stopped.execute(params![id, unwritten.stopped_at])?;
        }
        if let Some((at, why)) = &unwritten.quarantine {
            write_quarantine(conn, id, *at, why)?;
        }
    }
    Ok(())
}

/// The first reason stays.
pub(super) fn write_quarantine(conn: &Connection, id: &str, at: i64, why: &str) -> rusqlite::Result<()> {
    let quarantine = "UPDATE agents SET quarantined_at = ?2, quarantined_why = ?3 WHERE id = ?1 AND quarantined_at IS NULL";
    conn.execute(quarantine, params![id, at, why]).map(|_| ())
}

/// Nothing is written where nothing has changed.
const ABOUT: &str =
    "UPDATE agents SET hostname = ?2, version = ?3, boot_id = ?4 WHERE id = ?1 AND (hostname, version, boot_id) IS NOT (?2, ?3, ?4)";

const NEWEST: &str = "
    INSERT INTO heartbeats(agent_id, stream, seen_at, sent_at, interval_s, mode, held_by, signals, open_incidents, waiting, waiting_since,
                           stopped_at)
    SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 FROM agents WHERE id = ?1
    ON CONFLICT(agent_id) DO UPDATE SET stream = excluded.stream, seen_at = excluded.seen_at, sent_at = excluded.sent_at,
        interval_s = excluded.interval_s, mode = excluded.mode, held_by = excluded.held_by, signals = excluded.signals,
        open_incidents = excluded.open_incidents, waiting = excluded.waiting, waiting_since = excluded.waiting_since,
        stopped_at = excluded.stopped_at";

/// Of a new stream, where `?1` is the agent and `?3` is now: streams of one agent follow each other also when the clock was set back.
pub(super) const FIRST_SEEN: &str = "max(?3, coalesce((SELECT max(first_seen) + 1 FROM streams WHERE agent_id = ?1), ?3))";
/// Of a stream that is there and of which no row is: the further one of both heads. Where there are rows, the signature is that of the last of
/// them: one that is further on proves nothing of what is here.
const SIGNED: &str = "
    signed_hash = iif(acked_through = 0 AND excluded.signed_through >= signed_through, excluded.signed_hash, signed_hash),
    signature = iif(acked_through = 0 AND excluded.signed_through >= signed_through, excluded.signature, signature),
    signed_through = iif(acked_through = 0, max(excluded.signed_through, signed_through), signed_through)";

fn write_newest(newest: &mut Statement<'_>, id: &str, beat: &Beat, stopped_at: Option<i64>) -> rusqlite::Result<()> {
    let heartbeat = &beat.heartbeat;
    let json = |e: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(e.into());
    newest.execute(params![
        id,
        heartbeat.stream,
        beat.seen_at,
        heartbeat.sent_at.as_millisecond(),
        beat.interval_s,
        heartbeat.mode,
        serde_json::to_string(&heartbeat.held_by).map_err(json)?,
        serde_json::to_string(&heartbeat.signals).map_err(json)?,
        count(heartbeat.open_incidents),
        count(heartbeat.waiting),
        heartbeat.waiting_since.map(jiff::Timestamp::as_millisecond),
        stopped_at,
    ])?;
    Ok(())
}

/// A signed head only ever moves on.
fn write_stream(stream: &mut Statement<'_>, id: &str, beat: &Beat) -> rusqlite::Result<()> {
    let (name, head) = (&beat.heartbeat.stream, beat.head.as_ref());
    let seq = head.map_or(0, |h| h.seq.cast_signed());
    stream.execute(params![id, name, beat.seen_at, seq, head.map(|h| h.hash), head.map(|h| h.signature)])?;
    Ok(())
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
