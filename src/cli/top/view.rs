//! What is looked at, and how keys change it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::cli::client::ClientError;
use crate::report::{Board, PANES, Span, board, clean};
use crate::wire::local::Top;

/// How far Page Up and Page Down go.
const PAGE: usize = 10;

#[derive(Debug)]
pub(super) struct View {
    top: Top,
    span: Span,
    pub board: Board,
    pub pane: usize,
    /// The first line that is shown, of each pane.
    pub scroll: [usize; PANES],
    pub paused: bool,
    pub help: bool,
    /// Why what is shown is not the newest any more.
    pub trouble: Option<String>,
    pub colour: bool,
}

impl View {
    pub fn new(first: Top, colour: bool) -> Self {
        let span = Span::QuarterHour;
        let board = board(&first, span);
        Self { top: first, span, board, pane: 0, scroll: [0; PANES], paused: false, help: false, trouble: None, colour }
    }

    /// An agent that does not answer leaves what was seen last on the screen, and says so.
    pub fn take(&mut self, answer: Result<Top, ClientError>) {
        match answer {
            Ok(_) if self.paused => {}
            Ok(top) => {
                (self.board, self.trouble) = (board(&top, self.span), None);
                self.top = top;
            }
            Err(e) => self.trouble = Some(clean(&e.to_string())),
        }
    }

    /// Whether it was the key to end with.
    pub fn key(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return false;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let panes = self.scroll.len();
        let at = &mut self.scroll[self.pane];
        match key.code {
            KeyCode::Char('c') if control => return true,
            KeyCode::Char(_) if control => {}
            // Whoever asked for help first closes it.
            KeyCode::Char('q') | KeyCode::Esc if self.help => self.help = false,
            KeyCode::Char('q') => return true,
            KeyCode::Char('?' | 'h') => self.help = !self.help,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('t') => {
                self.span = self.span.other();
                self.board = board(&self.top, self.span);
            }
            KeyCode::Char(digit @ '1'..='7') => self.pane = digit as usize - '1' as usize,
            KeyCode::Tab | KeyCode::Right => self.pane = (self.pane + 1) % panes,
            KeyCode::BackTab | KeyCode::Left => self.pane = (self.pane + panes - 1) % panes,
            KeyCode::Down | KeyCode::Char('j') => *at = at.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => *at = at.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => *at = at.saturating_add(PAGE),
            KeyCode::PageUp => *at = at.saturating_sub(PAGE),
            KeyCode::Home | KeyCode::Char('g') => *at = 0,
            KeyCode::End | KeyCode::Char('G') => *at = usize::MAX,
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::top_made_up::{troubled, unknown};

    fn press(view: &mut View, code: KeyCode) -> bool {
        view.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys() {
        let mut view = View::new(troubled(), true);
        for (keys, pane, scroll) in [
            (vec![], 0, 0),
            (vec![KeyCode::Tab], 1, 0),
            (vec![KeyCode::Tab; 5], 6, 0),
            (vec![KeyCode::Tab], 0, 0),
            (vec![KeyCode::BackTab], 6, 0),
            (vec![KeyCode::Char('3'), KeyCode::Down, KeyCode::Char('j')], 2, 2),
            (vec![KeyCode::Up, KeyCode::Char('k'), KeyCode::Up], 2, 0),
            (vec![KeyCode::PageDown], 2, 10),
            (vec![KeyCode::Char('1'), KeyCode::Char('9')], 0, 0),
            // Each pane keeps where it was.
            (vec![KeyCode::Char('3')], 2, 10),
            (vec![KeyCode::End, KeyCode::Down], 2, usize::MAX),
            (vec![KeyCode::Home], 2, 0),
        ] {
            for key in &keys {
                assert!(!press(&mut view, *key));
            }
            assert_eq!((view.pane, view.scroll[view.pane]), (pane, scroll), "{keys:?}");
        }
    }

    #[test]
    fn q_and_control_c_end_and_nothing_else_does() {
        let mut view = View::new(troubled(), true);
        assert!(press(&mut view, KeyCode::Char('q')));
        assert!(view.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!view.key(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL)));
        assert!(!view.key(KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release)));
        assert!(!press(&mut view, KeyCode::Char('c')) && !press(&mut view, KeyCode::Esc));
        // Help is closed first.
        assert!(!press(&mut view, KeyCode::Char('?')) && view.help);
        assert!(!press(&mut view, KeyCode::Char('q')) && !view.help);
    }

    #[test]
    fn a_pause_keeps_what_is_shown_and_silence_is_said() {
        let mut view = View::new(troubled(), true);
        press(&mut view, KeyCode::Char('p'));
        view.take(Ok(unknown()));
        assert_eq!(view.board, board(&troubled(), Span::QuarterHour));
        press(&mut view, KeyCode::Char('p'));
        let silent = || Err(ClientError::Silent { socket: "/run/a\x1b[2J".into(), for_s: 25 });
        view.take(silent());
        assert_eq!(view.board, board(&troubled(), Span::QuarterHour));
        assert!(view.trouble.as_ref().is_some_and(|t| t.contains("has not answered for 25 s") && !t.contains('\x1b')), "{view:?}");
        view.take(Ok(unknown()));
        assert_eq!((view.board == board(&unknown(), Span::QuarterHour), view.trouble.is_none()), (true, true));
    }
}
