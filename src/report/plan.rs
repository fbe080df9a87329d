//! What would be done now, and why parts of it would be refused.

use super::escalation::commands;
use super::explain::{diagnosis, not_available, plan_expected};
use super::human::{clean, count};
use super::paint::{Paint, Tone};
use super::refusals::would_change;
use super::steps;
use crate::model::{Bytes, Diagnosis, Plan, Refusal};

/// Files that are named for a step; all of them are in the JSON.
const FILES: usize = 5;

/// `refusals` has one entry a step, or is empty where nobody was asked (a replay).
pub fn plan(d: &Diagnosis, plan: &Plan, refusals: &[Option<Refusal>], paint: Paint) -> String {
    let mut out = paint.title(&clean(&format!("{} on {}", d.class, plan.subject)));
    out.push('\n');
    out += &diagnosis(d, paint);
    out += &format!("\n{}\n", paint.title("What would be done"));
    if plan.steps.is_empty() {
        out += "  Nothing.\n";
    }
    for (i, planned) in plan.steps.iter().enumerate() {
        out += &format!("  {}. {}: {}\n", i + 1, planned.step.kind().as_str(), steps::does(&planned.step));
        let mut line = |what: &str, text: String| out += &format!("       {what:<9} {text}\n");
        line("why", clean(&planned.why));
        if let Some(batch) = planned.step.batch() {
            for file in batch.files.iter().take(FILES) {
                line("file", format!("{} ({} on disk)", batch.root.join(&file.path), Bytes(file.on_disk)));
            }
            let more = batch.files.len().saturating_sub(FILES);
            if more > 0 {
                line("", format!("and {}", count(more as u64, "other file")));
            }
        }
        line("expected", plan_expected(&planned.expected));
        line("undo", steps::undo(&planned.undo));
        if let Some(Some(refusal)) = refusals.get(i) {
            line("refused", format!("{}: {}", paint.tone(Tone::Warn, refusal.reason.as_str()), clean(&refusal.detail)));
            line("", format!("what would change it: {}", would_change(refusal.reason)));
        }
    }
    out += &not_available(plan, paint);
    if let Some(reason) = &plan.escalate {
        out += &format!("\n{}\n  {}\n", paint.title("A person is needed"), clean(reason));
        out += &commands(&plan.follow_ups, paint);
    }
    out
}
