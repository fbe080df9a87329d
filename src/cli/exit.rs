//! What a run came to, as an exit code: the same for every program that a person types.

use std::ffi::OsString;
use std::io::{self, Write};

use anyhow::Result;
use clap::Parser;

use super::ctx::{Done, Misused};
use crate::report::clean;

const FINDINGS: u8 = 1;
const ERROR: u8 = 2;
pub const USAGE: u8 = 64;

/// What was typed, or the exit code after telling what is wrong with it, or the help that was asked for.
///
/// # Errors
/// The code.
pub fn parsed<T: Parser>(argv: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> Result<T, u8> {
    T::try_parse_from(argv).map_err(|e| {
        let text = e.render();
        let (told, code) = if e.use_stderr() { (write!(err, "{text}"), USAGE) } else { (write!(out, "{text}"), 0) };
        if told.is_ok() { code } else { ERROR }
    })
}

/// Tells `err` what went wrong, in the name of `program`.
pub fn code(done: Result<Done>, program: &str, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match done.and_then(|done| out.flush().map(|()| done).map_err(Into::into)) {
        Ok(Done::Well) => 0,
        Ok(Done::Findings) => FINDINGS,
        // Whoever read our output has seen enough (`| head`).
        Err(e) if e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => 0,
        Err(e) => {
            // Nobody is left to tell when stderr is gone as well.
            let _ = writeln!(err, "{program}: {}", clean(&format!("{e:#}")));
            if e.is::<Misused>() { USAGE } else { ERROR }
        }
    }
}
