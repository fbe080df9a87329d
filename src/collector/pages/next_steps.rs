//! What a person is to do next, and what cannot be told from what is here.

use super::entry_parts::{self, CommandBit, Part};
use super::safe_text::{More, Shown};
use crate::collector::view::{Host, Incident, Standing};
use crate::model::{Body, shell_word};
use crate::report::{Postmortem, Story, words};

#[derive(Debug)]
pub(super) struct Next {
    /// What must be decided.
    pub(super) reason: Option<Shown>,
    pub(super) part: Option<Part>,
}

pub(super) fn of(postmortem: &Postmortem) -> Next {
    let reason = postmortem.escalation.as_deref().map(|r| Shown::prose(words::sentence(r)));
    Next { reason, part: entry_parts::commands(&postmortem.follow_ups) }
}

/// Rows that stay on the host, and how they are seen there.
#[derive(Debug)]
pub(super) struct OnTheHost {
    pub(super) count: String,
    pub(super) rows: Shown,
    pub(super) part: Part,
}

pub(super) fn on_the_host(incident: &Incident) -> Option<OnTheHost> {
    let rows = &incident.on_the_host;
    if rows.is_empty() {
        return None;
    }
    let id = shell_word(&incident.row.summary.id.0);
    let one = |why: &'static str, command: String| CommandBit { why: why.into(), command: Shown::command(&command) };
    let commands = vec![
        one("Read what was seen, and why it led there:", format!("byteportctl explain {id}")),
        one("Pack it into one file, which can be replayed anywhere:", format!("byteportctl bundle {id} -o {id}.json")),
    ];
    let numbers: Vec<String> = rows.iter().take(entry_parts::MOST).map(u64::to_string).collect();
    let more = rows.len().saturating_sub(entry_parts::MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(OnTheHost {
        count: words::count(rows.len() as u64, "row"),
        rows: Shown::prose(format!("{}{more}", numbers.join(", "))),
        part: Part::Commands { commands, more: More::NONE },
    })
}

/// Why what is here may not be the whole of it; `None`: nothing says so.
pub(super) fn doubt(incident: &Incident, story: &Story<'_>, host: Option<&Host>) -> Option<String> {
    let mut doubts = Vec::new();
    if let Some(host) = host.filter(|h| h.row.standing == Standing::Quarantined) {
        let why = host.row.why.as_deref().unwrap_or("nobody said why");
        doubts.push(format!("the host is quarantined: {}", Shown::prose(why)));
    }
    if !matches!(incident.entries.first().map(|e| &e.body), Some(Body::Opened { .. })) {
        doubts.push("its beginning is not here: the host dropped it before it could be sent, or it was too large to be sent".to_owned());
    }
    let lost = incident.entries.iter().any(|e| match &e.body {
        Body::Intent { intent, .. } => !story.has_step_of(intent),
        _ => false,
    });
    if lost {
        doubts.push("a decision is not here, so that steps which were begun after it have no plan to stand in".to_owned());
    }
    (!doubts.is_empty()).then(|| doubts.join("; "))
}
