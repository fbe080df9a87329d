//! Columns and times for a terminal.

use crate::report::clean;

/// A head and rows, each as wide as its widest cell; nothing in a cell can break a line or colour a terminal.
pub(super) fn columns<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> =
        std::iter::once(head.map(str::to_owned)).chain(rows.into_iter().map(|row| row.map(|cell| clean(&cell)))).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// `2026-11-21 21:55:06 UTC`.
pub(super) fn utc(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

pub(super) fn utc_or(at: Option<jiff::Timestamp>, never: &str) -> String {
    at.map_or_else(|| never.to_owned(), utc)
}

/// `1 row`, `3 rows`.
pub(super) fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_lines_stay_lines() {
        let rows = [["a", "1\n2"], ["long", ""]].map(|row| row.map(String::from));
        assert_eq!(columns(["ID", "N"], rows), "ID    N\na     1\\x0a2\nlong\n");
    }
}
