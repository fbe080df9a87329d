//! What `byteportctl top` shows, before anything knows how large the screen is: sentences, figures and their order.

mod curve;
mod events;
mod head;
#[cfg(test)]
pub(crate) mod made_up;
mod panes;
#[cfg(test)]
mod tests;
mod trends;

use super::human::clean;
use super::paint::{Paint, Tone};
use super::table::{Cell, Table, cell};
use crate::model::Observed;
use crate::wire::local::Top;
pub use curve::Curve;
pub use trends::Span;

/// How many panes there are.
pub const PANES: usize = 7;

/// One moment, ready to be laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Lines of a few cells each.
    pub head: Vec<Vec<Cell>>,
    pub pressure: Section,
    pub panes: [Pane; PANES],
}

/// What is looked at together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pane {
    pub name: &'static str,
    /// A few words beside the name: `214, 2 failed`.
    pub sum: Cell,
    pub sections: Vec<Section>,
}

impl Pane {
    fn unknown(name: &'static str, why: String) -> Self {
        Self { name, sum: cell("unknown").tone(Tone::Warn), sections: vec![Section { columns: &[], rows: vec![], note: why }] }
    }
}

/// A table with what is to be said below it; either may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub columns: &'static [Column],
    pub rows: Vec<Vec<Cell>>,
    pub note: String,
}

impl Section {
    /// Whether a column's cells are figures: they stand to the right, and half of one is another figure.
    pub fn is_figure(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row.get(column).is_some_and(|cell| cell.right))
    }

    /// The columns' names, each as its cells stand: a curve ends with the newest.
    pub fn heads(&self) -> Vec<Cell> {
        let is_curve = |i: usize| self.rows.iter().any(|row| row.get(i).is_some_and(|cell| cell.curve.is_some()));
        let right = |i| self.is_figure(i) || is_curve(i);
        self.columns.iter().enumerate().map(|(i, c)| Cell { right: right(i), ..cell(c.name).tone(Tone::Dim) }).collect()
    }
}

/// The first column of a section is a name, and gives way first when it is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// What goes first where there is no room: the highest number. 0 stays.
    pub drop: u8,
}

const fn column(name: &'static str, drop: u8) -> Column {
    Column { name, drop }
}

pub fn board(top: &Top, span: Span) -> Board {
    Board {
        head: head::head(top),
        pressure: head::pressure(top, span),
        panes: [
            panes::filesystems(top),
            panes::units(top),
            panes::processes(top),
            panes::cgroups(top),
            panes::signals(top),
            trends::trends(top, &[span]),
            events::events(top),
        ],
    }
}

/// Everything at once, without a screen.
pub fn top(top: &Top, paint: Paint) -> String {
    let board = board(top, Span::QuarterHour);
    let trends = trends::trends(top, &[Span::QuarterHour, Span::SixHours]);
    let mut out = String::new();
    for line in &board.head {
        let cells: Vec<_> = line.iter().map(|cell| paint.tone(cell.tone, &cell.text)).collect();
        out += &format!("{}\n", cells.join("  "));
    }
    out += &format!("\n{}", section(&board.pressure, 0, paint));
    for pane in &board.panes {
        let pane = if pane.name == trends.name { &trends } else { pane };
        out += &format!("\n{} ({})\n", paint.title(pane.name), paint.tone(pane.sum.tone, &pane.sum.text));
        let parts = pane.sections.iter().map(|part| section(part, 2, paint)).filter(|text| !text.is_empty());
        out += &parts.collect::<Vec<_>>().join("\n");
    }
    out
}

fn section(section: &Section, indent: usize, paint: Paint) -> String {
    let mut out = String::new();
    if !section.rows.is_empty() {
        let mut table = Table::indented(indent);
        table.row(section.heads());
        for row in &section.rows {
            table.row(row.iter().cloned());
        }
        out += &table.render(paint);
    }
    if !section.note.is_empty() {
        out += &format!("{}{}\n", " ".repeat(indent), section.note);
    }
    out
}

/// The value, or the sentence that says why there is none.
fn known<T>(observed: &Observed<T>) -> Result<&T, String> {
    match observed {
        Observed::Value { value, .. } => Ok(value),
        Observed::Unavailable { why } => Err(format!("unknown: {}", clean(why))),
    }
}

/// Eight places: `[###-----]`.
fn bar(percent: f64) -> String {
    // What is no number fills nothing: the figure beside it says what it is.
    let full = (percent * 0.08).round().clamp(0.0, 8.0) as usize;
    format!("[{}{}]", "#".repeat(full), "-".repeat(8 - full))
}

/// A name of any length, cut in its middle: what a path ends with tells more than what it goes through.
fn name(text: &str) -> String {
    within(text, 64)
}

fn within(text: &str, most: usize) -> String {
    let end = most * 3 / 8;
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= most {
        return text.to_owned();
    }
    chars[..most - end - 1].iter().chain(&['…']).chain(&chars[chars.len() - end..]).collect()
}
