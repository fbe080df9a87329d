//! Columns for a terminal.

use super::paint::{Paint, Tone};
use super::top::Curve;

/// Rows of cells; the last column is never padded. Widths count characters, so names in wide scripts push their row a little.
#[derive(Debug, Default)]
pub(super) struct Table {
    indent: usize,
    rows: Vec<Vec<Cell>>,
}

/// Clean text for one place of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub tone: Tone,
    /// A figure: to the right of its column.
    pub right: bool,
    /// Where it can be drawn in another width: `text` is it in one.
    pub curve: Option<Curve>,
}

/// Text to the left, already clean.
pub(super) fn cell(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), tone: Tone::Plain, right: false, curve: None }
}

/// A figure: to the right.
pub(super) fn figure(text: impl Into<String>) -> Cell {
    Cell { right: true, ..cell(text) }
}

impl Cell {
    pub(super) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

impl Table {
    pub(super) fn indented(indent: usize) -> Self {
        Self { indent, rows: Vec::new() }
    }

    pub(super) fn head(mut self, names: &[&str]) -> Self {
        self.rows.push(names.iter().map(|n| cell(*n).tone(Tone::Dim)).collect());
        self
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn render(&self, paint: Paint) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| self.rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.text.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(self.indent);
            for (i, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[i] - cell.text.chars().count());
                let text = paint.tone(cell.tone, &cell.text);
                match (cell.right, i + 1 == row.len()) {
                    (true, _) => line.extend([pad.as_str(), &text, "  "]),
                    (false, true) => line.push_str(&text),
                    (false, false) => line.extend([text.as_str(), &pad, "  "]),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}
