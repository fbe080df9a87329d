//! The list of incidents.

use super::human::{clean, count, utc};
use super::paint::{Paint, Tone};
use super::steps;
use super::table::{Table, cell};
use crate::model::{IncidentSummary, Outcome};

/// A table, in the order given.
pub fn incidents(list: &[IncidentSummary], paint: Paint) -> String {
    if list.is_empty() {
        return "No incidents.\n".into();
    }
    let mut table = Table::default().head(&["ID", "OPENED", "SUBJECT", "CLASS", "OUTCOME", "SUMMARY"]);
    for one in list {
        let tone = tone(one.outcome);
        table.row([
            cell(clean(&one.id.0)).tone(Tone::Strong),
            cell(utc(one.opened.wall)),
            cell(clean(&one.subject.to_string())),
            cell(clean(one.class.as_deref().unwrap_or("-"))),
            cell(one.outcome.map_or("open", Outcome::as_str)).tone(tone),
            cell(clean(&one.summary)),
        ]);
    }
    let open = list.iter().filter(|i| i.outcome.is_none()).count() as u64;
    format!("{}\n{}, {open} open\n", table.render(paint), count(list.len() as u64, "incident"))
}

pub(super) const fn tone(outcome: Option<Outcome>) -> Tone {
    match outcome {
        Some(Outcome::Healed | Outcome::Cleared) => Tone::Good,
        Some(Outcome::Observed) => Tone::Plain,
        None | Some(Outcome::Interrupted) => Tone::Warn,
        Some(Outcome::Escalated) => Tone::Bad,
    }
}

/// `disk-... on /srv: healed`, the head line of everything about one incident.
pub(super) fn head(summary: &IncidentSummary, paint: Paint) -> String {
    let what = format!("{} on {}", clean(&summary.id.0), clean(&summary.subject.to_string()));
    format!("{}: {}", paint.title(&what), paint.tone(tone(summary.outcome), steps::ended(summary.outcome)))
}
