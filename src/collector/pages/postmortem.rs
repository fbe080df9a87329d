//! `/incidents/{agent_id}/{incident}/postmortem`: one incident told to its end, as a page to print and as Markdown for a ticket.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::super::view::{Incident, Views};
use super::badge::{self, Badge};
use super::entry_parts::{self, Part, Table};
use super::layout::{Frame, Here, page};
use super::moments::{self, Stamp};
use super::safe_text::{Shown, first};
use super::trouble::{AsPage, Trouble};
use super::url::{self, Href};
use super::{found, mentions, next_steps, read, some};
use crate::model::{Confidence, Seconds};
use crate::report::{Postmortem, Source, Story, words};

type Asked = Result<Path<(String, String)>, PathRejection>;

/// Of a timeline.
const MOST: usize = 300;

pub(super) async fn show(State(views): State<Arc<dyn Views>>, path: Asked) -> Result<Response, AsPage> {
    told(views, path, |incident, postmortem| page(&PostmortemPage::of(incident, postmortem))).await
}

pub(super) async fn markdown(State(views): State<Arc<dyn Views>>, path: Asked) -> Result<Response, AsPage> {
    told(views, path, |_, postmortem| {
        let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
        ([(header::CONTENT_TYPE, kind)], postmortem.markdown()).into_response()
    })
    .await
}

async fn told(views: Arc<dyn Views>, path: Asked, tell: fn(&Incident, &Postmortem) -> Response) -> Result<Response, AsPage> {
    let Path((agent_id, incident)) = path.map_err(|_| Trouble::not_found("incident"))?;
    let make = move |views: &dyn Views| {
        let incident = found("incident", views.incident(&agent_id, &incident))?;
        let host = some(views.host(&agent_id))?;
        let story = Story::of(&incident.row.summary, &incident.entries);
        let doubt = next_steps::doubt(&incident, &story, host.as_ref());
        // Which agent kept the record is not part of it.
        let version = host.map_or_else(|| "not known".to_owned(), |h| format!("{}, as last heard", h.row.version));
        let from = Source { host: Some(&incident.row.hostname), agent_version: &version, record_doubt: doubt.as_deref() };
        Ok(tell(&incident, &Postmortem::of(&story, from)))
    };
    Ok(read(views, make).await?)
}

#[derive(Debug, Template)]
#[template(path = "postmortem.html")]
struct PostmortemPage {
    frame: Frame,
    title: Shown,
    outcome: Badge,
    summary: Shown,
    doubt: Option<Shown>,
    facts: Vec<(&'static str, Shown)>,
    chapters: Vec<(&'static str, Vec<Part>)>,
    incident: Option<Href>,
    markdown: Option<Href>,
}

impl PostmortemPage {
    fn of(incident: &Incident, p: &Postmortem) -> Self {
        let here = url::incident(&incident.row.agent_id, &p.id);
        let title = format!("Postmortem: {}", mentions::title(&incident.row));
        let frame = Frame::new(&title, Here::Incidents);
        Self {
            // The figures as JSON are the incident's own.
            frame: match &here {
                Some(here) => Frame { json: Some(here.json()), ..frame.at(here.below("/postmortem"), Some(incident.now)) },
                None => frame,
            },
            title: Shown::name(title),
            outcome: badge::outcome(p.outcome),
            summary: Shown::prose(words::sentence(&p.summary)),
            doubt: p.record_doubt.as_deref().map(|doubt| Shown::prose(words::sentence(doubt))),
            facts: facts(p),
            chapters: chapters(p),
            markdown: here.as_ref().map(|here| here.below("/postmortem.md")),
            incident: here,
        }
    }
}

fn facts(p: &Postmortem) -> Vec<(&'static str, Shown)> {
    let mut facts = vec![
        ("Host", Shown::name(p.host.as_deref().unwrap_or_default())),
        ("Subject", Shown::name(&p.subject)),
        ("Runbook", Shown::name(&p.runbook)),
        ("Opened", Shown::name(words::utc(p.opened.wall))),
    ];
    if let (Some(closed), Some(lasted)) = (&p.closed, p.lasted_s) {
        facts.push(("Closed", Shown::name(format!("{}, after {}", words::utc(closed.wall), Seconds(lasted.max(0.0))))));
    }
    for signal in p.signals.iter().take(entry_parts::MOST) {
        let told = format!("{} ({}): {}", Shown::name(&signal.kind), signal.severity.as_str(), Shown::prose(&signal.detail));
        facts.push(("Signal", Shown::prose(told)));
    }
    facts.push(("Freed", Shown::name(p.freed.to_string())));
    facts.push(("Agent", Shown::name(&p.agent_version)));
    facts.push(("Id", Shown::name(&p.id)));
    facts
}

fn chapters(p: &Postmortem) -> Vec<(&'static str, Vec<Part>)> {
    let mut chapters = vec![("Timeline", vec![timeline(p)])];
    let mut diagnosis = Vec::new();
    if let Some(d) = &p.diagnosis {
        let enough = if d.confidence >= Confidence::TO_ACT { "enough to act" } else { "too little to act" };
        let told = format!("{}, confidence {} ({enough}): {}", Shown::name(&d.class), d.confidence, Shown::prose(&d.summary));
        diagnosis.push(Part::Text(Shown::prose(told)));
        diagnosis.extend(entry_parts::shares(&d.explained));
        diagnosis.extend(entry_parts::findings("Found", &d.findings));
        diagnosis.extend(entry_parts::list("Not seen, which lowered the confidence", &d.missing));
    } else {
        diagnosis.push(Part::Text("None is here.".into()));
    }
    chapters.push(("Diagnosis", diagnosis));
    chapters.push(("Steps", if p.steps.is_empty() { vec![Part::Text("None was planned.".into())] } else { steps(p) }));
    let verdict = p.verdict.as_ref().map(|v| words::sentence(&words::verdict(v)));
    chapters.push(("Verdict", vec![Part::Text(verdict.map_or("None: it was not come to.".into(), Shown::prose))]));
    chapters.push(("Root cause", vec![Part::Text(Shown::prose(&p.root_cause))]));
    let asked = p.escalation.as_deref().map(|r| Part::Text(Shown::prose(format!("To be decided by a person: {}", Shown::prose(r)))));
    chapters.push(("Follow-ups", asked.into_iter().chain(entry_parts::commands(&p.follow_ups)).collect()));
    chapters
}

fn timeline(p: &Postmortem) -> Part {
    let (list, more) = first(&p.timeline, MOST);
    let row = |m: &crate::report::Moment| {
        vec![Shown::name(Stamp::of_day(m.at, p.opened.wall).utc), moments::plus(m.plus_s), Shown::prose(words::sentence(&m.what))]
    };
    let rows = list.iter().map(row).collect();
    Part::Table(Table { caption: "What happened, with seconds since it was opened", head: vec!["Time", "Since", "What"], rows, more })
}

fn steps(p: &Postmortem) -> Vec<Part> {
    let (list, more) = first(&p.steps, entry_parts::MOST);
    let row = |s: &crate::report::ToldStep| {
        let [freed, deviation, inodes, left_alone] = words::real(s);
        let mut row =
            vec![Shown::name(format!("{}.{} {}", s.round, s.step, words::title(s.kind))), s.fate.into(), Shown::name(words::expected(s))];
        row.extend([freed, deviation, inodes].map(Shown::name));
        row.push(Shown::prose(left_alone));
        row
    };
    let table = Table {
        caption: "What was expected of each step, and what came of it",
        head: vec!["Step", "Outcome", "Expected", "Freed", "Deviation", "Inodes", "Left alone"],
        rows: list.iter().map(row).collect(),
        more,
    };
    let does: Vec<String> = list.iter().filter_map(|s| Some(format!("{}.{}: {}", s.round, s.step, s.does.as_deref()?))).collect();
    let refused: Vec<String> = list
        .iter()
        .flat_map(|s| s.refused.iter().map(move |r| format!("{}.{}: {}: {}", s.round, s.step, r.reason.as_str(), Shown::prose(&r.detail))))
        .collect();
    let parts = [Some(Part::Table(table)), entry_parts::list("What each does", &does), entry_parts::list("Refused", &refused)];
    parts.into_iter().flatten().collect()
}
