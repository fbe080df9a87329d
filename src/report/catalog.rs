//! What BytePort knows: its runbooks, as the registry declares them.

use serde::Serialize;

use super::human::count;
use super::paint::{Paint, Tone};
use super::table::{Table, cell};

#[derive(Debug, Clone, Serialize)]
pub struct CatalogEntry {
    pub id: String,
    /// Schema number of its evidence.
    pub schema: u32,
    pub signals: Vec<Term>,
    pub classes: Vec<Term>,
    /// Its manual page, Markdown.
    pub page: &'static str,
}

/// A signal or a class.
#[derive(Debug, Clone, Serialize)]
pub struct Term {
    pub name: &'static str,
    /// When a signal is raised and when it clears; what a class means.
    pub meaning: String,
    /// A class that is always handed to a person.
    pub always_escalates: bool,
}

pub fn catalog(entries: &[CatalogEntry], paint: Paint) -> String {
    let mut out = String::new();
    for entry in entries {
        out += &format!("{}  evidence schema {}\n", paint.title(&entry.id), entry.schema);
        out += &terms("signals", &entry.signals, paint);
        out += &terms("classes", &entry.classes, paint);
        out.push('\n');
    }
    out + &format!("{}; `byteportctl catalog NAME` prints a runbook's manual page\n", count(entries.len() as u64, "runbook"))
}

fn terms(title: &str, list: &[Term], paint: Paint) -> String {
    let mut table = Table::indented(4);
    for term in list {
        let person = if term.always_escalates { " (always handed to a person)" } else { "" };
        table.row([cell(term.name).tone(Tone::Strong), cell(format!("{}{person}", term.meaning))]);
    }
    format!("  {title}\n{}", table.render(paint))
}
