//! What was done before, and what follows from it. The records are arguments; who keeps them is not known here.

use serde::{Deserialize, Serialize};

use crate::model::{Bytes, IncidentId, IntentId, Now, RunbookId, Seconds, Step, StepKind, Subject};

/// One act that was begun, whether or not its end is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastAct {
    pub intent: IntentId,
    pub incident: IncidentId,
    pub runbook: RunbookId,
    pub subject: Subject,
    pub kind: StepKind,
    pub at: Now,
    /// Planned figures until the effect is known: a cap counts what may have been done.
    pub files: u64,
    pub bytes: Bytes,
    /// The unit, or the name of the process in none, that it worked on. Acts from before this was written have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
}

/// Files and bytes that an incident has used of its caps.
pub fn spent(past: &[PastAct], incident: &IncidentId) -> (u64, Bytes) {
    past.iter()
        .filter(|p| &p.incident == incident)
        .fold((0, Bytes(0)), |(files, bytes), p| (files.saturating_add(p.files), Bytes(bytes.0.saturating_add(p.bytes.0))))
}

/// How often the unit that this step restarts was restarted within a day, whichever runbook asked; 0 for a step that restarts nothing.
pub fn restarts_within_a_day(past: &[PastAct], step: &Step, now: &Now) -> usize {
    const DAY: Seconds = Seconds(86_400.0);
    let Some(unit) = step.unit().filter(|_| step.kind().is_restart()) else { return 0 };
    let of_it = |act: &&PastAct| act.kind.is_restart() && act.on.as_deref() == Some(unit) && now.proven_since(&act.at) < DAY;
    past.iter().filter(of_it).count()
}

/// How long another incident on this subject must still wait, with the act it waits for; `None` when it may go on.
/// A filesystem counts as the same one when either its mount point or its device is.
pub fn cooldown_left<'a>(
    past: &'a [PastAct],
    runbook: &RunbookId,
    subject: &Subject,
    incident: &IncidentId,
    cooldown: Seconds,
    now: &Now,
) -> Option<(Seconds, &'a PastAct)> {
    past.iter()
        .filter(|p| &p.runbook == runbook && &p.incident != incident && same(&p.subject, subject))
        .map(|p| (Seconds(cooldown.0 - now.proven_since(&p.at).0), p))
        .filter(|(left, _)| left.0 > 0.0)
        .max_by(|a, b| a.0.0.total_cmp(&b.0.0))
}

/// Subjects that an act of a runbook keeps from being acted on again, each counted once a runbook.
pub fn cooling(past: &[PastAct], cooldown: impl Fn(&RunbookId) -> Seconds, now: &Now) -> u64 {
    let mut cooling: Vec<&PastAct> = Vec::new();
    for act in past {
        let known = || cooling.iter().any(|c| c.runbook == act.runbook && same(&c.subject, &act.subject));
        if now.proven_since(&act.at).0 < cooldown(&act.runbook).0 && !known() {
            cooling.push(act);
        }
    }
    cooling.len() as u64
}

fn same(a: &Subject, b: &Subject) -> bool {
    match (a, b) {
        (Subject::Filesystem { mount: m1, device: d1 }, Subject::Filesystem { mount: m2, device: d2 }) => m1 == m2 || d1 == d2,
        _ => a == b,
    }
}
