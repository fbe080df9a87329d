//! `top`: what the agent sees, live. What is said and in which order is `report::top`; here it is asked for, laid out and steered.

mod draw;
mod feed;
mod fit;
mod screen;
mod view;

use std::time::Duration;

use anyhow::Result;
use ratatui::crossterm::event::{self, Event};

use super::args;
use super::ctx::{Ctx, Done, Misused};
use crate::report::{self, Paint};
use crate::wire::local::Top;
use screen::Screen;
use view::View;

/// How long a key or a signal waits at most.
const TICK: Duration = Duration::from_millis(100);

pub fn run(args: &args::Top, ctx: &mut Ctx<'_>) -> Result<Done> {
    let once = args.once || ctx.json;
    if !once && !ctx.interactive {
        return Err(Misused("top needs a terminal: for one frame as text add --once, for programs --json").into());
    }
    let first: Top = ctx.get("asking the agent", "/v1/top")?;
    if ctx.json {
        return ctx.print_json(&first);
    }
    if once {
        let text = report::top(&first, ctx.paint);
        return ctx.print(&text);
    }
    let answers = feed::start(ctx.client(), args.interval)?;
    let mut view = View::new(first, ctx.paint == Paint::Ansi);
    let mut screen = Screen::enter(ctx.out)?;
    let mut stale = true;
    while !screen.must_end() {
        for answer in answers.try_iter() {
            view.take(answer);
            stale = true;
        }
        if stale {
            screen.draw(|frame| draw::draw(frame, &mut view))?;
            stale = false;
        }
        if !screen::is_there(TICK) {
            break;
        }
        if event::poll(Duration::ZERO)? {
            match event::read()? {
                Event::Key(key) if view.key(key) => break,
                _ => stale = true,
            }
        }
    }
    Ok(Done::Well)
}
