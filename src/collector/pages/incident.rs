//! `/incidents/{agent_id}/{incident}`: the story of one incident, and everything around it.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::super::view::{Incident, Views};
use super::badge::Badge;
use super::entry_parts::{self, Part};
use super::lanes::{self, LaneBit};
use super::layout::{Frame, Here, page};
use super::mentions::{self, DeliveryBit, IncidentBit, Link};
use super::moments::Stamp;
use super::next_steps::{self, Next, OnTheHost};
use super::safe_text::{Shown, first};
use super::story::{self, Told};
use super::trouble::{AsPage, Trouble};
use super::url::{self, Href};
use super::{found, read};
use crate::model::{Body, Bytes, Seconds};
use crate::report::{Postmortem, Source, Story, words};

/// From the beginning of a record, and as many from its end: in between, a watch that lasts for days says the same each minute.
const AT_EACH_END: usize = 150;

pub(super) async fn show(
    State(views): State<Arc<dyn Views>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, AsPage> {
    let Path((agent_id, incident)) = path.map_err(|_| Trouble::not_found("incident"))?;
    let make = move |views: &dyn Views| {
        let incident = found("incident", views.incident(&agent_id, &incident))?;
        Ok(page(&IncidentPage::of(&incident)))
    };
    Ok(read(views, make).await?)
}

#[derive(Debug, Template)]
#[template(path = "incident.html")]
struct IncidentPage {
    frame: Frame,
    title: Shown,
    id: Shown,
    host: Link,
    state: Badge,
    asked: Option<Badge>,
    summary: Shown,
    doubt: Option<Shown>,
    opened: Stamp,
    closed: Option<(Stamp, Shown)>,
    facts: Vec<(&'static str, Shown)>,
    next: Next,
    lanes: Vec<LaneBit>,
    told: Vec<Told>,
    /// Left out behind this many, and how many.
    gap: Option<(usize, String)>,
    on_the_host: Option<OnTheHost>,
    deliveries: Vec<DeliveryBit>,
    alike: Vec<IncidentBit>,
    postmortem: Option<Href>,
    markdown: Option<Href>,
}

impl IncidentPage {
    fn of(incident: &Incident) -> Self {
        let (row, now) = (&incident.row, incident.now);
        let story = Story::of(&row.summary, &incident.entries);
        // The agent that kept the record is told of by the postmortem.
        let postmortem = Postmortem::of(&story, Source { host: Some(&row.hostname), agent_version: "", record_doubt: None });
        let mut told = story::tell(incident, &story, &postmortem);
        let gap = shortened(&mut told);
        let title = mentions::title(row);
        let frame = Frame::new(title.to_string(), Here::Incidents);
        let this = url::incident(&row.agent_id, &row.summary.id.0);
        let (state, asked) = mentions::state(row);
        let (deliveries, _) = first(&incident.deliveries, entry_parts::MOST);
        let (alike, _) = first(&incident.alike, entry_parts::MOST);
        Self {
            frame: match this.clone() {
                Some(this) => frame.at(this, Some(now)),
                None => frame,
            },
            title,
            id: Shown::name(&row.summary.id.0),
            host: mentions::host(&row.agent_id, &row.hostname),
            state,
            asked,
            summary: Shown::prose(words::sentence(&row.summary.summary)),
            doubt: next_steps::doubt(incident, &story, None).map(|doubt| Shown::prose(words::sentence(&doubt))),
            opened: Stamp::of(row.summary.opened.wall, Some(now)),
            closed: row.summary.closed.as_ref().map(|closed| {
                let lasted = words::seconds_between(&row.summary.opened, closed);
                (Stamp::of(closed.wall, Some(now)), Shown::name(Seconds(lasted.max(0.0)).to_string()))
            }),
            facts: vec![
                ("Runbook", Shown::name(&row.summary.runbook.0)),
                ("Subject", Shown::name(row.summary.subject.to_string())),
                ("Freed", Shown::name(freed(incident).to_string())),
                ("Id", Shown::name(&row.summary.id.0)),
            ],
            next: next_steps::of(&postmortem),
            lanes: lanes::all(incident, &postmortem, &told),
            told,
            gap,
            on_the_host: next_steps::on_the_host(incident),
            deliveries: deliveries.iter().map(|one| mentions::delivery(one, Some(now))).collect(),
            alike: alike.iter().map(|one| mentions::in_list(one, now)).collect(),
            postmortem: this.as_ref().map(|this| this.below("/postmortem")),
            markdown: this.as_ref().map(|this| this.below("/postmortem.md")),
        }
    }
}

fn freed(incident: &Incident) -> Bytes {
    let effects = incident.entries.iter().filter_map(|e| match &e.body {
        Body::Effect { effect, .. } => Some(effect.freed),
        _ => None,
    });
    effects.sum()
}

fn shortened(told: &mut Vec<Told>) -> Option<(usize, String)> {
    let out = told.len().checked_sub(2 * AT_EACH_END).filter(|out| *out > 0)?;
    drop(told.drain(AT_EACH_END..AT_EACH_END + out));
    Some((AT_EACH_END, words::thousands(out as u64)))
}
