//! One frame: the head, the pressure, and one pane or, where there is room, all of them.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::fit::{joined, lines, style, width};
use super::view::View;
use crate::report::{Cell, Pane, Tone};

/// From this size on all panes are shown at once.
const ALL_PANES: (u16, u16) = (118, 40);

/// No wider than the narrowest terminal that anybody has.
const HELP: &[&str] = &[
    "1-7 Tab left right  choose a pane",
    "j k up down PgUp PgDn Home End",
    "                    scroll it",
    "t        last 15 min or last 6 h",
    "p        pause, and go on",
    "?        this help",
    "q Ctrl-C end",
    "",
    "PRESSURE is the share of time in",
    "which some or all tasks waited.",
    "FULL IN is until only root can write",
    "at the growth of half an hour; -",
    "where it is steady, does not grow or",
    "was watched for less than 5 min.",
    "A curve shows the highest of each",
    "stretch of time, a blank what is not",
    "known. Use of memory and disks is",
    "drawn from its lowest to its highest,",
    "the rest from 0 to its highest.",
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
    frame.render_widget(Paragraph::new(footer(view, room)), foot);
    if view.help {
        help(frame, area);
    }
}

/// The panes' names, as far as there is room for them, and the chosen one below.
fn one(frame: &mut Frame<'_>, view: &mut View, area: Rect) {
    let room = usize::from(area.width);
    let sum = view.board.panes.get(view.pane).map(|pane| pane.sum.clone());
    let beside = sum.as_ref().map_or(0, |sum| width(&sum.text) + 1);
    let wide = |spans: &[Span<'_>]| spans.iter().map(Span::width).sum::<usize>();
    let mut names = names(view, true);
    if wide(&names) > room {
        names = self::names(view, false);
    }
    let fits = wide(&names) + beside <= room;
    let mut lines = vec![Line::from(names)];
    if let (Some(sum), Some(line)) = (sum, lines.first_mut()) {
        if fits {
            line.push_span(Span::styled(format!(" {}", sum.text), style(sum.tone, view.colour)));
        } else {
            let pane = view.board.panes.get(view.pane).map_or("", |pane| pane.name);
            lines.push(joined(&[Cell { text: format!("{pane}: {}", sum.text), ..sum }], room, view.colour));
        }
    }
    let [top, area] = Layout::vertical([Constraint::Length(lines.len() as u16), Constraint::Min(0)]).areas(area);
    frame.render_widget(Paragraph::new(lines), top);
    content(frame, view, view.pane, area);
}

/// `all`: of those that are not chosen as well, else only their numbers.
fn names(view: &View, all: bool) -> Vec<Span<'static>> {
    let name = |(i, pane): (usize, &Pane)| match (i == view.pane, all) {
        // Brackets, because reversed video is no more than colour is.
        (true, _) => Span::styled(format!("[{} {}]", i + 1, pane.name), chosen()),
        (false, true) => Span::raw(format!(" {} {} ", i + 1, pane.name)),
        (false, false) => Span::raw(format!(" {} ", i + 1)),
    };
    view.board.panes.iter().enumerate().map(name).collect()
}

/// What belongs together side by side; the events, whose lines are long, below over the whole width.
fn all(frame: &mut Frame<'_>, view: &mut View, area: Rect) {
    let bands: [Rect; 4] = Layout::vertical([4, 3, 2, 2].map(Constraint::Fill)).spacing(1).areas(area);
    let half = |band: Rect| -> [Rect; 2] { Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(band) };
    let ([filesystems, trends], [processes, cgroups], [units, signals]) = (half(bands[0]), half(bands[1]), half(bands[2]));
    for (i, area) in [filesystems, units, processes, cgroups, signals, trends, bands[3]].into_iter().enumerate() {
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

fn footer(view: &View, room: usize) -> Line<'static> {
    const KEYS: [&str; 6] = [" q quit", "  ? help", "  1-7 panes", "  t 15 min or 6 h", "  j k scroll", "  p pause"];
    let mut spans = Vec::new();
    if view.paused {
        spans.push(Span::styled(" PAUSED ", chosen()));
    }
    match &view.trouble {
        Some(why) => spans.push(Span::styled(format!(" NOT THE NEWEST: {why}"), style(Tone::Bad, view.colour))),
        None => {
            let mut left = room.saturating_sub(spans.iter().map(Span::width).sum());
            let fits = |key: &&str| left.checked_sub(key.len()).inspect(|rest| left = *rest).is_some();
            let keys: String = KEYS.into_iter().take_while(fits).collect();
            spans.push(Span::styled(keys, style(Tone::Dim, view.colour)));
        }
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
    use crate::report::{self, PANES, Paint};
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
        let mut view = View::new(top.clone(), true);
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
        for pane in 0..PANES {
            expect(&format!("80x24-{}.txt", pane + 1), &shown(&troubled(), pane, 80, 24));
        }
        expect("120x40.txt", &shown(&troubled(), 2, 120, 40));
        expect("40x24-trends.txt", &shown(&troubled(), 5, 40, 24));
        expect("40x24-events.txt", &shown(&troubled(), 6, 40, 24));
        expect("200x50.txt", &shown(&troubled(), 0, 200, 50));
        expect("80x24-unknown.txt", &shown(&unknown(), 0, 80, 24));
        let mut view = View::new(troubled(), true);
        (view.help, view.paused, view.trouble) = (true, true, Some("cannot reach the agent".into()));
        expect("80x24-help.txt", &frame(&mut view, 80, 24).0);
        let mut view = View::new(troubled(), true);
        view.pane = 5;
        view.key(ratatui::crossterm::event::KeyCode::Char('t').into());
        expect("80x24-six-hours.txt", &frame(&mut view, 80, 24).0);
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
        for (width, height) in [(1, 1), (1, 50), (5, 3), (20, 10), (40, 24), (79, 23), (80, 24), (118, 36), (200, 50), (400, 200)] {
            for pane in 0..PANES {
                let mut view = View::new(troubled(), true);
                (view.pane, view.scroll[pane], view.help) = (pane, usize::MAX, pane == 3);
                let (text, _) = frame(&mut view, width, height);
                assert!(!text.contains(|c| c != '\n' && is_unprintable(c)), "{width}x{height} {pane}:\n{text}");
            }
        }
    }

    #[test]
    fn without_colour_there_is_none_and_the_text_is_the_same() {
        let mut view = View::new(troubled(), false);
        let (plain, colours) = frame(&mut view, 120, 40);
        assert!(!colours);
        view.colour = true;
        assert_eq!(frame(&mut view, 120, 40), (plain, true));
    }

    /// Whoever has little room still sees which pane it is, and the whole help.
    #[test]
    fn forty_columns_are_enough() {
        for pane in 0..PANES {
            let mut view = View::new(troubled(), false);
            view.pane = pane;
            let name = format!("[{} {}]", pane + 1, view.board.panes[pane].name);
            let (text, _) = frame(&mut view, 40, 24);
            assert!(text.contains(&name) && text.contains("q quit  ? help"), "{text}");
        }
        let mut view = View::new(troubled(), false);
        view.help = true;
        let (text, _) = frame(&mut view, 40, 24);
        assert!(HELP.iter().all(|line| text.contains(line)), "{text}");
    }

    #[test]
    fn scrolling_ends_where_the_list_does() {
        let mut view = View::new(troubled(), true);
        view.pane = 3;
        let first = frame(&mut view, 80, 16).0;
        assert!(first.contains("more below"), "{first}");
        view.scroll[3] = usize::MAX;
        let last = frame(&mut view, 80, 16).0;
        assert!(!last.contains("more below") && last.contains("/user.slice"), "{last}");
        assert!(view.scroll[3] < 20, "the next key up moves at once");
    }
}
