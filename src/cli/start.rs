//! From what was typed to an exit code.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

use super::args::{Ctl, DEFAULT_SOCKET, Verb};
use super::ctx::{Ctx, Done};
use super::{bundle, catalog, check, config, doctor, exit, explain, incidents, mark_deploy, pause, plan, replay, status, top, undo};
use crate::report::Paint;

/// The outside of a run.
pub struct Streams<'a> {
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
    /// stdout is a terminal and nobody said NO_COLOR.
    pub colour: bool,
    /// stdin and stdout are a terminal.
    pub interactive: bool,
    /// stderr is a terminal.
    pub watched: bool,
    /// `BYTEPORT_SOCKET`.
    pub socket: Option<PathBuf>,
}

/// Runs one command; the answer is the exit code.
pub fn start(argv: impl IntoIterator<Item = OsString>, to: Streams<'_>) -> u8 {
    let args: Ctl = match exit::parsed(argv, to.out, to.err) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let mut ctx = Ctx {
        out: to.out,
        paint: if to.colour { Paint::Ansi } else { Paint::Plain },
        interactive: to.interactive,
        json: args.json,
        socket: args.socket.or(to.socket).unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)),
        state_dir: args.state_dir,
        watched: to.watched,
    };
    let done = run(&args.verb, &mut ctx);
    exit::code(done, "byteportctl", ctx.out, to.err)
}

fn run(verb: &Verb, ctx: &mut Ctx<'_>) -> Result<Done> {
    match verb {
        Verb::Status => status::run(ctx),
        Verb::Top(args) => top::run(args, ctx),
        Verb::Doctor(args) => doctor::run(args, ctx),
        Verb::Incidents(args) => incidents::run(args, ctx),
        Verb::Explain(args) => explain::run(args, ctx),
        Verb::Plan(args) => plan::run(args, ctx),
        Verb::Bundle(args) => bundle::run(args, ctx),
        Verb::Replay(args) => replay::run(args, ctx),
        Verb::Undo(args) => undo::run(args, ctx),
        Verb::Pause(args) => pause::pause(args, ctx),
        Verb::Resume(args) => pause::resume(args, ctx),
        Verb::MarkDeploy(args) => mark_deploy::run(args, ctx),
        Verb::Check(args) => check::run(args, ctx),
        Verb::Catalog(args) => catalog::run(args, ctx),
        Verb::Config(args) => config::run(args, ctx),
    }
}
