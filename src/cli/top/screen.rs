//! The terminal, taken over and given back: at the end, after an error, after a panic, and when somebody ends the program.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::signal::unix::{SignalKind, signal};

/// While it lives, the terminal is ours.
pub(super) struct Screen<'a> {
    terminal: Terminal<CrosstermBackend<&'a mut dyn Write>>,
    must_end: Arc<AtomicBool>,
}

impl<'a> Screen<'a> {
    pub fn enter(out: &'a mut dyn Write) -> io::Result<Self> {
        // First, so that there is no moment in which a signal would leave the terminal as it is.
        let must_end = watch_signals()?;
        restore_on_panic();
        enable_raw_mode()?;
        let mut backend = CrosstermBackend::new(out);
        let begun = execute!(backend, EnterAlternateScreen).and_then(|()| Terminal::new(backend));
        match begun {
            Ok(terminal) => Ok(Self { terminal, must_end }),
            Err(e) => {
                restore();
                Err(e)
            }
        }
    }

    /// Somebody asked for the end of the program.
    pub fn must_end(&self) -> bool {
        self.must_end.load(Ordering::Relaxed)
    }

    pub fn draw(&mut self, render: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(render).map(|_| ())
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        restore();
    }
}

/// Waits for a key, at most `patience`, and says whether there is still a terminal that one could come from. Asked before every look for
/// events: at the end of a terminal that was closed, the look would go on for ever.
pub(super) fn is_there(patience: Duration) -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    // A signal, such as that of a resize, ends the wait; what came is looked for by the caller.
    let waited = poll(&mut fds, Timespec::try_from(patience).ok().as_ref());
    waited.is_err() || !fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}

/// A terminal that is gone cannot be given back, and need not be.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// What a panic says is for the screen that a person sees afterwards. Only for the thread that draws: it alone may write to stdout.
fn restore_on_panic() {
    let (draws, before) = (std::thread::current().id(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == draws {
            restore();
        }
        before(info);
    }));
}

fn watch_signals() -> io::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let inside = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    drop(inside);
    let must_end = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&must_end);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        told.store(true, Ordering::Relaxed);
    })?;
    Ok(must_end)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const ON_PURPOSE: &str = "BYTEPORT_TESTS_PANIC_ON_PURPOSE";

    /// Run by the test below, in a terminal of its own; else it does nothing.
    #[test]
    fn panics_while_it_draws() {
        if std::env::var_os(ON_PURPOSE).is_none() {
            return;
        }
        let mut out = io::stdout();
        let mut screen = Screen::enter(&mut out).unwrap();
        drop(screen.draw(|_| panic!("on purpose")));
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_is_read_there() {
        let me = std::env::current_exe().unwrap();
        let run = format!("{} --exact cli::top::screen::tests::panics_while_it_draws --nocapture; stty -a", me.display());
        let out = Command::new("script").args(["-qec", &run, "/dev/null"]).env(ON_PURPOSE, "1").output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what:?} in {text:?}"));
        assert!(at("\x1b[?1049h") < at("\x1b[?1049l"), "{text:?}");
        assert!(at("\x1b[?1049l") < at("on purpose"), "the message is on the screen that stays: {text:?}");
        let after = &text[at("speed")..];
        assert!(after.contains(" icanon") && after.contains(" echo "), "{after:?}");
    }
}
