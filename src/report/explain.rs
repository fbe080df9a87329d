//! Why this class, this confidence and these steps, and why not others.

use super::human::{clean, count, deviation_text, seconds_between, sentence, share, utc};
use super::paint::{Paint, Tone};
use super::refusals::would_change;
use super::story::{Round, StepStory, Story};
use super::table::{Table, cell, figure};
use super::{incidents, steps};
use crate::model::{Bytes, Confidence, Diagnosis, Explained, Plan, Refusal, Seconds, Severity};

pub fn explain(story: &Story<'_>, paint: Paint) -> String {
    let mut out = format!("{}\n", incidents::head(story.summary, paint));
    let lasted = story.closed.map(|c| format!(", closed after {}", Seconds(seconds_between(story.opened(), c).max(0.0))));
    out += &format!("opened {}{}\n", utc(story.opened().wall), lasted.unwrap_or_default());
    out += &section(paint, "What raised it");
    let mut table = Table::indented(2);
    for signal in &story.signals {
        let tone = if signal.severity == Severity::Critical { Tone::Bad } else { Tone::Warn };
        table.row([cell(clean(&signal.kind.0)), cell(signal.severity.as_str()).tone(tone), cell(clean(&signal.detail))]);
    }
    out += &table.render(paint);
    if story.rounds.is_empty() {
        out += &section(paint, "No diagnosis");
        out += "  The record holds none: the incident ended, or the agent stopped, before one was made.\n";
    }
    for round in &story.rounds {
        if story.rounds.len() > 1 {
            out += &section(paint, &format!("Round {}", round.number));
        }
        out += &diagnosis(round.diagnosis, paint);
        out += &ladder(round, paint);
        out += &not_available(round.plan, paint);
    }
    out += &refused(story, paint);
    out += &end(story, paint);
    out += &counts(story, paint);
    out
}

fn section(paint: Paint, title: &str) -> String {
    format!("\n{}\n", paint.title(title))
}

/// Class, confidence and what both rest on. Shared with `plan`.
pub(super) fn diagnosis(d: &Diagnosis, paint: Paint) -> String {
    let mut out = section(paint, "Why this class");
    out += &format!("  {}: {}\n", paint.tone(Tone::Strong, clean(&d.class)), clean(&d.summary));
    let mut table = Table::indented(4);
    for one in &d.explained {
        table.row([
            cell(clean(&one.class)),
            figure(amount(&d.explained, one.amount)),
            figure(share(one.share)),
            cell(of_what(&d.explained)),
        ]);
    }
    out += &table.render(paint);
    let mut table = Table::indented(4);
    for finding in &d.findings {
        table.row([cell(clean(&finding.what)), cell(clean(&finding.value))]);
    }
    out += &table.render(paint);

    out += &section(paint, "Why this confidence");
    let enough = d.confidence >= Confidence::TO_ACT;
    let figure = paint.tone(if enough { Tone::Good } else { Tone::Bad }, d.confidence.to_string());
    let means = if enough { "enough to act" } else { "too little to act" };
    out += &format!("  {figure}, {means} (the limit is {})\n", Confidence::TO_ACT);
    if d.missing.is_empty() {
        out += "  Everything that was looked for could be seen.\n";
    } else {
        out += "  Lowered by what could not be seen:\n";
        out += &d.missing.iter().map(|m| format!("    - {}\n", clean(m))).collect::<String>();
    }
    out
}

/// Where nothing is counted in bytes or inodes, nothing has to be freed.
pub(crate) fn of_what(among: &[Explained]) -> &'static str {
    if among.iter().any(|e| e.amount > 0) { "of what must be freed" } else { "of what is wrong" }
}

/// In the unit of the need. The model leaves the unit to the runbook: where inodes are what is short, the class that explains them by
/// name is weighed too.
pub(crate) fn amount(among: &[Explained], n: u64) -> String {
    if among.iter().all(|e| e.amount == 0) {
        return "-".to_owned();
    }
    if among.iter().any(|e| e.class.starts_with("inode")) { count(n, "inode") } else { Bytes(n).to_string() }
}

fn ladder(round: &Round<'_>, paint: Paint) -> String {
    let mut out = section(paint, "Why these steps");
    if round.steps.is_empty() {
        out += "  None: nothing that BytePort may do would help here.\n";
    }
    for step in &round.steps {
        out += &rung(step, paint);
    }
    out
}

fn rung(step: &StepStory<'_>, paint: Paint) -> String {
    let fate = steps::fate(step);
    let tone = match fate {
        "done" | "undone" => Tone::Good,
        "refused" | "failed" | "not known" => Tone::Bad,
        "not needed" | "not reached" => Tone::Dim,
        _ => Tone::Warn,
    };
    let does = step.planned.map_or_else(|| "a step that the recorded plan does not have".into(), |p| steps::does(&p.step));
    let mut out = format!("  {}. {}: {does} [{}]\n", step.number, step.kind.as_str(), paint.tone(tone, fate));
    let mut line = |what: &str, text: String| out += &format!("       {what:<9} {text}\n");
    if let Some(planned) = step.planned {
        line("why", clean(&planned.why));
        line("expected", expected(step));
        line("undo", steps::undo(&planned.undo));
    }
    if let Some(effect) = step.effect {
        line("effect", steps::did(effect));
        if step.planned.is_some_and(|p| p.expected.bytes.0 > 0) {
            line("deviation", format!("{} of the bytes expected", deviation_text(step.expected_bytes(), effect.freed.0)));
        }
        for skip in &effect.examples {
            line("", format!("{}: {}", skip.what, steps::skip(skip.reason)));
        }
    }
    if let Some(why) = step.unknown.filter(|_| step.effect.is_none()) {
        line("effect", format!("not known: {}", clean(why)));
    }
    if let Some(after) = step.after {
        line("after", steps::after(after));
    }
    if let Some(effect) = step.undone {
        line("undone", steps::did(effect));
    }
    if let Some(refusal) = step.undo_refused {
        line("undo", format!("refused: {}", clean(&refusal.to_string())));
    }
    out
}

fn expected(step: &StepStory<'_>) -> String {
    step.planned.map_or_else(String::new, |p| plan_expected(&p.expected))
}

/// `1.20 GiB and 12 inodes (an estimate)`.
pub(crate) fn plan_expected(e: &crate::model::Expected) -> String {
    if e.bytes.0 == 0 && e.inodes == 0 {
        return "nothing that is counted in bytes".to_owned();
    }
    let inodes = if e.inodes > 0 { format!(" and {}", count(e.inodes, "inode")) } else { String::new() };
    format!("{}{inodes}{}", e.bytes, if e.estimate { " (an estimate)" } else { "" })
}

pub(super) fn not_available(plan: &Plan, paint: Paint) -> String {
    if plan.not_available.is_empty() {
        return String::new();
    }
    let mut table = Table::indented(2);
    for one in &plan.not_available {
        table.row([cell(clean(&one.what)), cell(clean(&one.why))]);
    }
    section(paint, "Not available here") + &table.render(paint)
}

/// The same refusal of several steps is told once.
fn refused(story: &Story<'_>, paint: Paint) -> String {
    let mut groups: Vec<(&Refusal, Vec<String>)> = Vec::new();
    for (round, step) in story.steps() {
        let at = if story.rounds.len() > 1 { format!("{}.{}", round.number, step.number) } else { step.number.to_string() };
        for refusal in &step.refusals {
            let name = format!("{at} {}", step.kind.as_str());
            match groups.iter_mut().find(|(r, _)| r == refusal) {
                Some((_, steps)) => steps.push(name),
                None => groups.push((refusal, vec![name])),
            }
        }
    }
    if groups.is_empty() {
        return String::new();
    }
    let mut out = section(paint, "What was refused");
    for (refusal, steps) in groups {
        let reason = paint.tone(Tone::Bad, refusal.reason.as_str());
        out += &format!("  {reason}: {}\n", clean(&refusal.detail));
        out += &format!("       steps: {}\n", steps.join(", "));
        out += &format!("       what would change it: {}\n", would_change(refusal.reason));
    }
    out
}

fn end(story: &Story<'_>, paint: Paint) -> String {
    let mut out = section(paint, "How it ended");
    let line = |text: String| format!("  {}\n", sentence(&text));
    if let Some(verdict) = story.verdict {
        out += &line(steps::verdict(verdict));
    }
    if let Some(escalation) = story.escalation {
        out += &line(format!("handed to a person: {}", clean(&escalation.reason)));
    }
    for note in &story.notes {
        out += &line(clean(note));
    }
    let summary = clean(&story.summary.summary);
    out += &line(format!("{}{}{summary}", steps::ended(story.outcome), if summary.is_empty() { "" } else { ": " }));
    out
}

fn counts(story: &Story<'_>, paint: Paint) -> String {
    let all: Vec<_> = story.steps().map(|(_, s)| s).collect();
    let of = |filter: fn(&StepStory<'_>) -> bool| all.iter().filter(|s| filter(s)).count() as u64;
    let freed: Bytes = all.iter().filter_map(|s| s.effect).map(|e| e.freed).sum();
    let mut table = Table::indented(2);
    let mut row = |what: &str, n: u64| table.row([cell(what.to_owned()), figure(super::human::thousands(n))]);
    row("entries in the record", story.entries.len() as u64);
    row("looks at the host", story.looks);
    row("diagnoses", story.rounds.len() as u64);
    row("steps planned", of(|s| s.planned.is_some()));
    row("steps begun", of(|s| s.intent.is_some()));
    row("steps with a known effect", of(|s| s.effect.is_some()));
    for (reason, n) in story.refusals_by_reason() {
        row(&format!("refused: {}", reason.as_str()), n);
    }
    section(paint, "Counts") + &table.render(paint) + &format!("  freed in all: {freed}\n")
}
