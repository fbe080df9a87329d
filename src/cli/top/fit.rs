//! A section's rows in as many columns of the terminal as there are.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::report::{Cell, Curve, Section, Tone};

/// Text of which this much can be seen is worth its place.
const LEAST: usize = 10;
const GAP: usize = 1;

/// Without colours what is bad is bold.
pub(super) fn style(tone: Tone, colour: bool) -> Style {
    let plain = Style::new();
    match (tone, colour) {
        (Tone::Plain, _) => plain,
        (Tone::Strong, _) => plain.add_modifier(Modifier::BOLD),
        (Tone::Dim, _) => plain.add_modifier(Modifier::DIM),
        (Tone::Good, true) => plain.fg(Color::Green),
        (Tone::Warn, true) => plain.fg(Color::Yellow),
        (Tone::Bad, true) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
        (Tone::Good | Tone::Warn, false) => plain,
        (Tone::Bad, false) => plain.add_modifier(Modifier::BOLD),
    }
}

pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// No wider than that: the end gives way, of names their middle.
fn cut(text: &str, most: usize, keep_end: bool) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let Some(room) = most.checked_sub(1) else { return String::new() };
    let take = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        let fits = |c: &char| {
            used += width(c.encode_utf8(&mut [0; 4]));
            used <= room
        };
        chars.take_while(fits).collect::<String>()
    };
    let tail: String = take(&mut text.chars().rev(), if keep_end { room / 2 } else { 0 }).chars().rev().collect();
    format!("{}…{tail}", take(&mut text.chars(), room - width(&tail)))
}

/// Header, rows, and what is said below them.
pub(super) fn lines(section: &Section, room: usize, colour: bool) -> Vec<Line<'static>> {
    let mut lines = Vec::with_capacity(section.rows.len() + 2);
    if !section.rows.is_empty() {
        let columns = columns(section, room);
        let heads = section.heads();
        lines.extend([&heads].into_iter().chain(&section.rows).map(|row| line(row, &columns, colour)));
    }
    if !section.note.is_empty() {
        lines.push(Line::raw(cut(&section.note, room, false)));
    }
    lines
}

/// Which columns are shown, and how wide.
fn columns(section: &Section, room: usize) -> Vec<(usize, usize)> {
    let natural = |i: usize| {
        let wide = |cell: &Cell| cell.curve.as_ref().map_or_else(|| width(&cell.text), Curve::most);
        let cells = section.rows.iter().filter_map(|row| row.get(i)).map(wide);
        cells.chain([width(section.columns[i].name)]).max().unwrap_or(0)
    };
    // Only text is cut, and no head.
    let least = |i: usize| if section.is_figure(i) { natural(i) } else { natural(i).min(LEAST.max(width(section.columns[i].name))) };
    let mut shown: Vec<usize> = (0..section.columns.len()).collect();
    let needed = |shown: &[usize]| shown.iter().map(|i| least(*i) + GAP).sum::<usize>().saturating_sub(GAP);
    while needed(&shown) > room {
        let Some(goes) = shown.iter().copied().filter(|i| section.columns[*i].drop > 0).max_by_key(|i| section.columns[*i].drop) else {
            break;
        };
        shown.retain(|i| *i != goes);
    }
    let mut left = room.saturating_sub(needed(&shown));
    let mut give = |i: usize| {
        let more = (natural(i) - least(i)).min(left);
        left -= more;
        least(i) + more
    };
    shown.into_iter().map(|i| (i, give(i))).collect()
}

fn line(row: &[Cell], columns: &[(usize, usize)], colour: bool) -> Line<'static> {
    let mut spans = Vec::with_capacity(columns.len() * 2);
    for (i, wide) in columns {
        let Some(cell) = row.get(*i) else { continue };
        let text = cell.curve.as_ref().map_or_else(|| cut(&cell.text, *wide, *i == 0), |curve| curve.drawn(*wide));
        let pad = " ".repeat(wide.saturating_sub(width(&text)));
        if !spans.is_empty() {
            spans.push(Span::raw(" ".repeat(GAP)));
        }
        let (before, after) = if cell.right { (pad, String::new()) } else { (String::new(), pad) };
        spans.extend([Span::raw(before), Span::styled(text, style(cell.tone, colour)), Span::raw(after)]);
    }
    Line::from(spans)
}

/// Cells one after another, for as long as there is room.
pub(super) fn joined(cells: &[Cell], room: usize, colour: bool) -> Line<'static> {
    let mut spans: Vec<Span<'static>> = Vec::with_capacity(cells.len() * 2);
    let mut left = room;
    for cell in cells {
        if !spans.is_empty() {
            spans.push(Span::raw("  "));
            left = left.saturating_sub(2);
        }
        let text = cut(&cell.text, left, false);
        left = left.saturating_sub(width(&text));
        spans.push(Span::styled(text, style(cell.tone, colour)));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Span as Back, board, top_made_up::troubled};
    use proptest::prelude::*;

    #[test]
    fn cutting_counts_columns_not_characters() {
        for (text, most, keep_end, expected) in [
            ("abc", 3, false, "abc"),
            ("abcd", 3, false, "ab…"),
            ("abcdefgh", 5, true, "ab…gh"),
            ("日本語日本語", 5, false, "日本…"),
            ("日本語日本語", 6, true, "日…語"),
            ("abc", 1, true, "…"),
            ("abc", 0, true, ""),
        ] {
            assert_eq!(cut(text, most, keep_end), expected, "{text} in {most}");
        }
    }

    #[test]
    fn what_matters_least_goes_first_and_figures_are_whole() {
        let board = board(&troubled(), Back::QuarterHour);
        let fs = &board.panes[0].sections[0];
        let heads = |room| columns(fs, room).into_iter().map(|(i, _)| fs.columns[i].name).collect::<Vec<_>>().join(" ");
        assert_eq!(heads(200), "MOUNT USED  AVAIL INODES GROWTH FULL IN REMARK");
        assert_eq!(heads(80), "MOUNT USED  AVAIL INODES GROWTH FULL IN REMARK");
        assert_eq!(heads(60), "MOUNT USED  AVAIL FULL IN REMARK");
        assert_eq!(heads(20), "MOUNT USED");
        assert_eq!(heads(1), "MOUNT USED", "what stays is clipped by the screen");
        for room in 20..200 {
            for line in lines(fs, room, true) {
                assert!(line.width() <= room, "{room}: {line}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_is_wider_than_its_place(text in "\\PC{0,40}", most in 0usize..40, keep_end: bool) {
            prop_assert!(width(&cut(&text, most, keep_end)) <= most);
        }
    }
}
