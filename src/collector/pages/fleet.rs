//! `/`: how many hosts stand how, and which.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use super::super::view::{Fleet, FleetAsk, HostRow, IncidentsAsk, Standing, Views};
use super::badge::{self, Badge};
use super::layout::{Frame, Here, page};
use super::mentions::{self, Link, Pager, SignalBit};
use super::moments::Stamp;
use super::safe_text::{More, Shown, first};
use super::trouble::AsPage;
use super::url::{self, Href};
use super::{query, read, some};
use crate::model::Seconds;
use crate::report::words;

/// Named in a row; the others are on the host's page.
const SIGNALS: usize = 3;
/// A clock that is further off than this is said.
const SKEW_S: f64 = 30.0;

pub(super) async fn show(State(views): State<Arc<dyn Views>>, Query(asked): Query<Vec<(String, String)>>) -> Result<Response, AsPage> {
    let ask = query::fleet(&asked)?;
    Ok(read(views, move |views| Ok(page(&FleetPage::of(&some(views.fleet(&ask))?, &ask)))).await?)
}

#[derive(Debug, Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    frame: Frame,
    all: Tile,
    tiles: Vec<Tile>,
    name: Shown,
    standing: Option<&'static str>,
    caption: Shown,
    filtered: bool,
    hosts: Vec<Row>,
    pager: Option<Pager>,
}

#[derive(Debug)]
struct Tile {
    href: Href,
    badge: Badge,
    count: String,
    here: bool,
}

#[derive(Debug)]
struct Row {
    host: Link,
    standing: Badge,
    why: Option<Shown>,
    signals: Vec<SignalBit>,
    more: More,
    open: Link,
    mode: Shown,
    waiting: String,
    clock: Option<Shown>,
    seen: Option<Stamp>,
}

impl FleetPage {
    fn of(fleet: &Fleet, ask: &FleetAsk) -> Self {
        let count = |standing| fleet.counts.iter().filter(|(s, _)| *s == standing).map(|(_, n)| n).sum::<u64>();
        let tile = |standing: Option<Standing>, badge, count: u64| Tile {
            href: url::fleet(&FleetAsk { standing, page: 1, ..ask.clone() }),
            badge,
            count: words::thousands(count),
            here: ask.standing == standing,
        };
        let total: u64 = fleet.counts.iter().map(|(_, n)| n).sum();
        Self {
            frame: Frame::new("Fleet", Here::Fleet).at(url::fleet(ask), Some(fleet.now)),
            all: tile(None, badge::plain("all"), total),
            tiles: Standing::ALL.into_iter().map(|s| tile(Some(s), badge::standing(s), count(s))).collect(),
            name: ask.name.as_deref().map(Shown::name).unwrap_or_default(),
            standing: ask.standing.map(Standing::as_str),
            caption: caption(fleet, ask),
            filtered: ask.name.is_some() || ask.standing.is_some(),
            hosts: fleet.hosts.iter().map(|row| Row::of(row, fleet.now)).collect(),
            pager: mentions::pager(ask.page, fleet.pages, |page| url::fleet(&FleetAsk { page, ..ask.clone() })),
        }
    }
}

fn caption(fleet: &Fleet, ask: &FleetAsk) -> Shown {
    let standing = ask.standing.map_or(String::new(), |s| format!(" that {} {}", if fleet.found == 1 { "is" } else { "are" }, s.as_str()));
    let named = ask.name.as_deref().map_or(String::new(), |n| format!(" with “{}” in the name", Shown::name(n)));
    Shown::prose(format!("{}{standing}{named}, worst first", words::count(fleet.found, "host")))
}

impl Row {
    fn of(row: &HostRow, now: jiff::Timestamp) -> Self {
        let (signals, more) = first(&row.signals, SIGNALS);
        Self {
            host: mentions::host(&row.agent_id, &row.hostname),
            standing: badge::standing(row.standing),
            why: row.why.as_deref().map(Shown::prose),
            signals: signals.iter().map(|s| mentions::signal(s, now)).collect(),
            more,
            open: open(row),
            mode: mode(row),
            waiting: words::thousands(row.waiting),
            clock: row.skew_s.and_then(skew),
            seen: row.seen_at.map(|at| Stamp::of(at, Some(now))),
        }
    }
}

/// How many, and which.
fn open(row: &HostRow) -> Link {
    let ask = IncidentsAsk { open: true, agent_id: Some(row.agent_id.clone()), page: 1, ..IncidentsAsk::default() };
    let leads = row.open_incidents > 0 && url::host(&row.agent_id).is_some();
    Link { href: leads.then(|| url::incidents(&ask)), text: Shown::name(words::thousands(row.open_incidents)) }
}

pub(super) fn mode(row: &HostRow) -> Shown {
    if row.mode.is_empty() { "not known".into() } else { Shown::name(&row.mode) }
}

/// `45 s ahead`; `None` where it is near enough.
pub(super) fn skew(s: f64) -> Option<Shown> {
    (s.abs() > SKEW_S || s.is_nan()).then(|| Shown::name(format!("{} {}", Seconds(s.abs()), if s > 0.0 { "ahead" } else { "behind" })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_told_of_when_it_is_off() {
        let told = |s| skew(s).map(|shown| shown.to_string());
        assert_eq!((told(29.9), told(-30.0), told(45.0)), (None, None, Some("45 s ahead".into())));
        assert_eq!(told(-7200.0), Some("2.0 h behind".into()));
    }
}
