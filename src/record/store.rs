//! The agent's book: incidents, entry by entry.
//!
//! The chain is the record; the table of incidents and what this holds in memory are derived from it, and compared with it
//! or made from it at every opening.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::RecordError;
use super::book::{Fold, Row};
use super::chain::{Chain, Line, OpenReport};
use crate::guard::PastAct;
use crate::model::{Body, Bytes, Entry, IncidentId, IncidentSummary, IntentId, Now, Observed, RunbookId};
use crate::wire::local::{Pause, Resume};

/// Incidents among which a runbook's last one is looked for.
const LOOKED_THROUGH: usize = 1000;

#[derive(Debug)]
pub struct Store {
    pub(super) chain: Chain,
    pub(super) index: Index,
    pub(super) limits: Limits,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The newest incidents, whose evidence is the last to go.
    pub(super) incidents: u64,
    pub(super) bytes: u64,
}

/// An act whose effect is not known.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenIntent {
    pub act: PastAct,
    /// Why the effect is not known, if that much is.
    pub why: Option<String>,
}

/// What is asked often enough to be held in memory.
#[derive(Debug, Default)]
pub(super) struct Index {
    acts: BTreeMap<IntentId, Act>,
    pub(super) pauses: Vec<Pause>,
    /// Only while opening: for the comparison with the table.
    summaries: BTreeMap<IncidentId, IncidentSummary>,
}

#[derive(Debug)]
struct Act {
    past: PastAct,
    ended: bool,
    incident_closed: bool,
    why: Option<String>,
}

/// Rows that belong to no incident.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Host {
    Paused(Pause),
    Resumed(Resume),
}

impl Fold for Index {
    const TABLES: &'static str = "
        CREATE TABLE incidents(id TEXT PRIMARY KEY, first_seq INTEGER NOT NULL, closed INTEGER NOT NULL, summary TEXT NOT NULL) STRICT;
        CREATE INDEX incidents_first ON incidents(first_seq);";

    fn take(&mut self, row: &Row) -> Result<(), String> {
        // Only evidence is ever dropped, and nothing is derived from it.
        let Some(body) = row.body.as_deref().filter(|_| row.kind != Body::EVIDENCE) else { return Ok(()) };
        let broken = |e: serde_json::Error| e.to_string();
        if row.incident.is_empty() {
            self.host(serde_json::from_str(body).map_err(broken)?);
            return Ok(());
        }
        let (id, at) = (IncidentId(row.incident.clone()), row.at.as_ref().ok_or("it has no time")?);
        let body: Body = serde_json::from_str(body).map_err(broken)?;
        let old = self.summaries.remove(&id);
        // Without one: the beginning was cut off.
        if let Some(new) = IncidentSummary::after(old.as_ref(), &id, at, &body) {
            self.entry(&new, at, &body);
            self.summaries.insert(id, new);
        }
        Ok(())
    }

    fn check(&self, conn: &Connection) -> rusqlite::Result<Result<(), String>> {
        let mut rows = conn.prepare("SELECT id, summary, closed FROM incidents")?;
        let mut rows = rows.query([])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            let (id, text, closed): (String, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let told: Option<IncidentSummary> = serde_json::from_str(&text).ok();
            seen += 1;
            if told.is_none()
                || told.as_ref() != self.summaries.get(&IncidentId(id.clone()))
                || told.is_some_and(|s| s.closed.is_some() != closed)
            {
                return Ok(Err(format!("the list of incidents does not say of {id} what its entries say")));
            }
        }
        Ok(if seen == self.summaries.len() { Ok(()) } else { Err("the list of incidents is not complete".into()) })
    }
}

impl Index {
    fn host(&mut self, line: Host) {
        match line {
            Host::Paused(pause) => {
                self.pauses.retain(|p| p.runbook != pause.runbook);
                self.pauses.push(pause);
            }
            Host::Resumed(Resume { runbook: None }) => self.pauses.clear(),
            Host::Resumed(Resume { runbook }) => self.pauses.retain(|p| p.runbook != runbook),
        }
    }

    fn entry(&mut self, summary: &IncidentSummary, at: &Now, body: &Body) {
        match body {
            Body::Intent { intent, kind, subject, files, bytes, on, .. } => {
                let past = PastAct {
                    intent: intent.clone(),
                    incident: summary.id.clone(),
                    runbook: summary.runbook.clone(),
                    subject: subject.clone(),
                    kind: *kind,
                    at: at.clone(),
                    files: *files,
                    bytes: Bytes(*bytes),
                    on: on.clone(),
                };
                self.acts.insert(intent.clone(), Act { past, ended: false, incident_closed: false, why: None });
            }
            Body::Effect { intent, effect } => {
                if let Some(act) = self.acts.get_mut(intent) {
                    (act.ended, act.past.files, act.past.bytes) = (true, effect.done, effect.freed);
                }
            }
            Body::EffectUnknown { intent, why } => {
                if let Some(act) = self.acts.get_mut(intent) {
                    act.why = Some(why.clone());
                }
            }
            Body::Closed { .. } => self.acts.values_mut().filter(|a| a.past.incident == summary.id).for_each(|a| a.incident_closed = true),
            _ => {}
        }
    }

    fn admit(&self, body: &Body) -> Result<(), RecordError> {
        match body {
            Body::Intent { intent, .. } if self.acts.contains_key(intent) => Err(RecordError::AlreadyBegun(intent.clone())),
            Body::Effect { intent, .. } => match self.acts.get(intent) {
                None => Err(RecordError::NotBegun(intent.clone())),
                Some(act) if act.ended => Err(RecordError::AlreadyEnded(intent.clone())),
                Some(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Forgets acts; `keep` gets each with whether it is settled.
    pub(super) fn forget(&mut self, keep: impl Fn(&PastAct, bool) -> bool) {
        self.acts.retain(|_, act| keep(&act.past, act.ended || act.incident_closed));
    }

    pub(super) fn acts(&self) -> impl Iterator<Item = (&PastAct, bool)> {
        self.acts.values().map(|a| (&a.past, a.ended || a.incident_closed))
    }
}

/// A row as the entry that it was written from.
pub(super) fn entry(row: Row, incident: &IncidentId) -> Result<Entry, String> {
    let body = match row.body {
        Some(body) => serde_json::from_str(&body).map_err(|e| format!("row {}: {e}", row.seq))?,
        None => Body::Note { text: format!("the {} of this moment was dropped to keep the record small", row.kind) },
    };
    let at = row.at.ok_or_else(|| format!("row {} has no time", row.seq))?;
    Ok(Entry { seq: row.seq, incident: incident.clone(), at, body })
}

impl Store {
    /// Opens `dir/record.db`, or begins one. 256 MiB are kept, and 100 incidents whatever they take.
    ///
    /// # Errors
    /// When the folder is not ours alone, another process has the record, or there is no room. A damaged record is set
    /// aside and a new one begun; the report says so, and [`Self::health`] stays `Unavailable` until [`Self::trust`].
    pub fn open(dir: &Path, now: &Now) -> Result<(Self, OpenReport), RecordError> {
        Self::open_with(dir, now, 100, 256 << 20)
    }

    /// [`Self::open`] with other bounds.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(dir: &Path, now: &Now, incidents: u64, bytes: u64) -> Result<(Self, OpenReport), RecordError> {
        let (chain, mut index, report) = Chain::open::<Index>(dir, "record")?;
        index.summaries.clear();
        let mut store = Self { chain, index, limits: Limits { incidents, bytes } };
        store.retain(now)?;
        Ok((store, report))
    }

    /// Rows in the record; `Unavailable` says why nothing may be done on the strength of it, and what to do about that.
    pub fn health(&self) -> Observed<u64> {
        self.chain.health()
    }

    /// A person says that acting may go on although the record before this one is lost.
    ///
    /// # Errors
    /// When there is no room to write that down.
    pub fn trust(&mut self, by: &str, at: &Now) -> Result<(), RecordError> {
        self.chain.trust(by, Some(at))
    }

    /// Bytes on disk of everything in the state folder.
    pub fn state_bytes(&self) -> u64 {
        self.chain.folder_bytes()
    }

    /// Adds one entry and gives its number. Durable when it returns.
    ///
    /// # Errors
    /// `NoRoom`; an incident that was not opened, or was before; an intent that was there before, or an effect of none.
    /// Nothing is written then.
    pub fn append(&mut self, incident: &IncidentId, at: &Now, body: &Body) -> Result<u64, RecordError> {
        self.append_all(incident, &[(at, body)])
    }

    /// Adds them in order, all or none, at the cost of one, and gives the number of the first. Durable when it returns.
    ///
    /// # Errors
    /// Those of [`Self::append`], for any of them.
    pub fn append_all(&mut self, incident: &IncidentId, entries: &[(&Now, &Body)]) -> Result<u64, RecordError> {
        let mut summary = self.find_summary(incident)?;
        let mut lines = Vec::with_capacity(entries.len());
        for (at, body) in entries {
            self.index.admit(body)?;
            if summary.is_some() && matches!(body, Body::Opened { .. }) {
                return Err(RecordError::AlreadyOpened(incident.clone()));
            }
            summary = IncidentSummary::after(summary.as_ref(), incident, at, body);
            if summary.is_none() {
                return Err(RecordError::NoIncident(incident.0.clone()));
            }
            lines.push(Line { kind: body.kind(), at: Some(at), body: serde_json::to_string(body)? });
        }
        let Some(summary) = summary else { return Err(RecordError::NoIncident(incident.0.clone())) };
        let (text, closed) = (serde_json::to_string(&summary)?, summary.closed.is_some());
        let first = self.chain.append_all(&incident.0, &lines, |tx, first| {
            tx.execute(
                "INSERT INTO incidents VALUES(?1, ?2, ?3, ?4) ON CONFLICT(id) DO UPDATE SET closed = ?3, summary = ?4",
                params![incident.0, first.cast_signed(), closed, text],
            )
            .map(drop)
        })?;
        for (at, body) in entries {
            self.index.entry(&summary, at, body);
        }
        if let Some((at, _)) = entries.iter().find(|(_, body)| matches!(body, Body::Closed { .. })) {
            // They are written: whoever was told otherwise would write them again.
            self.retain(at).unwrap_or_else(|e| tracing::warn!("the record is larger than it is to be: {e}"));
        }
        Ok(first)
    }

    /// Everything that is recorded of an incident, in order. A body that retention has dropped shows as a note.
    ///
    /// # Errors
    /// When there is no such incident, or the record is damaged.
    pub fn entries(&self, incident: &IncidentId) -> Result<Vec<Entry>, RecordError> {
        let rows = self.chain.rows_of(&incident.0)?;
        if rows.is_empty() {
            return Err(RecordError::NoIncident(incident.0.clone()));
        }
        rows.into_iter().map(|row| entry(row, incident).map_err(|why| self.chain.damaged(why))).collect()
    }

    /// The newest incidents first.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn summaries(&self, limit: usize) -> Result<Vec<IncidentSummary>, RecordError> {
        self.list("SELECT summary FROM incidents ORDER BY first_seq DESC LIMIT ?1", i64::try_from(limit).unwrap_or(i64::MAX))
    }

    /// Incidents that are not closed, oldest first.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn open_incidents(&self) -> Result<Vec<IncidentSummary>, RecordError> {
        self.list("SELECT summary FROM incidents WHERE closed = ?1 ORDER BY first_seq", 0)
    }

    /// # Errors
    /// When there is no such incident.
    pub fn summary(&self, incident: &IncidentId) -> Result<IncidentSummary, RecordError> {
        self.find_summary(incident)?.ok_or_else(|| RecordError::NoIncident(incident.0.clone()))
    }

    /// What a person typed: a whole name, the beginning of exactly one, `last`, or a runbook's name for its last one.
    ///
    /// # Errors
    /// When it is no incident's, or several incidents'.
    pub fn resolve(&self, name: &str) -> Result<IncidentId, RecordError> {
        if name == "last" {
            let newest = self.summaries(1)?.pop();
            return newest.map(|s| s.id).ok_or_else(|| RecordError::NoIncident("yet".into()));
        }
        // Newest first: a runbook's name is its last incident.
        if let Some(newest) = self.summaries(LOOKED_THROUGH)?.into_iter().find(|s| s.runbook.0 == name) {
            return Ok(newest.id);
        }
        let like = || -> rusqlite::Result<Vec<String>> {
            let mut ids = self.chain.conn.prepare("SELECT id FROM incidents WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 2")?;
            let ids = ids.query_map([name], |r| r.get(0))?;
            ids.collect()
        };
        let mut found = like().map_err(self.chain.sqlite())?.into_iter();
        match (found.next(), found.next()) {
            (Some(id), _) if id == name => Ok(IncidentId(id)),
            (Some(first), Some(second)) => Err(RecordError::Ambiguous { name: name.into(), first, second }),
            (Some(id), None) if !name.is_empty() => Ok(IncidentId(id)),
            _ => Err(RecordError::NoIncident(name.into())),
        }
    }

    /// Intents of incidents that are not closed, without a known effect: to be looked at, never repeated.
    pub fn open_intents(&self) -> Vec<OpenIntent> {
        let open = self.index.acts.values().filter(|a| !a.ended && !a.incident_closed);
        open.map(|a| OpenIntent { act: a.past.clone(), why: a.why.clone() }).collect()
    }

    /// Every act that was begun, with the effect's figures where it is known and the planned ones else.
    pub fn past_acts(&self) -> Vec<PastAct> {
        self.index.acts.values().map(|a| a.past.clone()).collect()
    }

    /// Begins a pause now; it replaces one of the same scope.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn set_pause(&mut self, pause: &Pause, now: &Now) -> Result<(), RecordError> {
        self.host(Host::Paused(Pause { since: Some(now.clone()), ..pause.clone() }), "paused", now)
    }

    /// Ends one runbook's pause, or every pause.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn clear_pause(&mut self, runbook: Option<&RunbookId>, now: &Now) -> Result<(), RecordError> {
        self.host(Host::Resumed(Resume { runbook: runbook.cloned() }), "resumed", now)
    }

    /// Pauses that hold. One ends only when both clocks say so.
    pub fn pauses(&self, now: &Now) -> Vec<Pause> {
        let holds = |p: &&Pause| match (&p.since, p.for_s) {
            (Some(since), Some(for_s)) => now.proven_since(since).0 < for_s as f64,
            _ => true,
        };
        self.index.pauses.iter().filter(holds).cloned().collect()
    }

    pub(super) fn pause_again(&mut self, pause: Pause, now: &Now) -> Result<(), RecordError> {
        self.host(Host::Paused(pause), "paused", now)
    }

    fn host(&mut self, line: Host, kind: &str, now: &Now) -> Result<(), RecordError> {
        self.chain.append("", kind, Some(now), &serde_json::to_string(&line)?, |_, _| Ok(()))?;
        self.index.host(line);
        Ok(())
    }

    fn find_summary(&self, incident: &IncidentId) -> Result<Option<IncidentSummary>, RecordError> {
        let text = self.chain.conn.query_row("SELECT summary FROM incidents WHERE id = ?1", [&incident.0], |r| r.get::<_, String>(0));
        match text.optional().map_err(self.chain.sqlite())? {
            Some(text) => Ok(Some(serde_json::from_str(&text)?)),
            None => Ok(None),
        }
    }

    fn list(&self, sql: &str, param: i64) -> Result<Vec<IncidentSummary>, RecordError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut rows = self.chain.conn.prepare(sql)?;
            let rows = rows.query_map([param], |r| r.get(0))?;
            rows.collect()
        };
        read().map_err(self.chain.sqlite())?.iter().map(|text| Ok(serde_json::from_str(text)?)).collect()
    }
}
