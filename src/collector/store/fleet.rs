//! All hosts, and one of them.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::columns::{at, number, page, places, time, time_or_none};
use super::incidents;
use super::standing::Facts;
use crate::collector::view::{Fleet, FleetAsk, Host, HostRow, Standing, StreamRow};
use crate::model::Signal;

/// Hosts on one page.
pub(super) const PAGE: u64 = 50;

/// What a place in the list takes, of all hosts, and whether the name is the one that is looked for.
pub(super) fn facts_sql() -> String {
    format!(
        "SELECT {}, a.id, a.hostname, ?1 IS NULL OR a.hostname LIKE ?1 ESCAPE '\\'
         FROM agents a LEFT JOIN heartbeats h ON h.agent_id = a.id",
        Facts::COLUMNS
    )
}

/// Whole rows; `these` says of whom.
pub(super) fn rows_sql(these: &str) -> String {
    format!(
        "SELECT {}, a.id, a.hostname, a.version, a.quarantined_why, h.mode, h.signals, h.open_incidents, h.waiting, h.sent_at,
                a.boot_id, a.enrolled_at, h.held_by
         FROM agents a LEFT JOIN heartbeats h ON h.agent_id = a.id {these}",
        Facts::COLUMNS
    )
}

pub(super) const STREAMS: &str =
    "SELECT stream, acked_through, first_seen, gap_before, signed_through FROM streams WHERE agent_id = ?1 ORDER BY first_seen, stream";

/// A part of a name as a pattern: what would match anything else than itself is escaped.
fn containing(part: &str) -> String {
    let mut pattern = String::from("%");
    for c in part.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}

pub(super) fn fleet(conn: &Connection, now: i64, ask: &FleetAsk) -> rusqlite::Result<Fleet> {
    let mut counts = Standing::ALL.map(|standing| (standing, 0));
    let mut found: Vec<(Standing, String, String)> = Vec::new();
    let mut facts = conn.prepare(&facts_sql())?;
    let mut facts = facts.query([ask.name.as_deref().map(containing)])?;
    while let Some(row) = facts.next()? {
        let standing = Facts::of(row)?.standing(now);
        counts.iter_mut().filter(|(s, _)| *s == standing).for_each(|(_, n)| *n += 1);
        if row.get(Facts::WIDTH + 2)? && ask.standing.is_none_or(|asked| asked == standing) {
            found.push((standing, row.get(Facts::WIDTH + 1)?, row.get(Facts::WIDTH)?));
        }
    }
    // Worst first, then by name.
    found.sort_unstable();
    let count = found.len() as u64;
    let (number, pages) = page(count, ask.page, PAGE);
    let shown = found.into_iter().skip(((number - 1) * PAGE) as usize).take(PAGE as usize);
    let ids: Vec<String> = shown.map(|(_, _, id)| id).collect();
    let mut rows = of(conn, now, &ids)?;
    let hosts = ids.iter().filter_map(|id| rows.remove(id)).collect();
    Ok(Fleet { now: at(now), counts: counts.into(), hosts, found: count, page: number, pages })
}

/// These hosts' rows, in one query.
fn of(conn: &Connection, now: i64, ids: &[String]) -> rusqlite::Result<HashMap<String, HostRow>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut rows = conn.prepare(&rows_sql(&format!("WHERE a.id IN ({})", places(ids.len(), "?"))))?;
    let rows = rows.query_map(params_from_iter(ids.iter().cloned().map(Value::from)), |r| host_row(r, now))?;
    rows.map(|row| row.map(|row| (row.agent_id.clone(), row))).collect()
}

/// All hosts, worst first.
pub(super) fn all(conn: &Connection, now: i64) -> rusqlite::Result<Vec<HostRow>> {
    let mut rows = conn.prepare(&rows_sql(""))?;
    let mut rows = rows.query_map([], |r| host_row(r, now))?.collect::<rusqlite::Result<Vec<_>>>()?;
    rows.sort_unstable_by(|a, b| (a.standing, &a.hostname, &a.agent_id).cmp(&(b.standing, &b.hostname, &b.agent_id)));
    Ok(rows)
}

pub(super) fn host(conn: &Connection, now: i64, agent_id: &str) -> rusqlite::Result<Option<Host>> {
    const REST: usize = Facts::WIDTH + 9;
    let found = conn
        .prepare(&rows_sql("WHERE a.id = ?1"))?
        .query_row([agent_id], |r| {
            let held_by: Option<String> = r.get(REST + 2)?;
            Ok((host_row(r, now)?, r.get(REST)?, time(r, REST + 1)?, held_by))
        })
        .optional()?;
    let Some((row, boot_id, enrolled_at, held_by)) = found else { return Ok(None) };
    let held_by = held_by.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let streams = conn.prepare(STREAMS)?.query_map([agent_id], stream)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let incidents = incidents::newest_of(conn, agent_id)?;
    Ok(Some(Host { now: at(now), row, boot_id, enrolled_at, held_by, streams, incidents }))
}

fn stream(r: &Row<'_>) -> rusqlite::Result<StreamRow> {
    Ok(StreamRow {
        stream: r.get(0)?,
        acked_through: number(r, 1)?,
        first_seen: time(r, 2)?,
        gap_before: r.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
        signed_through: number(r, 4)?,
    })
}

/// Of a row of [`rows_sql`].
fn host_row(r: &Row<'_>, now: i64) -> rusqlite::Result<HostRow> {
    const REST: usize = Facts::WIDTH;
    let facts = Facts::of(r)?;
    let seen_at = facts.heard.map(|heard| heard.at);
    let sent_at: Option<i64> = r.get(REST + 8)?;
    // Signals of a version that speaks otherwise are still raised; what they are is with its next heartbeat.
    let signals = r.get::<_, Option<String>>(REST + 5)?.and_then(|text| serde_json::from_str::<Vec<Signal>>(&text).ok());
    Ok(HostRow {
        agent_id: r.get(REST)?,
        hostname: r.get(REST + 1)?,
        version: r.get(REST + 2)?,
        standing: facts.standing(now),
        why: r.get(REST + 3)?,
        seen_at: time_or_none(r, 2)?,
        mode: r.get::<_, Option<String>>(REST + 4)?.unwrap_or_default(),
        signals: signals.unwrap_or_default(),
        open_incidents: number(r, REST + 6)?,
        waiting: number(r, REST + 7)?,
        skew_s: sent_at.zip(seen_at).map(|(sent, seen)| sent.saturating_sub(seen) as f64 / 1000.0),
    })
}

#[cfg(test)]
mod tests {
    use super::super::test_file::{Made, NOW_MS, agent};
    use super::*;

    fn names(fleet: &Fleet) -> Vec<&str> {
        fleet.hosts.iter().map(|h| h.hostname.as_str()).collect()
    }

    #[test]
    fn hosts_are_shown_worst_first_and_counted_whatever_was_asked_for() {
        let made = Made::new();
        made.agent("web-3").heard(NOW_MS, "[]");
        made.agent("web-1").heard(NOW_MS - 200_000, "[]");
        made.agent("web-2").heard(NOW_MS, "[{}]");
        made.agent("db-1");
        made.agent("db-2").heard(NOW_MS, "[]");
        made.sql("UPDATE agents SET quarantined_at = 1, quarantined_why = 'cloned' WHERE hostname = 'db-2'");
        let conn = made.conn();
        let all = fleet(&conn, NOW_MS, &FleetAsk::default()).unwrap();
        assert_eq!(names(&all), ["db-2", "web-1", "web-2", "web-3", "db-1"]);
        assert_eq!(all.hosts[0].why.as_deref(), Some("cloned"));
        let count = |fleet: &Fleet, standing| fleet.counts.iter().find(|(s, _)| *s == standing).unwrap().1;
        let some = fleet(&conn, NOW_MS, &FleetAsk { name: Some("WEB-".into()), standing: Some(Standing::Silent), page: 9 }).unwrap();
        assert_eq!((names(&some), some.found, some.page, some.pages), (vec!["web-1"], 1, 1, 1));
        for fleet in [all, some] {
            assert_eq!(
                (count(&fleet, Standing::Quarantined), count(&fleet, Standing::Awaited), count(&fleet, Standing::Revoked)),
                (1, 1, 0)
            );
        }
    }

    #[test]
    fn a_name_is_looked_for_letter_by_letter() {
        let made = Made::new();
        for name in ["50%_off", "50 xoff", r"a\b", "a-b"] {
            made.agent(name);
        }
        let conn = made.conn();
        for (part, found) in [
            ("%", vec!["50%_off"]),
            ("_", vec!["50%_off"]),
            ("\\", vec![r"a\b"]),
            ("0%_o", vec!["50%_off"]),
            ("", vec!["50 xoff", "50%_off", "a-b", r"a\b"]),
        ] {
            let ask = FleetAsk { name: Some(part.into()), ..FleetAsk::default() };
            assert_eq!(names(&fleet(&conn, NOW_MS, &ask).unwrap()), found, "{part:?}");
        }
    }

    #[test]
    fn a_host_is_shown_with_what_it_said_last() {
        let made = Made::new();
        let id = agent("web-1");
        made.agent("web-1").heard(NOW_MS - 10_000, "[]");
        made.sql("UPDATE heartbeats SET sent_at = seen_at + 2500, held_by = '[\"paused\"]', waiting = 3, open_incidents = 2, mode = 'act'");
        made.stream(&id, "s1", 3);
        let conn = made.conn();
        let host = host(&conn, NOW_MS, &id).unwrap().expect("there");
        assert_eq!((host.row.skew_s, host.row.waiting, host.row.open_incidents, host.row.mode.as_str()), (Some(2.5), 3, 2, "act"));
        assert_eq!((host.held_by, host.streams.len(), host.streams[0].acked_through), (vec!["paused".into()], 1, 3));
        assert_eq!(super::host(&conn, NOW_MS, "nobody").unwrap(), None);
    }
}
