//! What follows from rows of the hosts' records: incidents as lists show them, and what people are told. Written with those rows.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::collector::outbox::message;
use crate::collector::proof::Proven;
use crate::model::{Body, IncidentId, IncidentSummary, Now, Outcome, RunbookId, Subject};
use crate::wire::collector::{Record, hex};

pub(super) struct Derived<'a> {
    conn: &'a Connection,
    batch: &'a Proven,
    hostname: &'a str,
    now: i64,
    destinations: &'a [String],
    /// Those that this batch touches, as they are after the rows so far; `None`: not known.
    incidents: BTreeMap<String, Option<Known>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    summary: IncidentSummary,
    escalated: bool,
}

impl<'a> Derived<'a> {
    pub(super) fn new(conn: &'a Connection, batch: &'a Proven, hostname: &'a str, now: i64, destinations: &'a [String]) -> Self {
        Self { conn, batch, hostname, now, destinations, incidents: BTreeMap::new() }
    }

    /// The next row. One that stays on its host, or that this version cannot read, changes nothing.
    pub(super) fn row(&mut self, record: &Record) -> rusqlite::Result<()> {
        let Some((at, body)) = read(record) else { return Ok(()) };
        let old = match self.incidents.remove(&record.incident) {
            Some(old) => old,
            None => self.stored(&record.incident)?,
        };
        let (new, about) = after(old, &IncidentId(record.incident.clone()), &at, &body);
        if let (Some(new), Some(about)) = (&new, about) {
            self.tell(record, about, &new.summary, &body)?;
        }
        self.incidents.insert(record.incident.clone(), new);
        Ok(())
    }

    /// The incidents as they are after the last row.
    pub(super) fn write(self) -> rusqlite::Result<()> {
        let json = |e: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(e.into());
        for (id, Known { summary, escalated }) in self.incidents.iter().filter_map(|(id, known)| Some((id, known.as_ref()?))) {
            self.conn
                .prepare(
                    "INSERT INTO incidents(agent_id, id, runbook, fingerprint, opened_at, closed_at, outcome, escalated, summary)
                     VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT(agent_id, id) DO UPDATE SET runbook = excluded.runbook, fingerprint = excluded.fingerprint,
                         opened_at = excluded.opened_at, closed_at = excluded.closed_at, outcome = excluded.outcome,
                         escalated = excluded.escalated, summary = excluded.summary",
                )?
                .execute(params![
                    self.batch.agent_id,
                    id,
                    summary.runbook.0,
                    fingerprint(&self.batch.agent_id, summary).map_err(json)?,
                    summary.opened.wall.as_millisecond(),
                    summary.closed.as_ref().map(|closed| closed.wall.as_millisecond()),
                    summary.outcome.map(Outcome::as_str),
                    escalated,
                    serde_json::to_string(summary).map_err(json)?,
                ])?;
        }
        Ok(())
    }

    fn stored(&self, incident: &str) -> rusqlite::Result<Option<Known>> {
        let found = self
            .conn
            .prepare("SELECT summary, escalated FROM incidents WHERE agent_id = ?1 AND id = ?2")?
            .query_row([self.batch.agent_id.as_str(), incident], |r| Ok((r.get::<_, String>(0)?, r.get(1)?)))
            .optional()?;
        Ok(found.and_then(|(summary, escalated)| Some(Known { summary: serde_json::from_str(&summary).ok()?, escalated })))
    }

    fn tell(&self, record: &Record, about: &str, summary: &IncidentSummary, body: &Body) -> rusqlite::Result<()> {
        let payload = message::told(about, self.hostname, &self.batch.agent_id, summary, body).to_string();
        let mut insert = self.conn.prepare(
            "INSERT INTO outbox(destination, agent_id, incident, about, stream, seq, payload, state, next_at, created_at)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending', ?8, ?8) ON CONFLICT DO NOTHING",
        )?;
        for destination in self.destinations {
            let Proven { agent_id, stream, .. } = self.batch;
            insert.execute(params![destination, agent_id, record.incident, about, stream, record.seq.cast_signed(), payload, self.now])?;
        }
        Ok(())
    }
}

fn read(record: &Record) -> Option<(Now, Body)> {
    if record.incident.is_empty() {
        return None;
    }
    let body: Body = serde_json::from_str(record.body.as_ref()?).ok()?;
    let at = serde_json::from_str::<Option<Now>>(&record.at).ok()??;
    (body.kind() == record.kind).then_some((at, body))
}

/// The incident after one more row, and what people are told of it. Pure.
fn after(old: Option<Known>, id: &IncidentId, at: &Now, body: &Body) -> (Option<Known>, Option<&'static str>) {
    let escalates = matches!(body, Body::Escalated { .. });
    // Whoever is needed is told also where nobody here knows how it began.
    let old = old.or_else(|| escalates.then(|| Known { summary: unseen(id, at), escalated: false }));
    let escalated = escalates || old.as_ref().is_some_and(|old| old.escalated);
    let about = match body {
        Body::Escalated { .. } => Some("escalated"),
        Body::Closed { .. } if escalated => Some("closed"),
        _ => None,
    };
    let summary = IncidentSummary::after(old.as_ref().map(|old| &old.summary), id, at, body);
    (summary.map(|summary| Known { summary, escalated }), about)
}

/// An incident whose first rows the host has dropped before they could be sent.
fn unseen(id: &IncidentId, at: &Now) -> IncidentSummary {
    let runbook = id.0.split_once('-').map_or(id.0.as_str(), |(runbook, _)| runbook);
    IncidentSummary {
        id: id.clone(),
        runbook: RunbookId(runbook.to_owned().into()),
        subject: Subject::Host,
        opened: at.clone(),
        closed: None,
        class: None,
        outcome: None,
        summary: "how it began is not known here: the host has dropped those rows before they could be sent".into(),
    }
}

/// Alike by host, runbook, subject and class: 16 hex digits. Another class is another fingerprint.
fn fingerprint(agent_id: &str, summary: &IncidentSummary) -> Result<String, serde_json::Error> {
    let parts = serde_json::to_vec(&(agent_id, &summary.runbook, &summary.subject, &summary.class))?;
    let mut digits = hex(&openssl::sha::sha256(&parts));
    digits.truncate(16);
    Ok(digits)
}
