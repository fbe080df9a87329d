//! The operator's program: see `byteport::cli`.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use byteport::cli::{Streams, start};

fn main() -> ExitCode {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let streams = Streams {
        colour: stdout.is_terminal() && !no_colour,
        interactive: stdout.is_terminal() && io::stdin().is_terminal(),
        watched: stderr.is_terminal(),
        socket: std::env::var_os("BYTEPORT_SOCKET").filter(|s| !s.is_empty()).map(Into::into),
        out: &mut io::BufWriter::new(stdout.lock()),
        err: &mut stderr.lock(),
    };
    ExitCode::from(start(std::env::args_os(), streams))
}
