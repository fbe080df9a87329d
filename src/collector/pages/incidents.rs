//! `/incidents`: one row for what is alike, however often it came back.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use super::super::view::{IncidentGroup, Incidents, IncidentsAsk, Views};
use super::badge::Badge;
use super::layout::{Frame, Here, page};
use super::mentions::{self, Link, Pager};
use super::moments::Stamp;
use super::safe_text::Shown;
use super::trouble::AsPage;
use super::url::{self, Href};
use super::{query, read, some};
use crate::report::words;

pub(super) async fn show(State(views): State<Arc<dyn Views>>, Query(asked): Query<Vec<(String, String)>>) -> Result<Response, AsPage> {
    let ask = query::incidents(&asked)?;
    Ok(read(views, move |views| Ok(page(&IncidentsPage::of(&some(views.incidents(&ask))?, &ask)))).await?)
}

#[derive(Debug, Template)]
#[template(path = "incidents.html")]
struct IncidentsPage {
    frame: Frame,
    open: bool,
    escalated: bool,
    runbook: Shown,
    /// Whose incidents they are, its id, and where all hosts' are.
    host: Option<(Shown, Shown, Href)>,
    filtered: bool,
    caption: String,
    groups: Vec<Group>,
    pager: Option<Pager>,
}

#[derive(Debug)]
struct Group {
    incident: Link,
    runbook: Shown,
    host: Link,
    state: Badge,
    asked: Option<Badge>,
    count: String,
    first: Stamp,
    last: Stamp,
    summary: Shown,
}

impl IncidentsPage {
    fn of(list: &Incidents, ask: &IncidentsAsk) -> Self {
        let everywhere = IncidentsAsk { agent_id: None, page: 1, ..ask.clone() };
        let host = ask.agent_id.as_deref().map(|id| {
            let name = list.groups.first().map_or(id, |g| &g.newest.hostname);
            (Shown::name(name), Shown::name(id), url::incidents(&everywhere))
        });
        Self {
            frame: Frame::new("Incidents", Here::Incidents).at(url::incidents(ask), Some(list.now)),
            open: ask.open,
            escalated: ask.escalated,
            runbook: ask.runbook.as_deref().map(Shown::name).unwrap_or_default(),
            host,
            filtered: ask.open || ask.escalated || ask.runbook.is_some() || ask.agent_id.is_some(),
            caption: format!("{} of incidents that are alike, newest first", words::count(list.found, "group")),
            groups: list.groups.iter().map(|g| Group::of(g, list.now)).collect(),
            pager: mentions::pager(ask.page, list.pages, |page| url::incidents(&IncidentsAsk { page, ..ask.clone() })),
        }
    }
}

impl Group {
    fn of(group: &IncidentGroup, now: jiff::Timestamp) -> Self {
        let row = &group.newest;
        let (state, asked) = mentions::state(row);
        Self {
            incident: mentions::incident(row),
            runbook: Shown::name(&row.summary.runbook.0),
            host: mentions::host(&row.agent_id, &row.hostname),
            state,
            asked,
            count: words::thousands(group.count),
            first: Stamp::of(group.first_opened, Some(now)),
            last: Stamp::of(row.summary.opened.wall, Some(now)),
            summary: Shown::prose(&row.summary.summary),
        }
    }
}
