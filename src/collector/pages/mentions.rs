//! What several pages show alike: a host's or an incident's name with its address, a signal, a delivery, where one is in a list.

use super::super::view::{Delivery, IncidentRow};
use super::badge::{self, Badge};
use super::moments::Stamp;
use super::safe_text::Shown;
use super::url::{self, Href};
use crate::model::Signal;
use crate::report::words;

/// A name, and where it leads if it leads anywhere.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) href: Option<Href>,
    pub(super) text: Shown,
}

pub(super) fn host(agent_id: &str, hostname: &str) -> Link {
    Link { href: url::host(agent_id), text: Shown::name(hostname) }
}

/// `log_growth on /srv`.
pub(super) fn incident(row: &IncidentRow) -> Link {
    Link { href: url::incident(&row.agent_id, &row.summary.id.0), text: title(row) }
}

pub(super) fn title(row: &IncidentRow) -> Shown {
    let class = row.summary.class.as_deref().unwrap_or(&row.summary.runbook.0);
    Shown::name(format!("{} on {}", Shown::name(class), Shown::name(row.summary.subject.to_string())))
}

/// Its state, and that a person is asked for where the state does not say so.
pub(super) fn state(row: &IncidentRow) -> (Badge, Option<Badge>) {
    let state = badge::outcome(row.summary.outcome);
    (state, (row.escalated && state.tone != "bad").then_some(badge::bad("a person was asked")))
}

#[derive(Debug)]
pub(super) struct SignalBit {
    pub(super) severity: Badge,
    pub(super) kind: Shown,
    pub(super) subject: Shown,
    pub(super) detail: Shown,
    pub(super) since: Stamp,
}

pub(super) fn signal(signal: &Signal, now: jiff::Timestamp) -> SignalBit {
    SignalBit {
        severity: badge::severity(signal.severity),
        kind: Shown::name(&signal.kind.0),
        subject: Shown::name(signal.subject.to_string()),
        detail: Shown::prose(&signal.detail),
        since: Stamp::of(signal.since.wall, Some(now)),
    }
}

/// An incident in a list of one host's.
#[derive(Debug)]
pub(super) struct IncidentBit {
    pub(super) link: Link,
    pub(super) state: Badge,
    pub(super) asked: Option<Badge>,
    pub(super) opened: Stamp,
    pub(super) summary: Shown,
}

pub(super) fn in_list(row: &IncidentRow, now: jiff::Timestamp) -> IncidentBit {
    let (state, asked) = state(row);
    let opened = Stamp::of(row.summary.opened.wall, Some(now));
    IncidentBit { link: incident(row), state, asked, opened, summary: Shown::prose(&row.summary.summary) }
}

#[derive(Debug)]
pub(super) struct DeliveryBit {
    pub(super) id: u64,
    pub(super) state: Badge,
    pub(super) destination: Shown,
    pub(super) about: Shown,
    pub(super) incident: Link,
    pub(super) attempts: u64,
    pub(super) created: Stamp,
    pub(super) sent: Option<Stamp>,
    pub(super) next: Option<Stamp>,
    pub(super) error: Option<Shown>,
}

pub(super) fn delivery(one: &Delivery, now: Option<jiff::Timestamp>) -> DeliveryBit {
    DeliveryBit {
        id: one.id,
        state: badge::delivery(one.state),
        destination: Shown::name(&one.destination),
        about: Shown::name(&one.about),
        incident: Link { href: url::incident(&one.agent_id, &one.incident), text: Shown::name(&one.incident) },
        attempts: one.attempts,
        created: Stamp::of(one.created_at, now),
        sent: one.sent_at.map(|at| Stamp::of(at, now)),
        next: one.next_at.map(|at| Stamp::of(at, now)),
        error: one.last_error.as_deref().map(Shown::prose),
    }
}

/// Where one is in a list on several pages.
#[derive(Debug)]
pub(super) struct Pager {
    pub(super) page: String,
    pub(super) pages: String,
    pub(super) first: Option<Href>,
    pub(super) before: Option<Href>,
    pub(super) after: Option<Href>,
}

/// `None` where there is one page, and that is shown.
pub(super) fn pager(page: u64, pages: u64, href: impl Fn(u64) -> Href) -> Option<Pager> {
    let pages = pages.max(1);
    (pages > 1 || page > pages).then(|| Pager {
        page: words::thousands(page),
        pages: words::thousands(pages),
        first: (page > 2).then(|| href(1)),
        before: (page > 1).then(|| href((page - 1).min(pages))),
        after: (page < pages).then(|| href(page + 1)),
    })
}
