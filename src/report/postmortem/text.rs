//! The postmortem for a terminal.

use super::super::escalation::commands;
use super::super::human::{clean, sentence, utc};
use super::super::incidents::tone;
use super::super::paint::{Paint, Tone};
use super::super::steps;
use super::super::table::{Table, cell, figure};
use super::Postmortem;
use super::markdown::{expected, real};
use crate::model::Seconds;

impl Postmortem {
    pub fn text(&self, paint: Paint) -> String {
        let head = paint.title(&clean(&format!("{} on {}", self.id, self.subject)));
        let mut out = format!("{head}: {}\n", paint.tone(tone(self.outcome), steps::ended(self.outcome)));
        if !self.summary.is_empty() {
            out += &format!("{}\n", sentence(&clean(&self.summary)));
        }
        out += &format!("opened {}", utc(self.opened.wall));
        if let (Some(closed), Some(lasted)) = (&self.closed, self.lasted_s) {
            out += &format!(", closed {} after {}", utc(closed.wall), Seconds(lasted.max(0.0)));
        }
        out.push('\n');
        if let Some(doubt) = &self.record_doubt {
            out += &format!("{}\n", paint.tone(Tone::Bad, format!("this record is not to be trusted: {}", clean(doubt))));
        }

        out += &format!("\n{}\n", paint.title("Timeline (UTC)"));
        let mut table = Table::indented(2);
        for m in &self.timeline {
            table.row([
                cell(m.at.strftime("%H:%M:%S").to_string()),
                figure(format!("{:+.1} s", m.plus_s)).tone(Tone::Dim),
                cell(clean(&m.what)),
            ]);
        }
        out += &table.render(paint);

        if !self.steps.is_empty() {
            out += &format!("\n{}\n", paint.title("Steps"));
            let mut table = Table::indented(2).head(&["STEP", "WHAT", "OUTCOME", "EXPECTED", "FREED", "DEVIATION", "INODES", "LEFT ALONE"]);
            for s in &self.steps {
                let [freed, deviation, inodes, skipped] = real(s);
                table.row([
                    cell(format!("{}.{}", s.round, s.step)),
                    cell(steps::title(s.kind)),
                    cell(s.fate),
                    figure(expected(s)),
                    figure(freed),
                    figure(deviation),
                    figure(inodes),
                    cell(skipped),
                ]);
            }
            out += &table.render(paint);
        }
        if let Some(verdict) = &self.verdict {
            out += &format!("\n{}\n  {}\n", paint.title("Verdict"), sentence(&steps::verdict(verdict)));
        }
        out += &format!("\n{}\n  {}\n", paint.title("Root cause"), clean(&self.root_cause));
        out += &format!("\n{}\n", paint.title("Follow-ups"));
        if let Some(reason) = &self.escalation {
            out += &format!("  To be decided by a person: {}\n", clean(reason));
        }
        out + &commands(&self.follow_ups, paint)
    }
}
