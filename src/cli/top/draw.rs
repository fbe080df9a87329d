//! One frame: the head, the pressure, and one pane or, where there is room, all five.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::fit::{joined, lines, style, width};
use super::view::View;
use crate::report::{Pane, Tone};

/// From this size on all panes are shown at once.
const ALL_PANES: (u16, u16) = (118, 36);

const HELP: &[&str] = &[
    "1-5, Tab, left, right   choose a pane",
    "up, down, j, k          scroll it by a line",
    "PgUp, PgDn, Home, End   scroll it further",
    "p                       pause, and go on",
    "?                       this help",
    "q, Ctrl-C               end",
    "",
    "PRESSURE is the share of time in which some or all tasks waited.",
    "FULL IN is the time until only root can write, at the growth",
    "of the last half hour; - where it does not grow, is steady, or",
    "has been watched for less than five minutes.",
];

pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let area = frame.area();
    let room = usize::from(area.width);
    let head: Vec<Line<'_>> = view.board.head.iter().map(|cells| joined(cells, room, view.colour)).collect();
    let pressure = lines(&view.board.pressure, room, view.colour);
    let [top, middle, body, foot] = Layout::vertical([
        Constraint::Length(head.len() as u16),
        Constraint::Length(pressure.len() as u16 + 1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    frame.render_widget(Paragraph::new(pressure), middle);
    if area.width >= ALL_PANES.0 && area.height >= ALL_PANES.1 {
        all(frame, view, body);
    } else {
        one(frame, view, body);
    }
    frame.render_widget(Paragraph::new(footer(view)), foot);
    if view.help {
        help(frame, area);
    }
}

/// The panes' names, and the chosen one below them.
fn one(frame: &mut Frame<'_>, view: &mut View, area: Rect) {
    let [names, area] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let mut spans = Vec::new();
    for (i, pane) in view.board.panes.iter().enumerate() {
        // Brackets, because reversed video is no more than colour is.
        let (text, style) = if i == view.pane {
            (format!("[{} {}]", i + 1, pane.name), chosen())
        } else {
            (format!(" {} {} ", i + 1, pane.name), Style::new())
        };
        spans.push(Span::styled(text, style));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    if let Some(pane) = view.board.panes.get(view.pane) {
        let left = usize::from(names.width).saturating_sub(used + 1);
        if width(&pane.sum.text) <= left {
            spans.push(Span::styled(format!(" {}", pane.sum.text), style(pane.sum.tone, view.colour)));
        }
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), names);
    content(frame, view, view.pane, area);
}

/// Filesystems beside units, processes beside cgroups, signals below them over the whole width.
fn all(frame: &mut Frame<'_>, view: &mut View, area: Rect) {
    let bands: [Rect; 3] = Layout::vertical([Constraint::Fill(2), Constraint::Fill(2), Constraint::Fill(1)]).spacing(1).areas(area);
    let half = |band: Rect| -> [Rect; 2] { Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(band) };
    let ([a, b], [c, d]) = (half(bands[0]), half(bands[1]));
    for (i, area) in [a, b, c, d, bands[2]].into_iter().enumerate() {
        let [name, area] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        if let Some(Pane { name: text, sum, .. }) = view.board.panes.get(i) {
            let title = if i == view.pane {
                Span::styled(format!("[{} {text}]", i + 1), chosen())
            } else {
                Span::styled(format!(" {} {text} ", i + 1), style(Tone::Strong, view.colour))
            };
            let line = Line::from(vec![title, Span::raw(" "), Span::styled(sum.text.clone(), style(sum.tone, view.colour))]);
            frame.render_widget(Paragraph::new(line), name);
        }
        content(frame, view, i, area);
    }
}

fn content(frame: &mut Frame<'_>, view: &mut View, pane: usize, area: Rect) {
    let mut all: Vec<Line<'_>> = Vec::new();
    for section in view.board.panes.get(pane).into_iter().flat_map(|p| &p.sections) {
        let lines = lines(section, usize::from(area.width), view.colour);
        if !all.is_empty() && !lines.is_empty() {
            all.push(Line::default());
        }
        all.extend(lines);
    }
    let height = usize::from(area.height);
    let Some(scroll) = view.scroll.get_mut(pane) else { return };
    *scroll = (*scroll).min(all.len().saturating_sub(height));
    let below = all.len().saturating_sub(*scroll + height);
    let mut shown: Vec<_> = all.into_iter().skip(*scroll).take(height).collect();
    if below > 0
        && let Some(last) = shown.last_mut()
    {
        *last = Line::styled(format!("  {} more below", below + 1), style(Tone::Dim, view.colour));
    }
    frame.render_widget(Paragraph::new(shown), area);
}

fn footer(view: &View) -> Line<'static> {
    let mut spans = Vec::new();
    if view.paused {
        spans.push(Span::styled(" PAUSED ", chosen()));
    }
    match &view.trouble {
        Some(why) => spans.push(Span::styled(format!(" NOT THE NEWEST: {why}"), style(Tone::Bad, view.colour))),
        None => spans.push(Span::styled(" q quit  Tab 1-5 panes  j k scroll  p pause  ? help", style(Tone::Dim, view.colour))),
    }
    Line::from(spans)
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let wide = HELP.iter().map(|line| line.len()).max().unwrap_or(0) as u16 + 4;
    let high = HELP.len() as u16 + 2;
    let place = Rect {
        x: area.x + area.width.saturating_sub(wide) / 2,
        y: area.y + area.height.saturating_sub(high) / 2,
        width: wide.min(area.width),
        height: high.min(area.height),
    };
    let around = Style::new().add_modifier(Modifier::REVERSED);
    let line = |text: &str| Line::raw(format!("  {text:<width$}", width = usize::from(wide) - 2));
    let text: Vec<_> = [""].iter().chain(HELP).chain(&[""]).map(|text| line(text)).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(text).style(around), place);
}

fn chosen() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::is_unprintable;
    use crate::report::top_made_up::{troubled, unknown};
    use crate::report::{self, Paint};
    use crate::wire::local::Top;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::style::Color;

    fn frame(view: &mut View, width: u16, height: u16) -> (String, bool) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer();
        let colours = buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        let rows = buffer.content().chunks(usize::from(width).max(1));
        let text = rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned() + "\n").collect();
        (text, colours)
    }

    fn shown(top: &Top, pane: usize, width: u16, height: u16) -> String {
        let mut view = View::new(top, true);
        view.pane = pane;
        frame(&mut view, width, height).0
    }

    /// `UPDATE_EXPECT=1` writes them anew.
    fn expect(file: &str, actual: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/top").join(file);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, actual).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(expected == actual, "{file} differs; UPDATE_EXPECT=1 writes it anew:\n{actual}");
    }

    #[test]
    fn frames_look_as_committed() {
        for pane in 0..5 {
            expect(&format!("80x24-{}.txt", pane + 1), &shown(&troubled(), pane, 80, 24));
        }
        expect("120x40.txt", &shown(&troubled(), 2, 120, 40));
        expect("200x50.txt", &shown(&troubled(), 0, 200, 50));
        expect("80x24-unknown.txt", &shown(&unknown(), 0, 80, 24));
        let mut view = View::new(&troubled(), true);
        (view.help, view.paused, view.trouble) = (true, true, Some("cannot reach the agent".into()));
        expect("80x24-help.txt", &frame(&mut view, 80, 24).0);
    }

    #[test]
    fn the_plain_text_reads_as_committed() {
        expect("once.txt", &report::top(&troubled(), Paint::Plain));
        expect("unknown.txt", &report::top(&unknown(), Paint::Plain));
    }

    /// JSON is for programs: what it says is promised.
    #[test]
    fn the_json_comes_back_as_it_was_committed() {
        let json = serde_json::to_string_pretty(&troubled()).unwrap() + "\n";
        expect("top.json", &json);
        assert_eq!(serde_json::from_str::<Top>(&json).unwrap(), troubled());
    }

    /// No size breaks it, and no name reaches the terminal as it is.
    #[test]
    fn every_size_is_drawn_and_nothing_hostile_comes_through() {
        for (width, height) in [(1, 1), (1, 50), (5, 3), (20, 10), (79, 23), (80, 24), (118, 36), (200, 50), (400, 200)] {
            for pane in 0..5 {
                let mut view = View::new(&troubled(), true);
                (view.pane, view.scroll[pane], view.help) = (pane, usize::MAX, pane == 3);
                let (text, _) = frame(&mut view, width, height);
                assert!(!text.contains(|c| c != '\n' && is_unprintable(c)), "{width}x{height} {pane}:\n{text}");
            }
        }
    }

    #[test]
    fn without_colour_there_is_none_and_the_text_is_the_same() {
        let mut view = View::new(&troubled(), false);
        let (plain, colours) = frame(&mut view, 120, 40);
        assert!(!colours);
        view.colour = true;
        assert_eq!(frame(&mut view, 120, 40), (plain, true));
    }

    #[test]
    fn scrolling_ends_where_the_list_does() {
        let mut view = View::new(&troubled(), true);
        view.pane = 3;
        let first = frame(&mut view, 80, 16).0;
        assert!(first.contains("more below"), "{first}");
        view.scroll[3] = usize::MAX;
        let last = frame(&mut view, 80, 16).0;
        assert!(!last.contains("more below") && last.contains("/user.slice"), "{last}");
        assert!(view.scroll[3] < 20, "the next key up moves at once");
    }
}
