//! The postmortem for a ticket.

use super::super::human::{count, deviation_text, sentence, share, signed, utc};
use super::super::markdown::{code, commands, text};
use super::super::{explain, steps};
use super::{Postmortem, Told};
use crate::model::{Confidence, Seconds};

impl Postmortem {
    pub fn markdown(&self) -> String {
        let mut out = format!("# Incident {}: {} {}\n\n", text(&self.id), text(&self.subject), steps::ended(self.outcome));
        if !self.summary.is_empty() {
            out += &format!("{}\n\n", sentence(&text(&self.summary)));
        }
        out += &self.header();
        out += &self.timeline_part();
        out += &self.evidence();
        out += &self.diagnosis_part();
        out += &self.steps_part();
        out += "\n## Verdict\n\n";
        out += &match &self.verdict {
            Some(verdict) => format!("{}\n", sentence(&text(&steps::verdict(verdict)))),
            None => "None: it was not come to.\n".into(),
        };
        out += &format!("\n## Root cause\n\n{}\n", text(&self.root_cause));
        out += &self.follow_up_part();
        out
    }

    fn header(&self) -> String {
        let mut rows: Vec<(&str, String)> =
            vec![("Subject", code(&self.subject)), ("Runbook", code(&self.runbook)), ("Opened", utc(self.opened.wall))];
        if let Some(host) = &self.host {
            rows.insert(0, ("Host", code(host)));
        }
        if let (Some(closed), Some(lasted)) = (&self.closed, self.lasted_s) {
            rows.push(("Closed", format!("{}, after {}", utc(closed.wall), Seconds(lasted.max(0.0)))));
        }
        rows.push(("Outcome", steps::ended(self.outcome).into()));
        for signal in &self.signals {
            rows.push(("Signal", format!("{} ({}): {}", code(&signal.kind), signal.severity.as_str(), text(&signal.detail))));
        }
        rows.push(("Freed", self.freed.to_string()));
        rows.push(("Agent", text(&self.agent_version)));
        if let Some(doubt) = &self.record_doubt {
            rows.push(("Record", format!("**not to be trusted**: {}", text(doubt))));
        }
        let body: String = rows.iter().map(|(k, v)| format!("| {k} | {v} |\n")).collect();
        format!("| | |\n| --- | --- |\n{body}")
    }

    fn timeline_part(&self) -> String {
        let rows: String = (self.timeline.iter())
            .map(|m| format!("| {} | {:+.1} s | {} |\n", m.at.strftime("%H:%M:%S%.3fZ"), m.plus_s, text(&m.what)))
            .collect();
        format!("\n## Timeline\n\nUTC, with seconds since it was opened.\n\n| time | + | what |\n| --- | ---: | --- |\n{rows}")
    }

    fn evidence(&self) -> String {
        let Some(d) = &self.diagnosis else { return String::new() };
        let mut out = String::from("\n## Evidence\n\n");
        if d.findings.is_empty() {
            out += "No findings were recorded.\n";
        } else {
            out += "| what | found |\n| --- | --- |\n";
            out += &d.findings.iter().map(|f| format!("| {} | {} |\n", text(&f.what), code(&f.value))).collect::<String>();
        }
        if !d.missing.is_empty() {
            out += "\nNot seen, which lowered the confidence:\n\n";
            out += &d.missing.iter().map(|m| format!("- {}\n", text(m))).collect::<String>();
        }
        out
    }

    fn diagnosis_part(&self) -> String {
        let Some(d) = &self.diagnosis else { return "\n## Diagnosis\n\nNone was made.\n".into() };
        let enough = if d.confidence >= Confidence::TO_ACT { "enough to act" } else { "too little to act" };
        let mut out = format!("\n## Diagnosis\n\n{}, confidence {} ({enough}): {}\n", code(&d.class), d.confidence, text(&d.summary));
        if !d.explained.is_empty() {
            out += &format!("\n| class | amount | {} |\n| --- | ---: | ---: |\n", explain::of_what(&d.explained));
            for e in &d.explained {
                out += &format!("| {} | {} | {} |\n", code(&e.class), explain::amount(&d.explained, e.amount), share(e.share));
            }
        }
        out
    }

    fn steps_part(&self) -> String {
        if self.steps.is_empty() {
            return "\n## Steps\n\nNone was planned.\n".into();
        }
        let mut out = String::from("\n## Steps\n\n| step | what | outcome | expected | freed | deviation | inodes | left alone |\n");
        out += "| --- | --- | --- | ---: | ---: | ---: | ---: | --- |\n";
        out += &self.steps.iter().map(row).collect::<String>();
        let details: String = self.steps.iter().map(detail).collect();
        if !details.is_empty() {
            out += &format!("\n{details}");
        }
        out
    }

    fn follow_up_part(&self) -> String {
        let mut out = String::from("\n## Follow-ups\n\n");
        if let Some(reason) = &self.escalation {
            out += &format!("To be decided by a person: {}\n\n", text(reason));
        }
        for follow_up in &self.follow_ups {
            out += &format!("{}:\n\n{}\n", sentence(&text(&follow_up.why)), commands(&[&follow_up.command]));
        }
        out.truncate(out.trim_end().len());
        out + "\n"
    }
}

pub(crate) fn expected(s: &Told) -> String {
    match s.expected_bytes.filter(|bytes| bytes.0 > 0) {
        Some(bytes) if s.estimate => format!("~{bytes}"),
        Some(bytes) => bytes.to_string(),
        None => "-".into(),
    }
}

/// Freed bytes, deviation, inodes and what was left alone; dashes where there is no effect.
pub(crate) fn real(s: &Told) -> [String; 4] {
    let dash = || "-".to_owned();
    let deviation =
        s.freed.filter(|_| s.expected_bytes.is_some_and(|e| e.0 > 0)).map(|f| deviation_text(s.expected_bytes.unwrap_or_default().0, f.0));
    let skipped: Vec<String> = s.skipped.iter().map(|(reason, n)| format!("{n} {}", steps::skip(*reason))).collect();
    [
        // A limit or a restart frees nothing on a disk, and is not meant to.
        s.freed.filter(|freed| freed.0 > 0 || s.expected_bytes.is_some_and(|e| e.0 > 0)).map_or_else(dash, |b| b.to_string()),
        deviation.unwrap_or_else(dash),
        s.inodes.map_or_else(dash, super::super::human::thousands),
        if skipped.is_empty() { dash() } else { skipped.join(", ") },
    ]
}

fn row(s: &Told) -> String {
    let [freed, deviation, inodes, skipped] = real(s);
    format!(
        "| {}.{} | {} | {} | {} | {freed} | {deviation} | {inodes} | {skipped} |\n",
        s.round,
        s.step,
        steps::title(s.kind),
        s.fate,
        expected(s)
    )
}

fn detail(s: &Told) -> String {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(s.does.as_deref().map(text));
    lines.extend(s.available_delta.map(|d| format!("available space moved by {}", signed(d))));
    lines.extend(s.done.map(|n| format!("{} acted on", count(n, "object"))));
    lines.extend(s.notes.iter().map(|n| text(n)));
    lines.extend(s.not_known.iter().map(|why| format!("what it did is not known: {}", text(why))));
    lines.extend(
        s.refused
            .iter()
            .map(|r| format!("refused, {}: {}; what would change it: {}", code(r.reason.as_str()), text(&r.detail), text(r.would_change))),
    );
    lines.extend(s.examples.iter().map(|e| format!("left alone: {}, {}", code(&e.what.to_string()), steps::skip(e.reason))));
    lines.extend(s.undo.as_ref().map(|u| format!("undo: {}", text(&steps::undo(u)))));
    let body: String = lines.iter().map(|l| format!("  - {l}\n")).collect();
    format!("- Step {}.{}\n{body}", s.round, s.step)
}
