//! What an entry of a record or a chapter of a postmortem is made of, whoever shows it.

use super::badge::Badge;
use super::safe_text::{More, Shown, first};
use crate::model::{Explained, Finding, FollowUp, Unavailable};
use crate::report::words;

/// Of one list: a host can say more than anybody reads, and the JSON has it all.
pub(super) const MOST: usize = 50;

#[derive(Debug)]
pub(super) enum Part {
    Text(Shown),
    Facts(Vec<(&'static str, Shown)>),
    /// What was found, by its name.
    Found {
        head: &'static str,
        rows: Vec<(Shown, Shown)>,
        more: More,
    },
    Shares {
        of: &'static str,
        rows: Vec<Share>,
        more: More,
    },
    List {
        head: &'static str,
        items: Vec<Shown>,
        more: More,
    },
    Steps {
        steps: Vec<StepBit>,
        more: More,
    },
    Commands {
        commands: Vec<CommandBit>,
        more: More,
    },
    Table(Table),
}

#[derive(Debug)]
pub(super) struct Share {
    pub(super) class: Shown,
    pub(super) amount: Shown,
    pub(super) share: Shown,
    /// 0..100.
    pub(super) width: u8,
}

/// A step as it was planned, and what became of it.
#[derive(Debug)]
pub(super) struct StepBit {
    pub(super) number: String,
    pub(super) title: &'static str,
    pub(super) fate: Option<Badge>,
    pub(super) facts: Vec<(&'static str, Shown)>,
}

#[derive(Debug)]
pub(super) struct CommandBit {
    pub(super) why: Shown,
    /// `None`: too long to be shown whole.
    pub(super) command: Option<Shown>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) caption: &'static str,
    pub(super) head: Vec<&'static str>,
    /// The first of each row is its head.
    pub(super) rows: Vec<Vec<Shown>>,
    pub(super) more: More,
}

pub(super) fn shares(explained: &[Explained]) -> Option<Part> {
    let (list, more) = first(explained, MOST);
    let row = |e: &Explained| Share {
        class: Shown::name(&e.class),
        amount: Shown::name(words::amount(explained, e.amount)),
        share: Shown::name(words::share(e.share)),
        width: (e.share.clamp(0.0, 1.0) * 100.0).round() as u8,
    };
    (!list.is_empty()).then(|| Part::Shares { of: words::of_what(explained), rows: list.iter().map(row).collect(), more })
}

pub(super) fn findings(head: &'static str, findings: &[Finding]) -> Option<Part> {
    let (list, more) = first(findings, MOST);
    let rows = list.iter().map(|f| (Shown::name(&f.what), Shown::prose(&f.value))).collect();
    (!list.is_empty()).then_some(Part::Found { head, rows, more })
}

pub(super) fn not_available(all: &[Unavailable]) -> Option<Part> {
    let (list, more) = first(all, MOST);
    let rows = list.iter().map(|u| (Shown::name(&u.what), Shown::prose(&u.why))).collect();
    (!list.is_empty()).then_some(Part::Found { head: "Not available on this host", rows, more })
}

pub(super) fn list<T: AsRef<str>>(head: &'static str, all: &[T]) -> Option<Part> {
    let (list, more) = first(all, MOST);
    (!list.is_empty()).then(|| Part::List { head, items: list.iter().map(Shown::prose).collect(), more })
}

pub(super) fn commands(all: &[FollowUp]) -> Option<Part> {
    let (list, more) = first(all, MOST);
    let one = |f: &FollowUp| CommandBit { why: Shown::prose(words::sentence(&f.why)), command: Shown::command(&f.command) };
    (!list.is_empty()).then(|| Part::Commands { commands: list.iter().map(one).collect(), more })
}
