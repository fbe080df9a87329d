//! `/hosts/{agent_id}`: one host, why nothing is done on it, how much of its record is here, and its newest incidents.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::super::view::{Host, IncidentsAsk, Standing, StreamRow, Views};
use super::badge::{self, Badge};
use super::layout::{Frame, Here, page};
use super::mentions::{self, IncidentBit, SignalBit};
use super::moments::Stamp;
use super::safe_text::{More, Shown, first};
use super::trouble::{AsPage, Trouble};
use super::url::{self, Href};
use super::{fleet, found, read};
use crate::model::Seconds;
use crate::report::words;

/// Of each list; a host can say more than anybody reads.
const MOST: usize = 50;

pub(super) async fn show(State(views): State<Arc<dyn Views>>, path: Result<Path<String>, PathRejection>) -> Result<Response, AsPage> {
    let Path(agent_id) = path.map_err(|_| Trouble::not_found("host"))?;
    Ok(read(views, move |views| Ok(page(&HostPage::of(&found("host", views.host(&agent_id))?)))).await?)
}

#[derive(Debug, Template)]
#[template(path = "host.html")]
struct HostPage {
    frame: Frame,
    name: Shown,
    standing: Badge,
    means: &'static str,
    why: Option<Shown>,
    seen: Option<Stamp>,
    enrolled: Stamp,
    facts: Vec<(&'static str, Shown)>,
    clock: Option<Shown>,
    observes: bool,
    held: Vec<Shown>,
    more_held: More,
    signals: Vec<SignalBit>,
    more_signals: More,
    streams: Vec<Stream>,
    more_streams: More,
    incidents: Vec<IncidentBit>,
    all: Href,
}

#[derive(Debug)]
struct Stream {
    name: Shown,
    through: String,
    signed: Badge,
    whole: Badge,
    gap: Option<String>,
    first: Stamp,
}

impl HostPage {
    fn of(host: &Host) -> Self {
        let (row, now) = (&host.row, host.now);
        let frame = Frame::new(&row.hostname, Here::Fleet);
        let (held, more_held) = first(&host.held_by, MOST);
        let (signals, more_signals) = first(&row.signals, MOST);
        let (streams, more_streams) = first(&host.streams, MOST);
        let (incidents, _) = first(&host.incidents, MOST);
        let all = IncidentsAsk { agent_id: Some(row.agent_id.clone()), page: 1, ..IncidentsAsk::default() };
        Self {
            frame: match url::host(&row.agent_id) {
                Some(this) => frame.at(this, Some(now)),
                None => frame,
            },
            name: Shown::name(&row.hostname),
            standing: badge::standing(row.standing),
            means: means(row.standing),
            why: row.why.as_deref().map(Shown::prose),
            seen: row.seen_at.map(|at| Stamp::of(at, Some(now))),
            enrolled: Stamp::of(host.enrolled_at, Some(now)),
            facts: vec![
                ("Mode", fleet::mode(row)),
                ("Open incidents", Shown::name(words::thousands(row.open_incidents))),
                ("Rows not arrived yet", Shown::name(words::thousands(row.waiting))),
                ("Clock against this one", clock(row.skew_s)),
                ("Agent", Shown::name(&row.version)),
                ("Boot", Shown::name(&host.boot_id)),
                ("Id", Shown::name(&row.agent_id)),
            ],
            clock: row.skew_s.and_then(fleet::skew),
            observes: row.mode == "observe",
            held: held.iter().map(Shown::prose).collect(),
            more_held,
            signals: signals.iter().map(|s| mentions::signal(s, now)).collect(),
            more_signals,
            streams: streams.iter().map(|s| Stream::of(s, now)).collect(),
            more_streams,
            incidents: incidents.iter().map(|i| mentions::in_list(i, now)).collect(),
            all: url::incidents(&all),
        }
    }
}

const fn means(standing: Standing) -> &'static str {
    match standing {
        Standing::Quarantined => "somebody has to look at this identity: nothing of it is taken until then",
        Standing::Silent => "not heard of for longer than it should be: not known to be down, not known to be well",
        Standing::Raised => "heard of in time, and something is raised on it",
        Standing::Well => "heard of in time, and nothing is raised on it",
        Standing::Stopped => "it said that it would stop: its silence is no fault",
        Standing::Awaited => "enrolled, and not heard of yet",
        Standing::Revoked => "a person took its credential away: nothing of it is taken",
    }
}

fn clock(skew_s: Option<f64>) -> Shown {
    match skew_s {
        None => "not known".into(),
        Some(s) => fleet::skew(s).unwrap_or_else(|| Shown::name(format!("in step, within {}", Seconds(s.abs().ceil().max(1.0))))),
    }
}

impl Stream {
    fn of(row: &StreamRow, now: jiff::Timestamp) -> Self {
        Self {
            name: Shown::name(&row.stream),
            through: words::thousands(row.acked_through),
            signed: if row.signed_through >= row.acked_through { badge::good("to its end") } else { badge::warn("not to its end") },
            whole: if row.gap_before.is_none() { badge::good("nothing is missing") } else { badge::warn("rows are missing") },
            gap: row.gap_before.map(words::thousands),
            first: Stamp::of(row.first_seen, Some(now)),
        }
    }
}
