//! The terminal, taken over and given back: at the end, after an error, after a panic, and when somebody ends the program.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
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
