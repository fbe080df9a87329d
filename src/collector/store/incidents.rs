//! Incidents by fingerprint, and one with everything that is here of it.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::columns::{at, number, page, places, time, time_or_none};
use super::{entries, outbox};
use crate::collector::view::{Incident, IncidentGroup, IncidentRow, Incidents, IncidentsAsk};
use crate::model::{BootId, IncidentId, IncidentSummary, Now, RunbookId, Subject};

/// Fingerprints on one page.
pub(super) const PAGE: u64 = 50;
/// Beside one incident or one host.
pub(super) const BESIDE: usize = 20;

const COLUMNS: &str = "i.agent_id, a.hostname, i.id, i.runbook, i.opened_at, i.closed_at, i.escalated, i.summary, i.fingerprint";
const FROM: &str = "FROM incidents i JOIN agents a ON a.id = i.agent_id";

/// The conditions of a question and what they are filled with.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    conditions: Vec<&'static str>,
    values: Vec<Value>,
}

impl Filter {
    pub(super) fn of(ask: &IncidentsAsk) -> Self {
        let mut filter = Self::default();
        let mut add = |condition, value: Option<&String>| {
            filter.conditions.push(condition);
            filter.values.extend(value.cloned().map(Value::from));
        };
        if ask.open {
            add("i.closed_at IS NULL", None);
        }
        if ask.escalated {
            add("i.escalated = 1", None);
        }
        if ask.runbook.is_some() {
            add("i.runbook = ?", ask.runbook.as_ref());
        }
        if ask.agent_id.is_some() {
            add("i.agent_id = ?", ask.agent_id.as_ref());
        }
        filter
    }

    fn all(&self) -> String {
        if self.conditions.is_empty() { String::new() } else { format!("WHERE {}", self.conditions.join(" AND ")) }
    }

    fn and(&self) -> String {
        self.conditions.iter().map(|condition| format!(" AND {condition}")).collect()
    }

    /// Few rows are left by an index of their own. As an expression the fingerprint leads nobody to read all of them in its order instead.
    fn key(&self) -> &'static str {
        let narrow = ["i.closed_at IS NULL", "i.agent_id = ?"];
        if self.conditions.iter().any(|condition| narrow.contains(condition)) { "i.fingerprint || ''" } else { "i.fingerprint" }
    }

    pub(super) fn count_sql(&self) -> String {
        format!("SELECT count(DISTINCT {}) FROM incidents i {}", self.key(), self.all())
    }

    /// Fingerprints of one page, the one that came last first.
    pub(super) fn page_sql(&self) -> String {
        format!(
            "SELECT {} AS key, max(i.opened_at) AS newest FROM incidents i {} GROUP BY key ORDER BY newest DESC, key LIMIT ? OFFSET ?",
            self.key(),
            self.all()
        )
    }

    /// Whole rows of so many fingerprints and moments, one of each.
    pub(super) fn newest_sql(&self, count: usize) -> String {
        format!(
            "WITH asked(fingerprint, at) AS (VALUES {})
             SELECT {COLUMNS} FROM asked
             CROSS JOIN incidents i ON i.rowid =
                 (SELECT i.rowid FROM incidents i WHERE i.fingerprint = asked.fingerprint AND i.opened_at = asked.at{} LIMIT 1)
             JOIN agents a ON a.id = i.agent_id",
            places(count, "(?, ?)"),
            self.and()
        )
    }
}

/// How often each came, and when first: over all there are, whatever was asked for.
pub(super) fn ever_sql(count: usize) -> String {
    let these = places(count, "?");
    format!("SELECT fingerprint, count(*), min(opened_at) FROM incidents WHERE fingerprint IN ({these}) GROUP BY fingerprint")
}

pub(super) fn one_sql() -> String {
    format!("SELECT {COLUMNS} {FROM} WHERE i.agent_id = ?1 AND i.id = ?2")
}

pub(super) fn alike_sql() -> String {
    format!(
        "SELECT {COLUMNS} {FROM} WHERE i.fingerprint = ?1 AND NOT (i.agent_id = ?2 AND i.id = ?3) ORDER BY i.opened_at DESC LIMIT {BESIDE}"
    )
}

pub(super) fn newest_of_sql() -> String {
    format!("SELECT {COLUMNS} {FROM} WHERE i.agent_id = ?1 ORDER BY i.opened_at DESC LIMIT {BESIDE}")
}

pub(super) fn list(conn: &Connection, now: i64, ask: &IncidentsAsk) -> rusqlite::Result<Incidents> {
    let filter = Filter::of(ask);
    let count = conn.prepare(&filter.count_sql())?.query_row(params_from_iter(&filter.values), |r| number(r, 0))?;
    let (shown, pages) = page(count, ask.page, PAGE);
    let mut values = filter.values.clone();
    values.extend([PAGE, (shown - 1) * PAGE].map(|n| Value::from(n.cast_signed())));
    let mut found = conn.prepare(&filter.page_sql())?;
    let found = found.query_map(params_from_iter(values), |r| Ok((r.get(0)?, r.get(1)?)))?;
    let found = found.collect::<rusqlite::Result<Vec<(String, i64)>>>()?;
    let groups = if found.is_empty() { Vec::new() } else { groups(conn, &filter, &found)? };
    Ok(Incidents { now: at(now), groups, found: count, page: shown, pages })
}

fn groups(conn: &Connection, filter: &Filter, found: &[(String, i64)]) -> rusqlite::Result<Vec<IncidentGroup>> {
    let mut ever = conn.prepare(&ever_sql(found.len()))?;
    let ever = ever.query_map(params_from_iter(found.iter().map(|(f, _)| f)), |r| Ok((r.get(0)?, (number(r, 1)?, time(r, 2)?))))?;
    let mut ever = ever.collect::<rusqlite::Result<HashMap<String, _>>>()?;
    let values = found.iter().flat_map(|(f, at)| [Value::from(f.clone()), Value::from(*at)]).chain(filter.values.iter().cloned());
    let mut newest = conn.prepare(&filter.newest_sql(found.len()))?;
    // Of several at the same moment any one: a host may have made up as many as it likes.
    let newest = newest.query_map(params_from_iter(values), |r| Ok((r.get(8)?, incident_row(r)?)))?;
    let mut newest = newest.collect::<rusqlite::Result<HashMap<String, _>>>()?;
    let group = |(fingerprint, _): &(String, i64)| {
        let (count, first_opened) = ever.remove(fingerprint)?;
        Some(IncidentGroup { fingerprint: fingerprint.clone(), count, first_opened, newest: newest.remove(fingerprint)? })
    };
    Ok(found.iter().filter_map(group).collect())
}

pub(super) fn newest_of(conn: &Connection, agent_id: &str) -> rusqlite::Result<Vec<IncidentRow>> {
    conn.prepare(&newest_of_sql())?.query_map([agent_id], incident_row)?.collect()
}

pub(super) fn one(conn: &Connection, now: i64, agent_id: &str, incident: &str) -> rusqlite::Result<Option<Incident>> {
    let found = conn.prepare(&one_sql())?.query_row([agent_id, incident], |r| Ok((incident_row(r)?, r.get::<_, String>(8)?))).optional()?;
    let Some((row, fingerprint)) = found else { return Ok(None) };
    let entries::Story { entries, on_the_host } = entries::of(conn, agent_id, incident)?;
    let deliveries = outbox::of_incident(conn, agent_id, incident)?;
    let mut alike = conn.prepare(&alike_sql())?;
    let alike = alike.query_map(params![fingerprint, agent_id, incident], incident_row)?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(Incident { now: at(now), row, entries, on_the_host, deliveries, alike }))
}

fn incident_row(r: &Row<'_>) -> rusqlite::Result<IncidentRow> {
    let text: String = r.get(7)?;
    let summary = match serde_json::from_str(&text) {
        Ok(summary) => summary,
        Err(_) => unreadable(r)?,
    };
    Ok(IncidentRow { agent_id: r.get(0)?, hostname: r.get(1)?, summary, escalated: r.get(6)? })
}

/// One summary that another version wrote must not hide all others: what the columns say, and that it is not all.
fn unreadable(r: &Row<'_>) -> rusqlite::Result<IncidentSummary> {
    let moment = |wall| Now { wall, boot: BootId(String::new()), uptime_s: 0.0 };
    Ok(IncidentSummary {
        id: IncidentId(r.get(2)?),
        runbook: RunbookId(r.get::<_, String>(3)?.into()),
        subject: Subject::Host,
        opened: moment(time(r, 4)?),
        closed: time_or_none(r, 5)?.map(moment),
        class: None,
        outcome: None,
        summary: "its summary cannot be read by this version of the collector".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::test_file::{Made, NOW_MS, agent};
    use super::*;

    /// Five of one fingerprint on web-1, one of another on web-2.
    fn made() -> (Made, String, String) {
        let made = Made::new();
        let (web_1, web_2) = (agent("web-1"), agent("web-2"));
        made.agent("web-1");
        made.agent("web-2");
        for n in 1..=5 {
            made.incident(&web_1, &format!("disk-{n}"), "f1", 1000 * n, (n != 5).then_some(1000 * n + 1));
        }
        made.incident(&web_2, "memory-1", "f2", 2500, Some(2600));
        made.sql("UPDATE incidents SET escalated = 1 WHERE id IN ('disk-2', 'memory-1'); UPDATE incidents SET runbook = 'memory' WHERE fingerprint = 'f2'");
        (made, web_1, web_2)
    }

    fn ids(list: &Incidents) -> Vec<(&str, u64)> {
        list.groups.iter().map(|g| (g.newest.summary.id.0.as_str(), g.count)).collect()
    }

    #[test]
    fn one_row_a_fingerprint_the_newest_of_those_that_were_asked_for() {
        let (made, web_1, web_2) = made();
        let conn = made.conn();
        let asked = |ask: IncidentsAsk| list(&conn, NOW_MS, &ask).unwrap();
        let all = asked(IncidentsAsk::default());
        assert_eq!((ids(&all), all.found, all.pages), (vec![("disk-5", 5), ("memory-1", 1)], 2, 1));
        assert_eq!(all.groups[0].first_opened.as_millisecond(), 1000);
        assert_eq!((all.groups[1].newest.hostname.as_str(), all.groups[1].newest.escalated), ("web-2", true));
        let none = IncidentsAsk::default;
        for (ask, expected) in [
            (IncidentsAsk { open: true, ..none() }, vec![("disk-5", 5)]),
            (IncidentsAsk { escalated: true, ..none() }, vec![("memory-1", 1), ("disk-2", 5)]),
            (IncidentsAsk { open: true, escalated: true, ..none() }, vec![]),
            (IncidentsAsk { runbook: Some("memory".into()), ..none() }, vec![("memory-1", 1)]),
            (IncidentsAsk { runbook: Some("disk' OR 1".into()), ..none() }, vec![]),
            (IncidentsAsk { agent_id: Some(web_1.clone()), escalated: true, ..none() }, vec![("disk-2", 5)]),
            (IncidentsAsk { agent_id: Some(web_2.clone()), runbook: Some("memory".into()), page: 7, ..none() }, vec![("memory-1", 1)]),
        ] {
            let found = asked(ask.clone());
            assert_eq!((ids(&found), found.found), (expected.clone(), expected.len() as u64), "{ask:?}");
        }
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let made = Made::new();
        made.agent("web-1");
        // Many at the same moment: the order is the same on every page all the same.
        (0..120).for_each(|n| made.incident(&agent("web-1"), &format!("disk-{n}"), &format!("f{n}"), 1000 + n / 40, None));
        let conn = made.conn();
        let mut seen = Vec::new();
        for page in 1..=3 {
            let list = list(&conn, NOW_MS, &IncidentsAsk { page, ..IncidentsAsk::default() }).unwrap();
            assert_eq!((list.found, list.page, list.pages), (120, page, 3));
            seen.extend(list.groups.into_iter().map(|g| (g.newest.summary.opened.wall, g.fingerprint)));
        }
        assert!(seen.is_sorted_by(|a, b| a.0 >= b.0), "newest first");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 120);
    }

    #[test]
    fn an_incident_is_shown_with_its_like_and_a_broken_summary_hides_nothing() {
        let (made, web_1, web_2) = made();
        made.sql("UPDATE incidents SET summary = '{}' WHERE id = 'disk-4'");
        let conn = made.conn();
        let shown = one(&conn, NOW_MS, &web_1, "disk-5").unwrap().expect("there");
        let alike: Vec<&str> = shown.alike.iter().map(|i| i.summary.id.0.as_str()).collect();
        assert_eq!(alike, ["disk-4", "disk-3", "disk-2", "disk-1"]);
        assert!(shown.alike[0].summary.summary.contains("cannot be read") && shown.alike[0].summary.closed.is_some());
        assert_eq!(one(&conn, NOW_MS, &web_2, "disk-5").unwrap(), None);
        let of_host: Vec<String> = newest_of(&conn, &web_1).unwrap().into_iter().map(|i| i.summary.id.0).collect();
        assert_eq!(of_host, ["disk-5", "disk-4", "disk-3", "disk-2", "disk-1"]);
    }
}
